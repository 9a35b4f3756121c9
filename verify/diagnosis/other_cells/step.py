"""Experiments with single steps of a layer, for chosen parameters, inputs and states."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from ....reference.cell import State
from ....reference.cells import cell_named
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...cases.case import Case
from ...conventions.parameter_map import NoHome
from ...numbers.ledger import Mismatch
from ...subjects.called import NotOffered, SubjectCrashed, layer_of, state_shapes, under_test
from ...subjects.inputs import draw_inputs
from ...subjects.protocol import Built, Inputs, Result, Subject, SubjectUnavailable
from ..stand_in import StandIn

REFUSALS = (SubjectCrashed, NotOffered, Mismatch, NoHome, SubjectUnavailable)
"""Exceptions that end an experiment without a finding."""

EXACT = {"float64": 2.0**-36, "float32": 2.0**-13}
"""The largest difference of equal numbers near 1, by rounding."""


@dataclass(frozen=True)
class Mode(StandIn):
    """A subject whose layers are built in training or in evaluation mode."""

    training: bool

    def build(self, case: Case) -> Built:
        """Return the layer, switched if it has modes."""
        built = self.subject.build(case)
        with suppress(NotImplementedError, NotOffered):  # it has no modes
            built.train(self.training)
        return built


@dataclass(frozen=True)
class Step:
    """The arguments and results of one step; states (B, width) each, y (B, width)."""

    p: Parameters
    x: Array
    old: State
    new: State
    y: Array

    @property
    def outputs(self) -> tuple[Array, ...]:
        """The output and every new state."""
        return (self.y, *self.new)


class StepExperiment:
    """Single steps of a subject's lowest layer, with all numbers drawn once.

    ``p``, ``x`` (B, D) and ``old`` are the drawn numbers; every run may replace some.
    """

    def __init__(self, subject: Subject, dtype: str, *, B: int = 16) -> None:
        """Draw the numbers."""
        options = subject.options
        self.subject = subject
        self.case = Case(T=1, B=B, D=4, H=4, state=options.state, bias=options.bias, dtype=dtype)
        self.map = subject.parameter_map(self.case)
        inputs = draw_inputs(subject, self.case)
        (self.p,) = self.map.to_reference(inputs.parameters)
        self.x = inputs.x[0]
        shapes = state_shapes(layer_of(subject, self.case), self.case)
        zeros = tuple(np.zeros(shape, self.x.dtype) for shape in shapes)
        self.old = tuple(s[0] for s in inputs.state or zeros)
        self.cell = cell_named(subject.cell(self.case))
        self.exact = EXACT[dtype]

    def run(
        self, p: Parameters | None = None, x: Array | None = None, old: State | None = None
    ) -> Step:
        """Run one step; raise one of REFUSALS if the subject does not take it."""
        x, old = self.x if x is None else x, old or self.old
        arrays = self._arrays(p or self.p)
        (p,) = self.map.to_reference(arrays)
        state = tuple(s[None] for s in old) if self.case.state else None
        built = under_test(self.subject).build(self.case)
        result = built.forward(Inputs(arrays, x[None], state, None))
        return Step(p, x, old, tuple(np.asarray(s[0]) for s in result.final), result.y[0])

    def right(
        self, p: Parameters | None = None, x: Array | None = None, old: State | None = None
    ) -> State:
        """Return the new states by the equations."""
        (p,) = self.map.to_reference(self._arrays(p or self.p))
        return self.cell.step(p, self.x if x is None else x, old or self.old)[0]

    def sequence(self, x: Array) -> Result:
        """Run x (T, B, D) from the drawn state."""
        case = replace(self.case, T=len(x))
        built = under_test(self.subject).build(case)
        state = tuple(s[None] for s in self.old) if case.state else None
        return built.forward(Inputs(self._arrays(self.p), x, state, None))

    def steps(self, count: int) -> Array:
        """Return ``x`` and further inputs, (count, B, D)."""
        rng = self.case.generator("more steps")
        more = rng.standard_normal((count - 1, *self.x.shape)).astype(self.x.dtype)
        return np.concatenate([self.x[None], more])

    def reference(self, case: Case, inputs: Inputs) -> Result:
        """Return the results of the equations for any case."""
        layer = layer_of(self.subject, case)
        p = self.subject.parameter_map(case).to_reference(inputs.parameters)
        output = layer.forward(p, inputs.x, inputs.state, inputs.lengths)
        return Result(output.y, output.final)

    def _arrays(self, p: Parameters) -> dict[str, Array]:
        packed = self.map.pack([p])
        return {name: np.asarray(a, self.x.dtype) for name, a in packed.items()}


def distance(a: Array, b: Array) -> float:
    """Return the largest difference as a share of the largest number or 1; inf for nan."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(all="ignore"):
        off = np.abs(a - b) / max(1.0, float(np.max(np.abs(b), initial=0.0)))
    return float(np.max(np.where(np.isnan(off), np.inf, off), initial=0.0))


def scaled(p: Parameters, factor: float, names: Sequence[str]) -> Parameters:
    """Return the parameters with some arrays multiplied."""
    return Parameters(p.shapes, {n: factor * a if n in names else a for n, a in p.items()})
