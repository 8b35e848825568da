"""What a student reads: the record as text for a terminal, one screen for each failure."""

from __future__ import annotations

import re

from rich.console import Console
from rich.text import Text

from ..check import STAGE_TITLES
from ..diagnosis import kind_of
from ..harness.failures import NOT_WRITTEN
from ..harness.wire import count, printable
from .wrap import wrap

WIDTH, HEIGHT = 100, 24  # of one failure, at most
FEWEST_EVENTS, LEAST_EVENTS = 4, 3  # as a rule; where the one sentence about the state needs the room
FIRST_EVENTS = 2  # that stay when the middle is left out
SHOWN_FAILURES = 3
SHOWN_ADVICE = 5
SHOWN_REASONS = 4
MANY = 100  # calls in a row
INDENT = "   "
BAD = ("failed", "grader error", "unstable")
_STYLES = {"title": "bold", "mark": "bold red", "cause": "", "event": "dim", "call": "dim italic", "state": "", "pattern": "bold", "foot": "cyan"}


def summary(record: dict, console: Console, *, failures: int = SHOWN_FAILURES) -> None:
    """Prints each stage's count, the likely mistake, the first `failures` failures in full, and advice.

    A failure that is the only one gets so few lines that all stands on one screen, with the line that make adds.
    """
    above = 1
    for stage, title in STAGE_TITLES.items():
        checks = [c for c in record["checks"] if c["stage"] == stage]
        if checks:
            _stage_line(stage, title, checks, console)
            above += 1
    above += _likely(record, console)
    bad = [c for c in record["checks"] if c["verdict"] in BAD]
    shown = most_telling(bad, record.get("likely"))[:failures]
    _beginning(shown, console)
    for check in shown:
        console.print()
        failure(check, console, HEIGHT - above - 1 if len(bad) == 1 else HEIGHT)
    _others([c for c in bad if c not in shown], console)
    _not_reached(record, console)
    shown_advice = record.get("advice", [])[:SHOWN_ADVICE]
    if shown_advice and bad:
        console.print()
    for found in shown_advice:
        advice = f"advice, no points: {found['file']}:{found['line']}: {found['text']}"
        for _style, line in _wrapped("state", printable(advice), min(console.width, WIDTH), 3):
            console.print(Text(line.removeprefix(INDENT), style="yellow"), soft_wrap=True)


def most_telling(bad: list[dict], likely: dict | None) -> list[dict]:
    """The failures in the order in which they are shown: those that find the likely mistake first, then
    one of each cause, then those that fail in the same way. Otherwise the order of work stays."""
    found_by = likely["found_by"] if likely else []
    ordered = sorted(bad, key=lambda c: c["id"] not in found_by)
    seen: set[str] = set()
    first, again = [], []
    for check in ordered:
        kind = kind_of(check["cause"])
        (again if kind in seen else first).append(check)
        seen.add(kind)
    return first + again


def _likely(record: dict, console: Console) -> int:
    """Prints the likely mistake, if there is one; returns the number of lines."""
    likely = record.get("likely")
    if not likely:
        return 0
    lead = "This pattern of failures usually means" if likely["sure"] else "This pattern of failures may mean"
    width = min(console.width, WIDTH)
    lines = [Text(line, style=style) for text, style in ((f"{lead}: {likely['says']}", "bold"), (f"Look at {likely['look']}", ""))
             for line in wrap(text, width, 4)]
    console.print(Text("\n").join([Text(), *lines]), soft_wrap=True)
    return 1 + len(lines)


def _beginning(shown: list[dict], console: Console) -> None:
    if shown and shown[0]["kind"] == NOT_WRITTEN:
        stage = shown[0]["stage"]
        console.print(f"\nSomething is not written yet. handouts/stage{stage}.md leads through it, from TODO {stage}.1 on.")


def _others(bad: list[dict], console: Console) -> None:
    if bad:
        console.print(f"\n{len(bad)} more:", style="bold")
    for check in bad:
        _line(f"{INDENT}{check['id']:<34} {check['cause']}", console)


