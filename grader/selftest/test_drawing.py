"""The drawing of a check: well-formed whatever the program has said, and complete."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from grader.harness.lab import KEPT_EVENTS
from grader.harness.wire import compare, show
from grader.report.drawing import FIRST_ROWS, KEPT, LAST_ROWS, draw
from grader.report.lanes import MOST_PEERS, MOST_THREADS, WIDTH

SVG = "{http://www.w3.org/2000/svg}"


def event(who: str, what: str = "", data: bytes = b"", to: str = "", seconds: float = 0.0, thread: int = 0, where: str = "") -> dict:
    return {"seconds": seconds, "who": who, "what": what, "data": show(data) if data else "", "size": len(data), "to": to,
            "thread": thread, "where": where}


def check(events: list[dict], **more: object) -> dict:
    return {"id": "stage2.server.cut_done", "stage": 2, "title": "A message is found", "verdict": "failed", "cause": "It was not found.",
            "difference": None, "pattern": "", "state": [], "events": events, **more}


NORMAL = [
    event("your server", "start: server 5000"),
    event("client 1", "connected"),
    event("client 1", data=b"helloDO", to="your server", seconds=0.001),
    event("your server", "recv() moved 7 bytes", data=b"helloDO", thread=1, where="framing.c:41", seconds=0.002),
    event("client 1", "half-closes: sends nothing more", to="your server", seconds=0.002),
    event("your server", data=b"helloDONE", to="client 1", seconds=4.2),
    event("your server", data=b"received: hello\n", to="stdout", seconds=4.2),
    event("your server", "closes the connection", to="client 1", seconds=4.2),
]


def parsed(check: dict) -> ET.Element:
    """The drawing as a tree. Every text of it has its place inside the paper, as far as can be said."""
    root = ET.fromstring(draw(check))
    height = float(root.get("height", ""))
    assert float(root.get("width", "")) == WIDTH <= 1000
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", "")) <= WIDTH and 0 <= float(text.get("y", "")) <= height
    return root


def count(root: ET.Element, name: str) -> int:
    return sum(element.get("class") == name for element in root.iter())


def words(root: ET.Element) -> str:
    return "\n".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))


def test_a_check_with_its_lanes_and_arrows() -> None:
    difference = compare(b"helloDOME", b"helloDONE")
    root = parsed(check(NORMAL, difference={"expected": difference.expected, "got": difference.got, "column": difference.column, "byte": difference.byte},
                        pattern="It waits for more.", state=["Your server waits in recv()."]))
    assert count(root, "lane") == 3 and count(root, "arrow") == 5 and count(root, "note") == 3
    assert count(root, "pause") == 1 and count(root, "difference") == 1 and count(root, "more") == 0
    for part in ("It was not found.", '"helloDO"  7 bytes', "framing.c:41", "half-closes", "byte 8 is the first wrong one", "It waits for more.",
                 "Your server waits in recv()."):
        assert part in words(root)
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None and title.text == "A message is found"
    assert description is not None and 'client 1 sends "helloDO", 7 bytes, to your server' in (description.text or "")
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"


def test_the_marker_stands_under_the_first_wrong_byte() -> None:
    difference = compare(b"a\xff" * 200, b"a\xff" * 90 + b"b\xff" * 200)
    fields = {"expected": difference.expected, "got": difference.got, "column": difference.column, "byte": difference.byte}
    box = next(group for group in parsed(check(NORMAL, difference=fields)).iter() if group.get("class") == "difference")
    expected, got, marker = words(box).split("\n")
    at = marker.index("^")
    assert expected[10:at] == got[10:at] and expected[at] == "b" and got[at] == "a"


def test_threads_have_lanes_of_their_own() -> None:
    calls = [event("your server", "recv() returned 0: the end", thread=n, where="framing.c:41") for n in (1, 2, 2, 2, 3)]
    root = parsed(check([*NORMAL, *calls]))
    assert count(root, "lane") == 1 + 3 + 1
    assert "recv() returned 0: the end, 3 times" in words(root)


def test_a_long_exchange_keeps_its_beginning_and_its_end() -> None:
    events = [event(f"client {n}", data=b"x" * n, to="your server", seconds=n / 1000) for n in range(1, 301)]
    root = parsed(check(events, cause="Your server said nothing to client 150."))
    assert count(root, "arrow") == FIRST_ROWS + LAST_ROWS <= 40
    assert f"{300 - FIRST_ROWS - LAST_ROWS} more" in words(root)
    assert count(root, "lane") == MOST_PEERS + 2  # the others share one
    heading = next(group for group in reversed(list(root.iter())) if group.get("class") == "heading" and "150" in words(group))
    assert words(heading).replace("\n", " ") == "client 150"


def test_a_record_that_left_events_out_is_not_taken_for_the_whole() -> None:
    assert KEPT == 2 * KEPT_EVENTS
    events = [event("your server", f"close() of descriptor {n}", thread=1) for n in range(KEPT)]
    assert f"at least {KEPT - FIRST_ROWS - LAST_ROWS} more events" in words(parsed(check(events)))
    assert f"at least {KEPT} times" in words(parsed(check(events[:1] * KEPT)))


def test_many_threads_share_a_lane() -> None:
    root = parsed(check([event("your server", f"close() of descriptor {n}", thread=n) for n in range(1, 31)]))
    assert count(root, "lane") == MOST_THREADS + 1
    assert "thread 30: close()" in words(root)


HOSTILE = ["\x00\x01\x08\x1b[31m\x7f\x85", "\ud800\udfff\ufffe\uffff", "]]></title></svg><script>alert(1)</script><!--", "&amp;&#0;&lt;\"'",
           "\u202eevil\u2066\u200f", "e" + "\u0301" * 500, "\ufdfd" * 80, "\U0001f600\u4e2d" * 100, "W" * 3000, "\\x" * 400, "%s%n\n\r\t" * 50, " " * 500]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_program_can_break_it(text: str) -> None:
    events = [event(text), event("client 1", text, to="your server"), event("your server", text, text.encode("utf-8", "replace"), thread=1, where=text),
              event("client 1", data=text.encode("utf-8", "replace") + bytes(range(256)), to="your server"), event("your server", "", b"x", to=text),
              {**event("client 1", to="your server"), "data": text, "size": 7}]
    root = parsed(check(events, id=text, title=text, cause=text, pattern=text, state=[text, text], verdict=text,
                        difference={"expected": text, "got": text[1:], "column": 3, "byte": 3}))
    assert not any("script" in element.tag for element in root.iter())
    written = "".join(root.itertext())
    assert all(c.isprintable() or c == "\n" for c in written)


def test_a_check_without_anything() -> None:
    for empty in ({}, check([]), check([], cause="", title="")):
        root = parsed(empty)
        assert count(root, "lane") == count(root, "arrow") == 0
        assert "No exchange was noted." in words(root)


def test_events_without_a_program() -> None:
    assert count(parsed(check([event("client 1", "connected")])), "lane") == 1
    assert count(parsed(check([event("your client", "start: client"), event("the user", data=b"hi\n", to="your client"),
                               event("your server", "start: server")])), "lane") == 3


def test_a_failed_call_is_told_whole() -> None:
    failed = "connect(3) to port 46133 failed: ECONNREFUSED (injected)"
    root = parsed(check([*NORMAL, *(event("your server", failed, thread=n, where="framing.c:134") for n in range(1, 31))]))
    assert f"thread 30: {failed}" in words(root) and "\u2026" not in words(root)


def test_how_the_check_ended_a_program_is_told() -> None:
    assert "is killed by the check" in words(parsed(check([*NORMAL, event("your server", "is killed by the check")])))
