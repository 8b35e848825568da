/* Stage 4: a thread for each client, and a table of names. */
#include "framing.h"
#include "names.h"
#include "net.h"
#include "outbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One client, as its own thread sees it. Used by no other thread. */
struct session {
    struct names *names; /* borrowed */
    struct peer *peer;   /* one reference */
    int leaving;         /* no more commands are served */

    /* TODO 4.6, step 1: what else does a client's thread need, and which
     * outboxes must it remember to flush? See handouts/stage4.md. */
    struct frame_reader reader;
};

/* Serves one message, which begins with a command. */
static void handle_command(struct session *session, const char *body,
                           size_t len)
{
    /* TODO 4.7: NAME, TO, WHO, QUIT or ERR bad command; exactly one reply for
     * each. See handouts/stage4.md. */
    errno = ENOSYS;
}

/* The life of a client's thread, which owns the session. */
static void *session_run(void *arg)
{
    /* TODO 4.6, step 3: frame_fill(), then handle_command() each message that
     * frame_next() finds, then flush every outbox used; at the end take the
     * name out of the table first. See handouts/stage4.md. */
    handle_command(arg, "", 0);
    return NULL;
}

/* Serves a new client in a thread of its own. Takes fd. */
static void serve_client(struct names *names, int fd)
{
    /* TODO 4.6, step 2: make a session and a detached thread for it; a failure
     * costs only this client. See handouts/stage4.md. */
    session_run(NULL);
}

int main(int argc, char **argv)
{
    /* TODO 4.6, step 4: take main from your stage 3 server, and make the table
     * with names_init() before you listen. See handouts/stage4.md. */
    serve_client(NULL, -1);
    fprintf(stderr, "server: %s\n", strerror(errno));
    return 1;
}
