"""Gradients of a layer without equations, compared with derivatives of the layer itself.

A layer that computes with complex numbers is differentiated by a complex step; others by
differences of ever smaller steps, extrapolated to 0 (Richardson 1911). The truncation error is
estimated by the changes within the extrapolation table, the rounding error by the layer's own
rounding over the step; the entry with the smallest sum of both is used, with twice that sum as its
error. One-sided slopes are extrapolated as well, so that a kink is not mistaken for a derivative.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...reference.functions import Array
from ..cases.case import Case
from ..numbers.complex_step import STEP
from ..numbers.ledger import Ledger
from ..subjects.called import Called, SubjectUnderTest, layer_of
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Cotangents, Inputs, Result
from .check import SubjectCheck
from .oracle import around
from .own_answer import own_answer

DIRECTIONS = 3
"""Random directions along which each array's gradient is compared."""

ROUNDINGS = 8
"""Random changes of the inputs, by a few units of roundoff, to measure rounding."""

SETTLED = 4
"""Number of last halvings of the step in which slopes must converge."""

STEPS = tuple(2.0**-k for k in range(2, 12))
"""Steps along a direction of length 1."""


@dataclass(frozen=True)
class Slope:
    """A derivative along a direction, and a bound on its error."""

    value: float
    error: float


def extrapolated(function: Callable[[float], float], error: float) -> Slope:
    """Return the derivative at 0 of a function whose values have errors up to ``error``.

    The difference of the extrapolated slopes to the left and to the right is part of the error: it
    is large at a kink. The error is infinite if smaller steps still change the slope by more than
    that and rounding: the function has structure finer than the steps.
    """
    best, centre = Slope(np.nan, np.inf), function(0.0)
    plain: list[tuple[float, float]] = []
    slopes_above: list[float] = []
    bends_above: list[float] = []
    noise_above: list[float] = []
    for step in STEPS:
        above, below = function(step), function(-step)
        slopes, bends = [(above - below) / (2 * step)], [(above - 2 * centre + below) / (2 * step)]
        noise, moving = [2 * error / step], np.inf
        plain.append((slopes[0], bends[0]))
        for j in range(1, len(slopes_above) + 1):
            even, odd = 4.0**j, 2.0 ** (2 * j - 1)
            before, last = slopes_above[j - 1], slopes[-1]
            slopes.append((even * last - before) / (even - 1))
            bends.append((odd * bends[-1] - bends_above[j - 1]) / (odd - 1))
            noise.append((odd * noise[-1] + noise_above[j - 1]) / (odd - 1))
            left_out = max(abs(slopes[-1] - last), abs(slopes[-1] - before))
            moving = min(moving, max(left_out - 4 * noise[-1], 0.0))
            off = 2 * (left_out + noise[-1]) + abs(bends[-1])
            if off < best.error:
                best = Slope(slopes[-1], off)
        if slopes_above and moving > best.error:
            best = Slope(best.value, np.inf)
        slopes_above, bends_above, noise_above = slopes, bends, noise
    return best if _converge(plain, error) else Slope(best.value, np.inf)


def _converge(plain: Sequence[tuple[float, float]], error: float) -> bool:
    """Return whether the slopes converge with the steps, as those of a smooth function do.

    With each halving of the step the change of the slope falls to a quarter; in each of the last
    ``SETTLED`` halvings it must fall to a half, beyond rounding. Otherwise entries of the table
    agree by accident. The difference of the one-sided slopes must fall, too: at a kink it stays.
    """
    slopes, bends = np.array(plain).T
    changes = np.abs(np.diff(slopes))[-1 - SETTLED :]
    noise = 8 * error / np.array(STEPS[-SETTLED:])
    smooth = changes[1:] <= changes[:-1] / 2 + noise
    return bool(np.all(smooth) and abs(bends[-1]) <= 0.75 * abs(bends[-2]) + noise[-1])


