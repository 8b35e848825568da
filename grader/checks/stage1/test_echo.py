"""Stage 1: one message to a server and back."""

from __future__ import annotations

from grader.check import check
from grader.harness.lab import Lab

ANY_BYTES = bytes(range(1, 256))


def echo(lab: Lab, server, message: bytes) -> None:
    """Sends one message on a connection of its own; exactly it comes back, then the end."""
    peer = lab.connect(server)
    peer.send(message)
    peer.expect(message)
    peer.expect_end()


@check("server.second_client", points={1: 0.5}, todo="1.5", hints=(
    "What should stand inside the loop, and what only once before it?",
    "After close() of the connection the server goes back to accept().",
))
def test_the_server_takes_the_next_client(lab: Lab) -> None:
    """The listening socket stays; each accept() gives one more connection."""
    server = lab.server()
    for word in (b"one", b"two", b"three"):
        echo(lab, server, word)
        server.expect_line(b"received: " + word)


@check("server.silent_client", points={1: 0.75}, todo="1.5", hints=(
    "recv() returns 0 when the client has closed. What is there to answer then?",))
def test_a_client_that_sends_nothing_gets_nothing(lab: Lab) -> None:
    """recv() returning 0 is the end of the connection, not an empty message."""
    server = lab.server()
    peer = lab.connect(server)
    peer.half_close()
    peer.expect_end()
    echo(lab, server, b"next")


@check("server.any_bytes", points={1: 0.5}, todo="1.5", hints=(
    "How many bytes did recv() return? That number, and not strlen(), is the length of the message.",
    "Bytes from the network are not a C string: they may hold 0, and nobody ends them with one.",
))
def test_the_server_sends_back_exactly_the_bytes_it_received(lab: Lab) -> None:
    """What arrives is bytes, never a C string."""
    server = lab.server()
    for message in (ANY_BYTES, b"a", b"\x00", b"before\x00behind", b"\xff\xfe", b"  spaces  \n"):
        echo(lab, server, message)


@check("server.thousand_bytes", points={1: 0.5}, todo="1.5", hints=(
    "How large is the buffer that you give to recv()?",))
def test_a_message_may_have_1000_bytes(lab: Lab) -> None:
    """A buffer must have room for the largest message allowed."""
    server = lab.server()
    for size in (63, 64, 65, 255, 256, 257, 512, 999, 1000):
        message = (b"0123456789" * 100)[:size]
        echo(lab, server, message)
        server.expect_line(b"received: " + message)


@check("server.long_then_short", points={1: 0.75}, todo="1.5", hints=(
    "What is still in the buffer from the client before?",
    "Print and send only as many bytes as recv() returned.",
))
def test_a_short_message_after_a_long_one_has_nothing_of_it(lab: Lab) -> None:
    """The buffer still holds the old bytes; only the count says which are new."""
    server = lab.server()
    echo(lab, server, b"a long message with many words")
    echo(lab, server, b"short")
    server.expect_line(b"received: short")


@check("server.format", points={1: 0.25}, todo="1.5", hints=(
    "Who decides what the first argument of printf() is?",))
def test_percent_signs_in_a_message_are_plain_text(lab: Lab) -> None:
    """Text from the network is never a format."""
    server = lab.server()
    echo(lab, server, b"%s%s%n 100%")
    server.expect_line(b"received: %s%s%n 100%")


@check("server.address", points={1: 0.25}, todo="1.4", hints=(
    "The second argument is the address that the server binds.",))
def test_the_server_listens_on_the_address_it_is_given(lab: Lab) -> None:
    """A machine has many addresses; a server chooses on which it can be reached."""
    echo(lab, lab.server(address="127.0.0.2"), b"hello")


@check("client.message", points={1: 0.5}, todo="1.8", hints=(
    "How many bytes is the message? Its terminating 0 is not a part of it.",))
def test_the_client_sends_exactly_its_message(lab: Lab) -> None:
    """strlen(message) bytes travel, neither the buffer's size nor the terminating 0."""
    for message in ("x", "two words  and  spaces", "100% \\n", "y" * 1000, "umlaut \u00e4"):
        listener = lab.listen()
        client = lab.client(listener, message)
        peer = lab.accept(listener)
        peer.expect(message.encode())
        peer.send(b"ok")
        peer.half_close()
        client.expect_line(b"reply: ok")
        client.expect_exit(0)
        lab.require(not peer.received, "Your client sent more than its message.")


@check("client.no_reply", points={1: 0.5}, todo="1.8", hints=(
    "What does recv() return when the server closes without a word?",
    "Print an error to stderr and exit with 1.",
))
def test_the_client_says_so_when_no_reply_comes(lab: Lab) -> None:
    """recv() returning 0 means that nothing will come any more."""
    for ending in ("close", "reset"):
        listener = lab.listen()
        client = lab.client(listener, "hello")
        peer = lab.accept(listener)
        peer.expect(b"hello")
        getattr(peer, ending)()
        client.expect_exit(1, cause="The server closed without answering: your client should exit with status 1.")
        lab.require(client.error_lines(), "The server closed without answering: your client should say so on stderr.")


@check("client.reply", points={1: 0.5}, todo="1.8", hints=(
    "Print as many bytes as recv() returned; there is no terminating 0 behind them.",))
def test_the_client_prints_the_reply_and_exits_0(lab: Lab) -> None:
    """The reply is what recv() delivered, no byte more."""
    for reply in (b"r", b"%d reply with spaces ", b"z" * 1000):
        listener = lab.listen()
        client = lab.client(listener, "hello")
        peer = lab.accept(listener)
        peer.expect(b"hello")
        peer.send(reply)
        peer.half_close()
        client.expect_line(b"reply: " + reply)
        client.expect_exit(0)
