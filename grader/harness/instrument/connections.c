/* The calls that make and end connections. */
#define _GNU_SOURCE
#include "core.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

REAL(int, accept, int, struct sockaddr *, socklen_t *);
REAL(int, accept4, int, struct sockaddr *, socklen_t *, int);
REAL(int, connect, int, const struct sockaddr *, socklen_t);
REAL(int, bind, int, const struct sockaddr *, socklen_t);
REAL(int, listen, int, int);
REAL(int, socket, int, int, int);
REAL(int, shutdown, int, int);
REAL(int, close, int);
REAL(int, dup2, int, int);
REAL(int, dup3, int, int, int);

static int finish_accepting(struct call *call, int fd)
{
    if (page != NULL && fd >= 0 && fd < DESCRIPTORS)
        ADD(accepted[fd], 1);
    return (int)done(call, fd);
}

int __wrap_accept(int listener, struct sockaddr *from, socklen_t *size)
{
    if (is_local(listener))
        return __real_accept(listener, from, size);
    struct call *call = note(F_ACCEPT, listener, 0, FROM);
    ADD(accepts_begun, 1);
    return fails(ACCEPT, call, 0)
               ? -1
               : finish_accepting(call, __real_accept(listener, from, size));
}

int __wrap_accept4(int listener, struct sockaddr *from, socklen_t *size,
                   int flags)
{
    if (is_local(listener))
        return __real_accept4(listener, from, size, flags);
    struct call *call = note(F_ACCEPT, listener, 0, FROM);
    ADD(accepts_begun, 1);
    return fails(ACCEPT, call, 0)
               ? -1
               : finish_accepting(call,
                                  __real_accept4(listener, from, size, flags));
}

/* The port of an IPv4 or IPv6 address, 0 if there is none. */
static size_t port_of(const struct sockaddr *where, socklen_t size)
{
    if (page == NULL || where == NULL || size < sizeof(struct sockaddr_in) ||
        (where->sa_family != AF_INET && where->sa_family != AF_INET6))
        return 0;
    return ntohs(((const struct sockaddr_in *)where)->sin_port);
}

/* The address, or, where a rule moves its port, a copy with the other port. */
static const struct sockaddr *moved(const struct sockaddr *where,
                                    socklen_t size,
                                    struct sockaddr_storage *copy)
{
    if (page == NULL || size < sizeof(struct sockaddr_in) ||
        size > sizeof *copy)
        return where;
    for (unsigned i = 0; i < LOAD(page->rules_len); i++) {
        struct rule *rule = &page->rules[i];
        /* IPv4 and IPv6 addresses have the port in the same place. */
        uint16_t port = ((const struct sockaddr_in *)where)->sin_port;
        if (rule->action != MOVE || port != htons((uint16_t)rule->values[0]))
            continue;
        met(rule);
        memcpy(copy, where, size);
        ((struct sockaddr_in *)copy)->sin_port =
            htons((uint16_t)rule->values[1]);
        return (struct sockaddr *)copy;
    }
    return where;
}

/*
 * connect(), interrupted as a signal would do it: the connection is on its
 * way, and goes on being made after the call has returned.
 */
static int interrupted_connect(int fd, const struct sockaddr *where,
                               socklen_t size)
{
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    int result = __real_connect(fd, where, size);
    int error = errno;
    fcntl(fd, F_SETFL, flags);
    errno = result == -1 && error != EINPROGRESS ? error : EINTR;
    return -1;
}

int __wrap_connect(int fd, const struct sockaddr *where, socklen_t size)
{
    if (is_local(fd))
        return __real_connect(fd, where, size);
    struct sockaddr_storage copy;
    struct call *call = note(F_CONNECT, fd, port_of(where, size), FROM);
    struct rule *rule = rule_for(CONNECT, FAIL);

    where = moved(where, size, &copy);
    if (rule == NULL)
        return (int)done(call, __real_connect(fd, where, size));
    unsigned fault = met(rule);
    if (rule->values[0] == EINTR && fcntl(fd, F_GETFL) & O_NONBLOCK)
        return (int)done(call, __real_connect(fd, where, size));
    call->fault = fault;
    errno = rule->values[0];
    return (int)done(call, errno == EINTR ? interrupted_connect(fd, where, size)
                                          : -1);
}

