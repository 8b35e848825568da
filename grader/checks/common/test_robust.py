"""What a server must survive, and what it must not use up."""

from __future__ import annotations

from collections.abc import Callable

from grader.check import check
from grader.checks.common.workload import LEFT_SECONDS, end_conversation, send_too_long
from grader.harness import kernel
from grader.harness.failures import DESCRIPTORS, ENDED, MEMORY, SIGPIPE, STACKS, THREADS
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program
from grader.harness.wire import count, quote

VISITORS = 200
RESETS = 4  # every fourth visitor has another client beside it that resets
LONGEST = 20  # seconds in which visitors come: the contract does not say how fast a server must be
WAYS = ("close", "QUIT", "too long", "half-close", "reset")  # to leave
CROWD = 30  # clients at once: more than are left by chance, while their threads end, when the next one comes
AGAIN = 3  # times that all visitors come once more when something has grown
GROWTH_KIB = 256  # 1 KiB for each visitor; right programs grow by 40 KiB at most
GROWTH_MAPPINGS = 60  # 30 lost stacks, of 40 clients that leave in the same way


def _serve_one(lab: Lab, server: Program, text: bytes = b"still here") -> Peer:
    peer = lab.connect(server)
    _answered(lab, peer, text)
    return peer


def _answered(lab: Lab, peer: Peer, text: bytes, cause: str = "") -> None:
    if lab.stage == 1:
        peer.send(text)
        peer.expect(text, cause=cause)
    else:
        peer.send_message(text)
        peer.expect_message(b"ERR bad command" if lab.stage == 4 else text, cause=cause)


@check("server.vanishing_clients", points={1: 0.75, 2: 0.5, 3: 1, 4: 0.75}, todo={1: "1.5", 2: "2.6", 3: "3.2", 4: "4.6"}, about=(ENDED, SIGPIPE), hints=(
    "Which results can recv() and send() have, and which of them mean that the client has gone?",
    "A client that is gone is no reason to end the server: close its socket and take the next.",
    "Sending to a connection that was reset raises SIGPIPE, which ends the program. See MSG_NOSIGNAL in send(2).",
))
def test_a_client_that_vanishes_does_not_end_the_server(lab: Lab) -> None:
    """Clients crash and networks break: at any moment, also before the answer.

    Clients close or reset their connection at once, or after an answer. Two more send something while the server is
    halted (in stage 1 while it is busy with another client), half-close, and are closed or reset before it gets to
    them. After these a new client must get its answer, and the server must still run. 2 seconds later it may have no more
    descriptors than before these two.
    """
    server = lab.server()
    fresh = kernel.descriptors(server.pid)
    lab.connect(server).close()
    lab.connect(server).reset()
    _serve_one(lab, server).close()
    lab.until(lambda: kernel.descriptors(server.pid) <= fresh, LEFT_SECONDS)
    before = kernel.descriptors(server.pid)
    for ending in ("close", "reset"):
        # The end must be there before the answer is sent.
        go_on = _busy(lab, server) if lab.stage == 1 else _halted(server)
        peer = lab.connect(server)
        peer.send(b"gone" if lab.stage == 1 else b"gone" b"DONE" b"again" b"DONE")
        peer.half_close()
        getattr(peer, ending)()
        go_on()
        _serve_one(lab, server).close()
    lab.require(server.alive(), "Your server ended after a client had vanished.")
    lab.until(lambda: kernel.descriptors(server.pid) <= before, LEFT_SECONDS)
    left = kernel.descriptors(server.pid) - before
    lab.require(left <= 0, f"Clients vanished before they were answered; {LEFT_SECONDS:g} seconds later your server still held "
                f"{count(left, 'descriptor')} of theirs.", kind=DESCRIPTORS)


def _halted(server: Program) -> Callable[[], None]:
    """Halts the server; returns what lets it go on. Some of its calls may be interrupted then (signal(7)), which stage 1 need not survive."""
    server.stop()
    return server.go_on


def _busy(lab: Lab, server: Program) -> Callable[[], None]:
    """Keeps a server of stage 1 busy, which serves one client at a time; returns what ends that."""
    first = lab.connect(server)
    lab.until(first.inode_there, 1)  # it is accepted

    def go_on() -> None:
        first.send(b"now I speak")
        first.expect(b"now I speak")
        first.close()

    return go_on


