/* Stage 4: a client that listens to the user and to the server at once. */
#include "framing.h"
#include "net.h"
#include "outbox.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct client {
    struct outbox outbox; /* owns the connection */
    int quit;             /* QUIT is in the outbox, or sent */

    /* TODO 4.8, step 1: room for what was typed and is not a whole line yet.
     * Not with stdio: poll() cannot see what its buffer holds.
     * See handouts/stage4.md. */
    struct frame_reader reader;
};

/*
 * Takes in what the server has sent and prints it.
 * Returns 1, or 0 at the end of the connection, or -1 with errno set.
 */
static int receive(struct client *client)
{
    /* TODO 4.8, step 3: frame_fill(), then frame_print() each message that
     * frame_next() finds. See handouts/stage4.md. */
    errno = ENOSYS;
    return -1;
}

/*
 * Takes in what the user has typed, and puts whole lines into the outbox.
 * Returns 0, or -1 with errno set.
 */
static int read_input(struct client *client)
{
    /* TODO 4.8, step 4: read() what is there; a line may come in pieces, and
     * many lines at once. See handouts/stage4.md. */

    /* TODO 4.9: at the end of stdin, or at the line QUIT, say QUIT and read
     * no more; go on printing until the server closes.
     * See handouts/stage4.md. */
    errno = ENOSYS;
    return -1;
}

/*
 * Talks until the server closes.
 * Returns 0 at the end of the connection, or -1 with errno set.
 */
static int talk(struct client *client)
{
    /* TODO 4.8, step 2: wait with poll() for stdin, for the server, and for
     * room to send when something waits in the outbox.
     * See handouts/stage4.md. */
    if (receive(client) == -1)
        return -1;
    return read_input(client);
}

int main(int argc, char **argv)
{
    static struct client client; /* too large for a stack */

    /* TODO 4.8, step 5: arguments, connection, and the command NAME.
     * See handouts/stage4.md. */
    int result = talk(&client);

    if (result == -1)
        fprintf(stderr, "client: %s\n", strerror(errno));
    /* TODO 4.9: and if the server closed although nobody had said QUIT?
     * See handouts/stage4.md. */
    return result == -1 ? 1 : 0;
}
