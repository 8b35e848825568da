"""Each named pattern of a hang is proved on a program that has it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from grader.execution import Choice
from grader.harness import hang, kernel, trace
from grader.harness.build import KIT, Build
from grader.harness.instrument import short
from grader.harness.lab import Failed, Lab
from grader.selftest.corpus import Patch, apply, mutant_named
from grader.session import run

HERE = Path(__file__).parent

# What hangs, the check in which it does, the pattern, and a part of what is said of a thread.
PATTERNS = [
    ("client_waits_for_a_greeting", "stage2.client.basic", "Both sides wait for the other to speak", "waits in recv() for the server (framing.c:"),
    ("reads_until_the_client_closes", "stage2.server.basic", "It reads on after the whole message has come: only when client 1 had ended",
     "waits in recv() for client 1 (server.c:"),
    ("recv_with_MSG_WAITALL", "stage2.server.basic", "It asks recv() with MSG_WAITALL for", "waits in recv() for client 1 (framing.c:"),
    ("waits_for_a_byte_behind_DONE", "stage2.server.basic", "It waits for more after DONE has come", "0 bytes unread"),
    ("broken_match_is_not_looked_at_again", "stage2.server.near_misses", "It did not take the DONE for the end", "0 bytes unread"),
    ("ignores_how_much_send_took", "stage2.server.short_send", "The rest of the answer never came.", "waits in recv() for alice"),
    ("joins_at_once", "stage3.server.silent_client", "The second client was never accepted", "waits in pthread_join() (server.c:"),
    ("lock_for_as_long_as_it_takes", "stage4.server.stuck_receiver_delays_nobody_else",
     "It waits for a lock that another thread keeps while it waits itself, in poll() until it can send to bob.",
     "waits for a lock (server.c:"),
    ("an_empty_recv_is_not_the_end", "stage2.server.half_close", "It spins: recv(", "is running"),
    ("keyboard_and_server_in_turn", "stage4.client.push", "It waits for the keyboard, while", "waits in read() for the keyboard (stdin)"),
]


# Mistakes of which a pattern would be said falsely: their messages were seen, or dropped, or answered in part.
NOT_WAITING_FOR_MORE = [
    ("ignores_how_much_send_took", "stage2.server.short_send"),
    ("begins_each_message_with_frame_init", "stage2.server.two_in_one"),
    ("empty_command_gets_no_reply", "stage4.server.bad_commands"),
]


@pytest.fixture(autouse=True)
def an_error_while_looking_is_not_taken_for_modesty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grading says nothing where the explanation itself goes wrong; here it must not go wrong."""
    monkeypatch.setattr(Lab, "_explained", lambda lab, explain, _otherwise: explain(lab))


def _patch(name: str) -> Patch:
    own = HERE / "hanging" / f"{name}.patch"
    return Patch(own) if own.is_file() else mutant_named(name)


@pytest.mark.parametrize(("name", "id", "pattern", "state"), PATTERNS, ids=[p[0] for p in PATTERNS])
def test_a_hang_is_explained(name: str, id: str, pattern: str, state: str, tmp_path: Path) -> None:
    record = run(apply(_patch(name), tmp_path / "work"), tmp_path / "out", Choice(only=id))
    check = next(c for c in record["checks"] if c["id"] == id)
    assert check["verdict"] == "failed", check
    assert check["pattern"].startswith(pattern), (check["pattern"], check["state"])
    assert any(state in line for line in check["state"]), check["state"]


@pytest.mark.parametrize(("name", "id"), NOT_WAITING_FOR_MORE, ids=[p[0] for p in NOT_WAITING_FOR_MORE])
def test_nothing_is_said_of_DONE_where_it_was_seen(name: str, id: str, tmp_path: Path) -> None:
    record = run(apply(_patch(name), tmp_path / "work"), tmp_path / "out", Choice(only=id))
    check = next(c for c in record["checks"] if c["id"] == id)
    assert check["verdict"] == "failed" and check["state"], check
    assert "DONE" not in check["pattern"] and "whole message" not in check["pattern"], check["pattern"]


def test_threads_that_do_the_same_are_told_by_their_numbers() -> None:
    threads = [hang.Thread(n, n, "recv", "framing.c:41") for n in range(2, 5)]
    assert "Threads 2, 3 and 4: each waits in recv() (framing.c:41)." in hang.summary(SimpleNamespace(role="server"), threads)
    threads += [hang.Thread(n, n, "recv", "framing.c:41") for n in range(5, 100)]
    assert "Threads 2, 3, 4 and 95 more: each waits in recv() (framing.c:41)." in hang.summary(SimpleNamespace(role="server"), threads)


def test_a_lock_that_a_thread_has_itself_is_told_so() -> None:
    thread = hang.Thread(2, 7, "pthread_mutex_lock", "names.c:132", holder=7, lock=True)
    assert thread.words([thread]) == "waits for a lock (names.c:132), which it has itself"
    other = hang.Thread(3, 8, "pthread_mutex_lock", "names.c:132", holder=7, lock=True)
    assert other.words([thread]) == "waits for a lock (names.c:132), which thread 2 has"


def test_a_thread_without_a_noted_call_does_not_get_the_number_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "thread_calls", lambda _pid: [kernel.ThreadCall(id, "pause", ()) for id in (10, 14, 13)])
    monkeypatch.setattr(trace, "thread_numbers", lambda _program: {10: 1, 12: 2, 13: 3})  # 12 has ended
    monkeypatch.setattr(trace, "lasting", lambda _program: {})
    threads = hang.look(SimpleNamespace(peers=[]), SimpleNamespace(pid=10))
    assert [thread.number for thread in threads] == [1, 4, 3]


