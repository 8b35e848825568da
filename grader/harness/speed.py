"""How much slower than the machine of the measurements this one is, at this moment."""

from __future__ import annotations

import subprocess
import time

USUAL = 0.0015  # seconds to start and end a small program (performance figures of the design)


def patience() -> float:
    """The factor for all deadlines: 1 on the measured machine and faster ones, at most 8."""
    start = time.monotonic()
    for _ in range(4):
        subprocess.run(["/bin/true"], check=True)
    return min(8.0, max(1.0, (time.monotonic() - start) / 4 / USUAL / 4))
