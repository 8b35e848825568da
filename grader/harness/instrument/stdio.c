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

static struct {
    FILE *stream;
    int fd;
} streams[STREAMS];

static ssize_t stream_read(void *cookie, char *data, size_t len)
{
    return socket_read((int)(intptr_t)cookie, data, len, 0);
}

static ssize_t stream_write(void *cookie, const char *data, size_t len)
{
    size_t written = 0;

    /* Like the C library, which writes on until all is written. */
    while (written < len) {
        ssize_t n = socket_write((int)(intptr_t)cookie, data + written,
                                 len - written, 0);
        if (n <= 0)
            break;
        written += (size_t)n;
    }
    return (ssize_t)written; /* fopencookie(3): less than len is an error */
}

static int stream_close(void *cookie)
{
    for (int i = 0; i < STREAMS; i++)
        if (LOAD(streams[i].fd) == (int)(intptr_t)cookie)
            STORE(streams[i].stream, NULL);
    return noted_close((int)(intptr_t)cookie, 0);
}

FILE *__wrap_fdopen(int fd, const char *mode)
{
    if (page == NULL || !is_socket(fd))
        return __real_fdopen(fd, mode);
    cookie_io_functions_t functions = {
        .read = stream_read, .write = stream_write, .close = stream_close};
    FILE *stream = fopencookie((void *)(intptr_t)fd, mode, functions);
    FILE *none = NULL;
    for (int i = 0; stream != NULL && i < STREAMS; i++, none = NULL)
        if (__atomic_compare_exchange_n(&streams[i].stream, &none, stream, 0,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            STORE(streams[i].fd, fd);
            break;
        }
    return stream;
}

int __wrap_fileno(FILE *stream)
{
    for (int i = 0; i < STREAMS; i++)
        if (LOAD(streams[i].stream) == stream)
            return LOAD(streams[i].fd);
    return __real_fileno(stream);
}
