"""The bench on which one check works: it starts programs, plays peers, and ends everything.

One thread and one event loop for each check: whatever waits goes through `Lab.until`, which
keeps reading every program's output and every peer's socket. So nothing blocks a student's
program by accident, and the events of a check have one order. Nothing here sleeps.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from . import hang, kernel, ports, trace
from .build import Build
from .connecting import Connecting
from .deadline import DEADLINE, LONGEST_TURN, Wait
from .failures import NO_CONNECT, NO_LISTENER, NOT_WRITTEN, SWAPPED_PORT, Failed, NotWritten, State
from .instrument import SHORT_HOLD, Fault, Instrument
from .peer import Peer
from .program import Program
from .wire import Difference, show

T = TypeVar("T")

MAX_EVENTS = 5000
SLOW_VARIANTS = {"asan": "AddressSanitizer", "tsan": "ThreadSanitizer"}
KEPT_EVENTS = 200  # at each end, in the record


@dataclass(slots=True)
class Event:
    """Something that happened: `who` did `what`, or sent the `size` bytes of `data`, to `to`."""

    seconds: float
    who: str
    what: str
    data: str = ""
    size: int = 0
    to: str = ""
    thread: int = 0  # of a call of the student's program: which thread, from 1
    where: str = ""  # of such a call: the line of the source


def _is_met(instrument: Instrument, fault: Fault) -> bool:
    # Nothing can be made shorter for a program that asks for single bytes.
    return bool(instrument.met(fault) or (fault.action == "short" and instrument.seen(fault)))


@dataclass(slots=True)
class Lab:
    """Everything one check may use. `stage` is the stage under judgement.

    `patience` multiplies deadlines: 1 on the machine where they were measured. A `traced` lab starts
    programs that are linked with the instrument, so that a failure can be explained by their calls.
    """

    stage: int
    build: Build
    patience: float = 1.0
    logs: str = "."
    traced: bool = False
    processors: threading.Semaphore = field(default_factory=threading.Semaphore)  # for tools that keep one busy
    held: str = ""  # for a debugger: the role whose first program halts before main()
    without: str = ""  # the tool that is left out because of the debugger
    events: list[Event] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    started: float = field(default_factory=time.monotonic)
    charged: float = 0.0  # seconds that have counted against deadlines so far
    timed_out: bool = False  # the last wait ended at its deadline
    waits_for: Peer | None = None  # the peer that waits for what the program should do: read from it, answer it, close
    has_processor: bool = False
    silent_from: float = float("inf")  # seconds after the start from which nothing is noted any more

    # -- programs ---------------------------------------------------------------

    def server(self, *, variant: str = "plain", address: str | None = None, port: int | None = None,
               **options) -> Program:
        """Starts the stage's server on a port of its own; returns once it listens.

        `variant` is a build ("plain", "tsan"); for the options see `Program`.
        """
        port = port or ports.take()
        arguments = [str(port)] + ([address] if address else [])
        program = self.run("server", *arguments, variant=variant, **options)
        program.address = (address or "127.0.0.1", port)
        self.until_listening(program)
        return program

    def until_listening(self, program: Program, seconds: float = DEADLINE, cause: str = "") -> None:
        """Waits until the program's port is in LISTEN and belongs to the program."""
        assert program.address
        where = program.address

        def listening() -> bool:
            socket_ = kernel.tcp_socket(where, None)
            if socket_ and socket_.state == kernel.LISTEN:
                return socket_.inode in kernel.sockets_of(program.pid)
            return not program.alive()

        if not self.until(listening, seconds * program.slowness) or not program.alive():
            elsewhere = self._swapped(where)
            self.fail_with(SWAPPED_PORT if elsewhere else NO_LISTENER, f"Your server does not listen on {where[0]} port {where[1]}.{elsewhere}", cause)

    def _swapped(self, where: tuple[str, int]) -> str:
        swapped = socket.htons(where[1])
        found = kernel.tcp_socket((where[0], swapped), None)
        if not found or found.inode not in kernel.sockets_of(self.programs[-1].pid):
            return ""
        return f" It listens on port {swapped}, which is {where[1]} with its two bytes swapped."

    def client(self, server: socket.socket | tuple[str, int] | Program, *arguments: str, **options) -> Program:
        """Starts the stage's client so that it connects to `server`.

        `arguments` come first on the command line (stage 1: MESSAGE, stage 4: NAME).
        """
        host, port = _address(server)
        return self.run("client", *arguments, host, str(port), **options)

    def run(self, role: str, *arguments: str, variant: str = "plain", faults: Sequence[Fault] | None = None, **options) -> Program:
        """Starts the stage's server or client with these arguments. `faults` are injected into its calls."""
        if self.held:
            variant, faults = self._without_tool(variant, options), faults or ()
        if faults is None and self.traced and variant == "plain" and not options.get("tool"):
            faults = ()
        if options.get("tool") or variant in SLOW_VARIANTS:
            self._take_processor()
        path = self.build.program(self.stage, role, variant, wrapped=faults is not None)
        if not self.events:
            self.started = time.monotonic()  # whoever reads what happened does not mind how long the compiler took
        if faults is not None:
            options["instrument"] = Instrument(self._scratch_path("calls"), list(faults))
        if role == self.held and all(program.role != role for program in self.programs):
            options["env"] = {**(options.get("env") or {}), "RELAYLAB_DEBUG": "1"}
        program = Program(self, role, str(path), arguments, **options)
        self.programs.append(program)
        return program

    def _without_tool(self, variant: str, options: dict) -> str:
        """The variant that a debugger can follow, with the tool taken out of `options`."""
        tool = options.pop("tool", ())
        self.without = tool[0] if tool else SLOW_VARIANTS.get(variant, self.without)
        return "plain" if variant in SLOW_VARIANTS else variant

    def _take_processor(self) -> None:
        if not self.has_processor:
            self.processors.acquire()
            self.has_processor = True

    def require_met(self, program: Program, *faults: Fault) -> None:
        """Ends the check as not reached unless each fault has happened to the program.

        Where bytes are moved, all that have passed over the wire must have gone through calls that can be made
        short or fail; so it is no use to make some of them in another way.
        """
        assert program.instrument
        for fault in faults:
            passed = {"recv": sum(peer.sent for peer in program.peers), "send": sum(peer.total for peer in program.peers)}.get(fault.family, 0)
            # What a call has moved may have arrived before the call returns and is counted.
            if not self.until(lambda: _is_met(program.instrument, fault) and program.instrument.moved(fault.family) >= passed, 1):
                pytest.skip(f"Not reached: the fault of this check ({fault}) did not meet the calls of your {program.role}.")

    def arm_at_rest(self, program: Program, fault: Fault) -> None:
        """Arms the fault for what comes next: a thread that is not done yet with what came before is not to be held.

        A reply is read before the thread that sent it has given back its lock.
        """
        assert program.instrument
        self.until(lambda: not kernel.at_work(program.pid), 1)
        program.instrument.arm(fault)

    def let_go_if_needed(self, program: Program, fault: Fault, done: Callable[[], object]) -> None:
        """Waits until `done()`, if need be by letting go the thread that the fault holds.

        It may hold a lock, or be the one thread that accepts or owns the table, and then nobody else is served.
        Never held for longer than SHORT_HOLD: the server's own clock goes on meanwhile.
        """
        assert program.instrument
        end = time.monotonic() + SHORT_HOLD / 1000
        self.until(lambda: done() or time.monotonic() > end)
        if not done():
            program.instrument.disarm(fault)

    # -- peers ------------------------------------------------------------------

    def connect(self, server: Program, name: str | None = None, *, receive_buffer: int | None = None,
                segment: int | None = None) -> Peer:
        """A connection to the student's server, with the harness as the client.

        `receive_buffer` is SO_RCVBUF, and `segment` TCP_MAXSEG: both in bytes. With small segments the kernel gives the
        server's side a small send buffer, too: 85 KiB for 536 bytes instead of 2.5 MiB (tcp_sndbuf_expand() in net/ipv4/tcp_input.c).
        """
        return self.begin_connecting(server, receive_buffer=receive_buffer, segment=segment).finish(name)

    def begin_connecting(self, server: Program, *, receive_buffer: int | None = None, segment: int | None = None) -> Connecting:
        """A connection that may not be there yet: a halted server may have a short queue. The options are those of `connect`."""
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if segment:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
        return Connecting(self, server, sock)

    def listen(self, address: str = "127.0.0.1") -> socket.socket:
        """A listening socket: the harness plays the server for a student's client."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, ports.take()))
        listener.listen(16)
        listener.setblocking(False)
        self.sockets.append(listener)
        return listener

    def accept(self, listener: socket.socket, name: str = "the server", seconds: float = DEADLINE, cause: str = "") -> Peer:
        """The next connection of a student's client to `listener`."""
        found: list[tuple[socket.socket, tuple[str, int]]] = []

        def arrived() -> bool:
            ended = bool(self.programs) and not self.programs[-1].alive()  # asked first: it may have connected before
            try:
                found.append(listener.accept())
            except BlockingIOError:
                return ended
            return True

        self.until(arrived, seconds * self.slowness())
        if not found:
            ended = self.programs[-1].how_it_ended()
            self.fail_with(NO_CONNECT, f"Your client did not connect to the host and port that it was given.{ended}", cause and cause + ended)
        return self.add_peer(found[0][0], name, self.programs[-1], found[0][1])

    def add_peer(self, sock: socket.socket, name: str, program: Program, there: tuple[str, int]) -> Peer:
        """The peer at this end of a new connection with the program, whose end has the address `there`. Takes the socket."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        peer = Peer(self, sock, name, f"your {program.role}", there)
        self.peers.append(peer)
        program.peers.append(peer)
        self.log(name, "connected")
        return peer

    def scratch(self, name: str, data: bytes) -> str:
        """The path of a file with `data`, removed at the end of the check."""
        path = self._scratch_path(name)
        path.write_bytes(data)
        self.files.append(path)
        return str(path)

    def _scratch_path(self, name: str) -> Path:
        return Path(self.logs).resolve() / f"{name}-{os.urandom(6).hex()}"

    # -- waiting ----------------------------------------------------------------

    def slowness(self) -> float:
        """The factor for deadlines of the slowest tool under which a program runs here."""
        return max((program.slowness for program in self.programs), default=1.0)

    def until(self, condition: Callable[[], T], seconds: float = DEADLINE) -> T:
        """Waits until `condition()` is true, at most `seconds` times the patience; returns its value. For a program that is
        at work it may be three times as long (deadline.py).

        Only time in which the harness itself was running counts: each turn of the loop is charged
        with LONGEST_TURN at most. On a machine too busy to run the harness, the student's program
        does not get to run either, and that is not its fault.
        """
        wait = Wait(self.programs, seconds * self.patience)
        pause, last, charged, over = 0.001, time.monotonic(), self.charged, False
        while not (value := condition()) and not over:
            over = wait.over()  # asked before the last look: what a late program does just now still counts
            busy = self.pump(0.0 if over else pause)
            pause = 0.001 if busy else min(pause * 1.5, LONGEST_TURN / 2)
            now = time.monotonic()
            turn = max(min(now - last, LONGEST_TURN), self.charged - charged)  # a wait inside of the condition has charged already
            charged = self.charged = charged + turn
            last = now
            wait.spend(turn)
        self.timed_out = not value
        return value

    def pump(self, seconds: float = 0.0) -> bool:
        """Reads what has arrived anywhere, waiting for it at most `seconds`; true if there was any."""
        ready = self.selector.select(seconds)
        for key, _mask in ready:
            key.data()
        return bool(ready)

    def let_pass(self, seconds: float) -> None:
        """Lets real time pass where the contract itself speaks of time (idle CPU, eviction)."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.pump(left)

    def watch_processors(self, pid: int, seconds: float) -> dict[int, float]:
        """Lets time pass and says how busy each thread of the process was, by its id: the part of that time in which it ran.

        When it was ready and had to wait for a processor does not count, neither as busy nor as idle: it tells something
        about the other programs of this machine. So more time may pass, until each could have run for half of `seconds`.
        The kernel counts such a wait only when it is over. So of a thread that is ready each time it is looked at, all the time in
        which it did not run was such a wait; and one that is ready to the end never sleeps: it is busy, however little it has got.
        """
        before, start, ready = kernel.processor_times(pid), time.monotonic(), kernel.ready_threads(pid)
        while True:
            self.let_pass(seconds)
            passed, after = time.monotonic() - start, kernel.processor_times(pid)
            ready &= kernel.ready_threads(pid)
            since = {thread: (ran - before.get(thread, (0, 0))[0], waited - before.get(thread, (0, 0))[1])
                     for thread, (ran, waited) in after.items()}
            could_run = {thread: ran if thread in ready else passed - waited for thread, (ran, waited) in since.items()}
            if passed > 4 * seconds or all(could > seconds / 2 for could in could_run.values()):
                return {thread: 1.0 if thread in ready else ran / max(could_run[thread], seconds / 10) for thread, (ran, _) in since.items()}

    def require_idle(self, program: Program, when: str) -> None:
        """Fails the check if all threads of the program together were busy for 0.3 s of one second.

        `when` opens the cause: how the program came to have nothing to do.
        """
        busy = min(sum(self.watch_processors(program.pid, 1.0).values()), 1.0)  # threads may share it
        self.require(busy < 0.3, f"{when}, your {program.role} was busy for {busy:.1f} s of one second. It should wait instead.")

    # -- telling ----------------------------------------------------------------

    def log(self, who: str, what: str, data: bytes = b"", to: str = "") -> None:
        """Notes an event for the failure report. Nothing said and nothing done is none."""
        if not what and not data:
            return
        now = time.monotonic() - self.started
        if now < self.silent_from:
            del self.events[MAX_EVENTS // 2 : len(self.events) - MAX_EVENTS // 2 + 1]  # the first and the last tell most
            self.events.append(Event(round(now, 6), who, what, show(data) if data else "", len(data), to))

    def fall_silent(self) -> None:
        """What happens from now on is no part of the check any more."""
        self.silent_from = time.monotonic() - self.started

    def require(self, condition: object, cause: str, *, kind: str = "") -> None:
        """Fails the check with `cause` unless the condition holds."""
        if not condition:
            self.fail(cause, kind=kind)

    def fail_with(self, kind: str, cause: str, own: str = "") -> NoReturn:
        """Ends the check with a failure of this kind. A check with words of its own for it has hints of its own, too."""
        self.fail(own or cause, kind="" if own else kind)

    def fail(self, cause: str, difference: Difference | None = None, *, kind: str = "") -> NoReturn:
        """Ends the check as failed. A program that died is named first: it explains the rest."""
        self.pump()
        if any(peer.ended for peer in self.peers):  # a process that dies closes its sockets first
            self.until_done()
        for program in self.programs:
            if program.not_written():
                raise NotWritten(f"Not written yet: {program.not_written()}", kind=NOT_WRITTEN)
        died = ""
        for program in self.programs:
            death = program.unexpected_end()
            if death:
                kind = program.kind_of_end()
            if death and death not in cause:
                died += f"{death} "
        state = self._explained(hang.describe, State()) if self.timed_out and not died else State()
        raise Failed(f"{died}{cause}".strip(), difference, state, kind)

    def _explained(self, explain: Callable[[Lab], T], otherwise: T) -> T:
        """What `explain` finds out. It looks at what the student's program can write, so whatever goes wrong in
        it must not become a verdict."""
        try:
            return explain(self)
        except Exception as error:
            self.log("the grader", f"could not look at the program ({type(error).__name__})")
            return otherwise

    # -- the end ----------------------------------------------------------------

    def finish(self) -> None:
        """What every check asks at its end: no program of the student has crashed."""
        self.until_done()
        for program in self.programs:
            if death := program.unexpected_end():
                self.fail(death)

    def until_done(self) -> None:
        """Waits until each program sleeps or has ended: until then a crash may be under way."""
        hung = self.timed_out
        self.until(lambda: all(not program.alive() or kernel.asleep(program.pid) for program in self.programs), 1)
        self.timed_out = hung  # whether something is waited for in vain was known before

    def close(self) -> None:
        """Ends every process and closes every socket of this check."""
        for peer in self.peers:
            peer.drop()
        for sock in self.sockets:
            sock.close()
        for program in self.programs:
            program.end()
        self.selector.close()
        if self.has_processor:
            self.processors.release()
        for path in self.files:
            try:
                path.unlink(missing_ok=True)
            except OSError:
                pass  # the program has put something else in its place

    def event_records(self) -> list[dict]:
        """The events as plain data for the record."""
        kept = sorted([*self.events, *self._explained(Lab._calls, [])], key=lambda event: event.seconds)
        if len(kept) > 2 * KEPT_EVENTS:
            kept = kept[:KEPT_EVENTS] + kept[-KEPT_EVENTS:]
        return [asdict(event) for event in kept]

    def _calls(self) -> list[Event]:
        """What the trace of the instrument shows of the programs, as events."""
        return [event for program in self.programs for event in trace.events(program, self.started)
                if event.seconds <= self.silent_from]


def _address(server: socket.socket | tuple[str, int] | Program) -> tuple[str, int]:
    if isinstance(server, socket.socket):
        return server.getsockname()
    if isinstance(server, Program):
        assert server.address
        return server.address
    return server
