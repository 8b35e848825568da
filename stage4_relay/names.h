/*
 * names: the table of names, and the clients as other threads see them.
 *
 * The danger it removes: a thread looks up bob and is about to send, bob
 * leaves, his descriptor is closed, and a stranger's connection gets the same
 * number. Here a client is counted:
 *
 * - peer_new makes a client with one reference, owned by its own thread.
 * - names_find gives the caller a reference of its own; it owns it until
 *   names_release. While anybody has one, the descriptor stays open.
 * - A client that leaves is removed from the table first, so nobody finds it
 *   any more; then its thread releases its reference.
 * - Whoever releases the last one closes the descriptor.
 *
 * The lock of the table is held for a few steps in memory, never while
 * something is sent, and never together with the lock of an outbox.
 */
#ifndef NAMES_H
#define NAMES_H

#include "outbox.h"

#include <pthread.h>
#include <stddef.h>

enum { NAMES_LEN_MAX = 31, NAMES_BUCKETS = 1024 };

/* A client as other threads see it. */
struct peer {
    /* Guarded by the lock of the table. */
    char name[NAMES_LEN_MAX + 1]; /* "" while it is not in the table */
    struct peer *next;            /* in the same bucket */
    int references;

    struct outbox outbox; /* has a lock of its own */
};

struct names {
    pthread_mutex_t lock;

    /* Guarded by lock. A name hangs in the list that its hash value, modulo
     * NAMES_BUCKETS, chooses. */
    struct peer *buckets[NAMES_BUCKETS];
};

/* Prepares an empty table. Returns 0, or -1 with errno set. */
int names_init(struct names *names);

/*
 * Makes a client without a name for the connection fd. Takes fd, unless it
 * fails.
 * Returns it with one reference, which the caller owns, or NULL with errno.
 */
struct peer *peer_new(int fd);

/*
 * Enters peer under a name of len bytes; checking and entering are one step.
 * Borrows name, which need not be a C string.
 * Returns 0, or -1 with errno EINVAL: no name (1 to 31 of A-Z a-z 0-9 _ -),
 * EEXIST: somebody has it, EALREADY: this client is in the table already.
 */
int names_enter(struct names *names, struct peer *peer, const char *name,
                size_t len);

/*
 * Finds who has the name of len bytes. Borrows name.
 * Returns the client with a reference that the caller owns, or NULL.
 */
struct peer *names_find(struct names *names, const char *name, size_t len);

/* Gives the caller, who has a reference to peer, another one. */
void names_hold(struct names *names, struct peer *peer);

/*
 * Gives a reference back. The last one closes the connection and frees the
 * client, which must not be in the table any more.
 */
void names_release(struct names *names, struct peer *peer);

/* Takes peer out of the table, if it is there. References stay valid. */
void names_remove(struct names *names, struct peer *peer);

/*
 * Writes each name with one space before it to text, as many as fit into
 * size bytes, without a NUL. Borrows text.
 * Returns the number of bytes.
 */
size_t names_list(struct names *names, char *text, size_t size);

#endif
