"""A scripted TCP peer: the other end of a student's connection.

It sends in exactly the pieces it is told, keeps what it received as one stream, and never takes one
recv() for one message. The lab's events have the pieces in which the bytes came.
"""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from . import kernel
from .deadline import DEADLINE
from .failures import NOT_CLOSED, SURPLUS
from .wire import BODY_MAX, END, compare, count, decode, encode, first_difference, message_end, quote

if TYPE_CHECKING:
    from .lab import Lab

READ_CAP = 64 << 20
SPOKEN_KEPT = 16384
LONGEST_MESSAGE = 2 * BODY_MAX + len(END)  # on the wire
SEARCHED = 8 * LONGEST_MESSAGE  # where no message ends within so many bytes, none is looked for behind them
REST_SECONDS = 0.2  # for the rest of what is wrong already, so that the whole of it can be shown


class Peer:
    """One connection to a student's program. Made by `Lab.connect` and `Lab.accept`."""

    def __init__(self, lab: Lab, sock: socket.socket, name: str, other: str, there: tuple[str, int]) -> None:
        self.lab, self.sock, self.name, self.other = lab, sock, name, other
        self.received = bytearray()  # bytes not yet expected by anyone
        self.total = 0
        self.sent = 0  # bytes handed to the kernel
        self.spoken = bytearray()  # the latest of them
        self.ended = ""  # "closed" or "reset" once the other side has
        self._due = b""  # the bytes that were expected last and have come
        self.wanted = b""  # the bytes for which the latest wait was, if they are known
        # getpeername() fails when the connection has been reset already.
        self._local, self._remote = sock.getsockname(), there
        self._background: socket.socket | None = None  # that keep_sending uses
        self._reading = False
        self.read_on()

    # -- sending ----------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Sends all of `data`, reading meanwhile. A connection that ends is noted, not an error."""
        for program in self.lab.programs:
            program.note_prompt()
        self.lab.log(self.name, "", data, to=self.other)
        if not self._push(data):
            self.lab.fail(f"{self.other.capitalize()} stopped reading while {self.name} was sending to it.")

    def send_message(self, *bodies: bytes) -> None:
        """Sends these bodies as messages, all in one write."""
        self.send(b"".join(map(encode, bodies)))

    def send_pieces(self, *pieces: bytes) -> None:
        """Sends pieces so that each is read on its own: the next leaves when the last was taken."""
        for piece in pieces:
            self.send(piece)
            self.until_taken()

    def flood(self, data: bytes) -> int:
        """Sends as much of `data` as the kernel takes at once; returns the number of bytes."""
        sent = 0
        try:
            while sent < len(data):
                sent += self.sock.send(data[sent:])
        except OSError:
            pass
        self.sent += sent
        self.lab.log(self.name, f"{sent} bytes, without waiting for replies", to=self.other)
        return sent

    def keep_sending(self, data: bytes) -> None:
        """Goes on sending `data` in the background, whenever the check waits and the kernel has room."""
        self.lab.log(self.name, f"begins to send {len(data)} bytes", to=self.other)
        rest = memoryview(data)
        sender = self.sock.dup()

        def push() -> None:
            nonlocal rest
            try:
                count = sender.send(rest[:65536])
                self.sent += count
                rest = rest[count:]
            except BlockingIOError:
                return
            except OSError:
                rest = rest[:0]
            if not rest:
                self._stop_background()

        self.lab.selector.register(sender, selectors.EVENT_WRITE, push)
        self._background = sender

    def _stop_background(self) -> None:
        if self._background:
            self.lab.selector.unregister(self._background)
            self._background.close()
            self._background = None

    def _push(self, data: bytes) -> bool:
        rest = memoryview(data)
        self.spoken = (self.spoken + data)[-SPOKEN_KEPT:]

        def pushed() -> bool:
            nonlocal rest
            try:
                count = self.sock.send(rest)
                self.sent += count
                rest = rest[count:]
            except BlockingIOError:
                return False
            except OSError as error:
                self._end("reset" if isinstance(error, ConnectionResetError) else "closed")
                return True
            return not rest

        return self._wait(pushed, self._time(None))

    def _there(self) -> kernel.SocketState | None:
        """The program's end of the connection; None when it is gone."""
        return kernel.tcp_socket(self._remote, self._local)

    def until_taken(self) -> None:
        """Waits until the program has read everything sent so far.

        Everything has arrived at its socket, and nothing is unread there. Acknowledgements would
        prove the same, but the kernel delays them by up to 40 ms.
        """
        def taken() -> bool:
            theirs = self._there()
            # A socket that was closed in order had nothing unread; the kernel soon keeps only a stub
            # of it, which knows no count any more.
            return theirs is None or theirs.left or (theirs.unread == 0 and theirs.received >= self.sent)

        if not self._wait(taken, self._time(None)):
            self.lab.fail(f"{self.other.capitalize()} does not read what {self.name} has sent to it.")

    def unread(self) -> int:
        """Bytes that the program has not read yet, in the kernel's receive queue."""
        theirs = self._there()
        return theirs.unread if theirs else 0

    def backlog(self) -> int:
        """Bytes that the program's kernel holds for this peer and cannot deliver."""
        theirs = self._there()
        return theirs.unsent if theirs else 0

    def moved_there(self) -> int:
        """Bytes that the program has read from this peer and written to it; 0 when the connection is gone."""
        theirs = self._there()
        return theirs.received - theirs.unread + theirs.acknowledged + theirs.unsent if theirs else 0

    def until_sent_to(self, cause: str) -> None:
        """Waits until the program has sent something to this peer, which need not read it."""
        if not self._wait(lambda: self.unread_here() + self.backlog() > 0, self._time(None)):
            self.lab.fail(cause)

    def inode_there(self) -> int | None:
        """The inode of the program's socket; 0 before accept(), None when there is none."""
        theirs = self._there()
        return theirs.inode if theirs else None

    def waits_for_accept(self) -> bool:
        """True while the kernel has made the connection and the program has not accepted it."""
        theirs = self._there()
        return theirs is not None and theirs.inode == 0 and not theirs.left

    def connection_there(self) -> kernel.SocketState | None:
        """The program's socket, while neither side has ended this connection; None afterwards."""
        theirs = self._there()
        return theirs if theirs and theirs.state == kernel.ESTABLISHED else None

    def unread_here(self) -> int:
        """Bytes that wait for this peer in the kernel, because it does not read."""
        ours = kernel.tcp_socket(self._local, self._remote)
        return ours.unread if ours else 0

    # -- receiving --------------------------------------------------------------

    def read_on(self) -> None:
        """Reads whatever arrives (the normal state)."""
        if not self._reading and not self.ended:
            self._reading = True
            self.lab.selector.register(self.sock, selectors.EVENT_READ, self._read)

    def stop_reading(self) -> None:
        """Leaves what arrives in the kernel's buffers, like a program that hangs."""
        if self._reading:
            self._reading = False
            self.lab.selector.unregister(self.sock)
            self.lab.log(self.name, "stops reading")

    def read_all_that_waits(self) -> None:
        """Reads in one call what waits in the kernel, the program's or ours, and then whatever arrives.

        With pauses between calls of its own, on a busy machine long ones, a peer could seem slow to the program.
        """
        if waiting := self.unread_here() + self.backlog():
            seconds = struct.pack("ll", int(self._time(None)) + 1, 0)  # struct timeval; a guard, for the bytes are there
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
            self.sock.setblocking(True)
            self._read(waiting, socket.MSG_WAITALL)
            self.sock.setblocking(False)
        self.read_on()

    def _read(self, size: int = 65536, flags: int = 0) -> None:
        try:
            data = self.sock.recv(size, flags)
        except BlockingIOError:
            return
        except OSError:
            self._end("reset")
            return
        if not data:
            self._end("closed")
            return
        # Who sends an answer in two pieces waits with the second one for our acknowledgement (Nagle's algorithm, RFC 896),
        # which the kernel would delay by 40 ms; the option holds for a while only (tcp(7)).
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self.total += len(data)
        self.lab.log(self.other, "", data, to=self.name)
        if self.total <= READ_CAP:
            self.received += data

    def _end(self, how: str) -> None:
        if not self.ended:
            self.ended = how
            self.lab.log(self.other, "closes the connection" if how == "closed" else "resets the connection", to=self.name)
        if self._reading:
            self._reading = False
            self.lab.selector.unregister(self.sock)

    def expect(self, data: bytes, cause: str = "", seconds: float | None = None) -> None:
        """Exactly these bytes come next, in any pieces."""
        self._wait(lambda: len(self.received) >= len(data) or self.ended
                   or not data.startswith(bytes(self.received)), self._time(seconds), data)
        if not self.received.startswith(data):
            self._fail_different(self._all_of_it(data), data, cause)
        self._due = data
        del self.received[: len(data)]

    def _fail_different(self, got: bytes, expected: bytes, own: str) -> NoReturn:
        difference = compare(got, expected) if got else None
        before = got[: -len(expected)] if len(expected) > len(END) and got.endswith(expected) else b""
        if before and not own:
            self.lab.fail(f"{self.other.capitalize()} sent {quote(before)} to {self.name} before {quote(expected)}, which nobody asked for.",
                          difference, kind=SURPLUS)
        self.lab.fail(own or self._difference(got, expected), difference)

    def _all_of_it(self, expected: bytes) -> bytes:
        """What has come instead: in stage 1 all of it, later whole messages, up to a DONE."""
        def got() -> bytes:
            return bytes(self.received[: len(expected) + LONGEST_MESSAGE])

        if self.lab.stage == 1 or expected.startswith(got()):
            return bytes(self.received)
        hung = self.lab.timed_out
        # As many bytes as were due, and the message to which the last of them belongs: what is said does not depend on the pieces.
        self.lab.until(lambda: self.ended or message_end(got(), len(expected) - 1), REST_SECONDS)
        self.lab.timed_out = hung  # the rest explains only; whether the program hangs was known before
        last = max(first_difference(got(), expected), min(len(expected), len(got())) - 1)
        return got()[: message_end(got(), last) or len(expected)]

    def expect_message(self, *bodies: bytes, cause: str = "", seconds: float | None = None) -> None:
        """Exactly these messages come next."""
        for body in bodies:
            got = self.message(seconds=seconds, cause=cause, wanted=body)
            if got != body:
                self.lab.fail(cause or self._difference(got, body, "the message "), compare(got, body))
            self._due = encode(body)

    def message(self, *, cause: str = "", seconds: float | None = None, wanted: bytes | None = None) -> bytes:
        """The next message, whatever it is."""
        self._wait(lambda: self._end_of_message() or self.ended or len(self.received) >= SEARCHED,
                   self._time(seconds), b"" if wanted is None else encode(wanted))
        end = self._end_of_message()
        if not end:
            self.lab.fail(cause or self._silence(wanted))
        body = decode(bytes(self.received[: end - len(END)]))
        del self.received[:end]
        return body

    def _end_of_message(self) -> int:
        """The place behind the first message that nobody has expected yet; 0 if its DONE has not come."""
        return message_end(bytes(self.received[:SEARCHED]), 0)

    def require_nothing_more(self) -> None:
        """Nothing has come behind what was expected; for when the program has ended."""
        self.lab.pump()
        if self.received:
            self.lab.fail_with(SURPLUS, self._surplus(bytes(self.received)))

    def expect_end(self, cause: str = "", seconds: float | None = None, *, nothing_more: bool = True) -> None:
        """The program ends this connection, having sent nothing more."""
        self._wait(lambda: self.ended, self._time(seconds))
        if not self.ended:
            self.lab.fail_with(NOT_CLOSED, f"{self.other.capitalize()} did not close the connection to {self.name}.", cause)
        if nothing_more and self.received:
            self.lab.fail_with(SURPLUS, self._surplus(bytes(self.received)), cause)

    def has_a_part(self) -> bool:
        """A part of the wanted bytes has come, and nothing else."""
        return 0 < len(self.received) < len(self.wanted) and self.wanted.startswith(bytes(self.received))

    def _wait(self, condition: Callable[[], object], seconds: float, wanted: bytes = b"") -> bool:
        """Waits for what the program should do for this peer. A hang is explained by the peer that waits in vain, and by no other."""
        self.lab.waits_for, self.wanted = self, wanted
        if met := bool(self.lab.until(condition, seconds)):
            self.lab.waits_for, self.wanted = None, b""
        return met

    def _time(self, seconds: float | None) -> float:
        return (seconds or DEADLINE) * self.lab.slowness()

    def _surplus(self, extra: bytes) -> str:
        who, due = self.other.capitalize(), self._due
        if not due:
            return f"{who} sent {quote(extra)} to {self.name}, which nobody asked for."
        were = "was" if len(due) == 1 else "were"
        return (f"{who} sent {len(due) + len(extra)} bytes to {self.name} where {len(due)} {were} due: "
                f"behind {quote(due)} came {quote(extra)}.")

    def _silence(self, wanted: bytes | None) -> str:
        expected = f" instead of the message {quote(wanted)}" if wanted is not None else ""
        if self.received:
            return f"{self.other.capitalize()} sent {quote(bytes(self.received))} without the end of a message{expected}."
        if self.ended:
            return f"{self.other.capitalize()} {self.ended} the connection to {self.name}{expected}."
        return f"{self.other.capitalize()} sent nothing{' more' if self.total else ''} to {self.name}{expected}."

    def _difference(self, got: bytes, expected: bytes, what: str = "") -> str:
        who = self.other.capitalize()
        if not got and self.ended:
            return f"{who} {self.ended} the connection to {self.name} instead of sending {quote(expected)}."
        if not got and not what:
            return f"{who} sent nothing{' more' if self.total else ''} to {self.name} instead of {quote(expected)}."
        if expected.startswith(got) and not self.ended:
            return f"{who} sent only {what}{quote(got)} to {self.name}, {count(len(got))} of {len(expected)}."
        sizes = f" ({count(len(got))} instead of {len(expected)})" if len(got) != len(expected) else ""
        return f"{who} sent {what}{quote(got)} to {self.name} instead of {quote(expected)}{sizes}."

    # -- leaving ----------------------------------------------------------------

    def half_close(self) -> None:
        """Says "I send nothing more" (a FIN) and still listens."""
        self.lab.log(self.name, "half-closes: sends nothing more", to=self.other)
        self._quietly(lambda: self.sock.shutdown(socket.SHUT_WR))

    def close(self) -> None:
        """Closes the connection in the normal way."""
        self.lab.log(self.name, "closes the connection", to=self.other)
        self.drop()

    def reset(self) -> None:
        """Vanishes: the kernel sends a reset instead of a goodbye."""
        self.lab.log(self.name, "resets the connection", to=self.other)
        self._quietly(lambda: self.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)))
        self.drop()

    def closed(self) -> bool:
        """True once this side has closed its socket."""
        return self.sock.fileno() == -1

    def drop(self) -> None:
        """Closes the socket without a word in the log."""
        if self._reading:
            self._reading = False
            self.lab.selector.unregister(self.sock)
        self._stop_background()
        self.sock.close()

    @staticmethod
    def _quietly(act) -> None:
        try:
            act()
        except OSError:
            pass  # the program has ended the connection first
