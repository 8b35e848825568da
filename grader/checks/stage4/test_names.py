"""Stage 4: the table of names."""

from __future__ import annotations

import string

from grader.check import check
from grader.checks.common.workload import end_conversation
from grader.harness.instrument import Fault, held_send, held_unlock
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program

NOT_IN_NAMES = sorted(set(range(256)) - set(b"\0\t\n\v\f\r " + (string.ascii_letters + string.digits + "_-").encode()))
GONE_SECONDS = 6.0  # contract: a name is free within 6 seconds after its owner's end


def enter(lab: Lab, server: Program, *names: str) -> list[Peer]:
    """Clients that have entered their names."""
    peers = []
    for name in names:
        peer = lab.connect(server, name)
        ask(peer, b"NAME " + name.encode(), b"OK")
        peers.append(peer)
    return peers


def ask(peer: Peer, command: bytes, reply: bytes) -> None:
    """Sends a command; exactly this reply comes."""
    peer.send_message(command)
    peer.expect_message(reply)


def until_name_is_free(lab: Lab, peer: Peer, name: bytes, seconds: float) -> bool:
    """Asks for the name again and again until the answer is OK."""
    def entered() -> bool:
        peer.send_message(b"NAME " + name)
        return peer.message() == b"OK"

    return lab.until(entered, seconds)


