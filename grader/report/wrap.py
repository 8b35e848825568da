"""Wraps sentences for a terminal: a command in backquotes stays on one line, an escape such as \\x89 in one piece."""

from __future__ import annotations

import re

_WORD = re.compile(r"(\s*)((?:`[^`]{1,60}`|\S)+)")
_UNIT = re.compile(r"\\x[0-9a-f]{2}|\\.|.")
MORE = " ..."


def wrap(text: str, width: int, most: int | None = None) -> list[str]:
    """The text in lines of at most `width` columns; what follows after `most` lines is left out."""
    lines = [""]
    for space, word in _WORD.findall(text):
        if lines[-1] and len(lines[-1]) + len(space) + len(word) <= width:
            lines[-1] += space + word
        elif len(word) <= width:
            lines.append(word)
        else:
            _break(lines, space, word, width)
    lines = [line for line in lines if line]
    return lines if most is None or len(lines) <= most else [*lines[: most - 1], _shortened(lines[most - 1], width)]


def _break(lines: list[str], space: str, word: str, width: int) -> None:
    """Writes a word that is longer than a line, as far as it goes behind what stands there."""
    if lines[-1] and len(lines[-1]) + len(space) < width:
        lines[-1] += space
    for unit in _UNIT.findall(word):
        if len(lines[-1]) + len(unit) > width:
            lines.append("")
        lines[-1] += unit


def _shortened(line: str, width: int) -> str:
    while len(line) + len(MORE) > width:
        line = line.rpartition(" ")[0] if " " in line else line[: width - len(MORE)]
    return line + MORE
