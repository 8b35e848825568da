"""Known mistakes: each patch applies, and a spread sample is caught and explained as it should be.

`make matrix` grades all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.diagnosis import mistakes
from grader.execution import Choice
from grader.selftest import golden
from grader.selftest.corpus import Mutant, Patch, apply, mutants, spread, variants
from grader.session import all_specs, run

SAMPLE = 48
IDS = {spec.id for spec in all_specs()}


@pytest.mark.parametrize("patch", [*mutants(), *variants()], ids=lambda patch: patch.id)
def test_a_patch_applies_and_its_head_is_complete(patch: Patch, tmp_path: Path) -> None:
    apply(patch, tmp_path / "work")
    if isinstance(patch, Mutant):
        assert patch.caught_by in IDS and patch.mistake in mistakes() and patch.head["Rows"]
        assert golden.path(patch).is_file(), "run: make matrix"


@pytest.mark.parametrize("mutant", spread(mutants(), SAMPLE), ids=lambda m: m.id)
def test_a_known_mistake_is_caught_by_the_check_that_names_it(mutant: Mutant, tmp_path: Path) -> None:
    source = apply(mutant, tmp_path / "submission")
    record = run(source, tmp_path / "out", Choice(only=mutant.caught_by))
    verdicts = {c["id"]: c["verdict"] for c in record["checks"]}
    assert verdicts[mutant.caught_by] == "failed", verdicts
    assert "grader error" not in verdicts.values()
    text = golden.text(record, mutant.caught_by)
    assert golden.explains(mutant, text) == golden.explains(mutant, golden.path(mutant).read_text(encoding="utf-8")), text


def test_a_patch_that_does_not_apply_any_more_fails_loudly(tmp_path: Path) -> None:
    stale = tmp_path / "stale.patch"
    stale.write_text("Rows: -\n\n--- a/stage1_echo/net.c\n+++ b/stage1_echo/net.c\n@@ -1,1 +1,1 @@\n-no such line\n+another\n")
    with pytest.raises(ValueError, match="no longer applies"):
        apply(Patch(stale), tmp_path / "work")
