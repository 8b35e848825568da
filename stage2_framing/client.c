/* Stage 2: sends each line of stdin as a message and prints the replies. */
#include "framing.h"
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/*
 * Sends one line and prints the reply.
 * Returns 1; 0 if the server has closed; or -1 with errno.
 */
static int exchange(struct frame_reader *reader, const char *line, size_t len)
{
    /* TODO 2.7, step 3: frame_write() the line, frame_read() the reply,
     * frame_print() it; refuse a line that is too long.
     * See handouts/stage2.md. */
    errno = ENOSYS;
    return -1;
}

/*
 * Sends QUIT and prints what still arrives until the server closes.
 * Returns 1; 0 if the server closed without a BYE; or -1 with errno.
 */
static int quit(struct frame_reader *reader)
{
    /* TODO 2.7, step 4: see handouts/stage2.md. */
    errno = ENOSYS;
    return -1;
}

/* The whole conversation. Returns as quit does. */
static int converse(int fd)
{
    struct frame_reader reader;

    /* TODO 2.7, step 2: exchange() each line that getline() brings, without
     * its newline, up to QUIT or the end of stdin. See handouts/stage2.md. */
    frame_init(&reader, fd);
    int result = exchange(&reader, "", 0);
    return result == 1 ? quit(&reader) : result;
}

int main(int argc, char **argv)
{
    /* TODO 2.7, step 1: take main from your stage 1 client; only the
     * arguments differ. See handouts/stage2.md. */
    int fd = -1;

    int result = converse(fd);
    if (result == -1)
        fprintf(stderr, "client: %s\n", strerror(errno));
    return result == 1 ? 0 : 1;
}
