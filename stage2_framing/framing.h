/*
 * framing: messages on a stream of bytes.
 *
 * TCP carries bytes, not messages. On the wire a message is its body followed
 * by the four bytes DONE. A backslash takes the byte after it literally; the
 * sender puts one before each backslash and before each D that begins a DONE
 * in the body. A body has 0 to FRAME_BODY_MAX bytes of any value: it is not a
 * C string and has no NUL behind it.
 *
 * All functions work on a descriptor that the caller owns, retry a call that
 * a signal interrupted, and return -1 with errno set on failure. None of them
 * keeps static data: each connection has a struct frame_reader of its own, so
 * any number of threads may work, each on its own connection.
 */
#ifndef FRAMING_H
#define FRAMING_H

#include <stddef.h>

enum {
    FRAME_BODY_MAX = 4096,                   /* bytes, after unescaping */
    FRAME_WIRE_MAX = 2 * FRAME_BODY_MAX + 4, /* all escaped, and DONE */
    FRAME_INPUT_SIZE = 64 * 1024             /* taken by one recv() */
};

/*
 * The receiving side of one connection. About 70 KiB: in a thread with a
 * small stack it belongs on the heap. Only one thread at a time may use it.
 */
struct frame_reader {
    int fd;         /* borrowed */
    size_t start;   /* input[start] to input[end - 1] */
    size_t end;     /*     have arrived and are not looked at yet */
    int escaped;    /* the last byte looked at was an escaping backslash */
    size_t matched; /* the last bytes were this many letters of DONE; 4: body
                       is a whole message, and the next call begins a new one */
    size_t len;     /* bytes in body */
    char body[FRAME_BODY_MAX + 4]; /* the message, as far as it is known;
                                      4 = letters that may become a DONE */
    char input[FRAME_INPUT_SIZE];
};

/* Prepares a reader for a new connection. Borrows fd as long as it is used. */
void frame_init(struct frame_reader *reader, int fd);

/*
 * Takes in what has arrived, with one recv(), and waits if nothing has.
 * Call it only after frame_next returned 0, when nothing is left unread.
 * Returns the number of bytes, 0 at the end of the connection, or -1.
 */
long frame_fill(struct frame_reader *reader);

/*
 * Takes the next complete message out of what frame_fill has brought. Does
 * not touch the socket, and resumes where the previous call stopped.
 * Returns 1: the message is reader->body, reader->len bytes, until the next
 * call; 0: more input is needed; -1 with errno EMSGSIZE: the body is longer
 * than FRAME_BODY_MAX, and nothing more can be read from this connection.
 */
int frame_next(struct frame_reader *reader);

/*
 * Waits for the next complete message: frame_next, and frame_fill as often
 * as it is needed.
 * Returns 1 with the message as in frame_next; 0 at the end of the connection
 * (what there was of an incomplete message is discarded); or -1, with errno
 * EMSGSIZE for a body that is too long.
 */
int frame_read(struct frame_reader *reader);

/*
 * Writes body as it travels, DONE included, to wire, which must have room
 * for 2 * len + 4 bytes. Borrows both.
 * Returns the number of bytes on the wire. Cannot fail.
 */
size_t frame_encode(char *wire, const char *body, size_t len);

/*
 * Sends len bytes, however many calls of send() that takes. A peer that has
 * gone is an error (EPIPE, ECONNRESET), never a SIGPIPE.
 * Returns 0 when the kernel has taken all of it, or -1. Borrows data.
 */
int send_all(int fd, const char *data, size_t len);

/*
 * Sends body as one message. Borrows body.
 * Returns 0, or -1; errno is EMSGSIZE, and nothing was sent, if len is more
 * than FRAME_BODY_MAX.
 */
int frame_write(int fd, const char *body, size_t len);

/*
 * Prints label, body and a newline on stdout, as one line that no other
 * thread can interrupt, and flushes it. Borrows both; label is a C string.
 * Best effort: a program goes on when stdout takes nothing.
 */
void frame_print(const char *label, const char *body, size_t len);

/*
 * Ends a conversation from this side without losing what was sent last:
 * announces the end (shutdown), then discards what the peer still sends,
 * until it closes too, for at most one second. The caller still has to close.
 * (close() alone, with unread input, makes the kernel reset the connection,
 * and a reset may overtake the last answer.)
 */
void frame_drain(int fd);

/* Milliseconds of a clock that only goes forward; for deadlines. */
long long wait_clock(void);

/*
 * Waits until fd is ready for events (POLLIN, POLLOUT) or in error, or until
 * wait_clock() reaches deadline. A signal neither shortens nor prolongs it.
 * Returns 1 when ready, 0 at the deadline, or -1.
 */
int wait_ready(int fd, short events, long long deadline);

#endif
