"""Faults that luck would bring once a year, injected by the instrument: short transfers, signals,
calls that fail at start."""

from __future__ import annotations

import errno
import os
import socket

from grader.check import check
from grader.checks.common.workload import converse, end_conversation, first_arguments
from grader.harness import ports
from grader.harness.failures import ENDED, EXIT_STATUS, NO_LISTENER, UNPRINTED
from grader.harness.instrument import Fault, fail, interrupt, moved_port, short
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.wire import encode

SIZES = ((1,), (3,), (2, 1, 4, 3))  # bytes for each call; the last are used in turn
LINES = (b"hello", b"", b"I am DONE", b"back\\slash", b"long " * 60)


def _serve(lab: Lab, *faults: Fault) -> None:
    server = lab.server(faults=faults)
    peer = converse(lab, server)
    if lab.stage < 4:
        peer.send_message(b"one", b"two", b"three")
        peer.expect(encode(b"one") + encode(b"two") + encode(b"three"))
    lab.require_met(server, *(f for f in faults if f.family != "poll"))
    end_conversation(peer)


def _talk(lab: Lab, *faults: Fault) -> None:
    listener = lab.listen()
    client = lab.client(listener, *first_arguments(lab), faults=faults)
    client.write(LINES[0] + b"\n")
    peer = _accept_who_speaks(lab, listener)
    if lab.stage == 4:
        peer.expect(encode(b"NAME alice"))
        peer.send_message(b"OK")
        client.expect_line(b"OK")
    for line in LINES:
        if line != LINES[0]:
            client.write(line + b"\n")
        peer.expect(encode(line))
        peer.send_message(b"reply to " + line)
        client.expect_line(b"reply to " + line)
    client.close_stdin()
    peer.expect(encode(b"QUIT"))
    peer.send_message(b"BYE")
    client.expect_line(b"BYE")
    peer.half_close()
    client.expect_exit(0)
    lab.require_met(client, *(f for f in faults if f.family != "poll"))


def _accept_who_speaks(lab: Lab, listener: socket.socket) -> Peer:
    """The client's connection; after an interrupted connect() it may have closed one and made another."""
    peer = lab.accept(listener)
    lab.until(lambda: peer.received or peer.ended)
    if not peer.ended or peer.received:
        return peer
    return lab.accept(listener, cause="Your client closed its connection before it had sent anything, and did not make another.")


SHORT_RECV_HINTS = (
    "recv() gives what has arrived, and that may be one byte. Which of your calls counts on more?",
    "Every recv() stands in a loop that goes on until the message is complete.",
    "Add what recv() returned to what you have; never assume that it filled the buffer.",
)
SHORT_SEND_HINTS = (
    "send() returns how many bytes it has taken. What becomes of the others?",
    "Call send() in a loop: each time with what is left, until nothing is.",
    "After a short send() both the address and the length of what is left change.",
)


@check("server.short_recv", points={2: 0.5, 3: 0.25, 4: 0.25}, todo={2: "2.3", 3: "3.2", 4: "4.6"}, hints=SHORT_RECV_HINTS)
def test_recv_may_return_any_part_of_what_was_sent_to_the_server(lab: Lab) -> None:
    """The kernel decides how much one recv() brings. Here each brings one byte, or three, or a few.

    Three servers are started: recv() and read() bring at most 1 byte, at most 3 bytes, or 2, 1, 4 and 3 in turn. A
    client sends messages of each kind (empty, with DONE, with a backslash, long, several at once) and QUIT. Every
    answer must come back whole and in order, then BYE and the end.
    """
    for sizes in SIZES:
        _serve(lab, short("recv", *sizes))


@check("client.short_recv", points={2: 0.25, 4: 0.25}, todo={2: "2.4", 4: "4.8"}, about=(UNPRINTED,), hints=SHORT_RECV_HINTS)
def test_recv_may_return_any_part_of_what_was_sent_to_the_client(lab: Lab) -> None:
    """The client is a receiver, too: each recv() brings one byte, or three, or a few.

    Three clients are started: recv() and read() bring at most 1 byte, at most 3 bytes, or 2, 1, 4 and 3 in turn.
    Five lines are typed, and each reply must be printed whole. At the end of stdin QUIT must arrive; after BYE and
    the close the exit status must be 0.
    """
    for sizes in SIZES:
        _talk(lab, short("recv", *sizes))


