"""Bodies of 0 to 4096 bytes, and what happens to a longer one."""

from __future__ import annotations

from grader.check import check
from grader.checks.common.workload import send_too_long
from grader.checks.stage2.bench import echo, text
from grader.harness.lab import Lab


@check("server.small_bodies", points={2: 0.25}, todo="2.3", hints=(
    "An empty body is a message too: on the wire it is only DONE.",
    "How many bytes do you take off for the end mark, and what if nothing is left?",
    "A length of 0 is not an error and not the end of the connection."))
def test_bodies_of_no_to_three_bytes_come_back(lab: Lab) -> None:
    """The smallest cases show whether every count in your code is right.

    Seven bodies of 0 to 3 bytes are sent, three of them empty. Each must come back, and the line "received: abc"
    must appear on stdout.
    """
    server = lab.server()
    peer = lab.connect(server)
    echo(peer, b"", b"a", b"ab", b"abc", b"", b"", b"z")
    server.expect_line(b"received: abc")


@check("server.round_sizes", points={2: 0.5}, todo="2.3", hints=(
    "Find the sizes of your buffers. Which of the tested bodies just fills one of them?",
    "With a full buffer, how many bytes do you ask recv() for? What does it return when asked for 0?",
    "Room is needed for the largest body and, while you do not know better, for the four letters behind it."))
def test_bodies_around_the_usual_buffer_sizes_come_back(lab: Lab) -> None:
    """Most errors of length show when a message just fills a buffer, or misses it by one byte.

    Bodies of 64, 256, 512, 1024 and 2048 bytes are sent, and of 5, 4, 3 and 1 bytes less and 1 byte more. Each must
    come back.
    """
    peer = lab.connect(lab.server())
    for size in (64, 256, 512, 1024, 2048):
        echo(peer, *(text(size + off) for off in (-5, -4, -3, -1, 0, 1)))


@check("server.largest_body", points={2: 0.5}, todo="2.3", hints=(
    "4096 bytes are allowed, 4097 are not. Do you count the DONE as a part of the body?",
    "How large is your buffer for a body of 4096 bytes with the DONE behind it?",
    "A body may end with DON: these letters count only when you know that they are text."))
def test_a_body_of_4096_bytes_is_not_too_long(lab: Lab) -> None:
    """A limit has two sides: the largest legal message must work as well as any other.

    Bodies of 4095 and 4096 bytes are sent, two of the latter ending with DON and with DONE, and a short one between
    them. Each must come back, and the last stand whole on stdout behind "received: ".
    """
    server = lab.server()
    peer = lab.connect(server)
    echo(peer, text(4095), text(4096), text(4093) + b"DON", b"short", text(4092) + b"DONE", text(4096, 7))
    server.expect_line(b"received: " + text(4096, 7))


@check("server.largest_escaped", points={2: 0.25}, todo="2.2", hints=(
    "The limit of 4096 is for the body, not for what travels.",
    "A body of 4096 backslashes is legal. How many bytes does it take on the wire?",
    "Which buffer holds the escaped message, and how large can it become?"))
def test_a_body_of_4096_bytes_may_be_twice_as_long_on_the_wire(lab: Lab) -> None:
    """Escaping makes a message longer; in the worst case each byte becomes two.

    4096 backslashes are sent (8196 bytes on the wire), then 1024 times DONE, then a short body. Each must come
    back, escaped again.
    """
    peer = lab.connect(lab.server())
    echo(peer, b"\\" * 4096, b"DONE" * 1024, b"short")


@check("server.too_long", points={2: 0.5}, todo="2.6", hints=(
    "Who stops a client that never sends DONE from filling your memory?",
    "Count the bytes of the body; with the 4097th the message is too long, and the answer is ERR too long.",
    "When you close while bytes from the client are unread, the kernel resets the connection: read them first."))
def test_a_body_of_4097_bytes_is_refused_with_an_answer(lab: Lab) -> None:
    """A receiver sets a limit, says so when it is passed, and closes in an orderly way.

    A body of 4097 bytes is sent, once by a new client, twice behind a body of 4096 that must come back; there it ends with
    letters that could begin a DONE. Its DONE follows only if the server has read all of it and has not answered yet. ERR too
    long must come, then the end of the connection.
    """
    server = lab.server()
    send_too_long(lab, server, lab.connect(server), text(4097))
    for end in (b"DONx", b"xxxD"):
        peer = lab.connect(server)
        echo(peer, text(4096))
        send_too_long(lab, server, peer, text(4093) + end)


@check("server.after_too_long", points={2: 0.25}, todo="2.6", hints=(
    "One client's over-long message ends that client's connection. Does it end more?",
    "Does your server come back to accept() after it has refused a message?",
    "Nothing of the refused message may be left when the next client begins."))
def test_the_server_goes_on_after_an_over_long_message(lab: Lab) -> None:
    """What one client does wrong is no reason to disappoint the next one.

    Three times a client sends a body of 4097 backslashes and must get ERR too long and the end. Each time the next
    client must get its two messages back.
    """
    server = lab.server()
    for number in (b"1", b"2", b"3"):
        send_too_long(lab, server, lab.connect(server), b"\\\\" * 4097)
        peer = lab.connect(server)
        echo(peer, b"client " + number, b"again")
        peer.close()
