/* Stage 2: one client at a time, any number of messages from each. */
#include "framing.h"
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Answers the messages of one client until it ends. 0, or -1 with errno. */
static int converse(struct frame_reader *reader)
{
    /* TODO 2.6, second half: frame_read() a message, print it, and send it
     * back, until the client ends; answer `BYE` to QUIT and `ERR too long` to
     * a body that is too long (2.5: frame_drain()). See handouts/stage2.md. */
    errno = ENOSYS;
    return -1;
}

/* Serves one client after the other. Returns -1 with errno. */
static int serve_all(int listener)
{
    struct frame_reader reader;

    /* TODO 2.6, first half: as in stage 1; each client begins with
     * frame_init(). See handouts/stage2.md. */
    frame_init(&reader, -1);
    return converse(&reader);
}

int main(int argc, char **argv)
{
    /* TODO 2.6: take main from your stage 1 server. See handouts/stage2.md. */
    int listener = -1;

    serve_all(listener);
    fprintf(stderr, "server: %s\n", strerror(errno));
    return 1;
}
