"""The instrument: every family is wrapped, faults come by number, the page has one layout, every build works."""

from __future__ import annotations

import ctypes
import errno
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from grader.checks.common.workload import converse, end_conversation
from grader.execution import Choice
from grader.harness import instrument, memory
from grader.harness.build import KIT, Build
from grader.harness.instrument import Fault, Instrument, compile_object, fail, short
from grader.harness.lab import Lab
from grader.session import run

# Two connected sockets of the network, made past the instrument.
PAIR = r"""
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void network_pair(int s[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof a;
    int listener = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
    syscall(SYS_listen, listener, 1);
    getsockname(listener, (struct sockaddr *)&a, &size);
    s[0] = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
    syscall(SYS_connect, s[0], &a, size);
    s[1] = (int)syscall(SYS_accept4, listener, NULL, NULL, 0);
    syscall(SYS_close, listener);
}
"""

# Calls each function once, on a pair of connected sockets where it moves bytes, and prints what it returned.
EVERY_CALL = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <threads.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
""" + PAIR + r"""
/* What a compiler makes of some calls with -D_FORTIFY_SOURCE. */
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
ssize_t __read_chk(int, void *, size_t, size_t);
int __poll_chk(struct pollfd *, nfds_t, int, size_t);
int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);

static void say(const char *name, long n) { printf("%s %ld %d\n", name, n, n < 0 ? errno : 0); }
static void say_ok(const char *name, int right) { say(name, right ? 1 : -1); }

static void send_all_ways(int fd)
{
    char b[] = "12345678";
    struct iovec v[2] = {{b, 4}, {b + 4, 4}};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = v, .msg_iovlen = 2}};
    say("send", send(fd, b, 8, 0));
    say("send_that_never_waits", send(fd, b, 1, MSG_DONTWAIT));
    say("sendto", sendto(fd, b, 8, 0, NULL, 0));
    say("write", write(fd, b, 8));
    say("writev", writev(fd, v, 2));
    say("sendmsg", sendmsg(fd, &m.msg_hdr, 0));
    say("sendmmsg", sendmmsg(fd, &m, 1, 0) == 1 ? (long)m.msg_len : -1);
    say("dprintf", dprintf(fd, "%s", b));
}

static void print_values(int fd, ...)
{
    va_list values;
    va_start(values, fd);
    say("vdprintf", vdprintf(fd, "%s", values));
    va_end(values);
}

static void receive_all_ways(int fd)
{
    char b[64];
    struct iovec v[2] = {{b, 4}, {b + 4, 4}};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = v, .msg_iovlen = 2}};
    say("recv", recv(fd, b, 8, 0));
    say("recvfrom", recvfrom(fd, b, 8, 0, NULL, NULL));
    say("read", read(fd, b, 8));
    say("readv", readv(fd, v, 2));
    say("recvmsg", recvmsg(fd, &m.msg_hdr, 0));
    say("recvmmsg", recvmmsg(fd, &m, 1, 0, NULL) == 1 ? (long)m.msg_len : -1);
    say("__recv_chk", __recv_chk(fd, b, 8, sizeof b, 0));
    say("__recvfrom_chk", __recvfrom_chk(fd, b, 8, sizeof b, 0, NULL, NULL));
    say("__read_chk", __read_chk(fd, b, 8, sizeof b));
}

static void use_streams(int fd)
{
    FILE *in = fdopen(fd, "r"), *out = fdopen(fd, "w");
    say_ok("fdopen", in && out);
    say("getc", getc(in));
    say("fputs_to_a_socket", fputs("12345678", out) < 0 || fflush(out) < 0 ? -1 : 8);
    fclose(in);
    say_ok("fileno", fileno(out) == fd); /* the other stream is closed, this one is not */
    fclose(out);
}

static void wait_all_ways(int fd)
{
    struct pollfd p = {fd, POLLIN, 0};
    fd_set in;
    struct timeval t = {0, 0};
    struct timespec ts = {0, 0};
    struct epoll_event event;
    int e = epoll_create1(0), counter = eventfd(0, 0);
    eventfd_t n = 0;
    FD_ZERO(&in);
    FD_SET(fd, &in);
    say("poll", poll(&p, 1, 0));
    say("ppoll", ppoll(&p, 1, &ts, NULL));
    say("__poll_chk", __poll_chk(&p, 1, 0, sizeof p));
    say("__ppoll_chk", __ppoll_chk(&p, 1, &ts, NULL, sizeof p));
    say("select", select(fd + 1, &in, NULL, NULL, &t));
    say("pselect", pselect(0, NULL, NULL, NULL, &ts, NULL));
    say("epoll_ctl", epoll_ctl(e, EPOLL_CTL_ADD, counter, &(struct epoll_event){.events = EPOLLIN}));
    say("epoll_wait", epoll_wait(e, &event, 1, 0));
    say("epoll_pwait", epoll_pwait(e, &event, 1, 0, NULL));
    say("eventfd_write", eventfd_write(counter, 7));
    say_ok("eventfd_read", eventfd_read(counter, &n) == 0 && n == 7);
    say_ok("dup2", dup2(counter, 60) == 60);
    say_ok("dup3", dup3(counter, 60, O_CLOEXEC) == 60);
}

int __printf_chk(int, const char *, ...);
int __fprintf_chk(FILE *, int, const char *, ...);
int __vprintf_chk(int, const char *, va_list);
int __vfprintf_chk(FILE *, int, const char *, va_list);

