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

/*
 * One client. On the heap, because it must outlive the turn of the accept
 * loop that made it, and because no two threads may share it. Made by
 * client_start, then owned by the client's thread, which frees it.
 */
struct client {
    int fd; /* owned */
    struct frame_reader reader;
};

/* Tells whether the message just read is text, which is a C string. */
static int message_is(const struct frame_reader *reader, const char *text)
{
    return reader->len == strlen(text) &&
           memcmp(reader->body, text, reader->len) == 0;
}

/* Sends the last message of a conversation. Returns 0, or -1 with errno. */
static int say_last(int fd, const char *text)
{
    if (frame_write(fd, text, strlen(text)) == -1)
        return -1;
    frame_drain(fd);
    return 0;
}

/* Answers the messages of one client until it ends. 0, or -1 with errno. */
static int converse(struct frame_reader *reader)
{
    for (;;) {
        int got = frame_read(reader);
        if (got == -1 && errno == EMSGSIZE)
            return say_last(reader->fd, "ERR too long");
        if (got != 1)
            return got;

        frame_print("received: ", reader->body, reader->len);
        if (message_is(reader, "QUIT"))
            return say_last(reader->fd, "BYE");
        if (frame_write(reader->fd, reader->body, reader->len) == -1)
            return -1;
    }
}

/* What each thread runs. Takes the struct client that argument points to. */
static void *client_main(void *argument)
{
    struct client *client = argument;

    if (converse(&client->reader) == -1)
        fprintf(stderr, "server: client lost: %s\n", strerror(errno));
    close(client->fd);
    free(client);
    return NULL;
}

/*
 * Starts a thread that serves fd. Takes fd unless it fails.
 * Returns 0, or -1 with errno set.
 */
static int client_start(int fd, const pthread_attr_t *how)
{
    struct client *client = malloc(sizeof *client);
    if (client == NULL)
        return -1;
    client->fd = fd;
    frame_init(&client->reader, fd);

    /* The pthread functions return the error instead of setting errno. */
    pthread_t thread;
    int error = pthread_create(&thread, how, client_main, client);
    if (error != 0) {
        free(client);
        errno = error;
        return -1;
    }
    return 0;
}

/* Fills in how a client's thread is made. Returns 0, or -1 with errno. */
static int choose_attributes(pthread_attr_t *how)
{
    int error = pthread_attr_init(how);

    /* Nobody waits for the end of these threads. Detached ones give their
     * memory back by themselves. */
    if (error == 0)
        error = pthread_attr_setdetachstate(how, PTHREAD_CREATE_DETACHED);
    if (error == 0)
        error = pthread_attr_setstacksize(how, THREAD_STACK);
    errno = error;
    return error == 0 ? 0 : -1;
}

/* Starts a thread for each client that comes. Returns -1 with errno. */
static int serve_all(int listener, const pthread_attr_t *how)
{
    for (;;) {
        int fd = net_accept(listener);
        if (fd == -1)
            return -1;

        /* No thread or no memory: that is bad luck for this client only. */
        if (client_start(fd, how) == -1) {
            fprintf(stderr, "server: client refused: %s\n", strerror(errno));
            close(fd);
        }
    }
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? net_parse_port(argv[1]) : 5000;
    const char *address = argc > 2 ? argv[2] : "127.0.0.1";
    if (argc > 3 || port == -1) {
        fprintf(stderr, "usage: server [PORT [ADDRESS]]\n");
        return 2;
    }

    pthread_attr_t how;
    if (net_init() == -1 || choose_attributes(&how) == -1) {
        fprintf(stderr, "server: preparation: %s\n", strerror(errno));
        return 1;
    }

    const char *failed;
    int listener = net_listen(address, port, &failed);
    if (listener == -1) {
        fprintf(stderr, "server: %s: %s\n", failed, strerror(errno));
        return 1;
    }

    serve_all(listener, &how);
    fprintf(stderr, "server: accept: %s\n", strerror(errno));
    close(listener);
    return 1;
}
