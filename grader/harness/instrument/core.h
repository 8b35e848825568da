/*
 * What the files of the instrument share: rules, the trace, a few facts.
 *
 * After linking, all names but the __wrap_ functions are made local, so none of
 * them can meet a name of the student's.
 */
#ifndef CORE_H
#define CORE_H

#include "instrument.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
    DESCRIPTORS = 4096, /* larger numbers are not followed */
    VECTORS = 64        /* of one readv() or sendmsg() that is made short */
};

/* Shared with the harness; NULL: every call passes through. */
extern struct page *page;

/* By descriptor: which thread sent last, how often accept() gave the number. */
extern int last_sender[DESCRIPTORS];
extern unsigned accepted[DESCRIPTORS];
extern unsigned accepts_begun;

extern char __executable_start; /* by the linker: addresses count from here */

/* The function of the C library behind a wrapped one. */
#define REAL(type, name, ...) extern type __real_##name(__VA_ARGS__)

/* Where the student's code called the function in which this stands. */
#define FROM                                                                   \
    ((uint64_t)((char *)__builtin_return_address(0) - &__executable_start))

#define ADD(where, n) __atomic_add_fetch(&(where), n, __ATOMIC_SEQ_CST)
#define LOAD(where) __atomic_load_n(&(where), __ATOMIC_SEQ_CST)
#define STORE(where, n) __atomic_store_n(&(where), n, __ATOMIC_SEQ_CST)

/* The clock of the trace, in ns; and what it will show in so many ms. */
uint64_t now(void);
uint64_t in_ms(int ms);

/* Sleeps, and no signal shortens it. */
void pause_ms(unsigned ms);

/*
 * True if fd is a socket of the network; of this machine's own (AF_UNIX), which
 * is no more than a pipe between threads: what goes through it is not made short
 * and does not fail. Both keep errno.
 */
int is_network(int fd);
int is_local(int fd);

/* True for a pipe, an eventfd, a local socket. Keeps errno. */
int is_between_threads(int fd);

/*
 * What one thread writes to a pipe (or an eventfd, or a local socket) and
 * another reads from it orders the two.
 * ThreadSanitizer is told so here, because it runs with io_sync=0 (memory.py):
 * otherwise it would see races where memory is handed over in this way. And
 * valgrind is told that what stands in `vector` may be handed over although
 * nobody has set all of it: a struct has padding. NULL: nothing is handed over.
 */
void handed_over(int fd, const struct iovec *vector, int count);
void taken_over(int fd);

/*
 * The same for what does not pass through a descriptor: the data of an event
 * that epoll_ctl() takes and epoll_wait() gives out, a stream that is locked.
 */
void handed_over_as(uint64_t what);
void taken_over_as(uint64_t what);

/*
 * Counts a call for every armed rule of this family and action.
 * Returns the rule that applies to it, or NULL.
 */
struct rule *rule_for(unsigned family, unsigned action);

/* Counts that the rule was applied. Returns what belongs into call->fault. */
unsigned met(struct rule *rule);

/*
 * Holds the thread until the harness lets it go, at most values[0] ms. Each
 * millisecond it calls look(argument), if there is one.
 */
void hold(struct rule *rule, void (*look)(void *argument), void *argument);

/* True in a program that was built with ThreadSanitizer. */
int has_tsan(void);

/* By its address a thread is told from the others. */
extern __thread char myself;

/*
 * Lets another thread do next what this one was the last to do, if a rule says
 * so: waits until *last is somebody else's `myself`, at most values[0] naps of
 * 1 ms. On a busy machine they get longer, as they should. Keeps errno.
 */
void let_another_go_first(unsigned family, const char **last);

/* Notes that a call has begun. Returns its place in the trace. */
struct call *note(unsigned function, int fd, size_t asked, uint64_t from);

/* Notes how the call has ended, with errno. Returns result. */
int64_t done(struct call *call, int64_t result);

/* Notes the first of the len bytes that a call has moved. */
void keep_vector(struct call *call, const struct iovec *vector, int count,
                 int64_t len);

/*
 * Fails the call if a rule says so. Returns 1 with errno set, or 0. What never
 * waits, by its flags or as its descriptor is set, is not interrupted (EINTR).
 */
int fails(unsigned family, struct call *call, int flags);

/* How many of len bytes a transfer may move; never 0 for more than 0. */
size_t shortened(unsigned family, size_t len, struct call *call);

/* The bytes for which a vector has room. */
size_t vector_size(const struct iovec *vector, int count);

/* What readv() and its relatives are given. */
struct vector {
    const struct iovec *at;
    int count;
};

/*
 * As much of a vector as a rule lets the call move: all of it, or a shorter
 * one in cut, which the caller lends. Borrows both.
 */
struct vector shortened_vector(unsigned family, struct vector all,
                               struct iovec cut[VECTORS], struct call *call);

/* read(), write() and close() of a socket, called from the address from. */
ssize_t socket_read(int fd, void *data, size_t len, uint64_t from);
ssize_t socket_write(int fd, const void *data, size_t len, uint64_t from);
int noted_close(int fd, uint64_t from);

/*
 * Calls socket_write() until all is written or one fails, as stdio does.
 * Returns how much is written.
 */
size_t socket_write_all(int fd, const char *data, size_t len, uint64_t from);

/* fd is closed: the address that epoll kept for it is forgotten. */
void no_longer_kept(int fd);

/* Called when something was printed: another may print next. Returns result. */
int64_t printed(int64_t result);

/* Ends the program, as the C library does for a buffer that is too small. */
void __chk_fail(void) __attribute__((noreturn));

#endif
