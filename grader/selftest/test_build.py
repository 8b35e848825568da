"""Which program is judged: never one of an earlier build, and it stays in its place while it may be running."""

from __future__ import annotations

import shutil
from pathlib import Path

from grader.execution import Choice
from grader.harness.build import KIT, Build
from grader.session import run


def test_code_that_no_longer_compiles_is_not_judged_by_its_old_program(tmp_path: Path) -> None:
    source, out = tmp_path / "work", tmp_path / "out"
    shutil.copytree(KIT / "solutions", source)
    assert run(source, out, Choice(only="stage1.server.basic"))["score"] > 0
    server = source / "stage1_echo" / "server.c"
    server.write_text(server.read_text() + "garbage here\n")
    record = run(source, out, Choice(only="stage1.server.basic"))
    basic = next(c for c in record["checks"] if c["id"] == "stage1.server.basic")
    assert basic["verdict"] == "failed" and "does not compile" in basic["cause"]


def test_a_program_stays_where_it_is_when_the_one_with_the_instrument_is_built(tmp_path: Path) -> None:
    build = Build(KIT / "solutions", tmp_path)
    program = build.program(1, "server", "asan")
    before = program.stat().st_ino
    assert build.program(1, "server", "asan", wrapped=True) != program
    assert program.stat().st_ino == before
