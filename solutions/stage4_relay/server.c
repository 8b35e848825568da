/*
 * The server of stage 4: a thread for each client, and a table of names.
 *
 * What a client's thread has to say, to its own client and to others, goes to
 * outboxes. The thread first handles everything that one recv() brought and
 * then flushes each outbox it has used once: one send() for many messages.
 */
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

enum {
    DEFAULT_PORT = 5000,
    STACK_SIZE = 64 * 1024, /* large things are in struct session instead */
    BATCH_MAX = 64
};

/* One client, as its own thread sees it. Used by no other thread. */
struct session {
    struct names *names;          /* borrowed */
    struct peer *peer;            /* one reference */
    char name[NAMES_LEN_MAX + 1]; /* "" before NAME */
    int leaving;                  /* no more commands are served */

    /* Who has something in the outbox that is not flushed yet. */
    struct peer *batch[BATCH_MAX]; /* one reference each */
    size_t batch_len;

    char text[FRAME_BODY_MAX]; /* a message under construction */
    struct frame_reader reader;
};

/*
 * Sends what is in the outboxes of the batch, and empties the batch. First
 * whatever can be sent at once, to everybody, and only then what has to wait:
 * so a client that does not read delays nobody but this thread. References
 * that are not needed are not kept during the wait, for they would keep the
 * connections of clients who leave meanwhile.
 */
static void batch_flush(struct session *session)
{
    size_t waiting = 0;

    for (size_t i = 0; i < session->batch_len; i++) {
        struct peer *peer = session->batch[i];

        if (outbox_send(&peer->outbox) == 0)
            names_release(session->names, peer);
        else
            session->batch[waiting++] = peer;
    }
    for (size_t i = 0; i < waiting; i++) {
        outbox_flush(&session->batch[i]->outbox);
        names_release(session->names, session->batch[i]);
    }
    session->batch_len = 0;
}

/* Remembers that the outbox of peer is to be flushed. Borrows peer. */
static void batch_add(struct session *session, struct peer *peer)
{
    for (size_t i = 0; i < session->batch_len; i++)
        if (session->batch[i] == peer)
            return;
    if (session->batch_len == BATCH_MAX)
        batch_flush(session);
    names_hold(session->names, peer);
    session->batch[session->batch_len++] = peer;
}

/*
 * Puts a message into the outbox of peer, and waits only if that is full.
 * Returns 0, or -1 if the client is leaving or was dropped. Borrows all.
 */
static int deliver(struct session *session, struct peer *peer, const char *body,
                   size_t len)
{
    while (outbox_append(&peer->outbox, body, len) == -1) {
        if (errno != ENOBUFS)
            return -1;
        /* Nobody else's messages may lie here while this thread waits. */
        batch_flush(session);
        outbox_flush(&peer->outbox);
    }
    batch_add(session, peer);
    return 0;
}

static void reply_bytes(struct session *session, const char *body, size_t len)
{
    /* A client that was dropped is not served any more. */
    if (deliver(session, session->peer, body, len) == -1)
        session->leaving = 1;
}

static void reply(struct session *session, const char *text)
{
    reply_bytes(session, text, strlen(text));
}

/*
 * Says the last word. The name goes first: who has read BYE may rely on it
 * that the name is free.
 */
static void say_goodbye(struct session *session, const char *last)
{
    names_remove(session->names, session->peer);
    outbox_end(&session->peer->outbox, last);
    batch_add(session, session->peer);
    session->leaving = 1;
}

static void command_name(struct session *session, const char *name, size_t len)
{
    if (names_enter(session->names, session->peer, name, len) == 0) {
        memcpy(session->name, name, len);
        session->name[len] = '\0';
        reply(session, "OK");
    } else if (errno == EALREADY) {
        reply(session, "ERR already named");
    } else if (errno == EEXIST) {
        reply(session, "ERR name taken");
    } else {
        reply(session, "ERR bad name");
    }
}

static void command_who(struct session *session)
{
    char *text = session->text;

    memcpy(text, "OK", 2);
    size_t len = names_list(session->names, text + 2, FRAME_BODY_MAX - 2);
    reply_bytes(session, text, 2 + len);
}

/*
 * Writes "FROM name message" to session->text. Borrows message.
 * Returns the length, or -1 if that is more than a body may have.
 */
static long compose_from(struct session *session, const char *message,
                         size_t len)
{
    /* Without its NUL this is at most 5 + NAMES_LEN_MAX + 1 bytes. */
    int head = snprintf(session->text, sizeof session->text, "FROM %s ",
                        session->name);

    if ((size_t)head + len > FRAME_BODY_MAX)
        return -1;
    /* Not with %s: the message may contain NUL bytes. */
    memcpy(session->text + head, message, len);
    return head + (long)len;
}

/* Serves TO; rest is what stands behind "TO ", len bytes. */
static void command_to(struct session *session, const char *rest, size_t len)
{
    const char *space = memchr(rest, ' ', len);

    if (session->name[0] == '\0') {
        reply(session, "ERR name first");
        return;
    }
    if (space == NULL) {
        reply(session, "ERR bad command");
        return;
    }

    size_t name_len = (size_t)(space - rest);
    long from_len = compose_from(session, space + 1, len - name_len - 1);

    if (from_len == -1) {
        reply(session, "ERR too long");
        return;
    }

    struct peer *peer = names_find(session->names, rest, name_len);

    if (peer == NULL) {
        reply(session, "ERR no such user");
        return;
    }
    /* It may have begun to leave since it was found. */
    int result = deliver(session, peer, session->text, (size_t)from_len);
    names_release(session->names, peer);
    reply(session, result == 0 ? "OK" : "ERR no such user");
}

