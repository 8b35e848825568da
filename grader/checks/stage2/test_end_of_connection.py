"""The end of a conversation with the server: QUIT, half-close, half a message, a slow reader."""

from __future__ import annotations

from grader.check import check
from grader.checks.common.backlog import Backlog
from grader.checks.common.workload import send_too_long
from grader.checks.stage2.bench import echo, text
from grader.harness import kernel
from grader.harness.failures import ENDED, NOT_CLOSED, SURPLUS
from grader.harness.lab import Lab
from grader.harness.wire import encode, quote

NEXT_SECONDS = 10  # for the next client, who waits while the server reads what the last one may still send


@check("server.quit", points={2: 0.25}, todo="2.6", hints=(
    "The body QUIT is not echoed: which answer does it get instead?",
    "After BYE the server closes; the client sees that as the end of the stream.",
    "Only the body that is QUIT and nothing else counts: compare its length, too."))
def test_QUIT_is_answered_with_BYE_and_a_close(lab: Lab) -> None:
    """A goodbye in words lets both sides know that nothing was lost.

    Six bodies that only look like QUIT (such as QUI, quit, QUITQUIT) must be sent back. Then QUIT is sent: BYE must
    come, then the end of the connection, and nothing else.
    """
    server = lab.server()
    peer = lab.connect(server)
    echo(peer, b"QUI", b"QUIT!", b"quit", b" QUIT", b"QUITQUIT", b"QUIT\0")
    peer.send_message(b"QUIT")
    peer.expect(encode(b"BYE"))
    peer.expect_end()


@check("server.quit_next_client", points={2: 0.25}, todo="2.6", about=(ENDED,), hints=(
    "After one client has said QUIT, the next one is already waiting.",
    "QUIT ends one conversation, not the server: to which loop does it return?",
    "Close the connection of the one who left, then go back to accept()."))
def test_the_next_client_is_served_after_a_QUIT(lab: Lab) -> None:
    """A server serves one client after the other, for ever.

    Two clients connect and send a message while a first one is being served. The first says QUIT and must get BYE
    and the end. Then each of the others must get its message back, and BYE and the end for its own QUIT.
    """
    server = lab.server()
    first = lab.connect(server)
    echo(first, b"I was first")
    second, third = lab.connect(server), lab.connect(server)
    for peer in (second, third):
        peer.send_message(b"I wait")
    for peer in (first, second, third):
        if peer is not first:
            peer.expect(encode(b"I wait"))
        peer.send_message(b"QUIT")
        peer.expect(encode(b"BYE"))
        peer.expect_end()
        peer.close()


@check("server.who_stays", points={2: 0.25}, todo="2.5", slow=True, hints=(
    "The server has said its last word, and the client does not close. For how long may the others wait?",
    "Before you close you read what still comes. What ends that loop if the client just stays?",
    "One time limit for all of it, computed once, before the loop: frame_drain() looks at the clock before each recv().",
))
def test_a_client_that_stays_after_the_end_keeps_nobody_waiting(lab: Lab) -> None:
    """After its last word the server closes, whether the other side does or not: the next client waits.

    Two clients keep their connection, and are silent, when they have read the server's last word: one has said QUIT, one
    has sent a body of 4097 bytes. Each time the next client must get its message back within 10 seconds.
    """
    server = lab.server()
    for end in ("BYE", "ERR too long"):
        peer = lab.connect(server, "the client that stays")
        if end == "BYE":
            peer.send_message(b"QUIT")
            peer.expect_message(b"BYE")
            peer.expect_end()
        else:
            send_too_long(lab, server, peer, text(4097), stay=True)
        following = lab.connect(server, "the next client")
        following.send_message(b"hello")
        got = following.message(seconds=NEXT_SECONDS, cause=f'A client had got "{end}" and stayed connected. The next client got no answer.')
        lab.require(got == b"hello", f'A client had got "{end}" and stayed connected. The next client sent "hello" and got {quote(got)}.')
        following.close()
        peer.close()


@check("server.quit_behind", points={2: 0.5}, todo="2.6", hints=(
    "The message before QUIT and QUIT itself may arrive in one recv().",
    "The earlier message is answered first; then comes BYE.",
    "Look for the next message in what you have before you ask the kernel for more."))
def test_a_QUIT_right_behind_a_message_loses_no_reply(lab: Lab) -> None:
    """Replies come in the order of the messages, the goodbye last.

    Two messages and QUIT arrive together. Both messages must come back, then BYE, in this order, then the end of
    the connection.
    """
    server = lab.server()
    peer = lab.connect(server)
    server.stop()
    peer.send_message(b"one more", b"and another", b"QUIT")
    server.go_on()
    peer.expect(encode(b"one more") + encode(b"and another") + encode(b"BYE"))
    peer.expect_end()


