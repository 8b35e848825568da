"""Stage 4: what one client says reaches the right one, whole and in order."""

from __future__ import annotations

import random
import string

from grader.check import check
from grader.checks.common.workload import end_conversation, send_too_long
from grader.checks.stage4.test_names import GONE_SECONDS, ask, enter, until_name_is_free
from grader.harness.failures import NOT_CLOSED, SURPLUS
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.wire import encode, quote

ORDER_HINTS = (
    "Can two threads write to one socket at the same time?",
    "What may happen between the beginning of a message and its DONE, if they leave with two calls?",
    "A message is appended or sent whole, under the receiver's lock.",
)


@check("server.text_unchanged", points={4: 0.75}, todo="4.7", hints=(
    "TEXT is everything behind the one space after the destination; on the way out it is escaped as in stage 2, and no more.",
    "Which of your functions skip spaces, or stop at a byte 0? Which bytes get a backslash?",
    "Find the two spaces with memchr(); the text begins behind the second one, and its length is what is left of the body.",
))
def test_the_text_arrives_byte_for_byte(lab: Lab) -> None:
    """A relay carries what it does not understand.

    alice sends bob ten texts: nothing, spaces, DONE, backslashes, all 256 byte values, percent signs, a zero byte,
    a command. Each must be answered OK, and arrive byte for byte behind FROM alice and one space.
    """
    server = lab.server()
    alice, bob = enter(lab, server, "alice", "bob")
    for text in (b"hello", b"", b" ", b"  a   b  ", b"I am DONE", b"\\ \\\\", bytes(range(256)), b"%s%n", b"a\0b\n", b"TO bob QUIT"):
        ask(alice, b"TO bob " + text, b"OK")
        bob.expect(encode(b"FROM alice " + text))


@check("server.to_oneself", points={4: 0.25}, todo="4.7", hints=(
    "What if both sides of the letter are the same person? Which locks do you take then?",
    "A thread that locks a mutex which it already holds waits for itself.",
    "Give back the lock of the receiver before you take that of the sender for the reply; then they may be the same.",
))
def test_a_message_to_oneself_arrives(lab: Lab) -> None:
    """alice may write to alice.

    alice sends TO alice note. She must get OK and FROM alice note, in either order.
    """
    server = lab.server()
    alice = enter(lab, server, "alice")[0]
    alice.send_message(b"TO alice note")
    wanted = [b"FROM alice note", b"OK"]
    while wanted:
        got = alice.message()
        lab.require(got in wanted, f"alice wrote to herself and got {quote(got)}.")
        wanted.remove(got)


@check("server.unknown_user", points={4: 0.5}, todo="4.7", hints=(
    "What should the sender learn when the table has no such name?",
    "Which value does your search return when it found nothing, and is it looked at before it is used?",
    "Compare the whole name, length and bytes; if none is equal, reply ERR no such user and go on with the next command.",
))
def test_a_message_to_nobody_is_answered_with_ERR_no_such_user(lab: Lab) -> None:
    """Looking up a name may find nothing.

    alice writes to bob, to a name of 40 letters, to ali, to alice2, to alice with 256 letters more and to alice with a zero
    byte behind it, none of which is there. Each time ERR no such user must come, and WHO must still list just alice.
    """
    server = lab.server()
    alice = enter(lab, server, "alice")[0]
    for name in (b"bob", b"x" * 40, b"ali", b"alice2", b"alice" + b"e" * 256, b"alice\0x"):
        ask(alice, b"TO " + name + b" hello", b"ERR no such user")
    ask(alice, b"WHO", b"OK alice")


