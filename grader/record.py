"""The record of one grading run: one JSON file, valid at every moment of the run."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .check import Spec

SCHEMA = "relaylab/record/1"


@dataclass(slots=True)
class Record:
    """All checks of a run, first "not run", then with their verdicts."""

    path: Path
    submission: str
    tier: str = "none"
    checks: dict[str, dict] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, specs: list[Spec], rerun: str) -> None:
        """Enters these checks as "not run" and writes the file."""
        for spec in specs:
            self.checks[spec.id] = {
                "id": spec.id, "stage": spec.stage, "title": spec.title, "lesson": spec.lesson,
                "verdict": "not run", "points": 0.0, "max_points": spec.points, "todo": spec.todo,
                "cause": "", "hints": list(spec.hints), "events": [],
                "rerun": rerun + spec.id, "seconds": 0.0,
            }
        self.write()

    def set(self, id: str, verdict: str, cause: str, events: list[dict], seconds: float) -> None:
        """Enters the verdict of a check and writes the file."""
        entry = self.checks[id]
        entry.update(verdict=verdict, cause=cause, seconds=round(seconds, 3),
                     points=entry["max_points"] if verdict == "passed" else 0.0,
                     events=[] if verdict == "passed" else events)
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
        """Replaces the file in one step, so that a reader never sees half of it."""
        with self._lock:
            new = self.path.with_suffix(f".{threading.get_ident()}.new")
            new.write_text(json.dumps(self.as_dict(), indent=1, ensure_ascii=False), encoding="utf-8")
            new.replace(self.path)
