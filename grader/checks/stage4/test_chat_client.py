"""Stage 4's client: one thread that waits for the user and for the server at once."""

from __future__ import annotations

from grader.check import check
from grader.checks.common.backlog import Backlog
from grader.checks.stage2.bench import say_goodbye
from grader.harness import kernel
from grader.harness.failures import EXIT_STATUS, STAYS, SURPLUS, UNPRINTED
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program
from grader.harness.wire import encode, first_difference


MORE_INPUT = 1 << 20  # bytes, than the kernel can take from a client that nobody reads from


def start(lab: Lab, name: str = "alice", **options) -> tuple[Program, Peer]:
    """A client that has sent its NAME and got OK."""
    listener = lab.listen()
    client = lab.client(listener, name, **options)
    peer = lab.accept(listener)
    peer.expect(encode(b"NAME " + name.encode()))
    peer.send_message(b"OK")
    client.expect_line(b"OK")
    return client, peer


@check("client.push", points={4: 0.5}, todo="4.8", about=(UNPRINTED,), hints=(
    "Which of the two is your client deaf to while it waits for the other?",
    "poll() waits for several descriptors at once. Which two does the client wait for?",
    "Let poll() be the only place that waits; read just what it calls ready, and print every whole message at once.",
))
def test_a_message_is_printed_while_nobody_types(lab: Lab) -> None:
    """bob may speak at any time; alice should not have to press Enter to see it.

    The server sends six FROM messages, each when the one before has been printed, and nothing is typed. Each must
    appear on stdout as a line: also one with percent signs, one with the word BYE, and one of 4096 bytes.
    """
    client, peer = start(lab)
    for text in (b"FROM bob hi", b"FROM bob are you there?", b"FROM bob DONE", b"FROM bob %s%d%n", b"FROM bob BYE",
                 b"FROM bob " + b"0123456789ab" * 340 + b"the end"):
        peer.send_message(text)
        client.expect_line(text)


@check("client.half_typed", points={4: 0.5}, todo="4.8", about=(UNPRINTED,), hints=(
    "What does read() of stdin return when the line has no end yet?",
    "poll() waits for several descriptors at once. Which two does the client wait for?",
    "Keep the beginning of the line until its newline has come, and go back to poll() meanwhile.",
))
def test_a_half_typed_line_waits_and_keeps_nobody_waiting(lab: Lab) -> None:
    """A line may come in pieces, and messages arrive in between.

    TO bob hel is typed without Enter; a message of bob must be printed meanwhile. Then lo and Enter are typed, and
    the server must receive TO bob hello as one message.
    """
    client, peer = start(lab)
    client.write(b"TO bob hel")
    client.until_read()
    peer.send_message(b"FROM bob hi")
    client.expect_line(b"FROM bob hi")
    client.write(b"lo\n")
    peer.expect(encode(b"TO bob hello"), cause="A line typed in two pieces should be sent as one message.")


@check("client.pasted_lines", points={4: 0.5}, todo="4.8", hints=(
    "Eleven lines were there at once, and no reply came. How many did your client take, and what did it wait for?",
    "fgets() reads ahead: poll() cannot see the lines that already lie in stdio's buffer.",
    "Read stdin with read() into a buffer of your own and take all its complete lines.",
))
def test_several_lines_pasted_at_once_are_all_sent(lab: Lab) -> None:
    """One read() may bring many lines.

    Eleven lines, one of them empty, are written to stdin at once, and the server replies to none of them. It must
    receive all of them as messages, in order and unchanged: what they mean is the server's affair.
    """
    client, peer = start(lab)
    lines = [b"TO bob line %d" % n for n in range(5)] + [b"", b"WHO", b"  spaces  around  ", b"NAME bob", b"%s%d%n",
             "größe € ".encode() + b"\xff\xfe"]
    client.write(b"".join(line + b"\n" for line in lines))
    for line in lines:
        peer.expect(encode(line))


@check("client.pieces", points={4: 0.5}, todo="4.8", about=(UNPRINTED,), hints=(
    "The client is a receiver too: which rule for messages applies to it?",
    "Several messages may come in one recv(), and one message in several.",
    "After one recv() print every message that is complete, keep what is left, and go back to poll().",
))
def test_messages_are_printed_whole_however_they_arrive(lab: Lab) -> None:
    """recv() gives what has come, not one message.

    Three messages arrive one byte at a time, one with DONE and a backslash, one empty; then 100 arrive together.
    Each must be printed as a line of its own, in order.
    """
    client, peer = start(lab)
    wire = encode(b"FROM bob one") + encode(b"FROM bob two \\ DONE") + encode(b"")
    peer.send_pieces(*(wire[i : i + 1] for i in range(len(wire))))
    client.expect_line(b"FROM bob one")
    client.expect_line(b"FROM bob two \\ DONE")
    client.expect_line(b"")
    peer.send(b"".join(encode(b"FROM bob %d" % n) for n in range(100)))
    for n in range(100):
        client.expect_line(b"FROM bob %d" % n)


