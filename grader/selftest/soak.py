"""make soak: the same gradings again and again; every verdict that ever differed is printed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from grader.harness.build import KIT
from grader.selftest.corpus import apply, mutants, spread, variants
from grader.selftest.load import busy, grade

# Three ways to be right and five to be wrong, from all stages.
VARIANTS = 3
MUTANTS = 5


def soak(runs: int, load: int) -> int:
    """Grades the reference, three variants and five mutants `runs` times; returns 1 if any verdict differed."""
    first: dict[tuple[str, str], str] = {}
    differed: dict[tuple[str, str], set[str]] = {}
    with busy(load), tempfile.TemporaryDirectory() as directory:
        sources = _sources(Path(directory))
        for number in range(1, runs + 1):
            seconds = 0.0
            for name, (source, stage) in sources.items():
                record = grade(source, Path(directory) / "out" / name, stage=stage)
                seconds += record["seconds"]
                for check in record["checks"]:
                    key = name, check["id"]
                    verdict = check["verdict"]
                    if verdict != first.setdefault(key, verdict):
                        differed.setdefault(key, {first[key]}).add(verdict)
                        print(f"run {number}: {name}: {check['id']} was {verdict}, at first {first[key]}: {check['cause']}", flush=True)
            print(f"run {number} of {runs}: {seconds:.0f} s, {len(differed)} differences so far", flush=True)
    for (name, id), verdicts in differed.items():
        print(f"DIFFERED  {name}: {id}: {', '.join(sorted(verdicts))}")
    print(f"{runs} runs beside {load} busy processes, {len(first)} verdicts each, {len(differed)} differences")
    return 1 if differed else 0


def _sources(directory: Path) -> dict[str, tuple[Path, int | None]]:
    """What is graded, by name: its directory, and the stage if it is only one."""
    sources: dict[str, tuple[Path, int | None]] = {"reference": (KIT / "solutions", None)}
    for patch in spread(variants(), VARIANTS):
        sources[patch.id] = apply(patch, directory / patch.id), patch.stages[0]
    for mutant in spread(mutants(), MUTANTS):
        sources[mutant.id] = apply(mutant, directory / mutant.id), mutant.stage
    return sources
