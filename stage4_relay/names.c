#include "names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Says whether name is 1 to NAMES_LEN_MAX of the permitted characters. */
static int name_valid(const char *name, size_t len)
{
    /* TODO 4.2: look at the length and at every byte. See handouts/stage4.md. */
    errno = ENOSYS;
    return 0;
}

int names_init(struct names *names)
{
    /* TODO 4.3, step 1: make the lock and the empty lists.
     * See handouts/stage4.md. */
    errno = ENOSYS;
    return -1;
}

struct peer *peer_new(int fd)
{
    /* TODO 4.1, first part: allocate a peer with one reference and an outbox
     * for fd. See handouts/stage4.md. */
    errno = ENOSYS;
    return NULL;
}

int names_enter(struct names *names, struct peer *peer, const char *name,
                size_t len)
{
    /* TODO 4.3, step 2: a name that is not valid is EINVAL. Then, under the
     * lock, look whether the name is free and enter it: one step.
     * See handouts/stage4.md. */
    if (!name_valid(name, len))
        return -1;
    errno = ENOSYS;
    return -1;
}

struct peer *names_find(struct names *names, const char *name, size_t len)
{
    /* TODO 4.3, step 3: find the whole name and count a reference before the
     * lock is given back. See handouts/stage4.md. */
    errno = ENOSYS;
    return NULL;
}

void names_hold(struct names *names, struct peer *peer)
{
    /* TODO 4.1, second part: one more reference, under the lock.
     * See handouts/stage4.md. */
    errno = ENOSYS;
}

void names_release(struct names *names, struct peer *peer)
{
    /* TODO 4.1, third part: one reference less; whoever drops the last one
     * destroys the outbox and frees the peer. See handouts/stage4.md. */
    errno = ENOSYS;
}

void names_remove(struct names *names, struct peer *peer)
{
    /* TODO 4.3, step 4: take the peer out of its list, if it is there.
     * See handouts/stage4.md. */
    errno = ENOSYS;
}

size_t names_list(struct names *names, char *text, size_t size)
{
    /* TODO 4.3, step 5: each name after one space, as many as fit whole.
     * See handouts/stage4.md. */
    errno = ENOSYS;
    return 0;
}
