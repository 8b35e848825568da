"""What a student reads for each known mistake, kept under review in golden/."""

from __future__ import annotations

import re
from pathlib import Path

from grader.diagnosis import as_closed
from grader.report.terminal import HEIGHT, WIDTH, screen
from grader.selftest.corpus import HERE, Mutant

# Times, ports (5000 is the default, and stays), addresses in memory and temporary directories differ from run to run.
_VARYING = ((re.compile(r"^( +)\d+\.\d{3}  "), r"\1 .     "), (re.compile(r"\b1\d{4}\b(?! byte)"), "PORT"),
            (re.compile(r"\bport (?!5000\b)\d{4,5}\b"), "port PORT"), (re.compile(r"0x[0-9a-f]{6,}"), "0x..."),
            (re.compile(r'/tmp/[^ "]*'), '...'))
# How a program ended, and behind it what the check noticed of that.
_NOTICED = re.compile(r"(Your \w+ (?:ended by itself|was ended by) [^.]*\.).*?(?= hint \d/\d)")


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


def explains(mutant: Mutant, text: str) -> str:
    """The part of the text that must be the same each time.

    The title and the foot; in stages 1 and 2, where one client is served at a time, also the cause and the pattern.
    The exchange and the bytes differ from run to run, and so do lines of the source that only a repetition tells, what
    was noticed first of a program's end, and, with the length of a number, where a line is broken.
    """
    lines = [line for line in text.splitlines() if not re.match(r"^ +(\.  |\.\.\. |expected |got |.*\^)|^   (Your \w+ (waits|has|is) |Thread )", line)]
    if mutant.stage > 2:
        foot = next((n for n, line in enumerate(lines) if line.startswith("   hint ")), 0)
        lines = [lines[0], *lines[foot:]]
    words = re.sub(r'"(?:[^"\\]|\\.)*"', '"', as_closed(" ".join(" ".join(lines).split())))
    return re.sub(r"0x[0-9a-f]+|\d+", "#", _NOTICED.sub(r"\1", words))
