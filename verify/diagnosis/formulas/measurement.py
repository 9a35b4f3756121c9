"""Measured results of a layer in small runs, by the names of its cell's program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ....reference.cell import Cell, State
from ....reference.cells import cell_named
from ....reference.parameters import Parameters
from ...cases.case import Case
from ...checks.oracle import state_names
from ...numbers.ledger import Mismatch
from ...subjects.called import NotOffered, SubjectCrashed, under_test
from ...subjects.inputs import draw_cotangents, draw_inputs
from ...subjects.protocol import Cotangents, Inputs, Pulled, Result, Subject
from ..observation import plain_case
from .program import Program, Run, named, program_of, right_program

NEAR = {"float64": 1e-8, "float32": 2e-4}
"""The share of an array's largest entry below which differences are ignored."""

STEPS = (1, 2, 3)
"""Lengths of the small runs."""


@dataclass(frozen=True)
class Measurement:
    """One call of a layer: its arguments, and all results by name; unknown entries are nan.

    ``forward_program`` is the program whose values the backward pass reads; None: the right one.
    """

    case: Case
    cell_name: str
    p: Parameters
    x: Floats
    state: State
    dy: Floats
    dfinal: State
    outputs: Mapping[str, Floats]
    gradients: Mapping[str, Floats]
    forward_program: Program | None = None

    def run(self, program: Program) -> Run:
        """Run a program on the same inputs."""
        return program.run(self.named, self.x, self.state)

    def begins_with(self, program: Program) -> bool:
        """Whether a program's first step computes the first output, where that is known."""
        measured, _, limit = self._known_entries["y"]
        (computed, *_), _ = program.step(self.named, self.x[0], self.state)
        same_shape = np.shape(computed) == measured.shape[1:]
        return same_shape and not (np.abs(measured[0] - computed) > limit).any()

    @cached_property
    def named(self) -> dict[str, Any]:
        """The parameters and the functions by a program's names."""
        return named(self.p)

    @cached_property
    def right(self) -> Run:
        """The run of the right program, or of ``forward_program``."""
        return self.run(self.forward_program or right_program(self.cell.name))

    @cached_property
    def at_once(self) -> Measurement:
        """The call as one step, whose rows are those of all steps.

        The call itself, if its outputs do not show every state between two steps.
        """
        (T, B), y = self.x.shape[:2], self.outputs["y"]
        if T == 1 or len(self.state) > 1 or y[:-1].shape[1:] != self.state[0].shape:
            return self
        before = np.concatenate([self.state[0][None], y[:-1]])
        x, h, new = (a.reshape(1, T * B, -1) for a in (self.x, before, y))
        outputs = {"y": new, f"final {self.cell.states[0]}": new[0]}
        return replace(self, x=x, state=(h[0],), outputs=outputs, gradients={})

    @cached_property
    def cell(self) -> Cell:
        """The cell that the layer claims to be."""
        return cell_named(self.cell_name)

    @cached_property
    def wrong_outputs(self) -> frozenset[str]:
        """The names of outputs that deviate from the equations."""
        return self.differing(outputs_of(self.right, self.cell), self.outputs)

    @cached_property
    def wrong_gradients(self) -> frozenset[str]:
        """The names of gradients that deviate from the equations."""
        return self.differing(self.right_gradients, self.gradients)

    @cached_property
    def right_gradients(self) -> dict[str, Floats]:
        """The gradients of the equations."""
        return self.right.pull(self.dy, self.dfinal)

    def differing(
        self, computed: Mapping[str, Floats], measured: Mapping[str, Floats]
    ) -> frozenset[str]:
        """Return the names whose arrays differ from the measured ones."""
        return frozenset(n for n in measured if not self.same(n, computed.get(n)))

    def agrees(self, computed: Mapping[str, Floats]) -> bool:
        """Whether all gradients equal the measured ones; wrong ones are compared first."""
        first = self.wrong_gradients
        names = [*first, *(n for n in self.gradients if n not in first)]
        return all(self.same(n, computed.get(n)) for n in names)

    def same(self, name: str, computed: Floats | None) -> bool:
        """Whether an array equals the measured one in all known entries."""
        measured, finite, limit = self._known_entries[name]
        if computed is None:
            computed = np.zeros_like(measured)
        if np.shape(computed) not in ((), measured.shape):
            return False
        off = np.abs(measured - computed)
        return bool((off if finite is None else off[finite]).max(initial=0.0) <= limit)

    @cached_property
    def _known_entries(self) -> dict[str, tuple[Floats, Floats | None, float]]:
        """By name: the array, its known entries (None for all), and the largest difference."""
        result = {}
        for name, array in (self.outputs | self.gradients).items():  # type: ignore[operator]
            finite = ~np.isnan(array)
            result[name] = (array, None if finite.all() else finite, self.limit(array[finite]))
        return result

    def limit(self, array: Floats) -> float:
        """Return the largest difference of an equal array."""
        size = float(np.abs(array).max(initial=0.0))
        return NEAR[self.case.dtype] * max(size, 1e-30)


def outputs_of(run: Run, cell: Cell) -> dict[str, Floats]:
    """Return the outputs of a run by name."""
    return {"y": run.y} | {f"final {s}": a for s, a in zip(cell.states, run.final, strict=True)}


