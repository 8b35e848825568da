"""A real conversation with each stage's programs, for the checks that watch from inside."""

from __future__ import annotations

from grader.harness import kernel
from grader.harness.deadline import DEADLINE
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program
from grader.harness.wire import encode, quote, show


LEFT_SECONDS = 2.0  # contract: nothing of a client is left 2 seconds after it has gone


def serve(lab: Lab, server: Program) -> None:
    """Clients come, talk, break rules and vanish; the last one proves that all was done."""
    if lab.stage == 1:
        _echo_once(lab, server)
    elif lab.stage == 4:
        _relay(lab, server)
    else:
        _echo_many(lab, server)


def converse(lab: Lab, server: Program, name: str = "alice") -> Peer:
    """A short conversation in which each kind of message occurs; returns the peer, still connected."""
    peer = lab.connect(server, name)
    if lab.stage == 1:
        peer.send(b"hello")
        peer.expect(b"hello")
    elif lab.stage == 4:
        me = name.encode()
        peer.send_message(b"NAME " + me)
        peer.expect_message(b"OK")
        for text in (b"hello", b"", b"I am DONE", b"back\\slash", b"long " * 60):
            peer.send_message(b"TO " + me + b" " + text)
            got = sorted(peer.message() for _ in range(2))
            lab.require(got == [b"FROM " + me + b" " + text, b"OK"], f"{name} wrote to herself and got {' and '.join(map(quote, got))}.")
        peer.send_message(b"TO nobody x", b"WHO")
        peer.expect_message(b"ERR no such user")
        listed = peer.message()
        lab.require(listed.startswith(b"OK ") and me in listed.split(b" "), f"WHO should list {name}; the reply was {show(listed)}.")
    else:
        for body in (b"hello", b"", b"I am DONE", b"back\\slash", b"long " * 60):
            peer.send_message(body)
            peer.expect(encode(body))
    return peer


def end_conversation(peer: Peer) -> None:
    """QUIT, BYE, and the end of the connection."""
    peer.send_message(b"QUIT")
    peer.expect_message(b"BYE")
    peer.expect_end()
    peer.close()


def first_arguments(lab: Lab) -> tuple[str, ...]:
    """What stands before HOST and PORT on the command line of the stage's client."""
    return {1: ("hello",), 4: ("alice",)}.get(lab.stage, ())


def _echo_once(lab: Lab, server: Program) -> None:
    for message in (b"x" * 1000, b"short", b"\x00\xff%s%n"):
        peer = lab.connect(server)
        peer.send(message)
        peer.expect(message)
        peer.expect_end()
        peer.close()
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
        peer.close()
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


def send_too_long(lab: Lab, server: Program, peer: Peer, body: bytes, *, stay: bool = False) -> None:
    """Sends a body of more than 4096 bytes; the server answers and closes, and so does the client unless it stays.

    The answer may come at the 4097th byte or at the end of the message. So DONE is sent only when
    the server has read everything, sleeps, and has not answered.
    """
    peer.send(body)
    peer.until_taken()
    lab.until(lambda: peer.received or peer.ended or kernel.asleep(server.pid), DEADLINE * server.slowness)
    lab.pump()
    if not peer.received and not peer.ended:
        peer.send(b"DONE")
    peer.expect_message(b"ERR too long")
    peer.expect_end()
    if not stay:
        peer.close()


def _misbehave(lab: Lab, server: Program) -> None:
    long = lab.connect(server)
    send_too_long(lab, server, long, b"z" * 4097)
    for leave in ("close", "reset"):
        peer = lab.connect(server)
        peer.send(b"half a mess")
        getattr(peer, leave)()


def _relay(lab: Lab, server: Program, first: str = "alice") -> None:
    peers = {name: lab.connect(server, name) for name in (first, "bob", "carol", "dave")}
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
        # Both directions at once: who takes two locks takes them in both orders.
        alice.send_message(b"TO bob across")
        bob.send_message(b"TO %s across" % first.encode())
        for _ in range(2):
            alice.message()
            bob.message()
    alice.send_message(b"NAME bob", b"TO nobody x", b"TO bob", b"nonsense", b"TO %s to myself" % first.encode(), b"TO bob " + b"w" * 4089)
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


SIZES = (1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1000)
MORE_SIZES = (1023, 1024, 1025, 2047, 2048, 2049, 4091, 4092, 4093, 4094, 4095, 4096)


