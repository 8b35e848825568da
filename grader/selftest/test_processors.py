"""Who is busy, on a machine that is busy itself."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from grader.checks.common.backlog import Backlog
from grader.checks.stage4 import test_stuck_receiver as stuck_receiver
from grader.harness import kernel
from grader.harness.build import KIT, Build
from grader.harness.deadline import SLOW
from grader.harness.lab import Failed, Lab
from grader.harness.peer import Peer
from grader.harness.program import Program
from grader.selftest.corpus import apply, mutant_named

SPINS = "while True: pass"
SLEEPS = "import time\nwhile True: time.sleep(60)"
LOOKS_OFTEN = "import time\nwhile True: time.sleep(0.02)"


@contextmanager
def _on_one_processor(*programs: str) -> Iterator[list[int]]:
    """Runs these programs, all on the same processor; gives their process ids."""
    processor = min(os.sched_getaffinity(0))
    running = [subprocess.Popen([sys.executable, "-c", program], process_group=0) for program in programs]
    try:
        for process in running:
            os.sched_setaffinity(process.pid, {processor})
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.mark.parametrize("others", [0, 6])
def test_who_waits_for_a_processor_is_not_busy_and_who_never_waits_is(tmp_path: Path, others: int) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    with _on_one_processor(SPINS, LOOKS_OFTEN, *[SPINS] * others) as (spinning, looking, *_):
        assert sum(lab.watch_processors(spinning, 0.5).values()) > 0.6
        assert sum(lab.watch_processors(looking, 0.5).values()) < 0.3
    lab.close()


def test_who_always_wants_a_processor_and_gets_none_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel counts neither: a wait for a processor is counted when it is over. Thread 1 sleeps each second time."""
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    looks = itertools.cycle([{1, 2}, {2}])
    monkeypatch.setattr(kernel, "processor_times", lambda pid: {1: (0.0, 0.0), 2: (0.0, 0.0)})
    monkeypatch.setattr(kernel, "ready_threads", lambda pid: next(looks).copy())
    assert lab.watch_processors(7, 0.1) == {1: 0.0, 2: 1.0}
    lab.close()


@pytest.mark.parametrize(("text", "others", "seconds", "longest", "nice"), [
    (SPINS, 0, 2.0, 1, 19),  # in which it gets 0.1 s of a processor, whatever else runs here
    (SLEEPS, 0, 0.5, 1, 0), (SPINS, 40, 0.5, SLOW, 0)])
def test_more_time_has_only_who_wants_to_work_and_is_not_let(tmp_path: Path, text: str, others: int, seconds: float, longest: int,
                                                              nice: int) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    with _on_one_processor(*[SPINS] * others, text) as (*_, pid):
        program = SimpleNamespace(alive=lambda: True, pid=pid, moved=lambda: 0, slowness=1.0, cpu_hog=False, gives_way=False)
        assert lab.until(lambda: _begun(pid, text))
        lab.programs, before = [program], lab.charged
        assert not lab.until(lambda: False, seconds) and lab.timed_out
        assert seconds * longest <= lab.charged - before < seconds * longest + 0.3
        assert os.getpriority(os.PRIO_PROCESS, pid) == nice
    lab.programs = []
    lab.close()


def test_who_works_for_long_and_moves_bytes_meanwhile_need_not_give_way(tmp_path: Path) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    with _on_one_processor(SPINS) as (pid,):
        program = SimpleNamespace(alive=lambda: True, pid=pid, moved=time.monotonic_ns, slowness=1.0, cpu_hog=False, gives_way=False)
        assert lab.until(lambda: _begun(pid, SPINS))
        lab.programs = [program]
        assert not lab.until(lambda: False, 0.5)
        assert not program.cpu_hog and os.getpriority(os.PRIO_PROCESS, pid) == 0
    lab.programs = []
    lab.close()


