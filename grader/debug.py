"""make debug: the student's program under gdb, with the check's peer at the other end.

The check runs as always, but without deadlines and without a tool such as valgrind, and the first program
of its role (server or client) halts before main() until gdb has come. What the program prints is shown by
`make check`; here it goes to the check, as it would there.
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
from .harness.speed import patience
from .session import check_function, unknown

NO_DEADLINES = 1e6  # times the usual patience


def start(id: str, source: Path, base: Path | None = None) -> int:
    """Runs gdb on the first program of the check's role; returns the exit status."""
    found = check_function(id)
    if found is None:
        print(unknown(id))
        return 2
    if not shutil.which("gdb"):
        print("make debug needs gdb: sudo apt-get install gdb")
        return 3
    function, spec = found
    out = KIT / "build" / "debug"
    out.mkdir(parents=True, exist_ok=True)
    role = spec.id.split(".")[1]
    lab = Lab(spec.stage, Build(source.resolve(), out / "build", base.resolve() if base else None), NO_DEADLINES, logs=str(out), traced=True, held=role)
    verdict: list[str] = []
    check = threading.Thread(target=_play, args=(function, lab, verdict), daemon=True)
    check.start()
    program = _halted(lab, verdict)
    if program is None:
        print(verdict[0])
        return 1
    without = f"It runs without {lab.without}, so that gdb can see it.\n" if lab.without else ""
    print(f"{spec.title}\nThe {role} halts where main() begins; the check waits at the other end, as long as you like.\n{without}"
          f"In gdb: break {role}.c:LINE, continue, next, print VARIABLE, backtrace; quit ends it all.\n", flush=True)
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to gdb
    try:
        subprocess.run(_gdb(program.pid, out), check=False)
        if not program.alive():  # it ran to its end; what the check still does has its deadlines again
            lab.patience = patience()
            check.join()
    finally:
        signal.signal(signal.SIGINT, previous)
        _end(lab)
    print("\n".join(verdict) or "The check was still waiting.")
    return 0


def _gdb(pid: int, out: Path) -> list[str]:
    """RELAYLAB_GDB may name another gdb, or options, for an editor or a test.

    What gdb says of the place where the program halts goes to a file: that place is in the C library, whose source
    gdb does not find, and a beginner would take that for an error. Only why it could not attach is shown.
    """
    log, quiet, loud = (out / name for name in ("gdb.log", "quiet.gdb", "loud.gdb"))
    log.unlink(missing_ok=True)
    quiet.write_text(f"set logging file {log}\nset logging redirect on\nset logging enabled on\n", encoding="utf-8")
    loud.write_text("handle SIGSTOP nostop noprint nopass\n"
                    "handle SIGXCPU nostop noprint pass\n"  # by which a check ends a program that a tool watches
                    "set logging enabled off\n", encoding="utf-8")
    return [*shlex.split(os.environ.get("RELAYLAB_GDB", "gdb -q")), "-x", str(quiet), "-ex", f"attach {pid}", "-x", str(loud),
            "-ex", f"shell grep -hs ptrace {shlex.quote(str(log))}", "-ex", "break main", "-ex", "continue"]


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


def _halted(lab: Lab, verdict: list[str]) -> Program | None:
    """The program that halts, or None if the check ended first."""
    while not verdict:
        for program in list(lab.programs):
            if program.role == lab.held and program.alive() and kernel.state(program.pid) == "T":
                return program
        time.sleep(0.01)
    return None


def _end(lab: Lab) -> None:
    for program in lab.programs:
        try:
            os.killpg(program.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if program.instrument:
            program.instrument.close()
