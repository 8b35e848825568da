"""The harness's end of the instrument: rules that inject faults, and the trace of calls.

The C files here are linked between a student's objects and the system (ld --wrap). It and this
module share one page of memory, laid out in `instrument.h`.
"""

from __future__ import annotations

import ctypes
import errno as errors
import os
import re
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
VARIABLE = "RELAYLAB_INSTRUMENT"  # names the file of the page

FAMILIES = ("recv", "send", "accept", "connect", "bind", "listen", "socket", "poll", "close", "thread", "lock", "unlock", "alloc",
            "print")
ACTIONS = ("short", "fail", "delay", "hold", "late", "park", "turns", "move")
FUNCTIONS = ("recv", "read", "recvmsg", "send", "write", "sendmsg", "accept", "connect", "bind", "listen",
             "socket", "shutdown", "close", "poll", "select", "epoll_wait", "pthread_create", "malloc",
             "pthread_mutex_lock", "pthread_join", "pthread_cond_wait", "sem_wait")
_SOURCE_LINE = re.compile(r"[\w.-]+:\d+")
RULES, CALLS, CALL_DATA, RULE_VALUES = 16, 8192, 48, 16
SHORT_HOLD = 2_000  # ms, where a thread may be sending: by its own clock a server may drop who takes nothing for longer (contract)
LONGEST_HOLD = 20_000  # ms; a check lets a thread go long before
CALL_ENDED = 2

# All calls of a student that are sent to the instrument.
WRAPPED = (
    "recv recvfrom recvmsg recvmmsg read readv __recv_chk __recvfrom_chk __read_chk eventfd_read "
    "send sendto sendmsg sendmmsg write writev dprintf vdprintf eventfd_write fdopen fileno "
    "printf vprintf fprintf vfprintf __printf_chk __vprintf_chk __fprintf_chk __vfprintf_chk puts fputs putchar fputc putc fwrite fflush "
    "flockfile ftrylockfile funlockfile "
    "accept accept4 connect bind listen socket shutdown close dup2 dup3 "
    "poll ppoll __poll_chk __ppoll_chk select pselect epoll_wait epoll_pwait epoll_ctl "
    "pthread_create pthread_join pthread_mutex_lock pthread_mutex_unlock "
    "pthread_rwlock_rdlock pthread_rwlock_wrlock pthread_rwlock_unlock pthread_spin_lock pthread_spin_unlock "
    "pthread_cond_wait pthread_cond_timedwait sem_wait sem_post "
    "thrd_create thrd_join thrd_detach call_once mtx_init mtx_lock mtx_trylock mtx_timedlock mtx_unlock mtx_destroy "
    "cnd_init cnd_signal cnd_broadcast cnd_wait cnd_timedwait cnd_destroy "
    "malloc calloc realloc reallocarray aligned_alloc posix_memalign strdup strndup asprintf vasprintf"
).split()
LINK_FLAGS = " ".join(f"-Wl,--wrap={name}" for name in WRAPPED)

_NAMES = {"thread": "pthread_create", "alloc": "malloc", "lock": "pthread_mutex_lock", "unlock": "pthread_mutex_unlock",
          "print": "printf"}  # of families


@dataclass(eq=False, slots=True)
class Fault:
    """What is done to one family of calls.

    Calls are counted from 1 while the fault is armed; it applies to call `first`, then to every
    `every`-th (0: to each one), up to call `last` (0: no end).
    """

    family: str
    action: str
    values: tuple[int, ...]
    first: int = 1
    every: int = 0
    last: int = 0
    armed: bool = True

    def __str__(self) -> str:
        call = f"{_NAMES.get(self.family, self.family)}()"
        if self.action == "fail":
            return f"{call} failing with {errors.errorcode[self.values[0]]}"
        if self.action == "short":
            return f"{call} moving at most {' or '.join(map(str, self.values))} bytes"
        return f"another port for {call}" if self.action == "move" else f"a pause at {call}"


def short(family: str, *sizes: int) -> Fault:
    """"recv" or "send" moves at most so many bytes; several sizes are used in turn."""
    return Fault(family, "short", sizes)


def fail(family: str, error: int, *, first: int = 1, last: int = 1, every: int = 0, armed: bool = True) -> Fault:
    """These calls do nothing and fail with `error`."""
    return Fault(family, "fail", (error,), first, every, last, armed)


def interrupt(family: str) -> Fault:
    """The first call and then every third is interrupted (EINTR) before it does anything."""
    return Fault(family, "fail", (errors.EINTR,), 1, 3)


def late_threads() -> Fault:
    """A new thread starts only when its maker makes the next one, or has waited 0.3 s in accept(); or after a second."""
    return Fault("thread", "late", (300, 1000))


