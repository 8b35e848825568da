"""What several checks of stage 2 do: an exchange with a server, a client with its server played."""

from __future__ import annotations

from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program
from grader.harness.wire import encode


def echo(peer: Peer, *bodies: bytes) -> None:
    """Sends the bodies one after the other; each comes back, escaped as it should be."""
    for body in bodies:
        peer.send_message(body)
        peer.expect(encode(body))


def echo_together(server: Program, peer: Peer, *bodies: bytes) -> None:
    """The server finds all these messages at once when it looks; each comes back."""
    server.stop()
    peer.send_message(*bodies)
    server.go_on()
    for body in bodies:
        peer.expect(encode(body))


def client_with_peer(lab: Lab, **options) -> tuple[Program, Peer]:
    """The student's client, connected to a server that the check plays."""
    listener = lab.listen()
    client = lab.client(listener, **options)
    return client, lab.accept(listener)


def answer(client: Program, peer: Peer, line: bytes, reply: bytes) -> None:
    """The client sends `line` as a message, gets `reply`, and prints it."""
    peer.expect(encode(line))
    peer.send_message(reply)
    client.expect_line(reply)


def say_goodbye(client: Program, peer: Peer) -> None:
    """The client sends QUIT, gets BYE, sees the end, and exits with 0."""
    peer.expect(encode(b"QUIT"))
    peer.send_message(b"BYE")
    peer.half_close()
    if client.until_ended():
        peer.require_nothing_more()  # what came too much explains a wrong status
    client.expect_exit(0)
    peer.expect_end()


_LETTERS = b"abcdefghijklmnopqrstuvwxyz.0123456789 "
_LINES = b"".join(_LETTERS[at:] + _LETTERS[:at] for at in range(len(_LETTERS)))  # each begins with the next letter


def text(size: int, start: int = 0) -> bytes:
    """`size` printable bytes without D or backslash, in which a lost or moved byte shows."""
    begin = start % len(_LETTERS) * len(_LETTERS)
    return (_LINES * ((begin + size) // len(_LINES) + 1))[begin : begin + size]
