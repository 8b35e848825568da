"""make hint: the hints of one check, one more each time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .check import Spec
from .harness.wire import printable
from .report.wrap import wrap
from .session import all_specs, unknown

WIDTH = 100  # at most


def show_next(id: str, memory: Path, record: Path) -> int:
    """Prints the next hint of the check; `memory` is the file that knows which were shown, `record` that of the last
    `make check`. Returns the exit status."""
    specs = {spec.id: spec for spec in all_specs()}
    if id not in specs:
        print(unknown(id))
        return 2
    spec = specs[id]
    cause, kind, hints = _last_failure(spec, record)
    shown, key = _read(memory), f"{id} {kind}".strip()
    # The first hint stands below a failure already, and nowhere if the check was not reached.
    number = min(shown.get(key, 0 if cause.startswith("Not reached") else 1) + 1, len(hints))
    print(f"{spec.title}\n")
    if cause:
        _print("  last run  ", cause)
    for position, hint in enumerate(hints[:number], 1):
        _print(f"  hint {position}/{len(hints)}  ", hint)
    if number == len(hints):
        print()
        explained = f" TODO {spec.todo} in handouts/stage{spec.stage}.md explains the matter." if spec.todo and hints == list(spec.hints) else ""
        _print("", f"That was the last hint.{explained}")
    shown[key] = number
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps(shown, indent=1), encoding="utf-8")
    return 0


def _last_failure(spec: Spec, record: Path) -> tuple[str, str, list[str]]:
    """Why the check did not pass in the last run, the kind of that, and the hints that fit it; else "", "" and the check's own."""
    for check in _read(record).get("checks", []):
        if check["id"] == spec.id and check["verdict"] in ("failed", "unstable", "not reached"):
            return check["cause"], check.get("kind", "") if check["hints"] != list(spec.hints) else "", check["hints"]
    return "", "", list(spec.hints)


def _print(lead: str, text: str) -> None:
    width = min(shutil.get_terminal_size().columns, WIDTH)
    for line in wrap(printable(text), width - len(lead)):
        print(lead + line)
        lead = " " * len(lead)


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