def derivative(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare gradients along random directions with derivatives of the outputs."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    cotangents = draw_cotangents(subject, case)
    pulled = own_answer(subject, case, inputs, cotangents)
    outputs = _Outputs.from_case(subject, case, inputs, cotangents)
    for name, leaf in outputs.inputs.leaves.items():
        quantity = f"gradient of {_label(subject, case, name)}"
        directions = [_direction(case, name, k, leaf.shape) for k in range(DIRECTIONS)]
        got, rounding = np.array([pulled.along(quantity, v) for v in directions]).T
        finer = outputs.called.case.arithmetic.roundoff / case.arithmetic.roundoff
        slopes = [
            outputs.slope(name, v, finer * float(r))
            for v, r in zip(directions, rounding, strict=True)
        ]
        want = np.array([slope.value for slope in slopes])
        error = rounding + np.array([slope.error for slope in slopes])
        bound = np.where(np.isfinite(want), error, np.inf)
        ledger.compare(
            f"{quantity}, along a direction", got, around(case, np.nan_to_num(want), bound)
        )
    return ledger


def _label(subject: SubjectUnderTest, case: Case, leaf: str) -> str:
    """Return the name of a leaf in the name of its gradient."""
    if not leaf.startswith("state "):
        return leaf
    return f"initial {layer_of(subject, case).cell.states[int(leaf.removeprefix('state '))]}"


def _direction(case: Case, name: str, k: int, shape: tuple[int, ...]) -> Array:
    v = case.generator(f"direction {k} of {name}").standard_normal(shape)
    return v / np.sqrt(np.sum(v * v))


@dataclass(frozen=True)
class _Outputs:
    """The sum of a layer's outputs times their cotangents, in the finest arithmetic it has.

    ``error`` bounds the effect of rounding on the sum.
    """

    called: Called
    inputs: Inputs
    cotangents: Cotangents
    error: float

    @classmethod
    def from_case(
        cls, subject: SubjectUnderTest, case: Case, inputs: Inputs, cotangents: Cotangents
    ) -> _Outputs:
        fine = replace(case, dtype="float64") if "float64" in subject.dtypes else case
        fine_inputs = _with_leaves(inputs, {k: a.astype(fine.number_type)
                                      for k, a in inputs.leaves.items()})  # fmt: skip
        answer = own_answer(subject, fine, fine_inputs)
        called = subject.build(fine)
        pairs = zip(answer.values, _listed(cotangents), strict=True)
        error = sum(answer.along(name, np.asarray(d, np.float64))[1] for name, d in pairs)
        outputs = cls(called, fine_inputs, cotangents, error)
        return (
            outputs
            if fine.dtype == "float64"
            else replace(outputs, error=outputs.rounding_effect(fine))
        )

    def rounding_effect(self, case: Case) -> float:
        """Return the measured effect of rounding on the sum; a bound is too wide in float32.

        All inputs are changed by a few units of roundoff. The result is four times the largest
        effect, plus one rounding of each term.
        """
        u, plain = case.arithmetic.roundoff, self.called.forward(self.inputs)
        sums = []
        for k in range(ROUNDINGS):
            signs = case.generator(f"seen {k}")
            leaves = {
                name: (leaf * (1 + 4 * u * signs.choice([-1, 1], leaf.shape))).astype(leaf.dtype)
                for name, leaf in self.inputs.leaves.items()
            }
            sums.append(self._sum(self.called.forward(_with_leaves(self.inputs, leaves))).real)
        pairs = zip((plain.y, *plain.final), _listed(self.cotangents), strict=True)
        magnitude = sum(float(np.sum(np.abs(a * np.asarray(d, np.float64)))) for a, d in pairs)
        return 4 * max(abs(t - self._sum(plain).real) for t in sums) + u * magnitude

    def slope(self, name: str, direction: Array, rounding: float) -> Slope:
        """Return the derivative along a direction of one of the input arrays.

        ``rounding`` bounds the rounding of the derivative, in the arithmetic of the outputs.
        """
        leaf = self.inputs.leaves[name]

        def value(t: float) -> float:
            shifted = (leaf + t * direction).astype(leaf.dtype)
            return self._sum(self.called.forward(self._with_leaf(name, shifted))).real

        slope = extrapolated(value, self.error)
        exact = self._complex_step(name, leaf, direction)
        if exact is None or not abs(exact - slope.value) <= slope.error:
            return slope
        return Slope(exact, min(slope.error, rounding))

    def _complex_step(self, name: str, leaf: Array, direction: Array) -> float | None:
        """Return the derivative by a complex step; None if the layer drops imaginary parts."""
        shifted = self._with_leaf(name, leaf + 1j * STEP * direction)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                result = self.called.built.forward(shifted)
            return self._sum(result).imag / STEP
        except Exception:
            return None

    def _with_leaf(self, name: str, leaf: Array) -> Inputs:
        return _with_leaves(self.inputs, {**self.inputs.leaves, name: leaf})

    def _sum(self, result: Result) -> complex:
        pairs = zip((result.y, *result.final), _listed(self.cotangents), strict=True)
        return complex(sum(np.sum(a * np.asarray(d, np.float64)) for a, d in pairs))


def _listed(cotangents: Cotangents) -> Sequence[Array]:
    dy, dfinal = cotangents
    return [np.asarray(d) for d in (dy, *dfinal)]


def _with_leaves(inputs: Inputs, leaves: Mapping[str, Array]) -> Inputs:
    state = tuple(leaves[f"state {k}"] for k in range(len(inputs.state or ())))
    parameters = {name: leaves[name] for name in inputs.parameters}
    return replace(inputs, parameters=parameters, x=leaves["x"], state=state or None)


CHECKS = (
    SubjectCheck(
        "derivative",
        "The gradients of a layer without equations are the derivatives of what it computes.",
        derivative,
        needs=("gradient",),
        concerned=lambda subject: not subject.options.equations,
        share=0.2,
    ),
)