@contextmanager
def _lab(mistake: str, directory: Path) -> Iterator[Lab]:
    """A lab for stage 2 of the solutions with this mistake."""
    lab = Lab(2, Build(apply(_patch(mistake), directory / "work"), directory / "build"), logs=str(directory))
    try:
        yield lab
    finally:
        lab.close()


# How the server runs, and what is said of it: only of a program whose calls are noted, and which no tool slows.
WAYS = [({"faults": ()}, True), ({}, False), ({"faults": (), "slowness": 1.5}, False)]


@pytest.mark.parametrize(("way", "told"), WAYS, ids=["traced", "not_traced", "under_a_tool"])
def test_a_slow_program_is_not_said_to_spin(way: dict, told: bool, tmp_path: Path) -> None:
    with _lab("an_empty_recv_is_not_the_end", tmp_path) as lab:
        peer = lab.connect(lab.server(**way))
        peer.send_message(b"hello")
        peer.expect_message(b"hello")
        peer.half_close()
        with pytest.raises(Failed) as failure:
            peer.expect_end(seconds=0.5)
        assert failure.value.state.lines and failure.value.state.pattern.startswith("It spins") == told, failure.value.state
        assert told or failure.value.state.pattern == "", failure.value.state


@pytest.mark.parametrize(("way", "told"), WAYS, ids=["traced", "not_traced", "under_a_tool"])
def test_nothing_more_is_said_to_a_program_of_which_a_tool_still_tells(way: dict, told: bool, tmp_path: Path) -> None:
    with _lab("reads_until_the_client_closes", tmp_path) as lab:
        peer = lab.connect(lab.server(**way))
        peer.send_message(b"hello")
        peer.until_taken()
        sent = peer.sent
        with pytest.raises(Failed) as failure:
            peer.expect_message(b"hello", seconds=1.0)
        assert failure.value.state.pattern.startswith("It reads on after the whole message" if told else "Both sides wait"), failure.value.state
        assert (peer.sent > sent) == told


def test_the_size_for_which_the_source_asks_is_told_and_not_what_a_fault_left_of_it(tmp_path: Path) -> None:
    with _lab("recv_with_MSG_WAITALL", tmp_path) as lab:
        peer = lab.connect(lab.server(faults=[short("recv", 3)]))
        peer.send_message(b"four")  # 8 bytes on the wire: the last 2 do not fill a recv()
        with pytest.raises(Failed) as failure:
            peer.expect_message(b"four", seconds=1.0)
        assert failure.value.state.pattern.startswith("It asks recv() with MSG_WAITALL for 8196 bytes"), failure.value.state


def test_a_process_that_is_gone_has_no_state() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    assert kernel.state(process.pid) == ""


@pytest.mark.parametrize(("name", "id"), [(p[0], p[1]) for p in PATTERNS if p[0] in ("reads_until_the_client_closes", "lock_for_as_long_as_it_takes")])
def test_what_the_kernel_does_not_show_is_not_spoken_of(name: str, id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = []

    def guarded(path: str, *arguments, **options):
        if path.startswith("/proc/") and path.endswith(("/syscall", "/mem")):
            refused.append(path)
            raise PermissionError(1, "Operation not permitted", path)
        return open(path, *arguments, **options)

    monkeypatch.setattr(kernel, "open", guarded, raising=False)
    record = run(apply(_patch(name), tmp_path / "work"), tmp_path / "out", Choice(only=id))
    check = next(c for c in record["checks"] if c["id"] == id)
    assert refused and check["verdict"] == "failed" and check["cause"], check
    assert (check["state"], check["pattern"]) == ([], "")
    assert any(event["thread"] for event in check["events"]), "the calls are told as always"


def test_a_hang_is_told_of_the_peer_that_waits_in_vain_and_of_no_other(tmp_path: Path) -> None:
    """The first client was answered; then the second one's bytes are not read, or nobody waits for any client."""
    lab = Lab(3, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path))
    try:
        server = lab.server()
        first = lab.connect(server, "the first client")
        first.send_message(b"hello")
        first.expect_message(b"hello")
        assert lab.waits_for is None
        second = lab.connect(server, "the second client")
        second.send_message(b"hello")
        second.expect_message(b"hello")
        with pytest.raises(Failed) as failure:
            lab.require(lab.until(lambda: False, 0.1), "Something else did not happen.")
        assert failure.value.state.pattern == "" and len(failure.value.state.lines) > 1, failure.value.state
        server.stop()
        second.send(b"x")
        with pytest.raises(Failed):
            second.until_taken()
        assert lab.waits_for is second
    finally:
        lab.close()


def test_a_line_of_an_earlier_message_that_comes_late_is_not_taken_for_the_last(tmp_path: Path) -> None:
    """stdout is a pipe here: a right program may print long after its answer."""
    with _lab("broken_match_is_not_looked_at_again", tmp_path) as lab:
        server = lab.server()
        peer = lab.connect(server)
        peer.send_message(b"first")
        peer.expect_message(b"first")
        server.expect_line(b"received: first")
        assert hang._has_seen(lab, server, peer, b"first")
        peer.send_message(b"D")
        peer.until_taken()
        lab.log("your server", "", b"received: first\n", to="stdout")
        assert not hang._has_seen(lab, server, peer, b"D")
