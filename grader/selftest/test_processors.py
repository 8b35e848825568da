"""Who is busy, on a machine that is busy itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from grader.harness import kernel
from grader.harness.build import KIT, Build
from grader.harness.lab import Lab

SPINS = "while True: pass"
LOOKS_OFTEN = "import time\nwhile True: time.sleep(0.02)"


@contextmanager
def _on_one_processor(*programs: str) -> Iterator[list[int]]:
    """Runs these programs, all on the same processor; gives their process ids."""
    processor = min(os.sched_getaffinity(0))
    running = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    try:
        for process in running:
            os.sched_setaffinity(process.pid, {processor})
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.mark.parametrize("others", [0, 6])
def test_who_waits_for_a_processor_is_not_busy_and_who_never_waits_is(tmp_path: Path, others: int) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    with _on_one_processor(SPINS, LOOKS_OFTEN, *[SPINS] * others) as (spinning, looking, *_):
        assert sum(lab.watch_processors(spinning, 0.5).values()) > 0.6
        assert sum(lab.watch_processors(looking, 0.5).values()) < 0.3
    lab.close()


@pytest.mark.parametrize(("program", "least", "most"), [(SPINS, 0.6, 1.0), ("input()", 0.2, 0.5)])
def test_a_program_at_work_gets_more_time_than_one_that_waits(tmp_path: Path, program: str, least: float, most: float) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        lab.until(lambda: kernel.processor_times(process.pid) and (kernel.asleep(process.pid) or program == SPINS))
        lab.programs = [SimpleNamespace(alive=lambda: True, inner_pid=lambda: process.pid)]
        before = lab.charged
        lab.until(lambda: False, 0.2)
        assert lab.timed_out and least <= lab.charged - before < most
        process.kill()
    lab.programs = []
    lab.close()
