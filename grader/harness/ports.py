"""Server ports from 10000 to 19999, none twice, also with many grading runs at once.

Below the range from which the kernel takes client ports (32768 and up), because a
client socket in TIME_WAIT there would make bind() fail for no fault of the student.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile

FIRST, LAST = 10000, 19999


def take() -> int:
    """A port that no run on this machine has taken lately and that can be bound now."""
    path = os.path.join(tempfile.gettempdir(), f"relaylab-ports-{os.getuid()}")
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        last = int(counter.read() or LAST)
        for _ in range(LAST - FIRST + 1):
            last = last + 1 if FIRST <= last < LAST else FIRST
            if _tells_byte_order(last) and _free(last):
                break
        else:
            raise OSError("no free port from 10000 to 19999")
        counter.seek(0)
        counter.truncate()
        counter.write(str(last))
    return last


def _tells_byte_order(port: int) -> bool:
    # 0x2828 is the same in both byte orders: a program without htons() would pass there.
    return port >> 8 != port & 0xFF


def _free(port: int) -> bool:
    # Without SO_REUSEADDR on purpose: a port with connections in TIME_WAIT is not free.
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
