/* recv() and its relatives: short, failing, taking turns, noted. */
#define _GNU_SOURCE
#include "core.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

REAL(ssize_t, recvfrom, int, void *, size_t, int, struct sockaddr *,
     socklen_t *);
REAL(ssize_t, recvmsg, int, struct msghdr *, int);
REAL(ssize_t, read, int, void *, size_t);
REAL(ssize_t, readv, int, const struct iovec *, int);
REAL(int, eventfd_read, int, eventfd_t *);

static unsigned receivers[DESCRIPTORS]; /* threads that receive from it */

/*
 * If another thread receives from fd already, the next bytes are for that one:
 * waits values[0] ms. Two threads that receive from one client are a mistake, and
 * which of them the kernel wakes is luck.
 */
static void begin_receiving(int fd)
{
    if (page == NULL || fd < 0 || fd >= DESCRIPTORS)
        return;
    struct rule *rule =
        ADD(receivers[fd], 1) > 1 ? rule_for(RECV, TURNS) : NULL;
    if (rule != NULL) {
        met(rule);
        pause_ms((unsigned)rule->values[0]);
    }
}

static ssize_t finish_receiving(struct call *call, int fd,
                                const struct iovec *vector, int count,
                                ssize_t n)
{
    if (page != NULL && fd >= 0 && fd < DESCRIPTORS)
        ADD(receivers[fd], -1u);
    if (page != NULL)
        keep_vector(call, vector, count, n);
    return (ssize_t)done(call, n);
}

/* recv() is recvfrom() without an address. Called from the address at. */
static ssize_t receive(int fd, void *data, size_t len, int flags,
                       struct sockaddr *from, socklen_t *size, uint64_t at)
{
    if (is_local(fd)) {
        ssize_t n = __real_recvfrom(fd, data, len, flags, from, size);
        taken_over(fd);
        return n;
    }
    struct call *call = note(F_RECV, fd, len, at);
    if (fails(RECV, call, flags))
        return -1;
    len = shortened(RECV, len, call);
    begin_receiving(fd);

    /* With MSG_TRUNC, TCP throws the bytes away and uses no memory (tcp(7)).
     * Past the sanitizers, which do not know that. */
    if (flags & MSG_TRUNC)
        return finish_receiving(
            call, fd, NULL, 0,
            (ssize_t)syscall(SYS_recvfrom, fd, data, len, flags, from, size));
    struct iovec all = {data, len};
    return finish_receiving(call, fd, &all, 1,
                            __real_recvfrom(fd, data, len, flags, from, size));
}

ssize_t __wrap_recv(int fd, void *data, size_t len, int flags)
{
    return receive(fd, data, len, flags, NULL, NULL, FROM);
}

ssize_t __wrap_recvfrom(int fd, void *data, size_t len, int flags,
                        struct sockaddr *from, socklen_t *size)
{
    return receive(fd, data, len, flags, from, size, FROM);
}

ssize_t socket_read(int fd, void *data, size_t len, uint64_t from)
{
    struct call *call = note(F_READ, fd, len, from);
    if (fails(RECV, call, 0))
        return -1;
    len = shortened(RECV, len, call);
    begin_receiving(fd);
    struct iovec all = {data, len};
    return finish_receiving(call, fd, &all, 1, __real_read(fd, data, len));
}

static ssize_t read_from(int fd, void *data, size_t len, uint64_t from)
{
    if (is_network(fd))
        return socket_read(fd, data, len, from);
    ssize_t n = __real_read(fd, data, len);
    taken_over(fd);
    return n;
}

ssize_t __wrap_read(int fd, void *data, size_t len)
{
    return read_from(fd, data, len, FROM);
}

int __wrap_eventfd_read(int fd, eventfd_t *value)
{
    int result = __real_eventfd_read(fd, value);
    taken_over(fd);
    return result;
}

static ssize_t receive_message(int fd, struct msghdr *message, int flags,
                               uint64_t from)
{
    if (is_local(fd)) {
        ssize_t n = __real_recvmsg(fd, message, flags);
        taken_over(fd);
        return n;
    }
    size_t size = vector_size(message->msg_iov, (int)message->msg_iovlen);
    struct call *call = note(F_RECVMSG, fd, size, from);
    if (fails(RECV, call, flags))
        return -1;
    struct iovec cut[VECTORS];
    struct msghdr shorter = *message;
    struct vector all = {message->msg_iov, (int)message->msg_iovlen};
    struct vector part = shortened_vector(RECV, all, cut, call);
    shorter.msg_iov = (struct iovec *)part.at;
    shorter.msg_iovlen = (size_t)part.count;
    begin_receiving(fd);
    ssize_t n = __real_recvmsg(fd, &shorter, flags);
    message->msg_namelen = shorter.msg_namelen;
    message->msg_controllen = shorter.msg_controllen;
    message->msg_flags = shorter.msg_flags;
    int count = flags & MSG_TRUNC ? 0 : (int)message->msg_iovlen; /* as above */
    return finish_receiving(call, fd, message->msg_iov, count, n);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    return receive_message(fd, message, flags, FROM);
}

/* Receives one message only: fewer than asked for is a right answer, too. */
int __wrap_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *time)
{
    (void)time; /* is looked at between messages */
    if (count == 0)
        return 0;
    ssize_t n =
        receive_message(fd, &messages->msg_hdr, flags & ~MSG_WAITFORONE, FROM);
    messages->msg_len = n > 0 ? (unsigned)n : 0;
    return n < 0 ? -1 : 1;
}

ssize_t __wrap_readv(int fd, const struct iovec *vector, int count)
{
    if (!is_network(fd)) {
        ssize_t n = __real_readv(fd, vector, count);
        taken_over(fd);
        return n;
    }
    size_t size = vector_size(vector, count);
    struct call *call = note(F_READ, fd, size, FROM);
    if (fails(RECV, call, 0))
        return -1;
    struct iovec cut[VECTORS];
    struct vector part =
        shortened_vector(RECV, (struct vector){vector, count}, cut, call);
    begin_receiving(fd);
    return finish_receiving(call, fd, part.at, part.count,
                            __real_readv(fd, part.at, part.count));
}

/* What these calls become in a file that says #define _FORTIFY_SOURCE. */

ssize_t __wrap___recv_chk(int fd, void *data, size_t len, size_t room,
                          int flags)
{
    if (len > room)
        __chk_fail();
    return receive(fd, data, len, flags, NULL, NULL, FROM);
}

ssize_t __wrap___recvfrom_chk(int fd, void *data, size_t len, size_t room,
                              int flags, struct sockaddr *from, socklen_t *size)
{
    if (len > room)
        __chk_fail();
    return receive(fd, data, len, flags, from, size, FROM);
}

ssize_t __wrap___read_chk(int fd, void *data, size_t len, size_t room)
{
    if (len > room)
        __chk_fail();
    return read_from(fd, data, len, FROM);
}
