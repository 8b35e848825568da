"""The texts that are made of the checks themselves: the rubrics in the handouts, and the catalogue."""

from __future__ import annotations

from pathlib import Path

from .diagnosis import mistakes
from .harness.build import KIT, STAGES
from .report import catalogue, rubric
from .selftest.corpus import mutants
from .session import all_specs


def generated() -> dict[Path, str]:
    """Each generated file and what should stand in it."""
    specs = all_specs()
    handouts = {KIT / "handouts" / f"stage{number}.md": number for number in STAGES}
    pages = {path: rubric.fill(path, specs, number) for path, number in handouts.items()}
    pages[KIT / "handouts" / "checks.md"] = catalogue.page(specs, _finds())
    return pages


def _finds() -> dict[str, list[str]]:
    """By check: what the known mistakes that it finds are about, in one sentence each."""
    says = mistakes()
    finds: dict[str, list[str]] = {}
    for mutant in mutants():
        sentence = says.get(mutant.mistake, {}).get("says", "")
        if sentence and sentence not in finds.setdefault(mutant.caught_by, []):
            finds[mutant.caught_by].append(sentence)
    return finds
