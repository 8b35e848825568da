"""Every correct but unusual program keeps all its points."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.__main__ import run
from grader.selftest.mutants import Mutant, apply
from grader.selftest.variants import VARIANTS


@pytest.mark.parametrize(("stage", "variant"), VARIANTS, ids=lambda value: getattr(value, "id", str(value)))
def test_a_correct_variant_keeps_all_points(stage: int, variant: Mutant, tmp_path: Path) -> None:
    record = run(apply(variant, tmp_path / "submission"), tmp_path / "out", stage=stage)
    assert [(c["id"], c["cause"]) for c in record["checks"] if c["verdict"] != "passed"] == []
