/*
 * The instrument: stands between a student's code and the system.
 *
 * The linker sends the calls of the student's own objects here (ld --wrap), and
 * nobody else's, so it works with valgrind and the sanitizers. What it does is
 * said by rules in a page of memory that it shares with the harness: a rule
 * makes one family of calls short, fails it, or delays it, by the number of
 * the call and never by chance, and counts each time it does so. In the same
 * page it notes every call: when, which thread, from where, how many bytes.
 *
 * Without the page (RELAYLAB_INSTRUMENT is not set) no rule applies and nothing
 * is noted.
 *
 * It takes no locks, because a lock would order the student's threads, and the
 * race detectors would then see fewer races. __init__.py has the other end.
 */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_MAKE_MEM_DEFINED_IF_ADDRESSABLE(start, len)                   \
    ((void)(start), (void)(len))
#endif

REAL(int, close, int);

struct page *page;
int last_sender[DESCRIPTORS];
unsigned accepted[DESCRIPTORS];
unsigned accepts_begun;

__attribute__((constructor)) static void open_page(void)
{
    const char *path = getenv("RELAYLAB_INSTRUMENT");
    if (path == NULL)
        return;
    int fd = open(path, O_RDWR);
    if (fd == -1)
        return;
    void *memory =
        mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    __real_close(fd);
    if (memory != MAP_FAILED)
        page = memory;

    /* The debugger comes in here, before main(). */
    if (getenv("RELAYLAB_DEBUG") != NULL) {
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
        raise(SIGSTOP);
    }
}

uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t in_ms(int ms)
{
    return now() + (uint64_t)ms * 1000000u;
}

void pause_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000,
                            .tv_nsec = ms % 1000 * 1000000L};
    while (nanosleep(&left, &left) == -1)
        ;
}

/* The family of a socket, AF_UNSPEC if fd is none. */
static int family_of(int fd)
{
    int saved = errno, family;
    socklen_t size = sizeof family;
    int known = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0;
    errno = saved;
    return known ? family : AF_UNSPEC;
}

int is_network(int fd)
{
    int family = family_of(fd);

    return family != AF_UNSPEC && family != AF_UNIX;
}

int is_local(int fd)
{
    return family_of(fd) == AF_UNIX;
}

/* -- ThreadSanitizer: of its runtime, where there is one -------------------- */

__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);
__attribute__((weak)) void __tsan_func_entry(void *caller);
__attribute__((weak)) void __tsan_func_exit(void);

int has_tsan(void)
{
    return __tsan_release != NULL;
}

/*
 * gcc -finstrument-functions calls these at the beginning and the end of each
 * function here. A race inside recv() is then reported with the line of the
 * student's that calls it: the runtime learns of callers by __tsan_func_entry()
 * only, and the instrument is not built with the sanitizer.
 */
__attribute__((no_instrument_function)) void
__cyg_profile_func_enter(void *function, void *caller)
{
    (void)function;
    if (__tsan_func_entry != NULL)
        __tsan_func_entry(caller);
}

__attribute__((no_instrument_function)) void
__cyg_profile_func_exit(void *function, void *caller)
{
    (void)function, (void)caller;
    if (__tsan_func_exit != NULL)
        __tsan_func_exit();
}

/*
 * What two threads have in common: the number or the address under which one
 * hands something to the other. Two that fall on one place are taken for one.
 */
static char *common(uint64_t what)
{
    static char places[4096];

    /* Fibonacci hashing: small numbers and addresses are spread alike. */
    return &places[what * 0x9e3779b97f4a7c15u >> 52];
}

void handed_over_as(uint64_t what)
{
    if (__tsan_release != NULL)
        __tsan_release(common(what));
}

void taken_over_as(uint64_t what)
{
    if (__tsan_acquire != NULL)
        __tsan_acquire(common(what));
}

static char between_threads;

int is_between_threads(int fd)
{
    int saved = errno;
    struct stat what;
    int known = fstat(fd, &what) == 0;
    errno = saved;
    if (!known || S_ISCHR(what.st_mode) || S_ISREG(what.st_mode))
        return 0;
    return !S_ISSOCK(what.st_mode) || is_local(fd);
}

void handed_over(int fd, const struct iovec *vector, int count)
{
    if ((__tsan_release == NULL && !RUNNING_ON_VALGRIND) ||
        !is_between_threads(fd))
        return;
    if (__tsan_release != NULL)
        __tsan_release(&between_threads);
    for (int i = 0; vector != NULL && i < count; i++)
        VALGRIND_MAKE_MEM_DEFINED_IF_ADDRESSABLE(vector[i].iov_base,
                                                 vector[i].iov_len);
}

void taken_over(int fd)
{
    if (__tsan_acquire != NULL && is_between_threads(fd))
        __tsan_acquire(&between_threads);
}

/* -- rules ------------------------------------------------------------------ */

/* Of this thread: the number of the call to which a rule applied last. */
static _Thread_local unsigned number;

/* True if the rule applies to its call number n; calls count from 1. */
static int applies(const struct rule *rule, unsigned n)
{
    if (n < rule->first || (rule->last != 0 && n > rule->last))
        return 0;
    return rule->every == 0 || (n - rule->first) % rule->every == 0;
}

struct rule *rule_for(unsigned family, unsigned action)
{
    struct rule *found = NULL;

