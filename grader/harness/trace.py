"""The calls of a student's program, as the instrument has noted them, for people to read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .instrument import CALLS, Call, source_lines
from .wire import count, show

if TYPE_CHECKING:
    from .lab import Event
    from .program import Program

RECEIVES = ("recv", "read", "recvmsg")
MOVES_BYTES = (*RECEIVES, "send", "write", "sendmsg")
SHOWN = (*MOVES_BYTES, "accept", "connect", "close", "shutdown")
BEFORE_A_CONNECTION = ("bind", "listen")  # no news once somebody has connected


def events(program: Program, started: float) -> list[Event]:
    """The ended calls that moved bytes or changed connections; times count from `started`."""
    from .lab import Event
    noted = calls(program)
    hidden = _bookkeeping(noted)
    shown = [c for c in noted if c.ended and c.began >= hidden and _is_shown(c, bool(program.peers))]
    threads = thread_numbers(program)  # of a later moment: a busy program may have pushed old calls out
    lines = source_lines(Path(program.path), {call.address for call in shown})
    return [Event(round(call.ended - started, 6), f"your {program.role}", _words(call), show(call.data) if call.data else "",
                  max(call.result, 0) if call.function in MOVES_BYTES else 0, "", threads.get(call.thread, 0) or 1, lines.get(call.address, ""))
            for call in shown]


def _is_shown(call: Call, connected: bool) -> bool:
    if call.function in SHOWN:
        return True
    return call.function in BEFORE_A_CONNECTION and not connected or call.function in (*BEFORE_A_CONNECTION, "socket") and bool(call.error)


def _bookkeeping(noted: list[Call]) -> float:
    """When what matters begins: the given net_init() closes a descriptor before there is any socket."""
    if len(noted) >= CALLS:
        return 0.0  # the beginning is lost
    return next((c.began for c in noted if c.function != "close" or c.error), float("inf"))


def thread_numbers(program: Program) -> dict[int, int]:
    """The threads' kernel ids as small numbers; 1 is the first thread."""
    seen = dict.fromkeys([program.pid, *(call.thread for call in calls(program))])
    return {thread: number for number, thread in enumerate(seen, 1)}


def lasting(program: Program) -> dict[int, tuple[str, str]]:
    """By thread id: the call that has begun and not ended, and its line of the source."""
    noted = [call for call in calls(program) if not call.ended]
    lines = source_lines(Path(program.path), {call.address for call in noted})
    return {call.thread: (call.function, lines.get(call.address, "")) for call in noted}


def calls(program: Program) -> list[Call]:
    """All calls that are noted, in the order in which they began."""
    return program.instrument.calls() if program.instrument else []


def outcome(call: Call) -> str:
    """What a call brought: "recv(4) returned 0"."""
    name = f"{call.function}({call.fd if call.fd >= 0 else ''})"
    return f"{name} failed with {call.error}" if call.error else f"{name} returned {call.result}"


def _words(call: Call) -> str:
    """The call with its descriptor, because a wrong one explains most failures."""
    name = f"{call.function}({call.fd if call.function != 'socket' else ''})"
    if call.function in ("bind", "connect") and call.asked:
        name += f" to port {call.asked}"
    if call.function == "listen":
        name += f" with backlog {call.asked}"
    if call.error:
        return f"{name} failed: {call.error}{' (injected)' if call.fault else ''}"
    if call.function in MOVES_BYTES:
        cut = " (made short)" if call.fault else ""
        at_end = call.result == 0 and call.function in RECEIVES and call.asked
        return f"{name} returned 0: the end" if at_end else f"{name} moved {count(call.result)}{cut}"
    return f"{name} returned descriptor {call.result}" if call.function == "accept" else name
