"""What every contender of a problem must compute: the reference in float64, with bounds.

The reference runs on ``Bounded`` numbers over the problem's own steps, for the rows that differ.
Where that would take too long, or its bounds come out too wide to mean anything, it runs over the
first steps alone: what comes later has no influence on them, and cotangents stand on them alone.
In two directions it has, so that there it is all steps or none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Parameters
from ...verify.numbers.arithmetic import ARITHMETICS, FINER, HALVES, Arithmetic
from ...verify.numbers.bounded import Bounded
from ...verify.numbers.ledger import SHARP, SHARP_ELSEWHERE
from ..plan import UnsupportedError
from .problem import Problem

WORK = 1.5e7
"""Weights times steps that are affordable: some 1 to 2 s on one core."""

FEWEST = 4
"""Steps below which nothing is known of a recurrence."""


WIDEST = 0.5
"""The share of the largest number that bounds of halves may reach.

Some dozen roundings to 8 bits leave no more: a wrong formula is still seen, a coarse one is not.
"""


def arithmetic(dtype: str) -> Arithmetic:
    """Return what rounding a dtype is allowed; sums of halves are kept in float32."""
    return ARITHMETICS[FINER[dtype][0] if dtype in HALVES else dtype]


@dataclass(frozen=True)
class Expected:
    """The witnesses' results over the first ``steps``: outputs and gradients, Bounded.

    y (steps, witnesses, width), final and initial (passes, witnesses, width), x (steps,
    witnesses, D). ``final`` is empty where steps are missing.
    """

    steps: int
    y: Bounded
    final: tuple[Bounded, ...]
    parameters: Sequence[Parameters]
    x: Bounded
    initial: tuple[Bounded, ...]

    @property
    def blind(self) -> tuple[str, ...]:
        """Names of quantities whose bound is too wide to mean anything."""
        named = {"y": self.y, "gradient of x": self.x}
        named |= {f"gradient of {n}": a for p in self.parameters for n, a in p.items()}
        return tuple(name for name, b in named.items() if not _sharp(b))

    @property
    def telling(self) -> bool:
        """Whether outputs, and the gradients that every cell has, have bounds that mean something.

        What a cell has besides may be out of reach: a Skip cell's own weights have gradients that
        are sums over all units of terms that cancel.
        """
        half = self.y.arithmetic.dtype_name in HALVES
        names = ("W", "U", "b") if half else ("x", "W", "U", "b")
        return not {"y", *(f"gradient of {name}" for name in names)} & {*self.blind}


def share(dtype: str) -> float:
    """Return the share of the largest number that a bound may reach and still mean something."""
    return WIDEST if dtype in HALVES else SHARP.get(dtype, SHARP_ELSEWHERE)


def _sharp(b: Bounded) -> bool:
    scale = float(np.max(np.abs(b.value)))
    return scale == 0 or float(np.median(b.bound)) <= share(b.arithmetic.dtype_name) * scale


def expected(problem: Problem, work: float = WORK) -> Expected:
    """Return what must be computed, over as many steps as can be said something sharp of."""
    steps, turned = problem.shape.T, problem.shape.directions == 2
    words = sum(a.size for p in problem.parameters for a in p.values())
    affordable = max(FEWEST, math.floor(work / words))
    if turned and steps > affordable:
        raise UnsupportedError(
            f"to prove it right over {steps} steps in two directions takes too long; "
            f"at most {affordable} can be afforded at this width"
        )
    steps = min(steps, affordable)
    while True:
        found = _computed(problem, steps)
        if found.telling:
            return found
        if turned or steps <= FEWEST:
            raise UnsupportedError(
                f"it cannot be proven right: over {steps} steps bounds are too wide on "
                f"{', '.join(found.blind)}"
            )
        steps = max(FEWEST, steps // 2)


def _computed(problem: Problem, steps: int) -> Expected:
    layer, (x, state) = problem.layer, problem.four
    with np.errstate(all="ignore"):
        p = [Parameters(q.shapes, {n: _given(problem, n, a) for n, a in q.items()})
             for q in problem.parameters]  # fmt: skip
        output = layer.forward(
            p, exact(problem, x[:steps]), tuple(exact(problem, s) for s in state)
        )
        d, at = problem.cotangents(steps), problem.places
        dy = exact(problem, d.y[:steps][:, at])
        gradient = layer.vjp(p, output, dy, tuple(exact(problem, end[:, at]) for end in d.final))
    final = output.final if steps == problem.shape.T else ()
    return Expected(steps, output.y, final, gradient.parameters, gradient.x, gradient.initial)


def _given(problem: Problem, name: str, array: Array) -> Bounded:
    """Return a parameter; a bias as the sum of two halves, as those who have two biases add it."""
    if name != "b":
        return exact(problem, array)
    half = exact(problem, array / 2)
    both: Bounded = half + half
    return both


def exact(problem: Problem, array: Array) -> Bounded:
    """Return given numbers in the problem's arithmetic."""
    return Bounded.exact(array, arithmetic(problem.dtype))
