"""Truncated backpropagation: the number of steps that a gradient reaches back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....reference.arrays import Floats
from ....reference.cell import State
from ....reference.parameters import Parameters
from ...cases.case import Case
from ...mutants.gradient import after_step_vjp
from ...mutants.replaceable_layer import At, StepGradients
from ...subjects.called import under_test
from ...subjects.inputs import draw_cotangents, draw_inputs
from ...subjects.protocol import Subject
from ..hypotheses import Hypothesis

LENGTHS = {"float64": (24, 45, 70, 100, 131), "float32": (12, 24, 45)}
"""Steps of the runs; fewer in float32, so that no gradient underflows."""


@dataclass(frozen=True)
class Truncation:
    """The reach of a cotangent on the last output, in words; "" if it reaches the first step.

    With a ``period``, cotangents never pass a multiple of so many steps; 0 if there is none.
    """

    words: str = ""
    period: int = 0

    @property
    def hypothesis(self) -> Hypothesis | None:
        """The mistake that cuts all cotangents at multiples of the period, or None."""
        if not self.period:
            return None

        def spoil(at: At, dp: Parameters, dx: Floats, d_old: State) -> StepGradients:
            cut = at.t and at.t % self.period == 0
            return dp, dx, tuple(0 * d for d in d_old) if cut else d_old

        return Hypothesis(
            ("truncated",),
            (f"Backpropagation is truncated: {self.words}.",),
            (lambda layer: after_step_vjp(layer, spoil),),
            ("let the cotangent through: look for a detach, a stop_gradient or a chunked loop",),
            ("gradient-window",),
        )


def truncation(subject: Subject, dtype: str) -> Truncation:
    """Measure the reach of gradients on sequences of several lengths."""
    if not subject.options.gradient:
        return Truncation()
    reached = {T: _first_step_reached(subject, T, dtype) for T in LENGTHS[dtype]}
    if not any(reached.values()):
        return Truncation()
    window = {T - first for T, first in reached.items() if first}
    if len(window) == 1:
        return Truncation(f"no cotangent reaches further back than {window.pop()} steps")
    longest = max(reached)
    for period in range(2, longest):
        if all(first == (T - 1) // period * period for T, first in reached.items()):
            return Truncation(f"no cotangent passes a multiple of {period} steps", period)
    return Truncation(f"of {longest} steps, the first {reached[longest]} get no gradient")


def _first_step_reached(subject: Subject, T: int, dtype: str) -> int:
    case = Case(T=T, B=1, D=2, H=3, state=subject.options.state, dtype=dtype)
    inputs = draw_inputs(subject, case)
    dy, dfinal = draw_cotangents(subject, case)
    dy[:-1] = 0
    layer = under_test(subject).build(case)
    pulled = layer.gradient(inputs, (dy, tuple(None for _ in dfinal)))
    reached = np.asarray(pulled.x).reshape(T, -1).any(axis=1)
    return int(reached.argmax()) if reached.any() else T
