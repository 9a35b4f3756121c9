"""What a layer computes in small runs, by the names of its cell's program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ....reference.arrays import Floats
from ....reference.cell import Cell, State
from ....reference.cells import cell_named
from ....reference.parameters import Parameters
from ...cases.case import Case
from ...numbers.ledger import Mismatch
from ...subjects.called import NotOffered, SubjectCrashed, under_test
from ...subjects.inputs import draw_cotangents, draw_inputs
from ...subjects.protocol import Cotangents, Inputs, Pulled, Result, Subject
from ..observation import plain_case
from .program import Program, Run, named, program_of

NEAR = {"float64": 1e-8, "float32": 2e-4}
"""Share of an array's largest entry below which differences do not count here."""

STEPS = (1, 2, 3)
"""Lengths of the small runs."""


@dataclass(frozen=True)
class Measurement:
    """One call of a layer: what it was given, and all results by name; nan: not known.

    ``ahead`` is the program whose values its way back reads, if that is not the right one.
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
    ahead: Program | None = None

    def run(self, program: Program) -> Run:
        """Run a program on the same inputs."""
        return program.run(named(self.p), self.x, self.state)

    @cached_property
    def right(self) -> Run:
        """The run of the right program, or of ``ahead``."""
        program = self.ahead or program_of(self.cell.name)
        assert program  # noqa: S101 - who measures has one
        return self.run(program)

    @cached_property
    def cell(self) -> Cell:
        """The cell that the layer claims to be."""
        return cell_named(self.cell_name)

    @cached_property
    def wrong_outputs(self) -> frozenset[str]:
        """The outputs that are not those of the equations."""
        return self.differing(outputs_of(self.right, self.cell), self.outputs)

    @cached_property
    def wrong_gradients(self) -> frozenset[str]:
        """The gradients that are not those of the equations."""
        return self.differing(self.right_gradients, self.gradients)

    @cached_property
    def right_gradients(self) -> dict[str, Floats]:
        """The gradients of the equations."""
        return self.right.pull(self.dy, self.dfinal)

    def differing(
        self, computed: Mapping[str, Floats], measured: Mapping[str, Floats]
    ) -> frozenset[str]:
        """Return the names whose arrays are not as measured."""
        return frozenset(n for n in measured if not self.same(n, computed.get(n)))

    def agrees(self, computed: Mapping[str, Floats]) -> bool:
        """Whether all gradients are as measured; those that are wrong are looked at first."""
        first = self.wrong_gradients
        names = [*first, *(n for n in self.gradients if n not in first)]
        return all(self.same(n, computed.get(n)) for n in names)

    def same(self, name: str, computed: Floats | None) -> bool:
        """Whether an array is as measured, wherever that is known."""
        measured, known, limit = self._known[name]
        if computed is None:
            computed = np.zeros_like(measured)
        if np.shape(computed) not in ((), measured.shape):
            return False
        off = np.abs(measured - computed)
        return bool((off if known is None else off[known]).max(initial=0.0) <= limit)

    @cached_property
    def _known(self) -> dict[str, tuple[Floats, Floats | None, float]]:
        """By name: the array, where it is known if not everywhere, and how far off another is."""
        result = {}
        for name, array in (self.outputs | self.gradients).items():  # type: ignore[operator]
            known = ~np.isnan(array)
            result[name] = (array, None if known.all() else known, self.limit(array[known]))
        return result

    def limit(self, array: Floats) -> float:
        """Return how far off an array may be that is the same."""
        size = float(np.abs(array).max(initial=0.0))
        return NEAR[self.case.dtype] * max(size, 1e-30)


def outputs_of(run: Run, cell: Cell) -> dict[str, Floats]:
    """Return what a run gives out, by name."""
    return {"y": run.y} | {f"final {s}": a for s, a in zip(cell.states, run.final, strict=True)}


def measurements(subject: Subject, dtype: str, P: int = 0) -> list[Measurement]:
    """Run a layer on sequences of 1, 2 and 3 steps; nothing if it has no program, or raises.

    ``P`` is the width of the projection of a layer that offers one.
    """
    if program_of(subject.cells[0]) is None:
        return []
    cases = (small_case(subject, dtype, T) for T in STEPS)
    return runs([replace(case, P=P or case.P) for case in cases], subject)


def runs(cases: Iterable[Case], subject: Subject) -> list[Measurement]:
    """Run a layer in these cases; nothing if it raises."""
    try:
        return [measured(subject, case) for case in cases]
    except (SubjectCrashed, NotOffered, Mismatch, ValueError):
        return []


def small_case(subject: Subject, dtype: str, T: int, B: int = 2) -> Case:
    """Return a case of T steps whose other sizes all differ."""
    return plain_case(subject, dtype, T=T, B=B, D=5, H=4, P=3, seed=T)


Cut = Callable[[Floats, State], tuple[Floats, State]]
"""From the cotangents that were drawn to those that a layer is given."""


def measured(
    subject: Subject,
    case: Case,
    cut: Cut = lambda dy, dfinal: (dy, dfinal),
    *,
    recurrent: bool = True,
) -> Measurement:
    """Call a layer once and sort what comes back; U is 0 unless it is ``recurrent``."""
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    dy, dfinal = cut(dy, dfinal)
    if not recurrent:
        inputs = replace(inputs, parameters=_without_u(subject, case, inputs.parameters))
    layer = under_test(subject).build(case)
    offered = subject.options.gradient
    result = layer.gradient(inputs, (dy, dfinal)) if offered else layer.forward(inputs)
    return of_call(subject, case, inputs, (dy, dfinal), result)


def of_call(
    subject: Subject, case: Case, inputs: Inputs, cotangents: Cotangents, result: Result
) -> Measurement:
    """Sort what came back from a call; gradients only where it has them."""
    cell = cell_named(subject.cell(case))
    (p,) = subject.parameter_map(case).to_reference(inputs.parameters)
    gradients = (
        _gradients(subject, case, result, p, cell) if isinstance(result, Pulled) else {}
    )  # fmt: skip
    outputs = {"y": result.y}
    outputs |= {f"final {s}": a[0] for s, a in zip(cell.states, result.final, strict=True)}
    given = inputs.state
    state = (
        cell.initial_state(inputs.x, case.B, case.sizes) if given is None
        else tuple(s[0] for s in given)
    )  # fmt: skip
    dy, dfinal = cotangents
    dy = np.zeros_like(result.y) if dy is None else dy
    ends = tuple(
        np.zeros_like(s[0]) if d is None else d[0]
        for d, s in zip(dfinal, result.final, strict=True)
    )
    return Measurement(case, cell.name, p, inputs.x, state, dy, ends, outputs, gradients)


def _gradients(
    subject: Subject, case: Case, pulled: Pulled, p: Parameters, cell: Cell
) -> dict[str, Floats]:
    """Return gradients by the program's names: dW_i, ..., dx, d0_h."""
    found = {f"d{name}": array for name, array in slices(subject, case, pulled.parameters, p)}
    found["dx"] = np.asarray(pulled.x)
    initial = zip(cell.states, pulled.initial, strict=False)
    return found | {f"d0_{s}": np.asarray(a[0]) for s, a in initial}


