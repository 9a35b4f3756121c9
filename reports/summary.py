"""A run as rows and words: what passed, what did not, what was not tested. No HTML."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..reference.cells import cell_named
from ..verify.cases import Case
from ..verify.checks import subject_checks
from ..verify.run_files import Planned, Run
from ..verify.runner import Verdict
from ..verify.subjects import subjects

WORST_FIRST = ("failed", "crashed", "not tested", "blind", "passed")
ENDED = "the run ended before it"
COLOURS = 8
"""Steps of the colour scale, half a decade of error/bound each, from 1e-4 to 1."""


@dataclass(frozen=True)
class Entry:
    """One check of one subject in one dtype; ``verdict`` is None where it was only planned."""

    number: int
    planned: Planned
    verdict: Verdict | None

    @property
    def status(self) -> str:
        """The verdict's status; without a verdict it is not tested."""
        return self.verdict.status if self.verdict else "not tested"

    @property
    def statement(self) -> str:
        """What the check states, if the run or this installation knows."""
        known = {check.id: check.statement for check in subject_checks()}
        return self.verdict.statement if self.verdict else known.get(self.planned.check, "")

    @property
    def equations(self) -> tuple[str, ...]:
        """Names of the equations that the check of this subject is about."""
        if self.verdict:
            return tuple(dict.fromkeys(self.verdict.equations))
        subject = subjects().get(self.planned.subject)
        check = {check.id: check for check in subject_checks()}.get(self.planned.check)
        if subject is None or check is None:
            return ()
        return (*cell_named(subject.cell(Case(1, 1, 1, 1))).equations, *check.equations)

    @property
    def heat(self) -> int:
        """The step on the colour scale, 0 to 8."""
        return heat(self.verdict.worst_ratio if self.verdict else None)


def entries(run: Run) -> tuple[Entry, ...]:
    """Return everything planned or judged, in that order; of several verdicts the worst."""
    found: dict[Planned, Verdict | None] = dict.fromkeys(run.planned)
    for verdict in run.verdicts:
        key = Planned(verdict.subject, verdict.check, verdict.dtype)
        before = found.get(key)
        if before is None or _rank(verdict.status) < _rank(before.status):
            found[key] = verdict
    pairs = enumerate(found.items(), start=1)
    return tuple(Entry(number, planned, verdict) for number, (planned, verdict) in pairs)


def _rank(status: str) -> int:
    return WORST_FIRST.index(status)


@dataclass(frozen=True)
class Headline:
    """The verdict in one line; ``tone`` is conforms, differs or incomplete."""

    tone: str
    text: str


def headline(rows: Sequence[Entry], *, left_out: int = 0) -> Headline:
    """Say what failed and what was not tested, both in the first line."""
    count = Counter(row.status for row in rows)
    total, passed = len(rows), count["passed"]
    if count["not tested"] == total:
        plan = f"none of the {total} planned checks has run" if total else "nothing was planned"
        return Headline("incomplete", f"Nothing was tested: {plan}.")
    if passed == total:
        beyond = f"{_were(left_out, 'more')} not planned" if left_out else ""
        ending = beyond or "nothing was left untested"
        return Headline("conforms", f"{passed} of {total} checks pass; {ending}.")
    parts = [
        f"{count[status]} {words}" if status in ("failed", "crashed")
        else f"{_were(count[status])} {words}"
        for status, words in (
            ("failed", "failed"),
            ("crashed", "crashed"),
            ("not tested", "not tested"),
            ("blind", "blind"),
        )
        if count[status]
    ]  # fmt: skip
    tone = "differs" if count["failed"] or count["crashed"] else "incomplete"
    first, _, rest = parts[0].partition(" ")
    parts[0] = f"{first} of {total} checks {rest}"
    if left_out:
        parts.append(f"{_were(left_out, 'more')} not planned")
    return Headline(tone, f"{_listed(parts)}; {passed} passed.")


def _were(count: int, noun: str = "") -> str:
    return f"{count}{' ' if noun else ''}{noun} {'was' if count == 1 else 'were'}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


@dataclass(frozen=True)
class Row:
    """A subject's line of the table: one entry a column, None where nothing was planned."""

    subject: str
    cell: str
    entries: tuple[Entry | None, ...]


