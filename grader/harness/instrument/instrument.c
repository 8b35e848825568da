/*
 * The instrument: stands between a student's code and the system.
 *
 * The linker sends the calls of the student's own objects here (ld --wrap), and
 * nobody else's, so it works with valgrind and the sanitizers. What it does is
 * said by rules in a page of memory that it shares with the harness: a rule
 * makes one family of calls short, fails it, or delays it, by the number of
 * the call and never by chance, and counts each time it does so. In the same
 * page it notes every call: when, which thread, from where, how many bytes.
 *
 * Without the page (RELAYLAB_INSTRUMENT is not set) every call passes through.
 *
 * It takes no locks, because a lock would order the student's threads, and the
 * race detectors would then see fewer races. __init__.py has the other end.
 */
#define _GNU_SOURCE
#include "instrument.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

enum {
    DESCRIPTORS = 4096, /* larger numbers are not followed */
    VECTORS = 64,       /* of one readv() or sendmsg() that is made short */
    STREAMS = 256       /* of sockets that are read with stdio */
};

static struct page *page;

/* By descriptor: which thread sent last, how often accept() gave the number. */
static int last_sender[DESCRIPTORS];
static unsigned accepted[DESCRIPTORS];
static unsigned accepts_begun, threads_begun;

extern char __executable_start; /* by the linker: addresses count from here */

#define REAL(type, name, ...) extern type __real_##name(__VA_ARGS__)
#define FROM                                                                   \
    ((uint64_t)((char *)__builtin_return_address(0) - &__executable_start))
#define ADD(where, n) __atomic_add_fetch(&(where), n, __ATOMIC_SEQ_CST)
#define LOAD(where) __atomic_load_n(&(where), __ATOMIC_SEQ_CST)
#define STORE(where, n) __atomic_store_n(&(where), n, __ATOMIC_SEQ_CST)

REAL(int, close, int);
REAL(void *, malloc, size_t);

__attribute__((constructor)) static void open_page(void)
{
    const char *path = getenv("RELAYLAB_INSTRUMENT");
    if (path == NULL)
        return;
    int fd = open(path, O_RDWR);
    if (fd == -1)
        return;
    void *memory =
        mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    __real_close(fd);
    if (memory != MAP_FAILED)
        page = memory;

    /* The debugger comes in here, before main(). */
    if (getenv("RELAYLAB_DEBUG") != NULL) {
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
        raise(SIGSTOP);
    }
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pause_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000,
                            .tv_nsec = ms % 1000 * 1000000L};
    while (nanosleep(&left, &left) == -1)
        ;
}

static int is_socket(int fd)
{
    int saved = errno, type;
    socklen_t size = sizeof type;
    int answer = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
    errno = saved;
    return answer;
}

/* -- rules ------------------------------------------------------------------ */

/* True if the rule applies to its call number n; calls count from 1. */
static int applies(const struct rule *rule, unsigned n)
{
    if (n < rule->first || (rule->last != 0 && n > rule->last))
        return 0;
    return rule->every == 0 || (n - rule->first) % rule->every == 0;
}

/*
 * Counts a call for every armed rule of this family and action.
 * Returns the rule that applies to it, or NULL.
 */
static struct rule *rule_for(unsigned family, unsigned action)
{
    struct rule *found = NULL;

    if (page == NULL)
        return NULL;
    for (unsigned i = 0; i < LOAD(page->rules_len); i++) {
        struct rule *rule = &page->rules[i];
        if (rule->family != family || rule->action != action ||
            !LOAD(rule->armed))
            continue;
        unsigned n = ADD(rule->seen, 1);
        if (found == NULL && applies(rule, n)) {
            rule->number = n;
            found = rule;
        }
    }
    return found;
}

static unsigned met(struct rule *rule)
{
    ADD(rule->met, 1);
    return (unsigned)(rule - page->rules) + 1;
}

/* -- the trace -------------------------------------------------------------- */

static struct call *note(unsigned function, int fd, size_t asked, uint64_t from)
{
    static struct call nowhere;