@check("server.departed_user", points={4: 0.25}, todo="4.6", hints=(
    "What does the table say about people who have left?",
    "The number of a closed socket belongs to the next client. Can somebody still find it in the table?",
    "Remove the name before the socket is closed: its number is used again at once.",
))
def test_a_message_to_one_who_has_left_reaches_nobody(lab: Lab) -> None:
    """The number of a closed socket is given to the next client.

    Five times bob enters, says QUIT and is gone, three strangers connect, and alice writes to bob. She must get ERR
    no such user; the strangers must get the replies to their own commands and nothing else.
    """
    server = lab.server()
    alice = enter(lab, server, "alice")[0]
    for _ in range(5):
        bob = enter(lab, server, "bob")[0]
        ask(bob, b"QUIT", b"BYE")
        bob.expect_end()
        strangers = [lab.connect(server, "a stranger") for _ in range(3)]
        for stranger in strangers:
            ask(stranger, b"WHO", b"OK alice")
        ask(alice, b"TO bob secret", b"ERR no such user")
        for stranger in strangers:
            ask(stranger, b"WHO", b"OK alice")
            stranger.close()


@check("server.only_the_receiver", points={4: 0.75}, todo="4.7", hints=(
    "Which socket did the table give you?",
    "Who gets a message when the loop over the table does not stop at the right entry?",
    "Deliver to just the one entry whose whole name is the destination; everybody else hears nothing.",
))
def test_a_message_reaches_only_the_one_it_is_for(lab: Lab) -> None:
    """A relay is no broadcast.

    alice sends bob ten messages, and he must get them. Then carol and a client without a name send a bad command:
    its reply must be the first thing that they get.
    """
    server = lab.server()
    alice, bob, carol = enter(lab, server, "alice", "bob", "carol")
    unnamed = lab.connect(server, "an unnamed client")
    for n in range(10):
        ask(alice, b"TO bob %d" % n, b"OK")
    for n in range(10):
        bob.expect_message(b"FROM alice %d" % n)
    # The reply to a later command would come behind anything that went astray.
    ask(carol, b"nonsense", b"ERR bad command")
    ask(unnamed, b"nonsense", b"ERR bad command")


@check("server.sender_name", points={4: 0.25}, todo="4.7", hints=(
    "Who really knows where the message came from?",
    "What the client writes is only text. Where does the server keep the name that it has given to this connection?",
    "The name behind FROM is that of the connection on which the command came, whatever the text says.",
))
def test_the_sender_is_who_the_server_knows(lab: Lab) -> None:
    """A client cannot speak in another's name.

    alice sends TO bob FROM carol hello. He must get FROM alice FROM carol hello.
    """
    server = lab.server()
    alice, bob = enter(lab, server, "alice", "bob")
    ask(alice, b"TO bob FROM carol hello", b"OK")
    bob.expect_message(b"FROM alice FROM carol hello")


@check("server.order", points={4: 0.5}, todo="4.4", hints=ORDER_HINTS)
def test_two_thousand_messages_arrive_in_order_each_once(lab: Lab) -> None:
    """What has got OK arrives.

    alice sends bob 2000 numbered messages, always 100 together. She must get OK for each, and he must get each
    once, in order.
    """
    server = lab.server()
    alice, bob = enter(lab, server, "alice", "bob")
    for start in range(0, 2000, 100):
        alice.send_message(*(b"TO bob number %d" % n for n in range(start, start + 100)))
        alice.expect_message(*[b"OK"] * 100)
    bob.expect_message(*(b"FROM alice number %d" % n for n in range(2000)))


@check("server.two_senders", points={4: 0.5}, todo="4.4", hints=ORDER_HINTS)
def test_messages_of_several_senders_are_never_mixed(lab: Lab) -> None:
    """Three threads write to one socket.

    Three clients send bob 60 messages of 3 kB each, all at the same time. He must get all 180 whole, those of each
    sender in order, and each sender must get 60 times OK.
    """
    server = lab.server()
    bob, *senders = enter(lab, server, "bob", "anna", "clara", "dora")
    count = 60
    for sender in senders:
        letter = sender.name[:1].encode()
        sender.send_message(*(b"TO bob %d " % n + letter * 3000 for n in range(count)))
    seen = {sender.name.encode(): 0 for sender in senders}
    for _ in range(count * len(senders)):
        got = bob.message()
        name = got.split(b" ")[1] if got.count(b" ") > 2 else b""
        expected = b"FROM %s %d " % (name, seen.get(name, -1)) + name[:1] * 3000
        lab.require(name in seen and got == expected, "Of three senders' messages to bob, one was mixed, lost or out of order.")
        seen[name] += 1
    for sender in senders:
        sender.expect_message(*[b"OK"] * count)


