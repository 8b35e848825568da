"""Gradings of the corpus in processes of their own, and a machine made busy on purpose."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grader.harness.build import KIT

RECORDS = KIT / "build" / "selftest"
AT_ONCE = 3  # gradings; each waits for about half of its time


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keeps so many processes spinning meanwhile."""
    spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def grade(source: Path, out: Path, *, stage: int | None = None, only: str = "", times: int = 1) -> dict:
    """Grades `source` as `make grade` does; returns the record. A run that gave none is no run: RuntimeError."""
    (out / "record.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "grader", "grade", str(source), "--out", str(out), "--only", only, "--times", str(times)]
    command += ["--stage", str(stage)] if stage else []
    made = subprocess.run(command, cwd=KIT, capture_output=True, text=True, check=False)
    try:
        record = json.loads((out / "record.json").read_text(encoding="utf-8"))
        if any(check["verdict"] == "not run" for check in record["checks"]):
            raise ValueError("it was interrupted")
        return record
    except (OSError, ValueError) as error:
        raise RuntimeError(f"grading {source} gave no record ({error}): {made.stdout[-500:]}{made.stderr[-500:]}") from error


def keep(out: Path, name: str) -> Path:
    """Saves the record of a grading whose directory will be gone; returns its new place.

    What is seen once in a thousand gradings says there what the program was doing.
    """
    RECORDS.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(out / "record.json", RECORDS / f"{name}.json"))
