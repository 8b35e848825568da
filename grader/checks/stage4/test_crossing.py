"""Stage 4: many threads write to one connection at once, in both directions."""

from __future__ import annotations

from grader.check import check
from grader.checks.common.test_memory import rehearse, watched
from grader.checks.common.workload import converse
from grader.checks.stage4.test_names import GONE_SECONDS, ask, enter, until_name_is_free
from grader.checks.stage4.test_stuck_receiver import HINTS, Jam, until_judged
from grader.harness import kernel, memory
from grader.harness.instrument import Fault, held_unlock, locks_in_turn, short, slow_unlock, turns
from grader.harness.lab import Lab
from grader.harness.program import Program
from grader.harness.wire import encode, quote, show


@check("server.mixed_frames", points={4: 1}, todo="4.4", hints=(
    "Which threads write to bob's socket? His own, for the replies, and that of everybody who writes to him.",
    "send() may take a part only. Who may send to the same socket before the rest has followed?",
    "A message goes out whole under the receiver's lock: body, DONE, and every retry after a short send().",
), slow=True)
def test_messages_are_never_mixed_although_they_leave_in_pieces(lab: Lab) -> None:
    """Each send() takes three bytes, and then another thread may go first. alice and carol write to bob, who asks for
    himself.

    Each send() of the server takes at most three bytes, and then another thread is let through to the same socket; a
    thread that gives back a lock pauses, the first 100 times for 20 ms, so that another can take it. Four times alice and
    carol write to bob at the moment when he sends a bad command. He must get ERR bad command and both messages whole, in
    any order, and the two must get OK.
    """
    faults = [short("send", 3), turns()]
    server = lab.server(faults=[*faults, slow_unlock(20, last=100)])
    alice, bob, carol = enter(lab, server, "alice", "bob", "carol")
    count = 4
    for n in range(count):
        server.stop()  # so that all three threads begin together
        alice.send_message(b"TO bob %d aaaaaaaaaaaaaaa" % n)
        carol.send_message(b"TO bob %d ccccccccccccccc" % n)
        bob.send_message(b"bbbbbbbbbbbb")
        server.go_on()
        wanted = [b"ERR bad command", b"FROM alice %d aaaaaaaaaaaaaaa" % n, b"FROM carol %d ccccccccccccccc" % n]
        got = [bob.message() for _ in wanted]
        lab.require(sorted(got) == wanted, "Three threads wrote to bob at once, and their messages were mixed: he got "
                    + ", ".join(map(quote, got)) + ".")
        alice.expect_message(b"OK")
        carol.expect_message(b"OK")
    lab.require_met(server, *faults)


@check("server.crossing", points={4: 0.5}, todo="4.4", hints=(
    "alice's thread sends to bob while bob's thread sends to alice. Which locks does each hold, and in which order?",
    "A thread that holds one client's lock must not wait for another's.",
    "Take one lock at a time: bob's while you write to bob, and none while you wait.",
))
def test_two_clients_may_write_to_each_other_at_once(lab: Lab) -> None:
    """What each thread needs, the other must not keep.

    alice sends bob 300 messages and bob sends alice 300, all of which arrive together. A thread that has taken a
    lock waits, sixty times in all, until another one asks for a lock, too. Each must get 300 times OK, and the other's
    300 messages once and in order.
    """
    server = lab.server(faults=[locks_in_turn(last=60)])
    alice, bob = enter(lab, server, "alice", "bob")
    count = 300
    server.stop()
    for sender, receiver in ((alice, b"bob"), (bob, b"alice")):
        sender.send_message(*(b"TO %s %d " % (receiver, n) + b"x" * 100 for n in range(count)))
    server.go_on()
    for peer, other in ((alice, b"bob"), (bob, b"alice")):
        got = [peer.message(cause=f"alice and bob wrote to each other at once, and {peer.name} got no more messages.")
               for _ in range(2 * count)]
        replies, mail = [m for m in got if m == b"OK"], [m for m in got if m != b"OK"]
        lab.require(len(replies) == count and mail == [b"FROM %s %d " % (other, n) + b"x" * 100 for n in range(count)],
                    f"alice and bob wrote to each other at once; {peer.name} did not get every message once and in order.")


