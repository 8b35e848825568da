"""A TCP stream has no pieces of its own: messages arrive cut and joined in any way."""

from __future__ import annotations

from grader.check import check
from grader.checks.stage2.bench import echo_together, text
from grader.harness.failures import UNPRINTED
from grader.harness.lab import Lab
from grader.harness.wire import encode

NEAR_MISSES = (b"", b"D", b"DO", b"DON", b"E", b"NE", b"ONE", b"DOND", b"DDON", b"DODO", b"DONDON",
               b"done", b"Done", b"D ONE", b"DO NE", b"DON E", b"DNOE", b"DOEN", b"ENOD", b"NDOE")


@check("server.cut_done", points={2: 0.5}, todo="2.3", hints=(
    "What has arrived so far is the only thing that recv() can give you: a message may end in the next piece.",
    "Where does your search for DONE begin after another recv()? Could its first letters have come before?",
    "Keep what you have, add the new bytes behind it, and remember how much of DONE was just seen."))
def test_a_message_is_found_wherever_its_DONE_is_cut(lab: Lab) -> None:
    """The four bytes of DONE may arrive in two recv() calls: an end that was cut is still the end.

    An empty message and hello arrive in two pieces, cut before DONE and at every place in it; the second piece
    leaves when the server has read the first. Each time the message must come back.
    """
    peer = lab.connect(lab.server())
    for size in (0, 5):
        wire = encode(b"hello"[:size])
        for cut in range(max(size, 1), len(wire)):
            peer.send_pieces(wire[:cut], wire[cut:])
            peer.expect(wire)


@check("server.cut_body", points={2: 0.5}, todo="2.3", about=(UNPRINTED,), hints=(
    "One recv() is not one message. What does your server do with a recv() that brings no DONE?",
    "The second piece belongs behind the first: at which address do you store it?",
    "Call recv() until the message is complete; append each time where the last piece ended."))
def test_a_message_in_several_pieces_is_put_together(lab: Lab) -> None:
    """A pause may fall anywhere in a message. The pieces join; none is a message by itself.

    Messages of 5, 18 and 3000 bytes arrive in two to five pieces, each of which leaves when the one before has been
    read. Each must come back as one message, and the second stand on stdout as one line.
    """
    server = lab.server()
    peer = lab.connect(server)
    peer.send_pieces(b"hel", b"loDONE")
    peer.expect(b"helloDONE")
    peer.send_pieces(b"one ", b"two ", b"three ", b"four", b"DONE")
    peer.expect(b"one two three fourDONE")
    server.expect_line(b"received: one two three four")
    long = text(3000)
    peer.send_pieces(long[:1000], long[1000:1001], long[1001:], b"DONE")
    peer.expect(encode(long))


@check("server.byte_by_byte", points={2: 0.5}, todo="2.3", hints=(
    "Here each recv() returns 1. Which part of your loop expects more?",
    "After the E of DONE, how does your server know of the D, the O and the N?",
    "Treat the stream as single bytes and keep between two recv() calls all that you must remember."))
def test_a_message_may_come_byte_by_byte(lab: Lab) -> None:
    """The smallest piece is one byte. Code that copes with it copes with every other cut.

    Three messages arrive one byte at a time, each byte when the one before has been read: hello, an empty one, and
    one full of parts of DONE. Each must come back.
    """
    peer = lab.connect(lab.server())
    for body in (b"hello", b"", b"DO you know DON, the DODO? DONE."):
        wire = encode(body)
        peer.send_pieces(*(bytes([byte]) for byte in wire))
        peer.expect(wire)


@check("server.two_in_one", points={2: 0.5}, todo="2.3", hints=(
    "What stands in your buffer behind the first DONE?",
    "The bytes behind DONE are the beginning of the next message: do they survive?",
    "Before you call recv() again, look whether what you already have holds a whole message."))
