"""The judge: it draws cases of a check, simplifies a failing one, and returns the verdict."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from math import inf

from hypothesis.errors import Flaky, Unsatisfiable

from ..cases.case import Case
from ..cases.given_sizes import GivenSizes
from ..cases.simplification import simplify
from ..cases.strategies import aim, for_all
from ..checks.check import SubjectCheck
from ..checks.location import place, possible, touched
from ..checks.script import write_script
from ..numbers.arithmetic import ARITHMETICS, FINER, HALVES, PackageMissing
from ..numbers.ledger import MENTIONED, Ledger, Mismatch, Undecided
from ..runs.records import RunFileError
from ..runs.verdict import UNSHARP, Verdict
from ..subjects.called import Call, Clock, NotOffered, SubjectCrashed, under_test
from ..subjects.protocol import FixedCases, Subject, SubjectUnavailable, Watching


@dataclass(frozen=True)
class Budget:
    """The numbers of cases of a check: drawn, forced and steered.

    ``steered`` cases are guided to the largest error/bound; they depend on the subject's rounding,
    all others on the seed alone.
    """

    drawn: int
    forced: int | None = None
    steered: int = 0


LONGEST_MESSAGE = 500

CASES_OF_SIZES = 2
"""The number of cases for each of the requested sizes."""

MOST_IN_VAIN = 20
"""After so many draws of which a check takes none, it leaves the requested sizes to others.

Whether it takes them hardly depends on what else is drawn.
"""

INCONCLUSIVE = (Undecided, NotOffered, PackageMissing)
"""Exceptions of a simpler case that do not show whether it fails in the same way."""

BUDGETS = {"quick": Budget(4, 2), "standard": Budget(30), "thorough": Budget(200, None, 100)}


def hold(
    subject: Subject,
    check: SubjectCheck,
    dtype: str,
    *,
    budget: Budget = BUDGETS["standard"],
    seed_value: int = 0,
    case: Case | None = None,
    on_case: Callable[[Case], None] = lambda case: None,
    on_answer: Callable[[], None] | None = None,
    shrink: bool = True,
    sizes: Sequence[GivenSizes] = (),
) -> Verdict:
    """Run one check of a subject in one dtype, on drawn cases or on ``case``.

    Without ``shrink`` the first failing case is reported as drawn. ``on_case`` is called before
    each case, ``on_answer`` after the subject's first answer. The check also runs some cases of
    each of ``sizes`` that it can take.
    """
    started = time.perf_counter()
    verdict = blank(subject, check, dtype, seed_value)
    own = isinstance(subject, FixedCases) or bool(getattr(subject, "fixed", ()))
    shrink = shrink and not own
    judge = Judge(subject, check, on_case, Clock(on_answer=on_answer))
    watch: Watching | None = getattr(subject, "watch", None)
    if watch is not None:
        watch.begin()

    def run() -> None:
        if case is not None:
            judge(case)
        elif isinstance(subject, FixedCases):
            cases = subject.cases_for(check.id, dtype)
            if not cases:
                raise NotOffered(subject.why_not(check.id))
            for each in cases:
                judge(each)
        else:
            _hold_all(judge, dtype, budget, seed_value, shrink and check.shrinks)
            for requested in sizes:
                _hold_sizes(judge, dtype, requested, seed_value)

    _decide(verdict, judge, run, keep=case is not None or not (shrink and check.shrinks))
    _record(verdict, judge)
    if watch is not None:
        _report_kernels(verdict, watch)
    verdict.seconds = round(time.perf_counter() - started, 3)
    verdict.subject_seconds = round(judge.clock.subject, 3)
    verdict.oracle_seconds = round(judge.clock.oracle, 3)
    return verdict


def _decide(verdict: Verdict, judge: Judge, run: Callable[[], None], *, keep: bool) -> None:
    """Judge all cases and set the verdict; with ``keep`` a failing case is not simplified."""
    subject = judge.subject
    try:
        verdict.version = subject.version()
        if lacking := subject.options.missing(judge.check.needs):
            verdict.status, verdict.message = "not supported", subject.options.why(lacking)
        else:
            run()
            _report_refused(verdict, judge)
    except (SubjectUnavailable, RunFileError, PackageMissing) as missing:
        verdict.status, verdict.message = "not tested", str(missing)
    except Undecided as reason:
        verdict.status, verdict.message = "blind", str(reason)
    except NotOffered as reason:
        verdict.status, verdict.message = "not supported", str(reason)[:LONGEST_MESSAGE]
    except Flaky:  # the case failed, and then did not: the subject is not deterministic
        assert judge.failure is not None  # noqa: S101
        _report_failure(verdict, judge, judge.failure, keep=True)
        verdict.message += "; not every time"
    except (Mismatch, SubjectCrashed) as failure:
        _report_failure(verdict, judge, failure, keep=keep)
    except Exception as error:  # gatewise's own; the subject's are SubjectCrashed
        verdict.status, verdict.message = "not tested", f"{own_failure(error)}; case {judge.last}"


def own_failure(error: Exception) -> str:
    """Return a message on an exception of gatewise itself, with its place."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    reason = f"{type(error).__name__}: {error} ({last.name}, line {last.lineno})"
    return f"gatewise itself failed, please report it: {reason}"


