"""Checks become verdicts: Hypothesis draws and shrinks the cases, and the first failure is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .cases import Case
from .check import Ledger, Mismatch
from .checks.subject_check import SubjectCheck
from .drawing import aim, for_all
from .oracle import SubjectCrashed
from .scope import possible, touched
from .subjects.protocol import Subject, SubjectUnavailable

BUDGETS = {"quick": 12, "standard": 40, "thorough": 300}
"""Cases drawn for each check and dtype."""


STATUSES = ("passed", "failed", "crashed", "blind", "not tested")
"""What a verdict can be; only the first says that a check holds."""


@dataclass
class Verdict:
    """What became of one check of one subject in one dtype.

    ``status``: ``passed``, ``failed``, ``crashed`` (the subject raised), ``blind`` (no case had a
    bound that means something), ``not tested`` (the subject is not installed). ``worst_ratio`` is
    the largest error in units of its bound over all cases; ``equations`` are those that the drawn
    cases touched, or, where none was drawn, those that they might have.
    """

    subject: str
    cell: str
    check: str
    statement: str
    equations: list[str]
    dtype: str
    seed: int
    status: str = "passed"
    cases: int = 0
    blind_cases: int = 0
    worst_ratio: float | None = None
    worst: str = ""
    message: str = ""
    case: str = ""
    reproduce: str = ""
    seconds: float = 0.0
    version: str = ""


@dataclass
class _Tally:
    cases: int = 0
    blind: int = 0
    worst_ratio: float | None = None
    worst: str = ""
    failing: Case | None = None
    touched: dict[str, None] = field(default_factory=dict)


def hold(
    subject: Subject,
    check: SubjectCheck,
    dtype: str,
    *,
    examples: int,
    seed_value: int = 0,
    case: Case | None = None,
) -> Verdict:
    """Hold a subject to one check in one dtype, on drawn cases or on the one given."""
    started = time.perf_counter()
    tally = _Tally()
    verdict = _blank(subject, check, dtype, seed_value)
    try:
        verdict.version = subject.version()
        if case is None:
            strategy = check.cases(subject, dtype)
            judge = _judge(subject, check, tally)
            for_all(judge, strategy, examples=examples, seed_value=seed_value)
        else:
            _judge(subject, check, tally)(case)
    except SubjectUnavailable as missing:
        verdict.status, verdict.message = "not tested", str(missing)
    except (Mismatch, SubjectCrashed) as failure:
        verdict.status = "crashed" if isinstance(failure, SubjectCrashed) else "failed"
        verdict.message = str(failure)
    _record(verdict, tally)
    verdict.seconds = round(time.perf_counter() - started, 3)
    return verdict


def _blank(subject: Subject, check: SubjectCheck, dtype: str, seed_value: int) -> Verdict:
    names = list(possible(subject, check))
    cell = subject.cells[0]
    return Verdict(subject.name, cell, check.id, check.statement, names, dtype, seed_value)


def _judge(subject: Subject, check: SubjectCheck, tally: _Tally) -> Callable[[Case], None]:
    def judge(case: Case) -> None:
        tally.cases += 1
        tally.touched |= dict.fromkeys(touched(subject, check, case))
        try:
            ledger = check.run(subject, case)
            _note(tally, ledger)
            ledger.assert_within()
        except (Mismatch, SubjectCrashed):
            tally.failing = case
            raise

    return judge


def _note(tally: _Tally, ledger: Ledger) -> None:
    worst = ledger.worst
    tally.blind += not ledger.sharp
    if worst is not None:
        aim(worst.ratio)
        if tally.worst_ratio is None or worst.ratio >= tally.worst_ratio:
            tally.worst_ratio, tally.worst = worst.ratio, worst.quantity


def _record(verdict: Verdict, tally: _Tally) -> None:
    verdict.cases, verdict.blind_cases = tally.cases, tally.blind
    if tally.worst_ratio is not None:
        verdict.worst_ratio = min(tally.worst_ratio, sys.float_info.max)  # JSON has no infinity
        verdict.worst = tally.worst
    if verdict.status == "passed" and tally.blind == tally.cases:
        verdict.status, verdict.message = "blind", "no case had a bound sharp enough to fail"
    if tally.cases:
        verdict.equations = [name for name in verdict.equations if name in tally.touched]
    if tally.failing is not None:
        verdict.case = tally.failing.to_json()
        verdict.reproduce = (
            f"gatewise verify {verdict.subject} --check {verdict.check} --case '{verdict.case}'"
        )
