#include "framing.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

static const char DONE[] = {'D', 'O', 'N', 'E'};

enum {
    DONE_LEN = sizeof DONE,
    DRAIN_TIME = 1000 /* milliseconds that frame_drain waits at most */
};

void frame_init(struct frame_reader *reader, int fd)
{
    reader->fd = fd;
    reader->start = 0;
    reader->end = 0;
    reader->escaped = 0;
    reader->matched = 0;
    reader->len = 0;
}

long frame_fill(struct frame_reader *reader)
{
    ssize_t n;

    reader->start = 0;
    reader->end = 0;
    do
        n = recv(reader->fd, reader->input, sizeof reader->input, 0);
    while (n == -1 && errno == EINTR);
    if (n > 0)
        reader->end = (size_t)n;
    return n;
}

/*
 * Looks at one byte of the stream. It joins the body at once, even if it may
 * belong to a DONE: frame_next takes the four letters off again.
 */
static void take_byte(struct frame_reader *reader, char byte)
{
    if (byte == '\\' && !reader->escaped) {
        reader->escaped = 1;
        reader->matched = 0;
        return;
    }

    reader->body[reader->len++] = byte;
    if (reader->escaped)
        reader->matched = 0;
    else if (byte == DONE[reader->matched])
        reader->matched++;
    else
        reader->matched = byte == DONE[0]; /* DODONE: the D starts anew */
    reader->escaped = 0;
}

int frame_next(struct frame_reader *reader)
{
    if (reader->matched == DONE_LEN) { /* the message of the last call */
        reader->matched = 0;
        reader->len = 0;
    }
    while (reader->start < reader->end && reader->matched < DONE_LEN) {
        take_byte(reader, reader->input[reader->start++]);

        /* Letters that may become a DONE do not count yet. */
        if (reader->len - reader->matched > FRAME_BODY_MAX) {
            errno = EMSGSIZE;
            return -1;
        }
    }
    if (reader->matched < DONE_LEN)
        return 0;
    reader->len -= DONE_LEN;
    return 1;
}

int frame_read(struct frame_reader *reader)
{
    for (;;) {
        int found = frame_next(reader);
        if (found != 0)
            return found;

        long n = frame_fill(reader);
        if (n <= 0)
            return (int)n;
    }
}

/* Tells whether these bytes need a backslash in front of them. */
static int needs_escape(const char *bytes, size_t len)
{
    if (bytes[0] == '\\')
        return 1;
    return len >= DONE_LEN && memcmp(bytes, DONE, DONE_LEN) == 0;
}

size_t frame_encode(char *wire, const char *body, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (needs_escape(body + i, len - i))
            wire[n++] = '\\';
        wire[n++] = body[i];
    }
    memcpy(wire + n, DONE, DONE_LEN);
    return n + DONE_LEN;
}

int send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        /* send() may take less than it was given: the rest is sent next. */
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

int frame_write(int fd, const char *body, size_t len)
{
    char wire[FRAME_WIRE_MAX];

    if (len > FRAME_BODY_MAX) {
        errno = EMSGSIZE;
        return -1;
    }

    /* Body and DONE leave in one piece, not in two small packets. */
    return send_all(fd, wire, frame_encode(wire, body, len));
}

void frame_print(const char *label, const char *body, size_t len)
{
    /* Each of these calls is safe in threads, but only the lock around them
     * keeps another thread's line from coming in between. */
    flockfile(stdout);
    fputs(label, stdout);
    fwrite(body, 1, len, stdout);
    putchar('\n');
    fflush(stdout);
    funlockfile(stdout);
}

void frame_drain(int fd)
{
    char unwanted[4096];
    long long deadline = wait_clock() + DRAIN_TIME;

    /* Best effort: a peer that has gone needs no goodbye. */
    shutdown(fd, SHUT_WR);
    while (wait_clock() < deadline && wait_ready(fd, POLLIN, deadline) == 1) {
        ssize_t n = recv(fd, unwanted, sizeof unwanted, MSG_DONTWAIT);
        if (n == 0 || (n == -1 && errno != EINTR && errno != EAGAIN))
            return;
    }
}

long long wait_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int wait_ready(int fd, short events, long long deadline)
{
    struct pollfd entry = {.fd = fd, .events = events};

    for (;;) {
        /* Computed anew after each signal, so that many do not prolong it. */
        long long left = deadline - wait_clock();
        if (left < 0)
            left = 0;
        if (left > INT_MAX)
            left = INT_MAX;

        int n = poll(&entry, 1, (int)left);
        if (n != -1 || errno != EINTR)
            return n;
    }
}
