"""The calls of a student's program, as the instrument has noted them, for people to read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .instrument import Call, source_lines
from .wire import count, show

if TYPE_CHECKING:
    from .lab import Event
    from .program import Program

MOVES_BYTES = ("recv", "read", "recvmsg", "send", "write", "sendmsg")
SHOWN = (*MOVES_BYTES, "accept", "connect", "close", "shutdown")


def events(program: Program, started: float) -> list[Event]:
    """The ended calls that moved bytes or changed connections; times count from `started`."""
    from .lab import Event
    calls = [c for c in _calls(program) if c.function in SHOWN and c.ended]
    threads = thread_numbers(program)  # of a later moment: a busy program may have pushed old calls out
    lines = source_lines(Path(program.path), {call.address for call in calls})
    return [Event(round(call.ended - started, 6), f"your {program.role}", _words(call), show(call.data) if call.data else "",
                  max(call.result, 0) if call.function in MOVES_BYTES else 0, "", threads.get(call.thread, 0) or 1, lines.get(call.address, ""))
            for call in calls]


def thread_numbers(program: Program) -> dict[int, int]:
    """The threads' kernel ids as small numbers; 1 is the first thread."""
    seen = dict.fromkeys([program.pid, *(call.thread for call in _calls(program))])
    return {thread: number for number, thread in enumerate(seen, 1)}


def lasting(program: Program) -> dict[int, tuple[str, str]]:
    """By thread id: the call that has begun and not ended, and its line of the source."""
    calls = [call for call in _calls(program) if not call.ended]
    lines = source_lines(Path(program.path), {call.address for call in calls})
    return {call.thread: (call.function, lines.get(call.address, "")) for call in calls}


def _calls(program: Program) -> list[Call]:
    return program.instrument.calls() if program.instrument else []


def _words(call: Call) -> str:
    name = f"{call.function}()"
    if call.error:
        return f"{name} failed: {call.error}{' (injected)' if call.fault else ''}"
    if call.function in MOVES_BYTES:
        cut = " (made short)" if call.fault else ""
        at_end = call.result == 0 and call.function in ("recv", "read", "recvmsg")
        return f"{name} returned 0: the end" if at_end else f"{name} moved {count(call.result)}{cut}"
    if call.function == "accept":
        return f"{name} returned descriptor {call.result}"
    return f"{name} of descriptor {call.fd}"