def slices(
    subject: Subject, case: Case, arrays: Mapping[str, Floats], p: Parameters
) -> Iterator[tuple[str, Floats]]:
    """Yield the reference's slices of a gradient in the layer's own arrays; nan: in no array.

    The map from the reference's gradient to the layer's says where each number stands.
    """
    numbered = _numbered(p)
    flat = np.full(sum(a.size for a in numbered.values()) + 1, np.nan)
    numbers = subject.parameter_map(case).from_reference([Parameters(p.shapes, numbered)])
    for name, places in numbers.items():
        if name in arrays and np.shape(places) == np.shape(arrays[name]):
            at = np.abs(places).astype(int)
            flat[at.ravel()] = (np.sign(places) * arrays[name]).ravel()
    whole = Parameters(p.shapes, {n: flat[a.astype(int)] for n, a in numbered.items()})
    for name in p.names():
        yield name, getattr(whole, name)


def _numbered(p: Parameters) -> dict[str, Floats]:
    """Return 1, 2, ... in the place of the parameters."""
    count, numbered = 0, {}
    for name, array in p.items():
        size = int(np.prod(array.shape))
        numbered[name] = (count + 1.0 + np.arange(size)).reshape(array.shape)
        count += size
    return numbered


def _without_u(subject: Subject, case: Case, arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return a layer's arrays with 0 wherever an entry of U stands."""
    own = subject.parameter_map(case)
    (p,) = own.to_reference(arrays)
    marks = {n: np.full(a.shape, float(n == "U")) for n, a in p.items()}
    marked = own.from_reference([Parameters(p.shapes, marks)])
    return {
        n: np.where(marked[n] != 0, np.zeros_like(a), a) if n in marked else a
        for n, a in arrays.items()
    }
