"""The decorator that makes a pytest function a check: points, TODO and hints beside the code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .harness.failures import KINDS
from .harness.failures import hints as hints_of_kind

STAGE_POINTS = {1: 15.0, 2: 30.0, 3: 20.0, 4: 35.0}
STAGE_TITLES = {1: "echo", 2: "framing", 3: "threads", 4: "relay"}


@dataclass(frozen=True, slots=True)
class Spec:
    """One check of one stage, as the record and the rubric name it.

    `lesson` is what a right program does and why, `procedure` what the check does and what must come back.
    `slow` marks what takes a second or more by its nature: valgrind, waiting for 5 s, hundreds of clients. `tool` marks
    those of them that keep a processor busy, of which only a few may run at once. `about` are the kinds
    of failures (failures.KINDS) of which the check's own hints speak.
    """

    id: str
    stage: int
    title: str
    lesson: str
    procedure: str
    points: float
    todo: str
    hints: tuple[str, ...]
    needs: str
    slow: bool
    tool: bool
    about: tuple[str, ...] = ()

    def hints_for(self, kind: str) -> list[str]:
        """The hints of a failure of this kind: the check's own, unless the kind has some and the check is not about it."""
        if kind not in KINDS or kind in self.about:
            return list(self.hints)
        return hints_of_kind(kind, self.stage, self.id.split(".")[1])


@dataclass(frozen=True, slots=True)
class _Mark:
    id: str
    points: dict[int, float]
    todo: dict[int, str]
    hints: tuple[str, ...]
    needs: str | None
    slow: bool
    tool: bool
    about: tuple[str, ...]


def check(id: str, *, points: dict[int, float], todo: str | dict[int, str] = "", hints: Sequence[str] = (),
          needs: str | None = None, slow: bool = False, tool: bool = False, about: Sequence[str] = ()) -> Callable:
    """Marks a function `test_...(lab)` as a check.

    `id` is "server.words" or "client.words"; the stage is put in front. `points` says for each
    stage in which the check is made how much it is worth. `needs` is the id (without the stage)
    of the check without which this one cannot be judged; by default the program's basic one.
    The sentence for people is made of the function's name. The first paragraph of its docstring is
    the lesson, what follows the procedure. There are three hints, from a question to nearly the answer.
    They give way to the hints of a failure that may happen in any check, unless it is what the check is `about`.
    """
    todos = todo if isinstance(todo, dict) else dict.fromkeys(points, todo)

    def mark(function: Callable) -> Callable:
        function.check = _Mark(id, points, todos, tuple(hints), needs, slow or tool, tool, tuple(about))  # type: ignore[attr-defined]
        return function

    return mark


def specs(function: Callable) -> list[Spec]:
    """One Spec for each stage in which the marked function is a check."""
    mark = function.check  # type: ignore[attr-defined]
    title = function.__name__.removeprefix("test_").replace("_", " ")
    title = title[0].upper() + title[1:]
    lesson, _, procedure = (inspect.getdoc(function) or "").partition("\n\n")
    program = mark.id.split(".")[0]
    basic = f"{program}.basic"
    needs = mark.needs if mark.needs is not None else ("" if mark.id == basic else basic)
    return [
        Spec(f"stage{stage}.{mark.id}", stage, title, " ".join(lesson.split()), " ".join(procedure.split()), points,
             mark.todo.get(stage, ""), mark.hints, f"stage{stage}.{needs}" if needs else "", mark.slow, mark.tool, mark.about)
        for stage, points in mark.points.items()
    ]
