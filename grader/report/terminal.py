"""What a student reads: the record as text for a terminal, one screen for each failure."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from ..check import STAGE_TITLES

MAX_EVENT_LINES = 14
SHOWN_FAILURES = 3


def summary(record: dict, console: Console, *, failures: int = SHOWN_FAILURES) -> None:
    """Prints each stage's count and the first `failures` failures in full."""
    for stage, title in STAGE_TITLES.items():
        checks = [c for c in record["checks"] if c["stage"] == stage]
        if checks:
            _stage_line(stage, title, checks, console)
    bad = [c for c in record["checks"] if c["verdict"] in ("failed", "grader error", "unstable")]
    for check in bad[:failures]:
        console.print()
        failure(check, console)
    if len(bad) > failures:
        console.print(f"\n{len(bad) - failures} more failed:", style="bold")
        for check in bad[failures:]:
            console.print(Padding(Text(f"{check['id']}  {check['title']}", overflow="ellipsis", no_wrap=True), (0, 0, 0, 3)))


def _stage_line(stage: int, title: str, checks: list[dict], console: Console) -> None:
    count = {v: sum(c["verdict"] == v for c in checks) for v in
             ("passed", "failed", "not reached", "grader error", "unstable", "not run")}
    points = sum(c["points"] for c in checks)
    most = sum(c["max_points"] for c in checks)
    words = ", ".join(f"{n} {v}" for v, n in count.items() if n)
    style = "green" if count["passed"] == len(checks) else "yellow"
    console.print(Text(f"stage {stage}  {title:<9}{points:>6g} of {most:g} points   {words}", style=style))


def failure(check: dict, console: Console) -> None:
    """Prints one failed check: cause, exchange, hint and how to run it again."""
    todo = f"TODO {check['todo']}" if check["todo"] else ""
    console.print(f"[bold red]x[/]  [bold]{escape(check['title'])}[/]   [dim]{todo}[/]")
    console.print(Padding(Text(check["cause"]), (1, 0, 1, 3)))
    for line in event_lines(check["events"]):
        console.print(Padding(Text(line, overflow="ellipsis", no_wrap=True), (0, 0, 0, 3)))
    if check["hints"]:
        console.print(Padding(Text(f"hint     {check['hints'][0]}"), (1, 0, 0, 3)))
    console.print(Padding(Text(f"again    {check['rerun']}"), (0, 0, 0, 3)))


def event_lines(events: list[dict]) -> list[str]:
    """The exchange in order, the middle left out when it is long."""
    lines = [_event_line(e) for e in events]
    if len(lines) > MAX_EVENT_LINES:
        head = MAX_EVENT_LINES // 2
        left = len(lines) - MAX_EVENT_LINES + 1
        lines[head : head + left] = [f"         ... {left} more lines, all in the record ..."]
    return lines


def _event_line(event: dict) -> str:
    size = f"  {event['size']} bytes" if event["size"] > 8 else ""
    return f"{event['seconds']:7.3f}  {event['who']:<14} {event['what']} {event['data']}{size}".rstrip()