    if (page == NULL)
        return &nowhere;
    unsigned n = ADD(page->calls_len, 1) - 1;
    struct call *call = &page->calls[n % CALLS];
    STORE(call->state, CALL_FREE);
    call->began = now();
    call->thread = (int32_t)syscall(SYS_gettid);
    call->function = function;
    call->fd = fd;
    call->asked = (int64_t)asked;
    call->from = from;
    call->fault = 0;
    call->size = 0;
    STORE(call->state, CALL_BEGUN);
    return call;
}

/* Byte by byte: the sanitizers would look into memcpy(). */
static void keep_bytes(struct call *call, const void *data, int64_t len)
{
    const volatile char *bytes = data;
    volatile char *kept = call->data;

    for (int64_t i = 0; i < len && i < CALL_DATA; i++)
        kept[i] = bytes[i];
    call->size = len > CALL_DATA ? CALL_DATA : (uint32_t)(len > 0 ? len : 0);
}

static void keep_vector(struct call *call, const struct iovec *vector,
                        int count, int64_t len)
{
    char head[CALL_DATA];
    size_t size = 0;

    for (int i = 0; i < count && len > 0; i++)
        for (size_t j = 0;
             j < vector[i].iov_len && len > 0 && size < sizeof head; j++, len--)
            head[size++] = ((const volatile char *)vector[i].iov_base)[j];
    keep_bytes(call, head, (int64_t)size);
}

static int64_t done(struct call *call, int64_t result)
{
    call->result = result;
    call->error = result < 0 ? errno : 0;
    call->ended = page != NULL ? now() : 0;
    STORE(call->state, CALL_ENDED);
    return result;
}

/* Fails the call if a rule says so. Returns 1 with errno set, or 0. */
static int fails(unsigned family, struct call *call)
{
    struct rule *rule = rule_for(family, FAIL);
    if (rule == NULL)
        return 0;
    call->fault = met(rule);
    errno = rule->values[0];
    done(call, -1);
    errno = rule->values[0];
    return 1;
}

/* How many of len bytes a transfer may move; never 0 for more than 0. */
static size_t shortened(unsigned family, size_t len, struct call *call)
{
    struct rule *rule = rule_for(family, SHORT);
    if (rule == NULL || rule->values_len == 0)
        return len;
    size_t most = (size_t)rule->values[(rule->number - 1) % rule->values_len];
    if (most >= len)
        return len;
    call->fault = met(rule);
    return most;
}

static size_t vector_size(const struct iovec *vector, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += vector[i].iov_len;
    return size;
}

/* Copies the first `size` bytes' worth of a vector; returns its length. */
static int cut_vector(struct iovec *cut, const struct iovec *vector, int count,
                      size_t size)
{
    int n = 0;
    for (; n < count && n < VECTORS && size > 0; n++) {
        cut[n] = vector[n];
        if (cut[n].iov_len > size)
            cut[n].iov_len = size;
        size -= cut[n].iov_len;
    }
    return n;
}

/* -- receiving -------------------------------------------------------------- */

REAL(ssize_t, recv, int, void *, size_t, int);
REAL(ssize_t, recvfrom, int, void *, size_t, int, struct sockaddr *,
     socklen_t *);
REAL(ssize_t, recvmsg, int, struct msghdr *, int);
REAL(ssize_t, read, int, void *, size_t);
REAL(ssize_t, readv, int, const struct iovec *, int);

