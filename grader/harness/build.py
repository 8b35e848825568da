"""Builds a submission with the kit's own Makefile, once for each variant a check asks for."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from . import instrument
from .failures import COMPILE, MISSING, STAGES, Failed

KIT = Path(__file__).resolve().parents[2]
SOLUTIONS = KIT / "solutions"
# A variant is a set of make variables and the directory below `out` in which it is built.
# "dirty" gives fresh local variables a pattern instead of what luck has left there, which is often zero.
VARIANTS = {
    "plain": ("gcc", ("SAN=plain", "CC=gcc")),
    "asan": ("gcc", ("SAN=asan", "CC=gcc")),
    "tsan": ("gcc", ("SAN=tsan", "CC=gcc")),
    "dirty": ("dirty", ("SAN=plain", "CC=gcc", "CFLAGS=-ftrivial-auto-var-init=pattern")),
}
COMPILER_WORDS = 20_000  # bytes of a compiler's messages that are kept
TIME_LIMIT = 120  # seconds for one make


@dataclass(slots=True)
class Build:
    """The built programs of one submission. `source` holds its stage directories."""

    source: Path
    out: Path
    base: Path | None = None
    _done: dict[tuple[str, int, bool], str] = field(default_factory=dict)
    _reference: "Build | None" = None
    _renewed: set[Path] = field(default_factory=set)
    _locks: dict[str, threading.Lock] = field(
        default_factory=lambda: {name: threading.Lock() for name in VARIANTS})

    def program(self, stage: int, role: str, variant: str = "plain", *, wrapped: bool = False) -> Path:
        """The built program, with the instrument if `wrapped`.

        A check fails with the compiler's words if there is none.
        """
        if role == "client" and stage == 3:
            stage = 2  # stage 3's client is stage 2's
        if not (self.source / STAGES[stage] / f"{role}.c").is_file():
            raise Failed(f"{STAGES[stage]}/{role}.c is missing from the submission.", kind=MISSING)
        words = self._words(stage, variant, wrapped)
        path = self._programs(stage, variant) / (f"{role}.wrapped" if wrapped else role)
        if not path.is_file():
            self._require_a_machine_that_compiles(stage, role, variant, wrapped)
            first = next((line for line in words.splitlines() if "error" in line.lower()
                          or "undefined" in line), words.strip() or "no message")
            raise Failed(f"Your {role} does not compile: {first}", kind=COMPILE)
        return path

    def _require_a_machine_that_compiles(self, stage: int, role: str, variant: str, wrapped: bool) -> None:
        """Where the kit's own solution cannot be built either, a full disk perhaps, the submission is not to blame.

        Raises RuntimeError then, which is the grader's error and not the check's.
        """
        if self.source == SOLUTIONS:
            return
        with self._locks["plain"]:
            self._reference = self._reference or Build(SOLUTIONS, self.out / "reference")
        try:
            self._reference.program(stage, role, variant, wrapped=wrapped)
        except Failed as failure:
            raise RuntimeError(f"the kit's own solution cannot be built here either: {failure.cause}") from failure

    def _words(self, stage: int, variant: str, wrapped: bool) -> str:
        # Most checks want both plain programs, and one make is faster than two.
        wrapped = wrapped or variant == "plain"
        with self._locks[variant]:
            key = (variant, stage, wrapped)
            if key not in self._done:
                self._done[key] = self._make(stage, variant, wrapped)
            return self._done[key]

    def _programs(self, stage: int, variant: str) -> Path:
        directory, variables = VARIANTS[variant]
        san = next(v.removeprefix("SAN=") for v in variables if v.startswith("SAN="))
        return self.out / directory / san / STAGES[stage]

    def _make(self, stage: int, variant: str, wrapped: bool) -> str:
        self._remove_old(self._programs(stage, variant))
        options = []
        if wrapped:
            options = [f"WRAP={instrument.compile_object(self.out / 'instrument.o')}", f"WRAPFLAGS={instrument.LINK_FLAGS}"]
        return self._run_make(stage, variant, self.out / VARIANTS[variant][0], *options)

    def _remove_old(self, programs: Path) -> None:
        """A program of an earlier build must not be judged when this one fails. One of this build may be running already."""
        if programs not in self._renewed:
            self._renewed.add(programs)
            for name in ("server", "client", "server.wrapped", "client.wrapped"):
                (programs / name).unlink(missing_ok=True)

    def _run_make(self, stage: int, variant: str, out: Path, *options: str) -> str:
        command = ["make", "--no-print-directory", "-s", "-k", "-C", str(KIT), *VARIANTS[variant][1], *options,
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
