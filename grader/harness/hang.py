"""Why does nothing come? What a program that was waited for in vain was doing.

The facts are the kernel's: in which call each thread waits, on whose connection, what is unread.
The instrument adds the line of the source when the program is linked with it. A pattern is named only
where the facts prove it; where they do not, the facts stand alone. For some proofs the peer says one
thing more to the program and looks whether the awaited answer comes. The check is over by then, so that
changes no verdict; where it is not, because a tool's report still decides, nothing more is said.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import kernel, trace
from .failures import State
from .wire import END, count, encode, messages, show

if TYPE_CHECKING:
    from .lab import Lab
    from .peer import Peer
    from .program import Program

SPINNING = 0.6  # of the time in which it could run
LOOK = 0.25  # seconds for which a program is watched, or a probe's answer awaited
RECEIVING = ("recv", "read", "recvmsg", "readv")
SENDING = ("send", "write", "sendmsg", "writev")
ABOUT_A_DESCRIPTOR = (*RECEIVING, *SENDING, "accept", "connect", "epoll_wait")
MULTIPLEXING = ("poll", "ppoll", "select", "pselect", "epoll_wait")
MSG_WAITALL = 0x100  # <bits/socket.h>
POLLIN = 0x001
OFTEN = 50  # calls of one kind within LOOK that can only be a loop
NOTHING = 0.005  # seconds on a processor, in which a loop makes thousands of calls
PROBE = b"and one more"  # no check expects it
MOST_LINES = 4
MOST_NUMBERS = 4  # of threads that do the same


@dataclass(slots=True)
class Thread:
    """One thread of a program, with what its call is about."""

    number: int
    id: int
    call: str  # "" while it runs
    where: str  # "framing.c:41", or ""
    fd: int = -1
    flags: int = 0  # of a recv()
    asked: int = 0  # bytes
    peer: Peer | None = None
    holder: int = 0  # the id of the thread that has the lock it waits for
    lock: bool = False
    fds: tuple[int, ...] = ()  # that it waits for in poll()
    reads: tuple[Peer, ...] = ()  # from whom it waits for input, as far as the kernel shows it

    def words(self, threads: list[Thread]) -> str:
        """One sentence without its subject: "waits in recv() for client 1 (framing.c:41), 0 bytes unread"."""
        place = f" ({self.where})" if self.where else ""
        if not self.call:
            return "is running" + place
        if self.lock:
            holder = next((t for t in threads if t.id == self.holder), None)
            owner = "it has itself" if holder is self else f"thread {holder.number} has" if holder else ""
            has = f", which {owner}" if owner else ""
            return f"waits for a lock{place}{has}"
        unread = f", {count(self.peer.unread())} unread" if self.peer and self.call in RECEIVING else ""
        stuck = f", {count(self.peer.backlog())} not delivered" if self.peer and self.call in SENDING else ""
        return f"waits in {self.call}(){self.about() or _about_fds(self)}{place}{unread}{stuck}"

    def about(self) -> str:
        """Whose connection the call is about, if that is known: " for client 1"."""
        if not self.peer:
            return ""
        if self.call in MULTIPLEXING and not self.reads:
            return f" until it can send to {self.peer.name}"
        return f" {'for' if self.call in RECEIVING or self.reads else 'to'} {self.peer.name}"


def describe(lab: Lab) -> State:
    """What the lab's programs are doing now, and the pattern that it fits."""
    lab.fall_silent()
    programs = [p for p in lab.programs if p.alive()]
    if not programs:
        return State()
    owner = next((p for p in programs if lab.waits_for in p.peers), programs[0] if len(programs) == 1 else None)
    program = owner or programs[-1]
    threads = look(lab, program)
    lines = summary(program, threads)
    return State(_pattern(lab, program, threads) if owner else "", lines)  # of several programs, nobody knows which is meant


