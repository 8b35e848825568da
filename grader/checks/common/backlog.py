"""What waits for a peer that does not read, and since when."""

from __future__ import annotations

import time

from grader.harness import kernel
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program


class Backlog:
    """What waits for a peer: since when has it taken nothing, and since when is there no room?"""

    def __init__(self, lab: Lab, peer: Peer) -> None:
        self.lab, self.peer = lab, peer
        self.taken = self.size = -1
        self.taken_at, self.full_at, self.moved_at = time.monotonic(), lab.charged, lab.charged

    def look(self) -> None:
        """Starts the clocks anew if the peer's kernel took something, or the server's had room for more."""
        taken, size = self.peer.unread_here(), self.peer.backlog()
        if (taken, size) != (self.taken, self.size):
            self.moved_at = self.lab.charged
        if taken != self.taken or size == 0:
            self.taken, self.taken_at = taken, time.monotonic()
        if size != self.size or size == 0:
            self.size, self.full_at = size, self.lab.charged

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
