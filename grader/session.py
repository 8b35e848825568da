"""Runs the checks with pytest: the one place that knows its command line."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import termios
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import pytest

from .advice import advice
from .check import Spec
from .compilers import compiler_warnings
from .diagnosis import likely_mistake
from .execution import Choice, Run, words_of
from .harness.build import KIT, STAGES
from .harness.lab import Lab
from .report.drawing import draw

PACKAGE = Path(__file__).parent
_PYTEST = ["-p", "no:cacheprovider", "-c", str(PACKAGE / "pytest.ini"), "--rootdir", str(KIT)]
_CHECKS = [str(PACKAGE / "checks"), *_PYTEST, "--assert=plain", "-p", "no:terminal"]  # a check speaks by Failed: nothing to rewrite


def selftest(arguments: list[str]) -> int:
    """Runs the kit's own tests; returns pytest's exit status."""
    return pytest.main([str(PACKAGE / "selftest"), *_PYTEST, "-q", "--durations=5", *arguments])


def all_specs() -> list[Spec]:
    """Every check of every stage, in the order of the record."""
    return sorted((spec for _function, spec in _checks()), key=lambda spec: spec.stage)


def check_function(id: str) -> tuple[Callable[[Lab], None], Spec] | None:
    """The function of a check and its Spec; None if there is no such check."""
    return next((pair for pair in _checks() if pair[1].id == id), None)


def unknown(id: str) -> str:
    """What to say about an id that no check has."""
    if not id:
        return "Which check? Say CHECK= and its id, which stands below each failure."
    ids = [spec.id for spec in all_specs()]
    near = [other for other in ids if other.startswith(id)][:3] or get_close_matches(id, ids, 3, 0.5)
    meant = f" Do you mean {' or '.join(near)}?" if near else ""
    return f'There is no check "{id}".{meant} handouts/checks.md lists them all.'


def unknown_words(only: str, stage: int | None = None) -> str:
    """What to say about words that name no check of this stage, or of any, together."""
    specs = all_specs()
    if elsewhere := sorted({spec.stage for spec in specs if Choice(only=only).names(spec)}):
        return f'No check of stage {stage} is named by "{only}"; stage {" and ".join(map(str, elsewhere))} has one.'
    known = {word for spec in specs for word in words_of(spec).split()}
    meant = " ".join(word if any(word in other for other in known) else (get_close_matches(word, known, 1) or [word])[0]
                     for word in only.lower().replace("_", " ").split())
    question = f' Do you mean "{meant}"?' if any(Choice(only=meant).names(spec) and stage in (None, spec.stage) for spec in specs) else ""
    return f'No check has all the words "{only}".{question} handouts/checks.md lists them all.'


@cache
def _checks() -> tuple[tuple[Callable[[Lab], None], Spec], ...]:
    class Collected:
        found: tuple = ()

        def pytest_collection_finish(self, session: pytest.Session) -> None:
            self.found = tuple((item.obj, item.callspec.params["lab"]) for item in session.items)  # type: ignore[attr-defined]

    collected = Collected()
    pytest.main([*_CHECKS, "--collect-only"], plugins=[collected])
    return collected.found


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Makes `out`, and lets one grading at a time work in it: the next one waits. A process that ends gives the lock back (flock(2))."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(source: Path, out: Path, choice: Choice = Choice(), *, base: Path | None = None, name: str = "",
        rerun: str = "make check ONLY=") -> dict:
    """Runs the checks against the stage directories in `source`; returns the record, also in out/record.json.

    `rerun` is the command that runs one check again, without its id. A check that failed is
    run again. What was not judged when the run was interrupted stays "not run".
    """
    # Many checks run side by side, each with many peers: more descriptors than a shell gives.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    leave_terminal()
    out.mkdir(parents=True, exist_ok=True)
    path = out.resolve() / "record.json"
    plan = Run(source.resolve(), out.resolve(), choice, base.resolve() if base else None, name or str(source), rerun)
    path.unlink(missing_ok=True)
    with ThreadPoolExecutor(1) as beside:
        counsel = beside.submit(_counsel, source, choice)
        status = pytest.main(_CHECKS, plugins=[plan])
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        return {"checks": [], "score": 0, "max_score": 0, "seconds": 0}
    if not path.is_file():
        raise SystemExit(f"relaylab: the checks could not be run (pytest says {status!r})")
    record = json.loads(path.read_text(encoding="utf-8"))
    # A pattern takes more than the checks that were picked by name.
    record["likely"], record["advice"] = None if choice.only else likely_mistake(record), counsel.result()
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8", errors="backslashreplace")
    _draw(record, out / "drawings")
    return record


def leave_terminal() -> None:
    """Gives up the controlling terminal, so that no submission reads or types there (tty_ioctl(4), TIOCNOTTY).

    What is printed still comes out and Ctrl-C still comes in: they go by descriptors and by process groups.
    """
    if os.getsid(0) == os.getpid():
        return  # the leader of a session would take it from all the others
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return  # there is none
    fcntl.ioctl(terminal, termios.TIOCNOTTY)
    os.close(terminal)


def _counsel(source: Path, choice: Choice) -> list[dict]:
    """Advice on the stages that were asked for; none when it was for single checks."""
    stages = [choice.stage] if choice.stage else list(STAGES)
    if choice.only:
        return []
    try:
        found = [*advice(source), *compiler_warnings(source, stages)]
    except Exception as error:  # it reads what strangers wrote; it must not cost the result
        return [{"file": "-", "line": 0, "row": "-", "text": f"the source could not be looked at ({type(error).__name__})"}]
    return [one for one in found if any(one["file"].startswith(STAGES[number]) for number in stages)]


def _draw(record: dict, directory: Path) -> None:
    """Writes a sequence drawing of each failed check, and nothing of an earlier run stays."""
    shutil.rmtree(directory, ignore_errors=True)
    for check in record["checks"]:
        if check["events"]:
            directory.mkdir(exist_ok=True)
            (directory / f"{check['id']}.svg").write_text(draw(check), encoding="utf-8")
