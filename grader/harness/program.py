"""One process of the student: started, watched, read, stopped and always ended."""

from __future__ import annotations

import array
import fcntl
import os
import re
import resource
import selectors
import signal
import subprocess
import termios
import tty
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NoReturn

from . import kernel
from .deadline import DEADLINE
from .failures import CRASH, ENDED, EXIT_STATUS, NO_NEWLINE, SIGPIPE, STAGES, STAYS, UNPRINTED
from .instrument import VARIABLE, Instrument
from .wire import count, quote, show

if TYPE_CHECKING:
    from .lab import Lab
    from .peer import Peer

USUAL_NOFILE = 1024  # descriptors that a shell gives a program; the grader itself may have more
OUTPUT_CAP = 32 << 20  # bytes kept of a program's output; what follows is read and dropped
# What a terminal does not show: control sequences (ECMA-48, 5.4), titles, character sets and the like (console_codes(4)).
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Z]|[=>78c])|[\x07\x0e\x0f]")
_TO_THE_LEFT = re.compile(rb"\x1b\[[01]?G")  # like a carriage return
# The whole line, by EL before or after a carriage return (ECMA-48, 8.3.41), or by blanks between two of them.
_ERASED = re.compile(rb"\x1b\[2K\r|\r\x1b\[[02]?K|\r +(?=\r)")
_USUAL_PROMPT = re.compile(rb"[\w-]{0,31}[>$#%?]+ ?")
LONGEST_PROMPT, MOST_PROMPTS = 200, 20  # bytes; different ones of one client, but for the numbers in them
MOST_LOOKED_AT = 4096  # bytes at the end of what was printed, in which a prompt is looked for
QUIET_SECONDS = 5  # for the end of all work of a server under a tool
REPORT_SECONDS = 10  # for a tool's report
MOST_READS = 64  # of what has been printed; the kernel gives out at most 4 KiB of a terminal at once
LONGEST_WORDS = 100  # characters of a line on stderr that are repeated in a cause
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "dumb"}


