#include "framing.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

enum {
    DONE_LEN = 4,
    DRAIN_TIME = 1000 /* milliseconds that frame_drain waits at most */
};

/* Given. */
void frame_init(struct frame_reader *reader, int fd)
{
    reader->fd = fd;
    reader->start = 0;
    reader->end = 0;
    reader->escaped = 0;
    reader->matched = 0;
    reader->len = 0;
}

long frame_fill(struct frame_reader *reader)
{
    /* TODO 2.3, first half: one recv() into reader->input; set start and end.
     * See handouts/stage2.md. */
    errno = ENOSYS;
    return -1;
}

int frame_next(struct frame_reader *reader)
{
    /* TODO 2.3, second half: look at the bytes from start to end, one by one:
     * drop a backslash, keep the byte after it, and find DONE, also when it
     * arrives in pieces. See handouts/stage2.md. */
    errno = ENOSYS;
    return -1;
}

int frame_read(struct frame_reader *reader)
{
    /* TODO 2.4: frame_next(), and frame_fill() as long as it says 0.
     * See handouts/stage2.md. */
    errno = ENOSYS;
    return -1;
}

size_t frame_encode(char *wire, const char *body, size_t len)
{
    /* TODO 2.2, first half: copy body to wire, with a backslash before each
     * backslash and each D that begins a DONE; add DONE_LEN bytes of DONE.
     * See handouts/stage2.md. */
    errno = ENOSYS;
    return 0;
}

int send_all(int fd, const char *data, size_t len)
{
    /* TODO 2.1: send() until the kernel has taken all len bytes.
     * See handouts/stage2.md. */
    errno = ENOSYS;
    return -1;
}

int frame_write(int fd, const char *body, size_t len)
{
    /* TODO 2.2, second half: refuse a body that is too long; frame_encode()
     * it and send_all() the result. See handouts/stage2.md. */
    errno = ENOSYS;
    return -1;
}

/* Given. */
void frame_print(const char *label, const char *body, size_t len)
{
    /* Each of these calls is safe in threads, but only the lock around them
     * keeps another thread's line from coming in between. */
    flockfile(stdout);
    fputs(label, stdout);
    fwrite(body, 1, len, stdout);
    putchar('\n');
    fflush(stdout);
    funlockfile(stdout);
}

void frame_drain(int fd)
{
    /* TODO 2.5: shutdown() the sending side; then recv() and discard, until
     * the peer has closed or DRAIN_TIME is over. See handouts/stage2.md. */
    errno = ENOSYS;
}

/* Given. */
long long wait_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Given. */
int wait_ready(int fd, short events, long long deadline)
{
    struct pollfd entry = {.fd = fd, .events = events};

    for (;;) {
        /* Computed anew after each signal, so that many do not prolong it. */
        long long left = deadline - wait_clock();
        if (left < 0)
            left = 0;
        if (left > INT_MAX)
            left = INT_MAX;

        int n = poll(&entry, 1, (int)left);
        if (n != -1 || errno != EINTR)
            return n;
    }
}