@check("server.good_names", points={4: 0.25}, todo="4.2", hints=(
    "A name has 1 to 31 of A-Z, a-z, 0-9, _ and -.",
    "Which of these bytes, or which length, does your test refuse? Try a name of 31 letters, and the two signs.",
    "Count the length without a 0, give the table room for 31 bytes and a 0, and let every byte of the five kinds pass.",
))
def test_every_name_that_is_allowed_can_be_entered(lab: Lab) -> None:
    """A rule says what is allowed, and all of that must work.

    Twelve clients enter a, Z, names of 31 and 30 letters, 0, _, -, Al-ice_99, two names with all other letters and digits,
    DONE and xDONE. Each must get OK, and WHO must list just these names. Then each writes to the next one, who must get the
    message.
    """
    server = lab.server()
    names = (b"a", b"Z", b"n" * 31, b"n" * 30, b"0", b"_", b"-", b"Al-ice_99",
             b"abcdefghijklmnopqrstuvwxyz01234", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ56789", b"DONE", b"xDONE")
    peers = [lab.connect(server) for _ in names]
    for peer, name in zip(peers, names):
        ask(peer, b"NAME " + name, b"OK")
    peer.send_message(b"WHO")
    listed = peer.message().split(b" ")[1:]
    lab.require(sorted(listed) == sorted(names), f"WHO should list {b' '.join(sorted(names)).decode()}; it listed "
                f"{b' '.join(sorted(listed)).decode('utf-8', 'replace')}.")
    for number, name in enumerate(names):
        ask(peers[number - 1], b"TO " + name + b" hello", b"OK")
        peers[number].expect_message(b"FROM " + names[number - 1] + b" hello")


@check("server.bad_names", points={4: 0.5}, todo="4.2", hints=(
    "Look at every byte of the name, and at their number.",
    "What do you compare the length with, and when: before or after the name is copied?",
    "First the length, 1 to 31, then each byte up to that length against the ranges; a zero byte is just a wrong byte.",
))
def test_every_other_name_is_answered_with_ERR_bad_name(lab: Lab) -> None:
    """What a stranger sends is checked before it is stored.

    One client asks for names of 32, 255, 257, 287 and 4000 letters, for names with a zero byte, a newline or a carriage return,
    and for one with each of the other bytes that are no blank and not allowed. Each time it must get ERR bad name; then
    NAME alice must get OK.
    """
    server = lab.server()
    peer = lab.connect(server)
    for name in (b"n" * 32, b"n" * 255, b"n" * 257, b"n" * 287, b"n" * 4000, b"a\0b", b"a\n", b"bob\r", *(b"al%cce" % byte for byte in NOT_IN_NAMES)):
        ask(peer, b"NAME " + name, b"ERR bad name")
    ask(peer, b"NAME alice", b"OK")


@check("server.whole_names", points={4: 0.5}, todo="4.3", hints=(
    "alice, alic and Alice are three names. How many bytes do you compare?",
    "What does your comparison say when one name is the beginning of the other, in either direction?",
    "Two names are equal when their lengths are, and then all their bytes.",
))
def test_names_are_compared_whole_and_case_matters(lab: Lab) -> None:
    """Two names are equal when every byte and the length are.

    alice, alic, a, alicex, Alice and ALICE enter, and bob writes to each. Each message must reach the one with
    exactly this name, and a message to alicexy must get ERR no such user.
    """
    server = lab.server()
    names = ("alice", "alic", "a", "alicex", "Alice", "ALICE")
    peers = enter(lab, server, *names)
    sender = enter(lab, server, "bob")[0]
    for name, peer in zip(names, peers):
        ask(sender, b"TO %s for %s" % (name.encode(), name.encode()), b"OK")
        peer.expect_message(b"FROM bob for " + name.encode())
    ask(sender, b"TO alicexy hello", b"ERR no such user")


@check("server.name_taken", points={4: 0.5}, todo="4.3", hints=(
    "Who else may have this name already? Where can you find out?",
    "Compare with every entry of the table before you enter the name, and change nothing if one is equal.",
    "Look for the name before you enter it, under the same lock; and who was refused has no name that could be removed when he leaves.",
))
def test_a_name_that_somebody_has_is_answered_with_ERR_name_taken(lab: Lab) -> None:
    """A name leads to one client.

    While alice is there, a second client asks for her name and must get ERR name taken. It must then be able to
    enter as bob, and its message to alice must reach the first client; also after a third client has asked for her name
    and left.
    """
    server = lab.server()
    alice = enter(lab, server, "alice")[0]
    second = lab.connect(server, "the second client")
    ask(second, b"NAME alice", b"ERR name taken")
    ask(second, b"NAME bob", b"OK")
    ask(second, b"TO alice hello", b"OK")
    alice.expect_message(b"FROM bob hello")
    third = lab.connect(server, "the third client")
    ask(third, b"NAME alice", b"ERR name taken")
    end_conversation(third)
    ask(second, b"TO alice are you still there?", b"OK")
    alice.expect_message(b"FROM bob are you still there?")


@check("server.already_named", points={4: 0.25}, todo="4.7", hints=(
    "A client has one name.",
    "How does your server know, when NAME comes, that this client has one? And what does it do to the table then?",
    "If the client has a name, reply ERR already named before you touch the table.",
))
def test_a_second_NAME_is_answered_with_ERR_already_named(lab: Lab) -> None:
    """A client keeps the name it has.

    alice sends NAME carol and must get ERR already named. WHO must list just alice, and another client must get the
    name carol.
    """
    server = lab.server()
    alice = enter(lab, server, "alice")[0]
    ask(alice, b"NAME carol", b"ERR already named")
    ask(alice, b"WHO", b"OK alice")
    ask(lab.connect(server), b"NAME carol", b"OK")


@check("server.name_first", points={4: 0.25}, todo="4.7", hints=(
    "Who would the message be from?",
    "Which commands are served before NAME, and where do you ask whether the client has a name?",
    "In TO, look first whether this client has a name; if not, reply ERR name first and send nothing.",
))
def test_TO_before_NAME_is_answered_with_ERR_name_first(lab: Lab) -> None:
    """A sender needs a name.

    A client without a name writes to bob and must get ERR name first. WHO must still be answered, and bob must have
    got nothing.
    """
    server = lab.server()
    bob = enter(lab, server, "bob")[0]
    peer = lab.connect(server)
    ask(peer, b"TO bob hello", b"ERR name first")
    ask(peer, b"WHO", b"OK bob")
    ask(bob, b"WHO", b"OK bob")


@check("server.one_of_twenty", points={4: 0.5}, todo="4.3", hints=(
    "What can happen between looking for a name and entering it?",
    "Does each of the two steps take the lock for itself? Then somebody else may come between them.",
    "Checking and entering must be one step, under one lock.",
))
def test_exactly_one_of_twenty_gets_the_name(lab: Lab) -> None:
    """The first to ask has it, however close the others are.

    20 clients ask for the same name while the server is halted, so that it finds all requests at once; this happens
    five times. One of them must get OK, the 19 others ERR name taken.
    """
    server = lab.server()
    for turn in range(5):
        peers = [lab.connect(server) for _ in range(20)]
        server.stop()  # so that all of them ask at once
        for peer in peers:
            peer.send_message(b"NAME name%d" % turn)
        server.go_on()
        replies = sorted(peer.message() for peer in peers)
        lab.require(replies == [b"ERR name taken"] * 19 + [b"OK"],
                    f"Twenty clients asked for one name at once; {replies.count(b'OK')} of them got OK.")


@check("server.name_in_one_step", points={4: 0.75}, todo="4.3", hints=(
    "What can another thread do between your look into the table and the entry of the name?",
    "Whoever gives the lock back between checking and entering must check again.",
    "Check and enter under one lock, in one function.",
))
def test_no_thread_comes_between_checking_a_name_and_entering_it(lab: Lab) -> None:
    """Each thread that gives a lock back is held there until the others have come as far.

    Four clients ask for the same name at once. Each thread that gives back a lock is held there until all four are
    held or nothing moves any more; then all go on to the next lock, and so on. One of the four must get OK, the
    others ERR name taken. This happens three times.
    """
    hold = held_unlock()
    server = lab.server(faults=[hold])
    for turn in range(3):
        peers = [lab.connect(server) for _ in range(4)]
        lab.arm_at_rest(server, hold)
        for peer in peers:
            peer.send_message(b"NAME name%d" % turn)
        _in_step(lab, server, hold, peers)
        replies = sorted(peer.message() for peer in peers)
        lab.require(replies == [b"ERR name taken"] * 3 + [b"OK"],
                    f"Four clients asked for one name at once; {replies.count(b'OK')} of them got OK.")
    lab.require_met(server, hold)


def _in_step(lab: Lab, server: Program, hold: Fault, peers: list[Peer]) -> None:
    """Lets the threads that are held go on together, from lock to lock, until each peer has its reply."""
    instrument = server.instrument

    def answered() -> int:
        return sum(bool(peer.received) for peer in peers)

    for _ in range(20):
        # Who is answered is not waited for; who waits for a lock that a held thread has cannot come.
        lab.until(lambda: instrument.held(hold) + answered() >= len(peers), 0.3)
        if answered() == len(peers):
            break
        instrument.let_go(hold)
    instrument.disarm(hold)


@check("server.name_free_at_BYE", points={4: 0.25}, todo="4.6", hints=(
    "In which order do you remove the name and send BYE?",
    "The client that has read BYE may have told the next one, who asks before your thread does anything more.",
    "First the name leaves the table, then BYE is sent, then the connection is closed.",
))
def test_a_name_is_free_when_BYE_arrives(lab: Lab) -> None:
    """Who has read BYE may rely on it.

    The thread that sends BYE to alice is held right behind its send(), and meanwhile somebody asks for the name, who must
    get OK (he may wait until the thread goes on). Then 300 clients come one after the other, enter as alice, say QUIT and
    read BYE; the next one asks for the name right after that. Each must get OK.
    """
    hold = held_send()
    server = lab.server(faults=[hold])
    alice = enter(lab, server, "alice")[0]
    before = lab.connect(server)
    lab.arm_at_rest(server, hold)
    alice.send_message(b"QUIT")
    lab.until(lambda: server.instrument.met(hold) or alice.ended)
    before.send_message(b"NAME alice")
    lab.let_go_if_needed(server, hold, lambda: before.received or before.ended)
    server.instrument.disarm(hold)
    before.expect_message(b"OK", cause="The name was still taken when BYE had been sent.")
    alice.expect_message(b"BYE")
    ask(before, b"QUIT", b"BYE")
    lab.require_met(server, hold)
    for _ in range(300):
        peer = enter(lab, server, "alice")[0]
        before.close()  # not earlier: a thread may wait for that before it ends
        ask(peer, b"QUIT", b"BYE")
        before = peer


@check("server.name_free_after_leaving", points={4: 0.75}, todo="4.6", hints=(
    "Does everybody say goodbye before leaving?",
    "How does your thread learn of a close, a reset and a half-close, and which path does it take for each?",
    "The name must leave the table on every way out of the thread.",
))
def test_a_name_is_free_soon_after_its_owner_has_vanished(lab: Lab) -> None:
    """A connection may end without QUIT.

    Three clients enter a name and leave without QUIT: one closes, one resets, one half-closes. Another client asks
    for the name again and again, and must get OK within 6 seconds.
    """
    server = lab.server()
    other = lab.connect(server, "the next owner")
    for name, leave in ((b"anna", "close"), (b"berta", "reset"), (b"clara", "half_close")):
        owner = enter(lab, server, name.decode())[0]
        getattr(owner, leave)()
        asker = lab.connect(server)
        lab.require(until_name_is_free(lab, asker, name, GONE_SECONDS),
                    f"The name {name.decode()} was still taken 6 seconds after its owner's {leave}.")
    ask(other, b"NAME dora", b"OK")


@check("server.who", points={4: 0.25}, todo="4.3", hints=(
    "OK, then each name after one space, in any order.",
    "What does your server reply when the table is empty, and what when one of three has left?",
    "Begin with OK, add a space and the name for each used entry, under the lock; nothing behind the last one.",
))
def test_WHO_lists_exactly_the_names_in_the_table(lab: Lab) -> None:
    """The table can be looked at.

    A client without a name asks WHO. It must get OK alone while nobody has a name, OK and alice, bob and carol in
    any order when they have entered, and the two others when bob has got his BYE.
    """
    server = lab.server()
    nobody = lab.connect(server)
    ask(nobody, b"WHO", b"OK")
    peers = enter(lab, server, "alice", "bob", "carol")
    for expected in ({b"alice", b"bob", b"carol"}, {b"alice", b"carol"}):
        nobody.send_message(b"WHO")
        reply = nobody.message()
        lab.require(reply.split(b" ")[0] == b"OK" and sorted(reply.split(b" ")[1:]) == sorted(expected),
                    f"WHO should list {b' '.join(sorted(expected)).decode()}; the reply was {reply.decode('utf-8', 'replace')}.")
        if b"bob" in expected:
            ask(peers[1], b"QUIT", b"BYE")
