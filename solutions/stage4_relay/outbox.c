#include "outbox.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* How often, in milliseconds, a thread that waits looks for progress. */
enum { LOOK_EVERY = 500 };

int outbox_init(struct outbox *box, int fd)
{
    int err = pthread_mutex_init(&box->lock, NULL);

    if (err != 0) {
        errno = err;
        return -1;
    }
    box->fd = fd;
    box->start = 0;
    box->end = 0;
    box->sent = 0;
    box->taken = 0;
    box->stalled_since = 0;
    box->closed = 0;
    box->dead = 0;
    return 0;
}

void outbox_destroy(struct outbox *box)
{
    close(box->fd);
    pthread_mutex_destroy(&box->lock);
}

/* Makes room for size bytes. Returns 0, or -1 with errno ENOBUFS. */
static int make_room_locked(struct outbox *box, size_t size)
{
    /* The end of the array is kept free for a last message. */
    size_t limit = OUTBOX_SIZE - OUTBOX_LAST_MAX;

    if (box->end + size > limit) {
        memmove(box->data, box->data + box->start, box->end - box->start);
        box->end -= box->start;
        box->start = 0;
    }
    if (box->end + size > limit) {
        errno = ENOBUFS;
        return -1;
    }
    return 0;
}

static int append_locked(struct outbox *box, const char *body, size_t len)
{
    if (box->closed) {
        errno = EPIPE;
        return -1;
    }
    /* As if every byte had to be escaped: simpler than to count them. */
    if (make_room_locked(box, 2 * len + 4) == -1)
        return -1;
    box->end += frame_encode(box->data + box->end, body, len);
    return 0;
}

int outbox_append(struct outbox *box, const char *body, size_t len)
{
    pthread_mutex_lock(&box->lock);
    int result = append_locked(box, body, len);
    pthread_mutex_unlock(&box->lock);
    return result;
}

void outbox_end(struct outbox *box, const char *last)
{
    pthread_mutex_lock(&box->lock);
    if (!box->closed && last != NULL)
        box->end += frame_encode(box->data + box->end, last, strlen(last));
    box->closed = 1;
    pthread_mutex_unlock(&box->lock);
}

static void drop_locked(struct outbox *box)
{
    box->closed = 1;
    box->dead = 1;
    box->start = 0;
    box->end = 0;

    /* Not close(): other threads still use this number. shutdown() wakes
     * them. Best effort: it fails if the peer has gone, which is as good. */
    shutdown(box->fd, SHUT_RDWR);
}

void outbox_drop(struct outbox *box)
{
    pthread_mutex_lock(&box->lock);
    drop_locked(box);
    pthread_mutex_unlock(&box->lock);
}

/* Notes that the kernel has taken n bytes. */
static void sent_locked(struct outbox *box, size_t n)
{
    box->sent += n;
    box->start += n;
    if (box->start == box->end) {
        box->start = 0;
        box->end = 0;
        box->stalled_since = 0;
    }
}

/*
 * Notes that there is no room. The patience begins anew only when the client
 * has taken something: that send() succeeds proves nothing, because the kernel
 * may just have made its buffer larger. SIOCOUTQ counts the bytes that the
 * client has not acknowledged, see tcp(7).
 */
static void stalled_locked(struct outbox *box)
{
    int waiting = 0;

    /* Best effort: without the count, all that was sent counts as taken. */
    ioctl(box->fd, SIOCOUTQ, &waiting);
    unsigned long long taken = box->sent - (unsigned long long)waiting;
    if (box->stalled_since == 0 || taken != box->taken)
        box->stalled_since = wait_clock();
    box->taken = taken;
}

/* Sends until nothing is left or the kernel has no room. */
static void send_locked(struct outbox *box)
{
    while (box->start < box->end) {
        ssize_t n = send(box->fd, box->data + box->start, box->end - box->start,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n >= 0) {
            sent_locked(box, (size_t)n);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            stalled_locked(box);
            return;
        } else if (errno != EINTR) {
            drop_locked(box);
        }
    }
}

int outbox_send(struct outbox *box)
{
    pthread_mutex_lock(&box->lock);
    send_locked(box);
    int left = box->start < box->end;
    pthread_mutex_unlock(&box->lock);
    return left;
}

/*
 * Goes on sending until target bytes have been sent in all.
 * Returns 0 when they are, or when the client was dropped; otherwise 1, and
 * *deadline says until when the client has to take something.
 */
static int send_up_to(struct outbox *box, unsigned long long target,
                      long long *deadline)
{
    pthread_mutex_lock(&box->lock);
    send_locked(box);
    int waiting = !box->dead && box->sent < target;

    /* Asked again here and not after the wait: another thread that waits for
     * this client may have made progress meanwhile. */
    *deadline = box->stalled_since + OUTBOX_PATIENCE_MS;
    if (waiting && wait_clock() >= *deadline) {
        drop_locked(box);
        waiting = 0;
    }
    pthread_mutex_unlock(&box->lock);
    return waiting;
}

void outbox_flush(struct outbox *box)
{
    long long deadline;

    /* Only what is there now: others may append for ever. */
    pthread_mutex_lock(&box->lock);
    unsigned long long target = box->sent + (box->end - box->start);
    pthread_mutex_unlock(&box->lock);

    while (send_up_to(box, target, &deadline)) {
        /* The lock is free during the wait, so that others can append. */
        long long look = wait_clock() + LOOK_EVERY;

        if (wait_ready(box->fd, POLLOUT, look < deadline ? look : deadline) ==
            -1)
            outbox_drop(box);
    }
}
