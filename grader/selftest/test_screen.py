"""The failure screen keeps its size and says all it must; hints and the debugger work."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from grader import debug, hint
from grader.harness.build import KIT
from grader.harness.wire import compare
from grader.report.terminal import HEIGHT, screen
from grader.session import all_specs


def _event(seconds: float, who: str, to: str, data: bytes, thread: int = 0) -> dict:
    return {"seconds": seconds, "who": who, "what": "recv() moved 5 bytes" if thread else "", "data": f'"{data.decode()}"', "size": len(data),
            "to": to, "thread": thread, "where": "framing.c:41" if thread else ""}


def _check(**changes) -> dict:
    events = [_event(n / 1000, "client 1", "your server", b"hello" * (n % 30), n % 3) for n in range(300)]
    difference = compare(b"x" * 200 + b"hellDONE" + b"z" * 200, b"x" * 200 + b"helloDONE" + b"z" * 200)
    return {"id": "stage2.server.cut_done", "verdict": "failed", "title": "A message is found wherever its DONE is cut" * 3, "todo": "2.3",
            "cause": "Your server sent nothing. " * 40, "pattern": "It waits for more after DONE has come. " * 10, "events": events,
            "difference": {"expected": difference.expected, "got": difference.got, "column": difference.column, "byte": difference.byte},
            "state": ["Your server has 3 threads. " * 9] * 9, "hints": ["Where do you look? " * 20] * 3,
            "rerun": "make check ONLY=stage2.server.cut_done", **changes}


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("changes", [{}, {"difference": None}, {"state": [], "pattern": ""}, {"events": []}, {"cause": "Short.", "hints": []}])
def test_a_failure_fits_on_the_screen(width: int, changes: dict) -> None:
    lines = [line for _style, line in screen(_check(**changes), width)]
    assert len(lines) <= HEIGHT, "\n".join(lines)
    if width >= 80:
        limit = max(width, 100)  # commands and the comparison are never cut
        assert all(len(line) <= limit for line in lines), "\n".join(lines)


def test_the_first_wrong_byte_is_marked() -> None:
    lines = [line for _style, line in screen(_check(cause="x", state=[], pattern=""))]
    expected = next(line for line in lines if line.startswith("   expected"))
    got = next(line for line in lines if line.startswith("   got"))
    marker = next(line for line in lines if "^" in line)
    assert expected[marker.index("^")] == "o" and got[marker.index("^")] == "D" and "byte 205" in marker


def test_one_more_hint_is_shown_each_time(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    spec = next(s for s in all_specs() if s.id == "stage2.server.cut_done")
    for shown in (2, 3, 3):
        assert hint.show_next(spec.id, tmp_path / "hints.json") == 0
        text = capsys.readouterr().out
        assert all((h in text) == (n < shown) for n, h in enumerate(spec.hints)), text
    assert hint.show_next("stage2.server.cutdone", tmp_path / "hints.json") == 2
    assert "Do you mean stage2.server.cut_done" in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
def test_the_debugger_halts_the_program_at_main_with_the_peer_waiting() -> None:
    made = subprocess.run(["make", "-s", "-C", str(KIT), "debug", "CHECK=stage1.server.any_bytes"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, env={**os.environ, "RELAYLAB_GDB": "gdb -q -batch"}, check=False)
    assert "Breakpoint 1, main (argc=2" in made.stdout, made.stdout + made.stderr


def test_a_check_that_does_not_exist_is_said_to_be_unknown(capsys: pytest.CaptureFixture) -> None:
    assert debug.start("stage9.server.x", KIT) == 2
    assert "There is no check" in capsys.readouterr().out
