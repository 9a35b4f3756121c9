"""Summaries of runs: several as one, the headline, and the checks that were not tested."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..verify.checks import subject_checks
from ..verify.checks.location import possible
from ..verify.numbers.arithmetic import USUAL_DTYPES
from ..verify.runs.deviations import KNOWN
from ..verify.runs.run import Run
from ..verify.runs.status import STATUSES, Outcome, rank
from ..verify.runs.verdict import Planned, Verdict
from ..verify.subjects import adapter, family
from .section import grouped

FEW = 8
"""The most subjects that a headline names one by one."""

ENDED = "the run ended before it"
_MARK = re.compile(r" \(run \d+\)$")
_DECLARED = re.compile(r"(.* \(until \d{4}-\d\d-\d\d\)): ", re.DOTALL)
"""The declared reason at the head of a known deviation's message; the failure follows."""


@dataclass(frozen=True)
class Header:
    """The header of a report: the facts of one run, or of several."""

    created: str
    budget: str
    seed: str
    gatewise: str


def header(runs: Sequence[Run]) -> Header:
    """Return the facts of the runs; where runs differ, those of each."""
    return Header(
        created([run.created for run in runs]),
        _distinct(run.budget for run in runs),
        _distinct(str(run.seed) for run in runs),
        _distinct(run.versions.get("gatewise", "of unknown version") for run in runs),
    )


def created(times: Sequence[str]) -> str:
    """Return the time of runs, or the first and the last."""
    if len(times) == 1:
        return times[0]
    first, last = min(times), max(times)
    return f"{len(times)} runs, {first if first == last else f'{first} to {last}'}"


def combined(runs: Sequence[Run]) -> Run:
    """Return one run with the plans and verdicts of all.

    A subject of several runs appears once for each, as ``NAME (run 2)``: the same name
    may stand for another version or another backend there.
    """
    subjects = (
        {p.subject for p in run.planned} | {v.subject for v in run.verdicts} for run in runs
    )
    times = Counter(name for names in subjects for name in names)
    several = {name for name, count in times.items() if count > 1}
    if not several and len(runs) == 1:
        return runs[0]
    marked = [_mark(run, f" (run {number})", several) for number, run in enumerate(runs, 1)]
    return replace(
        runs[0],
        planned=tuple(planned for run in marked for planned in run.planned),
        verdicts=tuple(verdict for run in marked for verdict in run.verdicts),
        diagnoses=tuple(diagnosis for run in marked for diagnosis in run.diagnoses),
    )


def own_name(subject: str) -> str:
    """Return a subject's name without the mark of its run."""
    return _MARK.sub("", subject)


def _mark(run: Run, mark: str, several: set[str]) -> Run:
    def name(subject: str) -> str:
        return subject + mark if subject in several else subject

    return replace(
        run,
        planned=tuple(Planned(name(p.subject), p.check, p.dtype) for p in run.planned),
        verdicts=tuple(replace(v, subject=name(v.subject)) for v in run.verdicts),
        diagnoses=tuple(replace(d, subject=name(d.subject)) for d in run.diagnoses),
    )


def _distinct(answers: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(answers))


@dataclass(frozen=True)
class Entry:
    """One check of one subject in one dtype; ``verdict`` is None where it was only planned."""

    number: int
    planned: Planned
    verdict: Verdict | None

    @property
    def status(self) -> str:
        """The verdict's status, or "not tested" without a verdict."""
        return self.verdict.status if self.verdict else "not tested"

    @property
    def wrong(self) -> bool:
        """True if the check shows that the subject does not conform."""
        return self.verdict is not None and self.verdict.wrong

    @property
    def ratio(self) -> float | None:
        """The largest error in units of its bound, if there is one."""
        return self.verdict.worst_ratio if self.verdict else None

    @property
    def statement(self) -> str:
        """The check's statement, if the run or this installation has the check."""
        if self.verdict:
            return self.verdict.statement
        statements = {check.id: check.statement for check in subject_checks()}
        return statements.get(self.planned.check, "")

    @property
    def equations(self) -> tuple[str, ...]:
        """The names of the equations that the check of this subject tests."""
        if self.verdict:
            return tuple(dict.fromkeys(self.verdict.equations))
        subject = adapter(own_name(self.planned.subject))
        check = {check.id: check for check in subject_checks()}.get(self.planned.check)
        if subject is None or check is None:
            return ()
        return possible(subject, check)


def entries(run: Run) -> tuple[Entry, ...]:
    """Return all planned and judged checks, in that order; of several verdicts the worst."""
    verdicts: dict[Planned, Verdict | None] = dict.fromkeys(run.planned)
    for verdict in run.verdicts:
        key = verdict.planned
        earlier = verdicts.get(key)
        if earlier is None or rank(verdict.status) < rank(earlier.status):
            verdicts[key] = verdict
    pairs = enumerate(verdicts.items(), start=1)
    return tuple(Entry(number, planned, verdict) for number, (planned, verdict) in pairs)


