"""Audits of published vectors: the mistakes of the catalogue that they catch and miss.

A published vector is compared with the equations, with derived bounds; then every mistake computes
it. A mistake is caught if it deviates by more than the suite allows and rounding explains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from ...reference.arrays import Floats
from ...reference.cells import cell_named
from ...reference.layer import Layer
from ..cases.case import Case
from ..checks.quantities import by_name, evaluated
from ..conventions.parameter_map import ExplicitMap, ParameterMap
from ..mutants import Mutant, mutant_subject, mutants
from ..numbers.arithmetic import ARITHMETICS
from ..numbers.bounded import Bounded
from ..numbers.ledger import in_bounds
from ..subjects.protocol import Inputs, Result, cotangents_of
from .rectified import exact, floats
from .selection import hidden

GROUPS = {
    "B": "how the call lies in memory", "C": "which equations", "D": "arithmetic",
    "F": "formulas", "G": "gradients", "J": "forward-mode derivatives",
    "K": "recurrences that are given their gates", "L": "how weights lie",
    "M": "training and modes", "P": "the process and the shapes", "Q": "sequences and lengths",
    "S": "states", "V": "serving, from call to call", "W": "long sequences and wide layers",
}  # fmt: skip
"""Titles of groups of mistakes, by the first letter of their ids."""


Pair = tuple[Floats, tuple[Floats, ...]]
"""Cotangents on y and on each final state."""


class NotAudited(ValueError):
    """A file, or a test in it, cannot be audited; the message gives the reason."""


@dataclass(frozen=True)
class Tolerance:
    """A tolerance: |got - expected| <= atol + rtol |expected| + ulp units in the last place."""

    atol: float = 0.0
    rtol: float = 0.0
    ulp: float = 0.0

    def around(self, value: Floats, dtype: str) -> Floats:
        """Return the tolerance of each number."""
        unit = ARITHMETICS[dtype]
        _, exponent = np.frexp(np.maximum(np.abs(value), unit.tiny))
        ulps = self.ulp * 2 * np.ldexp(unit.roundoff / 2, exponent)
        return np.asarray(self.atol + self.rtol * np.abs(value) + ulps)

    def __str__(self) -> str:
        parts = [f"{name} {value:g}" for name, value in vars(self).items() if value]
        return ", ".join(parts) or "exact"


@dataclass(frozen=True)
class PublishedTest:
    """A published test: the meaning of its arrays, a call, and the expected numbers.

    ``inputs`` has parameters in the layout of ``parameter_map``, x (T, B, D), states (passes, B,
    width). ``expected`` has ``y``, ``final h``, and, with ``cotangents``, gradients by the
    equations' names. ``bounds`` replace ``tolerance`` with a bound of each number; ``unit`` is the
    rounding of printed numbers.
    """

    name: str
    cell: str
    case: Case
    parameter_map: ParameterMap
    inputs: Inputs
    expected: Mapping[str, Floats]
    tolerance: Tolerance
    words: str = ""
    rectified: bool = False
    cotangents: Pair | None = None
    bounds: Mapping[str, Floats] | None = None
    unit: float = 0.0

    def __post_init__(self) -> None:
        """Raise NotAudited for arrays of wrong shapes."""
        case, cell = self.case, cell_named(self.cell)
        widths = cell.widths(case.sizes)
        passes = case.layers * case.directions
        arrays = self.inputs.leaves
        shapes = {"x": (case.T, case.B, cell.input_width(case.sizes))}
        shapes |= {f"state {k}": (passes, case.B, w) for k, w in enumerate(widths)}
        odd = [n for n, shape in shapes.items() if n in arrays and arrays[n].shape != shape]
        outputs = {"y": (case.T, case.B, widths[0] * case.directions)}
        outputs |= {f"final {s}": (passes, case.B, w)
                    for s, w in zip(cell.states, widths, strict=True)}  # fmt: skip
        odd += [n for n, a in self.expected.items() if np.shape(a) != outputs.get(n, np.shape(a))]
        if odd:
            raise NotAudited(f"{self.name}: {', '.join(odd)}: their shapes do not fit its sizes")

    @cached_property
    def derived(self) -> Mapping[str, Bounded]:
        """The results of the equations, with a bound of each number."""
        lift = partial(exact, arithmetic=ARITHMETICS[self.case.dtype], rectified=self.rectified)
        cell, case = cell_named(self.cell), self.case
        layer = Layer(cell, case.sizes, case.layers, case.bidirectional)
        return by_name(
            cell.states, evaluated(layer, self.parameter_map, self.inputs, lift, self.cotangents)
        )

    @property
    def allowance(self) -> str:
        """The tolerance in words."""
        return "what rounding explains" if self.bounds is not None else str(self.tolerance)

    @property
    def ratio(self) -> float:
        """The largest error of the expected numbers, in units of their bounds."""
        ratios = [0.0]
        for name, value in self.expected.items():
            want = self.derived[name]
            free = False if self.bounds is None else np.isinf(self.bounds[name])
            bound = np.where(free, np.inf, want.bound + self.unit)
            ratios.append(float(np.max(in_bounds(value, want.value, bound), initial=0.0)))
        return max(ratios)

    @property
    def tight(self) -> bool:
        """Whether correct implementations may be refused: a bound is wider than the tolerance."""
        return self.bounds is None and any(
            bool(np.any(self.derived[n].bound > self.tolerance.around(a, self.case.dtype)))
            for n, a in self.expected.items()
        )

    @cached_property
    def caught(self) -> frozenset[str]:
        """The ids of the mistakes that it catches."""
        return frozenset(m.id for m in mutants_of(self.cell) if self._catches(m))

    def _catches(self, mutant: Mutant) -> bool:
        if mutant.isolated or self._dtype_of(mutant) not in mutant.dtypes:
            return False
        results = self.results_of(mutant)
        return results is None or any(self._beyond(name, results[name]) for name in self.expected)

    def _dtype_of(self, mutant: Mutant) -> str:
        return "float64" if "float64" in mutant.dtypes else self.case.dtype

    def results_of(self, mutant: Mutant) -> Mapping[str, Floats] | None:
        """Return the results of a mistake by name; None if it raises."""
        dtype = self._dtype_of(mutant)
        case = replace(self.case, dtype=dtype)
        with np.errstate(all="ignore"):
            try:
                layer = mutant_subject(mutant, self.cell).build(case)
                inputs = self._mutant_inputs(dtype)
                result: Result = (
                    layer.forward(inputs)
                    if self.cotangents is None
                    else layer.gradients(
                        inputs, [cotangents_of(lambda d: d.astype(dtype), self.cotangents)]
                    )[0]
                )
            except Exception:
                return None
        named = by_name(cell_named(self.cell).states, result)
        return {name: np.asarray(array).astype(np.float64) for name, array in named.items()}

    def _mutant_inputs(self, dtype: str) -> Inputs:
        """Return the inputs of mistakes, with parameters in the layout of the equations."""
        numbers = self.inputs.map(lambda a: floats(a, rectified=self.rectified).astype(dtype))
        p = self.parameter_map.to_reference(numbers.parameters)
        return replace(numbers, parameters=ExplicitMap(self.cell, self.case).from_reference(p))

    def _beyond(self, name: str, got: Floats) -> bool:
        """Return whether a mistake's numbers deviate by more than tolerance and rounding."""
        want = self.expected[name]
        if got.shape != want.shape:
            return True
        room = self.tolerance.around(want, self.case.dtype) + self.derived[name].bound
        if self.bounds is not None:
            room = self.bounds[name]
        return bool(np.any(in_bounds(got, want, room) > 1))


