"""What the kernel shows of sockets and processes: the facts a submission cannot forge.

Sockets are looked up one at a time through netlink (sock_diag(7)), because reading
/proc/net/tcp walks the machine's whole hash table and takes milliseconds.
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass

LOWEST = 19  # nice(2)
LISTINGS = 100  # of threads, at most, until all are found
LISTEN = 10  # include/net/tcp_states.h
ESTABLISHED = 1

_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_INFO = 2  # the attribute INET_DIAG_INFO (linux/inet_diag.h), which holds a struct tcp_info
_BYTES_ACKED, _BYTES_RECEIVED = 120, 128  # offsets of tcpi_bytes_acked and tcpi_bytes_received in it
_HEADERS = 16 + 72  # struct nlmsghdr and struct inet_diag_msg
_NO_COOKIE = b"\xff" * 8
_ENDED = {"Z", "X", ""}  # states of a thread that has ended (proc(5)), or is gone


@dataclass(frozen=True, slots=True)
class SocketState:
    """One TCP socket as the kernel sees it; all sizes are in bytes.

    `acknowledged` and `received` count what the other side has acknowledged, and what has arrived, read or not, since the
    beginning (linux/tcp.h, tcp_info); they are 0 for a socket that listens. `unsent` includes what is not acknowledged yet.
    """

    state: int
    unread: int
    unsent: int
    inode: int
    acknowledged: int
    received: int

    @property
    def left(self) -> bool:
        """The program has closed it, and only the kernel still knows it (FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING)."""
        return self.inode == 0 and self.state in (4, 5, 6, 9, 11)


def tcp_socket(local: tuple[str, int], remote: tuple[str, int] | None) -> SocketState | None:
    """The socket with exactly these ends, the listener if `remote` is None; None if there is none."""
    address, port = local
    peer, peer_port = remote or ("0.0.0.0", 0)
    ends = struct.pack("!HH4s12x4s12x", port, peer_port, socket.inet_aton(address), socket.inet_aton(peer))
    request = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0xFFFFFFFF)
    request += ends + struct.pack("=I", 0) + _NO_COOKIE
    header = struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 4) as diag:
        diag.send(header + request)
        answer = diag.recv(8192)
    if struct.unpack_from("=H", answer, 4)[0] == _NLMSG_ERROR:
        return None
    state = answer[17]
    if remote and state == LISTEN:
        return None  # of a connection that is gone the kernel shows the listener (inet_diag_find_one_icsk() in net/ipv4/inet_diag.c)
    unread, unsent, _uid, inode = struct.unpack_from("=IIII", answer, 16 + 4 + 48 + 4)
    return SocketState(state, unread, unsent, inode, *_counters(answer))


def _counters(answer: bytes) -> tuple[int, int]:
    """How many bytes were acknowledged, and how many have arrived."""
    at = _HEADERS
    while at + 4 <= len(answer):
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind == _INFO and length >= 4 + _BYTES_RECEIVED + 8:
            return struct.unpack_from("=Q", answer, at + 4 + _BYTES_ACKED)[0], struct.unpack_from("=Q", answer, at + 4 + _BYTES_RECEIVED)[0]
        at += max(4, (length + 3) & ~3)
    return 0, 0


def _living(pid: int) -> str:
    """The directory below /proc of a thread of the process that has not ended.

    What all threads share is seen there. The first one may have ended before the others, by pthread_exit() in main(), and
    shows nothing any more.
    """
    first = f"/proc/{pid}"
    if _state(first) != "Z":
        return first
    tasks = (f"{first}/task/{task}" for task in _tasks(pid))
    return next((task for task in tasks if _state(task) not in _ENDED), first)


def largest_send_buffer() -> int:
    """The most bytes to which the kernel enlarges a connection's send buffer by itself (tcp(7), tcp_wmem)."""
    with open("/proc/sys/net/ipv4/tcp_wmem", encoding="ascii") as sizes:
        return int(sizes.read().split()[2])


def sockets_of(pid: int) -> set[int]:
    """The inodes of all sockets that the process holds."""
    inodes, directory = set(), f"{_living(pid)}/fd"
    for name in _listdir(directory):
        try:
            target = os.readlink(f"{directory}/{name}")
        except OSError:
            continue  # closed since the listing
        if target.startswith("socket:["):
            inodes.add(int(target[8:-1]))
    return inodes


def descriptors(pid: int) -> int:
    """How many descriptors the process has open."""
    return len(_listdir(f"{_living(pid)}/fd"))


def threads(pid: int) -> int:
    """How many threads the process has."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("Threads:")), 0)
    except OSError:
        return 0  # it has ended


def _tasks(pid: int) -> set[str]:
    """The ids of all threads of the process; of some that have ended, too.

    Where a thread ends while the kernel lists them, its list ends, too (proc_task_readdir() in fs/proc/base.c), and
    they are listed once more. All are found when as many as the kernel counts are still there after the count. What one
    list lacks, another has: where threads come and go faster than they can be looked at, no single list may be complete.
    """
    tasks: set[str] = set()
    for _ in range(LISTINGS):
        tasks.update(_listdir(f"/proc/{pid}/task"))
        counted = threads(pid)
        if sum(os.path.exists(f"/proc/{pid}/task/{task}") for task in tasks) >= counted:
            break
    return tasks


def processor_times(pid: int) -> dict[int, tuple[float, float]]:
    """Of each thread of the process, by its id: seconds in which it ran, and in which it was ready and had to wait for a processor.

    They come from schedstat (Documentation/scheduler/sched-stats.rst of the kernel).
    """
    seconds = {}
    for task in _tasks(pid):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as stat:
                ran, waited = (int(field) / 1e9 for field in stat.read().split()[:2])
            seconds[int(task)] = ran or _ran(pid, task), waited
        except (OSError, ValueError):
            continue  # the thread has ended
    return seconds


def seconds_run(pid: int) -> float:
    """Seconds in which all threads of the process together ran, of those that have not ended."""
    return sum(ran for ran, _waited in processor_times(pid).values())


def _ran(pid: int, task: str) -> float:
    """Seconds in which a thread ran, in steps of 0.01 s, where the kernel keeps no count for schedstat: utime and stime (proc(5))."""
    with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii", errors="replace") as stat:
        utime, stime = stat.read().rpartition(")")[2].split()[11:13]
    return (int(utime) + int(stime)) / os.sysconf("SC_CLK_TCK")


def give_way(pid: int) -> None:
    """Lets the process run only when nobody else of its session wants to (nice(2), sched(7))."""
    for thread in _tasks(pid):
        try:
            os.setpriority(os.PRIO_PROCESS, int(thread), LOWEST)
        except OSError:
            continue  # it has ended


def state(pid: int) -> str:
    """The letter of the process's state (proc(5)); `T` is stopped. Empty if the process is gone."""
    return _state(f"/proc/{pid}")


