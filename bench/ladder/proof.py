"""No rung gets a time before it has proven right: equal to the reference, and to the rung below.

Bounds grow with every step; of ordinary weights, those of a whole sequence soon mean nothing. So a
rung is held twice: over the first steps of the very problem that is timed, and over all of its
steps with weights so small that errors die out. The code is the same, and so are all sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...verify.numbers.bounded import Bounded
from ...verify.numbers.ledger import Ledger, Mismatch
from .problem import Problem, Size, draw, reference, results
from .rungs import Rung

EARLY = 3
"""Steps of the problem as it is timed; after more, bounds of wide layers mean nothing."""


@dataclass(frozen=True)
class Held:
    """A problem, and what the reference makes of it."""

    name: str
    problem: Problem
    want: Mapping[str, Bounded]


def oracles(size: Size, problem: Problem) -> list[Held]:
    """Return the two problems by which rungs are judged at a size."""
    early = problem.first(EARLY)
    small = draw(size, seed=1, scale=1 / np.sqrt(size.H))
    return [
        Held(f"first {len(early.x)} steps", early, reference(early)),
        Held(f"all {size.T} steps, small weights", small, reference(small)),
    ]


@dataclass(frozen=True)
class Proof:
    """The largest error of a rung beside the reference, and beside the rung below; in bounds.

    Two right programs may differ by two bounds. None for the first rung, which has none below.
    """

    error: float
    from_below: float | None


def prove(rung: Rung, below: Rung | None, oracles: Sequence[Held]) -> Proof:
    """Hold a rung to the reference and to the rung below; Mismatch says where it is off."""
    ledger, beside = Ledger(), Ledger()
    for held in oracles:
        got = results(rung, held.problem)
        for name, want in held.want.items():
            if got[name].dtype != held.problem.x.dtype:
                raise Mismatch(f"{name}: expected {held.problem.x.dtype}, got {got[name].dtype}")
            ledger.compare(f"{name} ({held.name})", got[name], want)
        if below is not None:
            for name, other in results(below, held.problem).items():
                want = Bounded(other, 2 * held.want[name].bound, held.want[name].arithmetic)
                beside.compare(f"{name} ({held.name}), beside {below.name}", got[name], want)
    ledger.assert_within()
    beside.assert_within()
    _assert_known(ledger)
    return Proof(_worst(ledger), None if below is None else _worst(beside))


def _assert_known(ledger: Ledger) -> None:
    """Raise Mismatch if a quantity was never held to a bound that means something."""
    sharp = {c.quantity.partition(" (")[0] for c in ledger.comparisons if c.sharp}
    for c in ledger.comparisons:
        if c.quantity.partition(" (")[0] not in sharp:
            raise Mismatch(f"{c.quantity}: every bound is too wide to mean anything")


def _worst(ledger: Ledger) -> float:
    worst = ledger.worst
    return worst.ratio if worst else 0.0
