"""A recorded example as a subject that answers its one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...reference.cells import cell_named
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..cases.options import Options
from ..conventions import Convention
from ..conventions.parameter_map import ConventionMap, ParameterMap
from ..subjects.called import NotOffered
from ..subjects.protocol import Built, Cotangents, Inputs, OneCell, Pulled, Result
from .candidates import Candidate
from .example import GRADIENT, Example

END = "_l0"
"""The ending of the names of the arrays of a pass."""


@dataclass(frozen=True)
class NamedMap(ParameterMap):
    """The map of a convention's arrays with the names and shapes of a file.

    ``names`` maps the convention's names to the file's, both with the ending of the pass.
    """

    inner: ConventionMap
    names: Mapping[str, str]
    own: Mapping[str, tuple[int, ...]]

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the file's arrays."""
        return self.own

    def draw(self, name: str, shape: tuple[int, ...]) -> Array:
        """Draw as the convention's map does."""
        theirs = next(n for n, mine in self.names.items() if mine == name)
        return self.inner.draw(theirs, self.inner.shapes()[theirs]).reshape(shape)

    def to_reference(self, named: Mapping[str, Array]) -> Sequence[Parameters]:
        """Return the reference's parameters."""
        shapes = self.inner.shapes()
        return self.inner.to_reference(
            {n: _shaped(named[mine], shapes[n]) for n, mine in self.names.items()}
        )

    def pack(self, parameters: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return arrays that mean these parameters."""
        return self._named(self.inner.pack(parameters))

    def from_reference(self, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return a gradient in the file's arrays."""
        return self._named(self.inner.from_reference(gradient))

    def place(self, name: str, index: tuple[int, ...]) -> str:
        """Return the gate and unit of an entry."""
        theirs = next(n for n, mine in self.names.items() if mine == name)
        shape = self.inner.shapes()[theirs]
        flat = np.ravel_multi_index(index, self.own[name])
        return self.inner.place(theirs, tuple(int(k) for k in np.unravel_index(flat, shape)))

    def _named(self, theirs: Mapping[str, Array]) -> dict[str, Array]:
        return {mine: _shaped(theirs[n], self.own[mine]) for n, mine in self.names.items()}


def _shaped(array: Array, shape: tuple[int, ...]) -> Array:
    return array if array.shape == shape else array.reshape(*shape)


@dataclass(frozen=True)
class Recorded(OneCell):
    """A file's example, read by one convention, in the place of the layer that computed it."""

    candidate: Candidate
    example: Example
    name: str = "arrays"

    @property
    def convention(self) -> Convention:
        """The convention of its arrays."""
        return self.candidate.convention

    @property
    def case(self) -> Case:
        """The case of the one call."""
        e = self.example
        sizes = e.sizes
        return Case(
            e.steps, e.rows, sizes.D, sizes.H, sizes.P or 0, lengths=e.lengths is not None,
            state=e.state is not None, dtype=e.dtype,
        )  # fmt: skip

    @property
    def options(self) -> Options:
        """The options of the one call."""
        e = self.example
        return Options(
            layers=False, bidirectional=False, bias=False, lengths=e.lengths is not None,
            zero_length=e.lengths is not None and bool((e.lengths == 0).any()),
            projection=e.sizes.P is not None, state=e.state is not None,
            default_state=e.state is None, gradient=bool(e.gradients),
            batch_first=e.rows_first,
        )  # fmt: skip

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtype in which it computes."""
        return (self.example.dtype,)

    @property
    def cells(self) -> tuple[str, ...]:
        """The reference's cell of the convention."""
        return (str(self.convention.cell),)

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the cell's states."""
        return cell_named(self.cells[0]).states

    def version(self) -> str:
        """Return "": the system is unknown."""
        return ""

    @cached_property
    def own(self) -> dict[str, str]:
        """The names of the file's arrays, by those with the ending of the pass."""
        return {n.removesuffix(END) + END: n for n in self.example.parameters}

    def parameter_map(self, case: Case) -> NamedMap:
        """Return the map of the file's arrays by the convention, also for other sizes."""
        names = {f"{n}{END}": f"{mine}{END}" for n, mine in self.candidate.names.items()}
        inner = ConventionMap(self.convention, case)
        shapes = {mine: np.shape(self.example.parameters[n]) for mine, n in self.own.items()}
        if case.sizes != self.case.sizes:
            shapes = {names[n]: shape for n, shape in inner.shapes().items()}
        return NamedMap(inner, names, shapes)

    def build(self, case: Case) -> Built:
        """Raise NotOffered: there is no program."""
        raise NotOffered("there is no program, one example alone")

    @property
    def inputs(self) -> Inputs:
        """The arguments of the one call."""
        e = self.example
        state = None if e.state is None else tuple(self._in_dtype(s[None]) for s in e.state)
        named = {mine: self._in_dtype(e.parameters[n]) for mine, n in self.own.items()}
        return Inputs(named, self._in_dtype(e.x), state, e.lengths)

    @property
    def cotangents(self) -> Cotangents:
        """The cotangents on the results."""
        dy, dfinal = self.example.cotangents or (None, ())
        ends = tuple(None if d is None else self._in_dtype(d[None]) for d in dfinal)
        ends += (None,) * (len(self.states) - len(ends))
        return None if dy is None else self._in_dtype(dy), ends

    @property
    def gradients(self) -> dict[str, Array]:
        """The recorded gradients by the checks' names."""
        recorded, mine = self.example.gradients, {n: name for name, n in self.own.items()}
        return {
            GRADIENT + mine.get(n, n): d[None] if n.startswith("initial ") else d
            for n, d in recorded.items()
        }

    def result(self, gap: float = np.nan) -> Result:
        """Return the recorded results, with ``gap`` for missing numbers."""
        e, case = self.example, self.case
        widths = cell_named(self.cells[0]).widths(case.sizes)
        y = np.full((case.T, case.B, widths[0]), gap) if e.y is None else e.y
        if e.padded == "others":  # padding with other numbers than 0 is allowed
            y = np.where(e.shown[..., None], y, gap)
        finals = (*e.final, *(None,) * (len(widths) - len(e.final)))
        final = tuple(
            np.full((1, case.B, width), gap) if s is None else s[None]
            for s, width in zip(finals, widths, strict=True)
        )
        if not e.gradients:
            return Result(y, final)
        gradients, inputs = self.gradients, self.inputs

        def gradient(name: str, like: Array) -> Array:
            return gradients.get(GRADIENT + name, np.full(like.shape, gap))

        named = {n: gradient(n, a) for n, a in inputs.parameters.items()}
        initial = tuple(
            gradient(f"initial {s}", a)
            for s, a in zip(self.states, inputs.state or (), strict=False)
        )
        return Pulled(y, final, named, gradient("x", inputs.x), initial)

    def _in_dtype(self, array: Array) -> Array:
        return np.array(array, dtype=self.case.number_type)
