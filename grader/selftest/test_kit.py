"""The kit agrees with itself: starters, solutions, points, texts."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from grader.check import STAGE_POINTS
from grader.harness.build import KIT, STAGES
from grader.session import all_specs, run
from grader.texts import generated

MAX_HINT = 150  # characters
SPECS = all_specs()
C_FILES = sorted(str(p.relative_to(KIT)) for d in (*STAGES.values(), "solutions/*", "grader/harness/instrument") for p in KIT.glob(f"{d}/*.[ch]"))
# What a student hands in; extra .c and .h files may stand beside these.
FILES = {
    1: ("net.c", "server.c", "client.c"),
    2: ("framing.c", "server.c", "client.c"),
    3: ("server.c",),
    4: ("names.c", "outbox.c", "server.c", "client.c"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_the_points_of_a_stage_have_the_sum_that_the_course_is_told(stage: int) -> None:
    assert sum(s.points for s in SPECS if s.stage == stage) == STAGE_POINTS[stage]


@pytest.mark.parametrize("stage", STAGES)
def test_the_README_shows_as_many_checks_as_there_are(stage: int) -> None:
    number = sum(s.stage == stage for s in SPECS)
    assert re.search(rf"^    stage {stage} .* {STAGE_POINTS[stage]:g} of {STAGE_POINTS[stage]:g} points +{number} passed$",
                     (KIT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_no_two_checks_have_the_same_id() -> None:
    ids = [s.id for s in SPECS]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.id)
def test_a_check_teaches(spec) -> None:
    """It has a lesson, says what it does, has three hints and points, and its need exists."""
    assert spec.lesson and spec.procedure and spec.points > 0
    assert len(spec.hints) == 3
    assert [hint for hint in spec.hints if len(hint) > MAX_HINT] == []
    assert not spec.needs or spec.needs in {s.id for s in SPECS}


@pytest.mark.parametrize("stage", STAGES)
def test_both_trees_have_the_files_that_students_write(stage: int) -> None:
    name = STAGES[stage]
    for tree in (KIT, KIT / "solutions"):
        assert sorted(p.name for p in (tree / name).glob("*.c")) == sorted(FILES[stage])
    assert not list((KIT / "solutions").glob("**/*.h"))


@pytest.mark.parametrize("stage", STAGES)
def test_starters_have_todos_and_solutions_have_none(stage: int) -> None:
    for name in FILES[stage]:
        assert f"TODO {stage}." in (KIT / STAGES[stage] / name).read_text(), name
        assert "TODO" not in (KIT / "solutions" / STAGES[stage] / name).read_text(), name


@pytest.mark.parametrize("stage", STAGES)
def test_a_todo_that_a_check_names_is_in_the_starter_and_in_the_handout(stage: int) -> None:
    starter = "".join((KIT / STAGES[stage] / name).read_text() for name in FILES[stage])
    handout = (KIT / "handouts" / f"stage{stage}.md").read_text()
    for todo in {s.todo for s in SPECS if s.stage == stage and s.todo}:
        # The client of stage 3 is that of stage 2, so a number may belong to an earlier stage.
        assert f"TODO {todo}" in starter, todo
        assert todo in handout, todo


def test_what_is_made_of_the_checks_is_up_to_date() -> None:
    for path, text in generated().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is old, run: make texts"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("tree", [".", "solutions"])
def test_everything_compiles_without_a_warning(tree: str, compiler: str, tmp_path: Path) -> None:
    made = subprocess.run(["make", "-s", "-C", str(KIT), f"SRC={tree}", f"CC={compiler}", "WERROR=1",
                           "CFLAGS=-O2 -Wformat-security", f"BUILD={tmp_path}"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def test_the_code_is_formatted() -> None:
    made = subprocess.run(["clang-format", "--dry-run", "--Werror", *C_FILES], cwd=KIT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def test_the_reference_gets_all_points(tmp_path: Path) -> None:
    record = run(KIT / "solutions", tmp_path)
    assert [c for c in record["checks"] if c["verdict"] != "passed"] == []
    assert (record["score"], record["max_score"]) == (100, 100)


def test_the_starters_get_no_point_and_are_told_that_they_are_not_written(tmp_path: Path) -> None:
    record = run(KIT, tmp_path)
    assert record["score"] == 0
    for entry in record["checks"]:
        assert entry["verdict"] in ("failed", "not reached"), entry
        if entry["verdict"] == "failed":
            assert entry["cause"].startswith("Not written yet"), entry


def test_make_help_names_every_target() -> None:
    text = (KIT / "Makefile").read_text()
    help_text = subprocess.run(["make", "-s", "-C", str(KIT), "help"], capture_output=True, text=True).stdout
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", text, re.M) for name in line.split()}
    for name in phony - {"all", "always", "stage1", "stage2", "stage3", "stage4"}:
        assert f"make {name}" in help_text, name