def _not_reached(record: dict, console: Console) -> None:
    """Prints why checks could not be made: how many for each reason, or, if it is only one, which."""
    reasons: dict[str, list[str]] = {}
    for check in record["checks"]:
        if check["verdict"] == "not reached":
            reasons.setdefault(check["cause"].removeprefix("Not reached: "), []).append(check["id"])
    if not reasons:
        return
    console.print(f"\n{sum(map(len, reasons.values()))} not reached:", style="bold")
    ordered = sorted(reasons.items(), key=lambda reason: -len(reason[1]))
    for reason, ids in ordered[:SHOWN_REASONS]:
        which = ids[0] if len(ids) == 1 else f"{len(ids)} checks"
        for _style, line in _wrapped("cause", printable(f"{which}: {reason}"), min(console.width, WIDTH), 3):
            console.print(Text(line), soft_wrap=True)
    if rest := ordered[SHOWN_REASONS:]:
        _line(f"{INDENT}and {count(sum(len(ids) for _, ids in rest), 'check')} for other reasons", console)


def _stage_line(stage: int, title: str, checks: list[dict], console: Console) -> None:
    counts = {v: sum(c["verdict"] == v for c in checks) for v in
             ("passed", "failed", "not reached", "grader error", "unstable", "not run")}
    points = sum(c["points"] for c in checks)
    most = sum(c["max_points"] for c in checks)
    words = ", ".join(f"{n} {v}" for v, n in counts.items() if n)
    style = "green" if counts["passed"] == len(checks) else "yellow"
    console.print(Text(f"stage {stage}  {title:<9}{points:>6g} of {most:g} points   {words}", style=style))


def _line(text: str, console: Console, style: str = "") -> None:
    console.print(Text(_cut(printable(text), console.width), style=style), soft_wrap=True)


def failure(check: dict, console: Console, height: int = HEIGHT) -> None:
    """Prints one failed check."""
    for style, line in screen(check, min(console.width, WIDTH), height):
        console.print(Text(printable(line), style=_STYLES[style]), soft_wrap=True)


def screen(check: dict, width: int = WIDTH, height: int = HEIGHT) -> list[tuple[str, str]]:
    """One failure as lines of at most `width` columns, at most `height` of them, each with its style.

    The cause; expected and got around the first wrong byte; the exchange; what the program was
    doing, in whole sentences, the first in any case; the hint and the commands. The exchange gets the
    lines that the others leave. A command stays whole, to be copied: a long one is wrapped by the
    terminal, and counts as so many lines.
    """
    head = [("title", _title(check, width)), ("title", "")]
    head += _wrapped("cause", check["cause"], width, 4)
    comparison = _comparison(check["difference"])
    sentences = [_wrapped("pattern", check["pattern"], width, 2), *(_wrapped("state", sentence, width, 2) for sentence in check["state"][:4])]
    sentences = [sentence for sentence in sentences if sentence]
    foot = _foot(check, width)
    blanks = 1 + bool(comparison) + bool(check["events"]) + bool(sentences)
    room = height - blanks - sum(_rows(part, width) for part in (head, comparison, *sentences, foot))
    while room < FEWEST_EVENTS and len(sentences) > 1:
        room += len(sentences.pop())
    state = sum(sentences, [])
    exchange = event_lines(check["events"], max(room, LEAST_EVENTS), width - len(INDENT))
    lines = list(head)
    for part in (comparison, exchange, state, foot):
        if part:
            lines += [("cause", ""), *part]
    return lines


