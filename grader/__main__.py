"""The command line behind the Makefile: check, grade, hint, debug, texts, selftest, matrix, soak, demo, break."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from . import texts
from .execution import Choice
from .harness.build import KIT, STAGES
from .report import terminal
from .session import alone_in, check_function, run, selftest, unknown, unknown_words
from .submission import BadSubmission, stage


MOST_TIMES = 100
INTERRUPTED = 128 + signal.SIGINT  # as a shell says it (bash(1), EXIT STATUS)


def main() -> int:
    """Runs the command; returns the exit status."""
    parser = _Parser(prog="relaylab")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("check", help="judge the work in this tree")
    _choice_options(command)
    command.add_argument("--source", type=Path, default=KIT)
    command.add_argument("--slow", action="store_true")
    command = commands.add_parser("grade", help="grade one submission")
    _choice_options(command)
    command.add_argument("submission", nargs="?", type=Path, default=KIT / "solutions")
    for name, text in (("hint", "the next hint of a check"), ("debug", "run a check's program under gdb")):
        command = commands.add_parser(name, help=text)
        command.add_argument("check")
        command.add_argument("--source", type=Path, default=KIT)
        command.add_argument("--base", type=Path, default=None)
    commands.add_parser("texts", help="write the points into the handouts, and the catalogue of checks")
    commands.add_parser("selftest", help="the kit's own tests").add_argument("arguments", nargs="*")
    command = commands.add_parser("matrix", help="every mutant and variant against the checks")
    command.add_argument("--runs", type=int, default=1)
    command.add_argument("--load", type=int, default=0)
    command.add_argument("--only", default="")
    command = commands.add_parser("soak", help="repeat gradings and print every verdict that differed")
    command.add_argument("--runs", type=int, default=10)
    command.add_argument("--load", type=int, default=0)
    for name, text in (("demo", "a stage's programs in one narrated scene"), ("break", "the limit of a stage")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--stage", type=_stage_number, default=4)
        command.add_argument("--auto", action="store_true", help="do not wait for Enter")
    options = parser.parse_args()
    return {"check": _check, "grade": _grade, "hint": _hint, "debug": _debug, "texts": _texts, "selftest": _selftest,
            "matrix": _matrix, "soak": _soak, "demo": _demo, "break": _break}[options.command](options)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with make's variables in one line; the options themselves are nobody's business."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"relaylab: {re.sub(r'^argument --[^:]*: ', '', message)}\n")


def _choice_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--stage", type=_stage_number, default=None)
    command.add_argument("--only", default="")
    command.add_argument("--times", type=_times, default=1)
    command.add_argument("--out", type=_out, default=None)
    command.add_argument("--base", type=Path, default=None)


def _stage_number(text: str) -> int | None:
    if text in ("", "1", "2", "3", "4"):
        return int(text) if text else None
    raise argparse.ArgumentTypeError(f"STAGE={text}: it is 1, 2, 3 or 4")


def _out(text: str) -> Path:
    if re.search(r"[\s:%#$]", str(path := Path(text).resolve())):
        raise argparse.ArgumentTypeError(f"OUT={path}: make cannot build in a path with a blank or one of : % # $. Choose another one")
    return Path(text)


def _times(text: str) -> int:
    if text == "":
        return 1
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_TIMES:
        return int(text)
    raise argparse.ArgumentTypeError(f"TIMES={text}: it is a number from 1 to {MOST_TIMES}")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=False)


def _check(options: argparse.Namespace) -> int:
    choice = Choice(options.stage, options.only, quick=not options.slow, times=options.times)
    out: Path = options.out or KIT / "build" / "check"
    with alone_in(out):
        record = run(options.source, out, choice, base=options.base, rerun=f"make check{_base(options)} ONLY=")
    console = _console()
    if _nothing_named(options, record, console):
        return 2
    terminal.summary(record, console)
    if any(c["verdict"] != "passed" for c in record["checks"]):
        return 1
    if choice.quick and not choice.only:
        again = f" STAGE={options.stage}" if options.stage else ""
        console.print(f"\nAll of it passed. Left out: memory, races and what takes seconds. Now:\n\n    make check SLOW=1{again}")
    return 0


def _grade(options: argparse.Namespace) -> int:
    out: Path = options.out or KIT / "build" / "grade"
    try:
        _keep_apart(options.submission, out)
        with alone_in(out):
            return _grade_in(out, options)
    except BadSubmission as error:
        print(f"grade: {error}", file=sys.stderr)
        return 2


def _grade_in(out: Path, options: argparse.Namespace) -> int:
    _stage_anew(options.submission, out / "submission")
    shutil.rmtree(out / "build", ignore_errors=True)
    rerun = f"make grade SUBMISSION={shlex.quote(str(_from_here(options.submission)))}{_base(options)} ONLY="
    record = run(out / "submission", out, Choice(options.stage, options.only, times=options.times), base=options.base,
                 name=options.submission.name, rerun=rerun)
    console = _console()
    if _nothing_named(options, record, console):
        return 2
    terminal.summary(record, console)
    for number, name in STAGES.items():
        if not (out / "submission" / name).is_dir() and options.stage in (None, number):
            console.print(f"stage {number} is not in the submission ({name} has no .c files): 0 points")
    drawings = f", drawings: {out / 'drawings'}" if (out / "drawings").is_dir() else ""
    print(f"\nrecord: {out / 'record.json'}{drawings}  ({record['seconds']:.1f} s)")
    print(f"score {record['score']:g}/{record['max_score']:g}")
    verdicts = [check["verdict"] for check in record["checks"]]
    if unfinished := verdicts.count("not run"):
        print(f"relaylab: the grading was interrupted, and {unfinished} checks were not run: this is no result. Grade again.", file=sys.stderr)
    return 3 if unfinished or "grader error" in verdicts else 0


def _nothing_named(options: argparse.Namespace, record: dict, console: Console) -> bool:
    """Says so if ONLY= names no check."""
    nothing = bool(options.only) and not any(c["named"] for c in record["checks"])
    if nothing:
        one = options.only.startswith("stage") and " " not in options.only and not check_function(options.only)
        console.print(Text(unknown(options.only) if one else unknown_words(options.only, options.stage)), soft_wrap=True)
    return nothing


def _base(options: argparse.Namespace) -> str:
    """What a command that is to be run again says of the base, if it is not the tree itself."""
    return f" BASE={shlex.quote(str(_from_here(options.base)))}" if options.base else ""


def _from_here(path: Path) -> Path:
    """The same path, as short as it can be given here: what lies below the current directory is named from there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _keep_apart(submission: Path, out: Path) -> None:
    """What the grader replaces must not be, or hold, the submission."""
    inside = (submission.resolve(), *submission.resolve().parents)
    if (out / "submission").resolve() in inside or (out / "build").resolve() in inside:
        raise BadSubmission(f"{submission} lies where the grader puts its own files. Choose another OUT=.")


