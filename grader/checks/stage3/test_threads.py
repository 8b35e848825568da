"""Stage 3: a thread for each client, so that none waits for another."""

from __future__ import annotations

from grader.check import check
from grader.checks.common.backlog import Backlog
from grader.checks.common.workload import send_too_long
from grader.checks.stage2.bench import echo
from grader.harness import kernel
from grader.harness.failures import ENDED, NOT_CLOSED, SURPLUS
from grader.harness.instrument import prints_in_turn
from grader.harness.lab import Lab
from grader.harness.program import Program
from grader.harness.wire import count, encode, quote

WAIT_HINTS = (
    "Which calls in your accept loop can wait for a client?",
    "The accept loop should only accept and start a thread; the thread does the talking.",
    "pthread_join() right after pthread_create() waits for the client's end: detach the thread instead.",
)


@check("server.silent_client", points={3: 1.25}, todo="3.3", hints=WAIT_HINTS)
def test_a_silent_client_keeps_nobody_waiting(lab: Lab) -> None:
    """A thread that waits for one client waits alone.

    One client connects and is silent. A second one sends hello, which must come back.
    """
    server = lab.server()
    lab.connect(server, "the silent client")
    lab.until(lambda: kernel.threads(server.pid) > 1 and kernel.asleep(server.pid), 0.5)
    peer = lab.connect(server, "the second client")
    peer.send_message(b"hello")
    peer.expect_message(b"hello", cause="While a first client was connected and silent, your server did not answer a second one.")


@check("server.ten_silent_clients", points={3: 0.5}, todo="3.3", hints=WAIT_HINTS)
def test_ten_silent_clients_keep_nobody_waiting(lab: Lab) -> None:
    """A fixed number of threads only moves the limit.

    Ten clients connect and are silent; an eleventh must get its two messages back. Then each of the ten speaks, and
    must get its message back. The server must have ten threads at least then: one for each client.
    """
    server = lab.server()
    silent = [lab.connect(server) for _ in range(10)]
    echo(lab.connect(server), b"hello", b"again")
    for peer in silent:
        echo(peer, b"now I speak")
    threads = kernel.threads(server.pid)
    lab.require(threads >= 10, f"Ten clients were connected, and your server had {count(threads, 'thread')}: "
                "each client should have a thread of its own, in this one process.")