def serve_sizes(lab: Lab, server: Program) -> None:
    """Messages of every size around the usual limits, names of every length, a crowd, and what breaks rules."""
    if lab.stage == 1:
        for size in SIZES:
            peer = lab.connect(server)
            peer.send(b"x" * size)
            peer.expect(b"x" * size)
            peer.expect_end()
            peer.close()
        lab.connect(server).reset()
        _echo_once(lab, server)
        return
    if lab.stage == 4:
        _relay_sizes(lab, server)
        return
    peer = lab.connect(server)
    for size in (0, *SIZES, *MORE_SIZES):
        for body in (b"x" * size, b"\\" * size, (b"DONE" * size)[:size]):
            peer.send_message(body)
            peer.expect_message(body)
    peer.send_message(*(b"y" * (size % 97) for size in range(300)))
    peer.expect_message(*(b"y" * (size % 97) for size in range(300)))
    end_conversation(peer)
    _echo_many(lab, server)


def _relay_sizes(lab: Lab, server: Program) -> None:
    alice = lab.connect(server, "alice")
    alice.send_message(b"NAME alice")
    alice.expect_message(b"OK")
    for size in (*SIZES, *MORE_SIZES):
        alice.send_message(b"NAME " + b"n" * min(size, 4091), b"TO " + b"n" * min(size, 4090) + b" x", (b"z" * size)[:4096])
        for _ in range(3):
            alice.message()
        body = b"w" * min(size, 4096 - len(b"FROM alice "))
        alice.send_message(b"TO alice " + body)
        lab.require(sorted(alice.message() for _ in range(2)) == [b"FROM alice " + body, b"OK"],
                    f"alice wrote {len(body)} bytes to herself and did not get them.")
    for size in (1, 30, 31, 32, 33, 64, 255, 4091):
        peer = lab.connect(server)
        peer.send_message(b"NAME " + b"n" * size)
        peer.expect_message(b"OK" if size <= 31 else b"ERR bad name")
        peer.send_message(b"WHO", b"QUIT")
        peer.message()
        peer.expect_message(b"BYE")
        peer.close()
    before = kernel.descriptors(server.pid)
    crowd = [lab.connect(server) for _ in range(99)]  # and alice: a table may have 100 places
    for n, peer in enumerate(crowd):
        peer.send_message(b"NAME member-%d" % n)
    for peer in crowd:
        peer.expect_message(b"OK")
    crowd[0].send_message(b"WHO")
    crowd[0].message()
    for peer in crowd:
        peer.close()
    lab.until(lambda: kernel.descriptors(server.pid) <= before)
    _relay(lab, server, "alex")


def talk_sizes(lab: Lab, **options) -> None:
    """Lines and replies of every size around the usual limits."""
    if lab.stage == 1:
        for size in SIZES:
            listener = lab.listen()
            client = lab.client(listener, "m" * size, **options)
            peer = lab.accept(listener)
            peer.expect(b"m" * size)
            peer.send(b"r" * size)
            peer.half_close()
            client.expect_exit(0)
            peer.drop()
        listener = lab.listen()
        client = lab.client(listener, "no answer", **options)
        peer = lab.accept(listener)
        peer.expect(b"no answer")
        peer.reset()
        client.expect_exit(1)
        return
    listener = lab.listen()
    client = lab.client(listener, *(("alice",) if lab.stage == 4 else ()), **options)
    peer = lab.accept(listener)
    if lab.stage == 4:
        peer.expect(encode(b"NAME alice"))
        peer.send_message(b"OK")
    for size in (0, *SIZES, *MORE_SIZES):
        client.write(b"l" * size + b"\n")
        peer.expect(encode(b"l" * size))
        peer.send_message((b"DONE" * size)[:size])
    for size in (4097, 8192, 70000):
        client.write(b"t" * size + b"\n")
    client.write(b"\\" * 4096 + b"\n")
    peer.expect(encode(b"\\" * 4096))
    peer.send_message(b"x" * 4096)
    client.close_stdin()
    peer.expect(encode(b"QUIT"))
    peer.send_message(b"BYE")
    peer.close()
    client.expect_exit(0)


def talk(lab: Lab, **options) -> Program:
    """A whole conversation with the stage's client, to its end; returns the ended client."""
    listener = lab.listen()
    arguments = {1: ("hello there",), 4: ("alice",)}.get(lab.stage, ())
    client = lab.client(listener, *arguments, **options)
    peer = lab.accept(listener)
    if lab.stage == 1:
        peer.expect(b"hello there")
        peer.send(b"hello yourself")
        peer.close()
        client.expect_line(b"reply: hello yourself")
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
