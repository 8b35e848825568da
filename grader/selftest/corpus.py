"""Programs that the grader is tested with, most of them patch files on the solutions.

mutants/stageN/NAME.patch is a known mistake in stage N: its head says which rows of the catalogue of
mistakes it stands for (`Rows:`), which class of mistakes/*.toml it belongs to (`Mistake:`) and which
check must fail because of it (`Caught-by:`). variants/NAME.patch is a correct but unusual program, and so is the
directory variants/NAME, which was written without the solutions. A patch fails loudly when it no longer applies.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from grader.harness.build import KIT, STAGES

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Patch:
    """One patch file, or a directory with a whole submission; `id` is its name, `head` the lines before the first `---`."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.stem

    @property
    def place(self) -> str:
        """Where it lies: "variants/NAME", or "mutants/stage1/NAME" for a mutant."""
        return str(self.path.relative_to(HERE).with_suffix(""))

    @cached_property
    def head(self) -> dict[str, str]:
        if self.path.is_dir():
            return {}
        lines = self.path.read_text(encoding="utf-8").partition("\n--- ")[0].splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines) if key}

    @cached_property
    def files(self) -> list[str]:
        """The files that are changed, "stage1_echo/net.c"."""
        if self.path.is_dir():
            return [str(path.relative_to(self.path)) for path in self.path.rglob("*.[ch]")]
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return [line[6:] for line in lines if line.startswith("+++ b/")]

    @property
    def stages(self) -> list[int]:
        """The stages whose programs it changes: they stand on the earlier stages' files, except their server.c and client.c."""
        changed = set()
        for number, name in STAGES.items():
            files = {Path(f).name for f in self.files if f.startswith(f"{name}/")}
            if files:
                changed.add(number)
            if number == 2 and "client.c" in files:
                changed.add(3)  # whose client it is, too
            if files - {"server.c", "client.c"}:
                changed |= {later for later in STAGES if later > number}
        return sorted(changed)


@dataclass(frozen=True)
class Mutant(Patch):
    """A known mistake."""

    @property
    def stage(self) -> int:
        return int(self.path.parent.name.removeprefix("stage"))

    @property
    def rows(self) -> list[str]:
        return [row for row in self.head["Rows"].split() if row != "-"]

    @property
    def mistake(self) -> str:
        return self.head["Mistake"]

    @property
    def caught_by(self) -> str:
        return self.head["Caught-by"]


def mutants() -> list[Mutant]:
    """All known mistakes, by stage and name."""
    return [Mutant(path) for path in sorted(HERE.glob("mutants/stage*/*.patch"))]


def mutant_named(name: str) -> Mutant:
    """The known mistake whose id is `name`."""
    return next(mutant for mutant in mutants() if mutant.id == name)


def variants() -> list[Patch]:
    """All correct but unusual programs, by name."""
    return [Patch(path) for path in sorted(HERE.glob("variants/*"))]


def apply(patch: Patch, target: Path) -> Path:
    """Writes the solutions with the patch to `target`, which must not exist; returns it. Raises ValueError."""
    if patch.path.is_dir():
        return Path(shutil.copytree(patch.path, target))
    shutil.copytree(KIT / "solutions", target)
    made = subprocess.run(["patch", "--strip=1", "--fuzz=0", "--no-backup-if-mismatch", "--reject-file=-",
                           "--silent", "--directory", str(target), "--input", str(patch.path)],
                          capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise ValueError(f"{patch.path.name} no longer applies: {made.stdout.strip()}{made.stderr.strip()}")
    return target


def spread(patches: list, count: int) -> list:
    """So many of the patches, at equal distances: a fixed sample."""
    return [patches[(2 * i + 1) * len(patches) // (2 * count)] for i in range(min(count, len(patches)))]
