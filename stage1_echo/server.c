/* Stage 1: a server that sends each client's one message back to it. */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

/* Receives one message and sends it back. Returns 0, or -1 with errno. */
static int serve_client(int fd)
{
    /* TODO 1.5: receive the message, print the line `received: MESSAGE`, send
     * the same bytes back. See handouts/stage1.md. */
    errno = ENOSYS;
    return -1;
}

/* Serves one client after the other. Returns -1 with errno. */
static int serve_all(int listener)
{
    /* TODO 1.4, second half: for ever: net_accept() a client, serve_client()
     * it, and close() its socket, whatever happened. See handouts/stage1.md. */
    return serve_client(-1);
}

int main(int argc, char **argv)
{
    /* TODO 1.4, first half: take PORT and ADDRESS from argv, call net_init()
     * and net_listen(), and give serve_all() the listening socket; report
     * what fails. See handouts/stage1.md. */
    int listener = -1;

    serve_all(listener);
    fprintf(stderr, "server: %s\n", strerror(errno));
    return 1;
}