@check("server.deaf_client", points={3: 0.5}, todo="3.2", hints=(
    "A client that does not read makes its thread wait in send(). What does that thread hold meanwhile?",
    "Which lock of yours is held while bytes are sent, and who else needs it?",
    "Take a lock for what is shared, a line on stdout perhaps, and give it back before send().",
), slow=True)
def test_a_client_that_reads_nothing_keeps_nobody_waiting(lab: Lab) -> None:
    """Whoever waits in send() should hold nothing that others need.

    One client sends messages and reads no answer until nothing moves any more. A second one sends hello, which must come
    back.
    """
    server = lab.server()
    second = lab.connect(server, "the second client")
    echo(second, b"before")
    deaf = lab.connect(server, "the client that reads nothing", receive_buffer=4096)
    deaf.stop_reading()
    message = encode(b"x" * 4000)
    deaf.keep_sending(message * (2 * kernel.largest_send_buffer() // len(message)))  # twice what finds room on the way back
    deaf.until_sent_to("A client sent messages, and nothing was sent to it.")
    Backlog(lab, deaf).comes_to_rest(server)
    second.send_message(b"hello")
    second.expect_message(b"hello", cause="While another client read none of its answers, your server did not answer this one.")


@check("server.half_a_message", points={3: 0.5}, todo="3.2", hints=WAIT_HINTS)
def test_a_client_in_the_middle_of_a_message_keeps_nobody_waiting(lab: Lab) -> None:
    """A pause of any length may fall inside a message.

    One client sends half of a message, which the server reads. A second one must get its hello back meanwhile; then
    the first sends the rest and must get the whole message back.
    """
    server = lab.server()
    first = lab.connect(server)
    first.send_pieces(b"half a mess")
    echo(lab.connect(server), b"hello")
    first.send(b"ageDONE")
    first.expect_message(b"half a message")


@check("server.hundred_clients", points={3: 1.25}, todo="3.1", about=(SURPLUS,), hints=(
    "What have the clients in common in your server: a variable, a buffer, an array with room for fewer than 100?",
    "By the time the new thread reads its argument, what may the variable of the accept loop hold?",
    "Give each thread memory of its own: allocate it before pthread_create(), free it at the thread's end.",
))
def test_a_hundred_clients_talk_at_once_and_each_gets_its_own_words(lab: Lab) -> None:
    """Each thread has its own connection, its own buffer, its own place in the message.

    100 clients connect. Three times each of them sends a message of its own in three pieces, in turn with all
    others. Each must get exactly its own words back.
    """
    server = lab.server()
    peers = [lab.connect(server) for _ in range(100)]
    for turn in range(3):
        for number, peer in enumerate(peers):
            peer.send(b"client %d says " % number)
        for number, peer in enumerate(peers):
            peer.send(b"%d DO" % (turn * number))
        for peer in reversed(peers):
            peer.send(b"DONE")
        for number, peer in enumerate(peers):
            peer.expect(encode(b"client %d says %d DO" % (number, turn * number)))


@check("server.whole_lines", points={3: 0.5}, todo="3.2", hints=(
    "Two threads print at once: what keeps a line together?",
    "Each single call of stdio is whole; a line that is made by several calls is not.",
    "Print the whole line with one call, or hold flockfile(stdout) around several.",
))
def test_lines_on_stdout_stay_whole(lab: Lab) -> None:
    """stdout is shared by all threads.

    20 clients send three messages of 900 equal letters each while the server is halted, and do so ten times. A thread
    that has printed something, or has given back the lock of stdout, waits, the first forty times, until another one has
    printed, too. Each of the 600 lines "received: BODY" must stand whole on stdout; so must, when the others are silent, one
    of 4096 letters.
    """
    turns = prints_in_turn(last=40)
    server = lab.server(faults=[turns])
    peers = [lab.connect(server) for _ in range(20)]
    bodies = [bytes([97 + number]) * 900 for number in range(20)]
    lab.arm_at_rest(server, turns)
    for _ in range(10):
        server.stop()  # so that all threads begin together
        for peer, body in zip(peers, bodies):
            peer.send_message(body, body, body)
        server.go_on()
        for peer, body in zip(peers, bodies):
            peer.expect_message(body, body, body)
    complete = lab.until(lambda: all(server.count_line(b"received: " + body) == 30 for body in bodies))
    wholes = tuple(b"received: " + body for body in bodies)
    received = [line for line in server.lines() if b"received: " in line]
    broken = next((line for line in received if line.count(b"received: ") > 1 or not line.endswith(wholes)), b"")
    lab.require(complete, "Twenty clients sent 30 messages each, and not every line on stdout was whole."
                + (f" One was {quote(broken)}." if broken else ""))
    lab.require_met(server, turns)
    peers[0].send_message(b"0123456789abcdef" * 256)
    server.expect_line(b"received: " + b"0123456789abcdef" * 256)


@check("server.own_framing", points={3: 0.75}, todo="3.2", about=(SURPLUS,), hints=(
    "Is there a static or global buffer in your framing? Then all threads share it.",
    "Bytes so far, letters of DONE just seen, a backslash just seen: how many of each exist while two clients talk?",
    "All that describes the place in a stream belongs into a structure that each client has for itself.",
))
def test_each_connection_has_its_own_place_in_the_stream(lab: Lab) -> None:
    """What was right for one client at a time may be shared by all now.

    Two clients send different messages with escapes and parts of DONE at the same time, both cut at the same of
    eleven places. Each must get its own message back.
    """
    server = lab.server()
    one, two = lab.connect(server), lab.connect(server)
    for cut in range(1, 12):
        wire_one, wire_two = encode(b"one \\ DONE"), encode(b"two DODONE")
        one.send_pieces(wire_one[:cut])
        two.send_pieces(wire_two[:cut])
        one.send(wire_one[cut:])
        two.send(wire_two[cut:])
        one.expect(wire_one)
        two.expect(wire_two)


@check("server.too_long_for_one", points={3: 0.5}, todo="3.2", about=(ENDED,), hints=(
    "Which of your functions end the process? They must not be called in a thread.",
    "Follow the path of the over-long message: it is answered, and then? Who else is touched by what you do?",
    "Return the error up to the thread's own function; that closes its client, frees its memory and returns.",
))
def test_a_client_that_breaks_the_rules_loses_only_its_own_connection(lab: Lab) -> None:
    """An error of one client is answered to that client.

    Two clients are connected. One sends a body of 4097 bytes and must get ERR too long and the end; the other must
    get its messages back, before and after that.
    """
    server = lab.server()
    good, bad = lab.connect(server), lab.connect(server)
    echo(good, b"before")
    threads = kernel.threads(server.pid)
    send_too_long(lab, server, bad, b"x" * 4097)
    lab.until(lambda: not server.alive() or kernel.threads(server.pid) < threads, 2.0)
    echo(good, b"after")


@check("server.quit_of_one", points={3: 0.5}, todo="3.2", about=(ENDED,), hints=(
    "After one client's QUIT, what still runs, and what has ended?",
    "exit() ends the process with all its threads; return ends only this thread.",
    "QUIT ends the loop of this client: close its descriptor, free its memory, return from the thread's function.",
))
def test_QUIT_ends_just_one_client(lab: Lab) -> None:
    """A thread ends by returning.

    Two clients are connected. One says QUIT and must get BYE and the end; the other one, and a new one, must still
    get their messages back.
    """
    server = lab.server()
    stays, leaves = lab.connect(server), lab.connect(server)
    echo(stays, b"before")
    threads = kernel.threads(server.pid)
    leaves.send_message(b"QUIT")
    leaves.expect_message(b"BYE")
    leaves.expect_end()
    leaves.close()
    lab.until(lambda: not server.alive() or kernel.threads(server.pid) < threads, 2.0)
    echo(stays, b"after")
    echo(lab.connect(server), b"new")


@check("server.half_close", points={3: 0.25}, todo="3.2", about=(NOT_CLOSED,), hints=(
    "recv() returning 0 ends the reading. What is still to be sent?",
    "When every complete message is answered: does the loop end, is the descriptor closed, does the function return?",
    "The 0 of recv() leads out of the loop to close(), free() and return, in this thread and nowhere else.",
))
def test_a_client_that_half_closes_gets_its_replies_and_leaves_no_thread(lab: Lab) -> None:
    """The thread answers what is complete, closes and ends.

    A client sends two messages and half-closes. Both must come back, then the end; within 2 seconds the server may
    have no more threads than before it came. If it has, another such client comes, and it may not have still more: a
    thread may be kept for the next client.
    """
    server = lab.server()
    echo(lab.connect(server), b"warm")
    threads = kernel.threads(server.pid)
    if not _ends_after_half_close(lab, server, threads):
        kept = kernel.threads(server.pid)
        lab.require(_ends_after_half_close(lab, server, kept), "The thread of a client that half-closed did not end.")


def _ends_after_half_close(lab: Lab, server: Program, threads: int) -> bool:
    """A client comes and half-closes; true if the server then has no more threads than so many."""
    peer = lab.connect(server)
    peer.send_message(b"one", b"two")
    peer.half_close()
    peer.expect_message(b"one", b"two")
    peer.expect_end()
    return bool(lab.until(lambda: kernel.threads(server.pid) <= threads, 2.0))
