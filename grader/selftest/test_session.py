"""Whose processors, whose terminal and whose directory a grading uses, and what is left of one that is interrupted."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from grader.harness.build import KIT, Build
from grader.harness.lab import Lab
from grader.harness.program import Program
from grader.session import alone_in

LEAVES = """
import signal, subprocess
from grader.session import leave_terminal

def has_terminal():
    return subprocess.run(["sh", "-c", "exec < /dev/tty"], stderr=subprocess.DEVNULL).returncode == 0

signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
before = has_terminal()
leave_terminal()
print("before", before, "after", has_terminal(), flush=True)
signal.sigwait({signal.SIGINT})
print("interrupted")
"""
LONGEST = 30  # seconds


def test_a_program_has_a_group_of_its_own_and_no_session(tmp_path: Path) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    lab.programs.append(program := Program(lab, "client", shutil.which("sleep"), ("60",)))
    assert os.getpgid(program.pid) == program.pid and os.getsid(program.pid) == os.getsid(0)
    lab.close()


def test_who_grades_leaves_the_terminal_and_can_still_print_and_be_interrupted() -> None:
    pid, screen = pty.fork()
    if pid == 0:  # the shell leads the session, as in a terminal
        os.chdir(KIT)
        os.execv("/bin/sh", ["sh", "-c", 'trap : INT; "$0" -c "$1"; :', sys.executable, LEAVES])
    shown = _until(screen, b"\n")
    os.write(screen, b"\x03")
    shown += _until(screen, b"interrupted")
    os.close(screen)
    os.waitpid(pid, 0)
    assert b"before True after False" in shown and b"interrupted" in shown


def _until(screen: int, end: bytes) -> bytes:
    """What appears there, up to `end`, or all if that never comes."""
    shown = b""
    while end not in shown and select.select([screen], [], [], LONGEST)[0]:
        try:
            shown += os.read(screen, 1000)
        except OSError:  # EIO: everybody has left
            break
    return shown


def _grading(out: Path, *options: str) -> subprocess.Popen[str]:
    """`make grade` of the reference; Ctrl-C ends it, also where the tests run in the background, which does not listen to it."""
    return subprocess.Popen(["env", "--default-signal=INT,TERM,HUP", sys.executable, "-m", "grader", "grade", "--out", str(out), *options],
                            cwd=KIT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _until_true(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _at_work_in(build: Path) -> list[bytes]:
    """The commands of all processes that name the directory: programs, tools around them, compilers."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            commands.append((process / "cmdline").read_bytes())
        except OSError:
            continue  # it has ended
    return [command for command in commands if bytes(build) in command]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_interrupted_grading_is_no_result(tmp_path: Path, number: signal.Signals) -> None:
    def verdicts() -> set[str]:
        record = tmp_path / "record.json"
        return {check["verdict"] for check in json.loads(record.read_text())["checks"]} if record.is_file() else set()

    grading = _grading(tmp_path)
    _until_true(lambda: "passed" in verdicts() and _at_work_in(tmp_path / "build") != [])
    grading.send_signal(number)
    _output, errors = grading.communicate(timeout=LONGEST)
    assert grading.returncode == 3 and "this is no result" in errors, errors
    assert verdicts() >= {"passed", "not run"}, "what was judged stays"
    assert _at_work_in(tmp_path / "build") == [], "what was started has ended"


def test_a_second_grading_in_one_directory_waits_before_it_touches_anything(tmp_path: Path) -> None:
    first = tmp_path / "submission" / "stage1_echo" / "server.c"
    first.parent.mkdir(parents=True)
    first.write_text("of the first")
    with alone_in(tmp_path):
        second = _grading(tmp_path, "--stage", "1", "--only", "stage1.server.basic")
        _until_true(lambda: re.search(rf"-> FLOCK .* {second.pid} ", Path("/proc/locks").read_text()) is not None)
        assert first.read_text() == "of the first"
    _output, errors = second.communicate(timeout=LONGEST)
    assert second.returncode == 0 and first.read_text() != "of the first", errors