@check("server.leaves_while_stuck", points={4: 0.5}, todo="4.5", hints=HINTS, slow=True)
def test_who_leaves_while_writing_to_a_stuck_receiver_is_forgotten_in_time(lab: Lab) -> None:
    """alice's thread waits for bob, who does not read. She vanishes; within 6 seconds her name is free.

    bob reads nothing, and alice writes to him until nothing moves any more; then her connection is reset. Within
    6.5 seconds another client must get her name, and what carol then writes to alice must reach that client. If bob has
    been dropped before she vanishes, as may happen on a busy machine, all of it is tried again, three times at most.
    """
    until_judged(lambda: _leaves_while_stuck(lab, lab.server()))


def _leaves_while_stuck(lab: Lab, server: Program) -> bool:
    """False if bob was dropped before alice vanished: her thread did not wait then."""
    carol = enter(lab, server, "carol")[0]
    jam = Jam(lab, server)
    jam.until_stuck()
    if not jam.still_stuck():
        return False
    jam.alice.reset()
    asker = lab.connect(server, "the next alice")
    lab.require(until_name_is_free(lab, asker, b"alice", GONE_SECONDS + 0.5),
                "alice vanished while her thread wrote to bob, who does not read; 6 seconds later her name was still taken.")
    ask(carol, b"TO alice welcome", b"OK")
    asker.expect_message(b"FROM carol welcome")
    return True


@check("server.leaves_while_looked_up", points={4: 0.25}, todo="4.1", tool=True, hints=(
    "alice's thread has found bob and given the lock back. What may happen to bob before it sends?",
    "Who may still have a pointer to a client when its own thread ends, and who says so?",
    "Count a reference to bob under the same lock with which he was found; the last one frees him and closes.",
))
def test_a_receiver_who_leaves_while_a_message_is_on_its_way_harms_nobody(lab: Lab) -> None:
    """alice's thread is held while it has a message for bob in hand. Meanwhile he leaves, and strangers come.

    First a short conversation is held without the tool. Then six times alice writes to bob, and her thread is held
    where it gives back a lock, the first time after the first lock, then after the second, and so on. Meanwhile bob
    says QUIT, and three strangers connect, of whom one may get his descriptor number; then the thread goes on (earlier
    if nobody is served without it). alice must get a reply, the strangers the replies to their own commands and nothing
    else, and AddressSanitizer must not report anything.
    """
    rehearse(lab, lambda bench: converse(bench, bench.server()))
    holds = [held_unlock(first=n, last=n) for n in range(1, 7)]
    server = lab.server(faults=holds, **memory.ASAN)
    watched(lab, lambda: _leave_while_looked_up(lab, server, holds))
    lab.require_met(server, holds[0])


def _leave_while_looked_up(lab: Lab, server: Program, holds: list[Fault]) -> None:
    alice = enter(lab, server, "alice")[0]
    for hold in holds:
        bob = enter(lab, server, "bob")[0]
        lab.arm_at_rest(server, hold)
        alice.send_message(b"TO bob secret")
        if not lab.until(lambda: server.instrument.met(hold) or alice.received) or alice.received:
            server.instrument.disarm(hold)  # no thread gives back so many locks
        bob.send_message(b"QUIT")
        lab.let_go_if_needed(server, hold, lambda: encode(b"BYE") in bob.received)
        while bob.message() != b"BYE":
            pass
        bob.close()
        lab.until(lambda: not kernel.at_work(server.pid), 1)  # his thread has seen the end: what was his can be given away now
        strangers = [lab.connect(server, "a stranger") for _ in range(3)]
        for stranger in strangers:
            stranger.send_message(b"nonsense")
            lab.let_go_if_needed(server, hold, lambda: stranger.received)
            stranger.expect_message(b"ERR bad command")
        server.instrument.disarm(hold)
        reply = alice.message()
        lab.require(reply == b"OK" or reply.startswith(b"ERR "), "alice wrote to bob, who was just leaving. She should get a reply, "
                    f"and got {show(reply)}.")
        for stranger in strangers:
            ask(stranger, b"nonsense", b"ERR bad command")
            stranger.close()