static void print_formats(FILE *null, ...)
{
    va_list values[4];
    for (int i = 0; i < 4; i++)
        va_start(values[i], null);
    say_ok("vprintf", vprintf("%s", values[0]) == 0);
    say_ok("vfprintf", vfprintf(null, "%s", values[1]) == 0);
    say_ok("__vprintf_chk", __vprintf_chk(1, "%s", values[2]) == 0);
    say_ok("__vfprintf_chk", __vfprintf_chk(null, 1, "%s", values[3]) == 0);
    for (int i = 0; i < 4; i++)
        va_end(values[i]);
}

/* What is printed on stdout is nothing, or the end of a line. */
static void print_all_ways(void)
{
    FILE *null = fopen("/dev/null", "w");
    say_ok("printf", printf("%s", "") == 0);
    say_ok("fprintf", fprintf(null, "%d", 77) == 2);
    say_ok("__printf_chk", __printf_chk(1, "%s", "") == 0);
    say_ok("__fprintf_chk", __fprintf_chk(null, 1, "%d", 77) == 2);
    print_formats(null, "");
    say_ok("puts", puts("") >= 0);
    say_ok("fputs", fputs("x", null) >= 0);
    say_ok("putchar", putchar('\n') == '\n');
    say_ok("fputc", fputc('x', null) == 'x');
    say_ok("putc", putc('x', null) == 'x');
    say_ok("fwrite", fwrite("xyz", 1, 3, null) == 3);
    say_ok("fflush", fflush(null) == 0);
    flockfile(stdout);
    funlockfile(stdout);
    say_ok("flockfile", 1);
    say_ok("ftrylockfile", ftrylockfile(stdout) == 0);
    funlockfile(stdout);
    say_ok("funlockfile", 1);
}

static void connect_and_close(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof a;
    int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    say("socket", l);
    say("bind", bind(l, (struct sockaddr *)&a, sizeof a));
    say("listen", listen(l, 5));
    getsockname(l, (struct sockaddr *)&a, &size);
    int c = socket(AF_INET, SOCK_STREAM, 0);
    say("connect", connect(c, (struct sockaddr *)&a, sizeof a));
    say("accept", accept(l, NULL, NULL));
    connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a);
    say("accept4", accept4(l, NULL, NULL, SOCK_CLOEXEC));
    say("shutdown", shutdown(c, SHUT_WR));
    say("close", close(c));
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static const struct timespec past = {1, 0};
static int woken;

static void *wake(void *unused)
{
    say_ok("pthread_mutex_lock", pthread_mutex_lock(&lock) == 0);
    woken = 1;
    pthread_cond_signal(&condition);
    say_ok("pthread_mutex_unlock", pthread_mutex_unlock(&lock) == 0);
    return unused;
}

static void posix_threads(void)
{
    pthread_t thread;
    pthread_rwlock_t readers = PTHREAD_RWLOCK_INITIALIZER;
    pthread_spinlock_t spin;
    sem_t semaphore;
    pthread_mutex_lock(&lock);
    int made = pthread_create(&thread, NULL, wake, NULL);
    say("pthread_create", -made);
    if (made == 0) {
        int result = 0;
        while (!woken)
            result = pthread_cond_wait(&condition, &lock);
        say_ok("pthread_cond_wait", result == 0);
    }
    say_ok("pthread_cond_timedwait", pthread_cond_timedwait(&condition, &lock, &past) == ETIMEDOUT);
    pthread_mutex_unlock(&lock);
    if (made == 0)
        say_ok("pthread_join", pthread_join(thread, NULL) == 0);
    say_ok("pthread_rwlock_rdlock", pthread_rwlock_rdlock(&readers) == 0);
    say_ok("pthread_rwlock_unlock", pthread_rwlock_unlock(&readers) == 0);
    say_ok("pthread_rwlock_wrlock", pthread_rwlock_wrlock(&readers) == 0);
    pthread_rwlock_unlock(&readers);
    pthread_spin_init(&spin, 0);
    say_ok("pthread_spin_lock", pthread_spin_lock(&spin) == 0);
    say_ok("pthread_spin_unlock", pthread_spin_unlock(&spin) == 0);
    sem_init(&semaphore, 0, 0);
    say("sem_post", sem_post(&semaphore));
    say("sem_wait", sem_wait(&semaphore));
}

static mtx_t mutex;
static cnd_t change;
static int changed, called;

static void count_call(void) { called++; }

static int alter(void *unused)
{
    mtx_lock(&mutex);
    changed = 1;
    say_ok("cnd_signal", cnd_signal(&change) == thrd_success);
    mtx_unlock(&mutex);
    return unused == NULL ? 7 : 0;
}

