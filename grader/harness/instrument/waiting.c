/* poll() and its relatives: failing, noted. */
#define _GNU_SOURCE
#include "core.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

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
    return fails(POLL, call, 0) ? -1
                                : (int)done(call, __real_poll(fds, count, ms));
}

int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *time,
                 const sigset_t *mask)
{
    struct call *call = note(F_POLL, -1, count, FROM);
    return fails(POLL, call, 0)
               ? -1
               : (int)done(call, __real_ppoll(fds, count, time, mask));
}

/* What these calls become in a file that says #define _FORTIFY_SOURCE. */

int __wrap___poll_chk(struct pollfd *fds, nfds_t count, int ms, size_t room)
{
    struct call *call = note(F_POLL, -1, count, FROM);
    if (count > room / sizeof *fds)
        __chk_fail();
    return fails(POLL, call, 0) ? -1
                                : (int)done(call, __real_poll(fds, count, ms));
}

int __wrap___ppoll_chk(struct pollfd *fds, nfds_t count,
                       const struct timespec *time, const sigset_t *mask,
                       size_t room)
{
    struct call *call = note(F_POLL, -1, count, FROM);
    if (count > room / sizeof *fds)
        __chk_fail();
    return fails(POLL, call, 0)
               ? -1
               : (int)done(call, __real_ppoll(fds, count, time, mask));
}

int __wrap_select(int count, fd_set *in, fd_set *out, fd_set *errors,
                  struct timeval *time)
{
    struct call *call = note(F_SELECT, -1, (size_t)count, FROM);
    return fails(POLL, call, 0)
               ? -1
               : (int)done(call, __real_select(count, in, out, errors, time));
}

int __wrap_pselect(int count, fd_set *in, fd_set *out, fd_set *errors,
                   const struct timespec *time, const sigset_t *mask)
{
    struct call *call = note(F_SELECT, -1, (size_t)count, FROM);
    return fails(POLL, call, 0)
               ? -1
               : (int)done(call,
                           __real_pselect(count, in, out, errors, time, mask));
}

REAL(int, epoll_ctl, int, int, int, struct epoll_event *);

/*
 * By descriptor: what a student gave the kernel to keep. If it is an address,
 * and nobody else knows it, valgrind would take the memory for lost.
 */
static uint64_t kept[DESCRIPTORS];

void no_longer_kept(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS)
        STORE(kept[fd], 0);
}

int __wrap_epoll_ctl(int fd, int how, int other, struct epoll_event *event)
{
    if (event != NULL)
        handed_over_as(event->data.u64);
    if (how == EPOLL_CTL_DEL)
        no_longer_kept(other);
    else if (event != NULL && other >= 0 && other < DESCRIPTORS)
        STORE(kept[other], event->data.u64);
    return __real_epoll_ctl(fd, how, other, event);
}

static int finish_epoll(struct call *call, const struct epoll_event *events,
                        int count)
{
    done(call, count);
    for (int i = 0; i < count; i++)
        taken_over_as(events[i].data.u64);
    return count;
}

int __wrap_epoll_wait(int fd, struct epoll_event *events, int count, int ms)
{
    struct call *call = note(F_EPOLL, fd, (size_t)count, FROM);
    return fails(POLL, call, 0)
               ? -1
               : finish_epoll(call, events,
                              __real_epoll_wait(fd, events, count, ms));
}

int __wrap_epoll_pwait(int fd, struct epoll_event *events, int count, int ms,
                       const sigset_t *mask)
{
    struct call *call = note(F_EPOLL, fd, (size_t)count, FROM);
    return fails(POLL, call, 0)
               ? -1
               : finish_epoll(call, events,
                              __real_epoll_pwait(fd, events, count, ms, mask));
}
