"""How the client ends: QUIT, the end of stdin, and a server that goes away."""

from __future__ import annotations

from grader.check import check
from grader.checks.stage2.bench import answer, client_with_peer, say_goodbye
from grader.harness import kernel
from grader.harness.failures import EXIT_STATUS, SIGPIPE, STAYS, SURPLUS, UNPRINTED
from grader.harness.lab import Lab
from grader.harness.wire import encode


@check("client.quit_line", points={2: 0.5}, todo="2.7", about=(SURPLUS,), hints=(
    "The line QUIT, whole and alone, is the last one that is read. What does your client take for it, and what does it read then?",
    "Send QUIT once, even if more lines or the end of stdin follow.",
    "After QUIT, only what the server still sends matters: print it until recv() returns 0."))
def test_QUIT_is_the_last_line_that_is_read(lab: Lab) -> None:
    """After the goodbye the client listens to the end, and speaks no more.

    The lines hello, QUITE, quit, QUIT with a space behind it and QUIT are typed at once, and one more, and stdin ends. The
    server must receive all up to QUIT, each after the reply to the one before, and nothing behind that. BYE must be printed,
    and after the close the exit status must be 0.
    """
    client, peer = client_with_peer(lab)
    client.write(b"hello\nQUITE\nquit\nQUIT \nQUIT\nnot for the wire\n")
    client.close_stdin()
    answer(client, peer, b"hello", b"hi")
    for word in (b"QUITE", b"quit", b"QUIT "):
        answer(client, peer, word, b"a word like any other")
    say_goodbye(client, peer)
    client.expect_line(b"BYE")


@check("client.end_of_input", points={2: 0.5}, todo="2.7", hints=(
    "Stdin has ended (Ctrl-D), and the user did not type QUIT. Does the server know?",
    "At the end of stdin the client sends QUIT itself, then waits for what still comes.",
    "The client ends when the server has closed, with exit status 0."))
def test_at_the_end_of_stdin_the_client_says_QUIT(lab: Lab) -> None:
    """An orderly end is part of the protocol, not of the user's memory.

    The line hello is typed and answered, then stdin ends. The server must receive QUIT and nothing else. BYE must
    be printed, and after the close the exit status must be 0.
    """
    client, peer = client_with_peer(lab)
    client.write(b"hello\n")
    answer(client, peer, b"hello", b"hi")
    client.close_stdin()
    say_goodbye(client, peer)
    client.expect_line(b"BYE")


@check("client.until_close", points={2: 0.25}, todo="2.7", about=(UNPRINTED,), hints=(
    "The server decides when it closes. Until then more messages may arrive.",
    "Does your client stop at the first message after QUIT, or at the word BYE?",
    "Print what arrives until recv() returns 0: only that is the end."))
def test_after_QUIT_everything_is_printed_until_the_server_closes(lab: Lab) -> None:
    """Who hangs up first loses what was still on its way.

    QUIT is typed. The server then sends three messages, of which BYE is the second, each when the one before has
    been printed. All three must be printed, and after the close the exit status must be 0.
    """
    client, peer = client_with_peer(lab)
    client.write(b"QUIT\n")
    peer.expect(encode(b"QUIT"))
    for body in (b"one thing more", b"BYE", b"the very last words"):
        peer.send_pieces(encode(body))
        client.expect_line(body)
    peer.close()
    client.expect_exit(0)


@check("client.no_input", points={2: 0.25}, todo="2.7", about=(SURPLUS,), hints=(
    "Stdin may be empty from the start: `./client < /dev/null`",
    "With no line at all, the client has still something to send.",
    "The end of stdin is the same event whether lines came before it or not."))
def test_a_client_without_any_input_says_QUIT(lab: Lab) -> None:
    """Zero is a number of lines, too.

    The client is started with /dev/null as its stdin. The server must receive QUIT and nothing else; after BYE and
    the close the exit status must be 0.
    """
    client, peer = client_with_peer(lab, stdin="/dev/null")
    say_goodbye(client, peer)


@check("client.server_closes", points={2: 0.5}, todo="2.7", about=(EXIT_STATUS, STAYS), hints=(
    "The server closes instead of answering. What does recv() return, and what does your client make of it?",
    "Before QUIT was sent, that is an error: tell the user on stderr, and exit with 1.",
    "A reply that has begun and has no DONE is no reply: it does not make the end any better."))
def test_a_server_that_closes_early_is_an_error(lab: Lab) -> None:
    """The exit status tells a script whether the conversation was complete.

    The server takes hello and closes: without a byte, after half a reply, or after a reply that lacks only its last
    E. Each time there must be an error on stderr, and the exit status must be 1; no part of a reply may be printed.
    """
    for begun in (b"", b"half a rep", b"nearly DON"):
        client, peer = client_with_peer(lab)
        client.write(b"hello\n")
        peer.expect(encode(b"hello"))
        peer.send(begun)
        peer.close()
        client.expect_exit(1)
        client.expect_error()
        lab.require(not begun or begun not in client.output, "The server closed in the middle of a reply, and your client printed the part that had come.")


@check("client.server_resets", points={2: 0.25}, todo="2.7", about=(EXIT_STATUS, SIGPIPE, STAYS), hints=(
    "A reset makes recv() return -1. What does your client do then?",
    "perror() tells the user what happened; the exit status tells it to the shell.",
    "A send() to a connection that is gone can end a program with a signal, unless it says MSG_NOSIGNAL."))
def test_a_server_that_resets_is_an_error(lab: Lab) -> None:
    """A server can crash at any moment; the client says so and ends in its own way.

    Once the server resets the connection when it has taken hello; once it does so before two lines are typed. Both
    times there must be an error on stderr, and the exit status must be 1.
    """
    client, peer = client_with_peer(lab)
    client.write(b"hello\n")
    peer.expect(encode(b"hello"))
    peer.reset()
    client.expect_exit(1)
    client.expect_error()
    client, peer = client_with_peer(lab)
    peer.reset()
    client.write(b"hello\nanybody there?\n")
    client.expect_exit(1)
    client.expect_error()


@check("client.server_gone", points={2: 0.25}, todo="2.7", about=(EXIT_STATUS, STAYS), hints=(
    "The server has closed while the user was thinking. When does your client find out?",
    "Sending may seem to work although nobody listens: only what recv() says counts.",
    "A close that came before your QUIT is an error: no BYE arrived, so exit with 1."))
def test_a_server_gone_before_QUIT_is_noticed_at_the_end_of_stdin(lab: Lab) -> None:
    """A successful send() only means that the kernel took the bytes, not that anyone will read them.

    One line is typed and answered. Then the server closes (in a second run it resets the connection), and when that has
    reached the client, stdin ends. Each time there must be an error on stderr, and the exit status must be 1.
    """
    for ending in ("close", "reset"):
        client, peer = client_with_peer(lab)
        client.write(b"hello\n")
        answer(client, peer, b"hello", b"hi")
        ours, theirs = peer.sock.getsockname(), peer.sock.getpeername()
        getattr(peer, ending)()
        lab.until(lambda: (end := kernel.tcp_socket(theirs, ours)) is None or end.state != kernel.ESTABLISHED)
        client.close_stdin()
        client.expect_exit(1)
        client.expect_error()
