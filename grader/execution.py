"""One grading run as a pytest plugin: reported in order, executed side by side.

A check mostly waits for a student's program, so a pool of threads executes all checks at
once, while pytest's own loop goes through them in order and takes each result when it is
ready. A check whose need has failed is "not reached". A check that failed is repeated.
Every verdict goes to the record; who asks for a check several times gets one verdict for all.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from .check import Spec
from .harness.build import Build
from .harness.failures import NOT_THERE, REPORTED, State
from .harness.lab import Failed, Lab
from .harness.speed import patience
from .record import COSTS_NOTHING, Outcome, Record

CERTAIN = NOT_THERE | {REPORTED}  # what no repetition would change
WORKERS = 48  # they wait; the work is done by the kernel and the students' programs


@dataclass(frozen=True, slots=True)
class Choice:
    """Which checks are run, and how many `times` each. `only`: all these words are in the id, the title or the TODO number."""

    stage: int | None = None
    only: str = ""
    quick: bool = False
    times: int = 1

    def of(self, specs: list[Spec]) -> set[str]:
        """The ids of what was asked for, and of what that needs."""
        needs = {spec.id: spec.needs for spec in specs}
        ids: set[str] = set()
        for spec in filter(self._takes, specs):
            id = spec.id
            while id in needs and id not in ids:
                ids.add(id)
                id = needs[id]
        return ids

    def _takes(self, spec: Spec) -> bool:
        if self.stage and spec.stage != self.stage:
            return False
        return self.names(spec) if self.only else not (self.quick and spec.slow)

    def names(self, spec: Spec) -> bool:
        """True if `only` is the id of this check, or has only words that name it."""
        if re.fullmatch(r"stage\d\.(server|client)\.\w+", self.only):
            return spec.id == self.only
        return all(word in words_of(spec) for word in self.only.lower().replace("_", " ").split())


def words_of(spec: Spec) -> str:
    """The words by which a check may be named."""
    return f"{spec.id} {spec.title} {spec.todo}".lower().replace("_", " ")


def _spec(item: pytest.Item) -> Spec:
    return item.callspec.params["lab"]  # type: ignore[attr-defined]


def _in_order_of_work(item: pytest.Item) -> tuple:
    """By stage and TODO; what teaches most comes first: plain conversations before injected faults, sizes and tools, and of those of
    one TODO what counts most."""
    spec = _spec(item)
    return spec.stage, not spec.id.endswith(".basic"), spec.slow, "common" in item.path.parts, spec.todo or "9", -spec.points


class Run:
    """One grading run: the pool, the build and the record."""

    def __init__(self, source: Path, out: Path, choice: Choice, base: Path | None, name: str, rerun: str) -> None:
        self.choice, self.out, self.name, self.rerun = choice, out, name, rerun
        self.build = Build(source, out / "build", base)
        self.record = Record(out / "record.json", name)
        self.patience = patience()
        self.items: dict[str, pytest.Item] = {}
        self.futures: dict[str, Future[Outcome]] = {}
        self.processors = threading.Semaphore(os.cpu_count() or 1)
        self.places = threading.Semaphore(WORKERS)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = self.choice.of([_spec(item) for item in items])
        items[:] = sorted((item for item in items if _spec(item).id in chosen), key=_in_order_of_work)
        self.items = {_spec(item).id: item for item in items}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtestloop(self, session: pytest.Session):
        if not self.items:
            yield
            return
        self.record.add([_spec(item) for item in self.items.values()], self.rerun, self.choice.names)
        pool = ThreadPoolExecutor(WORKERS)
        # What others need goes first, then what takes long.
        needed = {self._spec(id).needs for id in self.items}
        order = sorted(self.items, key=lambda id: (not id.endswith(".basic"), id not in needed, self._spec(id).tool, not self._spec(id).slow))
        for id in order:
            self.futures[id] = pool.submit(self._execute, id)
        yield
        pool.shutdown(wait=True, cancel_futures=True)
        self.record.write()

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        outcome = self.futures[_spec(pyfuncitem).id].result()
        if outcome.verdict == "not reached":
            pytest.skip(outcome.cause)
        if outcome.verdict != "passed":
            pytest.fail(f"{outcome.verdict}: {outcome.cause}", pytrace=False)
        return True

    def _spec(self, id: str) -> Spec:
        return _spec(self.items[id])

    def _execute(self, id: str) -> Outcome:
        try:
            outcome = self._decide(self._spec(id))
        except Exception as error:  # whatever it is, it is not the student's fault
            outcome = Outcome("grader error", f"{type(error).__name__}: {error}")
        self.record.set(id, outcome)
        return outcome

    def _decide(self, spec: Spec) -> Outcome:
        if missing := self._missing_need(spec):
            return Outcome("not reached", missing)
        if self.choice.times == 1:
            return self._decide_once(spec)
        with ThreadPoolExecutor(self.choice.times) as pool:
            return _of_all(list(pool.map(lambda _: self._decide_once(spec), range(self.choice.times))))

    def _decide_once(self, spec: Spec) -> Outcome:
        with self.places:
            outcome = self._judge(spec)
            if outcome.verdict == "failed" and outcome.kind not in CERTAIN:
                return self._repeat(spec, outcome)
            return outcome

    def _judge(self, spec: Spec, *, traced: bool = False) -> Outcome:
        """Runs the check once. `traced`: with programs that tell of their calls."""
        start = time.monotonic()
        lab = Lab(spec.stage, self.build, self.patience, logs=str(self.out), traced=traced, processors=self.processors)

        def outcome(verdict: str, cause: str = "", failure: Failed | None = None) -> Outcome:
            state = failure.state if failure else State()
            return Outcome(verdict, cause, failure.difference if failure else None, state.pattern, state.lines,
                           [] if verdict == "passed" else lab.event_records(), time.monotonic() - start, failure.kind if failure else "")

        try:
            self.items[spec.id].obj(lab)  # type: ignore[attr-defined]
            lab.finish()
        except Failed as failure:
            return outcome("failed", failure.cause, failure)
        except pytest.fail.Exception as failure:
            return outcome("failed", str(failure.msg))
        except pytest.skip.Exception as skipped:
            return outcome("not reached", str(skipped.msg))
        except Exception as error:
            return outcome("grader error", f"{type(error).__name__}: {error}")
        else:
            return outcome("passed")
        finally:
            lab.close()

    def _repeat(self, spec: Spec, first: Outcome) -> Outcome:
        """Runs a failed check again, with a program that tells of its calls: they explain the failure.

        That program is linked in another way, and what was never set may have another value there. So if it passes,
        the program that has failed is run once more; only that one can show that it was luck. If it cannot be judged
        again, nobody knows what the first failure was: a doubt is not the student's loss.
        """
        traced = self._judge(spec, traced=True)
        if traced.verdict == "failed" and traced.kind not in NOT_THERE:
            return traced
        again = self._judge(spec)
        if again.verdict not in ("passed", "grader error"):
            return first
        then = "passed when repeated" if again.verdict == "passed" else "could not be judged when repeated"
        return replace(first, verdict="unstable", cause=f"It failed once and {then}. The first time: {first.cause}")

    def _missing_need(self, spec: Spec) -> str:
        need = self.futures.get(spec.needs)
        if need is None or need.result().verdict in COSTS_NOTHING:
            return ""
        return f"Not reached: it needs {spec.needs} (\"{self._spec(spec.needs).title}\")."


def _of_all(outcomes: list[Outcome]) -> Outcome:
    """The outcome of a check that was run several times: unstable if the verdicts differ."""
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    worst = next((outcome for outcome in outcomes if outcome.verdict != "passed"), outcomes[0])
    if len(verdicts) == 1:
        return worst
    words = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.most_common())
    return replace(worst, verdict="unstable", cause=f"Of {len(outcomes)} runs {words}. {worst.cause}")
