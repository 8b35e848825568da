#include "names.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Says whether name is 1 to NAMES_LEN_MAX of the permitted characters. */
static int name_valid(const char *name, size_t len)
{
    if (len < 1 || len > NAMES_LEN_MAX)
        return 0;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];

        /* isalnum() would depend on the locale. */
        if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
            !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return 0;
    }
    return 1;
}

/* Chooses the bucket for a name: the hash function FNV-1a. */
static struct peer **bucket_of(struct names *names, const char *name,
                               size_t len)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    return &names->buckets[hash % NAMES_BUCKETS];
}

/* Borrows name. The caller holds the lock, as for all *_locked functions. */
static struct peer *find_locked(struct names *names, const char *name,
                                size_t len)
{
    struct peer *peer = *bucket_of(names, name, len);

    /* Whole names are compared: "bob" is neither "bo" nor "bobby". */
    while (peer != NULL &&
           (strlen(peer->name) != len || memcmp(peer->name, name, len) != 0))
        peer = peer->next;
    return peer;
}

int names_init(struct names *names)
{
    int err = pthread_mutex_init(&names->lock, NULL);

    if (err != 0) {
        errno = err;
        return -1;
    }
    for (size_t i = 0; i < NAMES_BUCKETS; i++)
        names->buckets[i] = NULL;
    return 0;
}

struct peer *peer_new(int fd)
{
    /* Not calloc: most of an outbox is never used, and stays untouched. */
    struct peer *peer = malloc(sizeof *peer);

    if (peer == NULL)
        return NULL;
    if (outbox_init(&peer->outbox, fd) == -1) {
        free(peer);
        return NULL;
    }
    peer->name[0] = '\0';
    peer->next = NULL;
    peer->references = 1;
    return peer;
}

static int enter_locked(struct names *names, struct peer *peer,
                        const char *name, size_t len)
{
    if (peer->name[0] != '\0') {
        errno = EALREADY;
        return -1;
    }
    if (find_locked(names, name, len) != NULL) {
        errno = EEXIST;
        return -1;
    }

    struct peer **bucket = bucket_of(names, name, len);

    memcpy(peer->name, name, len);
    peer->name[len] = '\0';
    peer->next = *bucket;
    *bucket = peer;
    return 0;
}

int names_enter(struct names *names, struct peer *peer, const char *name,
                size_t len)
{
    if (!name_valid(name, len)) {
        errno = EINVAL;
        return -1;
    }

    /* If the lock were given back between the look and the entry, two clients
     * could both find the name free. */
    pthread_mutex_lock(&names->lock);
    int result = enter_locked(names, peer, name, len);
    pthread_mutex_unlock(&names->lock);
    return result;
}

struct peer *names_find(struct names *names, const char *name, size_t len)
{
    pthread_mutex_lock(&names->lock);
    struct peer *peer = find_locked(names, name, len);

    /* Counted before the lock is given back: a moment later the client could
     * have left and be freed. */
    if (peer != NULL)
        peer->references++;
    pthread_mutex_unlock(&names->lock);
    return peer;
}

void names_hold(struct names *names, struct peer *peer)
{
    pthread_mutex_lock(&names->lock);
    peer->references++;
    pthread_mutex_unlock(&names->lock);
}

void names_release(struct names *names, struct peer *peer)
{
    pthread_mutex_lock(&names->lock);
    peer->references--;
    int last = peer->references == 0;
    pthread_mutex_unlock(&names->lock);

    /* Nobody can find it or has a reference, so no lock is needed here. */
    if (last) {
        outbox_destroy(&peer->outbox);
        free(peer);
    }
}

static void remove_locked(struct names *names, struct peer *peer)
{
    struct peer **link = bucket_of(names, peer->name, strlen(peer->name));

    while (*link != peer)
        link = &(*link)->next;
    *link = peer->next;
    peer->next = NULL;
    peer->name[0] = '\0';
}

void names_remove(struct names *names, struct peer *peer)
{
    pthread_mutex_lock(&names->lock);
    if (peer->name[0] != '\0')
        remove_locked(names, peer);
    pthread_mutex_unlock(&names->lock);
}

static size_t list_locked(struct names *names, char *text, size_t size)
{
    size_t used = 0;

    for (size_t i = 0; i < NAMES_BUCKETS; i++) {
        struct peer *peer = names->buckets[i];

        for (; peer != NULL; peer = peer->next) {
            size_t len = strlen(peer->name);

            if (len + 1 > size - used)
                return used;
            text[used] = ' ';
            memcpy(text + used + 1, peer->name, len);
            used += len + 1;
        }
    }
    return used;
}

size_t names_list(struct names *names, char *text, size_t size)
{
    pthread_mutex_lock(&names->lock);
    size_t used = list_locked(names, text, size);
    pthread_mutex_unlock(&names->lock);
    return used;
}