def mutants_of(cell: str) -> tuple[Mutant, ...]:
    """Return the mistakes of a cell."""
    return tuple(m for m in mutants() if cell in m.cells)


@dataclass(frozen=True)
class MistakeGroup:
    """A group of mistakes that vectors can show: the missed ones, and the size of the group."""

    title: str
    missed: tuple[Mutant, ...]
    count: int


@dataclass(frozen=True)
class Audit:
    """The mistakes that the vectors of one cell catch together."""

    cell: str
    vectors: tuple[PublishedTest, ...]

    @property
    def showable(self) -> tuple[Mutant, ...]:
        """The mistakes of the cell that some vector could show, gradients included."""
        dtype = self.vectors[0].case.dtype
        home = mutants_of(self.cell)
        return tuple(m for m in home if m.id in self.caught or not hidden(m, dtype, None))

    @cached_property
    def caught(self) -> frozenset[str]:
        """The ids of the mistakes that at least one vector catches."""
        return frozenset().union(*(vector.caught for vector in self.vectors))

    @property
    def groups(self) -> tuple[MistakeGroup, ...]:
        """All groups, with their missed mistakes."""
        groups = []
        for letter, title in GROUPS.items():
            members = [m for m in self.showable if m.id[0] == letter]
            missed = tuple(m for m in members if m.id not in self.caught)
            if members:
                groups.append(MistakeGroup(title, missed, len(members)))
        return tuple(groups)


def audits(vectors: Sequence[PublishedTest]) -> tuple[Audit, ...]:
    """Return an audit of each cell, with the vectors that agree with the equations."""
    cells = dict.fromkeys(v.cell for v in vectors if v.ratio <= 1)
    return tuple(
        Audit(cell, tuple(v for v in vectors if v.cell == cell and v.ratio <= 1)) for cell in cells
    )
