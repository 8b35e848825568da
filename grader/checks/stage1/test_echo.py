"""Stage 1: one message to a server and back."""

from __future__ import annotations

from grader.check import check
from grader.harness.failures import CRASH, ENDED, NOT_CLOSED, NO_CONNECT, NO_LISTENER, SURPLUS
from grader.harness.lab import Lab

ANY_BYTES = bytes(range(1, 256))


def echo(lab: Lab, server, message: bytes) -> None:
    """Sends one message on a connection of its own; exactly it comes back, then the end."""
    peer = lab.connect(server)
    peer.send(message)
    peer.expect(message)
    peer.expect_end()
    peer.close()  # a server may wait for that


@check("server.second_client", points={1: 0.5}, todo="1.4", about=(ENDED, NOT_CLOSED), hints=(
    "What should stand inside the loop, and what only once before it?",
    "There are two sockets: the one that listens, and the one that accept() returned. Which of them do you close?",
    "After close() of the connection the server goes back to accept().",
))
def test_the_server_takes_the_next_client(lab: Lab) -> None:
    """The listening socket stays; each accept() gives one more connection.

    Three clients come one after the other and send one, two and three. Each must get its word back and then the end
    of the connection, and a line such as "received: one" must appear on stdout.
    """
    server = lab.server()
    for word in (b"one", b"two", b"three"):
        echo(lab, server, word)
        server.expect_line(b"received: " + word)


@check("server.silent_client", points={1: 0.75}, todo="1.5", about=(NOT_CLOSED, SURPLUS), hints=(
    "recv() returns 0 when the client has closed. What is there to answer then?",
    "More than 0, 0 and -1 mean three different things. Does your code tell them apart before it sends?",
    "On 0 send and print nothing: close this connection and go back to accept().",
))
def test_a_client_that_sends_nothing_gets_nothing(lab: Lab) -> None:
    """recv() returning 0 is the end of the connection, not an empty message.

    A client half-closes without having sent anything: it must get the end of the connection and not a single byte.
    The next client sends next and must get it back.
    """
    server = lab.server()
    peer = lab.connect(server)
    peer.half_close()
    peer.expect_end()
    peer.close()
    echo(lab, server, b"next")


@check("server.any_bytes", points={1: 0.75}, todo="1.5", hints=(
    "How many bytes did recv() return? That number, and not strlen(), is the length of the message.",
    "Bytes from the network are not a C string: they may hold 0, and nobody ends them with one.",
    "Give send() the number that recv() returned, and change nothing in the buffer between the two.",
))
def test_the_server_sends_back_exactly_the_bytes_it_received(lab: Lab) -> None:
    """What arrives is bytes, never a C string.

    Six messages are sent, each on a connection of its own: all byte values from 1 to 255, a single a, a zero byte,
    text around a zero byte, the bytes 255 and 254, spaces and a newline. Exactly the same bytes must come back,
    then the end.
    """
    server = lab.server()
    for message in (ANY_BYTES, b"a", b"\x00", b"before\x00behind", b"\xff\xfe", b"  spaces  \n"):
        echo(lab, server, message)


@check("server.thousand_bytes", points={1: 0.5}, todo="1.5", hints=(
    "How large is the buffer that you give to recv()?",
    "And which size do you tell recv()? sizeof of a pointer is 8, whatever it points to.",
    "The buffer needs room for 1000 bytes, and for one more if you put a 0 behind them.",
))
def test_a_message_may_have_1000_bytes(lab: Lab) -> None:
    """A buffer must have room for the largest message allowed.

    Nine messages of 63 to 1000 bytes are sent, with sizes around 64, 256, 512 and 1000. Each must come back whole,
    followed by the end, and stand whole on stdout behind "received: ". Before them one of 5000 bytes is sent: whatever comes
    back, the server must go on.
    """
    server = lab.server()
    peer = lab.connect(server)
    peer.send(b"0123456789" * 500)
    lab.until(lambda: peer.ended)  # what it gets is left open
    peer.close()
    for size in (63, 64, 65, 255, 256, 257, 512, 999, 1000):
        message = (b"0123456789" * 100)[:size]
        echo(lab, server, message)
        server.expect_line(b"received: " + message)


@check("server.long_then_short", points={1: 0.75}, todo="1.5", hints=(
    "What is still in the buffer from the client before?",
    "recv() writes only the new bytes, and no 0 behind them. What tells you where they end?",
    "Print and send only as many bytes as recv() returned.",
))
def test_a_short_message_after_a_long_one_has_nothing_of_it(lab: Lab) -> None:
    """The buffer still holds the old bytes; only the count says which are new.

    One client sends 30 bytes, the next one sends short. Each must get exactly its own message back, and stdout must
    have the line "received: short" with nothing behind it.
    """
    server = lab.server()
    echo(lab, server, b"a long message with many words")
    echo(lab, server, b"short")
    server.expect_line(b"received: short")