def parked_close() -> Fault:
    """While it is armed: a thread that has closed a socket goes on only when it is let go."""
    return Fault("close", "park", (LONGEST_HOLD,), armed=False)


def held_unlock(first: int = 1, last: int = 0) -> Fault:
    """While it is armed: a thread that has given back a lock goes on only when it is let go."""
    return Fault("unlock", "hold", (SHORT_HOLD,), first=first, last=last, armed=False)


def held_send() -> Fault:
    """While it is armed: a thread that has sent something goes on only when it is let go."""
    return Fault("send", "hold", (SHORT_HOLD,), armed=False)


def turns() -> Fault:
    """After each piece that it has sent, a thread lets another one send to the same socket first."""
    return Fault("send", "turns", (20, 1500))


def receives_in_turn() -> Fault:
    """Before a thread receives from a client from whom another one is just receiving, it waits."""
    return Fault("recv", "turns", (100,))


def slow_unlock(milliseconds: int, last: int) -> Fault:
    """A thread that has given back a lock waits before it goes on."""
    return Fault("unlock", "delay", (milliseconds,), last=last)


def locks_in_turn(last: int) -> Fault:
    """A thread that has taken a lock waits, the first `last` times, until another one asks for a lock, too."""
    return Fault("lock", "turns", (20,), last=last)


def prints_in_turn(last: int) -> Fault:
    """While it is armed: a thread that has printed something waits, the first `last` times, until another one has, too."""
    return Fault("print", "turns", (30,), last=last, armed=False)


def moved_port(port: int, to: int) -> Fault:
    """bind() and connect() use port `to` where the program says `port`."""
    return Fault("bind", "move", (port, to))


class _Rule(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("family", "action", "armed", "first", "every", "last", "values_len")] + [
        ("values", ctypes.c_int32 * RULE_VALUES)] + [(name, ctypes.c_uint32) for name in ("seen", "met", "hits", "released")]


class _Call(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("began", "ended", "origin")] + [
        ("asked", ctypes.c_int64), ("result", ctypes.c_int64), ("state", ctypes.c_uint32), ("thread", ctypes.c_int32),
        ("function", ctypes.c_uint32), ("fd", ctypes.c_int32), ("error", ctypes.c_int32), ("fault", ctypes.c_uint32),
        ("size", ctypes.c_uint32), ("data", ctypes.c_char * CALL_DATA), ("unused", ctypes.c_uint32)]


class _Counts(ctypes.Structure):
    _fields_ = [("rules_len", ctypes.c_uint32), ("calls_len", ctypes.c_uint32), ("received", ctypes.c_uint64), ("sent", ctypes.c_uint64)]


class _Page(ctypes.Structure):
    _fields_ = [*_Counts._fields_, ("rules", _Rule * RULES), ("calls", _Call * CALLS)]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the student's code. Times are those of time.monotonic(); `ended` is 0 while it lasts."""

    began: float
    ended: float
    thread: int
    function: str
    fd: int
    asked: int
    result: int
    error: str
    fault: bool
    data: bytes
    address: int  # in the program's file; 0 if unknown