static void c11_threads(void)
{
    thrd_t thread, another;
    int value = 0;
    once_flag once = ONCE_FLAG_INIT;
    call_once(&once, count_call);
    call_once(&once, count_call);
    say_ok("call_once", called == 1);
    say_ok("mtx_init", mtx_init(&mutex, mtx_timed) == thrd_success);
    say_ok("cnd_init", cnd_init(&change) == thrd_success);
    say_ok("mtx_lock", mtx_lock(&mutex) == thrd_success);
    say_ok("mtx_trylock", mtx_trylock(&mutex) == thrd_busy);
    say_ok("mtx_timedlock", mtx_timedlock(&mutex, &past) == thrd_timedout);
    int made = thrd_create(&thread, alter, NULL) == thrd_success;
    say_ok("thrd_create", made);
    while (made && !changed)
        say_ok("cnd_wait", cnd_wait(&change, &mutex) == thrd_success);
    say_ok("cnd_timedwait", cnd_timedwait(&change, &mutex, &past) == thrd_timedout);
    say_ok("mtx_unlock", mtx_unlock(&mutex) == thrd_success);
    if (made)
        say_ok("thrd_join", thrd_join(thread, &value) == thrd_success && value == 7);
    mtx_lock(&mutex);
    changed = 0;
    if (thrd_create(&another, alter, NULL) == thrd_success) {
        say_ok("thrd_detach", thrd_detach(another) == thrd_success);
        while (!changed)
            cnd_wait(&change, &mutex);
    }
    mtx_unlock(&mutex);
    say_ok("cnd_broadcast", cnd_broadcast(&change) == thrd_success);
    cnd_destroy(&change);
    say_ok("cnd_destroy", 1);
    mtx_destroy(&mutex);
    say_ok("mtx_destroy", 1);
}

static void format(int number, ...)
{
    char *text;
    va_list values;
    va_start(values, number);
    say("vasprintf", vasprintf(&text, "%d", values));
    va_end(values);
}

static void allocate_all_ways(void)
{
    void *memory;
    char *text;
    say_ok("malloc", malloc(10) != NULL);
    say_ok("calloc", calloc(1, 10) != NULL);
    say_ok("realloc", realloc(NULL, 10) != NULL);
    say_ok("reallocarray", reallocarray(NULL, 1, 10) != NULL);
    say_ok("aligned_alloc", aligned_alloc(64, 64) != NULL);
    say_ok("posix_memalign", posix_memalign(&memory, 64, 10) == 0);
    say_ok("strdup", strdup("x") != NULL);
    say_ok("strndup", strndup("xy", 1) != NULL);
    say("asprintf", asprintf(&text, "%d", 7));
    format(0, 7);
}

int main(void)
{
    int s[2];
    char much[128] = "";
    int waiting = 1;
    network_pair(s);
    fcntl(s[1], F_SETFL, O_NONBLOCK);
    send_all_ways(s[0]);
    print_values(s[0], "12345678");
    send(s[0], much, sizeof much, 0);
    while (waiting > 0 && ioctl(s[0], SIOCOUTQ, &waiting) == 0)
        sched_yield(); /* until all has arrived */
    receive_all_ways(s[1]);
    use_streams(dup(s[1]));
    wait_all_ways(s[1]);
    print_all_ways();
    connect_and_close();
    posix_threads();
    c11_threads();
    allocate_all_ways();
    return 0;
}
"""
FAMILIES = {"recv": ("recv", "recvfrom", "read", "readv", "recvmsg", "recvmmsg", "__recv_chk", "__recvfrom_chk", "__read_chk", "getc"),
            "send": ("send", "sendto", "write", "writev", "sendmsg", "sendmmsg", "dprintf", "vdprintf", "fputs_to_a_socket"),
            "poll": ("poll", "ppoll", "__poll_chk", "__ppoll_chk", "select", "pselect", "epoll_wait", "epoll_pwait"),
            "accept": ("accept", "accept4"), "connect": ("connect",), "bind": ("bind",), "listen": ("listen",), "socket": ("socket",),
            "thread": ("pthread_create", "thrd_create"),
            "alloc": ("malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "posix_memalign", "strdup", "strndup", "asprintf", "vasprintf")}
STREAMS = {"getc", "fputs_to_a_socket"}  # of a stream that fdopen() has made
OTHERS = STREAMS | {"send_that_never_waits"}  # that are not the names of functions
GO_ON = {"getc", "fputs_to_a_socket", "dprintf", "vdprintf"}  # go on by themselves after a short transfer


@pytest.fixture(scope="module")
def every_call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with the instrument that calls each wrapped function."""
    directory = tmp_path_factory.mktemp("every_call")
    (directory / "every.c").write_text(EVERY_CALL)
    program = directory / "every"
    _compile(directory / "every.c", "-fno-builtin", "-fno-inline", "-c", "-o", str(directory / "every.o"))
    _compile(directory / "every.o", "-o", str(program), str(compile_object(directory / "instrument.o")), *instrument.LINK_FLAGS.split())
    return program


def _compile(source: Path, *options: str) -> None:
    subprocess.run(["gcc", "-std=gnu17", "-pthread", "-g", "-O1", "-U_FORTIFY_SOURCE", "-fno-omit-frame-pointer", str(source), *options], check=True)


def _results(program: Path, tmp_path: Path, *faults: Fault) -> tuple[dict[str, tuple[int, int]], Instrument]:
    page = Instrument(tmp_path / "page", list(faults))
    made = subprocess.run([str(program)], env={instrument.VARIABLE: str(page.path)}, capture_output=True, text=True, check=False, timeout=20)
    return {name: (int(n), int(e)) for name, n, e in (line.split() for line in made.stdout.splitlines() if line)}, page


def test_without_a_fault_every_call_does_its_work_and_is_noted(every_call: Path, tmp_path: Path) -> None:
    results, page = _results(every_call, tmp_path)
    assert results.keys() - OTHERS == set(instrument.WRAPPED)
    assert all(n >= 0 for n, _ in results.values()), results
    noted = {call.function for call in page.calls()}
    assert noted >= {"recv", "read", "recvmsg", "send", "write", "sendmsg", "accept", "connect", "bind", "listen", "socket", "poll",
                     "select", "epoll_wait", "shutdown", "close", "pthread_create", "pthread_join", "pthread_cond_wait", "sem_wait"}
    first = next(call for call in page.calls() if call.function == "send")
    assert (first.result, first.data) == (8, b"12345678")
    lines = instrument.source_lines(every_call, {call.address for call in page.calls()})
    assert lines[first.address].startswith("every.c:") and {line.partition(":")[0] for line in lines.values()} == {"every.c"}