@check("server.leaves_nothing", points={1: 0.75, 2: 0.5, 3: 1.25, 4: 0.5}, todo={1: "1.4", 2: "2.6", 3: "3.2", 4: "4.6"}, slow=True, hints=(
    "Each accept() makes a descriptor. Where is it closed, on every path?",
    "Look at /proc/PID/fd while clients come and go.",
    "What was made for a client is given back where its service ends: descriptor, memory, and the thread (joined or detached).",
))
def test_nothing_is_left_of_two_hundred_past_clients(lab: Lab) -> None:
    """A server runs for months: what it keeps of each client fills the machine one day.

    250 clients come, 200 of them one after the other, who get an answer each and leave, and 50 beside them, who reset
    at once; of a slow server as many as it serves in 20 seconds. In stage 1 they leave by closing; later in five ways
    by turns: they close, say QUIT, send a message that is too long, half-close, or reset before the server (halted
    meanwhile) has answered. In stage 4 each has a name of its own. (From stage 3 on, 30 clients come at once before
    that, and one of them stays; at the end it must still be answered.) Descriptors, threads and memory are counted,
    and the same happens again. At most 2 seconds later the server may have no more descriptors and threads than
    before. If all 250 came and it has 60 more mappings (a lost stack makes two) or needs 256 KiB more memory, they
    come three times more, and that may not happen each time.
    """
    server = lab.server()
    # So that malloc(), the thread stacks, and whatever is kept for the next client have their usual size.
    stays, *crowd = [_serve_one(lab, server) for _ in range(CROWD if lab.stage > 2 else 0)] or [None]
    for peer in crowd:
        peer.close()
    visitors = _all_visit(lab, server)
    descriptors, threads = kernel.descriptors(server.pid), kernel.threads(server.pid)
    resident, mappings = kernel.resident_kib(server.pid), kernel.mappings(server.pid)
    _all_visit(lab, server, visitors)
    all_of_them = visitors + len(range(0, visitors, RESETS))
    if stays:
        _answered(lab, stays, b"still here", f"One client stayed all the time, and when {2 * all_of_them} others had come and "
                  "left it got no answer any more.")
    lab.until(lambda: kernel.descriptors(server.pid) <= descriptors and kernel.threads(server.pid) <= threads,
              LEFT_SECONDS)
    after = f"{all_of_them} clients came and left, and then as many again. After the last of them your server"
    left = kernel.descriptors(server.pid) - descriptors
    lab.require(left <= 0, f"{after} held {count(left, 'descriptor')} more than after the first {all_of_them}.", kind=DESCRIPTORS)
    left = kernel.threads(server.pid) - threads
    lab.require(left <= 0, f"{after} had {count(left, 'thread')} more than after the first {all_of_them}.", kind=THREADS)
    if visitors < VISITORS:
        return  # too few for the memory to tell
    grown, larger = kernel.mappings(server.pid) - mappings, kernel.resident_kib(server.pid) - resident
    for _ in range(AGAIN):
        if grown < GROWTH_MAPPINGS and larger < GROWTH_KIB:
            return
        # What is used again may grow once or twice: malloc() gives memory back when it likes. What is lost grows each time.
        resident, mappings = kernel.resident_kib(server.pid), kernel.mappings(server.pid)
        _all_visit(lab, server)
        grown, larger = min(grown, kernel.mappings(server.pid) - mappings), min(larger, kernel.resident_kib(server.pid) - resident)
    each_time = f"{all_of_them} clients came and left, and then {AGAIN + 1} times as many again. Each time your server"
    lab.require(grown < GROWTH_MAPPINGS, f"{each_time} kept about {grown // 2} stacks of threads that have ended: "
                "a thread must be joined or detached.", kind=STACKS)
    lab.require(larger < GROWTH_KIB, f"{each_time} grew by {larger} KiB or more.", kind=MEMORY)


def _all_visit(lab: Lab, server: Program, most: int = VISITORS) -> int:
    """So many clients, one after the other, and beside every fourth another one who resets. Returns how many came in time."""
    begun = lab.charged
    for number in range(most):
        if lab.charged - begun > LONGEST * lab.patience:
            return number
        peer = _serve_one(lab, server, b"visitor %d" % number)
        if number % RESETS == 0:
            lab.connect(server).reset()
        if lab.stage > 1:
            _leave(lab, server, peer, WAYS[number % len(WAYS)])
        peer.close()
    return most


