"""Checks of a user's own step: its bounds, and its gradients.

The expected results of such a layer are those of its step on numbers with bounds. One step is
compared with enclosures of 160 bits, which confirms the bounds, and its gradients with differences
of its results in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...reference.cell import Cell
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..numbers.bounded import Bounded
from ..numbers.ledger import Ledger
from ..subjects.called import NotOffered, SubjectUnderTest, layer_of
from ..subjects.inputs import draw_inputs
from .check import Offers, SubjectCheck, catalogued
from .derivative import extrapolated
from .oracle import around, exact


@dataclass(frozen=True)
class _Step:
    """A step and its arguments, of any number system."""

    cell: Cell
    p: Parameters
    x: Array
    state: tuple[Array, ...]

    @classmethod
    def from_case(cls, subject: SubjectUnderTest, case: Case) -> _Step:
        inputs, cell = draw_inputs(subject, case), layer_of(subject, case).cell
        (p,) = subject.parameter_map(case).to_reference(inputs.parameters)
        states = inputs.state or layer_of(subject, case).initial_state(inputs.x, case.B)
        return cls(cell, p, inputs.x[0], tuple(s[0] for s in states))

    @property
    def leaves(self) -> list[Array]:
        """The parameters, the input and the states."""
        return [*self.p.values(), self.x, *self.state]

    def at(self, leaves: Sequence[Array]) -> _Step:
        """Return the step with other arguments."""
        n = len(self.p)
        arrays = dict(zip(self.p, leaves[:n], strict=True))
        return _Step(
            self.cell, Parameters(self.p.shapes, arrays), leaves[n], tuple(leaves[n + 1 :])
        )

    def new(self) -> tuple[Array, ...]:
        """Return the new states."""
        return self.cell.step(self.p, self.x, self.state)[0]


def enclosed(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare enclosures of a step's exact values with its bounds in the case's arithmetic."""
    from ..numbers.enclosure import balls, distance, precision

    ledger, step = Ledger(), _Step.from_case(subject, case)
    bounded = step.at([exact(case, leaf) for leaf in step.leaves]).new()
    with precision():
        try:
            values = step.at([balls(leaf) for leaf in step.leaves]).new()
            far = [distance(b.value, v) for b, v in zip(bounded, values, strict=True)]
        except (TypeError, AttributeError, NotImplementedError) as error:
            raise NotOffered(f"its step does not run on enclosures: {error}") from error
    for name, b, distance_of in zip(step.cell.states, bounded, far, strict=True):
        ledger.compare(f"new {name}", b.value + distance_of, b)
    return ledger


def differentiated(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare gradients of a step with extrapolated differences of its values."""
    ledger, step = Ledger(), _Step.from_case(subject, case)
    fine = step.at([np.asarray(leaf, np.float64) for leaf in step.leaves])
    repeated = zip(fine.new(), fine.new(), strict=True)
    ledger.require("step", all(np.array_equal(a, b, equal_nan=True) for a, b in repeated),
                   "another number each time: it is no pure function")  # fmt: skip
    bounded = step.at([exact(case, leaf) for leaf in step.leaves])
    new = bounded.new()
    cotangents = [
        case.normal(f"d {s}", b.shape) for s, b in zip(step.cell.states, new, strict=True)
    ]
    bounded_cotangents = tuple(exact(case, d) for d in cotangents)
    dp, dx, dstate = step.cell.vjp(bounded.p, bounded.x, bounded.state, {}, new, bounded_cotangents)
    pairs = zip(cotangents, new, strict=True)
    error = sum(float(np.sum(np.abs(d) * b.bound)) for d, b in pairs)
    error *= np.finfo(float).eps / (2 * case.arithmetic.roundoff)
    names = [*step.p, "x", *step.cell.states]
    for k, (name, d) in enumerate(zip(names, [*dp.values(), dx, *dstate], strict=True)):
        ledger.compare(f"gradient of {name}, along a direction",
                       *_along(case, fine, cotangents, error, k, name, d))  # fmt: skip
    return ledger


def _along(
    case: Case,
    fine: _Step,
    cotangents: Sequence[Array],
    error: float,
    k: int,
    name: str,
    gradient: Bounded,
) -> tuple[Array, Bounded]:
    """Return the slopes of the outputs along a direction of one array, measured and by gradient."""
    leaves = fine.leaves
    v = case.generator(f"direction of {name}").standard_normal(leaves[k].shape)
    v /= np.sqrt(np.sum(v * v))

    def value(t: float) -> float:
        shifted = [leaf + t * v if j == k else leaf for j, leaf in enumerate(leaves)]
        pairs = zip(fine.at(shifted).new(), cotangents, strict=True)
        return float(sum(np.sum(s * d) for s, d in pairs))

    slope = extrapolated(value, error)
    bound = float(np.sum(gradient.bound * np.abs(v))) + slope.error
    want = around(case, np.array([np.sum(gradient.value * v)]), np.array([bound]))
    return np.array([np.nan_to_num(slope.value)]), want


def _has_own_step(subject: Offers) -> bool:
    return subject.options.equations and catalogued(subject) is None


CHECKS = (
    SubjectCheck(
        "step",
        "The author's own step, evaluated exactly, lies within the bounds that are derived for it.",
        enclosed,
        concerned=_has_own_step,
        share=0.1,
    ),
    SubjectCheck(
        "step-gradient",
        "The gradients that the layer is held to are the derivatives of its step.",
        differentiated,
        concerned=_has_own_step,
        share=0.1,
    ),
)
