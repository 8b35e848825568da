"""Every correct but unusual program keeps all its points."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.execution import Choice
from grader.selftest.corpus import Patch, apply, spread, variants
from grader.session import run


SAMPLE = 10  # of all variants; make matrix grades all of them in all their stages


@pytest.mark.parametrize("variant", spread(variants(), SAMPLE), ids=lambda v: v.id)
def test_a_correct_variant_keeps_all_points(variant: Patch, tmp_path: Path) -> None:
    source = apply(variant, tmp_path / "submission")
    record = run(source, tmp_path / "out", Choice(variant.stages[0]))
    assert [(c["id"], c["cause"]) for c in record["checks"] if c["verdict"] != "passed"] == []