@check("server.short_send", points={2: 1, 3: 0.25, 4: 0.5}, todo={2: "2.1", 3: "3.2", 4: "4.4"}, hints=SHORT_SEND_HINTS)
def test_send_may_take_only_a_part_of_what_the_server_gives_it(lab: Lab) -> None:
    """A full send buffer takes a part. It happens rarely, so it is forgotten often.

    Three servers are started: send() and write() take at most 1 byte, at most 3 bytes, or 2, 1, 4 and 3 in turn. A
    client sends messages of each kind (empty, with DONE, with a backslash, long, several at once) and QUIT. Every
    answer must arrive whole and in order, then BYE and the end.
    """
    for sizes in SIZES:
        _serve(lab, short("send", *sizes))


@check("client.short_send", points={2: 0.5, 4: 0.25}, todo={2: "2.1", 4: "4.8"}, hints=SHORT_SEND_HINTS)
def test_send_may_take_only_a_part_of_what_the_client_gives_it(lab: Lab) -> None:
    """What send() has not taken is still yours to send.

    Three clients are started: send() and write() take at most 1 byte, at most 3 bytes, or 2, 1, 4 and 3 in turn.
    Five lines are typed; each must arrive whole, and its reply be printed. At the end of stdin QUIT must arrive;
    after BYE and the close the exit status must be 0.
    """
    for sizes in SIZES:
        _talk(lab, short("send", *sizes))


EINTR_HINTS = (
    "A signal may interrupt any call that waits: it returns -1, and errno is EINTR. Was anything broken?",
    "Nothing is lost when a call was interrupted: simply make it again. Where does your code give up instead?",
    "Make each of them again: accept(), recv(), send(), poll(), connect() (EISCONN then means it is there), in all your files.",
)


@check("server.interrupted", points={2: 0.75, 3: 0.25, 4: 0.5}, todo={2: "2.1", 3: "3.1", 4: "4.5"}, about=(ENDED,), hints=EINTR_HINTS)
def test_an_interrupted_call_of_the_server_is_made_again(lab: Lab) -> None:
    """A signal is no error. The first call of each kind, and then every third, is interrupted here.

    The first, fourth, seventh ... call of each kind (accept, recv, send, poll and their relatives) returns -1 with
    EINTR before it has done anything. A client holds a short conversation: every answer must come, then BYE to its
    QUIT, and the end. The same happens again while recv() and send() move at most 5 bytes, so that the interruptions
    fall inside messages.
    """
    interruptions = [interrupt(family) for family in ("accept", "recv", "send", "poll")]
    _serve(lab, *interruptions)
    _serve(lab, *interruptions, short("recv", 5), short("send", 5))


@check("client.interrupted", points={2: 0.5, 4: 0.25}, todo={2: "2.7", 4: "4.8"}, about=(EXIT_STATUS, UNPRINTED), hints=EINTR_HINTS)
def test_an_interrupted_call_of_the_client_is_made_again(lab: Lab) -> None:
    """Resizing a terminal's window is enough to interrupt a call. An interrupted connect() goes on by itself.

    The first, fourth, seventh ... call of each kind (connect, recv, send, poll and their relatives) returns -1 with
    EINTR before it has done anything. Five lines are typed: each must arrive, and its reply be printed. At the end
    of stdin QUIT must arrive; after BYE and the close the exit status must be 0. The same happens again while recv() and
    send() move at most 5 bytes, so that the interruptions fall inside messages.
    """
    interruptions = [interrupt(family) for family in ("connect", "recv", "send", "poll")]
    _talk(lab, *interruptions)
    _talk(lab, *interruptions, short("recv", 5), short("send", 5))


START_HINTS = (
    "Which of the calls before the first accept() or send() can fail? All of them. Is each result looked at?",
    "After a failure nothing that follows makes sense. How does main() learn which call it was, and why?",
    "Print which call failed and strerror(errno) to stderr, and end with exit status 1.",
)


def _expect_failed_start(lab: Lab, role: str, arguments: tuple[str, ...], family: str, error: int) -> None:
    fault = fail(family, error, last=0)
    program = lab.run(role, *arguments, faults=[fault])
    seconds = 10 if role == "client" else None  # it may try again for some time
    said = f"{family}() failed with {errno.errorcode[error]} ({os.strerror(error)})"
    program.expect_exit(1, seconds=seconds, cause=f"{said}: your {role} should say what failed and why, and exit with status 1.")
    lab.require_met(program, fault)
    words = " ".join(program.error_lines()).lower()
    lab.require(any(word.lower() in words for word in (family, os.strerror(error), errno.errorcode[error])),
                f"{said}: your {role} should name that on stderr ({role}: {family}: {os.strerror(error)}).")


