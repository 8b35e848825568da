"""A real conversation with each stage's programs, for the checks that watch from inside."""

from __future__ import annotations

from grader.harness import kernel
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program
from grader.harness.wire import encode


def serve(lab: Lab, server: Program) -> None:
    """Clients come, talk, break rules and vanish; the last one proves that all was done."""
    if lab.stage == 1:
        _echo_once(lab, server)
    elif lab.stage == 4:
        _relay(lab, server)
    else:
        _echo_many(lab, server)


def _echo_once(lab: Lab, server: Program) -> None:
    for message in (b"x" * 1000, b"short", b"\x00\xff%s%n"):
        peer = lab.connect(server)
        peer.send(message)
        peer.expect(message)
        peer.expect_end()
    lab.connect(server).close()
    lab.connect(server).reset()
    last = lab.connect(server)
    last.send(b"last")
    last.expect(b"last")


def _echo_many(lab: Lab, server: Program) -> None:
    for _ in range(2):
        peer = lab.connect(server)
        for body in (b"", b"a", b"I am DONE", b"back\\slash", b"y" * 4096, bytes(range(256)), b"short"):
            peer.send_message(body)
            peer.expect_message(body)
        peer.send_message(*(b"message %d" % n for n in range(20)), b"QUIT")
        peer.expect_message(*(b"message %d" % n for n in range(20)), b"BYE")
        peer.expect_end()
    _misbehave(lab, server)
    if lab.stage > 2:
        _at_once(lab, server)
    last = lab.connect(server)
    last.send_message(b"last")
    last.expect_message(b"last")


def _at_once(lab: Lab, server: Program) -> None:
    peers = [lab.connect(server) for _ in range(8)]
    for n in range(5):
        for peer in peers:
            peer.send_message(b"%d from " % n + peer.name.encode())
        for peer in peers:
            peer.expect_message(b"%d from " % n + peer.name.encode())
    for peer in peers[::2]:
        peer.close()
    for peer in peers[1::2]:
        peer.send_message(b"QUIT")
        peer.expect_message(b"BYE")


def send_too_long(lab: Lab, server: Program, peer: Peer, body: bytes) -> None:
    """Sends a body of more than 4096 bytes; the server answers and closes.

    The answer may come at the 4097th byte or at the end of the message. So DONE is sent only when
    the server has read everything, sleeps, and has not answered.
    """
    peer.send(body)
    peer.until_taken()
    lab.until(lambda: peer.received or peer.ended or kernel.asleep(server.pid))
    lab.pump()
    if not peer.received and not peer.ended:
        peer.send(b"DONE")
    peer.expect_message(b"ERR too long")
    peer.expect_end()
    peer.close()


def _misbehave(lab: Lab, server: Program) -> None:
    long = lab.connect(server)
    send_too_long(lab, server, long, b"z" * 4097)
    for leave in ("close", "reset"):
        peer = lab.connect(server)
        peer.send(b"half a mess")
        getattr(peer, leave)()


def _relay(lab: Lab, server: Program) -> None:
    peers = {name: lab.connect(server, name) for name in ("alice", "bob", "carol", "dave")}
    for name, peer in peers.items():
        peer.send_message(b"NAME " + name.encode())
        peer.expect_message(b"OK")
    alice, bob, carol, dave = peers.values()
    for n in range(5):
        for sender in (alice, carol, dave):
            sender.send_message(b"TO bob message %d with DONE" % n)
        for sender in (alice, carol, dave):
            sender.expect_message(b"OK")
        for _ in range(3):
            bob.message()
    alice.send_message(b"NAME bob", b"TO nobody x", b"TO bob", b"nonsense", b"TO alice to myself", b"TO bob " + b"w" * 4086)
    for _ in range(7):  # six replies, and the message to herself
        alice.message()
    carol.send_message(b"WHO", b"QUIT")
    carol.message()
    carol.expect_message(b"BYE")
    dave.reset()
    bob.half_close()
    bob.expect_end()
    _misbehave(lab, server)
    for _ in range(2):
        again = lab.connect(server)
        again.send_message(b"NAME carol", b"QUIT")
        again.expect_message(b"OK", b"BYE")
    alice.send_message(b"WHO")
    alice.message()


def talk(lab: Lab, **options) -> Program:
    """A whole conversation with the stage's client, to its end; returns the ended client."""
    listener = lab.listen()
    arguments = {1: ("hello there",), 4: ("alice",)}.get(lab.stage, ())
    client = lab.client(listener, *arguments, **options)
    peer = lab.accept(listener, seconds=20)
    if lab.stage == 1:
        peer.expect(b"hello there")
        peer.send(b"hello yourself")
        peer.close()
    else:
        _talk_in_messages(lab, client, peer)
    client.expect_exit(0)
    return client


def _talk_in_messages(lab: Lab, client: Program, peer) -> None:
    if lab.stage == 4:
        peer.expect(encode(b"NAME alice"))
        peer.send_message(b"OK")
    for line in (b"TO bob hello", b"", b"I am DONE", b"v" * 4096, b"short"):
        client.write(line + b"\n")
        peer.expect(encode(line))
        peer.send(encode(line[:2000])[:3])
        peer.send(encode(line[:2000])[3:])
    client.write(b"u" * 5000 + b"\nlast line")
    client.close_stdin()
    peer.expect(encode(b"last line"))
    peer.send_message(b"reply")
    peer.expect(encode(b"QUIT"))
    peer.send_message(b"BYE")
    peer.close()