static ssize_t finish_receiving(struct call *call, const void *data, ssize_t n)
{
    if (page != NULL)
        keep_bytes(call, data, n);
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

static ssize_t socket_read(int fd, void *data, size_t len, uint64_t from)
{
    struct call *call = note(F_READ, fd, len, from);
    if (fails(RECV, call))
        return -1;
    return finish_receiving(call, data,
                            __real_read(fd, data, shortened(RECV, len, call)));
}

ssize_t __wrap_read(int fd, void *data, size_t len)
{
    return is_socket(fd) ? socket_read(fd, data, len, FROM)
                         : __real_read(fd, data, len);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    size_t size = vector_size(message->msg_iov, (int)message->msg_iovlen);
    struct call *call = note(F_RECVMSG, fd, size, FROM);
    if (fails(RECV, call))
        return -1;
    struct iovec cut[VECTORS];
    struct msghdr shorter = *message;
    size_t most = shortened(RECV, size, call);
    if (most < size) {
        shorter.msg_iovlen = (size_t)cut_vector(cut, message->msg_iov,
                                                (int)message->msg_iovlen, most);
        shorter.msg_iov = cut;
    }
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
    size_t most = shortened(RECV, size, call);
    if (most < size) {
        count = cut_vector(cut, vector, count, most);
        vector = cut;
    }
    ssize_t n = __real_readv(fd, vector, count);
    if (page != NULL)
        keep_vector(call, vector, count, n);
    return (ssize_t)done(call, n);
}

/* -- sending ---------------------------------------------------------------- */

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

static ssize_t socket_write(int fd, const void *data, size_t len, uint64_t from)
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
    return is_socket(fd) ? socket_write(fd, data, len, FROM)
                         : __real_write(fd, data, len);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    size_t size = vector_size(message->msg_iov, (int)message->msg_iovlen);
    struct call *call = begin_sending(F_SENDMSG, fd, size, FROM);
    if (fails(SEND, call))
        return -1;
    struct iovec cut[VECTORS];
    struct msghdr shorter = *message;
    size_t most = shortened(SEND, size, call);
    if (most < size) {
        shorter.msg_iovlen = (size_t)cut_vector(cut, message->msg_iov,
                                                (int)message->msg_iovlen, most);
        shorter.msg_iov = cut;
    }
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
    size_t most = shortened(SEND, size, call);
    if (most < size) {
        count = cut_vector(cut, vector, count, most);
        vector = cut;
    }
    return finish_sending(call, fd, vector, count,
                          __real_writev(fd, vector, count));
}

/* -- connections ------------------------------------------------------------ */

REAL(int, accept, int, struct sockaddr *, socklen_t *);
REAL(int, accept4, int, struct sockaddr *, socklen_t *, int);
REAL(int, connect, int, const struct sockaddr *, socklen_t);
REAL(int, bind, int, const struct sockaddr *, socklen_t);
REAL(int, listen, int, int);
REAL(int, socket, int, int, int);
REAL(int, shutdown, int, int);

static int finish_accepting(struct call *call, int fd)
{
    if (page != NULL && fd >= 0 && fd < DESCRIPTORS)
        ADD(accepted[fd], 1);
    return (int)done(call, fd);
}

int __wrap_accept(int listener, struct sockaddr *from, socklen_t *size)
{
    struct call *call = note(F_ACCEPT, listener, 0, FROM);
    ADD(accepts_begun, 1);
    return fails(ACCEPT, call)
               ? -1
               : finish_accepting(call, __real_accept(listener, from, size));
}

int __wrap_accept4(int listener, struct sockaddr *from, socklen_t *size,
                   int flags)
{
    struct call *call = note(F_ACCEPT, listener, 0, FROM);
    ADD(accepts_begun, 1);
    return fails(ACCEPT, call)
               ? -1
               : finish_accepting(call,
                                  __real_accept4(listener, from, size, flags));
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
    struct sockaddr_storage copy;
    struct call *call = note(F_CONNECT, fd, 0, FROM);
    struct rule *rule = rule_for(CONNECT, FAIL);

    where = moved(where, size, &copy);
    if (rule == NULL)
        return (int)done(call, __real_connect(fd, where, size));
    call->fault = met(rule);
    errno = rule->values[0];
    return (int)done(call, errno == EINTR ? interrupted_connect(fd, where, size)
                                          : -1);
}

int __wrap_bind(int fd, const struct sockaddr *where, socklen_t size)
{
    struct sockaddr_storage copy;
    struct call *call = note(F_BIND, fd, 0, FROM);
    return fails(BIND, call)
               ? -1
               : (int)done(call,
                           __real_bind(fd, moved(where, size, &copy), size));
}

