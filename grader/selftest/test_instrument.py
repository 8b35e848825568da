"""The instrument: every family is wrapped, faults come by number, the page has one layout, every build works."""

from __future__ import annotations

import ctypes
import errno
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from grader.checks.common.workload import converse, end_conversation
from grader.execution import Choice
from grader.harness import instrument, memory
from grader.harness.build import KIT, Build
from grader.harness.instrument import Fault, Instrument, compile_object, fail, short
from grader.harness.lab import Lab
from grader.session import run

# Calls each function once, on a pair of connected sockets where it moves bytes.
EVERY_CALL = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
static void *nothing(void *x) { return x; }
static void say(const char *name, long n) { printf("%s %ld %d\n", name, n, n < 0 ? errno : 0); }
int main(void)
{
    int s[2];
    char b[64];
    struct iovec v[2] = {{b, 4}, {b + 4, 4}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
    say("send", send(s[0], "12345678", 8, 0));
    say("sendto", sendto(s[0], "12345678", 8, 0, NULL, 0));
    say("write", write(s[0], "12345678", 8));
    say("sendmsg", sendmsg(s[0], &m, 0));
    say("writev", writev(s[0], v, 2));
    send(s[0], "0123456789012345678901234567890123456789", 40, 0);
    say("recv", recv(s[1], b, 8, 0));
    say("recvfrom", recvfrom(s[1], b, 8, 0, NULL, NULL));
    say("read", read(s[1], b, 8));
    say("recvmsg", recvmsg(s[1], &m, 0));
    say("readv", readv(s[1], v, 2));
    FILE *f = fdopen(dup(s[1]), "r");
    say("getc", getc(f));
    fclose(f);
    struct pollfd p = {s[1], POLLIN, 0};
    fd_set in;
    FD_ZERO(&in);
    FD_SET(s[1], &in);
    struct timeval t = {0, 0};
    struct timespec ts = {0, 0};
    say("poll", poll(&p, 1, 0));
    say("ppoll", ppoll(&p, 1, &ts, NULL));
    say("select", select(s[1] + 1, &in, NULL, NULL, &t));
    say("pselect", pselect(0, NULL, NULL, NULL, &ts, NULL));
    int e = epoll_create1(0);
    struct epoll_event ev;
    say("epoll_wait", epoll_wait(e, &ev, 1, 0));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    say("socket", l);
    say("bind", bind(l, (struct sockaddr *)&a, sizeof a));
    say("listen", listen(l, 5));
    socklen_t size = sizeof a;
    getsockname(l, (struct sockaddr *)&a, &size);
    int c = socket(AF_INET, SOCK_STREAM, 0);
    say("connect", connect(c, (struct sockaddr *)&a, sizeof a));
    say("accept", accept(l, NULL, NULL));
    connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a);
    say("accept4", accept4(l, NULL, NULL, SOCK_CLOEXEC));
    pthread_t thread;
    int made = pthread_create(&thread, NULL, nothing, NULL);
    say("pthread_create", -made);
    if (made == 0)
        pthread_join(thread, NULL);
    say("malloc", malloc(10) ? 1 : -1);
    say("calloc", calloc(1, 10) ? 1 : -1);
    say("realloc", realloc(NULL, 10) ? 1 : -1);
    say("strdup", strdup("x") ? 1 : -1);
    return 0;
}
"""
FAMILIES = {"recv": ("recv", "recvfrom", "read", "recvmsg", "readv", "getc"), "send": ("send", "sendto", "write", "sendmsg", "writev"),
            "poll": ("poll", "ppoll", "select", "pselect", "epoll_wait"), "accept": ("accept", "accept4"), "connect": ("connect",),
            "bind": ("bind",), "listen": ("listen",), "socket": ("socket",), "thread": ("pthread_create",),
            "alloc": ("malloc", "calloc", "realloc", "strdup")}


@pytest.fixture(scope="module")
def every_call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with the instrument that calls each wrapped function."""
    directory = tmp_path_factory.mktemp("every_call")
    (directory / "every.c").write_text(EVERY_CALL)
    program = directory / "every"
    subprocess.run(["gcc", "-std=gnu17", "-pthread", "-g", "-O1", "-U_FORTIFY_SOURCE", "-o", str(program), str(directory / "every.c"),
                    str(compile_object(directory / "instrument.o")), *instrument.LINK_FLAGS.split()], check=True)
    return program


