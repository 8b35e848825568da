/*
 * The page that the instrument shares with the harness. The Python module of
 * this directory has the same layout; a test holds that the two agree.
 */
#ifndef INSTRUMENT_H
#define INSTRUMENT_H

#include <stdint.h>

enum { RULES = 16, CALLS = 8192, CALL_DATA = 48, RULE_VALUES = 16 };

/* Kinds of calls that rules speak of. */
enum family {
    RECV,
    SEND,
    ACCEPT,
    CONNECT,
    BIND,
    LISTEN,
    SOCKET,
    POLL,
    CLOSE,
    THREAD,
    LOCK,
    UNLOCK,
    ALLOC,
    PRINT
};

/* What a rule does; its values in brackets. */
enum action {
    SHORT, /* a transfer moves at most so many bytes (sizes, used in turn) */
    FAIL,  /* the call does nothing and fails (errno) */
    DELAY, /* the thread waits afterwards (ms) */
    HOLD,  /* the thread waits afterwards until it is let go (ms at most) */
    LATE,  /* a new thread starts late (naps after accept, ms in all) */
    PARK,  /* a thread that closes a socket waits, as with HOLD (ms at most) */
    TURNS, /* a thread lets another one send (naps, ms in all), receive from the
              same client (ms), lock or print (naps) */
    MOVE   /* one port stands for another (port, port) */
};

struct rule {
    /*
     * Set by the harness; armed may change at any time. It is 0, or a number
     * that grows each time the rule is armed; a thread that is held goes on
     * when it changes.
     */
    uint32_t family, action, armed;
    uint32_t first; /* the first call it applies to; calls count from 1 */
    uint32_t every; /* and then to every so many; 0: to each */
    uint32_t last;  /* up to this one; 0: without an end */
    uint32_t values_len;
    int32_t values[RULE_VALUES];

    /* Set by the instrument. */
    uint32_t seen;     /* calls of the family while armed */
    uint32_t met;      /* how often the rule applied */
    uint32_t hits;     /* PARK: how often the number was used meanwhile */
    uint32_t released; /* HOLD, PARK: how many threads have gone on */
};

/* The functions that the trace tells apart. */
enum function {
    F_RECV,
    F_READ,
    F_RECVMSG,
    F_SEND,
    F_WRITE,
    F_SENDMSG,
    F_ACCEPT,
    F_CONNECT,
    F_BIND,
    F_LISTEN,
    F_SOCKET,
    F_SHUTDOWN,
    F_CLOSE,
    F_POLL,
    F_SELECT,
    F_EPOLL,
    F_THREAD,
    F_ALLOC,
    F_LOCK,
    F_JOIN,
    F_CONDITION,
    F_SEMAPHORE
};

enum { CALL_FREE, CALL_BEGUN, CALL_ENDED };

struct call {
    uint64_t began, ended; /* nanoseconds of CLOCK_MONOTONIC */
    uint64_t
        from; /* the address behind the call, counted from the program's beginning */
    int64_t asked, result; /* bytes, or what the function returns */
    uint32_t state;
    int32_t thread;
    uint32_t function;
    int32_t fd;
    int32_t error;  /* errno, if the result is negative */
    uint32_t fault; /* 0, or 1 + the number of the rule that applied */
    uint32_t size;  /* bytes in data */
    char data[CALL_DATA];
    uint32_t unused;
};

struct page {
    uint32_t rules_len;
    uint32_t calls_len; /* calls so far; the latest CALLS of them are kept */
    uint64_t received, sent; /* bytes that calls of the student have moved */
    struct rule rules[RULES];
    struct call calls[CALLS];
};

#endif
