/* send() and its relatives: short, failing, taking turns, noted. */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

REAL(ssize_t, send, int, const void *, size_t, int);
REAL(ssize_t, sendto, int, const void *, size_t, int, const struct sockaddr *,
     socklen_t);
REAL(ssize_t, sendmsg, int, const struct msghdr *, int);
REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, writev, int, const struct iovec *, int);

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
 * begun to, at most values[0] milliseconds, and values[1] in all.
 */
static void take_turns(int fd, struct call *call)
{
    static unsigned waited;
    struct rule *rule =
        fd >= 0 && fd < DESCRIPTORS ? rule_for(SEND, TURNS) : NULL;
    if (rule == NULL)
        return;
    call->fault = met(rule);
    for (int ms = 0;
         ms < rule->values[0] && LOAD(waited) < (unsigned)rule->values[1];
         ms++) {
        if (LOAD(last_sender[fd]) != call->thread)
            return;
        pause_ms(1);
        ADD(waited, 1);
    }
}

static ssize_t finish_sending(struct call *call, int fd,
                              const struct iovec *vector, int count, ssize_t n)
{
    int error = errno;
    if (page != NULL)
        keep_vector(call, vector, count, n);
    errno = error;
    done(call, n);
    if (n > 0)
        take_turns(fd, call);
    errno = error;
    return n;
}

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    struct call *call = begin_sending(F_SEND, fd, len, FROM);
    if (fails(SEND, call))
        return -1;
    struct iovec all = {(void *)data, len};
    return finish_sending(
        call, fd, &all, 1,
        __real_send(fd, data, shortened(SEND, len, call), flags));
}

ssize_t __wrap_sendto(int fd, const void *data, size_t len, int flags,
                      const struct sockaddr *to, socklen_t size)
{
    struct call *call = begin_sending(F_SEND, fd, len, FROM);
    if (fails(SEND, call))
        return -1;
    struct iovec all = {(void *)data, len};
    len = shortened(SEND, len, call);
    return finish_sending(call, fd, &all, 1,
                          __real_sendto(fd, data, len, flags, to, size));
}

ssize_t socket_write(int fd, const void *data, size_t len, uint64_t from)
{
    struct call *call = begin_sending(F_WRITE, fd, len, from);
    if (fails(SEND, call))
        return -1;
    struct iovec all = {(void *)data, len};
    return finish_sending(call, fd, &all, 1,
                          __real_write(fd, data, shortened(SEND, len, call)));
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    if (is_socket(fd))
        return socket_write(fd, data, len, FROM);
    handed_over(fd);
    return __real_write(fd, data, len);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    size_t size = vector_size(message->msg_iov, (int)message->msg_iovlen);
    struct call *call = begin_sending(F_SENDMSG, fd, size, FROM);
    if (fails(SEND, call))
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

ssize_t __wrap_writev(int fd, const struct iovec *vector, int count)
{
    if (!is_socket(fd))
        return __real_writev(fd, vector, count);
    size_t size = vector_size(vector, count);
    struct call *call = begin_sending(F_WRITE, fd, size, FROM);
    if (fails(SEND, call))
        return -1;
    struct iovec cut[VECTORS];
    struct vector part =
        shortened_vector(SEND, (struct vector){vector, count}, cut, call);
    return finish_sending(call, fd, part.at, part.count,
                          __real_writev(fd, part.at, part.count));
}
