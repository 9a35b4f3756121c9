"""``gatewise.check``: hold a layer from Python, in this process."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arithmetic import chosen_dtypes
from .checks import check_named, subject_checks
from .checks.smoke import SMOKE
from .checks.subject_check import SubjectCheck
from .runner import BUDGETS, blank
from .subjects import adapted, subject_named
from .subjects.protocol import Subject
from .tasks import Named, Task, answer
from .verdict import WRONG, Verdict

FINE = ("passed", "not supported")


@dataclass(frozen=True, repr=False)
class Outcome:
    """All verdicts on one subject; true if something passed, and nothing is wrong or open."""

    verdicts: tuple[Verdict, ...]

    def __bool__(self) -> bool:
        statuses = {v.status for v in self.verdicts}
        return "passed" in statuses and statuses <= set(FINE)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    @property
    def wrong(self) -> tuple[Verdict, ...]:
        """The verdicts by which the subject does not conform."""
        return tuple(v for v in self.verdicts if v.status in WRONG)

    def __str__(self) -> str:
        told: dict[str, Verdict] = {}  # a layer that does not run says so once
        for v in self.verdicts:
            if v.status not in FINE:
                key = v.status if v.status == "not tested" else f"{v.check} {v.dtype}: {v.status}"
                told.setdefault(key, v)
        lines = [f"{key}: {v.message}" for key, v in told.items()]
        passed = sum(v.status == "passed" for v in self.verdicts)
        return "\n".join(lines) or f"{passed} of {len(self.verdicts)} checks passed, none failed"

    __repr__ = __str__  # pytest shows the repr of what an assert was about


def check(
    subject: Any,
    *,
    like: str | None = None,
    checks: Sequence[str] = (),
    dtype: str | None = None,
    budget: str = "standard",
    seed: int = 0,
) -> Outcome:
    """Hold a layer to the checks, in this process: what it does to the process, it does to you.

    ``subject`` is a class or object (with ``like`` one with the constructor, parameters and call
    of ``torch.nn.LSTM``, ``GRU`` or ``RNN``; else one with ``cell`` and ``forward``), an adapter,
    or a name. Raises ValueError for what is none of these.
    """
    if budget not in BUDGETS:
        raise ValueError(f"budget {budget!r}: expected one of {', '.join(BUDGETS)}")
    checks = checks.split(",") if isinstance(checks, str) else checks
    found = find(subject, like)
    named = Named(found.name, like)
    chosen = [check_named(name) for name in checks] or list(subject_checks())
    dtypes = chosen_dtypes(found.dtypes, dtype)
    verdicts = [v for d in dtypes for v in _hold_all(found, named, chosen, d, budget, seed)]
    return Outcome(tuple(verdicts))


def find(subject: Any, like: str | None = None) -> Subject:
    """Return the subject that a name, class or object stands for."""
    if isinstance(subject, str):
        return subject_named(subject, like)
    return adapted(subject, _name(subject), like)


def _name(subject: Any) -> str:
    """Return the name by which a command finds a class again, or else what is at hand."""
    name: str = getattr(subject, "__qualname__", type(subject).__qualname__)
    try:
        file = Path(inspect.getsourcefile(subject) or "")
    except TypeError:  # an instance, or made by no file
        return name
    if not file.is_file() or "<locals>" in name:
        return name
    here = Path.cwd()
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{name}"


def _hold_all(
    subject: Subject,
    named: Named,
    chosen: Sequence[SubjectCheck],
    dtype: str,
    budget: str,
    seed: int,
) -> Iterator[Verdict]:
    runs = True
    for one in chosen:
        if not one.concerns(subject):
            continue
        if not runs:
            verdict = blank(subject, one, dtype, seed)
            verdict.status, verdict.message = "not tested", "the layer does not run"
            yield verdict
            continue
        task = Task(named, one.id, dtype, budget, seed)
        verdict = answer(task, subject, lambda case: None)
        runs = one.id != SMOKE or verdict.status != "not tested"
        yield verdict
