"""Every known mistake is caught by the check that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.execution import Choice
from grader.selftest.corpus import Mutant, apply, mutants
from grader.session import run


@pytest.mark.parametrize("mutant", mutants(), ids=lambda m: m.id)
def test_a_known_mistake_is_caught_by_the_check_that_names_it(mutant: Mutant, tmp_path: Path) -> None:
    source = apply(mutant, tmp_path / "submission")
    record = run(source, tmp_path / "out", Choice(only=mutant.caught_by))
    verdicts = {c["id"]: c["verdict"] for c in record["checks"]}
    assert verdicts[mutant.caught_by] == "failed", verdicts
    assert not [c for c in record["checks"] if c["verdict"] == "grader error"]