    if (page == NULL)
        return NULL;
    for (unsigned i = 0; i < LOAD(page->rules_len); i++) {
        struct rule *rule = &page->rules[i];
        if (rule->family != family || rule->action != action ||
            !LOAD(rule->armed))
            continue;
        unsigned n = ADD(rule->seen, 1);
        if (found == NULL && applies(rule, n)) {
            number = n;
            found = rule;
        }
    }
    return found;
}

unsigned met(struct rule *rule)
{
    ADD(rule->met, 1);
    return (unsigned)(rule - page->rules) + 1;
}

void hold(struct rule *rule, void (*look)(void *argument), void *argument)
{
    unsigned armed = LOAD(rule->armed);
    uint64_t end = in_ms(rule->values[0]);

    while (now() < end && armed != 0 && LOAD(rule->armed) == armed) {
        if (look != NULL)
            look(argument);
        pause_ms(1);
    }
    ADD(rule->released, 1);
}

__thread char myself;

void let_another_go_first(unsigned family, const char **last)
{
    int error = errno;
    struct rule *rule = rule_for(family, TURNS);

    if (rule == NULL)
        return;
    met(rule);
    for (int naps = 0; naps < rule->values[0] && LOAD(*last) == &myself; naps++)
        pause_ms(1);
    errno = error;
}

/* -- the trace -------------------------------------------------------------- */

static struct call *next_place(void)
{
    return &page->calls[(ADD(page->calls_len, 1) - 1) % CALLS];
}

struct call *note(unsigned function, int fd, size_t asked, uint64_t from)
{
    static struct call nowhere;

    if (page == NULL)
        return &nowhere;
    /* A call that lasts keeps its place. */
    struct call *call = next_place();
    for (int i = 0; i < CALLS && LOAD(call->state) == CALL_BEGUN; i++)
        call = next_place();
    STORE(call->state, CALL_FREE);
    call->began = now();
    call->thread = (int32_t)syscall(SYS_gettid);
    call->function = function;
    call->fd = fd;
    call->asked = (int64_t)asked;
    call->from = from;
    call->fault = 0;
    call->size = 0;
    STORE(call->state, CALL_BEGUN);
    return call;
}

/* Byte by byte: the sanitizers would look into memcpy(). */
static void keep_bytes(struct call *call, const void *data, int64_t len)
{
    const volatile char *bytes = data;
    volatile char *kept = call->data;

    for (int64_t i = 0; i < len && i < CALL_DATA; i++)
        kept[i] = bytes[i];
    call->size = len > CALL_DATA ? CALL_DATA : (uint32_t)(len > 0 ? len : 0);
}

void keep_vector(struct call *call, const struct iovec *vector, int count,
                 int64_t len)
{
    char head[CALL_DATA];
    size_t size = 0;

    for (int i = 0; i < count && len > 0; i++)
        for (size_t j = 0;
             j < vector[i].iov_len && len > 0 && size < sizeof head; j++, len--)
            head[size++] = ((const volatile char *)vector[i].iov_base)[j];
    keep_bytes(call, head, (int64_t)size);
}

static void count_bytes(unsigned function, int64_t bytes)
{
    if (page == NULL || bytes <= 0)
        return;
    if (function <= F_RECVMSG)
        ADD(page->received, (uint64_t)bytes);
    else if (function <= F_SENDMSG)
        ADD(page->sent, (uint64_t)bytes);
}

int64_t done(struct call *call, int64_t result)
{
    count_bytes(call->function, result);
    call->result = result;
    call->error = result < 0 ? errno : 0;
    call->ended = page != NULL ? now() : 0;
    STORE(call->state, CALL_ENDED);
    return result;
}

/* True if a call on fd returns at once in any case. Keeps errno. */
static int never_waits(int fd, int flags)
{
    int saved = errno;
    int status = fd >= 0 ? fcntl(fd, F_GETFL) : 0;
    errno = saved;
    return flags & MSG_DONTWAIT || (status != -1 && status & O_NONBLOCK);
}

int fails(unsigned family, struct call *call, int flags)
{
    struct rule *rule = rule_for(family, FAIL);
    if (rule == NULL)
        return 0;
    unsigned fault = met(rule);

    /* A signal interrupts a wait, and nothing else (signal(7)). */
    if (rule->values[0] == EINTR && never_waits(call->fd, flags))
        return 0;
    call->fault = fault;
    errno = rule->values[0];
    done(call, -1);
    errno = rule->values[0];
    return 1;
}

size_t shortened(unsigned family, size_t len, struct call *call)
{
    struct rule *rule = rule_for(family, SHORT);
    if (rule == NULL || rule->values_len == 0)
        return len;
    size_t most = (size_t)rule->values[(number - 1) % rule->values_len];
    if (most >= len)
        return len;
    call->fault = met(rule);
    return most;
}

size_t vector_size(const struct iovec *vector, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += vector[i].iov_len;
    return size;
}

struct vector shortened_vector(unsigned family, struct vector all,
                               struct iovec cut[VECTORS], struct call *call)
{
    size_t size = vector_size(all.at, all.count);
    size_t most = shortened(family, size, call);
    int n = 0;

    if (most >= size)
        return all;
    for (; n < all.count && n < VECTORS && most > 0; n++) {
        cut[n] = all.at[n];
        if (cut[n].iov_len > most)
            cut[n].iov_len = most;
        most -= cut[n].iov_len;
    }
    return (struct vector){cut, n};
}
