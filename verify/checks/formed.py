"""Forms as oracles: an algorithm, run on numbers with bounds on their rounding.

A form replaces the reference's layer. Its gradients are those of the algorithm: cotangents are
pulled back through its operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...reference.arrays import Lengths
from ...reference.forms import STEPS, Form, form_named
from ...reference.gated_by_input import GatedByInput
from ...reference.layer import Gradient, Layer
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..numbers.followed import Followed, pulled
from ..subjects.called import layer_of
from ..subjects.protocol import Subject


@dataclass(frozen=True)
class FormedOutput:
    """The outputs of a form, y (T, B, width) and final (1, B, ...), with its followed numbers.

    ``leaves`` are the parameters, the input and the states, ``outputs`` y and the final states.
    """

    y: Any
    final: tuple[Any, ...]
    leaves: tuple[Followed, ...]
    outputs: tuple[Followed, ...]


@dataclass(frozen=True)
class FormedLayer:
    """A layer computed by a form; like ``Layer``, for one pass over rows of equal length."""

    layer: Layer
    form: Form

    def forward(
        self,
        parameters: Sequence[Parameters],
        x: Any,
        state: tuple[Any, ...] | None = None,
        lengths: Lengths | None = None,
    ) -> FormedOutput:
        """Run the form over x (T, B, width)."""
        cell, sizes = self.layer.cell, self.layer.sizes
        if not isinstance(cell, GatedByInput) or lengths is not None:
            raise NotImplementedError("forms are of cells that are given their gates")
        start = self.layer.initial_state(x, x.shape[1]) if state is None else state
        p, followed_x = parameters[0].map(Followed), Followed(x)
        states = tuple(Followed(s[0]) for s in start)
        y, final = cell.formed(p, cell.split(followed_x, sizes), states, self.form)
        y = y.reshape(*x.shape[:2], cell.output_width(sizes))
        ends = tuple(s.value[None] for s in final)
        return FormedOutput(y.value, ends, (*p.values(), followed_x, *states), (y, *final))

    def vjp(
        self, parameters: Sequence[Parameters], output: FormedOutput, dy: Any, dfinal: Any
    ) -> Gradient[Any]:
        """Pull cotangents back through the operations of the form."""
        d = pulled(output.outputs, (dy, *(s[0] for s in dfinal)), output.leaves)
        p = parameters[0]
        dx, *dstate = d[len(p) :]
        gradient = Parameters(p.shapes, dict(zip(p, d, strict=False)))
        return Gradient((gradient,), dx, tuple(s[None] for s in dstate))


def form_of(subject: Subject, case: Case) -> str:
    """Return the form in which a subject computes a case, "" for steps."""
    name = case.form or subject.options.program
    return "" if name == STEPS or case.lengths or not case.T else name


def formed(subject: Subject, case: Case) -> Layer | FormedLayer:
    """Return the layer of the reference, in the form in which a subject computes the case."""
    layer, form = layer_of(subject, case), form_of(subject, case)
    return FormedLayer(layer, form_named(form)) if form else layer