@dataclass(frozen=True)
class Group:
    """The subjects of one package."""

    name: str
    version: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Grid:
    """The table: checks with their dtypes across, subjects by package down."""

    checks: tuple[tuple[str, tuple[str, ...]], ...]
    groups: tuple[Group, ...]

    @property
    def width(self) -> int:
        """How many columns stand beside the subject's."""
        return sum(len(dtypes) for _, dtypes in self.checks)


def grid(rows: Sequence[Entry]) -> Grid:
    """Arrange entries by subject, check and dtype, each in order of appearance."""
    by_place = {row.planned: row for row in rows}
    dtypes: dict[str, dict[str, None]] = {}
    packages: dict[str, dict[str, None]] = {}
    for row in rows:
        dtypes.setdefault(row.planned.check, {})[row.planned.dtype] = None
        packages.setdefault(_package(row.planned.subject), {})[row.planned.subject] = None
    columns = [(check, dtype) for check, each in dtypes.items() for dtype in each]
    groups = [
        Group(
            package,
            _distinct(r.verdict.version for r in rows if r.verdict and r.planned.subject in names),
            tuple(
                Row(
                    name,
                    _distinct(r.verdict.cell for r in rows if r.verdict and _is(r, name)),
                    tuple(by_place.get(Planned(name, *column)) for column in columns),
                )
                for name in names
            ),
        )
        for package, names in packages.items()
    ]
    return Grid(tuple((check, tuple(each)) for check, each in dtypes.items()), tuple(groups))


def _package(subject: str) -> str:
    return subject.partition(":")[0]


def _is(row: Entry, subject: str) -> bool:
    return row.planned.subject == subject


def _distinct(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(filter(None, words)))


@dataclass(frozen=True)
class Gap:
    """What one subject was not, or could not be, held to, and why."""

    subjects: str
    checks: tuple[str, ...]
    reason: str


def gaps(rows: Sequence[Entry], status: str) -> tuple[Gap, ...]:
    """Return everything with this status, by subject and reason."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        if row.status == status:
            reason = row.verdict.message if row.verdict else ENDED
            checks = found.setdefault((row.planned.subject, reason), {})
            checks.setdefault(row.planned.check, []).append(row.planned.dtype)
    return tuple(
        Gap(subject, tuple(f"{c} {', '.join(d)}" for c, d in checks.items()), reason)
        for (subject, reason), checks in found.items()
    )


def left_out(rows: Sequence[Entry]) -> tuple[Planned, ...]:
    """Return the checks that gatewise has for the run's subjects and the run did not plan."""
    there = {row.planned for row in rows}
    known = [subjects()[name] for name in _names(rows) if name in subjects()]
    possible = (
        Planned(s.name, c.id, dtype) for s in known for c in subject_checks() for dtype in s.dtypes
    )
    return tuple(planned for planned in possible if planned not in there)


def _names(rows: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.planned.subject for row in rows))


@dataclass(frozen=True)
class Standing:
    """How one subject stands to one equation: of all checks about it, how many passed."""

    subject: str
    status: str
    passed: int
    total: int


def standings(rows: Sequence[Entry]) -> dict[str, tuple[Standing, ...]]:
    """Return, for every equation that the run is about, each subject's standing."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for name in row.equations:
            found.setdefault(name, {}).setdefault(row.planned.subject, []).append(row.status)
    return {
        name: tuple(
            Standing(subject, min(each, key=_rank), each.count("passed"), len(each))
            for subject, each in by_subject.items()
        )
        for name, by_subject in found.items()
    }


def heat(ratio: float | None) -> int:
    """Return the step of a ratio on the colour scale, 0 (1e-4 and less) to 8 (1 and more)."""
    if ratio is None or not ratio > 1e-4:
        return 0
    return min(COLOURS, max(0, round(2 * (math.log10(ratio) + 4))))


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def shown(ratio: float | None) -> str:
    """Return a ratio in two digits, as people write it."""
    if ratio is None:
        return ""
    if not math.isfinite(ratio):
        return {math.inf: "∞", -math.inf: "-∞"}.get(ratio, "NaN")
    if ratio == 0 or 1e-3 <= abs(ratio) < 1000:
        return f"{ratio:.2g}" if abs(ratio) < 100 else f"{ratio:.0f}"
    digits, _, exponent = f"{ratio:.1e}".partition("e")
    return f"{digits}·10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def case_items(text: str) -> tuple[tuple[str, str], ...]:
    """Return a case's names and values; none if the text is not a case."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(value, dict):
        return ()
    return tuple((name, json.dumps(v, ensure_ascii=False)) for name, v in value.items())
