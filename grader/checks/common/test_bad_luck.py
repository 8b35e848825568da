"""What goes wrong once a year in a server with threads, made to go wrong now: no descriptor, no
thread, no memory, a thread that starts late, a descriptor's number that comes back."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable

import pytest

from grader.check import check
from grader.checks.common.workload import LEFT_SECONDS, converse, end_conversation
from grader.harness import kernel
from grader.harness.connecting import Connecting
from grader.harness.failures import CRASH, ENDED
from grader.harness.instrument import Fault, fail, late_threads, parked_close, receives_in_turn
from grader.harness.lab import Lab
from grader.harness.peer import Peer
from grader.harness.program import Program
from grader.harness.wire import encode

LARGEST_CROWD = 40  # clients


def still_served(lab: Lab, peer: Peer, *, or_closed: bool = False) -> None:
    """A peer that is connected gets its answers; `or_closed`: or its connection ends, for a call may cost a client."""
    peer.send_message(b"still here?")
    if or_closed and lab.until(lambda: peer.received or peer.ended) and peer.ended:
        return
    peer.expect_message(b"ERR bad command" if lab.stage == 4 else b"still here?")


@check("server.aborted_client", points={2: 0.25, 3: 0.25, 4: 0.25}, todo={2: "2.6", 3: "3.3", 4: "4.6"}, about=(ENDED,), hints=(
    "accept() can fail because of one client, who was gone before it was accepted (ECONNABORTED). Is that the server's end?",
    "Which failures of accept() concern one client, and which mean that the listening socket is useless?",
    "After ECONNABORTED, simply call accept() again.",
))
def test_a_client_that_is_gone_before_accept_does_not_end_the_server(lab: Lab) -> None:
    """accept() fails with ECONNABORTED once; the next client is served.

    The server's first accept() fails with ECONNABORTED. Then a client connects and holds a short conversation: it
    must get every answer, BYE to its QUIT, and the end of the connection.
    """
    fault = fail("accept", errno.ECONNABORTED)
    server = lab.server(faults=[fault])
    end_conversation(converse(lab, server))
    lab.require_met(server, fault)


def _more_until_met(lab: Lab, server: Program, fault: Fault) -> list[Peer]:
    """Clients that come until the server makes the call that fails: it may have threads in reserve, or several that wait in accept()."""
    crowd: list[Peer] = []
    while not lab.until(lambda: server.instrument.met(fault) or not server.alive(), 0.2) and len(crowd) < LARGEST_CROWD:
        crowd.append(lab.connect(server))
    return crowd


@check("server.no_descriptor", points={3: 0.25, 4: 0.25}, todo={3: "3.3", 4: "4.6"}, about=(ENDED,), hints=(
    "accept() fails with EMFILE while the client still waits in the queue: what happens if you call it again at once?",
    "A server without a free descriptor waits a little, lets the others talk, and then tries again.",
    "Wait for a tenth of a second in a call that sleeps, poll() without descriptors for example, and go back to accept().",
))
def test_an_accept_that_fails_does_not_end_the_server(lab: Lab) -> None:
    """No descriptor is free for a moment. Who is connected goes on talking, who waits is served later.

    One after the other accept() fails with ENFILE and ENOBUFS once, and with EMFILE three times at most, each time while
    two clients come together (and more, if need be, until accept() is called). A client that was there before must still
    be answered. Then accept() works again and another client leaves: the two must be answered, unless they were closed.
    At the end a new client must get a whole conversation.
    """
    faults = [fail("accept", error, last=last, armed=False)
              for error, last in ((errno.ENFILE, 1), (errno.ENOBUFS, 1), (errno.EMFILE, 3))]
    server = lab.server(faults=faults)
    steady = converse(lab, server)
    for fault, name in zip(faults, ("bob", "carol", "dave"), strict=True):
        leaver = converse(lab, server, name)  # for whom a server may wait that has no descriptor
        server.stop()  # a server that is in accept() already gets the first of the two, and fails while the second waits
        server.instrument.arm(fault)
        coming = [lab.begin_connecting(server) for _ in range(2)]
        server.go_on()
        waiting = [client.finish(f"waiting client {number}") for number, client in enumerate(coming, 1)]
        _more_until_met(lab, server, fault)
        lab.require_met(server, fault)
        still_served(lab, steady)
        server.instrument.disarm(fault)
        leaver.close()
        still_served(lab, steady)
        for peer in waiting:
            still_served(lab, peer, or_closed=True)
    end_conversation(converse(lab, server, "erin"))


@check("server.out_of_descriptors", points={3: 1, 4: 0.25}, todo={3: "3.3", 4: "4.6"}, slow=True, about=(ENDED,), hints=(
    "accept() fails with EMFILE while the client still waits in the queue: what happens if you call it again at once?",
    "A failing accept() is no reason to end the server. What may it do until a descriptor is free?",
    "Wait a little, a tenth of a second perhaps, in a call that sleeps; then try again.",
))
def test_without_free_descriptors_the_server_waits_and_recovers(lab: Lab) -> None:
    """A limit is reached, clients leave, and service goes on.

    The server may have 24 descriptors, and clients connect until it has fewer left than it needs for one and four have
    found no place. The first client must still be answered, and in one second the server may use less than 0.3 s of
    CPU. When the crowd has left, the first one and, at most 2 seconds later, a new client must be answered.
    """
    limit = 24
    server = lab.server(nofile=limit)
    alone = kernel.descriptors(server.pid)
    first = converse(lab, server)
    most = before = kernel.descriptors(server.pid)
    each = max(1, before - alone)  # descriptors that a client costs
    crowd: list[Peer | Connecting] = []
    waiting = 0
    while (waiting < 4 or limit - most >= each) and len(crowd) < 40:
        held = kernel.descriptors(server.pid)
        client = lab.begin_connecting(server)
        crowd.append(client.finish() if client.made() else client)  # a short queue has no room for it, and is right, too
        served = held < limit and lab.until(lambda: kernel.descriptors(server.pid) > held or _is_ended(crowd[-1]), 0.3)
        waiting += not served
        most = max(most, kernel.descriptors(server.pid))
    if limit - most >= each and not lab.until(lambda: limit - kernel.descriptors(server.pid) < each):
        pytest.skip(f"Not reached: of {limit} descriptors your server never had more than {most}, while {len(crowd)} clients came.")
    still_served(lab, first)
    lab.require_idle(server, "Out of descriptors")
    for peer in crowd:
        peer.close()
    still_served(lab, first)
    lab.until(lambda: kernel.descriptors(server.pid) <= before, LEFT_SECONDS)
    end_conversation(converse(lab, server, "bob"))


def _is_ended(client: Peer | Connecting) -> bool:
    return isinstance(client, Peer) and bool(client.ended)


@check("server.no_thread", points={3: 0.5, 4: 0.25}, todo={3: "3.3", 4: "4.6"}, about=(ENDED,), hints=(
    "What does pthread_create() return when there can be no more threads? It does not set errno.",
    "The client whose thread could not be made is connected already. What becomes of its descriptor?",
    "Close that one connection, once (in stage 4 its last reference may do that), free what was made for it, and take the next client.",
))
def test_a_thread_that_cannot_be_made_costs_one_client(lab: Lab) -> None:
    """pthread_create() fails with EAGAIN once.

    pthread_create() fails with EAGAIN once, for a client that has sent a message (or for one of up to 40 behind it, if
    the server has threads in reserve). A client that came before it must still be answered. When the unlucky one has
    left, its descriptor must be closed within 2 seconds, and a new client must get a whole conversation.
    """
    fault = fail("thread", errno.EAGAIN, armed=False)
    server = lab.server(faults=[fault])
    steady = converse(lab, server)
    descriptors = kernel.descriptors(server.pid)
    server.instrument.arm(fault)
    unlucky = lab.connect(server, "the unlucky client")
    unlucky.send_message(b"hello")
    crowd = _more_until_met(lab, server, fault)
    lab.require_met(server, fault)
    still_served(lab, steady)
    for peer in (unlucky, *crowd):
        peer.close()
    gone = lab.until(lambda: kernel.descriptors(server.pid) <= descriptors, LEFT_SECONDS)
    lab.require(gone, "pthread_create() failed for one client, and 2 seconds after it had left your server still held its descriptor.")
    end_conversation(converse(lab, server, "bob"))
    still_served(lab, steady)


@check("server.no_memory", points={3: 0.25, 4: 0.25}, todo={3: "3.3", 4: "4.6"}, about=(CRASH, ENDED), hints=(
    "malloc() can return NULL. What does your program do with that pointer, and with the client's descriptor?",
    "The client for whom there is no memory can be refused; the others know nothing of it.",
    "Look at the result of every allocation. On NULL give back what this client has already got, close it, take the next.",
))
def test_a_lack_of_memory_costs_at_most_one_client(lab: Lab) -> None:
    """One after the other, each of the allocations made for a new client fails once; then the whole machine is short of
    memory.

    For six clients in turn one allocation fails: the first, the second, up to the sixth; then one more comes while
    the process may not grow at all. What these clients get is not judged. A client that was there before must be
    answered after each of them, and a new one at the end; 2 seconds after they have left no descriptor of theirs may be
    held.
    """
    faults = [fail("alloc", errno.ENOMEM, first=n, last=n, armed=False) for n in range(1, 7)]
    server = lab.server(faults=faults)
    steady = converse(lab, server)
    descriptors = kernel.descriptors(server.pid)
    for fault in faults:
        server.instrument.arm(fault)
        _try_to_talk(lab, server)
        server.instrument.disarm(fault)
        still_served(lab, steady)
    _limit_memory(server)
    _try_to_talk(lab, server)
    resource.prlimit(server.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    still_served(lab, steady)
    end_conversation(converse(lab, server, "bob"))
    gone = lab.until(lambda: kernel.descriptors(server.pid) <= descriptors, LEFT_SECONDS)
    lab.require(gone, "Memory was short for seven clients, and 2 seconds after they had left your server still held a descriptor of theirs.")


def _try_to_talk(lab: Lab, server: Program) -> None:
    """A client that may be unlucky: whatever it gets is right."""
    peer = lab.connect(server, "an unlucky client")
    peer.send_message(b"NAME unlucky", b"TO unlucky hello")
    lab.until(lambda: peer.received or peer.ended, 1.0)
    peer.close()


def _limit_memory(server: Program) -> None:
    resource.prlimit(server.pid, resource.RLIMIT_AS, (kernel.address_space(server.pid), resource.RLIM_INFINITY))


@check("server.late_thread", points={3: 1, 4: 0.5}, todo={3: "3.1", 4: "4.6"}, hints=(
    "By the time the new thread looks at its argument, what may the accept loop have done to that memory?",
    "The thread may start at any time after pthread_create(), also when the next client has been accepted.",
    "Give each thread memory of its own, made before pthread_create() and given back by the thread.",
))
def test_a_thread_may_start_late(lab: Lab) -> None:
    """A new thread starts only when the accept loop has gone on to the next client. Each client keeps its own
    connection.

    Three clients connect while the server is halted, and speak as soon as they are connected. When it runs again, each
    new thread is held until the next pthread_create(), or until the accept loop has waited 0.3 s for another client, at
    most for a second. Each of the three must get the answer to its own words, and then another one.
    """
    fault = late_threads()
    server = lab.server(faults=[fault])
    server.stop()  # so that all of them are there before the first thread is made
    clients = [lab.begin_connecting(server) for _ in range(3)]
    server.go_on()
    peers = [client.finish(name) for client, name in zip(clients, ("alice", "bob", "carol"))]
    for peer in peers:
        name = peer.name.encode()
        peer.send_message(b"NAME " + name if lab.stage == 4 else b"I am " + name)
    for peer in peers:
        wanted = b"OK" if lab.stage == 4 else b"I am " + peer.name.encode()
        peer.expect_message(wanted, cause=f"Of three clients that came together, {peer.name} was not answered: "
                            "each thread started only after the next client had been accepted.")
    lab.require_met(server, fault)
    for peer in peers:
        still_served(lab, peer)


@check("server.reused_descriptor", points={3: 0.5, 4: 1}, todo={3: "3.2", 4: "4.6"}, hints=(
    "After close() the number of the descriptor is free: accept() gives it to the next client. Who still uses it?",
    "In which order do you take a client out of your tables, stop using its descriptor, and close it?",
    "Close exactly once, and as the last step: nobody may find or use the number after that.",
))
def test_a_descriptor_that_is_closed_is_not_used_any_more(lab: Lab) -> None:
    """The thread that closes a connection is held right behind close(), until a new client has got the same number.

    A client leaves, once by closing and once with QUIT. The thread that closes its socket is held right behind
    close(), while up to four new clients connect and one of them gets the number. Each must get the answers to its
    own words and nothing else (in stage 4 somebody also writes to the name that has left), also three times after the
    held thread has gone on.
    """
    fault = parked_close()
    server = lab.server(faults=[fault, receives_in_turn()])
    steady = converse(lab, server)
    alone = kernel.descriptors(server.pid)
    instrument = server.instrument
    for round_, leave in enumerate(("close", "quit"), 1):
        _until_the_lowest_number_is_next(lab, server, alone)
        name = f"bob{round_}"  # the old one may stay taken for 6 seconds
        leaver = converse(lab, server, name)
        instrument.arm(fault)
        met, used, gone_on = instrument.met(fault), instrument.hits(fault), instrument.released(fault)
        if leave == "quit":
            leaver.send_message(b"QUIT")
            leaver.expect_message(b"BYE")
        leaver.close()
        lab.until(lambda: instrument.met(fault) > met)
        strangers = _until_number_is_used(lab, server, lambda: instrument.hits(fault) > used)
        if lab.stage == 4:
            steady.send_message(b"TO %s secret" % name.encode())
            lab.let_go_if_needed(server, fault, lambda: steady.received or steady.ended)
            steady.message()  # OK or an error: bob may be in the table for a while
        _all_their_own(lab, strangers, "while", lambda peer: lab.let_go_if_needed(server, fault, lambda: peer.received or peer.ended))
        instrument.disarm(fault)
        lab.until(lambda: instrument.released(fault) > gone_on)
        lab.until(lambda: kernel.asleep(server.pid), 1)  # the held thread has come to its next call
        for _ in range(3):  # if two threads receive from a stranger, they take turns
            _all_their_own(lab, strangers, "after")
        still_served(lab, steady)
        for stranger in strangers:
            stranger.close()
    lab.require_met(server, fault)


def _until_the_lowest_number_is_next(lab: Lab, server: Program, descriptors: int) -> None:
    """accept() may have taken a number in advance while lower ones were in use: a passer-by gets that one.

    Otherwise the new clients of the round would get the lower ones, and not that of the client that leaves.
    """
    def are_free() -> bool:
        return kernel.descriptors(server.pid) <= descriptors

    lab.until(are_free, LEFT_SECONDS)
    passer_by = lab.connect(server, "a passer-by")
    lab.until(lambda: passer_by.inode_there() or passer_by.ended)
    passer_by.close()
    lab.until(are_free, LEFT_SECONDS)


def _until_number_is_used(lab: Lab, server: Program, used) -> list[Peer]:
    """New clients, until one of them has the number that was closed; accept() takes its number in advance."""
    strangers: list[Peer] = []
    while len(strangers) < 4 and not (len(strangers) > 1 and used()):
        strangers.append(lab.connect(server, f"stranger {len(strangers) + 1}"))
        lab.until(lambda: strangers[-1].inode_there() or used(), 1.0)
    return strangers


def _all_their_own(lab: Lab, strangers: list[Peer], when: str, waiting: Callable[[Peer], None] = lambda peer: None) -> None:
    """Each gets the answer to its own words, and nothing else."""
    for stranger in strangers:
        words = b"nonsense from " + stranger.name.encode()
        answer = b"ERR bad command" if lab.stage == 4 else words
        stranger.send_message(words)
        waiting(stranger)
        stranger.expect(encode(answer), cause=f"{stranger.name.capitalize()} has the descriptor number of a client that has left. "
                        f"It did not get its own answer, {when} the leaver's thread had gone on from its close().")