def _stage_anew(submission: Path, staged: Path) -> None:
    """Takes the submission's files to `staged`; what stood there goes only when that has worked."""
    with tempfile.TemporaryDirectory(dir=staged.parent) as new:
        stage(submission, Path(new) / "submission")
        shutil.rmtree(staged, ignore_errors=True)
        (Path(new) / "submission").rename(staged)


def _hint(options: argparse.Namespace) -> int:
    from . import hint
    return hint.show_next(options.check, KIT / "build" / "hints.json", KIT / "build" / "check" / "record.json")


def _debug(options: argparse.Namespace) -> int:
    from . import debug
    return debug.start(options.check, options.source, options.base)


def _texts(_options: argparse.Namespace) -> int:
    for path, text in texts.generated().items():
        path.write_text(text, encoding="utf-8")
        print(f"written: {path.relative_to(KIT)}")
    return 0


def _selftest(options: argparse.Namespace) -> int:
    return selftest(options.arguments)


def _matrix(options: argparse.Namespace) -> int:
    from .selftest import matrix
    return matrix.make(options.runs, options.load, options.only)


def _soak(options: argparse.Namespace) -> int:
    from .selftest import soak
    return soak.soak(options.runs, options.load)


def _demo(options: argparse.Namespace) -> int:
    from . import demo
    return demo.play(options.stage, auto=options.auto)


def _break(options: argparse.Namespace) -> int:
    from . import demo
    return demo.show_limit(options.stage)


def _stop_as_by_ctrl_c() -> None:
    """Who is told to end, or whose terminal is closed, ends the programs that it has started first, as at Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup(1)
            signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    _stop_as_by_ctrl_c()
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