def _report_refused(verdict: Verdict, judge: Judge) -> None:
    """Report refused cases; if the subject refused all, the check is not supported."""
    if not judge.refused:
        return
    if not judge.cases:
        verdict.status, verdict.message = "not supported", judge.refused[0][:LONGEST_MESSAGE]
        return
    count = len(judge.refused)
    verdict.message = f"{count} of {judge.cases + count} cases were not judged: {judge.refused[0]}"
    verdict.message = verdict.message[:LONGEST_MESSAGE]


def _report_kernels(verdict: Verdict, watch: Watching) -> None:
    """Report the kernels that ran; a pass becomes *fallback* if the expected ones did not."""
    verdict.ran, verdict.lacking = watch.summary, watch.lacking
    if watch.lacking and verdict.status in ("passed", "blind"):
        verdict.status, verdict.message = "fallback", watch.lacking


def settle(subject: Subject, case: Case) -> Case:
    """Return a case with the fields that a file's node fixes: widths, directions."""
    return replace(case, **dict(getattr(subject, "fixed", ())))


def _hold_all(judge: Judge, dtype: str, budget: Budget, seed_value: int, shrink: bool) -> None:
    check, subject = judge.check, judge.subject
    settled = partial(settle, subject)
    for forced in islice(check.forced(subject, dtype), budget.forced):
        judge(settled(check.reached(forced)))
    strategy = check.cases(subject, dtype).map(check.reached).map(settled)
    examples = max(2, round(budget.drawn * check.share))
    for_all(judge, strategy, examples=examples, seed_value=seed_value, steer=False, shrink=shrink)
    if budget.steered:
        steered = max(2, round(budget.steered * check.share))
        for_all(judge, strategy, examples=steered, seed_value=seed_value + 1, shrink=shrink)


def _hold_sizes(judge: Judge, dtype: str, sizes: GivenSizes, seed_value: int) -> None:
    """Judge cases of requested sizes, drawn as the check's own, if the check takes them."""
    check, options = judge.check, judge.subject.options
    in_vain: float = 0

    def is_taken(case: Case) -> bool:
        nonlocal in_vain
        if not check.refuses(case) and not options.lacking(case):
            in_vain = -inf
            return True
        in_vain += 1
        if in_vain > MOST_IN_VAIN:
            raise Unsatisfiable(f"{check.id} takes no case of {sizes}")
        return False

    cases = sizes.cases(check.cases(judge.subject, dtype)).map(partial(settle, judge.subject))
    cases = cases.filter(is_taken).map(check.reached)
    before = judge.cases - judge.blind
    with suppress(Unsatisfiable):
        for_all(
            judge, cases, examples=CASES_OF_SIZES, seed_value=seed_value, steer=False, shrink=False
        )
        if judge.cases - judge.blind == before:
            judge.unsharp.append(str(sizes))


@dataclass
class Judge:
    """A judge of one subject by one check, which counts cases and records failures.

    ``calls`` are the check's calls of the subject in the last case. Cases that the subject refuses
    do not count; ``refused`` holds its messages. ``unsharp`` are requested sizes at which no bound
    was sharp enough to fail. ``sharp`` tells for every quantity whether some case had a bound on it
    that could fail.
    """

    subject: Subject
    check: SubjectCheck
    on_case: Callable[[Case], None] = lambda case: None
    clock: Clock = field(default_factory=Clock)
    calls: list[Call] = field(default_factory=list)
    cases: int = 0
    blind: int = 0
    sharp: dict[str, bool] = field(default_factory=dict)
    undecided: int = 0
    refused: list[str] = field(default_factory=list)
    unsharp: list[str] = field(default_factory=list)
    worst_ratio: float | None = None
    worst: str = ""
    last: Case | None = None
    first: Case | None = None
    failing: Case | None = None
    failure: Exception | None = None
    ledger: Ledger = field(default_factory=Ledger)
    touched: dict[str, None] = field(default_factory=dict)
    arithmetics: dict[str, None] = field(default_factory=dict)

    def __call__(self, case: Case) -> None:
        """Judge one case; raise Mismatch or SubjectCrashed if it fails."""
        self.cases += 1
        self.last = case
        self.on_case(case)
        self.touched |= dict.fromkeys(touched(self.subject, self.check, case))
        self.ledger = Ledger()
        self.calls.clear()
        try:
            self.ledger = self._judge(case)
            self._count_comparisons()
            self.ledger.assert_within()
        except (Mismatch, SubjectCrashed) as failure:
            self.first = self.first or case
            self.failing, self.failure = case, failure
            raise
        except NotOffered as reason:
            self.cases -= 1
            self.refused.append(str(reason))

    def _judge(self, case: Case) -> Ledger:
        """Judge a case by its dtype's bounds and, if it is within them, by narrower ones.

        A case that fails is wrong, whatever a second call returns. Results within the bounds of a
        finer arithmetic are right, whatever their arithmetic. Results in half precision within the
        wide bounds alone are undecided if these are not sharp.
        """
        finer = FINER.get(case.dtype, ())
        wide, why = None, ""
        try:
            wide = self._run(case)
        except Undecided as reason:
            why = str(reason)
        if wide is None or (finer and not wide.failed):
            for name in finer:
                try:
                    narrow = self._run(replace(case, assumed=name))
                except (Mismatch, Undecided):
                    continue
                if not narrow.failed:
                    self.arithmetics[name] = None
                    return narrow
        if wide is None:
            raise Undecided(why)
        self.arithmetics[case.dtype] = None
        self.undecided += case.dtype in HALVES and not wide.failed and not wide.sharp
        return wide

    def _run(self, case: Case) -> Ledger:
        subject = self.subject
        if isinstance(subject, FixedCases):
            subject, case = subject.recorded(self.check.id, case)
        ledger: object = self.check.run(under_test(subject, self.calls, self.clock), case)
        if not isinstance(ledger, Ledger):
            raise TypeError(f"check {self.check.id}: expected its ledger, got {ledger!r}")
        return ledger

    def _count_comparisons(self) -> None:
        worst = self.ledger.worst
        self.blind += not self.ledger.sharp
        for each in self.ledger.comparisons:
            self.sharp[each.quantity] = each.sharp or self.sharp.get(each.quantity, False)
        if worst is not None:
            aim(worst.ratio)
            if self.worst_ratio is None or worst.ratio >= self.worst_ratio:
                self.worst_ratio, self.worst = worst.ratio, worst.quantity


