"""The ledger: claims, their evidence and verdicts, the registry, the plan, and rows.

The reading of a claim decides what refutes it:

``law``
    a bound, an identity, a definition: it is meant in every case. One case against it makes it
    false as printed, and the evidence says what is true instead.
``open``
    it leaves something unsaid: which weights, which biases, what is held fixed, which polarity. It
    is measured in several such cases; where it holds in some of them, it holds when those are
    given.
``possible``
    it says that something may happen. One case shows it.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from ..run import OK, Piece, Plan, RunFileError, from_json, to_json

LAW, OPEN, POSSIBLE = READINGS = ("law", "open", "possible")

HOLDS, HOLDS_WHEN, FALSE, NOT_TESTED = VERDICTS = (
    "holds", "holds when", "false as printed", "not tested",
)  # fmt: skip

SAYS, WHEN, INSTEAD, GROUND = "says", "when", "instead", "ground"


@dataclass(frozen=True)
class Number:
    """A measured quantity; if ``value`` is None, ``note`` is the reason."""

    name: str
    value: float | None
    unit: str = ""
    note: str = ""

    @property
    def shown(self) -> str:
        """The value in four digits with its unit, or the note."""
        return self.note if self.value is None else f"{self.value:.4g} {self.unit}".rstrip()


@dataclass(frozen=True)
class Finding:
    """A predicate over the measured numbers, and whether it holds.

    ``role``: ``says`` is a part of the claim; ``when`` a condition that separates the cases where
    it holds from those where it does not; ``instead`` a true or a sharper statement;
    ``ground`` a precondition of the measurement.
    """

    role: str
    text: str
    holds: bool


@dataclass(frozen=True)
class Curve:
    """One line of a figure; ``y`` is None for numbers that are not finite."""

    figure: str
    series: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()


@dataclass
class Evidence:
    """The numbers, findings and curves that a judge collects."""

    reading: str
    numbers: list[Number] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    counterexample: str = ""

    def number(self, name: str, value: Any, unit: str = "", note: str = "") -> float:
        """Record a quantity and return it; ``note`` explains a value that is not finite."""
        number = float(value)
        if math.isfinite(number):
            self.numbers.append(Number(name, number, unit))
        else:
            words = note or ("NaN" if math.isnan(number) else "infinite")
            self.numbers.append(Number(name, None, unit, words))
        return number

    def says(self, text: str, holds: Any, otherwise: str = "") -> bool:
        """Record whether a part of the claim holds; ``otherwise`` is the counterexample."""
        self.findings.append(Finding(SAYS, text, bool(holds)))
        if not holds and otherwise and not self.counterexample:
            self.counterexample = otherwise
        return bool(holds)

    def when(self, condition: str, *, within: Any, beyond: Any) -> None:
        """Record whether a condition separates: the claim holds within, and not always beyond."""
        self.findings.append(Finding(WHEN, condition, bool(within) and bool(beyond)))

    def ground(self, text: str, holds: Any) -> None:
        """Record whether a precondition of the judgement holds."""
        self.findings.append(Finding(GROUND, text, bool(holds)))

    def instead(self, text: str, holds: Any) -> None:
        """Record a true or sharper statement in the claim's place, which the verdict ignores."""
        self.findings.append(Finding(INSTEAD, text, bool(holds)))

    def curve(
        self,
        figure: str,
        series: str,
        x: Iterable[Any],
        y: Iterable[Any],
        low: Iterable[Any] = (),
        high: Iterable[Any] = (),
    ) -> None:
        """Record a line of a figure."""
        lines = (
            tuple(float(v) if np.isfinite(v) else None for v in values) for values in (y, low, high)
        )
        self.curves.append(Curve(figure, series, tuple(float(v) for v in x), *lines))


def verdict(evidence: Evidence) -> tuple[str, str]:
    """Return the verdict, and its condition or the missing preconditions."""
    holds = [f.holds for f in evidence.findings if f.role == SAYS]
    missing = [f.text for f in evidence.findings if f.role == GROUND and not f.holds]
    if missing or not holds:
        return NOT_TESTED, "; ".join(f"it is not so that {text}" for text in missing)
    if all(holds) or (evidence.reading == POSSIBLE and any(holds)):
        return HOLDS, ""
    conditions = [f.text for f in evidence.findings if f.role == WHEN and f.holds]
    if evidence.reading == OPEN and conditions:
        return HOLDS_WHEN, "; ".join(conditions)
    return FALSE, ""


