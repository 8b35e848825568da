/* recv() and its relatives: short, failing, noted. */
#define _GNU_SOURCE
#include "core.h"

#include <sys/socket.h>
#include <unistd.h>

REAL(ssize_t, recv, int, void *, size_t, int);
REAL(ssize_t, recvfrom, int, void *, size_t, int, struct sockaddr *,
     socklen_t *);
REAL(ssize_t, recvmsg, int, struct msghdr *, int);
REAL(ssize_t, read, int, void *, size_t);
REAL(ssize_t, readv, int, const struct iovec *, int);

static ssize_t finish_receiving(struct call *call, void *data, ssize_t n)
{
    struct iovec all = {data, n > 0 ? (size_t)n : 0};

    /* recv(fd, NULL, n, MSG_TRUNC) throws n bytes away (tcp(7)). */
    if (page != NULL && data != NULL)
        keep_vector(call, &all, 1, n);
    return (ssize_t)done(call, n);
}

ssize_t __wrap_recv(int fd, void *data, size_t len, int flags)
{
    struct call *call = note(F_RECV, fd, len, FROM);
    if (fails(RECV, call))
        return -1;
    return finish_receiving(
        call, data, __real_recv(fd, data, shortened(RECV, len, call), flags));
}

ssize_t __wrap_recvfrom(int fd, void *data, size_t len, int flags,
                        struct sockaddr *from, socklen_t *size)
{
    struct call *call = note(F_RECV, fd, len, FROM);
    if (fails(RECV, call))
        return -1;
    len = shortened(RECV, len, call);
    return finish_receiving(call, data,
                            __real_recvfrom(fd, data, len, flags, from, size));
}

ssize_t socket_read(int fd, void *data, size_t len, uint64_t from)
{
    struct call *call = note(F_READ, fd, len, from);
    if (fails(RECV, call))
        return -1;
    return finish_receiving(call, data,
                            __real_read(fd, data, shortened(RECV, len, call)));
}

ssize_t __wrap_read(int fd, void *data, size_t len)
{
    if (is_socket(fd))
        return socket_read(fd, data, len, FROM);
    ssize_t n = __real_read(fd, data, len);
    taken_over(fd);
    return n;
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    size_t size = vector_size(message->msg_iov, (int)message->msg_iovlen);
    struct call *call = note(F_RECVMSG, fd, size, FROM);
    if (fails(RECV, call))
        return -1;
    struct iovec cut[VECTORS];
    struct msghdr shorter = *message;
    struct vector all = {message->msg_iov, (int)message->msg_iovlen};
    struct vector part = shortened_vector(RECV, all, cut, call);
    shorter.msg_iov = (struct iovec *)part.at;
    shorter.msg_iovlen = (size_t)part.count;
    ssize_t n = __real_recvmsg(fd, &shorter, flags);
    message->msg_namelen = shorter.msg_namelen;
    message->msg_controllen = shorter.msg_controllen;
    message->msg_flags = shorter.msg_flags;
    if (page != NULL)
        keep_vector(call, message->msg_iov, (int)message->msg_iovlen, n);
    return (ssize_t)done(call, n);
}

ssize_t __wrap_readv(int fd, const struct iovec *vector, int count)
{
    if (!is_socket(fd))
        return __real_readv(fd, vector, count);
    size_t size = vector_size(vector, count);
    struct call *call = note(F_READ, fd, size, FROM);
    if (fails(RECV, call))
        return -1;
    struct iovec cut[VECTORS];
    struct vector part =
        shortened_vector(RECV, (struct vector){vector, count}, cut, call);
    ssize_t n = __real_readv(fd, part.at, part.count);
    if (page != NULL)
        keep_vector(call, part.at, part.count, n);
    return (ssize_t)done(call, n);
}
