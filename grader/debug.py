"""make debug: the student's program under gdb, with the check's peer at the other end.

The check runs as always, but without deadlines, and its program halts before main() until gdb has
come. What the program prints is shown by `make check`; here it goes to the check, as it would there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from .harness import kernel
from .harness.build import KIT, Build
from .harness.lab import Lab
from .harness.program import Program
from .session import check_function, similar

NO_DEADLINES = 1e6  # times the usual patience


def start(id: str, source: Path) -> int:
    """Runs gdb on the first program that the check starts; returns the exit status."""
    found = check_function(id)
    if found is None:
        print(f'There is no check "{id}".{similar(id)} handouts/checks.md lists them all.')
        return 2
    if not shutil.which("gdb"):
        print("make debug needs gdb: sudo apt-get install gdb")
        return 3
    function, spec = found
    out = KIT / "build" / "debug"
    out.mkdir(parents=True, exist_ok=True)
    lab = Lab(spec.stage, Build(source.resolve(), out / "build"), NO_DEADLINES, logs=str(out), traced=True, held=True)
    verdict: list[str] = []
    threading.Thread(target=_play, args=(function, lab, verdict), daemon=True).start()
    program = _first_program(lab, verdict)
    if program is None:
        print(verdict[0])
        return 1
    print(f"{spec.title}\nThe {program.role} halts before main(); the check waits at the other end, as long as you like.\n"
          "In gdb: break server.c:40, continue, next, print len, backtrace; quit ends it all.\n")
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to gdb
    try:
        subprocess.run([*_gdb(), "-p", str(program.pid)], check=False)
    finally:
        signal.signal(signal.SIGINT, previous)
        _end(lab)
    print("\n".join(verdict) or "The check was still waiting.")
    return 0


def _gdb() -> list[str]:
    """RELAYLAB_GDB may name another gdb, or options, for an editor or a test."""
    return [*shlex.split(os.environ.get("RELAYLAB_GDB", "gdb -q")), "-ex", "handle SIGSTOP nostop noprint nopass",
            "-ex", "break main", "-ex", "continue"]


def _play(function, lab: Lab, verdict: list[str]) -> None:
    try:
        function(lab)
        lab.finish()
    except (pytest.fail.Exception, pytest.skip.Exception) as result:
        verdict.append(f"The check says: {result.msg}")
    except Exception as error:  # the programs were ended under its hands
        verdict.append(f"The check was ended ({type(error).__name__}).")
    else:
        verdict.append("The check has passed.")


def _first_program(lab: Lab, verdict: list[str]) -> Program | None:
    """The program that halts, or None if the check ended first."""
    while not verdict:
        for program in list(lab.programs):
            if program.alive() and kernel.state(program.pid) == "T":
                return program
        time.sleep(0.01)
    return None


def _end(lab: Lab) -> None:
    for program in lab.programs:
        try:
            os.killpg(program.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
