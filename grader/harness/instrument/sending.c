/* send() and its relatives: short, failing, taking turns, noted. */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

REAL(ssize_t, send, int, const void *, size_t, int);
REAL(ssize_t, sendto, int, const void *, size_t, int, const struct sockaddr *,
     socklen_t);
REAL(ssize_t, sendmsg, int, const struct msghdr *, int);
REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, writev, int, const struct iovec *, int);
REAL(int, vdprintf, int, const char *, va_list);
REAL(int, vasprintf, char **, const char *, va_list);
REAL(int, eventfd_write, int, eventfd_t);

static struct call *begin_sending(unsigned function, int fd, size_t len,
                                  uint64_t from)
{
    struct call *call = note(function, fd, len, from);
    if (page != NULL && fd >= 0 && fd < DESCRIPTORS)
        STORE(last_sender[fd], call->thread);
    return call;
}

/*
 * Lets another thread that wants to send on fd go first: waits until one has
 * begun to, at most values[0] naps of 1 ms (on a busy machine they get longer,
 * and so they should), and values[1] ms by the clock over all calls.
 */
static void take_turns(int fd, struct call *call)
{
    static uint64_t waited; /* ns */
    struct rule *rule =
        fd >= 0 && fd < DESCRIPTORS ? rule_for(SEND, TURNS) : NULL;
    if (rule == NULL)
        return;
    call->fault = met(rule);
    uint64_t most = (uint64_t)rule->values[1] * 1000000u;
    for (int naps = 0; naps < rule->values[0] && LOAD(waited) < most; naps++) {
        if (LOAD(last_sender[fd]) != call->thread)
            return;
        uint64_t start = now();
        pause_ms(1);
        ADD(waited, now() - start);
    }
}

/* A thread that has sent something waits, if a rule says so. */
static void hold_sender(int fd, struct call *call)
{
    struct rule *rule =
        fd >= 0 && fd < DESCRIPTORS ? rule_for(SEND, HOLD) : NULL;
    if (rule == NULL)
        return;
    call->fault = met(rule);
    hold(rule, NULL, NULL);
}

static ssize_t finish_sending(struct call *call, int fd,
                              const struct iovec *vector, int count, ssize_t n)
{
    int error = errno;
    if (page != NULL)
        keep_vector(call, vector, count, n);
    errno = error;
    done(call, n);
    if (n > 0) {
        take_turns(fd, call);
        hold_sender(fd, call);
    }
    errno = error;
    return n;
}

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    struct iovec all = {(void *)data, len};
    if (is_local(fd)) {
        handed_over(fd, &all, 1);
        return __real_send(fd, data, len, flags);
    }
    struct call *call = begin_sending(F_SEND, fd, len, FROM);
    if (fails(SEND, call, flags))
        return -1;
    return finish_sending(
        call, fd, &all, 1,
        __real_send(fd, data, shortened(SEND, len, call), flags));
}

ssize_t __wrap_sendto(int fd, const void *data, size_t len, int flags,
                      const struct sockaddr *to, socklen_t size)
{
    struct iovec all = {(void *)data, len};
    if (is_local(fd)) {
        handed_over(fd, &all, 1);
        return __real_sendto(fd, data, len, flags, to, size);
    }
    struct call *call = begin_sending(F_SEND, fd, len, FROM);
    if (fails(SEND, call, flags))
        return -1;
    len = shortened(SEND, len, call);
    return finish_sending(call, fd, &all, 1,
                          __real_sendto(fd, data, len, flags, to, size));
}

/* By this name the memory check knows what is written to a socket. */
__attribute__((noinline)) ssize_t socket_write(int fd, const void *data,
                                               size_t len, uint64_t from)
{
    struct call *call = begin_sending(F_WRITE, fd, len, from);
    if (fails(SEND, call, 0))
        return -1;
    struct iovec all = {(void *)data, len};
    return finish_sending(call, fd, &all, 1,
                          __real_write(fd, data, shortened(SEND, len, call)));
}

size_t socket_write_all(int fd, const char *data, size_t len, uint64_t from)
{
    size_t written = 0;

    while (written < len) {
        ssize_t n = socket_write(fd, data + written, len - written, from);
        if (n <= 0)
            break;
        written += (size_t)n;
    }
    return written;
}

/* What wakes another thread is not printed; stdout may be a pipe, too. */
static ssize_t printed_to(int fd, ssize_t n)
{
    int wakes = fd != STDOUT_FILENO && is_between_threads(fd);
    return wakes ? n : (ssize_t)printed(n);
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    if (is_network(fd))
        return socket_write(fd, data, len, FROM);
    handed_over(fd, &(struct iovec){(void *)data, len}, 1);
    return printed_to(fd, __real_write(fd, data, len));
}

int __wrap_eventfd_write(int fd, eventfd_t value)
{
    handed_over(fd, NULL, 0);
    return __real_eventfd_write(fd, value);
}

/* Inside the C library these would write where nothing is wrapped. */
static int print_to(int fd, const char *format, va_list values, uint64_t from)
{
    char *text;

    if (!is_network(fd))
        return (int)printed(__real_vdprintf(fd, format, values));
    int len = __real_vasprintf(&text, format, values);
    if (len < 0)
        return -1;
    size_t written = socket_write_all(fd, text, (size_t)len, from);
    free(text);
    return written < (size_t)len ? -1 : len;
}

int __wrap_vdprintf(int fd, const char *format, va_list values)
{
    return print_to(fd, format, values, FROM);
}

int __wrap_dprintf(int fd, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    int n = print_to(fd, format, values, FROM);
    va_end(values);
    return n;
}

static ssize_t send_message(int fd, const struct msghdr *message, int flags,
                            uint64_t from)
{
    if (is_local(fd)) {
        handed_over(fd, message->msg_iov, (int)message->msg_iovlen);
        return __real_sendmsg(fd, message, flags);
    }
    size_t size = vector_size(message->msg_iov, (int)message->msg_iovlen);
    struct call *call = begin_sending(F_SENDMSG, fd, size, from);
    if (fails(SEND, call, flags))
        return -1;
    struct iovec cut[VECTORS];
    struct msghdr shorter = *message;
    struct vector all = {message->msg_iov, (int)message->msg_iovlen};
    struct vector part = shortened_vector(SEND, all, cut, call);
    shorter.msg_iov = (struct iovec *)part.at;
    shorter.msg_iovlen = (size_t)part.count;
    ssize_t n = __real_sendmsg(fd, &shorter, flags);
    return finish_sending(call, fd, message->msg_iov, (int)message->msg_iovlen,
                          n);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return send_message(fd, message, flags, FROM);
}

/* Sends one message only: fewer than given is a right answer, too. */
int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    if (count == 0)
        return 0;
    ssize_t n = send_message(fd, &messages->msg_hdr, flags, FROM);
    messages->msg_len = n > 0 ? (unsigned)n : 0;
    return n < 0 ? -1 : 1;
}

ssize_t __wrap_writev(int fd, const struct iovec *vector, int count)
{
    if (!is_network(fd)) {
        handed_over(fd, vector, count);
        return printed_to(fd, __real_writev(fd, vector, count));
    }
    size_t size = vector_size(vector, count);
    struct call *call = begin_sending(F_WRITE, fd, size, FROM);
    if (fails(SEND, call, 0))
        return -1;
    struct iovec cut[VECTORS];
    struct vector part =
        shortened_vector(SEND, (struct vector){vector, count}, cut, call);
    return finish_sending(call, fd, part.at, part.count,
                          __real_writev(fd, part.at, part.count));
}
