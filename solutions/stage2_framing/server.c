/* Stage 2: one client at a time, any number of messages from each. */
#include "framing.h"
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* Serves one client after the other. Returns -1 with errno. */
static int serve_all(int listener)
{
    struct frame_reader reader;

    for (;;) {
        int fd = net_accept(listener);
        if (fd == -1)
            return -1;

        /* Each connection starts afresh: what is left of the previous
         * client's bytes must not become part of this one's message. */
        frame_init(&reader, fd);
        if (converse(&reader) == -1)
            fprintf(stderr, "server: client lost: %s\n", strerror(errno));
        close(fd);
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
    if (net_init() == -1) {
        fprintf(stderr, "server: net_init: %s\n", strerror(errno));
        return 1;
    }

    const char *failed;
    int listener = net_listen(address, port, &failed);
    if (listener == -1) {
        fprintf(stderr, "server: %s: %s\n", failed, strerror(errno));
        return 1;
    }

    serve_all(listener);
    fprintf(stderr, "server: accept: %s\n", strerror(errno));
    close(listener);
    return 1;
}
