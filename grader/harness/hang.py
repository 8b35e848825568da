"""Why does nothing come? What a program that was waited for in vain was doing.

The facts are the kernel's: in which call each thread waits, on whose connection, what is unread.
The instrument adds the line of the source when the program is linked with it. Where the facts fit
a known pattern, it is named. To tell patterns apart, the peer says one thing more to the program
and looks what happens; the check is over by then, so that changes no verdict.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import kernel, trace
from .wire import END, Decoder, count, encode

if TYPE_CHECKING:
    from .lab import Lab
    from .peer import Peer
    from .program import Program

SPINNING = 0.6  # of the time looked at
LOOK = 0.25  # seconds for which a program is watched, or a probe's answer awaited
RECEIVING = ("recv", "read", "recvmsg", "readv")
SENDING = ("send", "write", "sendmsg", "writev")
ABOUT_A_DESCRIPTOR = (*RECEIVING, *SENDING, "accept", "connect", "epoll_wait")
MOST_LINES = 4


@dataclass(frozen=True, slots=True)
class State:
    """The pattern in one sentence, "" if none fits, and what each thread does, one line each."""

    pattern: str = ""
    lines: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Thread:
    """One thread of a program, with what its call is about."""

    number: int
    id: int
    call: str  # "" while it runs
    where: str  # "framing.c:41", or ""
    fd: int = -1
    peer: Peer | None = None
    holder: int = 0  # the id of the thread that has the lock it waits for
    lock: bool = False
    fds: tuple[int, ...] = ()  # that it waits for in poll()

    def words(self, threads: list[Thread]) -> str:
        """One sentence without its subject: "waits in recv() for client 1 (framing.c:41), 0 bytes unread"."""
        place = f" ({self.where})" if self.where else ""
        if not self.call:
            return "is running" + place
        if self.lock:
            holder = next((t for t in threads if t.id == self.holder), None)
            has = f", which thread {holder.number} has" if holder else ""
            return f"waits for a lock{place}{has}"
        about = f" {_direction(self.call)} {self.peer.name}" if self.peer else _about_fds(self)
        unread = f", {count(self.peer.unread())} unread" if self.peer and self.call in RECEIVING else ""
        stuck = f", {count(self.peer.backlog())} not delivered" if self.peer and self.call in SENDING else ""
        return f"waits in {self.call}(){about}{place}{unread}{stuck}"


def describe(lab: Lab) -> State:
    """What the lab's programs are doing now, and the pattern that it fits."""
    lab.fall_silent()
    programs = [p for p in lab.programs if p.alive()]
    if not programs:
        return State()
    program = _blamed(lab, programs)
    threads = look(lab, program)
    lines = summary(program, threads)
    return State(_pattern(lab, program, threads), lines)


def _blamed(lab: Lab, programs: list[Program]) -> Program:
    role = lab.waits_for.other.removeprefix("your ") if lab.waits_for else programs[-1].role
    return next((p for p in programs if p.role == role), programs[-1])


def look(lab: Lab, program: Program) -> list[Thread]:
    """Each thread of the program, the first one first."""
    pid = program.inner_pid()
    peers = {peer.inode_there(): peer for peer in lab.peers if not peer.closed()}
    peers.pop(None, None)
    peers.pop(0, None)
    calls = kernel.thread_calls(pid)
    ids = [call.thread for call in calls]
    numbers, lasting = trace.thread_numbers(program), trace.lasting(program)
    threads = []
    for position, call in enumerate(calls, 1):
        function, where = lasting.get(call.thread, ("", ""))
        thread = Thread(numbers.get(call.thread, position), call.thread, call.call, where)
        if call.call == "futex":
            _look_at_lock(pid, thread, call, ids, function)
        elif call.call in ("poll", "ppoll"):
            thread.fds = _polled(pid, call)
        elif call.call in ABOUT_A_DESCRIPTOR:
            thread.fd = call.arguments[0]
            thread.peer = peers.get(kernel.socket_inode(pid, thread.fd))
        threads.append(thread)
    return threads


def _look_at_lock(pid: int, thread: Thread, call: kernel.ThreadCall, ids: list[int], function: str) -> None:
    """Tells a lock from a join or a condition: a mutex has its owner's id behind the word waited for."""
    word, owner = 0, 0
    data = kernel.memory(pid, call.arguments[0], 12)
    if len(data) == 12:
        word, _count, owner = struct.unpack("=iIi", data)
    if function == "pthread_join" or word in ids:
        thread.call = "pthread_join"
    elif function == "pthread_mutex_lock" or owner in ids:
        thread.call, thread.lock, thread.holder = "pthread_mutex_lock", True, owner
    else:
        thread.call = function or "futex"


def _polled(pid: int, call: kernel.ThreadCall) -> tuple[int, ...]:
    count = min(call.arguments[1], 64)
    data = kernel.memory(pid, call.arguments[0], 8 * count)
    return tuple(fd for fd, _events, _revents in struct.iter_unpack("=ihh", data) if fd >= 0) if len(data) == 8 * count else ()


def _direction(call: str) -> str:
    return "for" if call in RECEIVING else "to"


def _about_fds(thread: Thread) -> str:
    if thread.call == "accept":
        return " for the next client"
    if thread.call in RECEIVING and thread.fd == 0:
        return " for the keyboard (stdin)"
    if thread.call in ("poll", "ppoll") and thread.fds:
        names = ["stdin" if fd == 0 else f"descriptor {fd}" for fd in thread.fds]
        return " for " + " and ".join(names)
    return ""