def _rows(lines: list[tuple[str, str]], width: int) -> int:
    """How many lines of the terminal these lines take."""
    return sum(max(1, -(-len(line) // width)) for _style, line in lines)


def _title(check: dict, width: int) -> str:
    todo = f"TODO {check['todo']}" if check["todo"] else ""
    mark = {"failed": "x", "unstable": "?", "grader error": "!"}.get(check["verdict"], "x")
    title = _cut(f"{mark}  {check['title']}", width - len(todo) - 2)
    return f"{title}{todo:>{width - len(title)}}" if todo else title


def _wrapped(style: str, text: str, width: int, most: int) -> list[tuple[str, str]]:
    return [(style, INDENT + line) for line in wrap(text, width - len(INDENT), most)]


def _comparison(difference: dict | None) -> list[tuple[str, str]]:
    if not difference:
        return []
    label = f"{INDENT}expected  "
    words, column = f"byte {difference['byte']} is the first that differs", len(label) + difference["column"]
    marker = f"{'':{column}}^ {words}" if column < WIDTH // 2 else f"{words:>{column - 1}} ^"
    return [("cause", label + difference["expected"]), ("cause", f"{INDENT}got       {difference['got']}"), ("mark", marker)]


def _foot(check: dict, width: int) -> list[tuple[str, str]]:
    lines = []
    if check["hints"]:
        lead = f"hint 1/{len(check['hints'])}  "
        wrapped = wrap(check["hints"][0], width - len(INDENT) - len(lead), 2)
        lines += [("foot", INDENT + (lead if not i else " " * len(lead)) + text) for i, text in enumerate(wrapped)]
    lines.append(("foot", f"{INDENT}again     {check['rerun']}"))
    if check["rerun"].startswith("make check"):
        lines.append(("foot", f"{INDENT}more      make hint CHECK={check['id']}"))
        lines.append(("foot", f"{INDENT}debugger  {check['rerun'].replace('check', 'debug', 1).replace('ONLY=', 'CHECK=')}"))
    return lines


# -- the exchange -------------------------------------------------------------------


def event_lines(events: list[dict], most: int, width: int) -> list[tuple[str, str]]:
    """The exchange in order, at most `most` lines. The program's own calls stand where there is room; some always."""
    events = _repeated(_without_reports(events))
    lines = _formatted(events if len(events) <= most else _chosen(events), width)
    if len(lines) > most:
        left = len(lines) - most + 1
        lines[FIRST_EVENTS : FIRST_EVENTS + left] = [("event", f"{INDENT}        ... {left} more, all in the record ...")]
    return lines


def _without_reports(events: list[dict]) -> list[dict]:
    """Of what a sanitizer writes to stderr only the beginning: the cause tells the rest in a sentence."""
    reports = [n for n, event in enumerate(events) if event["to"] == "stderr" and re.match('"=====|"==[0-9]+==|.*Sanitizer', event["data"])]
    return [event for n, event in enumerate(events) if event["to"] != "stderr" or not reports or n <= reports[0]]


def _repeated(events: list[dict]) -> list[dict]:
    """Calls in a row that are alike and moved nothing become one, with their number."""
    rows: list[dict] = []
    for event in events:
        same = ("who", "what", "thread", "where", "size")
        if rows and event["thread"] and not event["size"] and all(rows[-1][key] == event[key] for key in same):
            rows[-1] = {**rows[-1], "times": rows[-1].get("times", 1) + 1}
        else:
            rows.append(event)
    return rows


def _chosen(events: list[dict]) -> list[dict]:
    """What stays where not all have room: what the other side saw, and the calls that nothing else tells of.

    Those are the calls that failed, and all of a program to which no connection was made: there they are the proof.
    """
    starts = [n for n, event in enumerate(events) if event["what"].startswith("start:")]
    last = starts[-1] if starts else len(events)
    alone = all(event["what"] != "connected" for event in events[last:])
    return [event for n, event in enumerate(events)
            if not event["thread"] or "injected" in event["what"] or _failed_for_good(event) or (alone and n > last)]


def _failed_for_good(event: dict) -> bool:
    return " failed: " in event["what"] and not event["what"].endswith(("EAGAIN", "EINTR", "EINPROGRESS"))


def _formatted(events: list[dict], width: int) -> list[tuple[str, str]]:
    names = [_who(event) for event in events if not event["thread"]]
    column = min(max(map(len, names), default=0), 34)
    threads = {event["thread"] for event in events} - {0}
    return [("call" if e["thread"] else "event", INDENT + (_call(e, column, len(threads) > 1, width) if e["thread"] else _event(e, column, width)))
            for e in events]


def _who(event: dict) -> str:
    return f"{event['who']} -> {event['to']}" if event["to"] else event["who"]


def _event(event: dict, column: int, width: int) -> str:
    size = f"  {count(event['size'])}" if event["size"] else ""
    text = f"{event['what']} {event['data']}".strip()
    start = f"{event['seconds']:7.3f}  {_who(event):<{column}}  "
    return start + _cut(text, width - len(start) - len(size)) + size


def _call(event: dict, column: int, several: bool, width: int) -> str:
    """A call stands under what is said, or further left where it has no room there: its result is never cut."""
    thread = f"thread {event['thread']}: " if several else ""
    least = "at least " if event.get("times", 0) >= MANY else ""  # the middle of a record may have been left out
    times = f", {least}{event['times']} times" if "times" in event else ""
    where = f"  {event['where']}" if event["where"] else ""
    start = f"{event['seconds']:7.3f}  "
    room = width - len(start) - len(where)
    text = _cut_before(f"{thread}{event['what']}{times}", room, " failed: ")
    return start + " " * min(column + 2, room - len(text)) + text + where


def _cut_before(text: str, width: int, mark: str) -> str:
    """The text, cut if need be before the mark and not behind it."""
    head, mark, tail = text.partition(mark)
    return _cut(head, width - len(mark) - len(tail)) + mark + tail if mark else _cut(text, width)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."