def names(rows: Sequence[Entry]) -> tuple[str, ...]:
    """Return the subjects' names; if there are many, the families and their sizes."""
    unique = dict.fromkeys(row.planned.subject for row in rows)
    if len(unique) <= FEW:
        return tuple(unique)
    return tuple(f"{name} ({count})" for name, count in Counter(map(family, unique)).items())


@dataclass(frozen=True)
class Headline:
    """The verdict in one line; ``tone`` is conforms, differs, incomplete or measured."""

    tone: str
    text: str


def headline(rows: Sequence[Entry]) -> Headline:
    """Return the numbers of passed, failed and untested checks in one line."""
    count = Counter(row.status for row in rows)
    present = [status for name, status in STATUSES.items() if count[name]]
    total, passed, beyond = len(rows), count["passed"], len(left_out(rows))
    checks = "1 check" if total == 1 else f"{total} checks"
    if count["not tested"] == total:
        plan = f"{checks} planned, none run" if total else "the run planned nothing"
        return Headline("incomplete", f"Nothing was tested: {plan}.")
    unplanned = f"{beyond} more {'was' if beyond == 1 else 'were'} not planned"
    accepted = [s.counted(count[s.name]) for s in present if s.outcome is Outcome.ACCEPTED]
    odd = [s for s in present if s.outcome in (Outcome.WRONG, Outcome.OPEN)]
    if passed and not odd:
        rest = unplanned if beyond else "nothing planned was left untested"
        parts = [f"{passed} of {checks} pass", *accepted, rest]
        return Headline("conforms", f"{'; '.join(parts)}.")
    if not odd:
        return Headline("incomplete", f"Nothing was tested: {_join_words(accepted)} of {checks}.")
    parts = [status.counted(count[status.name]) for status in odd]
    parts[0] = parts[0].replace(" ", f" of {checks} ", 1)
    tone = "differs" if any(s.outcome is Outcome.WRONG for s in odd) else "incomplete"
    endings = [f"{passed} passed", *accepted, *([unplanned] if beyond else [])]
    return Headline(tone, f"{_join_words(parts)}; {', '.join(endings)}.")


def _join_words(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


@dataclass(frozen=True)
class Gap:
    """Checks without a result for some subjects, and the reason."""

    subjects: tuple[str, ...]
    checks: tuple[str, ...]
    reason: str


def gaps(rows: Sequence[Entry], status: str) -> tuple[Gap, ...]:
    """Return the gaps of a status; subjects with the same checks and reason are joined."""
    return _group((row.planned, _reason(row)) for row in rows if row.status == status)


def _reason(row: Entry) -> str:
    """Return the reason; for a known deviation the declared one, which is the same every time."""
    message = row.verdict.message if row.verdict else ENDED
    declared = _DECLARED.match(message) if row.status == KNOWN else None
    return declared[1] if declared else message


def left_out(rows: Sequence[Entry]) -> tuple[Planned, ...]:
    """Return the checks of the run's subjects that the run did not plan.

    Dtypes beside the usual ones count where the run has them.
    """
    present = {row.planned for row in rows}
    expected = {*USUAL_DTYPES, *(planned.dtype for planned in present)}
    names = dict.fromkeys(row.planned.subject for row in rows)
    adapters = ((name, s) for name in names if (s := adapter(own_name(name))))
    possible = (
        Planned(name, c.id, dtype)
        for name, s in adapters
        for c in subject_checks()
        if c.concerns(s)
        for dtype in s.dtypes
        if dtype in expected
    )
    return tuple(planned for planned in possible if planned not in present)


def not_planned(rows: Sequence[Entry]) -> tuple[Gap, ...]:
    """Return the checks that the run did not plan, grouped."""
    return _group((planned, "") for planned in left_out(rows))


def _group(reasons: Iterable[tuple[Planned, str]]) -> tuple[Gap, ...]:
    dtypes = grouped(((p.subject, reason, p.check), p.dtype) for p, reason in reasons)
    words = grouped(
        ((subject, reason), f"{check} {' '.join(formats)}")
        for (subject, reason, check), formats in dtypes.items()
    )
    alike = grouped(((tuple(w), reason), subject) for (subject, reason), w in words.items())
    return tuple(Gap(tuple(names), w, reason) for (w, reason), names in alike.items())


def closest(rows: Sequence[Entry]) -> Entry | None:
    """Return the passed check whose error came closest to its bound."""
    passed = [row for row in rows if row.status == "passed" and row.ratio is not None]
    return max(passed, key=lambda row: row.ratio or 0.0, default=None)