@check("server.replies_in_order", points={4: 0.25}, todo="4.7", hints=(
    "Every command gets exactly one reply.",
    "Look at each way out of each command: is there one without a reply, or with two?",
    "Serve the commands one after the other in this client's thread, and send the reply of each before the next begins.",
))
def test_each_command_gets_one_reply_in_the_order_of_the_commands(lab: Lab) -> None:
    """Commands may be sent without waiting for replies.

    alice sends 200 commands without waiting: to bob, to nobody, a second NAME, nonsense, again and again. She must
    get the 200 replies in the same order, and bob his 50 messages.
    """
    server = lab.server()
    alice, bob = enter(lab, server, "alice", "bob")
    commands = [(b"TO bob x", b"OK"), (b"TO nobody x", b"ERR no such user"), (b"NAME x", b"ERR already named"), (b"xyz", b"ERR bad command")] * 50
    alice.send_message(*(command for command, _ in commands))
    alice.expect_message(*(reply for _, reply in commands))
    bob.expect_message(*[b"FROM alice x"] * 50)


@check("server.from_too_long", points={4: 0.5}, todo="4.7", hints=(
    "FROM, the sender's name and two spaces are longer than TO, the destination and two spaces. Which body is too long then?",
    "The limit of 4096 counts for the body that leaves, before escaping. Do you know its length before you send?",
    "Add up FROM, the name, the spaces and the text. If that is more than 4096: ERR too long, and nothing to the receiver.",
))
def test_a_FROM_that_would_be_too_long_is_not_sent(lab: Lab) -> None:
    """The limit counts for what the server makes, too.

    alice sends bob a text with which the body FROM alice TEXT has exactly 4096 bytes, in letters and then in backslashes:
    she must get OK and he the message. With one byte more she must get ERR too long and he nothing; the next message must
    arrive again.
    """
    server = lab.server()
    alice, bob = enter(lab, server, "alice", "bob")
    room = 4096 - len(b"FROM alice ")
    for fits in (b"\\" * room, b"x" * room):  # the escapes do not count
        ask(alice, b"TO bob " + fits, b"OK")
        bob.expect_message(b"FROM alice " + fits)
    ask(alice, b"TO bob " + fits + b"y", b"ERR too long")
    ask(alice, b"TO bob after", b"OK")
    bob.expect_message(b"FROM alice after")


@check("server.command_too_long", points={4: 0.25}, todo="4.7", hints=(
    "As in stage 2: the answer, then the end.",
    "An over-long command leaves the stream in disorder; a FROM that would be too long does not. Do you treat them alike?",
    "Reply ERR too long, let what was said leave, take the name out of the table, and close as in stage 2.",
))
def test_a_command_that_is_too_long_is_answered_and_the_connection_closed(lab: Lab) -> None:
    """A stream that breaks the rules is not read any further.

    alice sends a TO command of 4097 bytes and must get ERR too long and the end of her connection. bob must have
    got nothing of it, and must still be answered; within 6 seconds another client must get her name.
    """
    server = lab.server()
    alice, bob = enter(lab, server, "alice", "bob")
    send_too_long(lab, server, alice, b"TO bob " + b"x" * 4090)
    ask(bob, b"TO bob2 x", b"ERR no such user")
    lab.require(until_name_is_free(lab, lab.connect(server), b"alice", GONE_SECONDS),
                "alice was sent away after a command that was too long; 6 seconds later her name was still taken.")


