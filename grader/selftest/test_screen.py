"""The failure screen keeps its size and says all it must; hints and the debugger work."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from grader import __main__, debug, hint
from grader.harness import kernel
from grader.harness.build import KIT, Build
from grader.harness.lab import Lab
from grader.harness.wire import compare
from grader.report.terminal import HEIGHT, WIDTH, event_lines, screen, summary
from grader.session import all_specs, unknown_words


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


@pytest.mark.parametrize("width", [80, 100])
def test_the_only_failure_stands_on_one_screen_with_all_around_it(width: int) -> None:
    check = _check(stage=2, points=0, max_points=1, kind="", cause="Your server sent nothing.", difference=None,
                   state=["Your server waits in recv()."], pattern="", hints=["Where do you look?"])
    likely = {"says": "It stops at the first piece. " * 4, "look": "TODO 2.3: what does recv() return? " * 3, "sure": True, "found_by": []}
    console = Console(width=width, file=io.StringIO())
    summary({"checks": [check], "likely": likely}, console)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == HEIGHT - 1, "\n".join(lines)  # make adds one


def test_what_the_program_was_doing_is_said_in_whole_sentences() -> None:
    pattern = "It asks recv() with MSG_WAITALL for 1000 bytes, and waits until all of them have come, which will not be."
    state = ["Your server has 2 threads.", "Thread 1 waits in accept() for the next client, on which nobody has a hand (server.c:147)."]
    seen = set()
    for height in range(12, HEIGHT + 1):
        lines = [line.strip() for _style, line in screen(_check(cause="Short.", difference=None, pattern=pattern, state=state), 80, height)]
        text = " ".join(lines)
        shown = [sentence in text for sentence in (pattern, *state)]
        assert shown[0] and shown == sorted(shown, reverse=True), text
        assert all(sentence in text or sentence.split(",")[0] not in text for sentence in state), text
        seen.add(sum(shown))
    assert seen == {1, 2, 3}


@pytest.mark.parametrize("length", [20, 60, 100, 200])
def test_a_long_command_stays_whole_and_the_failure_fits_on_the_screen_all_the_same(length: int) -> None:
    again = f"make grade SUBMISSION=/{'a' * length}/work.zip ONLY=stage4.server.stuck_receiver_delays_nobody_else"
    lines = [line for _style, line in screen(_check(rerun=again))]
    assert f"   again     {again}" in lines
    assert all(len(line) <= WIDTH for line in lines if again not in line)
    rows = sum(max(1, math.ceil(len(line) / WIDTH)) for line in lines)
    assert rows <= HEIGHT, "\n".join(lines)


def test_the_command_names_what_lies_below_the_current_directory_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(submission: Path) -> str:
        commands = []
        monkeypatch.setattr(__main__, "run", lambda *_, rerun, **__: commands.append(rerun) or {"checks": [], "score": 0, "max_score": 0, "seconds": 0})
        __main__._grade(argparse.Namespace(submission=submission, out=tmp_path / "out", stage=1, only="", times=1, base=None))
        return commands[0]

    shutil.copytree(KIT / "solutions", tmp_path / "here" / "her work")
    shutil.copytree(KIT / "solutions", tmp_path / "there")
    monkeypatch.chdir(tmp_path / "here")
    assert told(tmp_path / "here" / "her work") == told(Path("her work")) == "make grade SUBMISSION='her work' ONLY="
    assert told(tmp_path / "there") == f"make grade SUBMISSION={tmp_path}/there ONLY="


def test_the_first_wrong_byte_is_marked() -> None:
    lines = [line for _style, line in screen(_check(cause="x", state=[], pattern=""))]
    expected = next(line for line in lines if line.startswith("   expected"))
    got = next(line for line in lines if line.startswith("   got"))
    marker = next(line for line in lines if "^" in line)
    assert expected[marker.index("^")] == "o" and got[marker.index("^")] == "D" and "byte 205" in marker


def _call(what: str, thread: int = 1, where: str = "framing.c:134") -> dict:
    return {"seconds": 0.1, "who": "your server", "what": what, "data": "", "size": 0, "to": "", "thread": thread, "where": where}


@pytest.mark.parametrize("width", [60, 80, 100])
def test_what_a_failed_call_says_is_never_cut(width: int) -> None:
    failed = "connect(3) to port 46133 failed: ECONNREFUSED"
    said = _event(0.1, "an unnamed client of the check", "your server", b"hello")
    for thread in (1, 12):
        lines = [line for _style, line in screen(_check(events=[said, _call(failed, thread), _call("close(3)", 1)]), width)]
        line = next(line for line in lines if "ECONNREFUSED" in line)
        assert line.endswith("failed: ECONNREFUSED  framing.c:134") and len(line) <= width, line
        assert width < 80 or "connect(3" in line, "what stands before is shortened"


def test_calls_that_are_alike_share_a_line() -> None:
    lines = [line for _style, line in screen(_check(events=[_call("recv(4) returned 0: the end") for _ in range(300)]))]
    assert [line for line in lines if "recv(4)" in line] == ["     0.100    recv(4) returned 0: the end, at least 300 times  framing.c:134"]


def test_calls_that_nothing_else_tells_of_stay_when_there_is_no_room() -> None:
    start = {**_call("start: client hello"), "thread": 0, "where": ""}
    many = [_event(n / 1000, "client 1", "your server", b"hello") for n in range(50)]
    made = [_call("recv(4) moved 5 bytes"), _call("recv(0) failed: ENOTSOCK"), _call("recv(4) failed: EAGAIN")]
    text = "\n".join(line for _style, line in event_lines([start, {**start, "what": "connected"}, *many, *made], 12, 97))
    assert "ENOTSOCK" in text and "moved" not in text and "EAGAIN" not in text, text
    text = "\n".join(line for _style, line in event_lines([*many, start, *made], 12, 97))
    assert "ENOTSOCK" in text and "moved" in text, text


def test_one_more_hint_is_shown_each_time(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    spec = next(s for s in all_specs() if s.id == "stage2.server.cut_done")
    for shown in (2, 3, 3):
        assert hint.show_next(spec.id, tmp_path / "hints.json", tmp_path / "record.json") == 0
        text = " ".join(capsys.readouterr().out.split())
        assert all((h in text) == (n < shown) for n, h in enumerate(spec.hints)), text
    (tmp_path / "record.json").write_text(json.dumps({"checks": [
        {"id": spec.id, "verdict": "not reached", "cause": "Not reached: it needs another check.", "hints": list(spec.hints)}]}))
    assert hint.show_next(spec.id, tmp_path / "hints.json", tmp_path / "record.json") == 0
    assert "last run Not reached: it needs another check." in " ".join(capsys.readouterr().out.split())
    assert hint.show_next("stage2.server.cutdone", tmp_path / "hints.json", tmp_path / "record.json") == 2
    assert "Do you mean stage2.server.cut_done" in capsys.readouterr().out


def _debug(command: list[str], gdb: str, typed: str = "") -> str:
    made = subprocess.run(command, cwd=KIT, input=typed, capture_output=True, text=True, timeout=60, env={**os.environ, "RELAYLAB_GDB": gdb}, check=False)
    return made.stdout + made.stderr


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
@pytest.mark.parametrize(("id", "program", "without"), [
    ("stage1.server.any_bytes", "server", ""), ("stage1.server.memory", "server", "valgrind"), ("stage1.client.bounds", "client", "AddressSanitizer")])
def test_the_debugger_halts_the_program_at_main_with_the_peer_waiting(id: str, program: str, without: str) -> None:
    said = _debug(["make", "-s", "debug", f"CHECK={id}"], "gdb -q -batch")
    assert "Breakpoint 1, main (argc=" in said and f"stage1_echo/{program}.c:" in said, said
    assert "pthread_kill" not in said and "No such file" not in said and "logging" not in said, said
    told = [line for line in said.splitlines() if line.startswith("It runs without")]
    assert told == ([f"It runs without {without}, so that gdb can see it."] if without else []), said


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
def test_only_the_first_of_five_clients_is_debugged_and_the_check_goes_on_to_its_end() -> None:
    said = _debug([sys.executable, "-m", "grader", "debug", "stage1.client.message", "--source", "solutions"], "gdb -q", "continue\nquit\n")
    assert "Breakpoint 1, main (argc=" in said and "The check has passed." in said, said


def test_for_the_debugger_only_the_first_program_of_the_role_halts(tmp_path: Path) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path), traced=True, held="client")
    try:
        server = lab.server()
        first = lab.client(server, "one", tool=("a tool that is not there",))
        assert lab.until(lambda: kernel.state(first.pid) == "T") and lab.without == "a tool that is not there"
        lab.client(server, "two", variant="asan").expect_line(b"reply: two")
        assert first.output == b"" and lab.without == "AddressSanitizer"
        os.kill(first.pid, signal.SIGCONT)
        first.expect_line(b"reply: one")
    finally:
        lab.close()


def test_a_check_that_does_not_exist_is_said_to_be_unknown(capsys: pytest.CaptureFixture) -> None:
    assert debug.start("stage9.server.x", KIT) == 2
    assert "There is no check" in capsys.readouterr().out
    assert debug.start("", KIT) == 2
    assert "CHECK=" in capsys.readouterr().out


@pytest.mark.parametrize(("only", "meant"), [("stage1 usge", "stage1 usage"), ("Servr_Basic", "server basic"), ("stage1 qqqqqqq", ""), ("stage1 stuck receiver", "")])
def test_words_that_name_no_check_are_put_right_where_that_is_clear(only: str, meant: str) -> None:
    said = unknown_words(only)
    assert said.startswith(f'No check has all the words "{only}".') and (f'Do you mean "{meant}"?' in said if meant else "mean" not in said), said
    assert unknown_words("stuck receiver", 1) == 'No check of stage 1 is named by "stuck receiver"; stage 4 has one.'


def test_a_check_of_another_stage_is_not_said_to_be_unknown(capsys: pytest.CaptureFixture) -> None:
    named = "stage4.server.already_named"
    assert __main__._nothing_named(argparse.Namespace(only=named, stage=1), {"checks": []}, Console())
    assert capsys.readouterr().out == f'No check of stage 1 is named by "{named}"; stage 4 has one.\n'


def test_a_check_that_was_not_reached_is_named_with_its_whole_reason() -> None:
    def check(id: str, cause: str) -> dict:
        return {"id": id, "stage": 2, "verdict": "not reached", "cause": f"Not reached: {cause}", "points": 0, "max_points": 1}

    reason = 'the conversation already goes wrong without the tool. Your server ended by itself with exit status 1; it said "[/b] [red]: bind: no".'
    record = {"checks": [check("stage2.server.memory", reason), *(check(f"stage2.server.{n}", "it needs another.") for n in ("a", "b"))]}
    console = Console(width=80, record=True, file=io.StringIO())
    summary(record, console)
    lines = console.export_text().splitlines()
    assert all(len(line) <= 80 for line in lines), lines
    assert "3 not reached: 2 checks: it needs another. stage2.server.memory: " + reason in " ".join(" ".join(lines).split())