int __wrap_listen(int fd, int backlog)
{
    struct call *call = note(F_LISTEN, fd, (size_t)backlog, FROM);
    return fails(LISTEN, call) ? -1
                               : (int)done(call, __real_listen(fd, backlog));
}

int __wrap_socket(int family, int type, int protocol)
{
    struct call *call = note(F_SOCKET, -1, 0, FROM);
    return fails(SOCKET, call)
               ? -1
               : (int)done(call, __real_socket(family, type, protocol));
}

int __wrap_shutdown(int fd, int how)
{
    return (int)done(note(F_SHUTDOWN, fd, (size_t)how, FROM),
                     __real_shutdown(fd, how));
}

/*
 * Holds the closing thread where it is while the rule is armed, at most
 * values[0] ms, and notes when accept() has given its number to somebody else.
 */
static void park(int fd, struct call *call)
{
    struct rule *rule =
        fd >= 0 && fd < DESCRIPTORS ? rule_for(CLOSE, PARK) : NULL;
    if (rule == NULL)
        return;
    unsigned before = LOAD(accepted[fd]), used = 0;
    call->fault = met(rule);
    for (int ms = 0; ms < rule->values[0] && LOAD(rule->armed); ms++) {
        if (!used && LOAD(accepted[fd]) != before) {
            used = 1;
            ADD(rule->hits, 1);
        }
        pause_ms(1);
    }
    ADD(rule->released, 1);
}

static int noted_close(int fd, uint64_t from)
{
    int was_socket = is_socket(fd);
    struct call *call = note(F_CLOSE, fd, 0, from);
    int result = (int)done(call, __real_close(fd));
    int error = errno;
    if (was_socket)
        park(fd, call);
    errno = error;
    return result;
}

int __wrap_close(int fd)
{
    return noted_close(fd, FROM);
}

/* -- waiting ---------------------------------------------------------------- */

REAL(int, poll, struct pollfd *, nfds_t, int);
REAL(int, ppoll, struct pollfd *, nfds_t, const struct timespec *,
     const sigset_t *);
REAL(int, select, int, fd_set *, fd_set *, fd_set *, struct timeval *);
REAL(int, pselect, int, fd_set *, fd_set *, fd_set *, const struct timespec *,
     const sigset_t *);
REAL(int, epoll_wait, int, struct epoll_event *, int, int);
REAL(int, epoll_pwait, int, struct epoll_event *, int, int, const sigset_t *);

int __wrap_poll(struct pollfd *fds, nfds_t count, int ms)
{
    struct call *call = note(F_POLL, -1, count, FROM);
    return fails(POLL, call) ? -1
                             : (int)done(call, __real_poll(fds, count, ms));
}

int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *time,
                 const sigset_t *mask)
{
    struct call *call = note(F_POLL, -1, count, FROM);
    return fails(POLL, call)
               ? -1
               : (int)done(call, __real_ppoll(fds, count, time, mask));
}

int __wrap_select(int count, fd_set *in, fd_set *out, fd_set *errors,
                  struct timeval *time)
{
    struct call *call = note(F_SELECT, -1, (size_t)count, FROM);
    return fails(POLL, call)
               ? -1
               : (int)done(call, __real_select(count, in, out, errors, time));
}

int __wrap_pselect(int count, fd_set *in, fd_set *out, fd_set *errors,
                   const struct timespec *time, const sigset_t *mask)
{
    struct call *call = note(F_SELECT, -1, (size_t)count, FROM);
    return fails(POLL, call)
               ? -1
               : (int)done(call,
                           __real_pselect(count, in, out, errors, time, mask));
}

int __wrap_epoll_wait(int fd, struct epoll_event *events, int count, int ms)
{
    struct call *call = note(F_EPOLL, fd, (size_t)count, FROM);
    return fails(POLL, call)
               ? -1
               : (int)done(call, __real_epoll_wait(fd, events, count, ms));
}

