#include "outbox.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int outbox_init(struct outbox *box, int fd)
{
    /* TODO 4.4, step 1: make the lock; the box is empty.
     * See handouts/stage4.md. */
    errno = ENOSYS;
    return -1;
}

void outbox_destroy(struct outbox *box)
{
    /* TODO 4.4, step 2: close the descriptor, destroy the lock.
     * See handouts/stage4.md. */
    errno = ENOSYS;
}

int outbox_append(struct outbox *box, const char *body, size_t len)
{
    /* TODO 4.4, step 3: under the lock, write the whole message behind what
     * waits already, if there is room. See handouts/stage4.md. */
    errno = ENOSYS;
    return -1;
}

void outbox_end(struct outbox *box, const char *last)
{
    /* TODO 4.4, step 4: append the last message and close the box.
     * See handouts/stage4.md. */
    errno = ENOSYS;
}

int outbox_send(struct outbox *box)
{
    /* TODO 4.4, step 5: send() with MSG_DONTWAIT until nothing is left or the
     * kernel has no room. See handouts/stage4.md. */
    errno = ENOSYS;
    return -1;
}

void outbox_flush(struct outbox *box)
{
    /* TODO 4.5, first half: send, and wait for room with wait_ready() and
     * without the lock, for OUTBOX_PATIENCE_MS at most since the last
     * progress. See handouts/stage4.md. */
    errno = ENOSYS;
}

void outbox_drop(struct outbox *box)
{
    /* TODO 4.5, second half: forget what waits and shutdown() the connection,
     * so that the client's own thread ends. See handouts/stage4.md. */
    errno = ENOSYS;
}