def test_two_messages_that_arrive_together_are_two_messages(lab: Lab) -> None:
    """One recv() may bring more than one message. What is behind DONE belongs to the next one.

    Two messages arrive together, then three more, the second of which is empty. Each must come back, in order, and
    the first two stand on stdout.
    """
    server = lab.server()
    peer = lab.connect(server)
    echo_together(server, peer, b"first", b"second")
    server.expect_line(b"received: first")
    server.expect_line(b"received: second")
    echo_together(server, peer, b"a", b"", b"b")


@check("server.many_in_one", points={2: 0.25}, todo="2.3", hints=(
    "It works with two messages. What is different with many in one buffer?",
    "If you move the rest to the front of the buffer: how many bytes, and do they overlap?",
    "Take one message after the other out of the buffer, until only an incomplete one is left."))
def test_two_hundred_messages_that_arrive_together_are_all_answered(lab: Lab) -> None:
    """A fast sender fills your buffer with many messages, and cuts the last one anywhere.

    3, then 10, then 200 short messages arrive together. Every one must come back, in order.
    """
    server = lab.server()
    peer = lab.connect(server)
    for count in (3, 10, 200):
        echo_together(server, peer, *(b"message number %d of %d" % (i, count) for i in range(count)))


@check("server.half_behind", points={2: 0.5}, todo="2.3", hints=(
    "The buffer holds a whole message and the beginning of another one. Does yours end with DONE then?",
    "The whole message is to be answered at once, although more bytes stand behind it.",
    "Look for the first DONE, wherever it is; keep what stands behind it for the next recv()."))
def test_a_message_with_half_of_the_next_behind_it_is_answered_at_once(lab: Lab) -> None:
    """DONE need not be the last thing in your buffer. The next message may have begun already.

    firstDONE arrives together with the beginning of secondDONE, cut at each of nine places. first must come back
    while the rest is still missing; then the rest is sent, and second must come back.
    """
    server = lab.server()
    peer = lab.connect(server)
    for cut in range(1, len(b"secondDONE")):
        server.stop()
        peer.send(b"firstDONE" + b"secondDONE"[:cut])
        server.go_on()
        peer.expect(b"firstDONE")
        peer.until_taken()
        peer.send(b"secondDONE"[cut:])
        peer.expect(b"secondDONE")


@check("server.near_misses", points={2: 0.5}, todo="2.3", hints=(
    "DONE is four capital letters in this order with nothing between them. What else does your search accept?",
    "In DODONE the second D breaks a match. Does it begin a new one?",
    "Write down by hand, letter by letter, how many letters of DONE have matched in DDONE."))
def test_text_that_looks_like_DONE_is_only_text(lab: Lab) -> None:
    """Half of a marker, its letters in disorder or in small are ordinary text, also right before DONE.

    Twenty bodies that resemble DONE (such as DON, DDON, done, D ONE) are sent as they are, behind an x, and with an
    x behind them. Each must come back unchanged.
    """
    peer = lab.connect(lab.server())
    for body in NEAR_MISSES:
        for padded in (body, b"x" + body, body + b" x"):
            peer.send_message(padded)
            peer.expect(encode(padded))


@check("server.near_misses_cut", points={2: 0.25}, todo="2.3", hints=(
    "Half of a DONE that came with the last recv() may turn out to be text.",
    "When the next byte is not the one you hoped for: what becomes of the letters that matched?",
    "They belong to the body. And the byte that broke the match may be a D."))
def test_a_near_DONE_that_arrives_in_pieces_loses_no_letter(lab: Lab) -> None:
    """Letters that could have been a DONE, and were not, stay in the message.

    Seven bodies such as DON, DONDO and DON'T arrive in two pieces, cut at every possible place; the second piece
    leaves when the server has read the first. Each must come back whole.
    """
    peer = lab.connect(lab.server())
    for body in (b"DO", b"DON", b"D", b"DOND", b"DONDO", b"DOx", b"DON'T"):
        wire = encode(body)
        for cut in range(1, len(wire)):
            peer.send_pieces(wire[:cut], wire[cut:])
            peer.expect(wire)
