"""The wire format of stages 2 to 4: messages ended by DONE, with backslash escapes.

Knows bytes only; knows nothing of sockets. The rules are those of handouts/protocol.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BODY_MAX = 4096
END = b"DONE"
_TOKEN = re.compile(rb"\\.|DONE", re.DOTALL)  # what is not plain text
_ESCAPE = re.compile(rb"\\(.?)", re.DOTALL)
_AMBIGUOUS = re.compile(r"\\[0nrtx\n\r\t\0\"\udc80-\udcff]")


def encode(body: bytes) -> bytes:
    """The bytes that carry `body`: escaped, then ended by DONE."""
    return body.replace(b"\\", b"\\\\").replace(END, b"\\" + END) + END


def decode(raw: bytes) -> bytes:
    """The body that a message without its DONE carries."""
    return _ESCAPE.sub(rb"\1", raw) if b"\\" in raw else raw


def messages(stream: bytes) -> tuple[list[bytes], bytes]:
    """The bodies that a byte stream carries, and what has come of a message that is not complete."""
    bodies, begin = [], 0
    for token in _TOKEN.finditer(stream):
        if token[0] == END:
            bodies.append(decode(stream[begin : token.start()]))
            begin = token.end()
    return bodies, stream[begin:]


class _Escapes(dict):
    """What to write for each character, for str.translate(): printable ones as they are, others as an escape."""

    def __missing__(self, code: int) -> str:
        # A byte that is no part of a letter stands as 0xDC00 and its value (PEP 383).
        byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
        self[code] = chr(code) if chr(code).isprintable() else f"\\x{byte:02x}"
        return self[code]


_PRINTABLE = _Escapes()
_QUOTED = _Escapes({ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", 0: "\\0", ord('"'): '\\"'})
_UNAMBIGUOUS = _Escapes({**_QUOTED, ord("\\"): "\\\\"})


def show(data: bytes, limit: int = 64) -> str:
    """`data` as one quoted, printable line, cut in the middle beyond `limit` bytes.

    Valid UTF-8 letters stay readable; every other byte is written as an escape. The backslashes
    of the protocol stay single, unless one of them could be taken for such an escape.
    """
    if len(data) > limit:
        half = limit // 2
        left = len(data) - 2 * half
        return f"{show(data[:half])} ... {left} bytes ... {show(data[-half:])}"
    text = data.decode("utf-8", "surrogateescape")
    return '"' + text.translate(_UNAMBIGUOUS if _AMBIGUOUS.search(text) else _QUOTED) + '"'


def quote(data: bytes, columns: int = 56) -> str:
    """`data` for a sentence: quoted as by `show`, and cut in the middle so that it takes about so many columns."""
    for limit in (64, 48, 32, 24, 16, 8):
        shown = show(data, limit)
        if len(shown) <= columns:
            break
    return shown


def printable(text: str) -> str:
    """`text` with every control character as an escape: nothing of it can steer a terminal."""
    return text.translate(_PRINTABLE)


def count(n: int, thing: str = "byte") -> str:
    """"1 byte", "2 bytes"."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


WINDOWS = (28, 20, 14, 10, 6)  # bytes shown before and after the first wrong one, as many as fit
LINE = 84  # columns in which they must fit


@dataclass(frozen=True, slots=True)
class Difference:
    """What was expected and what came, as printable lines cut around the first wrong byte.

    `column` is where in both lines that byte begins, `byte` its number, counted from 1.
    """

    expected: str
    got: str
    column: int
    byte: int


def message_end(stream: bytes, at: int) -> int:
    """The place behind the message that byte number `at` of the stream belongs to; 0 if its DONE has not come."""
    return next((token.end() for token in _TOKEN.finditer(stream) if token[0] == END and token.end() > at), 0)


def first_difference(got: bytes, expected: bytes) -> int:
    """The place of the first byte in which they differ, or where the shorter one ends."""
    shorter = min(len(got), len(expected))
    if got[:shorter] == expected[:shorter]:
        return shorter
    return next(i for i, (a, b) in enumerate(zip(got, expected)) if a != b)


def compare(got: bytes, expected: bytes) -> Difference:
    """Shows both around the first byte in which they differ."""
    at = first_difference(got, expected)
    for window in WINDOWS:
        start = max(0, at - window)
        lead = "... " if start else ""
        before = show(expected[start:at], len(expected))[:-1]  # without the closing quote
        found = Difference(lead + _cut(expected, start, at + window), lead + _cut(got, start, at + window), len(lead) + len(before), at + 1)
        if max(len(found.expected), len(found.got)) <= LINE:
            break
    return found


def _cut(data: bytes, start: int, end: int) -> str:
    left = len(data) - end
    return show(data[start:end], len(data)) + (f" and {left} more" if left > 0 else "")
