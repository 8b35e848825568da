/* Stage 1: a client that sends one message and prints the reply. */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

/*
 * Sends message and prints the reply.
 * Returns 1; 0 if the server closed without a reply; or -1 with errno.
 */
static int converse(int fd, const char *message)
{
    /* TODO 1.8: send the message, receive the reply, print the line
     * `reply: MESSAGE`. See handouts/stage1.md. */
    errno = ENOSYS;
    return -1;
}

int main(int argc, char **argv)
{
    /* TODO 1.7: take MESSAGE, HOST and PORT from argv, call net_init() and
     * net_connect(), converse, and close the socket; report what fails.
     * See handouts/stage1.md. */
    const char *message = "hello";
    int fd = -1;

    int result = converse(fd, message);
    if (result == -1)
        fprintf(stderr, "client: %s\n", strerror(errno));
    return result == 1 ? 0 : 1;
}
