/*
 * The client of stage 4: two sources, the user and the server, and only one
 * thread. So it waits for both at once, in poll(), and for nothing else: it
 * reads only what is there, and what the connection does not take at once
 * stays in an outbox.
 */
#include "framing.h"
#include "net.h"
#include "outbox.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_PORT = 5000, INPUT_SIZE = 64 * 1024 };

struct client {
    struct outbox outbox; /* owns the connection */
    int sending;          /* something is left in the outbox */
    int quit;             /* QUIT is in the outbox, or sent */
    struct frame_reader reader;

    /* From stdin. Not with stdio: poll() cannot see what its buffer holds. */
    size_t start; /* input[start] to input[end - 1] */
    size_t end;   /*     are not looked at yet */
    int at_end;   /* stdin has ended */
    char input[INPUT_SIZE];

    /* The line that comes next, as far as it is known. */
    int complete;    /* it is, and waits for room in the outbox */
    size_t line_len; /* FRAME_BODY_MAX + 1 for any line that is too long */
    char line[FRAME_BODY_MAX + 1];
};

static void add_to_line(struct client *client, const char *data, size_t len)
{
    size_t room = sizeof client->line - client->line_len;

    if (len > room)
        len = room;
    memcpy(client->line + client->line_len, data, len);
    client->line_len += len;
}

/* Takes more of a line out of the input. Returns 1 if this completes it. */
static int take_line(struct client *client)
{
    const char *data = client->input + client->start;
    size_t len = client->end - client->start;
    const char *newline = memchr(data, '\n', len);

    if (newline != NULL) {
        len = (size_t)(newline - data);
        client->start++;
    }
    add_to_line(client, data, len);
    client->start += len;
    return newline != NULL;
}

/*
 * Finds the next line to be sent: from the input; at its end what there is
 * without a newline; and then QUIT, as if the user had typed it.
 * Returns 1, or 0 if more input is needed.
 */
static int next_line(struct client *client)
{
    if (take_line(client))
        return 1;
    if (!client->at_end)
        return 0;
    if (client->line_len == 0)
        add_to_line(client, "QUIT", 4);
    return 1;
}

/*
 * Puts the line into the outbox.
 * Returns 0, or -1 if the outbox has no room now: the line is kept.
 */
static int queue_line(struct client *client)
{
    if (client->line_len > FRAME_BODY_MAX)
        fprintf(stderr, "client: line too long, not sent\n");
    else if (outbox_append(&client->outbox, client->line, client->line_len) ==
             -1)
        return -1;
    else if (client->line_len == 4 && memcmp(client->line, "QUIT", 4) == 0)
        client->quit = 1;
    client->line_len = 0;
    return 0;
}

/* Sends as many lines as are there and find room. */
static void send_lines(struct client *client)
{
    while (!client->quit) {
        if (!client->complete && !next_line(client))
            break;
        client->complete = queue_line(client) == -1;
        if (client->complete)
            break;
    }
    client->sending = outbox_send(&client->outbox);
}

/* Takes in what the user has typed. Only when all earlier input is used. */
static void read_input(struct client *client)
{
    ssize_t n = read(STDIN_FILENO, client->input, sizeof client->input);

    if (n == -1 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n == -1)
        fprintf(stderr, "client: stdin: %s\n", strerror(errno));
    client->start = 0;
    client->end = n > 0 ? (size_t)n : 0;
    client->at_end = n <= 0;
}

/*
 * Takes in what the server has sent and prints it.
 * Returns 1, or 0 at the end of the connection, or -1 with errno set.
 */
static int receive(struct client *client)
{
    long n = frame_fill(&client->reader);

    if (n <= 0)
        return (int)n;
    for (;;) {
        int got = frame_next(&client->reader);

        if (got == -1)
            return -1;
        if (got == 0)
            return 1;
        frame_print("", client->reader.body, client->reader.len);
    }
}

/*
 * Waits for the user, the server, or room in the connection.
 * Sets *typed and *arrived. Returns 0, or -1 with errno set.
 */
static int wait_for_both(struct client *client, int *typed, int *arrived)
{
    /* While lines are waiting for room, stdin has to wait too; otherwise a
     * large file would be read into memory. poll() ignores -1. */
    int listening = !client->at_end && !client->quit && !client->complete;
    struct pollfd fds[2] = {
        {.fd = listening ? STDIN_FILENO : -1, .events = POLLIN},
        {.fd = client->outbox.fd, .events = POLLIN},
    };

    /* A line that found no room may do so now, although all has left since. */
    if (client->sending || client->complete)
        fds[1].events |= POLLOUT;
    int n = poll(fds, 2, -1);

    if (n == -1 && errno != EINTR)
        return -1;
    /* Not only POLLIN: an end may be reported as POLLHUP or POLLERR alone. */
    *typed = n > 0 && fds[0].revents != 0;
    *arrived = n > 0 && (fds[1].revents & ~POLLOUT) != 0;
    return 0;
}

/*
 * Talks until the server closes.
 * Returns 0 at the end of the connection, or -1 with errno set.
 */
static int talk(struct client *client)
{
    for (;;) {
        int typed, arrived;

        send_lines(client);
        if (wait_for_both(client, &typed, &arrived) == -1)
            return -1;
        if (arrived) {
            int result = receive(client);

            if (result <= 0)
                return result;
        }
        if (typed)
            read_input(client);
    }
}

/*
 * Connects, and puts NAME into the outbox. Borrows name and host.
 * Returns 0, or -1 with errno set and *failed naming the call.
 */
static int client_open(struct client *client, const char *name,
                       const char *host, int port, const char **failed)
{
    char command[FRAME_BODY_MAX];
    int len = snprintf(command, sizeof command, "NAME %s", name);

    if (len < 0 || (size_t)len >= sizeof command) {
        *failed = "NAME";
        errno = EMSGSIZE;
        return -1;
    }

    int fd = net_connect(host, port, failed);

    if (fd == -1)
        return -1;
    if (outbox_init(&client->outbox, fd) == -1) {
        *failed = "outbox_init";
        close(fd);
        return -1;
    }
    frame_init(&client->reader, fd);
    return outbox_append(&client->outbox, command, (size_t)len);
}

/* Talks to the server. Returns the exit status. */
static int run(struct client *client)
{
    int result = talk(client);

    if (result == -1) {
        fprintf(stderr, "client: %s\n", strerror(errno));
        return 1;
    }
    /* This is the only thread, so it needs no lock to look. */
    if (!client->quit || client->sending || client->outbox.dead) {
        fprintf(stderr, "client: the server closed the connection\n");
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct client client; /* too large for a stack; all zero */
    int port = DEFAULT_PORT;
    const char *host = "127.0.0.1";
    const char *failed = "net_init";

    if (net_init() == -1) {
        fprintf(stderr, "client: %s: %s\n", failed, strerror(errno));
        return 1;
    }
    if (argc > 2)
        host = argv[2];
    if (argc > 3)
        port = net_parse_port(argv[3]);
    if (argc < 2 || argc > 4 || port == -1) {
        fprintf(stderr, "usage: client NAME [HOST [PORT]]\n");
        return 2;
    }
    if (client_open(&client, argv[1], host, port, &failed) == -1) {
        fprintf(stderr, "client: %s: %s\n", failed, strerror(errno));
        return 1;
    }

    int status = run(&client);

    outbox_destroy(&client.outbox);
    return status;
}
