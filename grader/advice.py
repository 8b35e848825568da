"""Advice on the source that costs no points: mistakes that have no visible effect on this machine.

Small rules look at the code without its comments and strings. A rule would rather miss something than
blame what is right, so each asks for everything that makes the mistake one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from .harness.build import STAGES

# -- reading C --------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<comment>//(?:\\\r?\n|[^\n])*|/\*.*?(?:\*/|\Z))"""
    r"""|(?P<string>"(?:\\.|[^"\\\n])*"?)|(?P<letter>'(?:\\.|[^'\\\n])*'?)""", re.DOTALL)
_DIRECTIVE = re.compile(r"[ \t]*#[ \t]*(if|else|elif|endif)(?:n?def)?\b[ \t]*(0(?![\w.]))?")
_WORD = re.compile(r"[A-Za-z_]\w*")
_NOT_A_TYPE = {"return", "else", "do", "case"}
LONGEST_FILE, LONGEST_CALL, MOST_CALLS = 200_000, 1000, 200  # so that no file can make this slow


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def without_comments(text: str) -> str:
    """The same text with blanks instead of comments and of what `#if 0` leaves out: every place keeps its number."""
    lines = _TOKEN.sub(lambda found: _blank(found[0]) if found["comment"] else found[0], text).split("\n")
    depth = 0  # of the conditions in a part that is left out
    for number, line in enumerate(lines):
        found = _DIRECTIVE.match(line)
        if depth == 0:
            depth = 1 if found and found[1] == "if" and found[2] else 0
            continue
        if found and (found[1] == "if" or found[1] == "endif" or depth == 1):
            depth += 1 if found[1] == "if" else -1
        lines[number] = _blank(line)
    return "\n".join(lines)


def without_strings(text: str) -> str:
    """The same text with blanks inside of strings, and inside of letters other than plain ones like '0'."""
    def emptied(found: re.Match) -> str:
        quote, inside = found[0][0], found[0][1:]
        end = quote if inside.endswith(quote) else ""
        inside = inside.removesuffix(end)
        return found[0] if found["letter"] and inside.isalnum() else quote + _blank(inside) + end
    return _TOKEN.sub(emptied, text)