def test_what_a_program_reads_sends_and_prints_is_counted(tmp_path: Path) -> None:
    lab = Lab(2, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    server = lab.server()
    peer = lab.connect(server)
    assert server.moved() == 0
    peer.send_message(b"hello")
    peer.expect_message(b"hello")
    assert lab.until(lambda: server.output) and server.moved() == 2 * len(b"helloDONE") + len(server.output)
    lab.close()


def test_who_is_late_and_gets_it_done_at_the_last_moment_has_done_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[bool] = []
    monkeypatch.setattr(kernel, "at_work", lambda pid: bool(done.append(True)))  # no longer: it has just done what was waited for
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    lab.programs = [SimpleNamespace(alive=lambda: True, pid=os.getpid(), moved=lambda: 0, slowness=1.0, cpu_hog=False, gives_way=False)]
    assert lab.until(lambda: done, 0.1) and not lab.timed_out
    lab.programs = []
    lab.close()


@pytest.mark.parametrize("slowness", [1.0, 3.0])
@pytest.mark.parametrize("wait", [Peer.until_taken, lambda peer: peer.send(b"x" * 20_000_000)], ids=["read", "sent"])
def test_a_peer_waits_longer_for_a_program_under_a_slow_tool(tmp_path: Path, slowness: float, wait: Callable[[Peer], object]) -> None:
    with _asleep(tmp_path, slowness) as program, socket.create_server(("127.0.0.1", 0)) as never_accepts:
        program.address = never_accepts.getsockname()
        peer = program.lab.connect(program)
        peer.send(b"x")
        assert _waits(program.lab, lambda: wait(peer)) == pytest.approx(0.2 * slowness, abs=0.15)


@pytest.mark.parametrize("slowness", [1.0, 3.0])
@pytest.mark.parametrize("wait", [Program.until_read, lambda program: program.write(b"x" * 200_000)], ids=["read", "written"])
def test_the_user_waits_longer_for_a_program_under_a_slow_tool(tmp_path: Path, slowness: float, wait: Callable[[Program], object]) -> None:
    with _asleep(tmp_path, slowness) as program:
        program.write(b"x")
        assert _waits(program.lab, lambda: wait(program)) == pytest.approx(0.2 * slowness, abs=0.15)


@contextmanager
def _asleep(directory: Path, slowness: float) -> Iterator[Program]:
    """A program that does nothing, for which a check waits 0.2 s and so many times as long."""
    lab = Lab(1, Build(KIT / "solutions", directory / "build"), patience=0.05, logs=str(directory))
    lab.programs.append(Program(lab, "client", shutil.which("sleep"), ("60",), slowness=slowness))
    yield lab.programs[0]
    lab.close()


def _waits(lab: Lab, wait: Callable[[], object]) -> float:
    """How long, in the seconds that count, until the check gives up."""
    before = lab.charged
    with pytest.raises(Failed):
        wait()
    return lab.charged - before


@pytest.mark.parametrize(("text", "rests"), [(SLEEPS, True), (SPINS, False)])
def test_who_fills_a_connection_slowly_comes_to_rest_and_who_never_waits_does_not(tmp_path: Path, text: str, rests: bool) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), patience=0.1, logs=str(tmp_path))  # 0.4 s for each step
    with _on_one_processor(text) as (pid,):
        begun = time.monotonic()
        peer = SimpleNamespace(unread_here=lambda: 0, connection_there=lambda: SimpleNamespace(
            acknowledged=0, unsent=min(1 + int((time.monotonic() - begun) / 0.1), 10)))
        backlog = Backlog(lab, peer)
        assert backlog.comes_to_rest(SimpleNamespace(pid=pid)) == rests
        assert backlog.size == 10
    lab.close()


def test_a_wait_inside_of_a_condition_is_counted_once(tmp_path: Path) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    begun, inner = time.monotonic(), []
    assert not lab.until(lambda: inner.append(lab.until(lambda: False, 0.4)), 1.0)
    assert len(inner) <= 5 and 1.0 <= lab.charged <= time.monotonic() - begun  # the third ends too late, and one more is asked twice
    lab.close()


def test_nothing_starts_the_clocks_of_a_backlog_anew_when_the_connection_has_ended(tmp_path: Path) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    full = SimpleNamespace(acknowledged=5, unsent=10)
    seen = [full, full, full, full, SimpleNamespace(acknowledged=5, unsent=11), None]  # at last with its FIN
    begun = time.monotonic()
    backlog = Backlog(lab, SimpleNamespace(unread_here=lambda: 0, connection_there=lambda: seen.pop(0)))
    assert not backlog.ended()
    lab.let_pass(0.05)
    assert backlog.ended()
    ended = time.monotonic()
    still, full = backlog.still_for(), backlog.full_for()
    lab.let_pass(0.05)
    lab.charged += 1
    assert backlog.still_for() == still and backlog.full_for() == full + 1 and 0.05 <= still <= ended - begun and backlog.total() == 0
    lab.close()


