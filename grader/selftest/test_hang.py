"""Each named pattern of a hang is proved on a program that has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.execution import Choice
from grader.selftest.corpus import Patch, apply, mutants
from grader.session import run

HERE = Path(__file__).parent

# What hangs, the check in which it does, the pattern, and a part of what is said of a thread.
PATTERNS = [
    ("client_waits_for_a_greeting", "stage2.client.basic", "Both sides wait for the other to speak", "waits in recv() for the server (framing.c:"),
    ("reads_until_the_client_closes", "stage2.server.basic", "It waits for the connection to end", "waits in recv() for client 1 (server.c:"),
    ("broken_match_is_not_looked_at_again", "stage2.server.near_misses", "It waits for more after DONE has come", "0 bytes unread"),
    ("joins_at_once", "stage3.server.silent_client", "The second client was never accepted", "waits in pthread_join() (server.c:"),
    ("lock_while_sending", "stage4.server.stuck_receiver_delays_nobody_else", "It waits for a lock that another thread keeps while it waits itself",
     "waits for a lock (server.c:"),
    ("an_empty_recv_is_not_the_end", "stage2.server.half_close", "It spins", "is running"),
    ("keyboard_and_server_in_turn", "stage4.client.push", "It waits for the keyboard, while", "waits in read() for the keyboard (stdin)"),
]


def _patch(name: str) -> Patch:
    own = HERE / "hanging" / f"{name}.patch"
    return Patch(own) if own.is_file() else next(m for m in mutants() if m.id == name)


@pytest.mark.parametrize(("name", "id", "pattern", "state"), PATTERNS, ids=[p[0] for p in PATTERNS])
def test_a_hang_is_explained(name: str, id: str, pattern: str, state: str, tmp_path: Path) -> None:
    record = run(apply(_patch(name), tmp_path / "work"), tmp_path / "out", Choice(only=id))
    check = next(c for c in record["checks"] if c["id"] == id)
    assert check["verdict"] == "failed", check
    assert check["pattern"].startswith(pattern), (check["pattern"], check["state"])
    assert any(state in line for line in check["state"]), check["state"]
