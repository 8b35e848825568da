"""What is told of a program: its calls, its arguments, and how the check ended it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.harness import trace
from grader.harness.build import KIT, Build
from grader.harness.instrument import Call
from grader.harness.lab import Lab


@pytest.fixture(name="lab")
def _lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(1, Build(KIT / "solutions", tmp_path / "build"), logs=str(tmp_path), traced=True)
    yield lab
    lab.close()


def _told(lab: Lab) -> list[str]:
    return [event["what"] for event in lab.event_records()]


def test_bind_and_listen_are_told_until_somebody_has_connected(lab: Lab) -> None:
    server = lab.server()
    assert server.address and lab.until(lambda: len(_told(lab)) > 2)
    assert _told(lab)[1:3] == [f"bind(3) to port {server.address[1]}", "listen(3) with backlog 128"], "and not what net_init() closes"
    peer = lab.connect(server)
    peer.send(b"hello")
    peer.expect(b"hello")
    peer.expect_end()
    assert lab.until(lambda: "close(4)" in _told(lab)), "a call is told when it has returned, and that the peer sees a little earlier"
    told = _told(lab)
    assert not any(what.startswith(("bind", "listen")) for what in told)
    assert "accept(3) returned descriptor 4" in told and "recv(4) moved 5 bytes" in told


def test_a_failed_call_is_told_with_its_descriptor_and_its_port(lab: Lab) -> None:
    listener = lab.listen()
    port = listener.getsockname()[1]
    listener.close()
    lab.client(("127.0.0.1", port), "hello").expect_exit(1)
    assert f"connect(3) to port {port} failed: ECONNREFUSED" in _told(lab)


def test_arguments_are_told_as_they_are_typed_and_nothing_said_is_no_event(lab: Lab) -> None:
    lab.run("client", "two words", "127.0.0.1", "").expect_exit(2)
    assert _told(lab)[0] == 'start: client "two words" 127.0.0.1 ""'
    peer = lab.connect(lab.server())
    told = len(lab.events)
    peer.send(b"")
    assert len(lab.events) == told


def test_a_program_that_the_check_ends_is_told_to_be_killed(lab: Lab) -> None:
    server = lab.server()
    server.end()
    assert _told(lab)[-1] == "is killed by the check"
    server.end()
    assert _told(lab).count("is killed by the check") == 1


def _call(function: str, **more) -> Call:
    return Call(**{"began": 1.0, "ended": 1.0, "thread": 1, "function": function, "fd": 3, "asked": 0, "result": 0, "error": "", "fault": False,
                   "data": b"", "address": 0, **more})


def test_only_what_is_closed_before_anything_else_is_bookkeeping() -> None:
    closes = [_call("close", began=float(n)) for n in range(3)]
    assert trace._bookkeeping([*closes, _call("socket", began=9.0)]) == 9.0
    assert trace._bookkeeping([closes[0], _call("close", began=5.0, error="EBADF", result=-1), _call("socket", began=9.0)]) == 5.0
    assert trace._bookkeeping(closes * 4000) == 0.0, "the beginning is lost"
