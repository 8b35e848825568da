"""The texts of a drawing: made harmless, measured, and cut to the room there is.

Texts come from a hostile program: whatever is not printable is escaped before it gets near the XML. The
widths of texts are estimates on the safe side, since nothing here knows the reader's fonts.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

LONGEST = 2000  # characters of a text
SANS = "DejaVu Sans, Verdana, Segoe UI, Helvetica, Arial, sans-serif"
MONO = "DejaVu Sans Mono, Menlo, Consolas, Liberation Mono, monospace"
EM = 0.605  # the width of a letter of MONO


def clean(text: object) -> str:
    """The text with everything that is not plainly visible written as an escape; not more of it than anyone reads."""
    letters = str("" if text is None else text)
    if len(letters) > LONGEST:
        letters = letters[: LONGEST // 2] + " ... " + letters[-LONGEST // 2 :]
    return "".join(c if _plain(c) else f"\\x{ord(c):02x}" for c in letters)


@cache
def _plain(c: str) -> bool:
    return c.isprintable() and not unicodedata.combining(c) and len(unicodedata.normalize("NFKC", c)) <= 3


def cell_count(text: str) -> int:
    """How many columns the text takes in a font of fixed width."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def line_width(text: str, size: float, font: str = SANS) -> float:
    """The width of a line, rather too much than too little."""
    return size * (cell_count(text) * EM if font == MONO else sum(map(_em, text)))


@cache
def _em(c: str) -> float:
    if c in " ijlfrtI.,:;'|!()[]":
        return 0.41
    if c in "cksvxyz":
        return 0.59
    if c in "mwMW@%" or cell_count(c) > 1:
        return 1.05
    return 0.77 if c.isupper() or c in "+=<>_#&~" or ord(c) > 0x17F else 0.64


def split_letters(text: str) -> list[str]:
    """The text cut where it may be cut: never within an escape."""
    return re.findall(r"\\x[0-9a-f]{2}|\\.|.", text, re.DOTALL)


def elide(text: str, cells: int) -> str:
    """At most so many columns, the middle left out."""
    if cell_count(text) <= cells:
        return text
    letters = split_letters(text)
    head, tail = (cells - 1) * 3 // 5, (cells - 1) * 2 // 5
    return fitting(letters, head) + "\u2026" + fitting(letters[::-1], tail, backwards=True)


def fitting(letters: list[str], cells: int, *, backwards: bool = False) -> str:
    """As many letters as fit into so many columns, from the front or from the back."""
    taken: list[str] = []
    for letter in letters:
        cells -= cell_count(letter)
        if cells < 0:
            break
        taken.append(letter)
    return "".join(taken[::-1] if backwards else taken)


def within(text: str, width: float, size: float) -> str:
    """Prose on one line of at most `width`, the middle left out."""
    return text if line_width(text, size) <= width else elide(text, int(width / size / 1.05))


def folded(text: str, cells: int, most: int) -> list[str]:
    """Bytes on lines of so many columns, at most `most` lines."""
    text = elide(text, cells * most - 8 * most)
    count = -(-cell_count(text) // cells)
    if count > 1:
        cells = min(cells, -(-cell_count(text) // count) + 4)  # lines of about the same length
    rest, lines = split_letters(text), []
    while rest:
        line = fitting(rest, cells)
        rest = rest[len(split_letters(line)):]
        lines.append(line)
    return lines or [""]


def wrapped(text: str, width: float, size: float, most: int = 6) -> list[str]:
    """Prose on lines of at most `width`; what does not fit on `most` lines ends in an ellipsis."""
    lines, line, used = [], "", 0.0
    for word in re.findall(r"\S+|\s+", text):
        if line and not word.isspace() and used + line_width(word, size) > width:
            lines.append(line.rstrip())
            line, used = "", 0.0
        for letter in word if line or not lines else word.lstrip():
            if used + line_width(letter, size) > width:  # a word longer than a line
                lines.append(line.rstrip())
                line, used = "", 0.0
            line += letter
            used += line_width(letter, size)
    lines.append(line.rstrip())
    lines = [line for line in map(str.strip, lines) if line] or [""]
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1][:-2] + " \u2026"]


def around(text: str, column: int, columns: int) -> tuple[str, str, str]:
    """What is before the marked place, the letter there, and what is behind it, in so many columns."""
    before, letter, after = text[:column], *_first(text[column:])
    half = columns * 3 // 5
    if cell_count(before) > half:
        before = "\u2026" + fitting(split_letters(before)[::-1], half - 1, backwards=True)
    room = columns - cell_count(before) - cell_count(letter)
    if cell_count(after) > room:
        after = fitting(split_letters(after), room - 1) + "\u2026"
    return before, letter, after


def _first(text: str) -> tuple[str, str]:
    letters = split_letters(text) or [""]
    return letters[0], "".join(letters[1:])