def measurements(
    subject: Subject, dtype: str, P: int = 0, scale: str = "unit"
) -> list[Measurement]:
    """Run a layer on sequences of 1, 2 and 3 steps; [] if its cell has no program, or it raises.

    ``P`` is the width of the projection of a layer that offers one, ``scale`` that of the weights.
    """
    if program_of(subject.cells[0]) is None:
        return []
    cases = (small_case(subject, dtype, T) for T in STEPS)
    return runs([replace(case, P=P or case.P, scale=scale) for case in cases], subject)


def runs(cases: Iterable[Case], subject: Subject) -> list[Measurement]:
    """Run a layer in these cases; nothing if it raises."""
    try:
        return [measured(subject, case) for case in cases]
    except (SubjectCrashed, NotOffered, Mismatch, ValueError):
        return []


def small_case(subject: Subject, dtype: str, T: int, B: int = 2) -> Case:
    """Return a case of T steps and mutually different other sizes."""
    return plain_case(subject, dtype, T=T, B=B, D=5, H=4, P=3, seed=T)


Cut = Callable[[Floats, tuple[Floats, ...]], tuple[Floats, tuple[Floats, ...]]]
"""A function from the drawn cotangents to those with which a layer is called."""


def measured(
    subject: Subject,
    case: Case,
    cut: Cut = lambda dy, dfinal: (dy, dfinal),
    *,
    recurrent: bool = True,
) -> Measurement:
    """Call a layer once and sort its results by name; without ``recurrent``, U is 0."""
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    dy, dfinal = cut(dy, dfinal)
    if not recurrent:
        inputs = replace(inputs, parameters=_without_u(subject, case, inputs.parameters))
    layer = under_test(subject).build(case)
    offered = subject.options.gradient
    result = layer.gradient(inputs, (dy, dfinal)) if offered else layer.forward(inputs)
    return measurement_of_call(subject, case, inputs, (dy, dfinal), result)


def measurement_of_call(
    subject: Subject, case: Case, inputs: Inputs, cotangents: Cotangents, result: Result
) -> Measurement:
    """Sort the results of a call by name, with gradients if it has them."""
    cell = cell_named(subject.cell(case))
    (p,) = subject.parameter_map(case).to_reference(inputs.parameters)
    gradients = _gradients(subject, case, result, p, cell) if isinstance(result, Pulled) else {}
    final = tuple(s[0] for s in result.final)
    judged = state_names(subject, case)
    outputs = {"y": result.y} | {f"final {s}": a for s, a in zip(judged, final, strict=False)}
    if inputs.state is None:
        state = cell.initial_state(inputs.x, case.B, case.sizes)
    else:
        state = tuple(s[0] for s in inputs.state)
    dy, dfinal = cotangents
    dy = np.zeros_like(result.y) if dy is None else dy
    ends = tuple(
        np.zeros_like(s) if d is None else d[0] for d, s in zip(dfinal, final, strict=True)
    )
    return Measurement(case, cell.name, p, inputs.x, state, dy, ends, outputs, gradients)


def _gradients(
    subject: Subject, case: Case, pulled: Pulled, p: Parameters, cell: Cell
) -> dict[str, Floats]:
    """Return gradients by the program's names: dW_i, ..., dx, d0_h."""
    gradients = {f"d{name}": array for name, array in slices(subject, case, pulled.parameters, p)}
    gradients["dx"] = np.asarray(pulled.x)
    initial = zip(cell.states, pulled.initial, strict=False)
    return gradients | {f"d0_{s}": np.asarray(a[0]) for s, a in initial}


def slices(
    subject: Subject, case: Case, arrays: Mapping[str, Floats], p: Parameters
) -> Iterator[tuple[str, Floats]]:
    """Yield the reference's slices of a gradient in the layer's own arrays; nan if in no array.

    The map from the reference's gradient to the layer's shows the place of each number.
    """
    numbered = numbered_parameters(p)
    flat = np.full(sum(a.size for a in numbered.values()) + 1, np.nan)
    numbers = subject.parameter_map(case).from_reference([Parameters(p.shapes, numbered)])
    for name, places in numbers.items():
        if name in arrays and np.shape(places) == np.shape(arrays[name]):
            at = np.abs(places).astype(int)
            flat[at.ravel()] = (np.sign(places) * arrays[name]).ravel()
    parameters = Parameters(p.shapes, {n: flat[a.astype(int)] for n, a in numbered.items()})
    for name in p.names():
        yield name, getattr(parameters, name)


def numbered_parameters(p: Parameters) -> dict[str, Floats]:
    """Return the parameters with entries 1, 2, ..."""
    count, numbered = 0, {}
    for name, array in p.items():
        size = int(np.prod(array.shape))
        numbered[name] = (count + 1.0 + np.arange(size)).reshape(array.shape)
        count += size
    return numbered


def _without_u(subject: Subject, case: Case, arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return a layer's arrays with 0 for all entries of U."""
    parameter_map = subject.parameter_map(case)
    (p,) = parameter_map.to_reference(arrays)
    marks = {n: np.full(a.shape, float(n == "U")) for n, a in p.items()}
    marked = parameter_map.from_reference([Parameters(p.shapes, marks)])
    return {
        n: np.where(marked[n] != 0, np.zeros_like(a), a) if n in marked else a
        for n, a in arrays.items()
    }
