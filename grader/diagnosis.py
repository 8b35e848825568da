"""Which known mistake does a pattern of failures look like?

`make matrix` grades every mutant and keeps in matrix.json which checks failed and why: the
signature of its mistake. A submission's first stage with failures is compared with the signatures
of that stage. What two patterns have in common counts the more, the fewer mutants have it
(inverse document frequency). Only a clear match is told; otherwise nothing is.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from .harness.failures import NOT_THERE

HERE = Path(__file__).parent
MATRIX = HERE / "matrix.json"
# A match is told if it is at least this good, and this much better than the best other mistake.
# `make matrix` prints how often it is then right, each mutant left out of the comparison in turn.
GOOD, BETTER = 0.35, 0.15
SURE = 0.6  # then about one in thirty is wrong

_END = re.compile(r"^(Your \w+ (?:ended by itself with exit status \d+|was ended by \w+)).*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a mutant of a mistake looks like in its stage: the features of its failures, and what was not judged."""

    id: str
    mistake: str
    stage: int
    features: frozenset[str]
    unjudged: frozenset[str]


@dataclass(frozen=True, slots=True)
class Match:
    """How much a pattern looks like a mistake, 0 to 1, and how much more than like the next one."""

    mistake: str
    score: float
    lead: float

    @property
    def clear(self) -> bool:
        """True if it fits well, and far better than the next one."""
        return self.score >= GOOD and self.lead >= BETTER


@cache
def mistakes() -> dict[str, dict[str, str]]:
    """What is said of each class of mistakes: `says` and `look`."""
    return {key: words for path in sorted((HERE / "mistakes").glob("*.toml"))
            for key, words in tomllib.loads(path.read_text(encoding="utf-8")).items()}


def likely_mistake(record: dict) -> dict | None:
    """The mistake that the record's failures clearly look like, with what is said of it; or None.

    `sure` tells how clear it is, `found_by` names the checks that find this mistake.
    """
    stage = next((c["stage"] for c in record["checks"] if _tells(c)), None)
    if stage is None:
        return None
    pattern = signature("", "", stage, record["checks"])
    left_out = {f.partition("|")[0] for s in known() for f in s.features} - {c["id"] for c in record["checks"]}
    match = best_match(replace(pattern, unjudged=pattern.unjudged | left_out), known())
    if match is None or not match.clear or match.mistake not in mistakes():
        return None
    found_by = sorted({row["caught_by"] for row in _matrix().values() if row["mistake"] == match.mistake and row["stage"] == stage})
    return {"mistake": match.mistake, "score": round(match.score, 2), "sure": match.score >= SURE, "found_by": found_by,
            **mistakes()[match.mistake]}


def _tells(check: dict) -> bool:
    return check["verdict"] == "failed" and check.get("kind") not in NOT_THERE


def signature(id: str, mistake: str, stage: int, checks: Iterable[dict]) -> Signature:
    """Makes a signature of the checks of one stage, as they stand in a record."""
    features, unjudged = set(), set()
    for check in checks:
        if check["stage"] != stage:
            continue
        if _tells(check):
            features |= {check["id"], f"{check['id']}|{kind_of(check['cause'])}", f"{check['id']}|{kind_of(check['pattern'])}"}
        elif check["verdict"] != "passed":
            unjudged.add(check["id"])
    return Signature(id, mistake, stage, frozenset(features), frozenset(unjudged))


def kind_of(cause: str) -> str:
    """A cause without what differs between two students: quoted bytes, numbers, names of functions and lines.

    Of a program that ended the rest is left out: what others saw of its end depends on when they looked.
    """
    words = re.sub(r'"(?:[^"\\]|\\.)*"', '"', _END.sub(r"\1", cause))
    words = re.sub(r"\S+\(\) at \S+", "a function", words)
    words = re.sub(r"\d+(\.\d+)?", "#", as_closed(words).replace("nothing more", "nothing"))
    return re.sub(r"\b(byte|descriptor|thread)\b", r"\1s", words)


def as_closed(words: str) -> str:
    """The same words with each reset as a close: which of the two is seen depends on bytes that had arrived before."""
    return words.replace("reset the connection", "closed the connection")


@cache
def known() -> tuple[Signature, ...]:
    """The signatures of all mutants."""
    return tuple(signature(id, row["mistake"], row["stage"], row["checks"]) for id, row in _matrix().items())


@cache
def _matrix() -> dict[str, dict]:
    """The mutants in the matrix, if there is one."""
    return json.loads(MATRIX.read_text(encoding="utf-8"))["mutants"] if MATRIX.is_file() else {}


def best_match(pattern: Signature, signatures: Iterable[Signature]) -> Match | None:
    """The mistake whose most similar signature is the most similar of all."""
    comparable = [s for s in signatures if s.stage == pattern.stage and s.id != pattern.id]
    weights = _weights(comparable)
    scores: dict[str, float] = {}
    for other in comparable:
        scores[other.mistake] = max(scores.get(other.mistake, 0.0), _similarity(pattern, other, weights))
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    if not ranked:
        return None
    return Match(ranked[0][0], ranked[0][1], ranked[0][1] - (ranked[1][1] if len(ranked) > 1 else 0.0))


def _weights(signatures: list[Signature]) -> dict[str, float]:
    count = Counter(feature for s in signatures for feature in s.features)
    return {feature: math.log(1 + len(signatures) / n) for feature, n in count.items()}


def _similarity(one: Signature, other: Signature, weights: dict[str, float]) -> float:
    """Weighted Jaccard index over the checks that were judged in both."""
    unjudged = one.unjudged | other.unjudged
    rare = math.log(1 + len(weights))

    def weight(features: frozenset[str]) -> float:
        return math.fsum(weights.get(f, rare) for f in features if f.partition("|")[0] not in unjudged)  # the same in any order

    either = weight(one.features | other.features)
    return weight(one.features & other.features) / either if either else 0.0


def leave_one_out(signatures: Iterable[Signature]) -> Counter[str]:
    """Matches each signature against all others: how often `right`, `wrong` or `silent`.

    `first` counts where the right mistake was the best match, told or not; `alone` the mistakes with a
    single mutant, which cannot be right.
    """
    signatures = list(signatures)
    result: Counter[str] = Counter()
    for left_out in signatures:
        match = best_match(left_out, signatures)
        same = [s for s in signatures if s.mistake == left_out.mistake and s.stage == left_out.stage]
        result["alone"] += len(same) == 1
        result["first"] += match is not None and match.mistake == left_out.mistake
        if match is None or not match.clear:
            result["silent"] += 1
        else:
            result["right" if match.mistake == left_out.mistake else "wrong"] += 1
    return result