int __wrap_bind(int fd, const struct sockaddr *where, socklen_t size)
{
    if (is_local(fd))
        return __real_bind(fd, where, size);
    struct sockaddr_storage copy;
    struct call *call = note(F_BIND, fd, port_of(where, size), FROM);
    return fails(BIND, call, 0)
               ? -1
               : (int)done(call,
                           __real_bind(fd, moved(where, size, &copy), size));
}

int __wrap_listen(int fd, int backlog)
{
    if (is_local(fd))
        return __real_listen(fd, backlog);
    struct call *call = note(F_LISTEN, fd, (size_t)backlog, FROM);
    return fails(LISTEN, call, 0) ? -1
                                  : (int)done(call, __real_listen(fd, backlog));
}

int __wrap_socket(int family, int type, int protocol)
{
    if (family == AF_UNIX)
        return __real_socket(family, type, protocol);
    struct call *call = note(F_SOCKET, -1, 0, FROM);
    return fails(SOCKET, call, 0)
               ? -1
               : (int)done(call, __real_socket(family, type, protocol));
}

int __wrap_shutdown(int fd, int how)
{
    return (int)done(note(F_SHUTDOWN, fd, (size_t)how, FROM),
                     __real_shutdown(fd, how));
}

/* A number that was closed, and how often accept() had given it until then. */
struct closed {
    struct rule *rule;
    int fd;
    unsigned accepted;
};

/* Counts that accept() has given the number to somebody else. */
static void look_for_reuse(void *argument)
{
    struct closed *closed = argument;
    unsigned now = LOAD(accepted[closed->fd]);

    if (now != closed->accepted)
        ADD(closed->rule->hits, 1);
    closed->accepted = now;
}

/* Holds the closing thread where it is, if a rule says so. */
static void park(int fd, unsigned before, struct call *call)
{
    struct rule *rule =
        fd >= 0 && fd < DESCRIPTORS ? rule_for(CLOSE, PARK) : NULL;
    if (rule == NULL)
        return;
    struct closed closed = {rule, fd, before};
    call->fault = met(rule);
    hold(rule, look_for_reuse, &closed);
}

/*
 * Numbers of sockets that dup2() has ended by giving the number to something
 * else; such a number is free for the next client only when it is closed.
 */
static unsigned char replaced[DESCRIPTORS];

static int replace(int was_socket, int fd)
{
    if (was_socket && fd >= 0 && fd < DESCRIPTORS)
        STORE(replaced[fd], 1);
    return fd;
}

int __wrap_dup2(int from, int to)
{
    int was_socket = from != to && is_network(to);
    return replace(was_socket, __real_dup2(from, to));
}

int __wrap_dup3(int from, int to, int flags)
{
    int was_socket = is_network(to);
    return replace(was_socket, __real_dup3(from, to, flags));
}

static int was_replaced(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS &&
           __atomic_exchange_n(&replaced[fd], 0, __ATOMIC_SEQ_CST);
}

int noted_close(int fd, uint64_t from)
{
    int was_socket = was_replaced(fd) || is_network(fd);
    unsigned before = fd >= 0 && fd < DESCRIPTORS ? LOAD(accepted[fd]) : 0;
    struct call *call = note(F_CLOSE, fd, 0, from);
    handed_over(fd, NULL, 0); /* the end of a pipe tells, too */
    no_longer_kept(fd);
    int result = (int)done(call, __real_close(fd));
    int error = errno;
    if (was_socket)
        park(fd, before, call);
    errno = error;
    return result;
}

int __wrap_close(int fd)
{
    return noted_close(fd, FROM);
}
