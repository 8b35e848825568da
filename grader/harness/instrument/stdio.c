/* Streams that a student makes of sockets. */
#define _GNU_SOURCE
#include "core.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * A stream that a student makes of a socket reads and writes inside the C
 * library, where nothing is wrapped. Here it gets functions of its own that do.
 */
REAL(FILE *, fdopen, int, const char *);
REAL(int, fileno, FILE *);

enum { STREAMS = 256 };

/* The stream's cookie. taken: 1 from fdopen() to fclose(). */
static struct stream {
    unsigned taken;
    FILE *stream;
    int fd;
} streams[STREAMS];

static ssize_t stream_read(void *cookie, char *data, size_t len)
{
    return socket_read(((struct stream *)cookie)->fd, data, len, 0);
}

static ssize_t stream_write(void *cookie, const char *data, size_t len)
{
    /* fopencookie(3): less than len is an error. */
    return (ssize_t)socket_write_all(((struct stream *)cookie)->fd, data, len,
                                     0);
}

static int stream_close(void *cookie)
{
    struct stream *place = cookie;
    int fd = place->fd;

    STORE(place->stream, NULL);
    STORE(place->taken, 0);
    return noted_close(fd, 0);
}

/* A place that nobody else has, or NULL. */
static struct stream *take_place(void)
{
    for (int i = 0; i < STREAMS; i++) {
        unsigned taken = 0;
        if (__atomic_compare_exchange_n(&streams[i].taken, &taken, 1, 0,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return &streams[i];
    }
    return NULL;
}

FILE *__wrap_fdopen(int fd, const char *mode)
{
    struct stream *place = page != NULL && is_network(fd) ? take_place() : NULL;
    if (place == NULL)
        return __real_fdopen(fd, mode);
    cookie_io_functions_t functions = {
        .read = stream_read, .write = stream_write, .close = stream_close};
    place->fd = fd;
    FILE *stream = fopencookie(place, mode, functions);
    STORE(place->stream, stream);
    if (stream == NULL)
        STORE(place->taken, 0);
    return stream;
}

int __wrap_fileno(FILE *stream)
{
    for (int i = 0; i < STREAMS; i++)
        if (stream != NULL && LOAD(streams[i].stream) == stream)
            return streams[i].fd;
    return __real_fileno(stream);
}
