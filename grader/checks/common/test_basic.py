"""The basic exchange of each stage: what every other check of its program needs."""

from __future__ import annotations

from grader.check import check
from grader.harness.lab import Lab
from grader.harness.wire import encode


def basic_hints(first: str, by_hand: str) -> tuple[str, ...]:
    """The three hints of a basic check: the steps of the program, the way to try it by hand, the results of the calls."""
    return (
        first,
        f"Try it by hand: {by_hand}.",
        "Does each call succeed? Print its result and strerror(errno) where it fails. Other bytes than expected? Which line made them?",
    )


@check("server.basic", points={1: 0.5, 2: 0.25, 3: 1, 4: 0.5},
       todo={1: "1.5", 2: "2.6", 3: "3.2", 4: "4.7"},
       hints=basic_hints("socket, bind, listen, accept, recv, send: which of these calls comes last in your server, and what did it return?",
                         "`./server 5001`, and in another terminal a message piped to `nc -N 127.0.0.1 5001`"))
def test_the_server_answers_one_message(lab: Lab) -> None:
    """A server waits for a client, receives what it sends, and answers.

    In stage 1 a client sends the bytes hello, in stages 2 and 3 the message hello: the same must come back, and the
    line "received: hello" must appear on stdout. In stage 4 it sends NAME alice and must get OK.
    """
    server = lab.server()
    lab.until_done()  # one whose main() returns may still answer, by luck, who comes at once
    peer = lab.connect(server)
    if lab.stage == 1:
        peer.send(b"hello")
        peer.expect(b"hello")
        server.expect_line(b"received: hello")
    elif lab.stage == 4:
        peer.send_message(b"NAME alice")
        peer.expect_message(b"OK")
    else:
        peer.send_message(b"hello")
        peer.expect(encode(b"hello"))
        server.expect_line(b"received: hello")
    server.may_end = True  # whether it goes on serving is for other checks to say


@check("client.basic", points={1: 0.5, 2: 0.25, 4: 0.5}, todo={1: "1.8", 2: "2.7", 4: "4.8"},
       hints=basic_hints("socket, connect, send, recv, print: which of these steps comes last in your client, and what did its call return?",
                         "`nc -l 127.0.0.1 5001`, and the client in another terminal"))
def test_the_client_sends_one_message_and_prints_the_reply(lab: Lab) -> None:
    """A client connects, says something, and shows what comes back.

    The check plays the server, which answers when the client has had the time to wait for that. In stage 1 the client
    must send its MESSAGE hello and print "reply: world"; in stage 2 it must send the line hello that is typed and print
    world; in stage 4 it must send NAME alice and print OK.
    """
    listener = lab.listen()
    # Before each answer: one that is there too soon would hide that the client does not wait for it.
    if lab.stage == 1:
        client = lab.client(listener, "hello")
        peer = lab.accept(listener)
        peer.expect(b"hello")
        lab.until_done()
        peer.send(b"world")
        peer.half_close()  # a server of stage 1 answers and closes
        client.expect_line(b"reply: world")
    elif lab.stage == 4:
        client = lab.client(listener, "alice")
        peer = lab.accept(listener)
        peer.expect(encode(b"NAME alice"))
        lab.until_done()
        peer.send_message(b"OK")
        client.expect_line(b"OK")
    else:
        client = lab.client(listener)
        peer = lab.accept(listener)
        client.write(b"hello\n")
        peer.expect(encode(b"hello"))
        lab.until_done()
        peer.send_message(b"world")
        client.expect_line(b"world")