@check("server.format", points={1: 0.25}, todo="1.5", about=(CRASH,), hints=(
    "Who decides what the first argument of printf() is?",
    "The percent signs of a client are text. Which of your calls takes them for instructions?",
    "The format is yours and constant; the bytes of the client are an argument behind it, or go to fwrite().",
))
def test_percent_signs_in_a_message_are_plain_text(lab: Lab) -> None:
    """Text from the network is never a format.

    A client sends %s%s%n 100%. The same must come back, and stand on stdout behind "received: ".
    """
    server = lab.server()
    echo(lab, server, b"%s%s%n 100%")
    server.expect_line(b"received: %s%s%n 100%")


@check("server.address", points={1: 0.25}, todo="1.4", about=(NO_LISTENER,), hints=(
    "The second argument is the address that the server binds.",
    "Which address stands in the structure that you give to bind(): the one from the command line, or always the same?",
    "inet_pton() turns the text into sin_addr; use the second argument if there is one, 127.0.0.1 otherwise.",
))
def test_the_server_listens_on_the_address_it_is_given(lab: Lab) -> None:
    """A machine has many addresses; a server chooses on which it can be reached.

    The server is started with a PORT and the ADDRESS 127.0.0.2. It must listen there, and a client that connects
    there must get its hello back.
    """
    echo(lab, lab.server(address="127.0.0.2"), b"hello")


@check("client.host", points={1: 0.25}, todo="1.7", about=(NO_CONNECT,), hints=(
    "Which of the arguments says to which machine the client connects?",
    "The second argument is the host; 127.0.0.1 counts only when it is left out.",
    "The text of the host must reach inet_pton(), and its result the address that connect() gets.",
))
def test_the_client_connects_to_the_host_it_is_given(lab: Lab) -> None:
    """A server may be on any machine; the client is told on which.

    A server listens on 127.0.0.2, and the client is started with that address as its HOST. The message must
    arrive there, the reply must be printed, and the exit status must be 0.
    """
    listener = lab.listen("127.0.0.2")
    client = lab.client(listener, "hello")
    peer = lab.accept(listener)
    peer.expect(b"hello")
    peer.send(b"ok")
    peer.half_close()
    client.expect_line(b"reply: ok")
    client.expect_exit(0)


@check("client.message", points={1: 0.5}, todo="1.8", about=(SURPLUS,), hints=(
    "How many bytes is the message? Its terminating 0 is not a part of it.",
    "sizeof says how large an array or a pointer is. What says how long the text in it is?",
    "Send straight from the argument, as many bytes as strlen() counts: no copy, no newline, no 0.",
))
def test_the_client_sends_exactly_its_message(lab: Lab) -> None:
    """strlen(message) bytes travel, neither the buffer's size nor the terminating 0.

    The client is started with five messages in turn: x, words with several spaces, a percent sign with a backslash,
    1000 letters, a word with an umlaut. Exactly these bytes must arrive. After the answer ok it must print "reply:
    ok" and exit with 0.
    """
    for message in ("x", "two words  and  spaces", "100% \\n", "y" * 1000, "umlaut \u00e4"):
        listener = lab.listen()
        client = lab.client(listener, message)
        peer = lab.accept(listener)
        peer.expect(message.encode())
        peer.send(b"ok")
        peer.half_close()
        client.expect_line(b"reply: ok")
        client.expect_exit(0)
        peer.expect_end()


@check("client.no_reply", points={1: 0.5}, todo="1.8", hints=(
    "What does recv() return when the server closes without a word, and what when it resets the connection?",
    "0 is the end without a reply, -1 a failure such as a reset. Does your client take either for a reply?",
    "Print an error to stderr and exit with 1.",
))
def test_the_client_says_so_when_no_reply_comes(lab: Lab) -> None:
    """recv() returning 0 means that nothing will come any more.

    The server takes hello and closes without an answer; for a second client it resets the connection. Each time the
    client must print an error on stderr and end with exit status 1.
    """
    for ending, happened in (("close", "The server closed without answering"), ("reset", "The server reset the connection instead of answering")):
        listener = lab.listen()
        client = lab.client(listener, "hello")
        peer = lab.accept(listener)
        peer.expect(b"hello")
        getattr(peer, ending)()
        client.expect_exit(1, cause=f"{happened}: your client should exit with status 1.")
        lab.require(client.error_lines(), f"{happened}: your client should say so on stderr.")


@check("client.reply", points={1: 0.5}, todo="1.8", hints=(
    "Print as many bytes as recv() returned; there is no terminating 0 behind them.",
    "Does your buffer have room for 1000 bytes, and does the reply come behind the word reply: and one space?",
    "Print the bytes with their count (fwrite() takes one), then a newline, and return 0 from main().",
))
def test_the_client_prints_the_reply_and_exits_0(lab: Lab) -> None:
    """The reply is what recv() delivered, no byte more.

    The server answers with one letter, then with %d and spaces, then with 1000 letters, each time to a new client.
    The answer must stand on stdout behind "reply: ", exactly as it came, and the exit status must be 0.
    """
    for reply in (b"r", b"%d reply with spaces ", b"z" * 1000):
        listener = lab.listen()
        client = lab.client(listener, "hello")
        peer = lab.accept(listener)
        peer.expect(b"hello")
        peer.send(reply)
        peer.half_close()
        client.expect_line(b"reply: " + reply)
        client.expect_exit(0)
