"""How a check fails, and hints for what may go wrong in any check: a crash, a connection left open, a missing newline.

The harness raises such a failure with its kind; the hints of the kind then replace the check's own, which are about
something else. A check that is itself about a kind says so with `about=` and keeps its own hints.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from .wire import Difference

STAGES = {1: "stage1_echo", 2: "stage2_framing", 3: "stage3_threads", 4: "stage4_relay"}

REPORTED = "reported by a tool"  # the check's own hints fit
NOT_WRITTEN, MISSING, COMPILE = "not written", "missing file", "does not compile"
NOT_THERE = frozenset({NOT_WRITTEN, MISSING, COMPILE})  # such failures tell nothing of a mistake
CRASH, SIGPIPE, ENDED = "crash", "SIGPIPE", "ended by itself"
EXIT_STATUS, STAYS = "exit status", "does not end"
NO_LISTENER, SWAPPED_PORT, NO_CONNECT = "does not listen", "port with swapped bytes", "does not connect"
NOT_CLOSED, SURPLUS = "connection not closed", "surplus bytes"
UNPRINTED, NO_NEWLINE = "nothing printed", "no newline"
DESCRIPTORS, THREADS, STACKS, MEMORY = "descriptors left", "threads left", "stacks left", "memory left"

_LEFT_OPEN = "Is there a way out of your code (return, continue, break, an error) that passes the close() by?"

# Three each: a question, a direction, nearly the answer.
_HINTS = {
    NOT_WRITTEN: (
        "Which function still says ENOSYS, and is it the next one in the handout?",
        "`grep -n ENOSYS stage*/*.c` lists what is not written yet, in all stages. Take the one with the lowest TODO number.",
        "Write that function as the handout that its TODO names says, and take out the two lines with ENOSYS.",
    ),
    MISSING: (
        "Which .c files does the handout name for this stage, and which of them are there?",
        "Each program is made of the .c files in its stage's directory; main() of the {role} belongs in {role}.c.",
        "Put {role}.c into {directory}/, with this name.",
    ),
    COMPILE: (
        "Which file and which line does the compiler name, and what did it expect there?",
        "`make stage{stage}` prints all its messages. Mend the first one only, then look again: others may come from it.",
        "Nothing wrong in that line? A ; or a bracket is missing before it, or an #include; \"undefined\" is a function that no file has.",
    ),
    CRASH: (
        "In which line did it happen? AddressSanitizer and the debugger know it; guessing takes longer.",
        "In the top directory `make SAN=asan stage{stage}`, then run `build/asan/{directory}/{role}` by hand and do the same: it names the line.",
        "Look there for a pointer that is NULL or freed, an index behind the end of its array, a length of -1, or an array too large for a thread's stack.",
    ),
    SIGPIPE: (
        "The other side has closed, and then you send. What does send() do by default?",
        "SIGPIPE ends the whole program. As an error of that one connection it would be harmless: see send(2).",
        "Give every send() the flag MSG_NOSIGNAL: it returns -1 then, with errno EPIPE.",
    ),
    ENDED: (
        "Which return of main(), or which exit(), did your {role} take? A server has none after its start.",
        "What one client does, or one failing call, ends that client's service only: where does yours lead out of the loop?",
        "Print a line before each exit() and each return of main(); close that one client instead, and go back to the loop.",
    ),
    EXIT_STATUS: (
        "Which return of main(), or which exit(), was it, and what did your {role} say on stderr?",
        "0 says that all was done, 1 that something failed, 2 that the arguments were wrong. Which of them did main() choose, and why?",
        "Follow the result of each function up to main(): where does a 0 that is an orderly end become -1, or a -1 become 0?",
    ),
    STAYS: (
        "What should make your {role} end here, and how does it learn of it?",
        "If the report names the call in which it waits: what should that call return, or should it not be made any more?",
        "recv() and read() return 0 at the end: that must lead out of the loop, and main() must return.",
    ),
    NO_LISTENER: (
        "Which calls must succeed before anybody can connect? Does your server reach the last of them?",
        "Three things must be right: the calls in their order, the address and the port that bind() gets, and that the server stays.",
        "socket(), bind(), listen(), with sin_port = htons(port). Print each result, and `ss -ltnp` shows who listens where.",
    ),
    SWAPPED_PORT: (
        "Which function puts a port into network byte order, and how often does yours go through it?",
        "The bytes are swapped once on the way from the number to sin_port. Not at all or twice is the wrong port.",
        "net_parse_port() gives the plain number; only sin_port = htons(port) changes it, once, with htons() and not htonl().",
    ),
    NO_CONNECT: (
        "What do connect() and inet_pton() return? And which host and port did they get?",
        "HOST and PORT are the last two arguments: is each read from its own argv[], and the port in network byte order?",
        "sin_port = htons(port), inet_pton() into sin_addr, then connect(); print strerror(errno) when it fails.",
    ),
    NOT_CLOSED: (
        "After what should your {role} close this connection, and which line of yours does it?",
        _LEFT_OPEN,
        "close() the descriptor once, at the one place where all these ways meet, or where the last reference is given back.",
    ),
    SURPLUS: (
        "Which call sent these bytes, and where does its length come from?",
        "sizeof is the room in the buffer, strlen() + 1 counts the final 0. How many bytes are the message?",
        "Give send() just the number of bytes that belong to the message: what recv() returned, or what you have counted.",
    ),
    UNPRINTED: (
        "Does your program reach the line that prints? If it does: where do the bytes wait?",
        "stdio keeps a line back until its newline comes; to a pipe or a file it keeps even whole lines back.",
        "Print the line with its \\n, to stdout and not to stderr, then call fflush(stdout).",
    ),
    NO_NEWLINE: (
        "What is the last byte that you print for this line?",
        "A line ends with a newline. The text that travels has none, so nobody but you can add it.",
        "putchar('\\n') behind fwrite(), or \\n at the end of your format; then fflush(stdout).",
    ),
    DESCRIPTORS: (
        "Each accept() makes a descriptor. Which line closes it when the client has left, and when it was reset?",
        _LEFT_OPEN + " `ls -l /proc/PID/fd` shows what is open.",
        "Close the connection at one place only: behind the loop that talks with this client, or where the last reference to it is given back.",
    ),
    THREADS: (
        "Which call is the thread of a client in after the client has left?",
        "recv() returning 0 or -1 is the end of a client: does it lead out of the thread's loop?",
        "Leave the loop at 0 and at -1, close, free, and return from the thread's function.",
    ),
    STACKS: (
        "A thread has ended: who gives its stack back?",
        "The stack stays until somebody calls pthread_join(), unless the thread is detached.",
        "Call pthread_detach(thread) right after pthread_create(); or pthread_join() it when it has ended.",
    ),
    MEMORY: (
        "What do you allocate for each client or message, and which line frees it?",
        "valgrind counts it: `make check SLOW=1 ONLY=\"stage{stage} memory\"` names the line that allocated it, if it is lost.",
        "Free at the place where the client's service ends, on every way out; a buffer or list that only grows must go there, too.",
    ),
}
KINDS = frozenset(_HINTS)


def hints(kind: str, stage: int, role: str) -> list[str]:
    """The three hints of a kind, for the program of this role in this stage."""
    return [hint.format(stage=stage, role=role, directory=STAGES[stage]) for hint in _HINTS[kind]]


@dataclass(frozen=True, slots=True)
class State:
    """What a hanging program does: the pattern in one sentence, "" if none fits, and each thread, one line each."""

    pattern: str = ""
    lines: list[str] = field(default_factory=list)


class Failed(pytest.fail.Exception):
    """The check has failed: `cause` in one sentence, and what explains it. `kind` is one of those above, or "" where
    it is nothing but what the check is about."""

    def __init__(self, cause: str, difference: Difference | None = None, state: State | None = None, kind: str = "") -> None:
        super().__init__(cause, pytrace=False)
        self.cause, self.difference, self.state, self.kind = cause, difference, state or State(), kind


class NotWritten(Failed):
    """The program is still a starter: it says ENOSYS."""