def test_every_wrapped_name_is_called_by_the_program_of_this_test(every_call: Path) -> None:
    called = subprocess.run(["nm", "--undefined-only", "--format=just-symbols", str(every_call.with_name("every.o"))],
                            capture_output=True, text=True, check=True).stdout.split()
    assert set(instrument.WRAPPED) <= set(called)


# Each thread prints a letter and a newline, by two calls; with turns, both letters come first. Whoever locks the stream keeps his line.
TWO_CALLS = r"""
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

int __printf_chk(int, const char *, ...);
int __fprintf_chk(FILE *, int, const char *, ...);
int __vprintf_chk(int, const char *, va_list);
int __vfprintf_chk(FILE *, int, const char *, va_list);

static pthread_barrier_t both;

static void print_v(const char *format, ...)
{
    va_list v;
    va_start(v, format);
    PRINT_V;
    va_end(v);
}

static void *print_line(void *letter)
{
    char *c = letter;
    pthread_barrier_wait(&both);
    PRINT(c);
    PRINT("\n");
    return NULL;
}

int main(void)
{
    pthread_t a, b;
    setvbuf(stdout, NULL, _IOFBF, 4096);
    pthread_barrier_init(&both, NULL, 2);
    pthread_create(&a, NULL, print_line, "a");
    pthread_create(&b, NULL, print_line, "b");
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    return 0;
}
"""


@pytest.mark.parametrize("call", [
    'printf("%s", c)', 'fprintf(stdout, "%s", c)', '__printf_chk(1, "%s", c)', '__fprintf_chk(stdout, 1, "%s", c)', 'print_v("%s", c)/vprintf(format, v)',
    'print_v("%s", c)/vfprintf(stdout, format, v)', 'print_v("%s", c)/__vprintf_chk(1, format, v)', 'print_v("%s", c)/__vfprintf_chk(stdout, 1, format, v)',
    "fputs(c, stdout)", "putchar(*(c))", "fputc(*(c), stdout)", "putc(*(c), stdout)", "fwrite(c, 1, 1, stdout)", "write(1, c, 1)", 'dprintf(1, "%s", c)',
    "writev(1, &(struct iovec){(void *)(c), 1}, 1)"])
def test_between_two_calls_that_print_another_thread_prints(tmp_path: Path, call: str) -> None:
    assert _print_lines(tmp_path, TWO_CALLS, 3, *call.split("/")) in ("ab\n\n", "ba\n\n")


def test_who_has_locked_the_stream_prints_a_whole_line_and_then_takes_turns(tmp_path: Path) -> None:
    locked = TWO_CALLS.replace("    PRINT(c);", "    flockfile(stdout);\n    PRINT(c);").replace('PRINT("\\n");', 'PRINT("\\n");\n    funlockfile(stdout);')
    assert locked.count("lockfile") == 2
    assert _print_lines(tmp_path, locked, 1, "fputs(c, stdout)") in ("a\nb\n", "b\na\n")


def test_who_prints_by_a_macro_under_a_lock_of_his_own_is_met_when_he_flushes(tmp_path: Path) -> None:
    locked = TWO_CALLS.replace("    PRINT(c);", "    pthread_mutex_lock(&own);\n    putc_unlocked(*c, stdout);").replace(
        'PRINT("\\n");', "putc_unlocked(10, stdout);\n    fflush(stdout);\n    pthread_mutex_unlock(&own);").replace(
        "static pthread_barrier_t both;", "static pthread_barrier_t both;\nstatic pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;")
    assert locked.count("own") == 3
    fault = Fault("print", "turns", (1,), last=2)
    assert _print_lines(tmp_path, locked, 2, "c", fault=fault) in ("a\nb\n", "b\na\n")


def _print_lines(tmp_path: Path, source: str, turns: int, call: str, inner: str = "(void)v", fault: Fault | None = None) -> str:
    """What the program prints whose threads let each other go first, so many times: not behind the last call."""
    (tmp_path / "lines.c").write_text(source)
    _compile(tmp_path / "lines.c", "-fno-builtin", "-fno-inline", f"-DPRINT(c)={call}", f"-DPRINT_V={inner}", "-c", "-o", str(tmp_path / "lines.o"))
    _compile(tmp_path / "lines.o", "-o", str(tmp_path / "lines"), str(compile_object(tmp_path / "instrument.o")), *instrument.LINK_FLAGS.split())
    fault = fault or Fault("print", "turns", (20_000,), last=turns)
    page = Instrument(tmp_path / "page", [fault])
    made = subprocess.run([str(tmp_path / "lines")], env={instrument.VARIABLE: str(page.path)}, capture_output=True, text=True, check=True, timeout=30)
    assert page.met(fault) == turns
    return made.stdout


