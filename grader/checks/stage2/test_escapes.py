"""A body may contain DONE and backslashes: the sender escapes, the receiver unescapes."""

from __future__ import annotations

from grader.check import check
from grader.checks.stage2.bench import echo
from grader.harness.lab import Lab
from grader.harness.wire import encode


@check("server.escaped_done", points={2: 0.5}, todo="2.2", hints=(
    "The message 'I am DONE' travels as 'I am \\DONEDONE'. Which of the two DONE ends it?",
    "The server does the work twice: it removes the backslash when it receives, and puts it back when it sends.",
    "Print what your server believes the body to be: is there a backslash in it?"))
def test_a_DONE_inside_a_body_is_escaped_both_ways(lab: Lab) -> None:
    """What marks the end needs a way to stand for itself. The body is what is left after unescaping.

    Ten bodies with DONE and its parts in them are sent, escaped as the protocol asks. Each must come back escaped
    in the same way, and stand on stdout behind "received: " without escapes.
    """
    server = lab.server()
    peer = lab.connect(server)
    for body in (b"I am DONE", b"DONE", b"DONEDONE", b"DONE and DONE", b"DODONE", b"DDONE", b"DONDONE",
                 b"DODODONE", b"DONED", b"UNDONE!"):
        echo(peer, body)
        server.expect_line(b"received: " + body)


@check("server.backslashes", points={2: 0.5}, todo="2.2", hints=(
    "A backslash in a body travels as two. How many does your server send back?",
    "In '\\\\DONE' the first backslash escapes the second one. Does the DONE then end the message?",
    "After an escaped byte the next byte starts with no memory of it: it is not escaped."))
def test_a_backslash_in_a_body_travels_as_two(lab: Lab) -> None:
    """The escape itself must be escaped; otherwise a text with a backslash changes its meaning.

    Ten bodies with backslashes are sent: one, two or three alone, and before, in and behind DONE. Each must come
    back escaped in the same way, and stand on stdout behind "received: " without escapes.
    """
    server = lab.server()
    peer = lab.connect(server)
    for body in (b"a\\b", b"\\", b"\\\\", b"\\\\\\", b"C:\\DOS\\DONE", b"\\DONE", b"\\\\DONE", b"DONE\\", b"D\\ONE", b"\\D"):
        echo(peer, body)
        server.expect_line(b"received: " + body)


@check("server.other_escapes", points={2: 0.25}, todo="2.3", hints=(
    "A backslash may stand before any byte. Which bytes does your server expect there?",
    "'\\n' on the wire is a backslash and the letter n; it means the letter n.",
    "'D\\ONEDONE' is a message whose body is DONE: an escaped byte is never a part of the end mark."))
def test_a_backslash_before_any_byte_means_that_byte(lab: Lab) -> None:
    """A receiver accepts more than it would send: every escape is legal, and the byte is literal.

    Eight messages arrive with a backslash before bytes that need none, such as every letter of hello, or the O of
    DONE. The body must come back, with just the escapes that a sender makes. QUIT with a backslash before its U is QUIT: BYE
    must come, and the end of the connection.
    """
    peer = lab.connect(lab.server())
    for wire, body in ((b"\\h\\e\\l\\loDONE", b"hello"), (b"\\nDONE", b"n"), (b"\\DDONE", b"D"),
                       (b"D\\ONEDONE", b"DONE"), (b"DO\\NEDONE", b"DONE"), (b"DON\\EDONE", b"DONE"),
                       (b"\\D\\O\\N\\EDONE", b"DONE"), (b"DON\\DDONE", b"DOND")):
        peer.send(wire)
        peer.expect(encode(body))
    peer.send(b"Q\\UITDONE")
    peer.expect(encode(b"BYE"))
    peer.expect_end()


@check("server.escape_split", points={2: 0.5}, todo="2.3", hints=(
    "A backslash may be the last byte of one recv(), and what it escapes the first of the next.",
    "What does your server remember of a backslash when it calls recv() again?",
    "That the next byte is escaped has to be kept between two calls, like the letters of DONE already seen."))
def test_an_escape_may_be_cut_from_its_byte(lab: Lab) -> None:
    """Everything that is longer than one byte can be cut, an escape too.

    Four messages with escapes arrive in two pieces, cut at every possible place; the second piece leaves when the
    server has read the first. Each must come back whole.
    """
    peer = lab.connect(lab.server())
    for body in (b"I am DONE", b"a\\b", b"\\DONE", b"DONE\\"):
        wire = encode(body)
        for cut in range(1, len(wire)):
            peer.send_pieces(wire[:cut], wire[cut:])
            peer.expect(wire)