@check("server.half_close", points={2: 0.5}, todo="2.6", about=(NOT_CLOSED,), hints=(
    "The client says that it sends nothing more. Does that mean that it does not listen?",
    "First answer every complete message that you have; recv() returns 0 only behind them.",
    "Treat the 0 of recv() as the end of the input, after the messages before it are answered."))
def test_a_client_that_half_closes_still_gets_its_replies(lab: Lab) -> None:
    """A TCP connection has two directions, and each ends by itself.

    Five messages arrive together with the client's half-close. All five must come back in order, then the end of
    the connection.
    """
    server = lab.server()
    peer = lab.connect(server)
    server.stop()
    bodies = [b"question %d" % i for i in range(5)]
    peer.send_message(*bodies)
    peer.half_close()
    server.go_on()
    for body in bodies:
        peer.expect(encode(body))
    peer.expect_end()


@check("server.half_close_partial", points={2: 0.25}, todo="2.4", about=(SURPLUS,), hints=(
    "The stream ends in the middle of a message. What can be known of its rest?",
    "Without DONE it is not a message: no reply and no line for it.",
    "When recv() returns 0, what is left in the buffer is thrown away."))
def test_a_message_without_its_end_is_not_answered(lab: Lab) -> None:
    """The end of the connection does not end a message; only DONE does.

    Four clients send a whole message and a part of another (some text, half a DONE, a lone backslash, an escaped
    DONE), and half-close. The whole message must come back, then the end, and nothing between them.
    """
    server = lab.server()
    for half in (b"only half", b"nearly DON", b"a backslash \\", b"escaped \\DONE"):
        peer = lab.connect(server)
        server.stop()
        peer.send(encode(b"whole") + half)
        peer.half_close()
        server.go_on()
        peer.expect(encode(b"whole"))
        peer.expect_end()
        peer.close()


@check("server.half_message", points={2: 0.25}, todo="2.4", about=(SURPLUS,), hints=(
    "A client left in the middle of a message. Where are the bytes that it sent?",
    "The next client's first message must not begin with them.",
    "Begin each connection with empty buffers and with all counters at zero."))
def test_half_a_message_is_forgotten_with_its_client(lab: Lab) -> None:
    """What one client began, another one does not finish.

    A client sends "lost half" without DONE and closes. The next client's message must come back unchanged and be
    printed, and no line "received: lost half" may appear on stdout.
    """
    server = lab.server()
    first = lab.connect(server)
    echo(first, b"complete")
    first.send_pieces(b"lost half")
    first.close()
    second = lab.connect(server)
    echo(second, b"whole")
    server.expect_line(b"received: whole")
    lab.require(not server.count_line(b"received: lost half"),
                'Your server printed the line "received: lost half", but that message never had its DONE.')


@check("server.half_state", points={2: 0.25}, todo="2.4", about=(SURPLUS,), hints=(
    "Besides the buffer, your server remembers something about the stream: what?",
    "Letters of DONE already seen, a backslash just seen: whose are they when the client has left?",
    "Set all of it back for each new connection, not only the length."))
def test_no_state_of_one_client_is_left_for_the_next(lab: Lab) -> None:
    """A decoder has a memory, and it belongs to one connection.

    Five times a client leaves with a part of a message (half a DONE, a backslash, 4090 bytes), and the next one
    sends a body that shows if anything of it was kept. That body must come back unchanged, and another one behind
    it.
    """
    server = lab.server()
    for half, body in ((b"xDON", b"E"), (b"DO", b"NE"), (b"x\\", b""), (b"\\", b"hello"), (text(4090), text(2000))):
        first = lab.connect(server)
        first.send_pieces(half)
        first.close()
        second = lab.connect(server)
        echo(second, body, b"again")
        second.close()


@check("server.slow_reader", points={2: 0.25}, todo="2.1", needs="server.two_in_one", hints=(
    "The client does not read for a while, and the kernel's buffers become full.",
    "send() then waits, or takes only a part. What do you do with the rest?",
    "Count what was taken and send what is left, until nothing is left."))
def test_a_client_that_reads_late_gets_every_reply(lab: Lab) -> None:
    """A sender is never faster than its receiver for long: TCP makes it wait, and loses nothing.

    A client sends 4 MB in messages of 4 kB, and more where the kernel has more room for what waits, and reads nothing until
    nothing moves any more. Then it reads. All must come back, in order and whole.
    """
    server = lab.server()
    peer = lab.connect(server, receive_buffer=16384)
    bodies = [b"%d " % i + text(4000, i) for i in range(kernel.largest_send_buffer() // 4000 + 100)]
    peer.stop_reading()
    peer.keep_sending(b"".join(map(encode, bodies)))
    peer.until_sent_to("A client sent messages, and nothing was sent to it.")
    Backlog(lab, peer).comes_to_rest(server)
    peer.read_on()
    for body in bodies:
        peer.expect(encode(body))