@check("server.bad_commands", points={4: 0.5}, todo="4.7", hints=(
    "The first word is the command, whole, in capitals.",
    "Do you compare the length of the word as well as its bytes? And what does your code do with an empty body?",
    "The word ends at the first space or at the end of the body; if it is none of the four, reply ERR bad command.",
))
def test_everything_else_is_answered_with_ERR_bad_command(lab: Lab) -> None:
    """A server expects anything.

    Eleven bodies are sent: an empty one, words in small letters, known commands with letters behind them, TO alone and
    without a text, FROM, a zero byte. Each must be answered ERR bad command, and the connection must stay open.
    """
    server = lab.server()
    alice = enter(lab, server, "alice")[0]
    for command in (b"", b"hello", b"who", b"WHOX", b"NAMEX bob", b"TOALL x", b"TO", b"TO alice", b"QUITX", b"\0", b"FROM bob x"):
        ask(alice, command, b"ERR bad command")
    ask(alice, b"WHO", b"OK alice")


@check("server.commands_in_pieces", points={4: 0.25}, todo="4.6", hints=(
    "What does one recv() bring, and when is a command complete?",
    "The text holds a DONE with a backslash before it. Who takes the escapes away, and when?",
    "Let the reader of stage 2 put the message together, and look for the command only in its complete body.",
))
def test_commands_may_arrive_in_any_pieces(lab: Lab) -> None:
    """The relay stands on the framing of stage 2.

    alice sends TO bob I am DONE, escaped, one byte at a time, each when the one before has been read. She must get
    OK, and bob the message.
    """
    server = lab.server()
    alice, bob = enter(lab, server, "alice", "bob")
    wire = encode(b"TO bob I am DONE")
    alice.send_pieces(*(wire[i : i + 1] for i in range(len(wire))))
    alice.expect_message(b"OK")
    bob.expect_message(b"FROM alice I am DONE")


@check("server.hundred_in_a_ring", points={4: 0.25}, todo="4.6", hints=(
    "Is there an array with room for fewer than 100 clients, or for a part of their names?",
    "Each client is written to by its neighbour while it writes itself. Does a thread hold one lock and wait for another?",
    "Let the table grow, or give it room for more than 100, hold one lock at a time, and search and mend a list to its end.",
))
def test_a_hundred_clients_write_to_their_neighbours(lab: Lab) -> None:
    """Everybody sends and receives at once.

    100 clients enter names of 31 letters, and each writes to the next, the last to the first. Each must get OK and the
    message of its neighbour, in either order. WHO must list all of them. Then every second one leaves, and the others do the
    same: whatever the leavers had in common with them in the table is still theirs.
    """
    server = lab.server()
    members = {f"n{i}": name for i, name in enumerate(_mixed_names(100))}
    peers = [lab.connect(server, short) for short in members]
    for peer in peers:
        ask(peer, b"NAME " + members[peer.name].encode(), b"OK")
    _write_around(lab, peers, members)
    for peer in peers[::2]:
        end_conversation(peer)
    _write_around(lab, peers[1::2], members)


def _mixed_names(count: int) -> list[str]:
    """So many names of 31 letters, always the same: some of them fall into one place of most hash tables."""
    letters = random.Random(2024)
    return ["".join(letters.choices(string.ascii_letters, k=31)) for _ in range(count)]