@pytest.mark.parametrize("later", [SimpleNamespace(acknowledged=5, unsent=20), SimpleNamespace(acknowledged=15, unsent=5)],
                         ids=["the program's kernel has made its buffer larger", "the peer's kernel had some room left"])
def test_a_program_may_go_by_what_it_could_write_or_by_what_was_acknowledged(tmp_path: Path, later: SimpleNamespace) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    there = SimpleNamespace(acknowledged=5, unsent=15)
    backlog = Backlog(lab, SimpleNamespace(unread_here=lambda: 0, connection_there=lambda: there))
    lab.let_pass(0.05)
    assert backlog.still_for() >= 0.05  # looked at now
    there = later
    lab.let_pass(0.05)
    assert backlog.still_for() >= 0.1 and backlog.full_for() < 0.05  # one of them says nothing for all the time
    there, looked_at = SimpleNamespace(acknowledged=16, unsent=50), backlog.looked_at
    backlog.look()
    assert backlog.taken_at == looked_at  # both say since then
    lab.close()


def test_on_a_slow_machine_too_bob_is_there_when_the_others_have_waited_in_vain(tmp_path: Path) -> None:
    mutant = mutant_named("WHO_waits_for_a_stuck_client")
    lab = Lab(4, Build(apply(mutant, tmp_path / mutant.id), tmp_path / "build", KIT / "solutions"), patience=3.0, logs=str(tmp_path))
    with pytest.raises(Failed, match="another client got no answer to WHO"):
        stuck_receiver._others_go_on(lab, lab.server())
    lab.close()


def test_who_connects_and_ends_between_two_looks_has_connected(tmp_path: Path) -> None:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    listener = lab.listen()
    clients: list[socket.socket] = []

    def accept() -> tuple[socket.socket, tuple[str, int]]:
        if not clients:
            clients.append(socket.create_connection(listener.getsockname()))
            raise BlockingIOError
        return listener.accept()

    lab.programs = [SimpleNamespace(alive=lambda: not clients, slowness=1.0, role="client", peers=[])]
    assert not lab.accept(SimpleNamespace(accept=accept)).closed()
    lab.programs = []
    clients[0].close()
    lab.close()


# `limit`: seconds; a pause is longer than the first, and shorter than the other, on any machine.
@pytest.mark.parametrize(("program", "limit", "outcome"), [
    ("reference", 0.0, True), ("flush_waits_for_room_only_once", 0.0, False), ("patience_of_a_second", 0.0, False),
    ("reference", 60.0, True), ("flush_waits_for_room_only_once", 60.0, "not all"), ("patience_of_a_second", 60.0, "bob was dropped")])
def test_what_is_lost_in_a_pause_that_a_busy_machine_has_made_longer_is_not_judged(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, limit: float, outcome: bool | str) -> None:
    source = KIT / "solutions" if program == "reference" else apply(mutant_named(program), tmp_path / program)
    monkeypatch.setattr(stuck_receiver, "EARLIEST", limit)
    lab = Lab(4, Build(source, tmp_path / "build", KIT / "solutions"), logs=str(tmp_path))
    attempt = stuck_receiver._sender_goes_on if program == "patience_of_a_second" else stuck_receiver._sender_falls_silent
    if isinstance(outcome, bool):
        assert attempt(lab) == outcome
    else:
        with pytest.raises(Failed, match=outcome):
            attempt(lab)
    lab.close()


def test_what_was_never_judged_is_no_pass() -> None:
    attempts: list[int] = []
    with pytest.raises(RuntimeError, match="too busy"):
        stuck_receiver.until_judged(lambda: bool(attempts.append(1)))
    assert len(attempts) == 3


def _begun(pid: int, text: str) -> bool:
    """True if the interpreter runs the text: it sleeps in it, or it has run longer than it takes to start."""
    ran, _waited = kernel.processor_times(pid).get(pid, (0, 0))
    return kernel.asleep(pid) if text == SLEEPS else ran > 0.03
