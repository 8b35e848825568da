"""Stage 4: a receiver that takes nothing delays only who writes to it, and is dropped."""

from __future__ import annotations

import time
from collections.abc import Callable

from grader.check import check
from grader.checks.common.backlog import Backlog
from grader.checks.common.workload import LEFT_SECONDS, end_conversation
from grader.checks.stage4.test_names import ask, enter
from grader.harness import kernel
from grader.harness.failures import Failed
from grader.harness.instrument import interrupt
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program
from grader.harness.wire import END, count, encode, quote

HINTS = (
    "If bob never reads, in which call does alice's thread wait, and what does it hold meanwhile?",
    "Hold no lock that others need while you send: not the table's, only bob's own.",
    "Wait for room with poll() and a time limit; who takes nothing for 5 seconds is dropped.",
)
# The contract says 3 to 7 seconds; the backlog is looked at between two answers of the server.
EARLIEST, LATEST = 2.5, 7.5
SOON = 1  # second for an answer "at once", on a slow machine, too: the server's patience with bob, 3 seconds perhaps, goes on meanwhile
NO_MORE = 0.001  # seconds, for what has been waited for already
TEXT = b"x" * 4000
WRITTEN_AT_ONCE = 15  # messages; fewer than bob's connection has room for
MOST_WRITTEN = 500  # messages, or 2 MB: a server may keep what has no room, and for some that has a limit


def until_judged(*attempts: Callable[[], bool]) -> None:
    """Makes each attempt until it was judged, three times at most; what was never judged is an error of the grader's, and no pass."""
    judged = [any(attempt() for _ in range(3)) for attempt in attempts]
    if not all(judged):
        raise RuntimeError("three times bob's pause became longer than the contract lets a server wait; this machine may be too busy")


class Jam:
    """bob, who does not read, and alice, who writes to him."""

    def __init__(self, lab: Lab, server: Program) -> None:
        self.lab, self.server = lab, server
        self.alice = enter(lab, server, "alice")[0]
        # Small buffers: some twenty messages fill them, so that bob is stuck soon and alice has not much to say when he is not.
        self.bob = lab.connect(server, "bob", receive_buffer=4096, segment=536)
        ask(self.bob, b"NAME bob", b"OK")
        self.bob.stop_reading()
        self.backlog = Backlog(lab, self.bob)
        self._answered_before = self._replies = self.alice.total
        self._replied_at = lab.charged
        self.written = 0
        self._write(WRITTEN_AT_ONCE)

    def until_no_room(self) -> None:
        """alice writes until not all of it finds room in bob's connection; what has none may wait in the server."""
        while self.lab.until(lambda: self._rests() or self._all_on_the_way()) and not self._rests():
            self._write(1)

    def until_stuck(self) -> None:
        """alice writes until the server takes nothing more from her, keeps 2 MB, or drops bob."""
        def stuck() -> bool:
            return self.backlog.ended() or self._rests()

        while self.written < MOST_WRITTEN and self.lab.until(lambda: stuck() or self._all_answered()) and not stuck():
            self._write(WRITTEN_AT_ONCE)
        self.lab.until(stuck)

    def keep_stuck(self) -> None:
        """alice writes one more if the server has taken all that she has written."""
        if self._all_answered():
            self._write(1)

    def still_stuck(self) -> bool:
        """True while bob is there and something waits for room, so that what others get can be judged.

        Fails the check if he was dropped too early.
        """
        return _is_there(self.lab, self.backlog) and not self._all_on_the_way()

    def moved(self) -> tuple[int, int]:
        """Bytes that the server has put on the way to bob, and answered alice: they grow when her thread is stuck no longer."""
        return self.backlog.total(), self.alice.total

    def _write(self, count: int) -> None:
        self.alice.send_message(*[b"TO bob " + TEXT] * count)
        self.written += count

    def _all_on_the_way(self) -> bool:
        return self.backlog.total() >= self.written * len(encode(b"FROM alice " + TEXT))

    def _all_answered(self) -> bool:
        return self.alice.total >= self._answered_before + self.written * len(encode(b"OK"))

    def _rests(self) -> bool:
        """True if something waits for room and nothing moves any more."""
        if self.alice.total != self._replies:
            self._replies, self._replied_at = self.alice.total, self.lab.charged
        unmoved = min(self.backlog.unmoved_for(), self.lab.charged - self._replied_at)
        long = 0.3 if kernel.asleep(self.server.pid) else 1  # who tries again and again never sleeps
        return unmoved > long and not self._all_on_the_way()


def _is_there(lab: Lab, backlog: Backlog) -> bool:
    """True while bob's connection lasts. Fails the check if it was ended too early."""
    gone, still = backlog.ended(), backlog.still_for()
    lab.require(not gone or still > EARLIEST, _too_early(still))
    return not gone


def _too_early(seconds: float) -> str:
    return f"bob was dropped after {seconds:.1f} seconds; a pause of 2 seconds should harm nobody."