@check("server.failing_start", points={1: 0.5, 2: 0.25, 3: 0.25, 4: 0.25}, todo={1: "1.2", 2: "2.6", 3: "3.1", 4: "4.6"}, hints=START_HINTS)
def test_a_call_that_fails_when_the_server_starts_is_named(lab: Lab) -> None:
    """Every call can fail. A server that goes on nevertheless fails later, and nobody knows why.

    The server is started three times: socket() fails with EMFILE, bind() with EACCES, listen() with EADDRINUSE.
    Each time a line on stderr must name the call or the reason, and the exit status must be 1.
    """
    for family, error in (("socket", errno.EMFILE), ("bind", errno.EACCES), ("listen", errno.EADDRINUSE)):
        _expect_failed_start(lab, "server", (str(ports.take()),), family, error)


@check("client.failing_start", points={1: 0.5, 2: 0.25, 4: 0.25}, todo={1: "1.6", 2: "2.7", 4: "4.8"}, hints=START_HINTS)
def test_a_call_that_fails_when_the_client_starts_is_named(lab: Lab) -> None:
    """Without a socket or a connection there is nothing to talk to.

    The client is started twice: socket() fails with EMFILE, connect() with ETIMEDOUT. Each time a line on stderr
    must name the call or the reason, and the exit status must be 1.
    """
    for family, error in (("socket", errno.EMFILE), ("connect", errno.ETIMEDOUT)):
        where = lab.listen().getsockname()
        arguments = (*first_arguments(lab), where[0], str(where[1]))
        _expect_failed_start(lab, "client", arguments, family, error)


DEFAULT_HINTS = (
    "Which port and address does the handout name for a program that is started without them? Which arguments take their place?",
    "What is argc when no argument is given, and what do argv[1] and argv[2] hold then?",
    "Begin with the defaults in your variables, and replace each only if its argument is there.",
)


@check("server.defaults", points={1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25}, todo={1: "1.4", 2: "2.6", 3: "3.1", 4: "4.6"}, about=(NO_LISTENER,), hints=DEFAULT_HINTS)
def test_the_server_listens_on_port_5000_unless_told_otherwise(lab: Lab) -> None:
    """Defaults let two people start without a word. (Port 5000 is moved to a free one here.)

    The server is started without arguments, and where it binds port 5000 it gets a free port instead. It must
    listen on that port of 127.0.0.1, and a client must get the answers of a short conversation. With a port and the
    address 127.0.0.2 it must listen there.
    """
    port = ports.take()
    server = lab.run("server", faults=[moved_port(5000, port)])
    server.address = ("127.0.0.1", port)
    lab.until_listening(server, cause="Started without arguments, your server should listen on 127.0.0.1 port 5000.")
    converse(lab, server)
    lab.server(address="127.0.0.2")


@check("client.defaults", points={1: 0.25, 2: 0.25, 4: 0.25}, todo={1: "1.7", 2: "2.7", 4: "4.8"}, hints=DEFAULT_HINTS)
def test_the_client_connects_to_port_5000_unless_told_otherwise(lab: Lab) -> None:
    """Host 127.0.0.1, port 5000, and in stage 1 the message hello. (Port 5000 is moved to a free one here.)

    The client is started without HOST and PORT (in stage 4 with its NAME), and where it connects to port 5000 it
    reaches the server that the check plays. It must connect; in stage 1 hello must arrive, in stage 4 NAME alice. A
    second one is started with the HOST 127.0.0.2 and no PORT, and must connect to that host.
    """
    name = first_arguments(lab) if lab.stage == 4 else ()
    _expect_connection(lab, "127.0.0.1", name, "without a host and a port")
    _expect_connection(lab, "127.0.0.2", (*first_arguments(lab), "127.0.0.2"), "with the host 127.0.0.2 and no port")


def _expect_connection(lab: Lab, host: str, arguments: tuple[str, ...], started: str) -> None:
    """The client that is started with these arguments connects to the host's port 5000, and says what it should."""
    listener = lab.listen(host)
    lab.run("client", *arguments, faults=[moved_port(5000, listener.getsockname()[1])])
    peer = lab.accept(listener, cause=f"Started {started}, your client should connect to {host} port 5000.")
    if lab.stage != 2:
        peer.expect(b"hello" if lab.stage == 1 else encode(b"NAME alice"))
