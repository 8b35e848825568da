"""Stage 4: a receiver that takes nothing delays only who writes to it, and is dropped."""

from __future__ import annotations

import time

from grader.check import check
from grader.checks.stage4.test_names import ask, enter
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program
from grader.harness.wire import encode

HINTS = (
    "If bob never reads, in which call does alice's thread wait, and what does it hold meanwhile?",
    "Hold no lock that others need while you send: not the table's, only bob's own.",
    "Wait for room with poll() and a time limit; who takes nothing for 5 seconds is dropped.",
)
FLOOD = encode(b"TO bob " + b"x" * 4000)


def stick(lab: Lab, server: Program) -> tuple[Peer, Peer, Peer]:
    """alice floods bob, who does not read, until a message to him finds no room; returns alice, bob, carol."""
    alice, carol = enter(lab, server, "alice", "carol")
    bob = lab.connect(server, "bob", receive_buffer=4096)
    ask(bob, b"NAME bob", b"OK")
    bob.stop_reading()
    waiting = memoryview(FLOOD * 5000)

    def stuck() -> bool:
        # The server has stopped taking alice's commands: her thread waits for bob.
        nonlocal waiting
        try:
            waiting = waiting[alice.sock.send(waiting[:65536]):]
        except BlockingIOError:
            pass
        return not waiting or alice.unread() > 100_000

    lab.log("alice", "floods bob, who does not read")
    lab.until(stuck, 10)
    return alice, bob, carol


@check("server.stuck_receiver_delays_nobody_else", points={4: 1}, todo="4.5", hints=HINTS, slow=True)
def test_a_receiver_that_does_not_read_delays_nobody_else(lab: Lab) -> None:
    """One slow reader must not stop the whole chat."""
    server = lab.server()
    _alice, _bob, carol = stick(lab, server)
    dave = lab.connect(server, "dave")
    for peer, command, reply in ((dave, b"NAME dave", b"OK"), (carol, b"TO dave hello", b"OK")):
        peer.send_message(command)
        peer.expect_message(reply, seconds=2, cause="While bob did not read, another client got no answer from your server.")
    dave.expect_message(b"FROM carol hello", seconds=2)


@check("server.stuck_receiver_is_dropped", points={4: 0.75}, todo="4.5", hints=HINTS, slow=True)
def test_a_receiver_that_takes_nothing_for_5_seconds_is_dropped(lab: Lab) -> None:
    """Otherwise its writers would wait for ever."""
    server = lab.server()
    _alice, _bob, carol = stick(lab, server)
    start = time.monotonic()

    def gone() -> bool:
        carol.send_message(b"WHO")
        names = carol.message(seconds=8).split(b" ")
        return b"bob" not in names

    lab.require(lab.until(gone, 8), "bob took nothing for 8 seconds and was not dropped.")
    waited = time.monotonic() - start
    lab.require(waited > 2.0, f"bob was dropped after {waited:.1f} seconds; a pause of 2 seconds should harm nobody.")
    ask(carol, b"TO bob x", b"ERR no such user")


@check("server.short_pause", points={4: 0.25}, todo="4.5", hints=HINTS, slow=True)
def test_a_pause_of_less_than_2_seconds_loses_nothing(lab: Lab) -> None:
    """A receiver may be slow for a moment."""
    server = lab.server()
    alice, carol = enter(lab, server, "alice", "carol")
    bob = lab.connect(server, "bob", receive_buffer=4096)
    ask(bob, b"NAME bob", b"OK")
    bob.stop_reading()
    sent = alice.flood(FLOOD * 1500)
    lab.let_pass(1.5)
    bob.read_on()
    whole, part = divmod(sent, len(FLOOD))
    if part:
        alice.send(FLOOD[part:])
    count = whole + bool(part)
    bob.expect_message(*[b"FROM alice " + b"x" * 4000] * count, seconds=10)
    alice.expect_message(*[b"OK"] * count)
    ask(carol, b"TO bob hello", b"OK")
    bob.expect_message(b"FROM carol hello")