int __wrap_epoll_pwait(int fd, struct epoll_event *events, int count, int ms,
                       const sigset_t *mask)
{
    struct call *call = note(F_EPOLL, fd, (size_t)count, FROM);
    return fails(POLL, call)
               ? -1
               : (int)done(call,
                           __real_epoll_pwait(fd, events, count, ms, mask));
}

/* -- threads and locks ------------------------------------------------------ */

REAL(int, pthread_create, pthread_t *, const pthread_attr_t *,
     void *(*)(void *), void *);
REAL(int, thrd_create, thrd_t *, thrd_start_t, void *);
REAL(int, pthread_mutex_unlock, pthread_mutex_t *);
REAL(int, pthread_rwlock_unlock, pthread_rwlock_t *);
REAL(int, pthread_spin_unlock, pthread_spinlock_t *);
REAL(int, mtx_unlock, mtx_t *);
REAL(int, sem_post, sem_t *);

/* A thread that does not start before its maker has gone on. */
struct late_start {
    void *(*run)(void *);
    thrd_start_t run_c11;
    void *argument;
    struct rule *rule;
    unsigned thread, accepts;
};

/*
 * Waits until the maker makes the next thread; or, if it waits for a client
 * instead, values[0] ms; at most values[1] ms.
 */
static void start_late(const struct late_start *start)
{
    int after_accept = 0;

    for (int ms = 0; ms < start->rule->values[1]; ms++) {
        if (LOAD(threads_begun) != start->thread)
            return;
        after_accept += LOAD(accepts_begun) != start->accepts;
        if (after_accept > start->rule->values[0])
            return;
        pause_ms(1);
    }
}

static void *late_thread(void *argument)
{
    struct late_start start = *(struct late_start *)argument;
    free(argument);
    start_late(&start);
    return start.run(start.argument);
}

static int late_thread_c11(void *argument)
{
    struct late_start start = *(struct late_start *)argument;
    free(argument);
    start_late(&start);
    return start.run_c11(start.argument);
}

/* What a thread that is to start late needs, or NULL: it starts at once. */
static struct late_start *make_late(void *argument, struct call *call)
{
    unsigned thread = ADD(threads_begun, 1);
    struct rule *rule = rule_for(THREAD, LATE);
    struct late_start *start =
        rule != NULL ? __real_malloc(sizeof *start) : NULL;

    if (start == NULL)
        return NULL;
    call->fault = met(rule);
    start->argument = argument;
    start->rule = rule;
    start->thread = thread;
    start->accepts = LOAD(accepts_begun);
    return start;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how,
                          void *(*run)(void *), void *argument)
{
    struct call *call = note(F_THREAD, -1, 0, FROM);
    if (fails(THREAD, call))
        return errno; /* the pthread functions return the error */
    struct late_start *start = make_late(argument, call);
    if (start == NULL)
        return (int)done(call,
                         __real_pthread_create(thread, how, run, argument));
    start->run = run;
    return (int)done(call,
                     __real_pthread_create(thread, how, late_thread, start));
}

int __wrap_thrd_create(thrd_t *thread, thrd_start_t run, void *argument)
{
    struct call *call = note(F_THREAD, -1, 0, FROM);
    if (fails(THREAD, call))
        return thrd_error;
    struct late_start *start = make_late(argument, call);
    if (start == NULL)
        return (int)done(call, __real_thrd_create(thread, run, argument));
    start->run_c11 = run;
    return (int)done(call, __real_thrd_create(thread, late_thread_c11, start));
}

REAL(int, pthread_mutex_lock, pthread_mutex_t *);
REAL(int, pthread_join, pthread_t, void **);
REAL(int, pthread_cond_wait, pthread_cond_t *, pthread_mutex_t *);
REAL(int, sem_wait, sem_t *);

/* Only a lock that somebody has is noted: those that are free are too many. */
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
    if (page == NULL || *(volatile int *)&lock->__data.__lock == 0)
        return __real_pthread_mutex_lock(lock);
    struct call *call = note(F_LOCK, -1, 0, FROM);
    return (int)done(call, __real_pthread_mutex_lock(lock));
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
    struct call *call = note(F_JOIN, -1, 0, FROM);
    return (int)done(call, __real_pthread_join(thread, result));
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock)
{
    struct call *call = note(F_CONDITION, -1, 0, FROM);
    return (int)done(call, __real_pthread_cond_wait(condition, lock));
}