def blank(subject: Subject, check: SubjectCheck, dtype: str, seed_value: int) -> Verdict:
    """Return an empty verdict."""
    names = list(possible(subject, check))
    cell = subject.cells[0]
    return Verdict(subject.name, cell, check.id, check.statement, names, dtype, seed_value)


def _report_failure(verdict: Verdict, judge: Judge, failure: Exception, *, keep: bool) -> None:
    """Report a failure on the simplest case that fails in the same way."""
    case = judge.failing
    assert case is not None  # noqa: S101 - a failure comes from a case
    counts = judge.cases, judge.blind
    if not keep:
        fresh = Judge(judge.subject, judge.check, judge.on_case, judge.clock)
        kind = type(failure)
        options = judge.subject.options
        case = simplify(case, lambda c: _fails_alike(fresh, c, kind), options)
    try:
        judge(case)
    except (Mismatch, SubjectCrashed) as again:
        failure = again
    except INCONCLUSIVE:
        judge.failing, judge.failure = case, failure
    judge.cases, judge.blind = counts
    verdict.status = "crashed" if isinstance(failure, SubjectCrashed) else "failed"
    verdict.message = str(failure)
    failed = judge.ledger.failed if verdict.status == "failed" else []
    if failed:
        verdict.place = place(judge.subject, case, failed[0])
    verdict.script = write_script(
        judge.subject, judge.check, case, failed, verdict.message, judge.calls
    )


def _fails_alike(judge: Judge, case: Case, kind: type[Exception]) -> bool:
    if judge.check.refuses(case):
        return False
    try:
        judge(case)
    except (Mismatch, SubjectCrashed) as failure:
        return isinstance(failure, kind)
    except INCONCLUSIVE:
        pass
    return False


def _record(verdict: Verdict, judge: Judge) -> None:
    verdict.cases, verdict.blind_cases = judge.cases, judge.blind
    if judge.worst_ratio is not None:
        verdict.worst_ratio = min(judge.worst_ratio, sys.float_info.max)  # JSON has no infinity
        verdict.worst = judge.worst
    if judge.unsharp and verdict.status == "passed":
        words = filter(None, (verdict.message, f"{UNSHARP}{'; '.join(judge.unsharp)}"))
        verdict.message = "; ".join(words)
    blurred = [quantity for quantity, sharp in judge.sharp.items() if not sharp]
    if verdict.status == "passed" and judge.blind == judge.cases and (blurred or not judge.sharp):
        verdict.status = "blind"
        verdict.message = "no case had a bound sharp enough to fail"
        verdict.message += f" on {', '.join(blurred[:MENTIONED])}" if blurred else ""
    if verdict.status == "passed" and judge.undecided:
        verdict.status = "blind"
        verdict.message = (
            f"{judge.undecided} of {judge.cases} cases are beyond the bounds of a finer "
            f"arithmetic, and within those of {verdict.dtype}, which would hold almost anything"
        )
    if verdict.status == "passed" and judge.worst_ratio:
        verdict.arithmetic = next(name for name in ARITHMETICS if name in judge.arithmetics)
    if judge.cases:
        verdict.equations = [name for name in verdict.equations if name in judge.touched]
    if judge.failing is not None:
        verdict.case = judge.failing.to_json()
        verdict.drawn = (judge.first or judge.failing).to_json()
        verdict.reproduce = (
            f"gatewise verify {verdict.subject} --check {verdict.check} --case '{verdict.case}'"
        )