class Program:
    """A running server or client. Made by `Lab`; its output is read by the lab's loop.

    Its stdout is a terminal (raw: no echo, no newline translation), so that lines appear at
    once; `stdout` names a file to use instead. `stdin` is "pipe" or the path of a file.
    `nofile` limits its descriptors. `tool` is a command put in front (valgrind), `slowness` the
    factor for deadlines under that tool. `instrument` is shared with a program that is linked with it.
    """

    def __init__(self, lab: Lab, role: str, path: str, arguments: tuple[str, ...], *, stdin: str = "pipe",
                 stdout: str | None = None, nofile: int | None = None, tool: tuple[str, ...] = (),
                 env: dict[str, str] | None = None, slowness: float = 1.0, instrument: Instrument | None = None) -> None:
        self.lab, self.role, self.slowness = lab, role, slowness
        self.address: tuple[str, int] | None = None
        self.path, self.instrument = path, instrument
        self.peers: list[Peer] = []  # that have talked with it
        self.output, self.errors = bytearray(), bytearray()
        self.ended_by_us = False
        self.cpu_hog = self.gives_way = False  # had much of a processor in one wait, for nothing; leaves it to others since
        self.may_end = role == "client"
        self._line_position = 0
        self._prompts: dict[bytes, re.Pattern[bytes]] = {}
        self._lines: list[bytes] = []
        self._parted = 0  # bytes of stdout that are in the lines
        self._input: int | None = None
        self._open: set[int] = set()
        child_in = self._make_stdin(stdin)
        out, child_out = (None, os.open(stdout, os.O_WRONLY)) if stdout else _terminal()
        err, child_err = os.pipe()
        command = [*_limited(nofile), *tool, path, *arguments]
        environment = {**_ENVIRONMENT, **(env or {}), **({VARIABLE: str(instrument.path)} if instrument else {})}
        lab.log(f"your {role}", "start: " + " ".join([role, *map(_argument, arguments)]))
        try:
            # A group of its own, to be ended as a whole, but no session: Linux shares the processors between sessions first
            # (sched(7), autogroup), and with one for each program it may let a program, or the kernel's thread that carries
            # its bytes, wait for many seconds on a busy machine (measured with Linux 6.18).
            self.process = subprocess.Popen(
                command, stdin=child_in, stdout=child_out, stderr=child_err, process_group=0,
                env=environment, cwd=os.path.dirname(path))
        finally:
            for fd in (child_in, child_out, child_err):
                os.close(fd)
        self._stdout = self._watch(out, self.output, "stdout") if out is not None else lambda: False
        self._watch(err, self.errors, "stderr")

    @property
    def pid(self) -> int:
        """The process that runs the student's code: prlimit and valgrind become it."""
        return self.process.pid

    def _make_stdin(self, stdin: str) -> int:
        if stdin == "pipe":
            child, self._input = os.pipe()
            os.set_blocking(self._input, False)
        else:
            child = os.open(stdin, os.O_RDONLY)
        return child

    def _watch(self, fd: int, buffer: bytearray, name: str) -> Callable[[], bool]:
        """Lets the lab read what the program prints there; returns what reads it at once, and is true if there was anything."""
        os.set_blocking(fd, False)
        self._open.add(fd)

        def read() -> bool:
            if fd not in self._open:
                return False
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                return False
            except OSError:  # EIO: a terminal whose last writer is gone
                data = b""
            if not data:
                self.lab.selector.unregister(fd)
                self._open.discard(fd)
                os.close(fd)
                return False
            if len(buffer) < OUTPUT_CAP:
                buffer.extend(data)
                self.lab.log(f"your {self.role}", "", data, to=name)
            return True

        self.lab.selector.register(fd, selectors.EVENT_READ, read)
        return read

    # -- input and output -------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Types `data` into the program's stdin."""
        assert self._input is not None
        self.lab.log("the user", "", data, to=f"your {self.role}")
        rest = memoryview(data)

        def written() -> bool:
            nonlocal rest
            try:
                rest = rest[os.write(self._input, rest):]
            except BlockingIOError:
                return False
            except OSError:
                return True  # the program has closed its stdin
            return not rest

        if not self.lab.until(written, DEADLINE * self.slowness):
            self.lab.fail(f"Your {self.role} stopped reading its stdin.")

    def until_read(self) -> None:
        """Waits until the program has read everything typed so far, and waits again."""
        unread = array.array("i", [0])

        def read() -> bool:
            fcntl.ioctl(self._input, termios.FIONREAD, unread)
            return unread[0] == 0 and kernel.asleep(self.pid)

        if not self.lab.until(read, DEADLINE * self.slowness):
            self.lab.fail(f"Your {self.role} does not read what is typed." if unread[0] else
                          f"Your {self.role} has read all that was typed, and does not wait for more: it is busy all the time.")

    def close_stdin(self) -> None:
        """The end of the program's input."""
        if self._input is not None:
            self.lab.log("the user", "ends the input", to=f"your {self.role}")
            os.close(self._input)
            self._input = None

    def lines(self) -> list[bytes]:
        """The complete lines of stdout so far, as a terminal shows them."""
        end = self.output.rfind(b"\n", self._parted)
        if end >= 0:
            self._lines += map(_shown, bytes(self.output[self._parted : end]).split(b"\n"))
            self._parted = end + 1
        return self._lines

    def note_prompt(self) -> None:
        """What stands unfinished on a client's stdout now, before it gets what it is to print, is a prompt.

        All that it has printed before a message of its own left is read here: the kernel's terminal hands on what
        is still on its way when it is asked (n_tty_read() in drivers/tty/n_tty.c).
        """
        if self.role == "client":
            for _ in range(MOST_READS):
                if not self._stdout():
                    break
            prompt = _shown(bytes(self.output[-MOST_LOOKED_AT:]).rpartition(b"\n")[2])
            if 0 < len(prompt) <= LONGEST_PROMPT and len(self._prompts) < MOST_PROMPTS:
                self._learn_prompt(prompt)

    def _learn_prompt(self, prompt: bytes) -> None:
        pattern = _pattern(prompt)
        self._prompts.setdefault(pattern, re.compile(pattern))

    def _matches(self, line: bytes, expected: bytes) -> bool:
        """True if the line is `expected`, perhaps behind prompts."""
        return line.endswith(expected) and _is_prompts(line[: len(line) - len(expected)], self._prompts.values())

    def expect_line(self, expected: bytes, cause: str = "", seconds: float | None = None) -> None:
        """The line `expected` appears on stdout, after those expected before; others may stand between."""
        looked, known = self._line_position, len(self._prompts)

        def found() -> bool:
            nonlocal looked, known
            if self.role == "client" and kernel.asleep(self.pid):
                self.note_prompt()  # it waits for more to do
            if len(self._prompts) > known:  # what it is may stand before a line that was looked at
                looked, known = self._line_position, len(self._prompts)
            lines = self.lines()
            for i in range(looked, len(lines)):
                if self._matches(lines[i], expected):
                    self._line_position = i + 1
                    return True
            looked = len(lines)
            return False

        if not self.lab.until(found, (seconds or DEADLINE) * self.slowness):
            self._fail_unprinted(expected, cause)

    def _fail_unprinted(self, expected: bytes, own: str) -> NoReturn:
        *lines, rest = bytes(self.output).split(b"\n")[self._line_position:] or [b""]
        line = quote(expected)
        if rest and self._matches(_shown(rest), expected):
            self.lab.fail_with(NO_NEWLINE, f"Your {self.role} printed {line} without the newline that ends the line.", own)
        if not lines and not rest:
            more = "more " if self.output else ""
            reason = self._deafness()
            kind = "" if self.output or reason else UNPRINTED
            self.lab.fail_with(kind, f"Nothing {more}arrived on stdout, where your {self.role} should print the line {line}"
                               + (reason or ": does it end with \\n, and is it flushed?"), own)
        shown = ", ".join(quote(got, 40) for got in [*lines, rest][:3] if got) or "only an empty line"
        self.lab.fail(own or f"Your {self.role} did not print the line {line} on stdout; it printed {shown}.")

    def _deafness(self) -> str:
        """Why a client cannot print what its server has said, in words that end a sentence, or an empty string."""
        if self.role != "client":
            return ""
        if not self.alive():
            return f".{self.how_it_ended()}"
        if self.peers and all(peer.ended for peer in self.peers):
            return ". It has closed its connection."
        unread = sum(peer.unread() for peer in self.peers if not peer.closed())
        return f". It has not read {count(unread)} that the server has sent." if unread else ""

    def count_line(self, expected: bytes) -> int:
        """How many lines of stdout so far are `expected`."""
        return sum(self._matches(line, expected) for line in self.lines())

    def moved(self) -> int:
        """How many bytes it has read from its peers, sent to them and printed; what has ended counts no more."""
        return sum(peer.moved_there() for peer in self.peers) + len(self.output) + len(self.errors)

    def reading(self) -> bool:
        """True while stdout or stderr of the program is open."""
        return bool(self._open)

    # -- its end ----------------------------------------------------------------

    def alive(self) -> bool:
        """True until it has ended."""
        return self.process.poll() is None

    def until_ended(self) -> bool:
        """Waits until the program has ended; false if it has not in time."""
        return self.lab.until(lambda: not self.alive(), DEADLINE * self.slowness)

    def expect_exit(self, status: int | tuple[int, ...], seconds: float | None = None, cause: str = "") -> None:
        """The program ends by itself with this exit status (or one of these)."""
        allowed = status if isinstance(status, tuple) else (status,)
        self.may_end = True
        if not self.lab.until(lambda: not self.alive(), (seconds or DEADLINE) * self.slowness):
            self.lab.fail_with(STAYS, f"Your {self.role} did not end.", cause and f"{cause} It did not end.")
        self.lab.until(lambda: not self._open, 1)
        code = self.process.returncode
        self.lab.log(f"your {self.role}", f"ended: {_status(code)}")
        if code not in allowed:
            wanted = " or ".join(map(str, allowed))
            words = f"Your {self.role} ended with {_status(code)} where {wanted} was due{self._last_words()}."
            if code < 0:  # it is said how it died
                self.lab.fail_with(EXIT_STATUS, "", cause)
            self.lab.fail_with(EXIT_STATUS, words, cause and cause + self.how_it_ended())

    def how_it_ended(self) -> str:
        """One sentence, or an empty string if the program has not ended."""
        if self.alive():
            return ""
        self.lab.until(lambda: not self._open, 1)  # what it said last is read
        return f" It ended with {_status(self.process.returncode)}{self._last_words()}."

    def expect_error(self, *words: str) -> None:
        """stderr has a line with all these words, whatever their case."""
        def found() -> bool:
            return any(all(w.lower() in line.lower() for w in words) for line in self.error_lines())

        if not self.lab.until(found, 1):
            wanted = " and ".join(f'"{w}"' for w in words) or "an error"
            got = f"it printed {quote(bytes(self.errors))}" if self.errors else "nothing came there"
            elsewhere = words and all(word.lower() in self.output.decode("utf-8", "replace").lower() for word in words)
            where = ", but on stdout" if elsewhere else ""
            self.lab.fail(f"Your {self.role} should print a line with {wanted} on stderr; {got}{where}.")

    def error_lines(self) -> list[str]:
        """The lines of stderr that are not blank."""
        return [line for line in self.errors.decode("utf-8", "replace").splitlines() if line.strip()]

    def not_written(self) -> str:
        """The line by which a starter says that it is not written yet, or an empty string."""
        if self.alive() or self.process.returncode in (0, None):
            return ""
        for line in self.error_lines():
            if "Function not implemented" in line:
                return line
        return ""

    def unexpected_end(self) -> str:
        """One sentence if the program has ended as it never should, else an empty string."""
        code = self.process.poll()
        if code is None or self.ended_by_us:
            return ""
        if code < 0:
            return f"Your {self.role} was ended by {_status(code)}.{self._where_it_crashed(code)}"
        if not self.may_end:
            return f"Your {self.role} ended by itself with {_status(code)}{self._last_words()}."
        return ""

    def kind_of_end(self) -> str:
        """The kind of failure that an unexpected end is; see failures.KINDS."""
        code = self.process.returncode
        if code >= 0:
            return ENDED
        return CRASH if -code in _CRASHES else SIGPIPE if -code == signal.SIGPIPE else ""

    def _last_words(self) -> str:
        lines = self.error_lines()
        return f'; it said "{lines[-1][:LONGEST_WORDS]}"' if lines else ""

    def _where_it_crashed(self, code: int) -> str:
        """The commands that tell the line, for a crash that a sanitizer sees."""
        if -code not in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS):
            return ""
        if self.instrument and self.instrument.faults:  # by hand no call fails
            return " The debugger stops in that line; its command stands below."
        stage = 2 if (self.lab.stage, self.role) == (3, "client") else self.lab.stage
        return f" `make SAN=asan stage{stage}`, then run `build/asan/{STAGES[stage]}/{self.role}` by hand and do the same: it names the line."

    # -- handling the process ---------------------------------------------------

    def stop(self) -> None:
        """Halts the program; returns when every thread of it stands still. A debugger keeps the signal to itself."""
        self._signal(signal.SIGSTOP)
        self.lab.until(lambda: self.lab.held or not self.alive() or kernel.stopped(self.pid))
        self.lab.log(f"your {self.role}", "is halted")

    def go_on(self) -> None:
        """Lets a halted program run again."""
        self.lab.log(f"your {self.role}", "runs again")
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if not self.alive():
            self.lab.fail("")  # it says how the program has ended
        os.kill(self.pid, number)

    def finish_under_tool(self) -> int:
        """Ends the program so that the tool in front writes its report; returns the status.

        With SIGXCPU, because what a program does at SIGTERM is its own business. Who blocks all signals may take
        one of the others with sigwait().
        """
        if self.role == "server":
            self.come_to_rest()
        self.ended_by_us = True
        self.lab.log(f"your {self.role}", "is ended by the check" if self.alive() else "")
        for number in (signal.SIGXCPU, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if self.alive():
                self.process.send_signal(number)
                self.lab.until(lambda: not self.alive(), REPORT_SECONDS)
        if self.alive():
            self.end()
        self.lab.until(lambda: not self._open, 2)
        return self.process.returncode

    def come_to_rest(self) -> None:
        """Lets all clients leave, and waits until nothing is done for them any more.

        In the middle of its work a right server may hold memory that valgrind does not find a pointer to.
        """
        for peer in self.peers:
            if not peer.closed():
                peer.close()
        self.lab.until(lambda: not self.alive() or (kernel.asleep(self.pid) and not any(peer.inode_there() for peer in self.peers)),
                       QUIET_SECONDS)

    def end(self) -> None:
        """Ends the program and all it has started, at once."""
        if self.alive():
            self.lab.log(f"your {self.role}", "is killed by the check")
        self.ended_by_us = True
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.kill()  # it may have left its group
        self.process.wait()
        if self._input is not None:
            os.close(self._input)
            self._input = None
        for fd in list(self._open):
            self.lab.selector.unregister(fd)
            os.close(fd)
        self._open.clear()
        if self.instrument:
            try:
                self.instrument.close()
            except OSError:
                pass  # the program has put something else in its place


def _argument(text: str) -> str:
    """An argument as it would be typed: an empty one, or one with blanks, in quotes."""
    return text if text and not any(c.isspace() for c in text) else show(os.fsencode(text))


def _shown(line: bytes) -> bytes:
    """What a terminal shows of a line: no colours and titles, nothing that was erased, and of several texts that begin
    at the left the last."""
    kept = _ERASED.split(_TO_THE_LEFT.sub(b"\r", line))[-1]
    text = _ESCAPES.sub(b"", kept).rstrip(b"\r").rpartition(b"\r")[2]
    return _overwritten(text) if b"\b" in text else text


def _overwritten(text: bytes) -> bytes:
    """The line up to the cursor, when each backspace has gone one place to the left, where the next byte replaces another."""
    places, at = bytearray(), 0
    for byte in text:
        if byte == ord("\b"):
            at = max(at - 1, 0)
        else:
            places[at : at + 1] = bytes([byte])
            at += 1
    return bytes(places[:at])


def _is_prompts(text: bytes, known: Iterable[re.Pattern[bytes]]) -> bool:
    """True if the text is made of prompts only, usual ones and those that are known. One regular expression might try for ever."""
    reached = {0}
    for at in range(len(text)):
        if at in reached:
            reached |= {found.end() for prompt in (*known, _USUAL_PROMPT) if (found := prompt.match(text, at))}
    return len(text) in reached


def _pattern(prompt: bytes) -> bytes:
    """A regular expression for a prompt: once if it stands there several times, and with any number for each, for it may
    count lines or tell the time."""
    once = re.fullmatch(rb"(.+?)\1*", re.sub(rb"[0-9]+", b"0", prompt), re.DOTALL)[1]
    return re.escape(once).replace(b"0", b"[0-9]+")


def _limited(nofile: int | None) -> list[str]:
    """What starts another command with limits (prlimit(1)).

    They hold before its first instruction: AddressSanitizer ends a program whose limits change under its hands.
    """
    wanted = {"core": (resource.RLIMIT_CORE, 0), "fsize": (resource.RLIMIT_FSIZE, 64 << 20), "cpu": (resource.RLIMIT_CPU, 120),
              "nofile": (resource.RLIMIT_NOFILE, nofile or USUAL_NOFILE)}
    options = []
    for name, (which, value) in wanted.items():
        hard = resource.getrlimit(which)[1]  # nobody may raise it
        options.append(f"--{name}={value if hard == resource.RLIM_INFINITY else min(value, hard)}")
    return ["prlimit", *options, "--"]


def _terminal() -> tuple[int, int]:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    return ours, theirs


def _status(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    words = {
        signal.SIGSEGV: "SIGSEGV (it used memory that is not its own)",
        signal.SIGABRT: "SIGABRT (the C library found broken memory, or abort() was called)",
        signal.SIGPIPE: "SIGPIPE (it sent to a connection that the other side had closed)",
        signal.SIGFPE: "SIGFPE (an impossible calculation, such as a division by zero)",
        signal.SIGXCPU: "SIGXCPU (it used far too much CPU time)",
    }
    return words.get(-code) or f"signal {signal.Signals(-code).name}"
