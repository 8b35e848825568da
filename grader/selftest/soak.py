"""make soak: the same gradings again and again; every verdict that ever differed is printed."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grader.harness.build import KIT
from grader.selftest.corpus import apply, mutants, variants
from grader.selftest.load import AT_ONCE, busy, grade, keep

# Three ways to be right and five to be wrong, from all stages. None of the five is a race: there chance decides
# what fails besides the check that names it, and `make matrix RUNS=n` repeats just that one.
VARIANTS = ("client_reads_until_the_close", "threads_joined_by_a_reaper", "mailboxes_and_eventfd")
MUTANTS = ("failed_recv_used_as_an_index", "client_cuts_off_the_last_byte_of_every_line", "reads_messages_of_a_fixed_size",
           "never_frees_a_client", "nobody_is_written_to")


def soak(runs: int, load: int) -> int:
    """Grades the reference, three variants and five mutants `runs` times; returns 1 if any verdict differed, or was none."""
    first: dict[tuple[str, str], str] = {}
    differed: dict[tuple[str, str], set[str]] = {}
    with busy(load), tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(AT_ONCE) as pool:
        sources = _sources(Path(directory))
        for number in range(1, runs + 1):
            start = time.monotonic()
            records = pool.map(lambda name: grade(sources[name][0], Path(directory) / "out" / name, stage=sources[name][1]), sources)
            for name, record in zip(sources, records):
                for check in record["checks"]:
                    key = name, check["id"]
                    verdict = check["verdict"]
                    first.setdefault(key, verdict)
                    if verdict != first[key] or verdict in ("unstable", "grader error"):
                        differed.setdefault(key, {first[key]}).add(verdict)
                        kept = keep(Path(directory) / "out" / name, f"{name}-run{number}")
                        print(f"run {number}: {name}: {check['id']} was {verdict}, at first {first[key]}: {check['cause']} (see {kept})", flush=True)
            print(f"run {number} of {runs}: {time.monotonic() - start:.0f} s, {len(differed)} differences so far", flush=True)
    for (name, id), verdicts in differed.items():
        print(f"DIFFERED  {name}: {id}: {', '.join(sorted(verdicts))}")
    print(f"{runs} runs, {AT_ONCE} gradings at once, {load} busy processes beside them: {len(first)} verdicts each, {len(differed)} differed")
    return 1 if differed else 0


def _sources(directory: Path) -> dict[str, tuple[Path, int | None]]:
    """What is graded, by name: its directory, and the stage if it is only one."""
    sources: dict[str, tuple[Path, int | None]] = {"reference": (KIT / "solutions", None)}
    for patch in [*variants(), *mutants()]:
        if patch.id in VARIANTS + MUTANTS:
            sources[patch.id] = apply(patch, directory / patch.id), patch.stages[0]
    assert len(sources) == 1 + len(VARIANTS) + len(MUTANTS)
    return sources
