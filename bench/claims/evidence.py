"""What was measured for a claim, what the numbers say, and the verdict that follows.

How a claim is read decides what refutes it:

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

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LAW, OPEN, POSSIBLE = READINGS = ("law", "open", "possible")

HOLDS, HOLDS_WHEN, FALSE, NOT_TESTED = VERDICTS = (
    "holds", "holds when", "false as printed", "not tested",
)  # fmt: skip

SAYS, WHEN, INSTEAD, GROUND = "says", "when", "instead", "ground"


@dataclass(frozen=True)
class Number:
    """A measured quantity; ``value`` is None where there is none, and ``note`` says why."""

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
    """A predicate over the measured numbers, and whether it is so.

    ``role``: ``says`` is what the claim says; ``when`` a condition that separates the cases where
    it holds from those where it does not; ``instead`` what is true in its place, or sharper;
    ``ground`` what has to be so for the measurement to mean anything.
    """

    role: str
    text: str
    holds: bool


@dataclass(frozen=True)
class Curve:
    """One line of a figure: ``y`` has None where there is no finite number."""

    figure: str
    series: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()


@dataclass
class Evidence:
    """Collects what a judge measures."""

    reading: str
    numbers: list[Number] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    counterexample: str = ""

    def number(self, name: str, value: Any, unit: str = "", note: str = "") -> float:
        """Note a quantity and return it; ``note`` says what it means that it is not finite."""
        number = float(value)
        if math.isfinite(number):
            self.numbers.append(Number(name, number, unit))
        else:
            words = note or ("NaN" if math.isnan(number) else "infinite")
            self.numbers.append(Number(name, None, unit, words))
        return number

    def says(self, text: str, holds: Any, otherwise: str = "") -> bool:
        """Note whether something that the claim says is so; ``otherwise`` speaks against it."""
        self.findings.append(Finding(SAYS, text, bool(holds)))
        if not holds and otherwise and not self.counterexample:
            self.counterexample = otherwise
        return bool(holds)

    def when(self, condition: str, *, within: Any, beyond: Any) -> bool:
        """Note whether a condition separates: the claim holds within it, and not always beyond."""
        separates = bool(within) and bool(beyond)
        self.findings.append(Finding(WHEN, condition, separates))
        return separates

    def ground(self, text: str, holds: Any) -> bool:
        """Note whether something is so without which nothing can be judged."""
        self.findings.append(Finding(GROUND, text, bool(holds)))
        return bool(holds)

    def instead(self, text: str, holds: Any) -> bool:
        """Note what is true in the claim's place, or sharper than it; the verdict ignores it."""
        self.findings.append(Finding(INSTEAD, text, bool(holds)))
        return bool(holds)

    def curve(
        self,
        figure: str,
        series: str,
        x: Iterable[Any],
        y: Iterable[Any],
        low: Iterable[Any] = (),
        high: Iterable[Any] = (),
    ) -> None:
        """Keep a line for a figure."""
        lines = (tuple(_finite(v) for v in values) for values in (y, low, high))
        self.curves.append(Curve(figure, series, tuple(float(v) for v in x), *lines))

    def holding(self, role: str) -> list[str]:
        """Return the texts of a role's findings that are so."""
        return [f.text for f in self.findings if f.role == role and f.holds]


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def verdict(evidence: Evidence) -> tuple[str, str]:
    """Return the verdict; with it the condition, or why nothing can be said."""
    said = [f.holds for f in evidence.findings if f.role == SAYS]
    missing = [f.text for f in evidence.findings if f.role == GROUND and not f.holds]
    if missing or not said:
        return NOT_TESTED, "; ".join(f"it is not so that {text}" for text in missing)
    if all(said) or (evidence.reading == POSSIBLE and any(said)):
        return HOLDS, ""
    conditions = evidence.holding(WHEN)
    if evidence.reading == OPEN and conditions:
        return HOLDS_WHEN, "; ".join(conditions)
    return FALSE, ""