def summary(program: Program, threads: list[Thread]) -> list[str]:
    """What the threads do, at most MOST_LINES lines; threads that do the same share one."""
    if not threads:  # the kernel does not let us look at them
        return []
    if len(threads) == 1:
        return [f"Your {program.role} {threads[0].words(threads)}."]
    groups: dict[str, list[int]] = {}
    for thread in sorted(threads, key=_interest):
        groups.setdefault(thread.words(threads), []).append(thread.number)
    lines = [f"Your {program.role} has {len(threads)} threads."]
    for words, numbers in list(groups.items())[:MOST_LINES]:
        who = f"Thread {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} threads (as {numbers[0]}): each"
        lines.append(f"{who} {words}.")
    if left := sum(len(numbers) for numbers in list(groups.values())[MOST_LINES:]):
        lines.append(f"{left} more {'thread does' if left == 1 else 'threads do'} something else.")
    return lines


def _interest(thread: Thread) -> tuple[bool, bool, bool]:
    """Who waits for a lock or in a send() explains most, who waits for a next client least."""
    return not thread.lock, thread.call not in SENDING, thread.call == "accept"


# -- patterns ---------------------------------------------------------------------


def _pattern(lab: Lab, program: Program, threads: list[Thread]) -> str:
    for pattern in (_spins, _never_accepted, _lock_of_a_waiting_thread, _deaf_at_the_keyboard, _waits_for_more):
        if sentence := pattern(lab, program, threads):
            return sentence
    return ""


def _spins(lab: Lab, program: Program, threads: list[Thread]) -> str:
    before = kernel.busy_seconds(program.inner_pid())
    lab.let_pass(LOOK)
    busy = kernel.busy_seconds(program.inner_pid()) - before
    if busy < SPINNING * LOOK:
        return ""
    return f"It spins: your {program.role} asks again and again instead of waiting, and uses a whole processor."


def _never_accepted(lab: Lab, program: Program, threads: list[Thread]) -> str:
    peer = lab.waits_for
    if not threads or program.role != "server" or peer is None or peer.ended or peer.closed() or not peer.waits_for_accept():
        return ""
    first = threads[0]
    busy = f", which waits in {first.call}() for {first.peer.name}" if first.peer else ""
    if first.call == "pthread_join":
        busy = ", which waits for another thread to end"
    return f"{peer.name[0].upper()}{peer.name[1:]} was never accepted: accept() is the work of thread {first.number}{busy}."


def _lock_of_a_waiting_thread(lab: Lab, program: Program, threads: list[Thread]) -> str:
    for thread in threads:
        holder = next((t for t in threads if t.id == thread.holder), None)
        if not thread.lock or holder is None:
            continue
        if holder is thread:
            return "A thread waits for a lock that it has itself: it will never get it."
        if holder.lock and holder.holder == thread.id:
            return "Two threads wait for each other's locks, and neither will ever get it."
        if holder.call and not holder.lock:
            about = f" {_direction(holder.call)} {holder.peer.name}" if holder.peer else ""
            return f"It waits for a lock that another thread keeps while it waits itself, in {holder.call}(){about}."
    for thread in threads:
        if thread.lock and thread.holder and all(t.id != thread.holder for t in threads):
            return "It waits for a lock whose owner has ended without giving it back."
    return ""


def _deaf_at_the_keyboard(lab: Lab, program: Program, threads: list[Thread]) -> str:
    if program.role != "client" or not any(t.call in RECEIVING and t.fd == 0 for t in threads):
        return ""
    unread = max((peer.unread() for peer in lab.peers if not peer.closed()), default=0)
    return f"It waits for the keyboard, while {count(unread)} from the server stay unread." if unread else ""


def _waits_for_more(lab: Lab, program: Program, threads: list[Thread]) -> str:
    """A thread reads from a peer whose bytes have all been taken, and nothing comes from it."""
    peers = {t.peer for t in threads if t.peer}
    peer = lab.waits_for or (peers.pop() if len(peers) == 1 else None)  # of several, nobody knows which is meant
    if peer is None or peer.closed() or peer.ended or peer.unread():
        return ""
    reads = any(t.call in RECEIVING and t.peer is peer for t in threads) or any(t.call in ("poll", "ppoll", "select", "pselect", "epoll_wait") for t in threads)
    if not reads:
        return ""
    if not _complete(lab, peer):
        return f"Both sides wait for the other to speak: your {program.role} reads, and {peer.name} has nothing more to send."
    if lab.stage > 1 and _answers(lab, peer, lambda: peer.send(encode(b"and one more"))):
        return "It waits for more after DONE has come: only when further bytes arrived did it go on."
    if _answers(lab, peer, peer.half_close):
        return "It waits for the connection to end: only when the other side had closed did it go on."
    return f"Both sides wait for the other to speak: your {program.role} reads on, although {peer.name} has said everything."


def _complete(lab: Lab, peer: Peer) -> bool:
    """What the peer has sent is a whole message, or ends with one."""
    if lab.stage == 1:
        return peer.sent > 0
    decoder = Decoder()
    bodies = decoder.feed(bytes(peer.spoken))
    return bool(bodies) and not decoder.partial and peer.spoken.endswith(END)


def _answers(lab: Lab, peer: Peer, act) -> bool:
    before = peer.total
    act()
    return bool(lab.until(lambda: peer.total > before, LOOK))
