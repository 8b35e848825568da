"""Memory errors, leaks and races, each found in one run with a real workload."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest

from grader.check import check
from grader.checks.common import workload
from grader.harness import memory
from grader.harness.failures import CRASH, REPORTED
from grader.harness.instrument import slow_unlock
from grader.harness.lab import Failed, Lab

MEMORY_HINTS = (
    "Read the line that is named: which memory does it use, and who gave it that memory?",
    "Build with `make SAN=asan` and run the program by hand: it stops at the first wrong access.",
    "For a leak: which path leaves the function without giving back what it allocated?",
)


def rehearse(lab: Lab, play: Callable[[Lab], object]) -> None:
    """The same conversation without the tool; what goes wrong there is for other checks to judge."""
    if trouble := trouble_without_the_tool(lab, play):
        pytest.skip(trouble)


def trouble_without_the_tool(lab: Lab, play: Callable[[Lab], object]) -> str:
    """What goes wrong in a conversation without the tool, or an empty string.

    A program that crashes goes on to the tool, which says why.
    """
    if lab.held:  # for a debugger: it follows the one conversation that comes now
        return ""
    bench = Lab(lab.stage, lab.build, lab.patience, lab.logs)
    try:
        play(bench)
    except pytest.fail.Exception as failure:
        if all(program.process.poll() is None or program.process.poll() >= 0 for program in bench.programs):
            return f"Not reached: the conversation already goes wrong without the tool. {failure.msg}"
    finally:
        bench.close()
    return ""


@check("server.memory", points={1: 0.5, 2: 0.5, 3: 1.25, 4: 0.75},
       todo={1: "1.5", 2: "2.6", 3: "3.2", 4: "4.1"}, about=(CRASH,), hints=MEMORY_HINTS, tool=True)
def test_the_server_uses_only_its_own_memory_and_gives_it_back(lab: Lab) -> None:
    """valgrind watches each access of the server while clients come, talk and vanish.

    Clients send messages of several kinds and sizes and leave in good and bad ways, first without valgrind and then
    twice with it. In your code nothing may be used that is not the program's own or was never set, no memory may be lost
    more than once, and every answer must still come.
    """
    rehearse(lab, lambda bench: workload.serve(bench, bench.server()))
    server = lab.server(faults=(), **memory.valgrind(lab, memory.MEMCHECK))
    workload.serve(lab, server)
    server.come_to_rest()
    workload.serve(lab, server)
    server.finish_under_tool()
    found = memory.findings(lab, server)
    lab.require(not found, "In your server, " + " Also, ".join(found[:3]), kind=REPORTED)


@check("client.memory", points={1: 0.5, 2: 0.5, 4: 0.5}, todo={1: "1.8", 2: "2.7", 4: "4.8"},
       about=(CRASH,), hints=MEMORY_HINTS, tool=True)
def test_the_client_uses_only_its_own_memory_and_gives_it_back(lab: Lab) -> None:
    """valgrind watches each access of the client in a whole conversation.

    The client holds a whole conversation, first without valgrind and then with it; from stage 2 on this includes an
    empty line, DONE, 4096 bytes and a line that is too long. In your code nothing may be used that is not its own
    or was never set, no memory may be lost more than once, and the exit status must be 0.
    """
    rehearse(lab, workload.talk)
    client = workload.talk(lab, faults=(), **memory.valgrind(lab, memory.MEMCHECK))
    found = memory.findings(lab, client)
    lab.require(not found, "In your client, " + " Also, ".join(found[:3]), kind=REPORTED)


@check("server.races", points={3: 1.5, 4: 1.25}, todo={3: "3.1", 4: "4.3"}, tool=True, hints=(
    "Two threads meet in the memory of the line that is named. Which lock should both hold?",
    "Look for variables that are shared: globals, statics, and what the argument of a thread points to.",
    "Reading needs the lock as well: what is read may be half changed.",
))
def test_no_two_threads_use_the_same_memory_without_a_lock(lab: Lab) -> None:
    """A race may show once in a thousand runs; ThreadSanitizer sees it in the first.

    The server is built with ThreadSanitizer, and a thread that gives back a lock pauses for 2 ms (the first 300
    times). Several clients talk at once (in stage 4 to each other), break rules and leave. No report may name a
    line of your code.
    """
    # A race may be what goes wrong; so the tool is asked in any case.
    trouble = trouble_without_the_tool(lab, lambda bench: workload.serve(bench, bench.server()))
    # A thread that has given back a lock is delayed: otherwise the order in which the threads
    # happen to take their locks can make a race look like an orderly hand-over.
    # What already goes wrong without the tool goes wrong with it, too: no longer deadlines for that.
    server = lab.server(variant="tsan", env={"TSAN_OPTIONS": memory.TSAN_OPTIONS}, slowness=1.0 if trouble else memory.TSAN_SLOWNESS,
                        faults=[slow_unlock(2, last=300)])
    wrong: Failed | None = None
    try:
        workload.serve(lab, server)
    except Failed as failure:
        wrong = failure
    # The race itself, perhaps: then the tool knows it better. Until the program has ended, its report may be half written.
    server.finish_under_tool()
    if found := memory.tsan_findings(lab, server):
        # What goes wrong without a tool goes wrong under helgrind, too, and eight times as slowly.
        also = "" if trouble else witness(lab, found)
        lab.fail("In your server, " + " Also, ".join(found[:3]) + also, kind=REPORTED)
    if trouble:
        pytest.skip(trouble)
    if wrong:
        raise wrong


BOUNDS_HINTS = (
    "Read the line that is named: how large is that memory, and which index or length is used there?",
    "Build with `make SAN=asan` and run the program by hand: it stops at the first wrong access and prints where the memory was made.",
    "If every place of an array is filled, where does one more byte go?",
)


@check("server.bounds", points={1: 0.5, 2: 0.5, 3: 0.5, 4: 0.5}, todo={1: "1.5", 2: "2.3", 3: "3.2", 4: "4.2"}, about=(CRASH,), hints=BOUNDS_HINTS, tool=True)
def test_the_server_stays_within_its_memory_at_every_size(lab: Lab) -> None:
    """AddressSanitizer watches the arrays, which valgrind cannot, with messages of every size around the limits.

    The server is built with AddressSanitizer and UBSan. In stage 1 messages of 1 to 1000 bytes are sent; in stages
    2 and 3 bodies of 0 to 4096 bytes, also full of backslashes or DONE; in stage 4 commands, names and texts of
    such lengths, and 100 clients. Every answer must be right, and neither tool may report anything.
    """
    rehearse(lab, lambda bench: workload.serve_sizes(bench, bench.server()))
    server = lab.server(**memory.ASAN)
    watched(lab, lambda: workload.serve_sizes(lab, server))


@check("client.bounds", points={1: 0.25, 2: 0.25, 4: 0.25}, todo={1: "1.8", 2: "2.7", 4: "4.8"}, about=(CRASH,), hints=BOUNDS_HINTS, tool=True)
def test_the_client_stays_within_its_memory_at_every_size(lab: Lab) -> None:
    """AddressSanitizer watches the arrays, with lines and replies of every size around the limits.

    The client is built with AddressSanitizer and UBSan. In stage 1 messages and replies of 1 to 1000 bytes travel;
    later lines and replies of 0 to 4096 bytes, and lines of up to 70000 bytes, which must not arrive. Neither tool
    may report anything, and the exit status must be 0.
    """
    rehearse(lab, workload.talk_sizes)
    watched(lab, lambda: workload.talk_sizes(lab, **memory.ASAN))


def watched(lab: Lab, play: Callable[[], object]) -> None:
    """Plays, and fails with what the sanitizer says, if it says anything."""
    try:
        play()
    except pytest.fail.Exception:
        lab.pump()
        _require_clean(lab)
        raise
    _require_clean(lab)


def _require_clean(lab: Lab) -> None:
    for program in lab.programs:
        lab.until(lambda: program.alive() or not program.reading(), 1)
        if found := memory.asan_findings(lab, program):
            raise Failed(f"In your {program.role}, {found[0]}", kind=REPORTED)


DIRTY_HINTS = (
    "Fresh memory is not zero: not on the stack, not from malloc(). Which of your variables is read before it was set?",
    "Bytes from the network have no terminating 0 behind them. Which of your functions looks for one?",
    "Set every variable where you make it, and carry lengths with you.",
)


@check("server.dirty_memory", points={1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25}, todo={1: "1.5", 2: "2.3", 3: "3.2", 4: "4.6"}, hints=DIRTY_HINTS, slow=True)
def test_the_server_does_not_rely_on_fresh_memory_being_zero(lab: Lab) -> None:
    """All fresh memory has a pattern here, instead of the zeros that luck often leaves there.

    The server is built so that local variables begin with a pattern, and malloc() fills with one what it gives.
    Clients come, send messages of several kinds and sizes, and leave in good and bad ways. Every answer must be the
    same as without the patterns.
    """
    rehearse(lab, lambda bench: workload.serve(bench, bench.server()))
    try:
        workload.serve(lab, lab.server(**memory.DIRTY))
    except Failed as failure:
        _blame_memory(failure)


@check("client.dirty_memory", points={1: 0.25, 2: 0.25, 4: 0.25}, todo={1: "1.8", 2: "2.7", 4: "4.8"}, hints=DIRTY_HINTS, slow=True)
def test_the_client_does_not_rely_on_fresh_memory_being_zero(lab: Lab) -> None:
    """All fresh memory has a pattern here, instead of the zeros that luck often leaves there.

    The client is built so that local variables begin with a pattern, and malloc() fills with one what it gives. It
    holds a whole conversation: what it sends must be the same as without the patterns, and the exit status must be
    0.
    """
    rehearse(lab, workload.talk)
    try:
        workload.talk(lab, **memory.DIRTY)
    except Failed as failure:
        _blame_memory(failure)


def _blame_memory(failure: Failed) -> NoReturn:
    raise Failed(f"When fresh memory is not zero: {failure.cause}", failure.difference, failure.state)


def witness(lab: Lab, found: list[str]) -> str:
    """What helgrind says of the same conversation, in which this was `found`; it explains, and decides nothing."""
    bench = Lab(lab.stage, lab.build, lab.patience, lab.logs)
    try:
        server = bench.server(**memory.valgrind(bench, memory.HELGRIND))
        workload.serve(bench, server)
        server.finish_under_tool()
        races = [finding for finding in memory.findings(bench, server) if "data race" in finding]
    except (pytest.fail.Exception, pytest.skip.Exception):
        return ""
    finally:
        bench.close()
    if any(finding in found for finding in races):
        return " helgrind, a second tool, reports it, too."
    return f" helgrind, a second tool, says: {races[0]}" if races else ""