def look(lab: Lab, program: Program) -> list[Thread]:
    """Each thread of the program, the first one first."""
    pid = program.pid
    peers = {peer.inode_there(): peer for peer in lab.peers if not peer.closed()}
    peers.pop(None, None)
    peers.pop(0, None)

    def peer_of(fd: int) -> Peer | None:
        return peers.get(kernel.socket_inode(pid, fd))

    calls = kernel.thread_calls(pid)
    ids = [call.thread for call in calls]
    numbers, lasting = trace.thread_numbers(program), trace.lasting(program)
    threads = []
    for call in calls:
        function, where = lasting.get(call.thread, ("", ""))
        number = numbers.setdefault(call.thread, max(numbers.values()) + 1)  # a thread that has ended keeps its own
        thread = Thread(number, call.thread, call.call, where)
        if call.call == "futex":
            _look_at_lock(pid, thread, call, ids, function)
        elif call.call in ("poll", "ppoll"):
            polled = _polled(pid, call)
            thread.fds = tuple(polled)
            thread.peer = peer_of(*polled) if len(polled) == 1 else None
            thread.reads = tuple(peer for fd, events in polled.items() if events & POLLIN and (peer := peer_of(fd)))
        elif call.call in ("select", "pselect"):
            thread.reads = tuple(peer for fd in _selected(pid, call) if (peer := peer_of(fd)))
        elif call.call in ABOUT_A_DESCRIPTOR:
            thread.fd = call.arguments[0]
            thread.peer = peer_of(thread.fd)
            if call.call in RECEIVING and thread.peer:
                thread.reads = (thread.peer,)
            if call.call == "recv":
                _buffer, thread.asked, thread.flags = call.arguments[1:4]
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


def _polled(pid: int, call: kernel.ThreadCall) -> dict[int, int]:
    """The descriptors that a poll() is about, with the events that are asked for."""
    number = min(call.arguments[1], 64)
    data = kernel.memory(pid, call.arguments[0], 8 * number)
    return {fd: events for fd, events, _revents in struct.iter_unpack("=ihh", data) if fd >= 0} if len(data) == 8 * number else {}


def _selected(pid: int, call: kernel.ThreadCall) -> list[int]:
    """The descriptors from which a select() waits for input: it changes its sets only when it returns."""
    number = min(call.arguments[0], 1024)
    bits = int.from_bytes(kernel.memory(pid, call.arguments[1], 128), "little") if call.arguments[1] else 0
    return [fd for fd in range(number) if bits >> fd & 1]


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
        lines.append(f"{_together(numbers)} {words}.")
    if left := sum(len(numbers) for numbers in list(groups.values())[MOST_LINES:]):
        lines.append(f"{left} more {'thread does' if left == 1 else 'threads do'} something else.")
    return lines


def _together(numbers: list[int]) -> str:
    """The subject of a sentence about threads that all do the same: "Threads 2, 3 and 4: each"."""
    if len(numbers) == 1:
        return f"Thread {numbers[0]}"
    named = sorted(numbers)
    if len(named) > MOST_NUMBERS:
        return f"Threads {', '.join(map(str, named[: MOST_NUMBERS - 1]))} and {len(named) - MOST_NUMBERS + 1} more: each"
    return f"Threads {', '.join(map(str, named[:-1]))} and {named[-1]}: each"


def _interest(thread: Thread) -> tuple[bool, bool, bool]:
    """Who waits for a lock or in a send() explains most, who waits for a next client least."""
    return not thread.lock, thread.call not in SENDING, thread.call == "accept"


# -- patterns ---------------------------------------------------------------------


def _pattern(lab: Lab, program: Program, threads: list[Thread]) -> str:
    for pattern in (_lock_of_a_waiting_thread, _spins, _never_accepted, _deaf_at_the_keyboard, _rest_never_came, _asks_for_all, _waits_for_more):
        if sentence := pattern(lab, program, threads):
            return sentence
    return ""


def _spins(lab: Lab, program: Program, threads: list[Thread]) -> str:
    """One thread uses a processor all the time, and its calls, if it makes any, bring nothing."""
    start, ran = time.monotonic(), kernel.seconds_run(program.pid)
    busy = [thread for thread, share in lab.watch_processors(program.pid, LOOK).items() if share >= SPINNING]
    if not busy or not _is_traced(program):  # nobody knows whether it waits
        return ""
    calls = [c for c in trace.calls(program) if c.thread in busy and c.ended]
    if kernel.seconds_run(program.pid) - ran >= NOTHING:
        calls = [c for c in calls if c.began >= start]
        if any(map(_got_on, calls)):
            return ""  # it is busy with something
    elif program.cpu_hog:  # it gets nothing any more, and has had much since it last got on: what it has done since then counts
        calls = list(itertools.takewhile(lambda c: not _got_on(c), reversed(calls)))[: 4 * OFTEN]
    else:
        return ""
    often, times = Counter(trace.outcome(c) for c in calls).most_common(1)[0] if calls else ("", 0)
    if times < OFTEN:
        return f"It never waits: your {program.role} uses a whole processor."
    return f"It spins: {often} again and again, and your {program.role} uses a whole processor."