@check("server.stuck_receiver_delays_nobody_else", points={4: 0.75}, todo="4.5", hints=HINTS, slow=True)
def test_a_receiver_that_does_not_read_delays_nobody_else(lab: Lab) -> None:
    """One slow reader must not stop the whole chat.

    bob reads nothing, and alice writes to him until nothing moves any more, 2 MB at most. Then carol must get an answer
    to WHO, dave must be able to enter, and carol to write to him: each answer and the message must come within a second.
    When the kernel finds room for more to bob meanwhile, alice's thread was not stuck all the time: then the same is asked
    again, with erin in dave's place, and so on. If bob has been dropped before, as may happen on a busy machine, nothing
    is judged: all of it is tried again, three times at most.
    """
    until_judged(lambda: _others_go_on(lab, lab.server()))


def _others_go_on(lab: Lab, server: Program) -> bool:
    """Others are served while bob is stuck; false if he was not, all the time until they were, for then nobody can tell."""
    carol = enter(lab, server, "carol")[0]
    jam = Jam(lab, server)
    for name in ("dave", "erin", "frank", "grace"):
        jam.until_stuck()
        before = jam.moved()
        if not _are_served(lab, jam, carol, lab.connect(server, name)):
            return False
        if jam.moved() == before:
            return True
    return False


def _are_served(lab: Lab, jam: Jam, carol: Peer, newcomer: Peer) -> bool:
    """carol and a newcomer get their answers and a message at once; false if bob was no longer stuck before they had them."""
    def soon(peer: Peer) -> bool:
        """Waits for a whole message to the peer, and no longer than bob is there."""
        lab.until(lambda: peer.received.endswith(END) or jam.backlog.ended(), SOON / lab.patience)
        return jam.still_stuck()

    carol.send_message(b"WHO")
    if not soon(carol):
        return False
    carol.message(seconds=NO_MORE, cause="While bob did not read, another client got no answer to WHO.")
    name = newcomer.name.encode()
    for peer, command in ((newcomer, b"NAME " + name), (carol, b"TO " + name + b" hello")):
        peer.send_message(command)
        if not soon(peer):
            return False
        got = peer.message(seconds=NO_MORE, cause="While bob did not read, another client got no answer from your server.")
        lab.require(got == b"OK", f"While bob did not read, {peer.name} got {quote(got)} instead of OK.")
    if not soon(newcomer):
        return False
    newcomer.expect_message(b"FROM carol hello", seconds=NO_MORE)
    return True


@check("server.stuck_receiver_is_dropped", points={4: 0.75}, todo="4.5", slow=True, hints=(
    "For how long has bob taken nothing? Who in your server measures that, and what happens then?",
    "Who is dropped loses his name and his connection. Who wrote to him loses nothing.",
    "Wait for room with poll(), 5 seconds at most; then take bob's name out and shut his connection down, and go on with alice.",
))
def test_a_receiver_that_takes_nothing_for_5_seconds_is_dropped(lab: Lab) -> None:
    """Otherwise its writers would wait for ever.

    bob reads nothing, and alice writes to him until nothing moves any more, while carol asks WHO again and again.
    bob must be gone from the list within 7.5 seconds, and neither this nor the end of his connection may come before he has
    taken nothing for 2.5 seconds. Then a message to him must get ERR no such user, and one to alice OK. When bob reads
    again, he must find the end of his connection. He closes, and 2 seconds later the server may have no more descriptors
    and threads than before, when of three clients one had said QUIT.
    """
    server = lab.server()
    carol, held = _one_of_three_leaves(lab, server)
    jam = Jam(lab, server)
    jam.until_stuck()
    carol.send_message(b"WHO")
    unlisted = False

    def dropped_or_late() -> bool:
        nonlocal unlisted
        if not jam.backlog.ended():
            jam.keep_stuck()
        if carol.received.endswith(END) or carol.ended:
            unlisted = b"bob" not in carol.message(seconds=NO_MORE).split(b" ")
            if not unlisted:
                carol.send_message(b"WHO")
        return unlisted or jam.backlog.full_for() >= LATEST

    lab.until(dropped_or_late, 30)  # the clock of a full connection starts anew when the kernel finds room for some bytes more
    full, still = jam.backlog.full_for(), jam.backlog.still_for()
    if jam.backlog.ended() and not unlisted:
        carol.message(cause="bob was dropped, and then WHO got no answer any more.")
        lab.fail(f"bob took nothing for {LATEST:g} seconds; his connection was ended meanwhile, and WHO still listed him.")
    lab.require(unlisted and full < LATEST, f"bob took nothing for {LATEST:g} seconds and was not dropped.")
    lab.require(still > EARLIEST, _too_early(still))
    ask(carol, b"TO bob x", b"ERR no such user")
    carol.send_message(b"TO alice are you still there?")
    got = carol.message()
    lab.require(got == b"OK", f"bob was dropped, and when carol then wrote to alice, who had only written to him, she got {quote(got)}.")
    jam.bob.read_on()
    jam.bob.expect_end("bob was dropped, and his connection stayed open.", nothing_more=False)
    jam.bob.close()
    lab.until(lambda: not _more_than(held, server), LEFT_SECONDS)
    left = _more_than(held, server)
    lab.require(not left, f"bob was dropped and closed his connection; 2 seconds later your server still had {left}.")