@dataclass(slots=True)
class Instrument:
    """The page of one program. `path` is its file, which `close` removes.

    It is read and written here, and mapped only there: a program that cuts the file short while it is mapped
    would end the grader with SIGBUS.
    """

    path: Path
    faults: list[Fault] = field(default_factory=list)
    _file: int = field(init=False)
    _armings: int = 1  # a rule that is armed from the beginning has this number

    def __post_init__(self) -> None:
        page = _Page()
        for fault, rule in zip(self.faults, page.rules):
            rule.family, rule.action = FAMILIES.index(fault.family), ACTIONS.index(fault.action)
            rule.first, rule.every, rule.last, rule.armed = fault.first, fault.every, fault.last, fault.armed
            rule.values_len = len(fault.values)
            rule.values[: len(fault.values)] = fault.values
        page.rules_len = len(self.faults)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.pwrite(self._file, bytes(page)[: _Page.calls.offset], 0)
        os.ftruncate(self._file, ctypes.sizeof(_Page))

    def _read(self, kind: type[ctypes.Structure], at: int = 0) -> ctypes.Structure:
        """What is there now, a structure of this kind; zeros where the file has ended."""
        size = ctypes.sizeof(kind)
        return kind.from_buffer_copy(os.pread(self._file, size, at).ljust(size, b"\0"))

    def _rule_at(self, fault: Fault) -> int:
        return _Page.rules.offset + self.faults.index(fault) * ctypes.sizeof(_Rule)

    def _rule(self, fault: Fault) -> _Rule:
        return self._read(_Rule, self._rule_at(fault))  # type: ignore[return-value]

    def _set(self, fault: Fault, at: int, value: int) -> None:
        os.pwrite(self._file, struct.pack("=I", value), self._rule_at(fault) + at)

    def arm(self, fault: Fault) -> None:
        """From now on the fault happens; its calls count from 1."""
        self._set(fault, _Rule.seen.offset, 0)
        self.let_go(fault)

    def let_go(self, fault: Fault) -> None:
        """Every thread that the fault holds goes on, and may be held again at its next call."""
        self._armings += 1
        self._set(fault, _Rule.armed.offset, self._armings)

    def disarm(self, fault: Fault) -> None:
        """From now on the fault does not happen any more, and every thread that it holds goes on."""
        self._set(fault, _Rule.armed.offset, 0)

    def met(self, fault: Fault) -> int:
        """How often the fault has happened."""
        return self._rule(fault).met

    def seen(self, fault: Fault) -> int:
        """How many calls of its family were made while it was armed."""
        return self._rule(fault).seen

    def moved(self, family: str) -> int:
        """How many bytes the calls of this family, "recv" or "send", have moved so far."""
        return getattr(self._read(_Counts), "received" if family == "recv" else "sent")

    def hits(self, fault: Fault) -> int:
        """How often the number of a parked close() was given to another client meanwhile."""
        return self._rule(fault).hits

    def held(self, fault: Fault) -> int:
        """How many threads the fault holds now."""
        rule = self._rule(fault)
        return rule.met - rule.released

    def released(self, fault: Fault) -> int:
        """How many threads that the fault held have gone on."""
        return self._rule(fault).released

    def calls(self) -> list[Call]:
        """The latest calls in the order in which they began."""
        return sorted(self._calls(), key=lambda call: call.began)

    def _calls(self) -> Iterator[Call]:
        page = self._read(_Page)
        for raw in page.calls[: min(page.calls_len, CALLS)]:
            # The student's program can write to this memory, too.
            if raw.state and raw.function < len(FUNCTIONS) and raw.size <= CALL_DATA:
                ended = raw.ended / 1e9 if raw.state == CALL_ENDED else 0.0
                data = bytes(memoryview(raw).cast("B")[_Call.data.offset : _Call.data.offset + raw.size])
                yield Call(raw.began / 1e9, ended, raw.thread, FUNCTIONS[raw.function], raw.fd, raw.asked, raw.result,
                           errors.errorcode.get(raw.error, "") if raw.result < 0 else "", bool(raw.fault), data, raw.origin)

    def close(self) -> None:
        """Removes the file. What is in it can still be asked for."""
        self.path.unlink(missing_ok=True)

    def __del__(self) -> None:
        os.close(self._file)


def compile_object(out: Path) -> Path:
    """Compiles the instrument to `out`, unless that is newer than its sources; returns `out`."""
    sources = [*HERE.glob("*.[ch]"), Path(__file__)]
    if not out.is_file() or out.stat().st_mtime < max(s.stat().st_mtime for s in sources):
        out.parent.mkdir(parents=True, exist_ok=True)
        new = out.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}.o")
        # One object with nothing to be seen of it but the wrapping functions. -finstrument-functions: see core.c.
        subprocess.run(["gcc", "-std=gnu17", "-O1", "-g", "-pthread", "-fno-omit-frame-pointer", "-fno-tree-loop-distribute-patterns",
                        "-finstrument-functions", "-U_FORTIFY_SOURCE", "-r", "-nostdlib", *map(str, HERE.glob("*.c")), "-o", str(new)],
                       check=True, capture_output=True)
        subprocess.run(["objcopy", "--wildcard", "--keep-global-symbol=__wrap_*", str(new)], check=True, capture_output=True)
        new.replace(out)
    return out


def source_lines(program: Path, addresses: set[int]) -> dict[int, str]:
    """Where in the student's source the calls of the trace stand: address to "framing.c:41" (addr2line(1))."""
    known = sorted(a for a in addresses if a)
    if not known:
        return {}
    # The address is the one to which the call returns; the call itself ends one byte before.
    command = ["addr2line", "-e", str(program), *(hex(a - 1) for a in known)]
    try:
        made = subprocess.run(command, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    places = (Path(line.partition(" ")[0]) for line in made.stdout.decode("utf-8", "replace").splitlines())
    names = (place.name if place.parent != HERE else "" for place in places)  # c11.c calls the pthread functions itself
    return {address: name for address, name in zip(known, names) if _SOURCE_LINE.fullmatch(name)}
