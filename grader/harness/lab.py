"""The bench on which one check works: it starts programs, plays peers, and ends everything.

One thread and one event loop for each check: whatever waits goes through `Lab.until`, which
keeps reading every program's output and every peer's socket. So nothing blocks a student's
program by accident, and the events of a check have one order. Nothing here sleeps.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from . import kernel, ports
from .build import Build
from .peer import Peer
from .program import Program
from .wire import show

T = TypeVar("T")

DEADLINE = 4.0  # seconds for an answer, before the machine's and the tool's factors
LONGEST_TURN = 0.04  # seconds that one turn of a waiting loop may count
MAX_EVENTS = 5000
KEPT_EVENTS = 200  # at each end, in the record


@dataclass(slots=True)
class Event:
    """Something that happened: `who` did `what`, with the bytes it concerns."""

    seconds: float
    who: str
    what: str
    data: str = ""
    size: int = 0


class NotWritten(pytest.fail.Exception):
    """The program is still a starter: it says ENOSYS."""


@dataclass(slots=True)
class Lab:
    """Everything one check may use. `stage` is the stage under judgement.

    `patience` multiplies deadlines: 1 on the machine where they were measured.
    """

    stage: int
    build: Build
    patience: float = 1.0
    logs: str = "."
    events: list[Event] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    started: float = field(default_factory=time.monotonic)
    charged: float = 0.0  # seconds that have counted against deadlines so far

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

    def until_listening(self, program: Program, seconds: float = DEADLINE) -> None:
        """Waits until the program's port is in LISTEN and belongs to the program."""
        assert program.address
        where = program.address

        def listening() -> bool:
            socket_ = kernel.tcp_socket(where, None)
            if socket_ and socket_.state == kernel.LISTEN:
                return socket_.inode in kernel.sockets_of(program.inner_pid())
            return not program.alive()

        if not self.until(listening, seconds * program.slowness) or not program.alive():
            self.fail(f"Your server does not listen on {where[0]} port {where[1]}.")

    def client(self, server: socket.socket | tuple[str, int] | Program, *arguments: str, **options) -> Program:
        """Starts the stage's client so that it connects to `server`.

        `arguments` come first on the command line (stage 1: MESSAGE, stage 4: NAME).
        """
        host, port = _address(server)
        return self.run("client", *arguments, host, str(port), **options)

    def run(self, role: str, *arguments: str, variant: str = "plain", **options) -> Program:
        """Starts the stage's server or client with exactly these arguments."""
        path = self.build.program(self.stage, role, variant)
        program = Program(self, role, str(path), arguments, **options)
        self.programs.append(program)
        return program

    # -- peers ------------------------------------------------------------------

    def connect(self, server: Program, name: str | None = None, *, receive_buffer: int | None = None) -> Peer:
        """A connection to the student's server, with the harness as the client."""
        assert server.address
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(DEADLINE * self.patience)
        try:
            sock.connect(server.address)
        except OSError as error:
            sock.close()
            self.fail(f"Nobody could connect to your server: {error.strerror or error}.")
        return self._peer(sock, name or f"client {len(self.peers) + 1}", "your server")

    def listen(self, address: str = "127.0.0.1") -> socket.socket:
        """A listening socket: the harness plays the server for a student's client."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, ports.take()))
        listener.listen(16)
        listener.setblocking(False)
        self.sockets.append(listener)
        return listener

    def accept(self, listener: socket.socket, name: str = "server", seconds: float = DEADLINE) -> Peer:
        """The next connection of a student's client to `listener`."""
        found: list[socket.socket] = []

        def arrived() -> bool:
            try:
                found.append(listener.accept()[0])
            except BlockingIOError:
                return bool(self.programs) and not self.programs[-1].alive()
            return True

        self.until(arrived, seconds)
        if not found:
            self.fail("Your client did not connect to the host and port that it was given.")
        return self._peer(found[0], name, "your client")

    def _peer(self, sock: socket.socket, name: str, other: str) -> Peer:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        peer = Peer(self, sock, name, other)
        self.peers.append(peer)
        self.log(name, "connected")
        return peer

    def scratch(self, name: str, data: bytes) -> str:
        """The path of a file with `data`, removed at the end of the check."""
        path = Path(self.logs) / f"{name}-{id(self):x}"
        path.write_bytes(data)
        self.files.append(path)
        return str(path)

    # -- waiting ----------------------------------------------------------------

    def until(self, condition: Callable[[], T], seconds: float = DEADLINE) -> T:
        """Waits until `condition()` is true, at most `seconds` times the patience; returns its value.

        Only time in which the harness itself was running counts: each turn of the loop is charged
        with LONGEST_TURN at most. On a machine too busy to run the harness, the student's program
        does not get to run either, and that is not its fault.
        """
        limit = self.charged + seconds * self.patience
        pause, last = 0.001, time.monotonic()
        while True:
            value = condition()
            if value or self.charged >= limit:
                return value
            busy = self.pump(pause)
            pause = 0.001 if busy else min(pause * 1.5, LONGEST_TURN / 2)
            now = time.monotonic()
            self.charged += min(now - last, LONGEST_TURN)
            last = now

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

    # -- telling ----------------------------------------------------------------

    def log(self, who: str, what: str, data: bytes = b"") -> None:
        """Notes an event for the failure report."""
        if len(self.events) < MAX_EVENTS:
            now = time.monotonic() - self.started
            self.events.append(Event(round(now, 3), who, what, show(data) if data else "", len(data)))

    def require(self, condition: object, cause: str) -> None:
        """Fails the check with `cause` unless the condition holds."""
        if not condition:
            self.fail(cause)

    def fail(self, cause: str) -> NoReturn:
        """Ends the check as failed. A program that died is named first: it explains the rest."""
        self.pump()
        for program in self.programs:
            if program.not_written():
                raise NotWritten(f"Not written yet: {program.not_written()}", pytrace=False)
        for program in self.programs:
            death = program.unexpected_end()
            if death and death not in cause:
                cause = f"{death} {cause}"
        for program in self.programs:
            if program.alive():
                for line in kernel.waiting(program.inner_pid())[:8]:
                    self.log(f"your {program.role}", f"is {line}")
        raise pytest.fail.Exception(cause, pytrace=False)

    # -- the end ----------------------------------------------------------------

    def finish(self) -> None:
        """What every check asks at its end: no program of the student has crashed."""
        self.pump()
        for program in self.programs:
            if death := program.unexpected_end():
                self.fail(death)

    def close(self) -> None:
        """Ends every process and closes every socket of this check."""
        for peer in self.peers:
            peer.drop()
        for sock in self.sockets:
            sock.close()
        for program in self.programs:
            program.end()
        self.selector.close()
        for path in self.files:
            path.unlink(missing_ok=True)

    def event_records(self) -> list[dict]:
        """The events as plain data for the record."""
        kept = self.events
        if len(kept) > 2 * KEPT_EVENTS:
            kept = kept[:KEPT_EVENTS] + kept[-KEPT_EVENTS:]
        return [asdict(event) for event in kept]


def _address(server: socket.socket | tuple[str, int] | Program) -> tuple[str, int]:
    if isinstance(server, socket.socket):
        return server.getsockname()
    if isinstance(server, Program):
        assert server.address
        return server.address
    return server
