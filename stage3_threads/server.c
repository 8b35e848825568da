/* Stage 3: a thread for each client. */
#include "framing.h"
#include "net.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The default would reserve 8 MiB of addresses for each client. */
enum { THREAD_STACK = 64 * 1024 };

/* One client. Made by client_start, then owned by the client's thread. */
struct client {
    int fd; /* owned */

    /* TODO 3.1, step 1: what else does a client's thread need for itself,
     * and why must it not be a variable of serve_all()?
     * See handouts/stage3.md. */
};

/* What each thread runs. Takes the struct client that argument points to. */
static void *client_main(void *argument)
{
    /* TODO 3.2: converse with the client as in stage 2, then give back all
     * that belongs to it. See handouts/stage3.md. */
    errno = ENOSYS;
    return NULL;
}

/*
 * Starts a thread that serves fd. Takes fd unless it fails.
 * Returns 0, or -1 with errno set.
 */
static int client_start(int fd, const pthread_attr_t *how)
{
    /* TODO 3.1, step 2: make a struct client with malloc() and a detached
     * thread with pthread_create(). See handouts/stage3.md. */
    client_main(NULL);
    return -1;
}

/* Starts a thread for each client that comes. Returns -1 with errno. */
static int serve_all(int listener, const pthread_attr_t *how)
{
    /* TODO 3.3: for ever: net_accept() a client and client_start() it; if
     * that fails, only this client is lost. See handouts/stage3.md. */
    return client_start(-1, how);
}

int main(int argc, char **argv)
{
    /* TODO 3.1, step 3: take main from your stage 2 server; prepare the
     * attributes of a thread, detached and with a stack of THREAD_STACK
     * bytes. See handouts/stage3.md. */
    int listener = -1;

    serve_all(listener, NULL);
    fprintf(stderr, "server: %s\n", strerror(errno));
    return 1;
}