# Two threads take two locks each, in different orders: they wait for each other for ever if each has had its turn at the first.
TWO_LOCKS = r"""
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <threads.h>
static TYPE locks[2];
static void *take_both(void *first)
{
    TYPE *one = first, *other = first == &locks[0] ? &locks[1] : &locks[0];
    TAKE(one);
    puts("one");
    fflush(stdout);
    TAKE(other);
    puts("both");
    fflush(stdout);
    GIVE(other);
    GIVE(one);
    return NULL;
}
int main(void)
{
    pthread_t a, b;
    MAKE(&locks[0]);
    MAKE(&locks[1]);
    pthread_create(&a, NULL, take_both, &locks[0]);
    pthread_create(&b, NULL, take_both, &locks[1]);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    return 0;
}
"""


@pytest.mark.parametrize(("kind", "make", "take", "give"), [
    ("pthread_mutex_t", "pthread_mutex_init(x, NULL)", "pthread_mutex_lock(x)", "pthread_mutex_unlock(x)"),
    ("mtx_t", "mtx_init(x, mtx_plain)", "mtx_lock(x)", "mtx_unlock(x)"),
    ("pthread_rwlock_t", "pthread_rwlock_init(x, NULL)", "pthread_rwlock_wrlock(x)", "pthread_rwlock_unlock(x)"),
    ("pthread_spinlock_t", "pthread_spin_init(x, 0)", "pthread_spin_lock(x)", "pthread_spin_unlock(x)"),
    ("sem_t", "sem_init(x, 0, 1)", "sem_wait(x)", "sem_post(x)")], ids=lambda text: text.partition("(")[0])
def test_two_orders_of_locks_end_in_a_deadlock(tmp_path: Path, kind: str, make: str, take: str, give: str) -> None:
    (tmp_path / "locks.c").write_text(TWO_LOCKS)
    _compile(tmp_path / "locks.c", f"-DTYPE={kind}", f"-DMAKE(x)={make}", f"-DTAKE(x)={take}", f"-DGIVE(x)={give}", "-o", str(tmp_path / "locks"),
             str(compile_object(tmp_path / "instrument.o")), *instrument.LINK_FLAGS.split())
    page = Instrument(tmp_path / "page", [Fault("lock", "turns", (20_000,), last=2)])
    program = subprocess.Popen([str(tmp_path / "locks")], env={instrument.VARIABLE: str(page.path)}, stdout=subprocess.PIPE)
    try:
        # Each has one lock, and then nobody gets the other one.
        assert [program.stdout.readline() for _ in range(2)] == [b"one\n", b"one\n"]
    finally:
        program.kill()
        program.communicate()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_function_of_a_family_fails_when_it_is_told_to(every_call: Path, tmp_path: Path, family: str) -> None:
    fault = fail(family, errno.EAGAIN if family == "thread" else errno.ENOMEM, last=0)
    results, page = _results(every_call, tmp_path, fault)
    failing = [name for name in FAMILIES[family] if results.get(name, (-1, 0))[0] >= 0]
    assert failing == [] and page.met(fault) >= len(FAMILIES[family])


def test_what_never_waits_is_never_interrupted(every_call: Path, tmp_path: Path) -> None:
    """The sockets that receive and listen in this program never wait, and so does one call that sends; the other calls do."""
    faults = [fail(family, errno.EINTR, last=0) for family in ("recv", "send", "accept", "poll")]
    results, page = _results(every_call, tmp_path, *faults)
    assert all(page.met(fault) for fault in faults)
    assert all(results[name][0] >= 0 for name in ("send_that_never_waits", "accept", "accept4")), results
    assert all(results[name][0] > 0 or results[name] == (-1, errno.EAGAIN) for name in FAMILIES["recv"] if name not in GO_ON), results
    interrupted = [*FAMILIES["poll"], *(name for name in FAMILIES["send"] if name not in GO_ON)]
    assert all(results[name] == (-1, errno.EINTR) for name in interrupted), results


@pytest.mark.parametrize("family", ["recv", "send"])
def test_every_transfer_is_shortened(every_call: Path, tmp_path: Path, family: str) -> None:
    results, page = _results(every_call, tmp_path, short(family, 3))
    assert {name: results[name][0] for name in FAMILIES[family] if name not in GO_ON} == {
        name: 3 for name in FAMILIES[family] if name not in GO_ON}
    assert all(results[name][0] == 8 for name in GO_ON & set(FAMILIES[family]) - {"getc"})


def test_a_fault_comes_at_its_number_and_is_counted(every_call: Path, tmp_path: Path) -> None:
    fault = fail("alloc", errno.ENOMEM, first=2, last=3)
    results, page = _results(every_call, tmp_path, fault)
    count = len(FAMILIES["alloc"])
    assert [results[name][0] for name in FAMILIES["alloc"]] == [1, -1, -1] + [1] * (count - 3)
    assert (page.met(fault), page.seen(fault)) == (2, count)


def test_the_page_has_one_layout_in_C_and_in_Python(tmp_path: Path) -> None:
    header = (Path(instrument.__file__).parent / "instrument.h").read_text()
    names = {kind: re.sub(r"/\*.*?\*/", "", re.search(rf"enum {kind} {{(.*?)}}", header, re.S)[1], flags=re.S).replace("\n", " ")
             for kind in ("family", "action", "function")}
    assert [n.strip().lower() for n in names["family"].split(",")] == list(instrument.FAMILIES)
    assert [n.strip().lower() for n in names["action"].split(",")] == list(instrument.ACTIONS)
    assert len(names["function"].split(",")) == len(instrument.FUNCTIONS)
    source = tmp_path / "sizes.c"
    source.write_text(f'#include "{Path(instrument.__file__).parent}/instrument.h"\n#include <stdio.h>\n#include <stddef.h>\n'
                      'int main(void) { printf("%zu %zu %zu %zu %zu", sizeof(struct rule), sizeof(struct call), sizeof(struct page),'
                      'offsetof(struct page, calls), offsetof(struct call, data)); }')
    subprocess.run(["gcc", "-o", str(tmp_path / "sizes"), str(source)], check=True)
    printed = subprocess.run([str(tmp_path / "sizes")], capture_output=True, text=True, check=True).stdout.split()
    assert list(map(int, printed)) == [ctypes.sizeof(instrument._Rule), ctypes.sizeof(instrument._Call), ctypes.sizeof(instrument._Page),
                                       instrument._Page.calls.offset, instrument._Call.data.offset]


