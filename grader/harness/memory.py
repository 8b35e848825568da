"""Memory errors, leaks and races: runs a program under a tool and reads the tool's report.

Only what has a line of the student's code in it counts. A leak is what valgrind calls definitely
lost, with all that hangs on it; stacks of living threads ("possibly lost") are no leaks.
"""

from __future__ import annotations

import os
import re
import shutil
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from .lab import Lab
from .program import Program

MEMCHECK = ("--tool=memcheck", "--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite",
            "--max-stackframe=16777216")  # larger frames than 2 MB are taken for another stack; a thread has 8 MB
HELGRIND = ("--tool=helgrind",)
SLOWNESS = 8.0  # valgrind starts in 0.5 s here, in 2 s on a busy machine
TSAN_SLOWNESS = 4.0
# io_sync=0: by default TSan takes every send() and recv() for synchronisation, and so
# misses the races of a relay. Every key is set, because a program may bring its own defaults.
# detect_deadlocks=0: it is told of locks taken in both orders also where a third lock makes that harmless.
TSAN_OPTIONS = "io_sync=0:detect_deadlocks=0:report_signal_unsafe=0:report_bugs=1:exitcode=66:halt_on_error=0:suppressions=:log_path=stderr:color=never"

# The options for `Lab.server` and `Lab.client`. Leaks are valgrind's task.
ASAN = {"variant": "asan", "slowness": 3.0, "env": {
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1:abort_on_error=0:exitcode=67:color=never:log_path=stderr:allow_addr2line=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:color=never:log_path=stderr"}}
DIRTY = {"variant": "dirty", "env": {"MALLOC_PERTURB_": "170"}}  # mallopt(3), M_PERTURB


def valgrind(lab: Lab, options: tuple[str, ...]) -> dict:
    """The options that make `Lab.server` and `Lab.client` run the program under valgrind."""
    if not shutil.which("valgrind"):
        pytest.skip("Not reached: valgrind is not installed.")
    report = Path(lab.logs) / f"valgrind-{lab.stage}-{len(lab.programs)}-{os.urandom(4).hex()}.xml"
    tool = ("valgrind", *options, "--xml=yes", f"--xml-file={report}", "--num-callers=24",
            "--fair-sched=try", "--child-silent-after-fork=yes")
    return {"tool": tool, "slowness": SLOWNESS}


def findings(lab: Lab, program: Program) -> list[str]:
    """One sentence for each error in the report of an ended program. Fails without a whole report.

    One lost block, with all that hangs on it, is no leak: a server may lose once what it has made at its start, and what a
    client's main() holds until it returns, getline()'s buffer perhaps, is lost then. What is lost with each client or each
    message is lost more than once: the conversation has each of them twice.
    """
    if lab.held:  # for a debugger, without the tool
        return []
    option = next(word for word in program.process.args if word.startswith("--xml-file="))
    path = Path(option.partition("=")[2])
    lab.files.append(path)
    try:
        root = xml.parse(path).getroot()
    except (OSError, xml.ParseError):
        lab.fail("valgrind's report is incomplete: the program was replaced or killed before its end.")
    counted = (error for error in root.iter("error") if error.findtext("xwhat/leakedblocks") != "1")
    stages = re.compile(_stages(lab))
    sentences = [_sentence(error, stages) for error in counted]
    return list(dict.fromkeys(s for s in sentences if s))


_KINDS = {
    "InvalidRead": "reads memory that is not its own",
    "InvalidWrite": "writes to memory that is not its own",
    "InvalidFree": "frees memory twice, or memory that was never allocated",
    "MismatchedFree": "frees memory with the wrong function",
    "UninitCondition": "decides by a value that was never set",
    "UninitValue": "uses a value that was never set",
    "SyscallParam": "hands memory that was never set, or is not its own, to a system call",
    "Overlap": "copies memory onto itself with memcpy()",
    "Leak_DefinitelyLost": "loses memory that nothing points to any more",
    "Race": "has a data race: two threads use the same memory without a common lock",
    "LockOrder": "takes two locks in different orders, which can end in a deadlock",
}


def _sentence(error: xml.Element, stages: re.Pattern[str]) -> str:
    kind = error.findtext("kind", "")
    if kind.startswith("Leak_") and kind not in _KINDS or _is_harmless(error):
        return ""
    words = _KINDS.get(kind, f"does something that valgrind calls {kind}")
    stacks = [_first_frame(stack, stages) for stack in error.iter("stack")]
    if kind in ("InvalidRead", "InvalidWrite") and " free'd" in error.findtext("auxwhat", "") and all(stacks[:2]):
        return f"{stacks[0]} {_ASAN_KINDS['heap-use-after-free']}; {stacks[1]} freed it."
    size = error.findtext("xwhat/leakedbytes")
    first = next(filter(None, stacks), "")
    return f"{first} {words}" + (f" ({size} bytes)." if size else ".") if first else ""


def _first_frame(stack: xml.Element, stages: re.Pattern[str]) -> str:
    """The first line of the student's code in a stack, or nothing."""
    for frame in stack.iter("frame"):
        if stages.match(frame.findtext("dir", "")):
            return f"{frame.findtext('fn')}() at {Path(frame.findtext('dir', '')).name}/{frame.findtext('file')}:{frame.findtext('line')}"
    return ""


def _is_harmless(error: xml.Element) -> bool:
    """True for two calls of right programs of which valgrind complains.

    recv(fd, NULL, n, MSG_TRUNC) throws away what has come (tcp(7)): no memory is used. And what is written to a file or a
    pipe may have padding, which nobody sets. From a socket of the network the peer would get what nobody has set; that one
    is written to by the instrument's socket_write().
    """
    what = error.findtext("what", "")
    thrown_away = "recvfrom(buf)" in what and error.findtext("auxwhat", "").startswith("Address 0x0 ")
    to_socket = any(frame.findtext("fn") == "socket_write" for frame in error.iter("frame"))
    return thrown_away or ("write(buf) points to uninitialised" in what and not to_socket)


_ASAN_KINDS = {
    "stack-buffer-overflow": "goes past the end of an array",
    "heap-buffer-overflow": "goes past the end of memory from malloc()",
    "global-buffer-overflow": "goes past the end of a global array or of a text in quotes",
    "stack-buffer-underflow": "goes before the beginning of an array",
    "dynamic-stack-buffer-overflow": "goes past the end of an array",
    "heap-use-after-free": "uses memory after it was freed",
    "stack-use-after-return": "uses a local variable of a function that has returned",
    "stack-use-after-scope": "uses a local variable outside the block in which it lives",
    "attempting double-free": "frees memory twice",
    "SEGV": "uses an address that is not its own (a null pointer, perhaps)",
    "negative-size-param": "gives a negative number as a size",
    "stack-overflow": "needs more stack than a thread has",
}


def asan_findings(lab: Lab, program: Program) -> list[str]:
    """One sentence for each report of AddressSanitizer or UBSan with a line of the student's code."""
    text = program.errors.decode("utf-8", "replace")
    source = _stages(lab)
    found = [f"at {m[1]} this happens: {m[2]}." for m in re.finditer(rf"{source}(\S+?:\d+):\d+: runtime error: (.*)", text)]
    for report in re.split(r"ERROR: AddressSanitizer: ", text)[1:]:
        frame = re.search(rf"#\d+ \S+ in (\S+) {source}(\S+?:\d+)", report)
        name = report.split(" ")[0].rstrip(":")
        kind = next((words for begin, words in _ASAN_KINDS.items() if report.startswith(begin)), f"has what AddressSanitizer calls {name}")
        freed = re.search(rf"#\d+ \S+ in (\S+) {source}(\S+?:\d+)", report.partition("freed by thread")[2].partition("allocated by")[0])
        by = f"; {freed[1]}() at {freed[2]} freed it" if freed else ""
        found.append(f"{frame[1]}() at {frame[2]} {kind}{by}." if frame else f"something {kind}{by}.")
    return found


def _stages(lab: Lab) -> str:
    """What the path of a student's file begins with, up to the stage's directory, as a regular expression.

    The source may be the kit itself, and then holds the instrument and the solutions, too.
    """
    return rf"{re.escape(str(lab.build.source))}/(?=stage\d_)"


def tsan_findings(lab: Lab, program: Program) -> list[str]:
    """One sentence for each report of ThreadSanitizer with a line of the student's code."""
    text = program.errors.decode("utf-8", "replace")
    if "unexpected memory mapping" in text:
        pytest.skip("Not reached: ThreadSanitizer cannot start on this machine.")
    sentences = []
    for report in text.split("WARNING: ThreadSanitizer: ")[1:]:
        frame = re.search(rf"#\d+ (\S+) {_stages(lab)}(\S+?:\d+)", report)
        # What the C library does with memory of its own is its own business; a call that is replaced, memcpy() say, is not in it.
        if frame and "(libc.so" not in report[: frame.start()]:
            kind = report.splitlines()[0].partition(" (pid")[0]
            words = _KINDS["Race"] if kind == "data race" else f"has what ThreadSanitizer calls a {kind}"
            sentences.append(f"{frame[1]}() at {frame[2]} {words}.")
    return list(dict.fromkeys(sentences))