@check("client.end_of_input", points={4: 0.5}, todo="4.9", about=(UNPRINTED,), hints=(
    "What does read() return at the end of stdin?",
    "What was typed without a newline is still a line. Is it sent before QUIT?",
    "Send QUIT, then go on printing until the server closes.",
))
def test_at_the_end_of_stdin_the_client_quits_and_prints_what_still_comes(lab: Lab) -> None:
    """Nothing more to say is not nothing more to hear.

    A line without a newline is typed, and stdin ends. The server must receive it, then QUIT. What it then sends,
    one message after the other up to BYE, must be printed, and after the close the exit status must be 0. In a second run
    the line without a newline is QUIT, which must arrive once.
    """
    client, peer = start(lab)
    client.write(b"TO bob last words")
    client.close_stdin()
    peer.expect(encode(b"TO bob last words"))
    peer.expect(encode(b"QUIT"))
    for body in (b"FROM bob wait", b"OK", b"BYE"):
        peer.send_message(body)
        client.expect_line(body)
    peer.close()
    client.expect_exit(0)
    client, peer = start(lab)
    client.write(b"QUIT")
    client.close_stdin()
    say_goodbye(client, peer)
    client.expect_line(b"BYE")


@check("client.quit", points={4: 0.5}, todo="4.9", about=(SURPLUS,), hints=(
    "The line QUIT, and no line that only begins so, is sent like any other and is the last one that is read.",
    "Lines may already lie behind QUIT in your buffer. What becomes of them?",
    "After QUIT take no more lines and leave stdin out of poll(); print until the server closes, then exit with 0.",
))
def test_the_line_QUIT_is_the_last_one(lab: Lab) -> None:
    """After the goodbye nothing more is said.

    WHO, QUITE, quit, QUIT and WHO are typed at once. The server must receive the first WHO, QUITE, quit, then QUIT, and
    nothing behind it. BYE must be printed, and after the close the exit status must be 0.
    """
    client, peer = start(lab)
    client.write(b"WHO\nQUITE\nquit\nQUIT\nWHO\n")
    peer.expect(encode(b"WHO") + encode(b"QUITE") + encode(b"quit"))
    peer.send_message(b"OK alice", b"ERR bad command", b"ERR bad command")
    say_goodbye(client, peer)
    client.expect_line(b"BYE")


@check("client.server_gone", points={4: 0.5}, todo="4.9", hints=(
    "What does recv() return when the server has closed, and when it was reset?",
    "poll() waits for several descriptors at once. Which two does the client wait for?",
    "An end shows in poll() too, as POLLIN, POLLHUP or POLLERR: call recv() on each; before QUIT its 0 or -1 is an error.",
))
def test_a_server_that_goes_away_is_noticed_without_a_key_pressed(lab: Lab) -> None:
    """The end of the connection wakes poll() like a message does.

    The server closes after its OK, in a second run it resets, in a third it closes in the middle of a message, and nothing
    is typed. Each time the client must say so on stderr and end with exit status 1 within 1.5 seconds; it may not print the
    part of a message.
    """
    for ending, part in (("close", b""), ("reset", b""), ("close", b"FROM bob half a mess")):
        client, peer = start(lab)
        peer.send(part)
        getattr(peer, ending)()
        client.expect_exit(1, seconds=1.5, cause="The server went away before QUIT: your client should say so and exit with status 1.")
        lab.require(client.error_lines(), "The server went away before QUIT: your client should say so on stderr.")
        lab.require(not part or part not in client.output, "The server closed in the middle of a message, and your client printed the part that had come.")


@check("client.one_thread", points={4: 0.5}, todo="4.8", hints=(
    "How many places in your client wait for something, and could one of them wait for all?",
    "poll() waits for several descriptors at once. Which two does the client wait for?",
    "One loop: poll(), then handle stdin if it is ready, then the socket if it is ready. No second thread, no fork().",
))
def test_the_client_is_a_single_thread(lab: Lab) -> None:
    """One waiting place can watch two doors: that is what poll() is for.

    When the client has printed a message, its threads and its children are counted: there must be exactly one
    thread, and no other process.
    """
    client, peer = start(lab)
    peer.send_message(b"FROM bob hi")
    client.expect_line(b"FROM bob hi")
    lab.require(kernel.threads(client.pid) == 1, f"Your client has {kernel.threads(client.pid)} threads.")
    with open(f"/proc/{client.pid}/task/{client.pid}/children", encoding="ascii") as file:
        lab.require(not file.read().strip(), "Your client has started another process.")