@pytest.mark.parametrize("build", ["plain", "asan", "tsan", "memcheck", "helgrind"])
def test_faults_are_met_in_every_build(build: str, tmp_path: Path) -> None:
    lab = Lab(4, Build(KIT / "solutions", tmp_path), logs=str(tmp_path))
    options = {"plain": {}, "asan": memory.ASAN, "tsan": {"variant": "tsan", "env": {"TSAN_OPTIONS": memory.TSAN_OPTIONS}},
               "memcheck": memory.valgrind(lab, memory.MEMCHECK), "helgrind": memory.valgrind(lab, memory.HELGRIND)}[build]
    faults = (short("recv", 1), short("send", 3), fail("accept", errno.ECONNABORTED))
    try:
        server = lab.server(faults=faults, **options)
        end_conversation(converse(lab, server))
        assert all(server.instrument.met(fault) for fault in faults)
        server.finish_under_tool()
        if "tool" in options:
            assert memory.findings(lab, server) == []
        assert memory.tsan_findings(lab, server) == [] and memory.asan_findings(lab, server) == []
    finally:
        lab.close()


# A thread fills a buffer that main() uses in a call: a race, and the call comes second.
RACE = r"""
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
static char buffer[64];
""" + PAIR + r"""
static atomic_int filled; /* relaxed: it orders nothing */
static int pair[2];
static void *fill(void *unused)
{
    for (int i = 0; i < 64; i++)
        buffer[i] = 'x';
    atomic_store_explicit(&filled, 1, memory_order_relaxed);
    return unused;
}
static void use_buffer(void)
{
    CALL;
}
int main(void)
{
    pthread_t thread;
    network_pair(pair);
    send(pair[1], buffer, sizeof buffer, 0);
    pthread_create(&thread, NULL, fill, NULL);
    while (!atomic_load_explicit(&filled, memory_order_relaxed))
        sched_yield();
    use_buffer();
    pthread_join(thread, NULL);
    return 0;
}
"""

# A thread uses memory that main() hands over to it.
HAND_OVER = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
static int ends[2];
static int memory;
static void *take(void *unused)
{
    eventfd_t n;
    struct iovec v = {&n, 1};
    (void)v;
    TAKE;
    memory++;
    return unused;
}
int main(void)
{
    pthread_t thread;
    struct iovec v = {"x", 1};
    (void)v;
    OPEN;
    pthread_create(&thread, NULL, take, NULL);
    memory = 1;
    GIVE;
    pthread_join(thread, NULL);
    return memory - 2;
}
"""


# Two threads throw away what they receive: the sanitizer alone would see both write to NULL.
THROW_AWAY = r"""
#define _GNU_SOURCE
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
static struct sockaddr_in address = {.sin_family = AF_INET};
static socklen_t size = sizeof address;
static void *connect_and_discard(void *unused)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    connect(fd, (struct sockaddr *)&address, sizeof address);
    send(fd, "hello", 5, 0);
    return recv(fd, BUFFER, 5, MSG_TRUNC) == 5 ? unused : "it did not come";
}
int main(void)
{
    pthread_t thread;
    void *wrong;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    listen(listener, 1);
    getsockname(listener, (struct sockaddr *)&address, &size);
    pthread_create(&thread, NULL, connect_and_discard, NULL);
    int fd = accept(listener, NULL, NULL);
    send(fd, "hello", 5, 0);
    long n = recv(fd, BUFFER, 5, MSG_TRUNC);
    pthread_join(thread, &wrong);
    return n != 5 || wrong != NULL;
}
"""


def _races(source: str, tmp_path: Path, **words: str) -> list[str]:
    """What the grader reads in ThreadSanitizer's report on a program; `words` are its macros."""
    file = tmp_path / "stage3_threads" / "program.c"
    file.parent.mkdir()
    file.write_text(source)
    _compile(file, "-fsanitize=thread", *(f"-D{name}={value}" for name, value in words.items()), "-o", str(tmp_path / "program"),
             str(compile_object(tmp_path / "instrument.o")), *instrument.LINK_FLAGS.split())
    made = subprocess.run([str(tmp_path / "program")], env={"TSAN_OPTIONS": memory.TSAN_OPTIONS}, capture_output=True, check=False, timeout=20)
    lab = SimpleNamespace(build=SimpleNamespace(source=tmp_path))
    found = memory.tsan_findings(lab, SimpleNamespace(errors=made.stderr))
    assert made.returncode == (66 if found else 0), made.stderr
    return found


@pytest.mark.parametrize("call", ["send(pair[0], buffer, sizeof buffer, 0)", "recv(pair[0], buffer, sizeof buffer, 0)"])
def test_a_race_inside_a_wrapped_call_is_reported_where_the_student_calls_it(call: str, tmp_path: Path) -> None:
    line = RACE.splitlines().index("    CALL;") + 1
    found = _races(RACE, tmp_path, CALL=call)
    assert [sentence.partition(" has ")[0] for sentence in found] == [f"use_buffer() at stage3_threads/program.c:{line}"]