int __wrap_sem_wait(sem_t *semaphore)
{
    struct call *call = note(F_SEMAPHORE, -1, 0, FROM);
    return (int)done(call, __real_sem_wait(semaphore));
}

/* A thread that has just given a lock back waits, so that another gets it. */
static int unlocked(int result)
{
    struct rule *rule = rule_for(UNLOCK, DELAY);
    if (rule != NULL) {
        met(rule);
        pause_ms((unsigned)rule->values[0]);
    }
    return result;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock)
{
    return unlocked(__real_pthread_mutex_unlock(lock));
}

int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    return unlocked(__real_pthread_rwlock_unlock(lock));
}

int __wrap_pthread_spin_unlock(pthread_spinlock_t *lock)
{
    return unlocked(__real_pthread_spin_unlock(lock));
}

int __wrap_mtx_unlock(mtx_t *lock)
{
    return unlocked(__real_mtx_unlock(lock));
}

int __wrap_sem_post(sem_t *semaphore)
{
    return unlocked(__real_sem_post(semaphore));
}

/* -- memory ----------------------------------------------------------------- */

REAL(void *, calloc, size_t, size_t);
REAL(void *, realloc, void *, size_t);
REAL(char *, strdup, const char *);
REAL(char *, strndup, const char *, size_t);

static int no_memory(size_t size, uint64_t from)
{
    struct rule *rule = rule_for(ALLOC, FAIL);
    if (rule == NULL)
        return 0;
    struct call *call = note(F_ALLOC, -1, size, from);
    call->fault = met(rule);
    errno = ENOMEM;
    done(call, -1);
    errno = ENOMEM;
    return 1;
}

void *__wrap_malloc(size_t size)
{
    return no_memory(size, FROM) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory(count * size, FROM) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return no_memory(size, FROM) ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return no_memory(0, FROM) ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
    return no_memory(size, FROM) ? NULL : __real_strndup(text, size);
}

/* -- stdio on a socket ------------------------------------------------------ */

/*
 * A stream that a student makes of a socket reads and writes inside the C
 * library, where nothing is wrapped. Here it gets functions of its own that do.
 */
REAL(FILE *, fdopen, int, const char *);
REAL(int, fileno, FILE *);

static struct {
    FILE *stream;
    int fd;
} streams[STREAMS];

static ssize_t stream_read(void *cookie, char *data, size_t len)
{
    return socket_read((int)(intptr_t)cookie, data, len, 0);
}

static ssize_t stream_write(void *cookie, const char *data, size_t len)
{
    ssize_t n = socket_write((int)(intptr_t)cookie, data, len, 0);
    return n < 0 ? 0 : n; /* fopencookie(3): 0 means an error */
}

static int stream_close(void *cookie)
{
    for (int i = 0; i < STREAMS; i++)
        if (LOAD(streams[i].fd) == (int)(intptr_t)cookie)
            STORE(streams[i].stream, NULL);
    return noted_close((int)(intptr_t)cookie, 0);
}

FILE *__wrap_fdopen(int fd, const char *mode)
{
    if (page == NULL || !is_socket(fd))
        return __real_fdopen(fd, mode);
    cookie_io_functions_t functions = {
        .read = stream_read, .write = stream_write, .close = stream_close};
    FILE *stream = fopencookie((void *)(intptr_t)fd, mode, functions);
    FILE *none = NULL;
    for (int i = 0; stream != NULL && i < STREAMS; i++, none = NULL)
        if (__atomic_compare_exchange_n(&streams[i].stream, &none, stream, 0,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            STORE(streams[i].fd, fd);
            break;
        }
    return stream;
}

int __wrap_fileno(FILE *stream)
{
    for (int i = 0; i < STREAMS; i++)
        if (LOAD(streams[i].stream) == stream)
            return LOAD(streams[i].fd);
    return __real_fileno(stream);
}
