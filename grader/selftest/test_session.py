"""Whose processors and whose terminal a submission uses."""

from __future__ import annotations

import os
import pty
import select
import shutil
import sys
from pathlib import Path

from grader.harness.build import KIT, Build
from grader.harness.lab import Lab
from grader.harness.program import Program

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
