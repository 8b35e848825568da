/* Stage 1: a client that sends one message and prints the reply. */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

enum { REPLY_SIZE = 64 * 1024 };

static void print_reply(const char *reply, size_t len)
{
    fputs("reply: ", stdout);
    fwrite(reply, 1, len, stdout);
    putchar('\n');
}

/*
 * Sends message and prints the reply.
 * Returns 1; 0 if the server closed without a reply; or -1 with errno.
 */
static int converse(int fd, const char *message)
{
    /* The bytes of the text only: its final NUL means nothing to a peer. */
    ssize_t sent;
    do
        sent = send(fd, message, strlen(message), MSG_NOSIGNAL);
    while (sent == -1 && errno == EINTR);
    if (sent == -1)
        return -1;

    char reply[REPLY_SIZE];
    ssize_t len;
    do
        len = recv(fd, reply, sizeof reply, 0);
    while (len == -1 && errno == EINTR);
    if (len <= 0)
        return (int)len;

    print_reply(reply, (size_t)len);
    return 1;
}

/* Says what went wrong, if anything. Returns the exit status. */
static int report(int result)
{
    if (result == 0)
        fprintf(stderr, "client: the server closed without a reply\n");
    if (result == -1)
        fprintf(stderr, "client: server lost: %s\n", strerror(errno));
    return result == 1 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *message = argc > 1 ? argv[1] : "hello";
    const char *host = argc > 2 ? argv[2] : "127.0.0.1";
    int port = argc > 3 ? net_parse_port(argv[3]) : 5000;

    /* An empty message is not one byte: both sides would wait forever. */
    if (argc > 4 || port == -1 || message[0] == '\0') {
        fprintf(stderr, "usage: client [MESSAGE [HOST [PORT]]]\n");
        return 2;
    }
    if (net_init() == -1) {
        fprintf(stderr, "client: net_init: %s\n", strerror(errno));
        return 1;
    }

    const char *failed;
    int fd = net_connect(host, port, &failed);
    if (fd == -1) {
        fprintf(stderr, "client: %s: %s\n", failed, strerror(errno));
        return 1;
    }
    int status = report(converse(fd, message));
    close(fd);
    return status;
}