@pytest.mark.parametrize("words", [
    {"OPEN": "pipe(ends)", "GIVE": "write(ends[1], v.iov_base, 1)", "TAKE": "read(ends[0], &n, 1)"},
    {"OPEN": "pipe(ends)", "GIVE": "close(ends[1])", "TAKE": "read(ends[0], &n, 1)"},
    {"OPEN": "pipe(ends)", "GIVE": "writev(ends[1], &v, 1)", "TAKE": "readv(ends[0], &v, 1)"},
    {"OPEN": "ends[0] = ends[1] = eventfd(0, 0)", "GIVE": "eventfd_write(ends[1], 1)", "TAKE": "eventfd_read(ends[0], &n)"},
    {"OPEN": "socketpair(AF_UNIX, SOCK_STREAM, 0, ends)", "GIVE": "send(ends[1], v.iov_base, 1, 0)", "TAKE": "recv(ends[0], &n, 1, 0)"},
    {"OPEN": "socketpair(AF_UNIX, SOCK_STREAM, 0, ends)", "GIVE": "sendto(ends[1], v.iov_base, 1, 0, NULL, 0)", "TAKE": "read(ends[0], &n, 1)"},
    {"OPEN": "socketpair(AF_UNIX, SOCK_STREAM, 0, ends)", "GIVE": "sendmsg(ends[1], &(struct msghdr){.msg_iov = &v, .msg_iovlen = 1}, 0)",
     "TAKE": "recvmsg(ends[0], &(struct msghdr){.msg_iov = &v, .msg_iovlen = 1}, 0)"},
], ids=lambda words: words["GIVE"].partition("(")[0])
def test_memory_may_be_handed_over_through_a_descriptor(words: dict[str, str], tmp_path: Path) -> None:
    assert _races(HAND_OVER, tmp_path, **words) == []


@pytest.mark.parametrize("buffer", ["NULL", "&size"])
def test_threads_may_throw_away_what_they_receive(buffer: str, tmp_path: Path) -> None:
    assert _races(THROW_AWAY, tmp_path, BUFFER=buffer) == []