def _results(program: Path, tmp_path: Path, *faults: Fault) -> tuple[dict[str, tuple[int, int]], Instrument]:
    page = Instrument(tmp_path / "page", list(faults))
    made = subprocess.run([str(program)], env={instrument.VARIABLE: str(page.path)}, capture_output=True, text=True, check=False, timeout=20)
    return {name: (int(n), int(e)) for name, n, e in (line.split() for line in made.stdout.splitlines())}, page


def test_without_a_fault_every_call_does_its_work_and_is_noted(every_call: Path, tmp_path: Path) -> None:
    results, page = _results(every_call, tmp_path)
    assert all(n >= 0 for n, _ in results.values()), results
    noted = {call.function for call in page.calls()}
    assert noted >= {"recv", "read", "recvmsg", "send", "write", "sendmsg", "accept", "connect", "bind", "listen", "socket", "poll",
                     "select", "epoll_wait", "pthread_create", "close"}
    first = next(call for call in page.calls() if call.function == "send")
    assert (first.result, first.data) == (8, b"12345678")
    assert instrument.source_lines(every_call, {first.address})[first.address].startswith("every.c:")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_function_of_a_family_fails_when_it_is_told_to(every_call: Path, tmp_path: Path, family: str) -> None:
    fault = fail(family, errno.EAGAIN if family == "thread" else errno.ENOMEM, last=0)
    results, page = _results(every_call, tmp_path, fault)
    failing = [name for name in FAMILIES[family] if results.get(name, (-1, 0))[0] >= 0]
    assert failing == [] and page.met(fault) >= len(FAMILIES[family])


@pytest.mark.parametrize("family", ["recv", "send"])
def test_every_transfer_is_shortened(every_call: Path, tmp_path: Path, family: str) -> None:
    results, page = _results(every_call, tmp_path, short(family, 3))
    assert {name: results[name][0] for name in FAMILIES[family] if name != "getc"} == dict.fromkeys(
        (name for name in FAMILIES[family] if name != "getc"), 3)


def test_a_fault_comes_at_its_number_and_is_counted(every_call: Path, tmp_path: Path) -> None:
    fault = fail("alloc", errno.ENOMEM, first=2, last=3)
    results, page = _results(every_call, tmp_path, fault)
    assert [results[name][0] for name in FAMILIES["alloc"]] == [1, -1, -1, 1]
    assert (page.met(fault), page.seen(fault)) == (2, 4)


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


def test_calls_that_pass_by_the_C_library_never_pass_a_fault_check(tmp_path: Path) -> None:
    source = tmp_path / "work"
    shutil.copytree(KIT / "solutions", source)
    framing = source / "stage2_framing" / "framing.c"
    text = framing.read_text()
    assert text.count("recv(reader->fd, reader->input, sizeof reader->input, 0)") == 1
    framing.write_text("#include <sys/syscall.h>\n#include <unistd.h>\n" + text.replace(
        "recv(reader->fd, reader->input, sizeof reader->input, 0)",
        "syscall(SYS_recvfrom, reader->fd, reader->input, sizeof reader->input, 0, NULL, NULL)"))
    record = run(source, tmp_path / "out", Choice(stage=2, only="server short_recv"))
    verdicts = {c["id"]: c["verdict"] for c in record["checks"]}
    assert verdicts["stage2.server.basic"] == "passed" and verdicts["stage2.server.short_recv"] == "not reached"