@dataclass(frozen=True, slots=True)
class Call:
    """A call `name(arguments)` that begins at `at`; `places` says where each argument begins."""

    at: int
    name: str
    arguments: tuple[str, ...]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function that is defined here: its name, what is before its brace, and where its body is."""

    name: str
    head: str
    start: int
    end: int


@dataclass(frozen=True)
class Source:
    """One .c file. `text` has its strings, `code` has not; both have no comments and agree in every place."""

    stage: int
    name: str
    text: str

    @cached_property
    def code(self) -> str:
        """The text without what stands in quotes."""
        return without_strings(self.text)

    @cached_property
    def functions(self) -> list[Function]:
        """The functions that are defined in the file."""
        found, depth, start, last = [], 0, 0, 0
        for brace in re.finditer(r"[{};]", self.code):
            depth += {"{": 1, "}": -1, ";": 0}[brace[0]]
            if brace[0] == "{" and depth == 1:
                start = brace.start()
            elif depth <= 0:
                head = self.code[last:start].strip()
                names = [n for n in re.findall(r"([A-Za-z_]\w*)\s*\(", head) if not n.startswith("__")]
                if brace[0] == "}" and head.endswith(")") and names:
                    found.append(Function(names[0], head, start, brace.end()))
                depth, last = 0, brace.end()
        return found

    def body(self, at: int) -> str:
        """The function around this place, or an empty string."""
        before = bisect_right(self.functions, at, key=lambda f: f.start)
        around = self.functions[before - 1] if before else None
        return self.code[around.start : around.end] if around and at < around.end else ""

    def calls(self, *names: str) -> Iterator[Call]:
        """The calls of these functions: no declarations, no members, no macros."""
        return islice(self._calls(names), MOST_CALLS)

    def _calls(self, names: tuple[str, ...]) -> Iterator[Call]:
        for found in re.finditer(rf"(?<![\w.>])(?:{'|'.join(names)})\b\s*\(", self.code):
            before = self.code[max(0, found.start() - 60) : found.start()].rstrip(" \t\n*")
            word = re.search(r"[A-Za-z_]\w*\Z", before)
            if self.body(found.start()) and (word is None or word[0] in _NOT_A_TYPE):
                yield self._call(found)

    def _call(self, found: re.Match) -> Call:
        depth, begin, end = 1, found.end(), found.end()
        arguments, places = [], []
        for letter in re.compile(r"[()\[\]{},;]").finditer(self.code, begin, begin + LONGEST_CALL):
            end = letter.start()
            depth += 1 if letter[0] in "([{" else -1 if letter[0] in ")]}" else 0
            if letter[0] == ";":
                break
            if depth == 0 or (depth == 1 and letter[0] == ","):
                arguments.append(self.code[begin:end].strip())
                places.append(begin)
                begin = end + 1
            if depth == 0:
                break
        return Call(found.start(), _WORD.match(found[0])[0], tuple(arguments), tuple(places))  # type: ignore[index]

    def line(self, at: int) -> int:
        """The number, from 1, of the line in which this place of the code is."""
        return self.code.count("\n", 0, at) + 1


@dataclass(frozen=True)
class Stage:
    """The files of one stage."""

    sources: tuple[Source, ...]

    def uses(self, name: str) -> bool:
        """Whether a function of this name is called."""
        return any(True for source in self.sources for _ in source.calls(name))

    def heads(self, name: str) -> list[str]:
        """What is before the brace where a function of this name is defined."""
        return [f.head for source in self.sources for f in source.functions if f.name == name]


# -- the rules --------------------------------------------------------------------

Found = Iterator[tuple[int, str]]  # where, and what the text says for {}
# Words of which the name of a function consists that moves bytes of a connection: send, read_message, frame_send, sendAll.
TRANSFER_WORDS = {"send", "sendto", "sendmsg", "sendmmsg", "sendall", "recv", "recvfrom", "recvmsg", "recvmmsg", "recvall", "receive",
                  "read", "readv", "readn", "write", "writev", "writen"}
HAS_A_REASON = r"\b(?:accept|accept4|\w*_accept|EAGAIN|EWOULDBLOCK|EMFILE|ENFILE|ENOMEM|ENOBUFS|ECONNREFUSED)\b"
THREAD_SAFE = {"strtok": "strtok_r", "inet_ntoa": "inet_ntop", "ctime": "ctime_r", "asctime": "asctime_r", "localtime": "localtime_r",
               "gmtime": "gmtime_r", "gethostbyname": "getaddrinfo"}


def _zero_in_quotes(source: Source, stage: Stage) -> Found:
    for call in source.calls("memset"):
        if len(call.arguments) == 3 and call.arguments[1] == "'0'" and "sizeof" in call.arguments[2]:
            yield call.at, ""


def _options_ored(source: Source, stage: Stage) -> Found:
    for call in source.calls("setsockopt"):
        if len(call.arguments) == 5 and re.search(r"\b(?:SO|TCP|IP)_\w+\s*\|\s*(?:SO|TCP|IP)_\w+", call.arguments[2]):
            yield call.at, ""


def _close_is_reset(source: Source, stage: Stage) -> Found:
    for call in source.calls("setsockopt"):
        if len(call.arguments) != 5 or call.arguments[2] != "SO_LINGER":
            continue
        value = re.escape(call.arguments[3].removeprefix("&").strip())
        listed = rf"\b{value}\s*=\s*\{{\s*(?:\.l_onoff\s*=\s*)?1\s*,\s*(?:\.l_linger\s*=\s*)?0\s*,?\s*\}}"
        written = re.search(rf"\b{value}\.l_onoff\s*=\s*1\b", source.code) and re.search(rf"\b{value}\.l_linger\s*=\s*0\s*;", source.code)
        if written or re.search(listed, source.code):
            yield call.at, ""


def _pause(source: Source, stage: Stage) -> Found:
    for call in source.calls("sleep", "usleep", "nanosleep"):
        body = source.body(call.at)
        if _transfers(body) and not re.search(HAS_A_REASON, body):
            yield call.at, ""


def _transfers(body: str) -> bool:
    """Whether something is called whose name says that it moves bytes; start_thread() has a read in it, but not as a word."""
    names = re.findall(r"\b([A-Za-z_]\w*)\s*\(", body)
    return any(word.lower() in TRANSFER_WORDS for name in names for word in re.split(r"_|(?<=[a-z])(?=[A-Z])", name))


def _never_freed(source: Source, stage: Stage) -> Found:
    if stage.uses("free"):
        return
    for call in source.calls("pthread_create"):
        name = call.arguments[3].rsplit(")", 1)[-1].strip() if len(call.arguments) == 4 else ""
        if _WORD.fullmatch(name) and re.search(rf"\b{name}\s*=\s*(?:\([^()]*\)\s*)?[mc]alloc\s*\(", source.body(call.at)):
            yield call.at, ""


def _shared_result(source: Source, stage: Stage) -> Found:
    if source.name.endswith("/client.c") or not stage.uses("pthread_create"):
        return
    for call in source.calls(*THREAD_SAFE):
        main_thread = re.search(r"\b(?:accept|accept4|net_accept|net_listen|pthread_create|argv)\b", source.body(call.at))
        if not main_thread and not stage.heads(call.name):
            yield call.at, f"{call.name} {THREAD_SAFE[call.name]}"


def _thread_of_another_type(source: Source, stage: Stage) -> Found:
    for call in source.calls("pthread_create"):
        cast = re.fullmatch(r"\((?P<type>.*)\)\s*&?\s*(?P<name>[A-Za-z_]\w*)", call.arguments[2], re.DOTALL) if len(call.arguments) == 4 else None
        heads = stage.heads(cast["name"]) if cast else []
        if cast and heads and not any(re.search(rf"\bvoid\s*\*\s*{cast['name']}\s*\(\s*void\s*\*[^,()]*\)\Z", head) for head in heads):
            yield call.at, cast["name"][:20]


def _flags_of_the_descriptor(source: Source, stage: Stage) -> Found:
    for call in source.calls("fcntl"):
        if len(call.arguments) != 3 or call.arguments[1] != "F_SETFD":
            continue
        value = call.arguments[2]
        if _WORD.fullmatch(value):
            values = re.findall(rf"\b{value}\s*\|?=([^=;][^;]*);", source.body(call.at))
            value = " ".join([value, *values])
        if re.search(r"\bO_(?:NONBLOCK|NDELAY)\b", value):
            yield call.at, ""


def _gets(source: Source, stage: Stage) -> Found:
    for call in source.calls("gets"):
        if not stage.heads("gets"):
            yield call.at, ""


def _scanf_without_a_width(source: Source, stage: Stage) -> Found:
    for call in source.calls("scanf", "fscanf"):
        position = 0 if call.name == "scanf" else 1
        if len(call.arguments) > position + 1:
            place = call.places[position]
            strings = source.text[place : place + len(call.arguments[position]) + 8].split('"')[1::2]
            if re.search(r"(?<!%)(?:%%)*%l?[s\[]", "".join(strings)):
                yield call.at, ""


@dataclass(frozen=True, slots=True)
class Rule:
    """`find` yields the places; `{0}`, `{1}` in `text` are the words that it yields with them."""

    row: str
    find: Callable[[Source, Stage], Found]
    text: str
    stages: tuple[int, ...] = (1, 2, 3, 4)


RULES = (
    Rule("A02", _zero_in_quotes, "memset() with '0' writes the digit, which is the number 48, into every byte; 0 without quotes is the zero you want."),
    Rule("A08", _options_ored, "Names of options are numbers, not bits: joined with | they name some other option. Each needs its own setsockopt()."),
    Rule("A26", _gets, "gets() cannot know how large the array is: a long line overwrites what lies behind it. fgets() and getline() can."),
    Rule("A26", _scanf_without_a_width, "%s without a width stores as much as is typed, even beyond the array, and stops at a space. fgets() takes a size."),
    Rule("A28", _close_is_reset, "SO_LINGER with a time of 0 makes close() a reset: the other side may lose what it has not read yet."),
    Rule("B31", _pause, "A pause does not keep messages apart: TCP may still join or cut them. Only what is in the bytes can tell them apart.", (2, 3, 4)),
    Rule("C04", _never_freed, "The argument of the thread comes from malloc(), and nothing here calls free(): each client costs memory for ever.", (3, 4)),
    Rule("C19", _shared_result, "{0}() may keep its data in one place for all threads, so that two clients mix; {1}() does not.", (3, 4)),
    Rule("C20", _thread_of_another_type, "{0} is not a void *f(void *), and the cast only hides that: a call through another type is undefined.", (3, 4)),
    Rule("E11", _flags_of_the_descriptor, "O_NONBLOCK is one of the flags for F_GETFL and F_SETFL. F_SETFD has others (FD_CLOEXEC), so this does not set it."),
)


def _text(path: Path) -> str:
    return path.read_bytes()[:LONGEST_FILE].decode("utf-8", "replace").replace("\r\n", "\n")


def advice(source: Path) -> list[dict]:
    """What the rules find in the .c files of the stage directories in `source`, in order."""
    found = []
    for number, directory in STAGES.items():
        paths = [path for path in sorted((source / directory).glob("*.c")) if path.is_file() and not path.is_symlink()]
        sources = tuple(Source(number, f"{directory}/{path.name}", without_comments(_text(path))) for path in paths)
        stage = Stage(sources)
        for file in sources:
            lines = {(file.line(at), rule.row, rule.text.format(*words.split())): None
                     for rule in RULES if number in rule.stages for at, words in rule.find(file, stage)}
            found += [{"file": file.name, "line": line, "row": row, "text": text} for line, row, text in sorted(lines)]
    return found