def _got_on(call: trace.Call) -> bool:
    """The call has moved bytes, or brought a client."""
    return call.result > 0 and call.function in (*trace.MOVES_BYTES, "accept")


def _is_traced(program: Program) -> bool:
    """Its calls are noted, and no tool makes it slow and judges what it does to its end."""
    return program.instrument is not None and program.slowness == 1


def _never_accepted(lab: Lab, program: Program, threads: list[Thread]) -> str:
    """The kernel has made the connection, and the program has not taken it. The trace shows whose work accept() is."""
    peer = lab.waits_for
    if not threads or program.role != "server" or peer is None or peer.ended or peer.closed() or not peer.waits_for_accept():
        return ""
    never = f"{peer.name[0].upper()}{peer.name[1:]} was never accepted"
    acceptors = {call.thread for call in trace.calls(program) if call.function == "accept"}
    if len(acceptors) != 1:
        return f"{never}."
    thread = next((t for t in threads if t.id in acceptors), None)
    if thread is None:
        return f"{never}: the thread that called accept() has ended."
    if thread.call == "accept":
        return f"{never}."
    busy = f", which waits in {thread.call}(){thread.about()}" if thread.peer else ""
    if thread.call == "pthread_join":
        busy = ", which waits for another thread to end"
    if thread.call == "nanosleep" and not _held_by_us(program):
        busy = ", which sleeps"
    return f"{never}: accept() is the work of thread {thread.number}{busy}."


def _lock_of_a_waiting_thread(lab: Lab, program: Program, threads: list[Thread]) -> str:
    """Asked first and soon: who drops a receiver after 5 seconds gives the lock back."""
    if not any(thread.lock for thread in threads):
        return ""
    lab.let_pass(LOOK / 2)
    lasting = {t.id: t for t in look(lab, program)}  # a lock that goes from hand to hand is no reason

    def lasts(thread: Thread) -> bool:
        now = lasting.get(thread.id)
        return now is not None and (now.call, now.fd, now.lock, now.holder) == (thread.call, thread.fd, thread.lock, thread.holder)

    for thread in filter(lasts, threads):
        holder = next((t for t in threads if t.id == thread.holder), None)
        if not thread.lock or holder is None or not lasts(holder):
            continue
        if holder is thread:
            return "A thread waits for a lock that it has itself: it will never get it."
        if holder.lock and holder.holder == thread.id:
            return "Two threads wait for each other's locks, and neither will ever get it."
        if holder.call and not holder.lock and not (_held_by_us(program) and holder.call == "nanosleep"):
            return f"It waits for a lock that another thread keeps while it waits itself, in {holder.call}(){holder.about()}."
    known = trace.thread_numbers(program)
    for thread in filter(lasts, threads):
        if thread.lock and thread.holder in known and thread.holder not in lasting:
            return "It waits for a lock whose owner has ended without giving it back."
    return ""


def _held_by_us(program: Program) -> bool:
    """A thread that sleeps may do so in the instrument, and not by itself."""
    return program.instrument is not None and bool(program.instrument.faults)


def _deaf_at_the_keyboard(lab: Lab, program: Program, threads: list[Thread]) -> str:
    at_the_keyboard = any(t.call in RECEIVING and t.fd == 0 and not t.peer or t.fds == (0,) for t in threads)
    if program.role != "client" or not at_the_keyboard or any(t.reads for t in threads):
        return ""
    unread = max((peer.unread() for peer in program.peers if not peer.closed()), default=0)
    return f"It waits for the keyboard, while {count(unread)} from the server stay unread." if unread else ""


def _rest_never_came(lab: Lab, program: Program, threads: list[Thread]) -> str:
    """A part of what the peer waits for has come, nobody is sending, and all is read."""
    peer = lab.waits_for
    if peer is None or peer.closed() or peer.ended or not peer.has_a_part() or peer.unread() or _somebody_works(threads):
        return ""
    return f"The rest of the {_speech(program)} never came."


def _asks_for_all(lab: Lab, program: Program, threads: list[Thread]) -> str:
    """The kernel shows the flags and the size of the recv() in which a thread waits for the peer that waits for it."""
    for thread in threads:
        if thread.peer and thread.peer is lab.waits_for and thread.flags & MSG_WAITALL and thread.asked > 1 and thread.peer.wanted:
            return f"It asks recv() with MSG_WAITALL for {count(_asked_itself(program, thread))}, and waits until all of them have come."
    return ""