def _write_around(lab: Lab, peers: list[Peer], members: dict[str, str]) -> None:
    """Each writes to the next, and all are listed. `members` are their names in the table."""
    names = [members[peer.name] for peer in peers]
    for i, peer in enumerate(peers):
        peer.send_message(f"TO {names[(i + 1) % len(peers)]} hello from {peer.name}".encode())
    for i, peer in enumerate(peers):
        got = sorted(peer.message() for _ in range(2))
        lab.require(got == sorted([b"OK", f"FROM {names[i - 1]} hello from {peers[i - 1].name}".encode()]),
                    f"{peer.name} should have got OK and a message of {peers[i - 1].name}.")
    peers[0].send_message(b"WHO")
    listed = peers[0].message().decode("utf-8", "replace").split(" ")
    missing = sorted(set(names) - set(listed))
    lab.require(listed[0] == "OK" and sorted(listed[1:]) == sorted(names),
                f"{len(peers)} clients with names of 31 letters are in the table, and WHO does not list {missing[0] if missing else 'just them'}.")


@check("server.quit", points={4: 0.25}, todo="4.6", about=(SURPLUS,), hints=(
    "After BYE nothing more is sent, and the connection is closed.",
    "alice's thread may have found bob in the table before he left it. What stops it from sending behind BYE?",
    "Take the name out first; then, under bob's own lock, send BYE and mark him as ended, so that nobody adds to it.",
))
def test_QUIT_is_answered_with_BYE_and_nothing_follows(lab: Lab) -> None:
    """The goodbye is the last word, also while others write.

    alice sends bob 200 messages, and he says QUIT at the same time; this happens five times. He may get some of
    them before BYE, and must get nothing but the end behind it; she must get 200 replies, and ERR no such user when
    she then writes to him once more.
    """
    server = lab.server()
    alice, bob = enter(lab, server, "alice", "bob")
    for _ in range(5):
        alice.send_message(*[b"TO bob x"] * 200)
        bob.send_message(b"QUIT")
        while bob.message() != b"BYE":
            pass
        bob.expect_end()
        for _ in range(200):
            alice.message()
        ask(alice, b"TO bob are you there?", b"ERR no such user")
        bob = enter(lab, server, "bob")[0]


@check("server.half_close", points={4: 0.5}, todo="4.6", about=(NOT_CLOSED,), hints=(
    "recv() says 0: what has bob already been sent, and what does alice still wait for?",
    "Serve every complete command, then treat the client as gone.",
    "At the 0 the replies leave first, the half command is forgotten, then the name goes, then the connection.",
))
def test_a_client_that_half_closes_gets_its_replies_and_counts_as_gone(lab: Lab) -> None:
    """A FIN ends one direction only.

    alice sends bob 100 messages and half of another, and half-closes. She must get 100 times OK and the end, he the
    100 messages and not the half. Within 6 seconds her name must be gone from WHO.
    """
    server = lab.server()
    alice, bob = enter(lab, server, "alice", "bob")
    alice.send_message(*[b"TO bob x"] * 100)
    alice.send(b"TO bob half")
    alice.half_close()
    alice.expect_message(*[b"OK"] * 100)
    alice.expect_end()
    bob.expect_message(*[b"FROM alice x"] * 100)
    gone = lab.until(lambda: _reply(bob, b"WHO") == b"OK bob", 6)
    lab.require(gone, "alice had half-closed and got her replies, but her name stayed in the table.")


def _reply(peer, command: bytes) -> bytes:
    peer.send_message(command)
    return peer.message()


@check("server.last_words", points={4: 0.25}, todo="4.6", hints=(
    "In which order do you deliver and leave?",
    "OK means that the message was handed over. Is it still in a buffer of the client that leaves?",
    "Serve the commands in their order, and hand every message over before BYE is sent.",
))
def test_a_message_right_before_QUIT_is_delivered(lab: Lab) -> None:
    """What has got OK arrives, also after its sender has left.

    alice sends a message for bob and QUIT with one call. She must get OK, BYE and the end, and bob must get the
    message.
    """
    server = lab.server()
    alice, bob = enter(lab, server, "alice", "bob")
    alice.send_message(b"TO bob last words", b"QUIT")
    alice.expect_message(b"OK", b"BYE")
    alice.expect_end()
    bob.expect_message(b"FROM alice last words")
