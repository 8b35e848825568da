"""The likely mistake is told when the match is clear, and nothing is told when it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from grader.diagnosis import Signature, best_match, known, leave_one_out, likely_mistake, mistakes, signature
from grader.execution import Choice
from grader.harness.build import KIT
from grader.harness.failures import MISSING
from grader.selftest.corpus import apply, mutant_named, mutants
from grader.report.terminal import most_telling
from grader.session import all_specs, run


def _signature(id: str, mistake: str, *features: str) -> Signature:
    return Signature(id, mistake, 2, frozenset(features), frozenset())


def test_the_same_failures_are_the_same_mistake() -> None:
    signatures = [_signature("a", "one", "x", "y"), _signature("b", "two", "z"), _signature("c", "one", "x", "y", "w")]
    match = best_match(_signature("", "", "x", "y"), signatures)
    assert match is not None and match.mistake == "one" and match.clear


def test_what_two_mistakes_share_tells_nothing() -> None:
    match = best_match(_signature("", "", "x", "y"), [_signature("a", "one", "x", "y"), _signature("b", "two", "x", "y")])
    assert match is not None and not match.clear


def test_what_looks_like_nothing_tells_nothing() -> None:
    match = best_match(_signature("", "", "x"), [_signature("a", "one", "y", "z")])
    assert match is not None and not match.clear


def test_each_mistake_is_explained_and_has_two_mutants() -> None:
    classes = [m.mistake for m in mutants()]
    assert set(classes) == set(mistakes())
    assert [c for c in set(classes) if classes.count(c) < 2] == []
    for words in mistakes().values():
        assert 0 < len(words["says"]) <= 150 and 0 < len(words["look"]) <= 110


def test_the_right_mistake_comes_first_and_a_wrong_one_is_hardly_ever_told() -> None:
    result, n = leave_one_out(known()), len(known())
    assert n == len(mutants()), "run: make matrix"
    assert result["first"] >= 0.8 * n and result["wrong"] <= 0.05 * n, result


def test_a_failing_submission_is_told_its_likely_mistake(tmp_path: Path) -> None:
    mutant = mutant_named("looks_only_in_the_newest_piece")
    record = run(apply(mutant, tmp_path / "work"), tmp_path / "out", Choice(stage=2))
    assert record["likely"] and record["likely"]["mistake"] == mutant.mistake


@pytest.mark.parametrize("verdict", ["passed", "unstable", "not reached", "grader error"])
def test_nothing_is_told_of_a_record_without_failures(verdict: str) -> None:
    checks = [{"id": spec.id, "stage": spec.stage, "verdict": verdict, "cause": "", "pattern": "", "kind": ""} for spec in all_specs()]
    assert likely_mistake({"checks": []}) is None and likely_mistake({"checks": checks}) is None


def test_a_program_that_is_not_there_looks_like_no_mistake(tmp_path: Path) -> None:
    assert run(KIT, tmp_path / "starter", Choice(stage=1, quick=True))["likely"] is None
    source = tmp_path / "work"
    shutil.copytree(KIT / "solutions", source)
    net = source / "stage1_echo" / "net.c"
    net.write_text(net.read_text() + "int missing = ;\n")
    record = run(source, tmp_path / "out", Choice(stage=1, quick=True))
    assert record["likely"] is None and any("does not compile" in c["cause"] for c in record["checks"])


def test_a_file_that_is_missing_is_no_feature_of_a_mistake() -> None:
    check = {"id": "stage2.server.basic", "stage": 2, "verdict": "failed", "cause": "x", "pattern": ""}
    assert signature("", "", 2, [check]).features
    assert not signature("", "", 2, [{**check, "kind": MISSING}]).features


def test_a_mistake_is_recognised_without_the_checks_that_were_left_out() -> None:
    """Half of a mutant's failures, as if the others had not been run, still look like it."""
    pattern = max(known(), key=lambda s: len(s.features))
    ids = sorted({f.partition("|")[0] for f in pattern.features})
    half = frozenset(ids[::2])
    part = Signature("", "", pattern.stage, frozenset(f for f in pattern.features if f.partition("|")[0] in half), frozenset(ids) - half)
    match = best_match(part, known())
    assert match is not None and match.score > 0.999


def test_the_failures_that_tell_most_are_shown_first() -> None:
    bad = [{"id": "a", "cause": "Your server sent 3 bytes."}, {"id": "b", "cause": "Your server sent 4 bytes."},
           {"id": "c", "cause": "Your server ended."}, {"id": "d", "cause": "Your server sent 5 bytes."}]
    assert [c["id"] for c in most_telling(bad, None)] == ["a", "c", "b", "d"]
    assert [c["id"] for c in most_telling(bad, {"found_by": ["d"]})] == ["d", "c", "a", "b"]


def test_a_check_that_is_named_brings_only_what_it_needs(tmp_path: Path) -> None:
    record = run(KIT / "solutions", tmp_path / "out", Choice(only="stage2.server.two_in_one"))
    assert [c["id"] for c in record["checks"]] == ["stage2.server.basic", "stage2.server.two_in_one"]
