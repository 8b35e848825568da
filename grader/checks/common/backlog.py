"""What waits for a peer that does not read, and since when."""

from __future__ import annotations

import time

from grader.harness import kernel
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program


class Backlog:
    """What waits for a peer: since when has it taken nothing, and since when is there no room?

    A program sees two signs that it takes something: its own kernel takes more from it, and the peer's acknowledges more.
    Each has a clock, for a right program may go by either, and they differ: a kernel makes its buffer larger in time, for
    instance when a window probe is answered, though the peer takes nothing. When the connection ends, nothing starts a
    clock anew any more.
    """

    def __init__(self, lab: Lab, peer: Peer) -> None:
        self.lab, self.peer = lab, peer
        self.size = self.written = self.acknowledged = self.unread = 0
        self.looked_at = self.written_at = self.acknowledged_at = time.monotonic()
        self.full_at = self.moved_at = lab.charged
        self.ended_at = 0.0  # 0 while it lasts
        self.look()
        self.written_before = self.written

    def look(self) -> None:
        """Starts the clocks anew if the program's kernel took more, or what it holds has moved."""
        if self.ended_at:
            return
        now, unread, there = time.monotonic(), self.peer.unread_here(), self.peer.connection_there()
        # Asked twice: the kernel reads the state first and then counts, and a FIN between the two counts as a byte (inet_sk_diag_fill()
        # in net/ipv4/inet_diag.c).
        if there is None or self.peer.connection_there() is None:
            self.ended_at = now
            return
        written = there.acknowledged + there.unsent
        if (written, there.unsent, unread) != (self.written, self.size, self.unread):
            self.moved_at = self.lab.charged
        if written != self.written:
            self.written_at = self.looked_at  # at some time since
        if there.acknowledged != self.acknowledged:
            self.acknowledged_at = self.looked_at
        if there.unsent != self.size:
            self.full_at = self.lab.charged
        if there.unsent == 0:
            self.written_at, self.acknowledged_at, self.full_at = now, now, self.lab.charged
        self.written, self.acknowledged, self.size = written, there.acknowledged, there.unsent
        self.unread, self.looked_at = unread, now

    @property
    def taken_at(self) -> float:
        """Since when a program may say that the peer takes nothing: the earlier of the two clocks, by time.monotonic()."""
        return min(self.written_at, self.acknowledged_at)

    def ended(self) -> bool:
        """True once either side has ended the connection."""
        self.look()
        return self.ended_at != 0

    def total(self) -> int:
        """Bytes that the program's kernel has taken for the peer since the backlog is watched."""
        self.look()
        return self.written - self.written_before

    def still_for(self) -> float:
        """Seconds since `taken_at`, up to the end of the connection: before 3 of them nobody may drop the peer."""
        self.look()
        return (self.ended_at or time.monotonic()) - self.taken_at

    def unmoved_for(self) -> float:
        """Seconds, of those that count against deadlines, for which nothing has moved, whether there is room or not."""
        self.look()
        return self.lab.charged - self.moved_at

    def full_for(self) -> float:
        """Seconds, of those that count against deadlines, for which the program's kernel holds the same bytes: at most as long as
        a message has found no room."""
        self.look()
        return self.lab.charged - self.full_at

    def comes_to_rest(self, program: Program) -> bool:
        """Waits until nothing moves and the program sleeps; false if it goes on, and still nothing moves.

        Each step is a wait of its own: a client that reads its input byte by byte fills a connection slowly.
        """
        while True:
            moved_at = self.moved_at
            rests = self.lab.until(lambda: self.moved_at != moved_at or (self.unmoved_for() > 0.3 and kernel.asleep(program.pid)))
            if self.moved_at == moved_at:
                return bool(rests)
