"""A verification run: what to hold against what, and each verdict on disk before the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import run_files
from .cases import Case
from .checks import subject_checks
from .checks.subject_check import SubjectCheck
from .run_files import Planned
from .runner import BUDGETS, Verdict, hold
from .subjects import subject_named
from .subjects.protocol import Subject


@dataclass(frozen=True)
class Request:
    """Subjects, checks and dtypes to combine, and how hard to try."""

    subjects: tuple[Subject, ...]
    checks: tuple[SubjectCheck, ...]
    dtype: str | None
    budget: str
    seed: int
    case: Case | None

    @classmethod
    def parse(
        cls,
        names: Sequence[str],
        *,
        checks: Sequence[str] = (),
        dtype: str | None = None,
        budget: str = "standard",
        seed: int = 0,
        case: str | None = None,
    ) -> Request:
        """Look everything up; a ValueError names what is not there and what is."""
        given = Case.from_json(case) if case is not None else None
        if given and dtype not in (None, given.dtype):
            raise ValueError(f"case: its dtype is {given.dtype}, but {dtype} was asked for")
        known = {check.id: check for check in subject_checks()}
        for name in checks:
            if name not in known:
                raise ValueError(f"check {name!r} is not known; there are {', '.join(known)}")
        chosen = tuple(known[name] for name in checks) or tuple(known.values())
        subjects = tuple(subject_named(name) for name in dict.fromkeys(names))
        if given:
            _check_case(given, subjects, chosen)
        return cls(subjects, chosen, given.dtype if given else dtype, budget, seed, given)

    @property
    def planned(self) -> list[tuple[Subject, SubjectCheck, str]]:
        """Every combination that will be run."""
        return [
            (subject, check, dtype)
            for subject in self.subjects
            for check in self.checks
            for dtype in subject.dtypes
            if self.dtype in (None, dtype)
        ]


def _check_case(
    case: Case, subjects: tuple[Subject, ...], checks: tuple[SubjectCheck, ...]
) -> None:
    for subject in subjects:
        if lacking := subject.options.lacking(case):
            raise ValueError(f"case: {subject.name} does not offer {', '.join(lacking)}")
    for check in checks:
        if reason := check.refuses(case):
            raise ValueError(f"case: check {check.id}: {reason}; name another with --check")


def run(
    request: Request,
    folder: Path,
    *,
    command: str,
    on_verdict: Callable[[str], None] = lambda name: None,
) -> Iterator[Verdict]:
    """Yield one verdict after another; each is in ``folder`` before it is yielded."""
    planned = [Planned(s.name, c.id, dtype) for s, c, dtype in request.planned]
    run_files.start(
        folder, command=command, seed=request.seed, budget=request.budget, planned=planned
    )
    for subject, check, dtype in request.planned:
        verdict = hold(
            subject,
            check,
            dtype,
            examples=BUDGETS[request.budget],
            seed_value=request.seed,
            case=request.case,
        )
        run_files.append(folder, verdict)
        on_verdict(f"{subject.name} {check.id} {dtype}")
        yield verdict
