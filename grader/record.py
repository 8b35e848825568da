"""The record of one grading run: one JSON file, valid at every moment of the run."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .check import Spec
from .harness.wire import Difference, printable

SCHEMA = "relaylab/record/2"


COSTS_NOTHING = ("passed", "unstable", "grader error")  # a doubt is never the student's loss


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check has found.

    `verdict` is one of: passed, failed, not reached, grader error, unstable. `pattern` names what a
    hanging program waits for, `state` says it thread by thread, `events` is the exchange in order. `kind` is
    one of failures.KINDS when the failure has hints of its own.
    """

    verdict: str
    cause: str = ""
    difference: Difference | None = None
    pattern: str = ""
    state: list[str] = field(default_factory=list)
    events: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    kind: str = ""


@dataclass(slots=True)
class Record:
    """All checks of a run, first "not run", then with their verdicts."""

    path: Path
    submission: str
    tier: str = "none"
    checks: dict[str, dict] = field(default_factory=dict)
    _specs: dict[str, Spec] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)
    _changed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, specs: list[Spec], rerun: str, named: Callable[[Spec], bool]) -> None:
        """Enters these checks as "not run" and writes the file. `named` tells those that were asked for."""
        self._specs.update((spec.id, spec) for spec in specs)
        for spec in specs:
            self.checks[spec.id] = {
                "id": spec.id, "stage": spec.stage, "title": spec.title, "lesson": spec.lesson,
                "verdict": "not run", "points": 0.0, "max_points": spec.points, "todo": spec.todo,
                "cause": "", "kind": "", "difference": None, "pattern": "", "state": [], "hints": list(spec.hints), "events": [],
                "rerun": rerun + spec.id, "named": named(spec), "seconds": 0.0,
            }
        self.write()

    def set(self, id: str, outcome: Outcome) -> None:
        """Enters the verdict of a check and writes the file. What a program said cannot steer a terminal there."""
        entry = self.checks[id]
        entry.update(asdict(outcome), cause=printable(outcome.cause), state=[printable(line) for line in outcome.state],
                     seconds=round(outcome.seconds, 3), hints=self._specs[id].hints_for(outcome.kind),
                     points=entry["max_points"] if outcome.verdict in COSTS_NOTHING else 0.0)
        self.write()

    def as_dict(self) -> dict:
        """The record as the schema has it. `max_score` is 100 for all four stages together."""
        entries = list(self.checks.values())
        times = os.times()
        return {
            "schema": SCHEMA, "submission": self.submission, "tier": self.tier,
            "score": round(sum(e["points"] for e in entries), 2),
            "max_score": round(sum(e["max_points"] for e in entries), 2) or 100,
            "seconds": round(time.monotonic() - self._started, 2),
            "cpu_seconds": round(sum(times[:4]), 2),
            "checks": entries,
        }

    def write(self) -> None:
        """Replaces the file in one step, so that a reader never sees half of it.

        While one thread writes, the others leave what they have entered to it: it writes once more for all of them.
        """
        self._changed = True
        while self._changed and self._lock.acquire(blocking=False):
            try:
                self._changed = False
                new = self.path.with_suffix(".new")
                new.write_text(json.dumps(self.as_dict(), ensure_ascii=False), encoding="utf-8", errors="backslashreplace")
                new.replace(self.path)
            finally:
                self._lock.release()
