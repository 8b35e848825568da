"""What gcc and clang warn of in a submission: advice, because the contract does not forbid warnings."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .harness.build import KIT, STAGES
from .harness.wire import printable

FLAGS = ("-std=gnu17", "-pthread", "-O1", "-fsyntax-only", "-Wall", "-Wextra", "-Wformat-security", "-Wno-unused-parameter",
         "-fno-diagnostics-color")
MOST = 5  # of one submission
TIME_LIMIT = 20  # seconds for the files of one stage
_WARNING = re.compile(r"^([\w./-]+?\.[ch]):(\d+):\d+: warning: (.*)$", re.M)


def compiler_warnings(source: Path, stages: Iterable[int]) -> list[dict]:
    """The first warnings in these stages, in the form of `advice`; what two compilers say of one line is said once."""
    found: dict[tuple[str, str], dict] = {}
    for compiler in ("gcc", "clang"):
        for number in stages:
            for file, line, words in _warnings(compiler, source, STAGES[number]):
                text = f"{compiler} warns: {words}"
                found.setdefault((file, line), {"file": file, "line": int(line), "row": "-", "text": printable(text)})
    return list(found.values())[:MOST]


def _warnings(compiler: str, source: Path, stage: str) -> list[tuple[str, str, str]]:
    files = [str(path.relative_to(source)) for path in sorted((source / stage).glob("*.c"))]
    if not files or not shutil.which(compiler):
        return []
    includes = [f"-I{tree / name}" for tree in (KIT, source) for name in STAGES.values()]
    try:
        made = subprocess.run([compiler, *FLAGS, *includes, *files], cwd=source, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIME_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return []
    return _WARNING.findall(made.stderr.decode("utf-8", "replace"))
