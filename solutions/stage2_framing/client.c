/* Stage 2: sends each line of stdin as a message and prints the replies. */
#include "framing.h"
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Tells whether len bytes are text, which is a C string. */
static int bytes_are(const char *bytes, size_t len, const char *text)
{
    return len == strlen(text) && memcmp(bytes, text, len) == 0;
}

/*
 * Sends one line and prints the reply. A line that does not fit into a
 * message is refused here, and the conversation goes on.
 * Returns 1; 0 if the server has closed; or -1 with errno.
 */
static int exchange(struct frame_reader *reader, const char *line, size_t len)
{
    if (len > FRAME_BODY_MAX) {
        fprintf(stderr, "client: a line of %zu bytes is too long\n", len);
        return 1;
    }
    if (frame_write(reader->fd, line, len) == -1)
        return -1;

    int got = frame_read(reader);
    if (got == 1)
        frame_print("", reader->body, reader->len);
    return got;
}

/*
 * Exchanges the lines of stdin, up to its end or the line QUIT. *line and
 * *size are getline's buffer, which the caller frees.
 * Returns as exchange does.
 */
static int send_lines(struct frame_reader *reader, char **line, size_t *size)
{
    for (;;) {
        /* The length counts, not a NUL: a line may contain one. */
        ssize_t n = getline(line, size, stdin);
        if (n == -1)
            return 1;

        size_t len = (size_t)n;
        if ((*line)[len - 1] == '\n')
            len--;
        if (bytes_are(*line, len, "QUIT"))
            return 1;

        int got = exchange(reader, *line, len);
        if (got != 1)
            return got;
    }
}

/*
 * Sends QUIT and prints what still arrives until the server closes.
 * Returns 1; 0 if the server closed without a BYE, which means that it may
 * have been gone before; or -1 with errno.
 */
static int quit(struct frame_reader *reader)
{
    int bye = 0;

    if (frame_write(reader->fd, "QUIT", 4) == -1)
        return -1;
    for (;;) {
        int got = frame_read(reader);
        if (got == -1 && (!bye || errno == EMSGSIZE))
            return -1;
        if (got != 1)
            return bye;
        frame_print("", reader->body, reader->len);
        if (bytes_are(reader->body, reader->len, "BYE"))
            bye = 1;
    }
}

/* The whole conversation. Returns as quit does. */
static int converse(int fd)
{
    struct frame_reader reader;
    char *line = NULL;
    size_t size = 0;

    frame_init(&reader, fd);
    int result = send_lines(&reader, &line, &size);
    free(line);
    return result == 1 ? quit(&reader) : result;
}

/* Says what went wrong, if anything. Returns the exit status. */
static int report(int result)
{
    if (result == 0)
        fprintf(stderr, "client: the server closed the connection\n");
    if (result == -1)
        fprintf(stderr, "client: server lost: %s\n", strerror(errno));
    return result == 1 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *host = argc > 1 ? argv[1] : "127.0.0.1";
    int port = argc > 2 ? net_parse_port(argv[2]) : 5000;
    if (argc > 3 || port == -1) {
        fprintf(stderr, "usage: client [HOST [PORT]]\n");
        return 2;
    }
    if (net_init() == -1) {
        fprintf(stderr, "client: net_init: %s\n", strerror(errno));
        return 1;
    }

    const char *failed;
    int fd = net_connect(host, port, &failed);
    if (fd == -1) {
        fprintf(stderr, "client: %s: %s\n", failed, strerror(errno));
        return 1;
    }
    int status = report(converse(fd));
    close(fd);
    return status;
}