# Claims, and their registry.


Judge: TypeAlias = Callable[[Evidence, np.random.Generator], None]
"""A function that measures and records evidence; each claim has its own generator."""


@dataclass(frozen=True)
class Claim:
    """A sentence of the documents: its id, its sources, its reading, and its judge.

    ``documents`` are ids (``D0`` ... ``D4``), ``about`` the ids of its equations. ``reading``
    decides what refutes it.
    """

    id: str
    statement: str
    documents: tuple[str, ...]
    about: tuple[str, ...]
    reading: str
    judge: Judge

    def evidence(self, seed: int) -> Evidence:
        """Measure; the same seed draws the same numbers, whatever else is judged."""
        evidence = Evidence(self.reading)
        self.judge(evidence, np.random.default_rng([seed, *self.id.encode()]))
        return evidence


_registry: dict[str, Claim] = {}


def claim(
    id: str,
    statement: str,
    *,
    documents: tuple[str, ...],
    about: tuple[str, ...] = (),
    reading: str,
) -> Callable[[Judge], Judge]:
    """Register the decorated function as the judge of claim ``id``."""
    if reading not in READINGS:
        raise ValueError(f"claim {id}: reading: expected one of {', '.join(READINGS)}")

    def register(judge: Judge) -> Judge:
        if id in _registry:
            raise ValueError(f"claim {id} is registered twice")
        _registry[id] = Claim(id, statement, documents, about, reading, judge)
        return judge

    return register


def claims() -> tuple[Claim, ...]:
    """Return all claims, by id."""
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__, prefix=f"{package.__name__}."):
        importlib.import_module(module.name)
    return tuple(_registry[id] for id in sorted(_registry))


def claim_named(id: str) -> Claim:
    """Return a claim; raise ValueError, which lists all ids, for any other id."""
    by_id = {claim.id: claim for claim in claims()}
    if id.upper() not in by_id:
        raise ValueError(f"no claim {id!r}; there are {', '.join(by_id)}")
    return by_id[id.upper()]


ERROR = "ERROR"


@dataclass(frozen=True)
class Row:
    """One claim of a run: its statement, its verdict, and the evidence.

    ``condition`` completes ``holds when``, or gives the reason of a missing verdict. ``status`` is
    OK, or ERROR if a measurement raised an error, which is in ``message``.
    """

    id: str
    status: str
    statement: str
    documents: tuple[str, ...]
    about: tuple[str, ...]
    reading: str
    verdict: str
    condition: str = ""
    counterexample: str = ""
    numbers: tuple[Number, ...] = ()
    findings: tuple[Finding, ...] = ()
    curves: tuple[Curve, ...] = ()
    seconds: float = 0.0
    message: str = ""

    @property
    def judged(self) -> bool:
        """True if the claim has a verdict."""
        return self.verdict != NOT_TESTED


def judge(claim: Claim, seed: int) -> Row:
    """Measure a claim and return its row; if a measurement raises, the error is the row's message.

    A wrong equation may crash a measurement, which must not hide the other claims.
    """
    row = Row(claim.id, OK, claim.statement, claim.documents, claim.about, claim.reading,
              verdict=NOT_TESTED)  # fmt: skip
    started = time.perf_counter()
    try:
        evidence = claim.evidence(seed)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        return replace(row, status=ERROR, condition="the measurement broke off", message=why)
    judged, condition = verdict(evidence)
    return replace(
        row, verdict=judged, condition=condition, counterexample=evidence.counterexample,
        numbers=tuple(evidence.numbers), findings=tuple(evidence.findings),
        curves=tuple(evidence.curves), seconds=round(time.perf_counter() - started, 2),
    )  # fmt: skip


def plan(*, seed: int, only: Sequence[str]) -> Plan:
    """Plan all claims, or those with these ids; raise ValueError for an unknown id."""
    chosen = {claim.id: claim for claim in [claim_named(id) for id in only] or claims()}

    def piece(claim: Claim) -> Piece:
        return Piece(claim.id, lambda: to_json(judge(claim, seed)))

    return Plan("claims", seed, {"only": list(only)}, [*map(piece, chosen.values())])


def rows(values: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the typed rows of a run; raise RunFileError for an invalid row."""
    read = [from_json(Row, value) for value in values]
    for row in read:
        if row.verdict not in VERDICTS:
            raise RunFileError(f"row {row.id}: verdict: expected one of {', '.join(VERDICTS)}")
    return read
