"""The command line behind `make check`, `make grade` and `make rubric`."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from .harness.build import KIT, STAGES
from .check import Spec
from .report import rubric, terminal
from .submission import BadSubmission, stage

PACKAGE = Path(__file__).parent


def main() -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="relaylab")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("check", "judge the work in this tree"), ("grade", "grade one submission")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--stage", type=_stage_number, default=None)
        command.add_argument("--out", type=Path, default=KIT / "build" / name)
        command.add_argument("--base", type=Path, default=None)
        command.add_argument("--only", default="")
        if name == "grade":
            command.add_argument("submission", nargs="?", type=Path, default=KIT / "solutions")
        else:
            command.add_argument("--source", type=Path, default=KIT)
            command.add_argument("--slow", action="store_true")
    commands.add_parser("rubric", help="write the points into the handouts")
    commands.add_parser("selftest", help="the kit's own tests")
    for name, text in (("demo", "a stage's programs in one narrated scene"), ("break", "the limit of a stage")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--stage", type=_stage_number, default=4)
        command.add_argument("--auto", action="store_true", help="do not wait for Enter")
    options = parser.parse_args()
    return {"check": _check, "grade": _grade, "rubric": _rubric, "selftest": _selftest,
            "demo": _demo, "break": _break}[options.command](options)


def _stage_number(text: str) -> int | None:
    if text in ("", "1", "2", "3", "4"):
        return int(text) if text else None
    raise argparse.ArgumentTypeError(f"STAGE={text}: it is 1, 2, 3 or 4")


def _check(options: argparse.Namespace) -> int:
    record = run(options.source, options.out, stage=options.stage, only=options.only,
                 quick=not options.slow, base=options.base)
    console = Console(highlight=False, soft_wrap=False)
    words = options.only.lower().replace("_", " ").split()
    if not any(all(w in _words_of(c) for w in words) for c in record["checks"]):
        console.print(f'No check has all the words "{options.only}". The handouts list the checks of each stage.')
        return 2
    terminal.summary(record, console)
    if any(c["verdict"] != "passed" for c in record["checks"]):
        return 1
    if not options.slow and not options.only:
        again = f" STAGE={options.stage}" if options.stage else ""
        console.print(f"\nAll of it passed. Left out: memory, races and what takes seconds. Now: make check SLOW=1{again}")
    return 0


def _words_of(check: dict) -> str:
    return f"{check['id']} {check['title']} {check['todo']}".lower().replace("_", " ")


def _grade(options: argparse.Namespace) -> int:
    out: Path = options.out
    staged = out / "submission"
    try:
        _stage_anew(options.submission, staged)
    except BadSubmission as error:
        print(f"grade: {error}", file=sys.stderr)
        return 2
    shutil.rmtree(out / "build", ignore_errors=True)
    record = run(staged, out, stage=options.stage, only=options.only, base=options.base,
                 name=str(options.submission.name),
                 rerun=f"make grade SUBMISSION={shlex.quote(str(options.submission))} ONLY=")
    console = Console(highlight=False, soft_wrap=False)
    terminal.summary(record, console)
    for number, name in STAGES.items():
        if not (staged / name).is_dir() and options.stage in (None, number):
            console.print(f"stage {number} is not in the submission ({name} has no .c files): 0 points")
    console.print(f"\nrecord: {out / 'record.json'}  ({record['seconds']:.1f} s)")
    print(f"score {record['score']:g}/{record['max_score']:g}")
    return 0


def _rubric(_options: argparse.Namespace) -> int:
    specs = all_specs()
    for number in STAGES:
        handout = KIT / "handouts" / f"stage{number}.md"
        handout.write_text(rubric.fill(handout, specs, number), encoding="utf-8")
    print(f"the rubrics of {len(specs)} checks are in handouts/stage1.md to stage4.md")
    return 0


def _selftest(_options: argparse.Namespace) -> int:
    return pytest.main([str(PACKAGE / "selftest"), "-p", "no:cacheprovider", "-q", "--durations=5",
                        "-c", str(PACKAGE / "pytest.ini"), "--rootdir", str(KIT)])


def _demo(options: argparse.Namespace) -> int:
    from . import demo
    return demo.play(options.stage, auto=options.auto)


def _break(options: argparse.Namespace) -> int:
    from . import demo
    return demo.show_limit(options.stage)


def all_specs() -> list[Spec]:
    """Every check of every stage, in the order of the record."""
    class Collected:
        specs: list[Spec] = []

        def pytest_collection_finish(self, session: pytest.Session) -> None:
            self.specs = [item.callspec.params["lab"] for item in session.items]  # type: ignore[attr-defined]

    found = Collected()
    pytest.main([str(PACKAGE / "checks"), "--collect-only", "-p", "no:terminal", "-p", "no:cacheprovider",
                 "-c", str(PACKAGE / "pytest.ini"), "--rootdir", str(KIT)], plugins=[found])
    return sorted(found.specs, key=lambda spec: spec.stage)


def _stage_anew(submission: Path, staged: Path) -> None:
    """Takes the submission's files to `staged`; what stood there goes only when that has worked."""
    inside = submission.resolve()
    if inside == staged.resolve() or staged.resolve() in inside.parents or staged.with_name("build").resolve() in (inside, *inside.parents):
        raise BadSubmission(f"{submission} lies where the grader puts its own files. Choose another OUT=.")
    staged.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=staged.parent) as new:
        stage(submission, Path(new) / "submission")
        shutil.rmtree(staged, ignore_errors=True)
        (Path(new) / "submission").rename(staged)


def run(source: Path, out: Path, *, stage: int | None = None, only: str = "", quick: bool = False,
        base: Path | None = None, name: str = "", rerun: str = "make check ONLY=") -> dict:
    """Runs the checks against the stage directories in `source`; returns the record."""
    arguments = [str(PACKAGE / "checks"), "-p", "no:terminal", "-p", "no:cacheprovider",
                 "-c", str(PACKAGE / "pytest.ini"), "--rootdir", str(KIT),
                 "--source", str(source.resolve()), "--out", str(out.resolve()), "--only", only,
                 "--name", name, "--rerun", rerun]
    arguments += ["--stage", str(stage)] if stage else []
    arguments += ["--base", str(base.resolve())] if base else []
    arguments += ["--quick"] if quick else []
    out.mkdir(parents=True, exist_ok=True)
    path = out.resolve() / "record.json"
    with open(out / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs in one directory would build into each other
        path.unlink(missing_ok=True)
        status = pytest.main(arguments)
    if not path.is_file():
        if status == pytest.ExitCode.NO_TESTS_COLLECTED:
            return {"checks": [], "score": 0, "max_score": 0, "seconds": 0}
        raise SystemExit(f"relaylab: the checks could not be run (pytest says {status!r})")
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
