"""All checks as a page for students: what each does, what it teaches, which mistakes it finds."""

from __future__ import annotations

import re
import textwrap

from ..check import STAGE_TITLES, Spec
from ..harness.deadline import DEADLINE

WIDTH = 100

_OPENING = f"""\
# The checks

Nothing about the grader is secret. These are all its checks, with what each of them does to your
programs and what must come back. `make check ONLY=id` runs one of them; `make hint CHECK=id` gives
its hints, one more each time. Where no other time is named, an answer has {DEADLINE:g} seconds to come,
longer on a slow machine or under a tool such as valgrind. A check marked *slow* is left out of a
plain `make check`: name it, or add `SLOW=1`.

A check ends in one of five ways:

- **passed**: what must come back has come back. You have its points.
- **failed**: something else came back, or nothing in time. The report shows the exchange and the
  first hint.
- **not reached**: it could not be judged, because a check that it needs has not passed, or because
  what it wants to watch never happened. The report says which. It gives no points yet.
- **grader error**: the grader itself has failed. That is never your loss: you have the points.
- **unstable**: it failed, and when it was repeated it passed, or the grader itself failed. You have the
  points, and the report says so, because luck like this often means a race.
"""


def page(specs: list[Spec], finds: dict[str, list[str]]) -> str:
    """The page as Markdown. `finds` has, by id, sentences about the mistakes that the check finds."""
    parts = [_OPENING]
    for stage in sorted({spec.stage for spec in specs}):
        chosen = [spec for spec in specs if spec.stage == stage]
        points = sum(spec.points for spec in chosen)
        parts.append(f"## Stage {stage}, {STAGE_TITLES[stage]}: {len(chosen)} checks, {points:g} points\n")
        parts += [_entry(spec, finds.get(spec.id, [])) for spec in chosen]
    return "\n".join(parts)


def _entry(spec: Spec, finds: list[str]) -> str:
    facts = [f"`{spec.id}`", f"{spec.points:g} point" + ("" if spec.points == 1 else "s")]
    facts += [f"TODO {spec.todo}"] if spec.todo else []
    facts += ["*slow*"] if spec.slow else []
    blocks = [f"### {_plain(spec.title)}", ", ".join(facts), _filled(_plain(spec.lesson)), _filled(_plain(spec.procedure))]
    if finds:
        blocks.append("Usually finds:")
        blocks.append("\n".join(_filled(f"- {_plain(sentence)}", "  ") for sentence in finds))
    return "\n\n".join(blocks) + "\n"


def _filled(text: str, later: str = "") -> str:
    # A line that began with "1. " or "- " would be a list: such a word stays behind the one before it.
    bound = re.sub(r" (?=(?:\d+[.)]|[-+#>])(?: |$))", "\0", text)
    lines = textwrap.fill(bound, WIDTH, subsequent_indent=later, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")


def _plain(text: str) -> str:
    """The text so that Markdown shows it as it is; words in backquotes stay code."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(p if n % 2 else re.sub(r"[\\*<\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", p) for n, p in enumerate(pieces))
