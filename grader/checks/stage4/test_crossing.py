"""Stage 4: many threads write to one connection at once, in both directions."""

from __future__ import annotations

from grader.check import check
from grader.checks.stage4.test_names import GONE_SECONDS, ask, enter, until_name_is_free
from grader.checks.stage4.test_stuck_receiver import HINTS, stick
from grader.harness.instrument import short, turns
from grader.harness.lab import Lab


@check("server.mixed_frames", points={4: 1}, todo="4.4", hints=(
    "Which threads write to bob's socket? His own, for the replies, and that of everybody who writes to him.",
    "send() may take a part only. Who may send to the same socket before the rest has followed?",
    "A message goes out whole under the receiver's lock: body, DONE, and every retry after a short send().",
))
def test_messages_are_never_mixed_although_they_leave_in_pieces(lab: Lab) -> None:
    """Each send() takes three bytes, and then another thread may go first. alice and carol write to bob, who asks for
    himself.

    Each send() of the server takes at most three bytes, and then another thread is let through to the same socket.
    Four times alice and carol write to bob at the moment when he sends a bad command. He must get ERR bad command
    and both messages whole, in any order, and the two must get OK.
    """
    faults = [short("send", 3), turns()]
    server = lab.server(faults=faults)
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
                    + ", ".join(repr(m.decode("utf-8", "backslashreplace")) for m in got) + ".")
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

    alice sends bob 300 messages and bob sends alice 300, all of which arrive together. Each must get 300 times OK,
    and the other's 300 messages once and in order.
    """
    server = lab.server()
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
    6.5 seconds another client must get her name, and what carol then writes to alice must reach that client.
    """
    server = lab.server()
    alice, carol, _backlog = stick(lab, server)
    alice.reset()
    asker = lab.connect(server, "the next alice")
    lab.require(until_name_is_free(lab, asker, b"alice", GONE_SECONDS + 0.5),
                "alice vanished while her thread wrote to bob, who does not read; 6 seconds later her name was still taken.")
    ask(carol, b"TO alice welcome", b"OK")
    asker.expect_message(b"FROM carol welcome")
