"""Who takes part in a drawing, and where: the rows of events, and the lanes of peers, threads and outputs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from ..harness.wire import count
from .lettering import clean

WIDTH = 960
MARGIN = 20
CLOCK = 70  # the column of the seconds
HALF_BAR = 9  # half the width of a bar with one lane
NOTE = 300  # the room that a note likes to have on its right
MOST_PEERS, MOST_THREADS = 6, 5  # with a lane of their own
MANY = 100  # of the same call: the middle of them may have been left out of the record
OTHERS = "others"
ENDS = {"closes": "close", "resets": "reset", "half-closes": "half", "ends": "half"}  # by the first word of an event


@dataclass(slots=True)
class Row:
    """An event, with its texts made clean. `times`: how often it happened in a row."""

    seconds: float
    who: str
    what: str
    data: str
    size: int
    to: str
    thread: int
    where: str
    times: int = 1

    @classmethod
    def of(cls, event: dict) -> Row:
        """The row of an event of the record."""
        words = {key: clean(event.get(key)) for key in ("who", "what", "data", "to", "where")}
        numbers = {key: int(event.get(key) or 0) for key in ("size", "thread")}
        return cls(float(event.get("seconds") or 0), **words, **numbers)  # type: ignore[arg-type]

    def same(self) -> tuple:
        """Rows of calls that moved nothing and are alike become one."""
        return (self.who, self.what, self.thread, self.where) if self.thread and not self.size else (id(self),)

    @property
    def end(self) -> str:
        """The kind of end of a connection that this is, or ""."""
        return ENDS.get(self.what.partition(" ")[0].rstrip(":"), "") if self.to else ""

    def sentence(self) -> str:
        """The row for those who cannot see it."""
        actor = self.who + (f", thread {self.thread}" if self.thread else "")
        what = self.what or f"sends {self.data}, {count(self.size)},"
        to = f" to {self.to}" if self.to else ""
        where = f" ({self.where})" if self.where else ""
        return f"{self.seconds:.3f} s: {actor} {what}{to}{where}{in_times(self.times)}."


def in_times(times: int) -> str:
    """How often, in words behind a sentence; nothing for once."""
    return f", {'at least ' if times >= MANY else ''}{times} times" if times > 1 else ""


def rows_of(events: Iterable[dict]) -> list[Row]:
    """The events of a record as rows, repetitions as one."""
    rows = []
    for _key, group in groupby([Row.of(event) for event in events], key=Row.same):
        first, *more = group
        first.times += len(more)
        rows.append(first)
    return rows


def is_program(name: str) -> bool:
    """True for the student's program, by its name in an event."""
    return name.startswith("your ")


@dataclass(slots=True)
class Lane:
    """A vertical line at `x`; `room` is what its heading may take."""

    heading: str
    room: float = 0.0
    x: float = 0.0

    @property
    def middle(self) -> float:
        """Where its name stands."""
        return self.x

    def edge(self, right: bool) -> float:
        """Where an arrow touches, from either side."""
        return self.x


@dataclass(slots=True)
class Bar:
    """A program: the bar from `left` to `right` around the lanes of its threads."""

    name: str
    threads: dict[int, Lane]
    left: float = 0.0
    right: float = 0.0

    @property
    def middle(self) -> float:
        """Where its name stands: above all its threads."""
        return (self.left + self.right) / 2

    def edge(self, right: bool) -> float:
        """Where an arrow touches: on that side of the bar."""
        return self.right if right else self.left

    def lane(self, thread: int) -> Lane:
        """The lane of a thread; the last one is for those that have none."""
        return self.threads.get(thread) or list(self.threads.values())[-1]

    @property
    def single(self) -> bool:
        """True for a program of one thread."""
        return len(self.threads) == 1


@dataclass(slots=True)
class Stage:
    """All lanes, with their places."""

    peers: dict[str, Lane] = field(default_factory=dict)
    bars: dict[str, Bar] = field(default_factory=dict)
    outputs: dict[str, Lane] = field(default_factory=dict)

    def at(self, name: str) -> Lane | Bar | None:
        """Where somebody stands; those without a lane of their own stand with the others."""
        return self.bars.get(name) or self.peers.get(name) or self.outputs.get(name) or self.peers.get(OTHERS)

    def lanes(self) -> Iterator[Lane]:
        """All lanes, from left to right."""
        yield from self.peers.values()
        for bar in self.bars.values():
            yield from bar.threads.values()
        yield from self.outputs.values()


