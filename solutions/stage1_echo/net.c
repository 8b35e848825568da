#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 128,      /* clients the kernel lets wait for accept() */
    ACCEPT_PAUSE = 100, /* milliseconds until a failed accept() is repeated */
};

int net_init(void)
{
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -1;

    /* open() gives the lowest free number: this fills 0, 1 and 2. */
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd == -1)
            return -1;
    } while (fd <= 2);
    close(fd);
    return 0;
}

int net_parse_port(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);

    /* strtol takes "12ab" for 12; only *end shows that something follows. */
    if (end == text || *end != '\0' || port < 1 || port > 65535) {
        errno = EINVAL;
        return -1;
    }
    return (int)port;
}

/* Fills in where from an address and a port. Returns 0, or -1 with errno. */
static int make_address(struct sockaddr_in *where, const char *host, int port)
{
    memset(where, 0, sizeof *where);
    where->sin_family = AF_INET;

    /* The network has the most significant byte first; this machine may not. */
    where->sin_port = htons((uint16_t)port);

    /* inet_pton answers 1 or 0 here, and sets no errno for a bad address. */
    if (inet_pton(AF_INET, host, &where->sin_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    return 0;
}

/* Closes fd after a failure, without changing errno. Returns -1. */
static int give_up(int fd)
{
    int reason = errno;

    close(fd);
    errno = reason;
    return -1;
}

int net_listen(const char *address, int port, const char **failed)
{
    struct sockaddr_in where;
    *failed = "inet_pton";
    if (make_address(&where, address, port) == -1)
        return -1;

    /* Step 1: socket() makes an endpoint that is not connected to anything.
     * AF_INET means IPv4, SOCK_STREAM a stream of bytes: together, TCP. */
    *failed = "socket";
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd == -1)
        return -1;

    /* Step 2: setsockopt() changes a property of the socket. For a minute
     * after a connection its port stays reserved (TIME_WAIT), and bind() would
     * fail when the server is started again; SO_REUSEADDR permits it. */
    *failed = "setsockopt";
    int yes = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == -1)
        return give_up(fd);

    /* Step 3: bind() gives the socket its address and port on this machine. */
    *failed = "bind";
    if (bind(fd, (struct sockaddr *)&where, sizeof where) == -1)
        return give_up(fd);

    /* Step 4: listen() makes it a listening socket. From now on the kernel
     * completes connections by itself and keeps them waiting for accept(). */
    *failed = "listen";
    if (listen(fd, BACKLOG) == -1)
        return give_up(fd);
    return fd;
}

/*
 * Small messages leave at once. Otherwise the kernel holds a second one back
 * until the peer has confirmed the first, which may take 40 milliseconds.
 */
static int send_at_once(int fd)
{
    int yes = 1;

    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

/*
 * Decides what a failed accept() means. Returns 0 if it is worth repeating,
 * or -1 with errno as it was.
 */
static int accept_failed(void)
{
    switch (errno) {
    case EINTR:        /* a signal came: nothing has happened */
    case ECONNABORTED: /* this client has gone again: take the next one */
        return 0;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
        return -1;
    default:
        /* Most likely EMFILE: no descriptor is free until a client leaves.
         * The waiting client stays in the queue, so accept() would fail again
         * at once, over and over. A pause leaves the processor to others. */
        poll(NULL, 0, ACCEPT_PAUSE);
        return 0;
    }
}

int net_accept(int listener)
{
    for (;;) {
        /* accept() waits for the next client. It returns a new socket, which
         * is connected to that client; the listener stays as it is. */
        int fd = accept(listener, NULL, NULL);
        if (fd != -1) {
            /* Best effort: without it the connection is only slower. */
            send_at_once(fd);
            return fd;
        }
        if (accept_failed() == -1)
            return -1;
    }
}

/*
 * connect() that a signal cannot spoil. An interrupted connect() goes on in
 * the kernel; calling it again waits for the result, or says EISCONN when the
 * connection has been made in between.
 */
static int connect_fully(int fd, const struct sockaddr_in *where)
{
    int interrupted = 0;

    for (;;) {
        if (connect(fd, (const struct sockaddr *)where, sizeof *where) == 0)
            return 0;
        if (interrupted && errno == EISCONN)
            return 0;
        if (errno != EINTR)
            return -1;
        interrupted = 1;
    }
}

int net_connect(const char *host, int port, const char **failed)
{
    struct sockaddr_in where;
    *failed = "inet_pton";
    if (make_address(&where, host, port) == -1)
        return -1;

    *failed = "socket";
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd == -1)
        return -1;

    *failed = "setsockopt";
    if (send_at_once(fd) == -1)
        return give_up(fd);

    /* connect() reaches for the server. A client needs no bind(): the kernel
     * chooses a free port for this end of the connection. */
    *failed = "connect";
    if (connect_fully(fd, &where) == -1)
        return give_up(fd);
    return fd;
}