def _asked_itself(program: Program, thread: Thread) -> int:
    """The bytes for which the source asks: what the kernel was asked for may have been made less by the check."""
    return next((c.asked for c in reversed(trace.calls(program)) if c.thread == thread.id and not c.ended), thread.asked)


def _waits_for_more(lab: Lab, program: Program, threads: list[Thread]) -> str:
    """A thread reads from a peer whose bytes have all been taken, and nothing comes from it."""
    peer = lab.waits_for
    if peer is None and program.role == "client":
        peer = next(iter(program.peers), None) if len(program.peers) == 1 else None  # a line that is not printed
    if peer is None or peer.closed() or peer.ended or peer.unread() or all(peer not in t.reads for t in threads) or _somebody_works(threads):
        return ""
    if (reason := _proved_by_a_probe(lab, program, peer)) or peer is not lab.waits_for or not peer.wanted:
        return reason
    if program.role == "server" and lab.stage == 4 and peer.wanted.startswith(b"FROM "):
        return ""  # what is missing is the work of another client's message
    return f"Both sides wait for the other to speak: your {program.role} reads on, and {peer.name} waits for its {_speech(program)}."


def _speech(program: Program) -> str:
    return "answer" if program.role == "server" else "message"


def _somebody_works(threads: list[Thread]) -> bool:
    """A thread that runs, sends, sleeps or waits for a lock may be about to do what is missing."""
    return any(not t.call or t.lock or t.call in (*SENDING, "nanosleep") for t in threads)


def _proved_by_a_probe(lab: Lab, program: Program, peer: Peer) -> str:
    """What made the awaited answer come, if it comes now: further bytes, a whole further message, or the end.

    Not of a program that has seen the end of the peer's message before.
    """
    if not _is_traced(program):
        return ""
    message = _last_message(lab, peer)
    if message is None or _has_seen(lab, program, peer, message) or peer.wanted == encode(b"ERR bad command"):  # an answer to the probe, too
        return ""
    printed = _printed(lab, program, message)

    def answered() -> bool:
        came = bool(peer.wanted) and peer.received.startswith(peer.wanted)
        return came or (program.role == "client" and _printed(lab, program, message) > printed)

    def answers(act: Callable[[], object]) -> bool:
        act()
        return bool(lab.until(answered, LOOK))

    if lab.stage > 1:
        if answers(lambda: peer.flood(PROBE)) or answers(lambda: peer.flood(END)):
            return "It waits for more after DONE has come: only when further bytes arrived did it go on."
        if _joined(program, peer, message):
            return f"It did not take the DONE for the end: what was sent next, {show(PROBE)}, became a part of the same message."
    if answers(peer.half_close):
        went_on = "answer" if program.role == "server" else "go on"
        return f"It reads on after the whole message has come: only when {peer.name} had ended its side did it {went_on}."
    return ""


def _last_message(lab: Lab, peer: Peer) -> bytes | None:
    """The body with which all that the peer has sent ends; None if it ends in the middle of a message."""
    if lab.stage == 1:
        return bytes(peer.spoken) or None
    bodies, rest = messages(bytes(peer.spoken))
    return bodies[-1] if bodies and not rest else None


def _has_seen(lab: Lab, program: Program, peer: Peer, message: bytes) -> bool:
    """The program has taken the peer's last message for whole: it has printed it, or sent something after it.

    Lines are counted: stdout of a right program may come at any time before its end when it is no terminal.
    """
    said = sum(messages(bytes(p.spoken))[0].count(message) if lab.stage > 1 else p.spoken == message for p in program.peers)
    if _printed(lab, program, message) >= said:
        return True
    ways = [(event.who, event.to) for event in lab.events]
    ours = f"your {program.role}"
    latest = max((i for i, way in enumerate(ways) if way == (peer.name, ours)), default=0)
    return (ours, peer.name) in ways[latest:]


def _printed(lab: Lab, program: Program, message: bytes) -> int:
    """How many lines of stdout so far say that the message has come."""
    label = b"received: " if program.role == "server" else b"reply: " if lab.stage == 1 else b""
    return program.count_line(label + message)


def _joined(program: Program, peer: Peer, message: bytes) -> bool:
    """What the program has sent or printed now has the message, its DONE and the probe in one."""
    whole = message + END + PROBE
    return whole in messages(bytes(peer.received))[0] or (program.role == "client" and program.count_line(whole) > 0)