def cast(rows: list[Row], told: str, everybody: Iterable[str]) -> Stage:
    """Who takes part in the rows or, of `everybody`, is named in `told`. If they are too many, the named come first."""
    stage = Stage()
    present = {name for row in rows for name in (row.who, row.to)}
    names = [n for n in dict.fromkeys(everybody) if n and (n in present or not is_program(n) and _named(n, told))]
    speakers = {row.who for row in rows}
    active = Counter(name for row in rows for name in (row.who, row.to))
    peers = [n for n in names if not is_program(n) and (n in speakers or n not in ("stdout", "stderr"))]
    if len(peers) > MOST_PEERS:
        chosen = sorted(peers, key=lambda n: (not _named(n, told), -active[n]))
        peers = [n for n in peers if n in chosen[:MOST_PEERS]] + [OTHERS]
    stage.peers = {name: Lane(name) for name in peers}
    for name in filter(is_program, names):
        found = sorted({row.thread for row in rows if row.who == name and row.thread})
        shown = [f"thread {number}" for number in found]
        if len(found) > MOST_THREADS:
            shown = [*shown[:MOST_THREADS], "more threads"]
        threads = dict(zip(found, [Lane(heading) for heading in shown])) if len(found) > 1 else {0: Lane(name)}
        stage.bars[name] = Bar(name, threads)
    stage.outputs = {n: Lane(n) for n in ("stdout", "stderr") if n in names and n not in peers}
    return stage


def _named(name: str, told: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", told, re.IGNORECASE))


def give_places(stage: Stage) -> None:
    """Gives every lane its x: first the least distances, then more where it helps most."""
    peers, bars, outputs = list(stage.peers.values()), list(stage.bars.values()), list(stage.outputs.values())
    several = [bar for bar in bars if not bar.single]
    numbers = {"first": 1, "peer": max(len(peers) - 1, 0), "channel": len(bars) if peers else max(len(bars) - 1, 0),
             "thread": sum(len(bar.threads) - 1 for bar in bars), "side": len(several), "out": len(outputs[:1]), "output": len(outputs[1:]), "last": 1}
    size = {"first": 40.0, "peer": 54.0, "channel": 90.0, "thread": 60.0, "side": 40.0, "out": 90.0, "output": 60.0,
            "last": 0.0 if several and not outputs else 34.0}
    spare = WIDTH - 2 * MARGIN - CLOCK - 40 * len(bars) - sum(size[key] * numbers[key] for key in size)
    note = NOTE - (70 * len(outputs[1:]) + 40 if outputs and not several else 0)
    for key, wanted in (("peer", 76), ("channel", 160), ("out", 120), ("thread", 72), ("output", 70),
                        ("last" if not outputs else "out", 0 if several and not outputs else note),
                        ("side", NOTE), ("peer", 120), ("first", 60), ("channel", 420), ("side" if several and not outputs else "last", 999)):
        if numbers[key]:
            more = max(0.0, min(wanted - size[key], spare / numbers[key]))
            size[key] += more
            spare -= more * numbers[key]
    x = MARGIN + CLOCK + size["first"]
    for number, lane in enumerate(peers):
        x += size["peer"] if number else 0
        lane.x, lane.room = x, size["peer"] - 8 if len(peers) > 1 else 110
    for number, bar in enumerate(bars):
        x += size["channel"] if peers or number else 0
        bar.left = x
        x += HALF_BAR if bar.single else 36
        for nth, lane in enumerate(bar.threads.values()):
            x += size["thread"] if nth else 0
            lane.x, lane.room = x, size["thread"] - 6
        x += HALF_BAR if bar.single else size["side"]
        bar.right = x
    for number, lane in enumerate(outputs):
        x += size["output" if number else "out"]
        lane.x, lane.room = x, 60
