"""A body is bytes with a length, not a C string; and each message starts afresh."""

from __future__ import annotations

from grader.check import check
from grader.checks.stage2.bench import echo, echo_together, text
from grader.harness.failures import CRASH, SURPLUS, UNPRINTED
from grader.harness.lab import Lab


@check("server.all_bytes", points={2: 0.5}, todo="2.3", hints=(
    "Any of the 256 byte values may occur in a body. Which of them does your code treat in a special way?",
    "Only D, O, N, E and the backslash mean something on the wire; newline, 0 and 255 do not.",
    "Functions whose names begin with str stop at a zero byte: use a length, and memcpy and memcmp."))
def test_every_byte_value_comes_back_unchanged(lab: Lab) -> None:
    """The network carries bytes. A message can be a picture as well as a text.

    Seven bodies are sent one by one: all 256 byte values forwards, backwards and 16 times over, 50 bytes 255, two
    kinds of newline, and a text in UTF-8. Each must come back exactly.
    """
    peer = lab.connect(lab.server())
    values = bytes(range(256))
    echo(peer, values, values[::-1], values * 16, bytes([255]) * 50, b"\r\n", b"\n", "größe €".encode())


@check("server.nul_bytes", points={2: 0.25}, todo="2.3", hints=(
    "What is strlen() of a body that begins with a zero byte?",
    "recv() tells how many bytes came. Where do you keep that number?",
    "Search for DONE by comparing bytes up to the length that you know; a zero byte does not end anything."))
def test_a_zero_byte_does_not_end_a_message(lab: Lab) -> None:
    """A NUL ends strings in C, not messages on the wire.

    Bodies with zero bytes at the start, in the middle and at the end are sent one by one, then three messages that
    arrive together. Each must come back with all its bytes.
    """
    server = lab.server()
    peer = lab.connect(server)
    echo(peer, b"\0", b"a\0b", b"\0\0\0\0", b"\0start", b"end\0", b"DO\0NE")
    echo_together(server, peer, b"one\0", b"\0two", b"three")


@check("server.percent_signs", points={2: 0.25}, todo="2.6", about=(CRASH,), hints=(
    "What does printf() do when the text of a client is its first argument?",
    "The format of printf() is yours, never the client's.",
    'Print a body with a format such as "%.*s", or with fwrite().'))
def test_percent_signs_in_a_body_are_printed_as_they_are(lab: Lab) -> None:
    """A text from outside that is used as a format lets a stranger read and write your memory.

    Four bodies with percent signs are sent, such as %s%s%s%s and %n%n%n. Each must come back unchanged, and stand
    unchanged on stdout behind "received: ".
    """
    server = lab.server()
    peer = lab.connect(server)
    for body in (b"100%", b"%s%s%s%s", b"%n%n%n", b"%x %d %p %%"):
        echo(peer, body)
        server.expect_line(b"received: " + body)


@check("server.long_then_short", points={2: 0.5}, todo="2.3", about=(SURPLUS,), hints=(
    "After a long message a short one comes. What is still in your buffer behind it?",
    "Which counters must be set back when a message has been answered?",
    "A body ends at its length; what stands behind it in the array is from the past."))
def test_nothing_of_a_long_message_stays_in_a_short_one(lab: Lab) -> None:
    """A buffer that is used again still holds what was there; only the length tells what is new.

    Bodies of 3000, 2, 0, 4000, 1, 100 and 2 bytes are sent on one connection, one by one. Each must come back
    exactly, and its line "received: BODY" must have nothing behind it.
    """
    server = lab.server()
    peer = lab.connect(server)
    for body in (text(3000), b"hi", b"", text(4000, 3), b"x", text(100, 5), b"ok"):
        echo(peer, body)
        server.expect_line(b"received: " + body)


@check("server.many_messages", points={2: 0.25}, todo="2.6", about=(CRASH,), hints=(
    "Something in your server is used up with each message. A buffer, perhaps?",
    "Does a position in a buffer only grow, or does it also go back?",
    "After each answer, the state for the next message must be as it was for the first."))
def test_one_connection_carries_many_messages(lab: Lab) -> None:
    """A connection stays open for as long as the client wants to talk.

    One client sends 200 messages of 0 to 302 bytes, each when the one before has come back. Every one must come
    back exactly.
    """
    peer = lab.connect(lab.server())
    echo(peer, *(text(50 * (i % 7) + i % 3, i) for i in range(200)))


@check("server.received_lines", points={2: 0.25}, todo="2.6", about=(UNPRINTED,), hints=(
    "For each message the server prints the word received, a colon, a space and the body.",
    "The body is printed as the client meant it: without DONE and without the backslashes of the wire.",
    "One line for one message: put a newline behind it, and see that it leaves your program at once."))
def test_the_server_prints_a_line_for_each_message(lab: Lab) -> None:
    """Who watches the server sees each message once, whole, on a line of its own.

    Six messages arrive together, with spaces, DONE and a backslash in their bodies. For each of them a line
    "received: BODY" must appear on stdout, in this order, and the last one only once.
    """
    server = lab.server()
    peer = lab.connect(server)
    bodies = (b"hello", b"  two  spaces  ", b"I am DONE", b"back\\slash", b"received: hello", b"bye for now")
    echo_together(server, peer, *bodies)
    for body in bodies:
        server.expect_line(b"received: " + body)
    lab.require(server.count_line(b"received: bye for now") == 1,
                'Your server printed the line "received: bye for now" more than once for one message.')
