"""What waits for a peer that does not read, and since when."""

from __future__ import annotations

import time

from grader.harness import kernel
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program


class Backlog:
    """What waits for a peer: since when has it taken nothing, and since when is there no room?

    It takes something when the server's kernel has room for more. Bytes that only move from that kernel to the peer's own
    are none: no server sees that. When the connection has ended, the clocks go on from what was last seen before.
    """

    def __init__(self, lab: Lab, peer: Peer) -> None:
        self.lab, self.peer = lab, peer
        self.taken = self.size = -1
        self.looked_at = self.taken_at = time.monotonic()
        self.full_at = self.moved_at = lab.charged

    def look(self) -> None:
        """Starts the clocks anew if the server's kernel had room for more, or what it holds has moved."""
        now, taken, size = time.monotonic(), self.peer.unread_here(), self.peer.backlog()
        if not self.peer.connected_there():  # asked last: what was read before may be of a connection that was just ending
            return
        if (taken, size) != (self.taken, self.size):
            self.moved_at = self.lab.charged
        if taken + size != self.taken + self.size:
            self.taken_at = self.looked_at  # at some time since
        if size != self.size:
            self.full_at = self.lab.charged
        if size == 0:
            self.taken_at, self.full_at = now, self.lab.charged
        self.taken, self.size, self.looked_at = taken, size, now

    def total(self) -> int:
        """Bytes on the way to the peer."""
        self.look()
        return self.taken + self.size

    def still_for(self) -> float:
        """Seconds for which the peer has taken nothing: before 3 of them nobody may drop it."""
        self.look()
        return time.monotonic() - self.taken_at

    def unmoved_for(self) -> float:
        """Seconds, of those that count against deadlines, for which nothing has moved, whether there is room or not."""
        self.look()
        return self.lab.charged - self.moved_at

    def full_for(self) -> float:
        """Seconds, of those that count against deadlines, for which a message has found no room."""
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