def asleep(pid: int) -> bool:
    """True if every thread of the process waits for something."""
    return "R" not in _states_of_threads(pid)


def at_work(pid: int) -> bool:
    """True if a thread of the process runs, wants to run or waits for a disk."""
    return bool({"R", "D"} & _states_of_threads(pid))


def ready_threads(pid: int) -> set[int]:
    """The ids of the threads that run or want to."""
    return {int(task) for task in _tasks(pid) if _state(f"/proc/{pid}/task/{task}") == "R"}


def stopped(pid: int) -> bool:
    """True if every thread of the process is stopped; the first may be so before the others."""
    return _states_of_threads(pid) <= {"T"}


def _states_of_threads(pid: int) -> set[str]:
    """The states of all threads that have not ended. When one ends meanwhile, all are read again: it may have started another."""
    for _ in range(LISTINGS):
        states = {_state(f"/proc/{pid}/task/{task}") for task in _tasks(pid)}
        if "" not in states:
            break
    return states - _ENDED


def _state(directory: str) -> str:
    try:
        with open(f"{directory}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""  # it has ended


def resident_kib(pid: int) -> int:
    """Resident memory in KiB."""
    return _pages(pid)[1] * os.sysconf("SC_PAGE_SIZE") // 1024


def address_space(pid: int) -> int:
    """The size of all that is mapped, in bytes."""
    return _pages(pid)[0] * os.sysconf("SC_PAGE_SIZE")


def _pages(pid: int) -> list[int]:
    with open(f"{_living(pid)}/statm", encoding="ascii") as sizes:
        return [int(size) for size in sizes.read().split()]


def mappings(pid: int) -> int:
    """How many ranges of memory are mapped; a thread that nobody joined keeps its stack's."""
    with open(f"{_living(pid)}/maps", "rb") as maps:
        return sum(1 for _line in maps)


@dataclass(frozen=True, slots=True)
class ThreadCall:
    """What a thread is doing: the system call in which it waits, "" if it is in none; its arguments."""

    thread: int
    call: str
    arguments: tuple[int, ...]


def thread_calls(pid: int) -> list[ThreadCall]:
    """One entry for each thread of the process, the first thread first (proc(5), task/TID/syscall).

    A thread that the kernel does not show has no entry: to look needs the right to trace it (ptrace(2)).
    """
    calls = []
    for task in sorted(_tasks(pid), key=int):
        try:
            with open(f"/proc/{pid}/task/{task}/syscall", encoding="ascii") as file:
                fields = file.read().split()
        except OSError:
            continue  # the thread has ended, or its state is not ours to read
        if fields[0] in ("running", "-1"):  # -1: it waits, but not in a call; for memory, say
            calls.append(ThreadCall(int(task), "", ()))
        else:
            name = _CALLS.get(int(fields[0]), f"system call {fields[0]}")
            calls.append(ThreadCall(int(task), name, tuple(int(f, 16) for f in fields[1:7])))
    return calls


# x86-64 and arm64 numbers of the calls in which a relay waits (asm/unistd.h).
_CALLS_X86 = {0: "read", 1: "write", 7: "poll", 19: "readv", 20: "writev", 23: "select", 34: "pause", 35: "nanosleep",
              42: "connect", 43: "accept", 44: "send", 45: "recv", 46: "sendmsg", 47: "recvmsg", 202: "futex",
              230: "nanosleep", 232: "epoll_wait", 270: "pselect", 271: "ppoll", 281: "epoll_wait", 288: "accept"}
_CALLS_ARM = {63: "read", 64: "write", 65: "readv", 66: "writev", 73: "ppoll", 72: "pselect", 115: "nanosleep",
              203: "connect", 202: "accept", 206: "send", 207: "recv", 211: "sendmsg", 212: "recvmsg", 98: "futex",
              22: "epoll_wait", 242: "accept"}
_CALLS = _CALLS_ARM if os.uname().machine == "aarch64" else _CALLS_X86


def socket_inode(pid: int, fd: int) -> int:
    """The inode of the socket that is descriptor `fd` of the process; 0 if it is none."""
    try:
        target = os.readlink(f"{_living(pid)}/fd/{fd}")
    except OSError:
        return 0
    return int(target[8:-1]) if target.startswith("socket:[") else 0


def memory(pid: int, address: int, size: int) -> bytes:
    """Bytes of the process's memory; empty if it cannot be read."""
    try:
        with open(f"{_living(pid)}/mem", "rb", buffering=0) as file:
            file.seek(address)
            return file.read(size)
    except (OSError, OverflowError, ValueError):
        return b""


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
