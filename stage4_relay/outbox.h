/*
 * outbox: the sending side of one client's connection, for many threads.
 *
 * Whoever has a message for a client appends it to the client's outbox and
 * later flushes the outbox. Appending only copies bytes under a lock, so
 * messages of different threads cannot mix, and it never waits. Flushing
 * sends everything that has gathered, whoever appended it, with one send().
 *
 * A client that takes nothing for OUTBOX_PATIENCE_MS while something is to be
 * sent to it is dropped: its connection is shut down, which also wakes its own
 * thread, and everybody who waits for it goes on.
 *
 * The rules:
 * - The lock of an outbox is held across its own send(), which does not wait,
 *   but never while somebody waits, and never together with another lock.
 * - Whoever calls these functions holds a reference to the client (names.h),
 *   so the descriptor stays open, and its number is nobody else's.
 */
#ifndef OUTBOX_H
#define OUTBOX_H

#include "framing.h"

#include <pthread.h>
#include <stddef.h>

enum {
    OUTBOX_LAST_MAX = 64, /* a last message may be this long on the wire */
    OUTBOX_SIZE = 256 * 1024 + OUTBOX_LAST_MAX,
    OUTBOX_PATIENCE_MS = 5000
};

struct outbox {
    /* Set by outbox_init, constant afterwards. */
    int fd; /* owned */

    pthread_mutex_t lock;

    /* Guarded by lock. */
    size_t start;             /* data[start] to data[end - 1] */
    size_t end;               /*     are still to be sent */
    unsigned long long sent;  /* bytes given to send() in all */
    unsigned long long taken; /* of them the client's, at the last EAGAIN */
    long long stalled_since;  /* first EAGAIN since it took any, 0 = none */
    int closed;               /* takes no more messages */
    int dead;                 /* sends nothing more either */
    char data[OUTBOX_SIZE];
};

/*
 * Prepares an outbox for a connection. Takes fd, unless it fails.
 * Returns 0, or -1 with errno set.
 */
int outbox_init(struct outbox *box, int fd);

/* Closes the descriptor. Only when nobody else can reach the outbox. */
void outbox_destroy(struct outbox *box);

/*
 * Appends body as one message. Never waits. Borrows body, which has at most
 * FRAME_BODY_MAX bytes.
 * Returns 0, or -1 with errno EPIPE: the client is leaving or was dropped;
 * or ENOBUFS: no room now, flush and try again.
 */
int outbox_append(struct outbox *box, const char *body, size_t len);

/*
 * Closes the outbox: nothing can be appended after this. The last message,
 * a C string of at most 30 bytes, always finds room; NULL: there is none.
 * What was appended before is still sent by a flush.
 */
void outbox_end(struct outbox *box, const char *last);

/*
 * Sends what the kernel takes at once. Never waits.
 * Returns 0 when nothing is left to be sent (also because the client was
 * dropped), 1 when something is.
 */
int outbox_send(struct outbox *box);

/*
 * Sends everything that was appended before the call, and waits where it must.
 * Returns when it is sent, or when the client was dropped.
 */
void outbox_flush(struct outbox *box);

/*
 * Drops the client: closes the outbox, forgets what was not sent, and shuts
 * the connection down, so that every call that waits for it returns. The
 * descriptor stays open.
 */
void outbox_drop(struct outbox *box);

#endif
