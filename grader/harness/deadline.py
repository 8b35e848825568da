"""How long a check waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import kernel

if TYPE_CHECKING:
    from .program import Program

DEADLINE = 4.0  # seconds for an answer, before the machine's and the tool's factors
LONGEST_TURN = 0.04  # seconds that one turn of a waiting loop may count
SLOW = 3  # so many times as long waits a check for a program that is at work and has not had much of a processor
LOOK_EVERY = 0.1  # seconds
MUCH = 0.1  # seconds on a processor in one wait, without a byte read, sent or printed; what a check asks for takes some milliseconds


class Wait:
    """One wait for what `programs` should do: `limit` seconds, and longer for a program that works and gets on slowly.

    Whoever waits, too, is late at once; so is who has had much of a processor and moved no byte, and is made to leave it
    to others (nice(2)): a few programs that spin would make all other checks wait for them. Who reads 3 MB byte by byte
    needs seconds and is none of them.
    """

    def __init__(self, programs: Sequence[Program], limit: float) -> None:
        self._programs, self._limit = programs, limit
        self._spent = self._looked = 0.0
        self._moved: dict[int, tuple[int, float]] = {}  # by process id: bytes moved, and seconds on a processor when the last one was

    def spend(self, seconds: float) -> None:
        """So much of the time has passed."""
        self._spent += seconds
        if self._spent - self._looked >= LOOK_EVERY:
            self._looked = self._spent
            self._look()

    def over(self) -> bool:
        """True when it has been long enough."""
        return self._spent >= self._limit and (self._spent >= SLOW * self._limit or not any(map(self._gets_on, self._programs)))

    def _gets_on(self, program: Program) -> bool:
        return not program.cpu_hog and program.alive() and kernel.at_work(program.pid)

    def _look(self) -> None:
        for program in self._programs:
            if not program.alive():
                continue
            pid = program.pid
            if not program.cpu_hog:
                ran, moved = kernel.seconds_run(pid), program.moved()
                if self._moved.get(pid, (None,))[0] != moved:
                    self._moved[pid] = moved, ran
                program.cpu_hog = ran - self._moved[pid][1] >= MUCH * program.slowness
            # Not at once: a program that no longer gets a processor would look idle to a check that judges just that.
            # And a tool makes a right program busy, too.
            late = self._spent >= self._limit / 2
            if late and program.cpu_hog and program.slowness == 1 and not program.gives_way:
                kernel.give_way(pid)
                program.gives_way = True
