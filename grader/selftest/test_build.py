"""A program of an earlier build is never judged when the present code does not compile."""

from __future__ import annotations

import shutil
from pathlib import Path

from grader.execution import Choice
from grader.harness.build import KIT
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
