"""How pytest runs the checks: reported in order, executed side by side.

A check mostly waits for a student's program, so a pool of threads executes all checks at
once, while pytest's own loop goes through them in order and takes each result when it is
ready. A check whose need has failed is "not reached". A check that failed is repeated once. Every
verdict goes to the record.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from grader.check import Spec, specs
from grader.harness.build import Build
from grader.harness.hang import State
from grader.harness.lab import Failed, Lab
from grader.harness.speed import patience
from grader.record import COSTS_NOTHING, Outcome, Record

# Causes that no repetition would change.
FINAL = ("Not written yet", "Your server does not compile", "Your client does not compile")
WORKERS = 24  # they wait; the work is done by the kernel and the students' programs


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("relaylab")
    group.addoption("--source", help="directory with the stage directories to judge")
    group.addoption("--out", help="directory for the record and the built programs")
    group.addoption("--name", default="", help="the submission's name in the record")
    group.addoption("--base", help="take the earlier stages from this tree")
    group.addoption("--stage", type=int, help="only this stage")
    group.addoption("--only", default="", help="only checks whose id or title has all these words")
    group.addoption("--quick", action="store_true", help="leave out the slow checks")
    group.addoption("--rerun", default="make check ONLY=", help="the command that runs a check again, without its id")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if hasattr(metafunc.function, "check"):
        found = specs(metafunc.function)
        metafunc.parametrize("lab", found, ids=[spec.id for spec in found])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.option.source:
        return
    chosen = [item for item in items if _chosen(config, item.callspec.params["lab"])]  # type: ignore[attr-defined]
    chosen.sort(key=_in_order_of_work)
    items[:] = chosen
    if chosen:
        config.pluginmanager.register(Run(config, chosen), "relaylab-run")


def _in_order_of_work(item: pytest.Item) -> tuple:
    """By stage and TODO, what is special to the stage before what all stages share."""
    spec: Spec = item.callspec.params["lab"]  # type: ignore[attr-defined]
    return spec.stage, not spec.id.endswith(".basic"), spec.todo or "9", "common" in item.path.parts


def _chosen(config: pytest.Config, spec: Spec) -> bool:
    option = config.option
    text = f"{spec.id} {spec.title} {spec.todo}".lower()
    basic = spec.id.endswith(".basic")  # the others need it, whatever is asked for
    if option.stage and spec.stage != option.stage:
        return False
    words = option.only.lower().replace("_", " ").split()
    if words:
        return all(w in text.replace("_", " ") for w in words) or (basic and _stage_named(words, spec))
    return not (option.quick and spec.slow)


def _stage_named(words: list[str], spec: Spec) -> bool:
    named = [w for w in words if w.startswith("stage")]
    return not named or any(w.startswith(f"stage{spec.stage}") for w in named)


class Run:
    """One grading run: the pool, the build and the record."""

    def __init__(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        option = config.option
        self.items = {item.callspec.params["lab"].id: item for item in items}  # type: ignore[attr-defined]
        self.out = Path(option.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.build = Build(Path(option.source), self.out / "build", Path(option.base) if option.base else None)
        self.record = Record(self.out / "record.json", option.name or option.source)
        self.record.add([item.callspec.params["lab"] for item in items], option.rerun)  # type: ignore[attr-defined]
        self.patience = patience()
        self.futures: dict[str, Future[Outcome]] = {}
        self.tools = threading.Semaphore(os.cpu_count() or 1)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtestloop(self, session: pytest.Session):
        pool = ThreadPoolExecutor(WORKERS)
        # What others need goes first, then what takes long.
        order = sorted(self.items, key=lambda id: (not id.endswith(".basic"), self._spec(id).tool, not self._spec(id).slow))
        for id in order:
            self.futures[id] = pool.submit(self._execute, id)
        yield
        pool.shutdown(wait=True, cancel_futures=True)
        self.record.write()

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        outcome = self.futures[pyfuncitem.callspec.params["lab"].id].result()
        if outcome.verdict == "not reached":
            pytest.skip(outcome.cause)
        if outcome.verdict != "passed":
            pytest.fail(f"{outcome.verdict}: {outcome.cause}", pytrace=False)
        return True

    def _spec(self, id: str) -> Spec:
        return self.items[id].callspec.params["lab"]  # type: ignore[attr-defined]

    def _execute(self, id: str) -> Outcome:
        spec = self._spec(id)
        if missing := self._missing_need(spec):
            outcome = Outcome("not reached", missing)
        else:
            outcome = self._judge(spec)
            if outcome.verdict == "failed" and not spec.tool and not outcome.cause.startswith(FINAL):
                outcome = self._repeat(spec, outcome)
        self.record.set(id, outcome)
        return outcome

    def _judge(self, spec: Spec, *, traced: bool = False) -> Outcome:
        """Runs the check once. `traced`: with programs that tell of their calls."""
        start = time.monotonic()
        lab = Lab(spec.stage, self.build, self.patience, logs=str(self.out), traced=traced)

        def outcome(verdict: str, cause: str = "", failure: Failed | None = None) -> Outcome:
            state = failure.state if failure else State()
            return Outcome(verdict, cause, failure.difference if failure else None, state.pattern, state.lines,
                           [] if verdict == "passed" else lab.event_records(), time.monotonic() - start)

        try:
            with self.tools if spec.tool else nullcontext():
                lab.started = start = time.monotonic()
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
        """Runs a failed check once more: its calls explain the failure, and luck shows itself."""
        again = self._judge(spec, traced=True)
        if again.verdict == "passed":
            return replace(first, verdict="unstable", cause=f"It failed once and passed when repeated. The first time: {first.cause}")
        return again if again.verdict == "failed" and not again.cause.startswith(FINAL) else first

    def _missing_need(self, spec: Spec) -> str:
        need = self.futures.get(spec.needs)
        if need is None or need.result().verdict in COSTS_NOTHING:
            return ""
        return f"Not reached: it needs \"{self._spec(spec.needs).title}\" ({spec.needs})."


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        print(report.longreprtext, file=sys.stderr)
