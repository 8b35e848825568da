/* Stage 1: a server that sends each client's one message back to it. */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

enum { MESSAGE_SIZE = 64 * 1024 };

/* Best effort: the server goes on when stdout takes nothing. */
static void print_message(const char *message, size_t len)
{
    /* printf("%s") would look for a NUL, which the message does not have. */
    fputs("received: ", stdout);
    fwrite(message, 1, len, stdout);
    putchar('\n');

    /* A pipe or file would otherwise get the line much later. */
    fflush(stdout);
}

/* Receives one message and sends it back. Returns 0, or -1 with errno. */
static int serve_client(int fd)
{
    char message[MESSAGE_SIZE];
    ssize_t len;

    /* recv() waits until bytes have arrived, and takes what there is. Here
     * that counts as the whole message. 0 means that the client has closed.
     * A signal that interrupts the wait changes nothing, so it is repeated. */
    do
        len = recv(fd, message, sizeof message, 0);
    while (len == -1 && errno == EINTR);
    if (len <= 0)
        return (int)len;
    print_message(message, (size_t)len);

    /* send() hands the bytes to the kernel. If the client has gone already,
     * MSG_NOSIGNAL makes that an error instead of a SIGPIPE, which would end
     * the server. */
    ssize_t sent;
    do
        sent = send(fd, message, (size_t)len, MSG_NOSIGNAL);
    while (sent == -1 && errno == EINTR);
    return sent == -1 ? -1 : 0;
}

/* Serves one client after the other. Returns -1 with errno. */
static int serve_all(int listener)
{
    for (;;) {
        int fd = net_accept(listener);
        if (fd == -1)
            return -1;
        if (serve_client(fd) == -1)
            fprintf(stderr, "server: client lost: %s\n", strerror(errno));

        /* close() ends the connection and gives the descriptor back; without
         * it the server would run out of descriptors, client by client. */
        close(fd);
    }
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? net_parse_port(argv[1]) : 5000;
    const char *address = argc > 2 ? argv[2] : "127.0.0.1";
    if (argc > 3 || port == -1) {
        fprintf(stderr, "usage: server [PORT [ADDRESS]]\n");
        return 2;
    }
    if (net_init() == -1) {
        fprintf(stderr, "server: net_init: %s\n", strerror(errno));
        return 1;
    }

    const char *failed;
    int listener = net_listen(address, port, &failed);
    if (listener == -1) {
        fprintf(stderr, "server: %s: %s\n", failed, strerror(errno));
        return 1;
    }

    serve_all(listener);
    fprintf(stderr, "server: accept: %s\n", strerror(errno));
    close(listener);
    return 1;
}