@check("client.much_input", points={4: 0.5}, todo="4.8", about=(UNPRINTED,), slow=True, hints=(
    "Which call does the client wait in when the server does not read? Can it hear bob then?",
    "Neither send() nor a full buffer may stop the printing. Which flag makes send() return at once?",
    "Send without blocking what the socket takes (MSG_DONTWAIT), keep the rest, and wait with POLLOUT.",
))
def test_messages_are_printed_while_much_input_is_piped_in(lab: Lab) -> None:
    """A client that is stuck in send() hears nothing.

    Stdin is a file of about 100,000 lines, more than a connection holds, and the server reads nothing. When the client
    has come to rest, the server sends 100 messages, each when the one before has been printed, and still reads nothing.
    Each must be printed. Then the server reads on: it must receive all lines, in order, and QUIT.
    """
    # A small receive buffer would do, too; but when it overflows the kernel may take the client's acknowledgements for invalid
    # ("BeyondWindow" of nstat), and after some ten answers of the server nothing reaches the client any more.
    listener = lab.listen()
    line = b"TO bob much to say, and nobody listens to line %07d"
    lines = [line % number for number in range((kernel.largest_send_buffer() + MORE_INPUT) // len(line % 0))]
    source = lab.scratch("input", b"\n".join(lines) + b"\n")
    client = lab.client(listener, "alice", stdin=source)
    peer = lab.accept(listener)
    peer.expect(encode(b"NAME alice"))
    peer.send_message(b"OK")
    peer.stop_reading()
    lab.require(Backlog(lab, peer).comes_to_rest(client), "Your client did not come to rest although the server reads nothing.")
    # Each answer lets the kernel enlarge the client's send buffer a little, and a client that
    # waits in send() comes round once more. A hundred find the end of that.
    for number in range(100):
        peer.send_message(b"FROM bob %d" % number)
        client.expect_line(b"FROM bob %d" % number)
    wanted = b"".join(line + b"DONE" for line in (*lines, b"QUIT"))  # nothing in them is escaped
    peer.read_on()
    while len(peer.received) < len(wanted):
        before = len(peer.received)
        if not lab.until(lambda: len(peer.received) > before or peer.ended) or peer.ended:
            break  # however slow the client is, something comes
    came = first_difference(bytes(peer.received), wanted)
    lab.require(came == len(wanted), f"The server read again, and of {len(lines)} lines of input and QUIT only the first "
                f"{wanted[:came].count(b'DONE')} came to it.")


@check("client.long_line", points={4: 0.5}, todo="4.8", hints=(
    "A body has at most 4096 bytes. Who should notice a longer line first?",
    "The line may come in many pieces. Do you still know at its newline that it was too long?",
    "Count on, but store no more; at the newline print an error to stderr, send nothing, and begin the next line.",
))
def test_a_line_that_is_too_long_is_refused_and_the_next_one_sent(lab: Lab) -> None:
    """The client refuses what the server could not take, and goes on.

    Lines of 4096, 4097 and 70000 bytes and WHO are typed. The server must receive the first and WHO, and nothing
    between them; there must be an error on stderr. At the end of stdin, behind 5000 bytes without a newline, QUIT must
    arrive, and after the close the client must end.
    """
    client, peer = start(lab)
    client.write(b"x" * 4096 + b"\n" + b"y" * 4097 + b"\n" + b"z" * 70000 + b"\nWHO\n")
    peer.expect(encode(b"x" * 4096))
    peer.expect(encode(b"WHO"), cause="A line of more than 4096 bytes should not be sent; the line behind it should.")
    lab.require(lab.until(client.error_lines, 1), "A line that is too long should be reported on stderr.")
    client.write(b"v" * 5000)
    client.close_stdin()
    peer.expect(encode(b"QUIT"))
    peer.close()
    client.expect_exit((0, 1))


@check("client.no_input", points={4: 0.5}, todo="4.9", hints=(
    "stdin may be at its end from the start: poll() says readable, read() says 0.",
    "With no line at all, the client still has something to say. How often does it say it?",
    "At the first 0 of read() send QUIT once, leave stdin out of poll(), and print until the server closes.",
))
def test_a_client_without_input_says_its_name_and_quits(lab: Lab) -> None:
    """The end of stdin comes once; a client that does not notice it spins.

    The client is started with /dev/null as its stdin. The server must receive NAME alice, then QUIT. BYE must be
    printed, and after the close the exit status must be 0.
    """
    listener = lab.listen()
    client = lab.client(listener, "alice", stdin="/dev/null")
    peer = lab.accept(listener)
    peer.expect(encode(b"NAME alice"))
    peer.send_message(b"OK")
    peer.expect(encode(b"QUIT"))
    peer.send_message(b"BYE")
    client.expect_line(b"BYE")
    peer.close()
    client.expect_exit(0)


@check("client.overlong_message", points={4: 0.25}, todo="4.8", about=(EXIT_STATUS, STAYS), hints=(
    "How many bytes of a body do you keep, and what if more come?",
    "Your reader of stage 2 says when a body is too long. Who in the client looks at that result?",
    "Print an error to stderr, close, and exit with 1.",
))
def test_an_overlong_message_from_the_server_ends_the_client(lab: Lab) -> None:
    """A stream that breaks the rules cannot be trusted any more.

    After its OK the server sends a body of 4097 bytes and its DONE. The client must end with exit status 1.
    """
    client, peer = start(lab)
    peer.send(b"w" * 4097)
    peer.send(b"DONE")
    client.expect_exit(1)