/* Says whether the message is the one word, and nothing else. */
static int is_word(const char *body, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(body, word, len) == 0;
}

/* Says whether the message begins with text. */
static int begins_with(const char *body, size_t len, const char *text)
{
    return len >= strlen(text) && memcmp(body, text, strlen(text)) == 0;
}

static void handle_command(struct session *session, const char *body,
                           size_t len)
{
    if (begins_with(body, len, "TO "))
        command_to(session, body + 3, len - 3);
    else if (begins_with(body, len, "NAME "))
        command_name(session, body + 5, len - 5);
    else if (is_word(body, len, "WHO"))
        command_who(session);
    else if (is_word(body, len, "QUIT"))
        say_goodbye(session, "BYE");
    else
        reply(session, "ERR bad command");
}

/* Serves all commands that have arrived, then sends what they caused. */
static void handle_input(struct session *session)
{
    struct frame_reader *reader = &session->reader;

    while (!session->leaving) {
        int got = frame_next(reader);

        if (got == 0)
            break;
        if (got == 1)
            handle_command(session, reader->body, reader->len);
        else
            say_goodbye(session, "ERR too long");
    }
    batch_flush(session);
}

/*
 * Ends a session and frees it. The order matters: out of the table, so that
 * nobody finds the client; no more messages; the last ones sent; and only
 * then our reference, with which the descriptor may be closed.
 */
static void session_end(struct session *session)
{
    struct peer *peer = session->peer;

    names_remove(session->names, peer);
    outbox_end(&peer->outbox, NULL);
    outbox_flush(&peer->outbox);

    /* The client learns of the end at once, although another thread may have
     * a reference a little longer. */
    frame_drain(peer->outbox.fd);
    names_release(session->names, peer);
    free(session);
}

/* The life of a client's thread, which owns the session. */
static void *session_run(void *arg)
{
    struct session *session = arg;

    /* An error ends a session like the end of the connection. */
    while (!session->leaving && frame_fill(&session->reader) > 0)
        handle_input(session);
    session_end(session);
    return NULL;
}

/* Returns a session for fd, or NULL with errno. Takes fd, unless it fails. */
static struct session *session_new(struct names *names, int fd)
{
    struct session *session = malloc(sizeof *session);

    if (session == NULL)
        return NULL;
    session->peer = peer_new(fd);
    if (session->peer == NULL) {
        free(session);
        return NULL;
    }
    session->names = names;
    session->name[0] = '\0';
    session->leaving = 0;
    session->batch_len = 0;
    frame_init(&session->reader, fd);
    return session;
}

/*
 * Starts a thread for session that nobody has to join, so that nothing is
 * left of it when it ends. Takes session, unless it fails.
 * Returns 0, or -1 with errno set.
 */
static int start_thread(struct session *session)
{
    pthread_t thread;
    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);

    if (err != 0) {
        errno = err;
        return -1;
    }
    err = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (err == 0)
        err = pthread_attr_setstacksize(&attr, STACK_SIZE);
    if (err == 0)
        err = pthread_create(&thread, &attr, session_run, session);
    pthread_attr_destroy(&attr);
    if (err != 0) {
        errno = err;
        return -1;
    }
    return 0;
}

/* Serves a new client in a thread of its own. Takes fd. */
static void serve_client(struct names *names, int fd)
{
    struct session *session = session_new(names, fd);

    if (session == NULL) {
        fprintf(stderr, "server: new client: %s\n", strerror(errno));
        close(fd);
        return;
    }
    if (start_thread(session) == -1) {
        fprintf(stderr, "server: new thread: %s\n", strerror(errno));
        names_release(names, session->peer);
        free(session);
    }
}

/*
 * Serves clients for ever.
 * Returns -1 with errno set and *failed naming the call, if it cannot.
 */
static int serve(const char *address, int port, const char **failed)
{
    static struct names names; /* the threads use it as long as they live */

    if (names_init(&names) == -1) {
        *failed = "names_init";
        return -1;
    }

    int listener = net_listen(address, port, failed);

    if (listener == -1)
        return -1;
    for (;;) {
        int fd = net_accept(listener);

        if (fd == -1) {
            *failed = "accept";
            return -1;
        }
        serve_client(&names, fd);
    }
}

int main(int argc, char **argv)
{
    int port = DEFAULT_PORT;
    const char *address = "127.0.0.1";
    const char *failed = "net_init";

    if (net_init() == -1) {
        fprintf(stderr, "server: %s: %s\n", failed, strerror(errno));
        return 1;
    }
    if (argc > 1)
        port = net_parse_port(argv[1]);
    if (argc > 2)
        address = argv[2];
    if (argc > 3 || port == -1) {
        fprintf(stderr, "usage: server [PORT [ADDRESS]]\n");
        return 2;
    }
    serve(address, port, &failed);
    fprintf(stderr, "server: %s: %s\n", failed, strerror(errno));
    return 1;
}
