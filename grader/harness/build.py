"""Builds a submission with the kit's own Makefile, once for each variant a check asks for."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

KIT = Path(__file__).resolve().parents[2]
STAGES = {1: "stage1_echo", 2: "stage2_framing", 3: "stage3_threads", 4: "stage4_relay"}
# What a student hands in; extra .c and .h files may stand beside these.
FILES = {
    1: ("net.c", "server.c", "client.c"),
    2: ("framing.c", "server.c", "client.c"),
    3: ("server.c",),
    4: ("names.c", "outbox.c", "server.c", "client.c"),
}
# A variant is a set of make variables. "clang" exists for its warnings only.
VARIANTS = {
    "plain": ("SAN=plain", "CC=gcc"),
    "tsan": ("SAN=tsan", "CC=gcc"),
    "clang": ("SAN=plain", "CC=clang"),
}
COMPILER_WORDS = 20_000  # bytes of a compiler's messages that are kept
TIME_LIMIT = 120  # seconds for one make


@dataclass(slots=True)
class Build:
    """The built programs of one submission. `source` holds its stage directories."""

    source: Path
    out: Path
    base: Path | None = None
    _done: dict[tuple[str, int], str] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(
        default_factory=lambda: {name: threading.Lock() for name in VARIANTS})

    def words(self, stage: int, variant: str = "plain") -> str:
        """Builds the stage; returns what the compiler said, warnings and errors."""
        with self._locks[variant]:
            key = (variant, stage)
            if key not in self._done:
                self._done[key] = self._make(stage, variant)
            return self._done[key]

    def program(self, stage: int, role: str, variant: str = "plain") -> Path:
        """The built program; a check fails with the compiler's words if there is none."""
        if role == "client" and stage == 3:
            stage = 2  # stage 3's client is stage 2's
        source = self.source / STAGES[stage]
        if not (source / f"{role}.c").is_file():
            pytest.fail(f"{STAGES[stage]}/{role}.c is missing from the submission.", pytrace=False)
        words = self.words(stage, variant)
        path = self._directory(variant) / _san(variant) / STAGES[stage] / role
        if not path.is_file():
            first = next((line for line in words.splitlines() if "error" in line.lower()
                          or "undefined" in line), words.strip() or "no message")
            pytest.fail(f"Your {role} does not compile: {first}", pytrace=False)
        return path

    def warnings(self, stage: int, compiler: str) -> list[str]:
        """What the compiler warns of in the files of the stage itself, compiled afresh."""
        with tempfile.TemporaryDirectory(dir=self.out) as out:
            words = self._run_make(stage, "clang" if compiler == "clang" else "plain", Path(out))
        return [line for line in words.splitlines() if "warning:" in line and line.startswith(STAGES[stage])]

    def _directory(self, variant: str) -> Path:
        return self.out / ("clang" if variant == "clang" else "gcc")

    def _make(self, stage: int, variant: str) -> str:
        # A program of an earlier build must not be judged when this one fails.
        for role in ("server", "client"):
            (self._directory(variant) / _san(variant) / STAGES[stage] / role).unlink(missing_ok=True)
        return self._run_make(stage, variant, self._directory(variant))

    def _run_make(self, stage: int, variant: str, out: Path) -> str:
        command = ["make", "--no-print-directory", "-s", "-k", "-C", str(KIT), *VARIANTS[variant],
                   f"SRC={self.source}", f"BUILD={out}", f"stage{stage}"]
        if self.base:
            command.append(f"BASE={self.base}")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        try:
            made = subprocess.run(command, capture_output=True, env={**environment, "LC_ALL": "C"},
                                  timeout=TIME_LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return f"error: the compiler was not done after {TIME_LIMIT} s"
        words = made.stderr[:COMPILER_WORDS].decode("utf-8", "replace")
        return words.replace(f"{self.source}/", "")


def _san(variant: str) -> str:
    return next(v.removeprefix("SAN=") for v in VARIANTS[variant] if v.startswith("SAN="))