def _leave(lab: Lab, server: Program, peer: Peer, way: str) -> None:
    """What a client does in its last moments, before its socket is closed."""
    if lab.stage == 4:
        _enter_and_write(lab, peer)
    if way == "QUIT":
        end_conversation(peer)
    elif way == "too long":
        send_too_long(lab, server, peer, b"x" * 4097)
    elif way == "half-close":
        peer.half_close()
        peer.expect_end()
    elif way == "reset":
        go_on = _halted(server)
        peer.send_message(b"an answer", b"to nobody")
        peer.reset()
        go_on()


def _enter_and_write(lab: Lab, peer: Peer) -> None:
    """The client enters a name that nobody had, and writes to it: hello, and what is too long for a FROM, not for a TO."""
    name = b"visitor-%d" % len(lab.peers)
    peer.send_message(b"NAME " + name)
    peer.expect_message(b"OK")
    peer.send_message(b"TO " + name + b" hello", (b"TO " + name + b" ").ljust(4096, b"x"))
    got = sorted(peer.message() for _ in range(3))
    lab.require(got == [b"ERR too long", b"FROM " + name + b" hello", b"OK"], f"{name.decode()} wrote to himself, hello and then too much. "
                f"He got {', '.join(map(quote, got))}.")


IDLE_HINTS = (
    "Which call waits while there is nothing to do? If none does, the program asks again and again.",
    "What does your loop do when recv() or read() returns 0?",
    "After the 0 that means the end, it returns 0 at once for ever: stop asking there. And never wait with MSG_DONTWAIT.",
)


@check("server.idle", points={1: 0.5, 2: 0.25, 3: 0.5, 4: 0.5}, todo={1: "1.5", 2: "2.4", 3: "3.2", 4: "4.6"}, hints=IDLE_HINTS, slow=True)
def test_an_idle_server_uses_no_CPU(lab: Lab) -> None:
    """A call that blocks costs nothing; a loop that asks again and again costs a whole core.

    Two clients come and leave at once, one of them with a reset. A third stays and is silent, from stage 2 on in
    the middle of a message. During one second the server may use less than 0.3 s of CPU. Then that message goes on, and
    must be answered.
    """
    server = lab.server()
    lab.connect(server).close()
    lab.connect(server).reset()
    silent = lab.connect(server)
    silent.send(b"" if lab.stage == 1 else b"half a mess")
    # On a busy machine its thread may begin late: it is not idle only because it is not there yet.
    lab.until(lambda: silent.inode_there() and not silent.unread())
    lab.require_idle(server, "With one silent client")
    if lab.stage == 1:
        return  # who is silent in stage 1 may be left
    silent.send(b"ageDONE")
    silent.expect_message(b"ERR bad command" if lab.stage == 4 else b"half a message",
                          cause="A client made a pause of a second in the middle of its message, and got no answer to it.")


@check("client.idle", points={2: 0.25, 4: 0.25}, todo={2: "2.7", 4: "4.8"}, hints=IDLE_HINTS, slow=True)
def test_an_idle_client_uses_no_CPU(lab: Lab) -> None:
    """Waiting for the user and for the server is done by the kernel.

    The client is connected, nothing is typed and nothing arrives. Then stdin ends, QUIT must arrive, and the server
    does not close yet. In one second of either state the client may use less than 0.3 s of CPU. Then the server says BYE and
    closes: it must be printed, and the exit status must be 0.
    """
    listener = lab.listen()
    client = lab.client(listener, *(("alice",) if lab.stage == 4 else ()))
    peer = lab.accept(listener)
    if lab.stage == 4:
        peer.expect_message(b"NAME alice")
        peer.send_message(b"OK")
        client.expect_line(b"OK")
    lab.require_idle(client, "With nothing typed and nothing arriving")
    client.close_stdin()
    peer.expect_message(b"QUIT")
    lab.require_idle(client, "After the end of stdin and QUIT, while the server has not closed yet")
    peer.send_message(b"BYE")
    client.expect_line(b"BYE")
    peer.close()
    client.expect_exit(0)
