"""make hint: the hints of one check, one more each time."""

from __future__ import annotations

import json
from pathlib import Path

from .session import all_specs, similar


def show_next(id: str, memory: Path) -> int:
    """Prints the next hint of the check; `memory` is the file that knows which were shown. Returns the exit status."""
    specs = {spec.id: spec for spec in all_specs()}
    if id not in specs:
        print(f'There is no check "{id}".{similar(id)} handouts/checks.md lists them all.')
        return 2
    spec = specs[id]
    shown = _read(memory)
    # The first hint stands below the failure already.
    number = min(shown.get(id, 1) + 1, len(spec.hints))
    print(f"{spec.title}\n")
    for position, hint in enumerate(spec.hints[:number], 1):
        print(f"  hint {position}/{len(spec.hints)}  {hint}")
    if number == len(spec.hints):
        print(f"\nThat was the last hint. TODO {spec.todo} in handouts/stage{spec.stage}.md explains the matter."
              if spec.todo else "\nThat was the last hint.")
    shown[id] = number
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps(shown, indent=1), encoding="utf-8")
    return 0


def _read(memory: Path) -> dict[str, int]:
    try:
        return json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
