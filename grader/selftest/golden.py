"""What a student reads for each known mistake, kept under review in golden/."""

from __future__ import annotations

import re
from pathlib import Path

from grader.report.terminal import HEIGHT, WIDTH, screen
from grader.selftest.corpus import HERE, Mutant

# Ports, times and the numbers of descriptors differ from run to run.
_VARYING = ((re.compile(r"^( +)\d+\.\d{3}  "), r"\1 .     "), (re.compile(r"\b1\d{4}\b"), "PORT"))


def path(mutant: Mutant) -> Path:
    """The file of a mutant's text."""
    return HERE / "golden" / f"stage{mutant.stage}" / f"{mutant.id}.txt"


def text(record: dict, id: str) -> str:
    """The failure screen of a check in a record, without what differs from run to run."""
    check = next(c for c in record["checks"] if c["id"] == id)
    lines = [line for _style, line in screen({**check, "rerun": f"make check ONLY={id}"})]
    if len(lines) > HEIGHT or any(len(line) > WIDTH for line in lines):
        raise ValueError(f"the text of {id} is larger than {HEIGHT} lines of {WIDTH} columns")
    for pattern, instead in _VARYING:
        lines = [pattern.sub(instead, line) for line in lines]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def explains(text: str) -> str:
    """The part of the text that must be the same each time: all but the exchange, whose order may vary."""
    return "\n".join(line for line in text.splitlines() if not re.match(r"^ +\.  |^ +\.\.\. \d+ more", line))