def _one_of_three_leaves(lab: Lab, server: Program) -> tuple[Peer, tuple[int, int]]:
    """carol, and how many descriptors and threads the server has when of three clients one has left; then she is alone."""
    carol, dave, erin = enter(lab, server, "carol", "dave", "erin")
    three = kernel.descriptors(server.pid)
    end_conversation(erin)
    lab.until(lambda: kernel.descriptors(server.pid) < three and not kernel.at_work(server.pid), LEFT_SECONDS)
    held = kernel.descriptors(server.pid), kernel.threads(server.pid)
    end_conversation(dave)
    return carol, held


def _more_than(held: tuple[int, int], server: Program) -> str:
    """What the server has more than that, in words, or an empty string."""
    descriptors, threads = kernel.descriptors(server.pid) - held[0], kernel.threads(server.pid) - held[1]
    parts = [f"{count(more, what)} more than before" for more, what in ((descriptors, "descriptor"), (threads, "thread")) if more > 0]
    return " and ".join(parts)


@check("server.short_pause", points={4: 0.25}, todo="4.5", slow=True, hints=(
    "bob was slow for a moment and then read on. What made your server give up on him, or lose bytes?",
    "A poll() that was interrupted (EINTR), and a send() that took a part, say nothing against bob. What comes after them?",
    "Go round the loop until 5 seconds have passed without a byte taken, with what is left of the time and of the message.",
))
def test_a_pause_of_less_than_2_seconds_loses_nothing(lab: Lab) -> None:
    """A receiver may be slow for a moment.

    bob reads nothing, and alice writes to him until not all of it finds room on the way; then she is silent and he reads
    on. All that she has written must arrive. On another server she writes 6 MB to bob, who reads nothing until he has taken
    nothing for 1.75 seconds; then he reads on. Each third call of poll() and its relatives is interrupted meanwhile. All of
    her messages must reach him whole and in order, and each must get OK; another message to him must then arrive, too. If
    something is lost after a pause that has become longer than 2.5 seconds, as may happen on a busy machine, nothing is
    judged: the pause is made again, three times at most.
    """
    until_judged(lambda: _sender_falls_silent(lab), lambda: _sender_goes_on(lab))


def _reads_on(lab: Lab, bob: Peer, backlog: Backlog, nothing_is_lost: Callable[[], None]) -> bool:
    """Ends bob's pause, and asks whether anything is lost.

    False if something is and the pause was so long that bob may have been dropped: the contract promises nothing then.
    """
    if not _is_there(lab, backlog):
        return False
    paused_at = backlog.taken_at
    # Linux reports room only when a third of the server's buffer is free (sk_stream_is_writeable() in include/net/sock.h):
    # a bob who reads little by little would seem to take nothing for longer than he paused.
    bob.read_all_that_waits()
    in_time = time.monotonic() - paused_at < EARLIEST
    try:
        nothing_is_lost()
    except Failed:
        if in_time:
            raise
        return False
    return True


def _sender_goes_on(lab: Lab) -> bool:
    """What a sender still writes, and what the server keeps meanwhile, must all come; false if that cannot be judged."""
    server = lab.server(faults=[interrupt("poll")])
    alice, carol = enter(lab, server, "alice", "carol")
    bob = lab.connect(server, "bob")
    ask(bob, b"NAME bob", b"OK")
    bob.stop_reading()
    count = 1500
    alice.keep_sending(encode(b"TO bob " + TEXT) * count)
    bob.until_sent_to("alice wrote to bob, and nothing was sent to him.")
    backlog = Backlog(lab, bob)
    lab.until(lambda: backlog.ended() or backlog.still_for() > 1.75, 20)

    def nothing_is_lost() -> None:
        bob.expect_message(*[b"FROM alice " + TEXT] * count, seconds=10)
        alice.expect_message(*[b"OK"] * count)
        ask(carol, b"TO bob hello", b"OK")
        bob.expect_message(b"FROM carol hello")

    return _reads_on(lab, bob, backlog, nothing_is_lost)


def _sender_falls_silent(lab: Lab) -> bool:
    """What the server keeps for bob because there was no room must follow when he reads, though nobody writes any more.

    False if that cannot be judged.
    """
    jam = Jam(lab, lab.server())
    jam.until_no_room()

    def nothing_is_lost() -> None:
        jam.bob.expect_message(*[b"FROM alice " + TEXT] * jam.written, cause="bob read nothing for a moment. When he read on, not all "
                               "that alice had written to him came, although she wrote no more.")
        jam.alice.expect_message(*[b"OK"] * jam.written)

    return _reads_on(lab, jam.bob, jam.backlog, nothing_is_lost)