# Meets on a local socket, writes to a pipe, and throws away what comes by the network.
LOCAL = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>
""" + PAIR + r"""
int main(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "@meeting"};
    int pair[2], ends[2];
    snprintf(address.sun_path, sizeof address.sun_path, "@%d", (int)getpid());
    address.sun_path[0] = 0; /* abstract: no file (unix(7)) */
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0);
    const struct sockaddr *where = (struct sockaddr *)&address;
    if (bind(listener, where, sizeof address) || listen(listener, 2) || connect(other, where, sizeof address))
        return 1;
    if (accept(listener, NULL, NULL) == -1 || pipe(ends) || write(ends[1], "x", 1) != 1)
        return 2;
    network_pair(pair);
    struct iovec nowhere = {NULL, 5};
    send(pair[0], "hello", 5, 0);
    return recvmsg(pair[1], &(struct msghdr){.msg_iov = &nowhere, .msg_iovlen = 1}, MSG_TRUNC) == 5 ? 0 : 3;
}
"""


def test_what_stays_on_this_machine_neither_fails_nor_prints(tmp_path: Path) -> None:
    file = tmp_path / "local.c"
    file.write_text(LOCAL)
    _compile(file, "-o", str(tmp_path / "local"), str(compile_object(tmp_path / "instrument.o")), *instrument.LINK_FLAGS.split())
    faults = [Fault("print", "turns", (1,)), *(fail(family, errno.ENFILE) for family in ("socket", "bind", "listen", "connect", "accept"))]
    page = Instrument(tmp_path / "page", faults)
    made = subprocess.run([str(tmp_path / "local")], env={instrument.VARIABLE: str(page.path)}, check=False, timeout=20)
    assert made.returncode == 0 and [page.met(fault) for fault in faults] == [0] * len(faults)
    assert [(call.function, call.result) for call in page.calls()] == [("send", 5), ("recvmsg", 5)]


# Hands a struct with padding over through a descriptor, sends bytes to a client that nobody has set, and keeps an address in epoll only.
UNSET = r"""
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
""" + PAIR + r"""
struct job { char c; long n; };
static int ends[2], network[2], poller;
static void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = malloc(40)};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}
int main(void)
{
    struct job *job = malloc(sizeof *job);
    struct job got;
    job->c = 'c';
    job->n = 1;
    pipe(ends);
    write(ends[1], job, sizeof *job);
    if (read(ends[0], &got, sizeof got) != sizeof got)
        return 1;
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    send(ends[1], job, sizeof *job, 0);
    if (recv(ends[0], &got, sizeof got, 0) != sizeof got || memcmp(&got, job, sizeof got) != 0)
        return 1;
    free(job);
    network_pair(network);
    poller = epoll_create1(0);
    int watched[4] = {network[0], network[1], ends[0], ends[1]};
    for (int i = 0; i < 4; i++)
        watch(watched[i]);
    LAST;
    return 0;
}
"""


@pytest.mark.parametrize(("last", "kind"), [
    ("(void)0", None), ("send(network[0], malloc(8), 8, 0)", "SyscallParam"), ("write(network[0], malloc(8), 8)", "SyscallParam"),
    ("close(network[0])", None), ("for (int i = 0; i < 4; i++) close(watched[i])", "Leak_DefinitelyLost"),
    ("for (int i = 0; i < 4; i++) epoll_ctl(poller, EPOLL_CTL_DEL, watched[i], NULL)", "Leak_DefinitelyLost")])
def test_valgrind_knows_what_threads_and_the_kernel_may_be_given(last: str, kind: str | None, tmp_path: Path) -> None:
    file = tmp_path / "stage1_echo" / "program.c"
    file.parent.mkdir()
    file.write_text(UNSET)
    _compile(file, f"-DLAST={last}", "-o", str(tmp_path / "program"), str(compile_object(tmp_path / "instrument.o")), *instrument.LINK_FLAGS.split())
    report = tmp_path / "report.xml"
    subprocess.run(["valgrind", *memory.MEMCHECK, "--xml=yes", f"--xml-file={report}", str(tmp_path / "program")], check=True, timeout=60)
    lab = SimpleNamespace(held="", files=[], build=SimpleNamespace(source=tmp_path))
    program = SimpleNamespace(role="server", process=SimpleNamespace(args=[f"--xml-file={report}"]))
    found = memory.findings(lab, program)
    wanted = memory._KINDS[kind] if kind else ""
    assert [wanted in sentence for sentence in found if "loses" in sentence or "system call" in sentence] == ([True] if kind else []), found


LEAK = """<valgrindoutput><error><kind>Leak_DefinitelyLost</kind>
<xwhat><leakedbytes>80</leakedbytes><leakedblocks>2</leakedblocks></xwhat>
<stack><frame><fn>malloc</fn></frame>
<frame><fn>__wrap_malloc</fn><dir>{kit}/grader/harness/instrument</dir><file>memory.c</file><line>36</line></frame>{own}
<frame><fn>net_listen</fn><dir>{kit}/solutions/stage1_echo</dir><file>net.c</file><line>9</line></frame></stack>
</error></valgrindoutput>"""
OWN = "<frame><fn>serve</fn><dir>{kit}/stage3_threads</dir><file>server.c</file><line>7</line></frame>"


@pytest.mark.parametrize(("own", "found"), [
    (OWN.format(kit=KIT), ["serve() at stage3_threads/server.c:7 loses memory that nothing points to any more (80 bytes)."]), ("", [])])
def test_where_the_kit_itself_is_judged_only_its_stages_are_the_students(own: str, found: list[str], tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(LEAK.format(kit=KIT, own=own))
    lab = SimpleNamespace(held="", files=[], build=SimpleNamespace(source=KIT))
    assert memory.findings(lab, SimpleNamespace(process=SimpleNamespace(args=[f"--xml-file={report}"]))) == found


# One call lasts while others fill the trace again and again.
LASTS = r"""
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>
""" + PAIR + r"""
static int slow[2], fast[2];
static void *wait_for_it(void *unused)
{
    char bytes[8];
    return recv(slow[1], bytes, sizeof bytes, 0) == 7 ? unused : "other bytes came";
}
int main(void)
{
    pthread_t thread;
    char byte = 0;
    void *wrong;
    network_pair(slow);
    network_pair(fast);
    pthread_create(&thread, NULL, wait_for_it, NULL);
    for (int i = 0; i < 10000; i++)
        if (send(fast[0], &byte, 1, 0) != 1 || recv(fast[1], &byte, 1, 0) != 1)
            return 1;
    send(slow[0], "7 bytes", 7, 0);
    pthread_join(thread, &wrong);
    return wrong != NULL;
}
"""


def test_a_call_that_lasts_keeps_its_place_in_the_trace(tmp_path: Path) -> None:
    (tmp_path / "lasts.c").write_text(LASTS)
    _compile(tmp_path / "lasts.c", "-o", str(tmp_path / "lasts"), str(compile_object(tmp_path / "instrument.o")), *instrument.LINK_FLAGS.split())
    page = Instrument(tmp_path / "page")
    subprocess.run([str(tmp_path / "lasts")], env={instrument.VARIABLE: str(page.path)}, check=True, timeout=60)
    assert (page.moved("recv"), page.moved("send")) == (10007, 10007)
    assert [(call.function, call.data) for call in page.calls() if call.result == 7] == [("recv", b"7 bytes"), ("send", b"7 bytes")]


RECV = "recv(reader->fd, reader->input, sizeof reader->input, 0)"
RAW = "syscall(SYS_recvfrom, reader->fd, reader->input, sizeof reader->input, 0, NULL, NULL)"


@pytest.mark.parametrize("instead", [RAW, f"(made++ % 2 == 0 ? {RECV} : {RAW})"], ids=["all_calls", "every_second_call"])
def test_calls_that_pass_by_the_C_library_never_pass_a_fault_check(instead: str, tmp_path: Path) -> None:
    source = tmp_path / "work"
    shutil.copytree(KIT / "solutions", source)
    framing = source / "stage2_framing" / "framing.c"
    text = framing.read_text()
    assert text.count(RECV) == 1
    framing.write_text("#include <sys/syscall.h>\n#include <unistd.h>\nstatic unsigned made;\n" + text.replace(RECV, instead))
    record = run(source, tmp_path / "out", Choice(stage=2, only="server short_recv"))
    verdicts = {c["id"]: c["verdict"] for c in record["checks"]}
    assert verdicts["stage2.server.basic"] == "passed" and verdicts["stage2.server.short_recv"] == "not reached"
