"""Somebody's vectors in front of the catalogue: which mistakes they see, and which they miss.

A published vector is held to the equations, with derived bounds; then every mistake computes it. A
mistake is seen where it is off by more than what the suite allows and what rounding explains.
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
"""What mistakes are about, by the first letter of their ids."""


Pair = tuple[Floats, tuple[Floats, ...]]
"""Cotangents on y and on each final state."""


class Unread(ValueError):
    """Why a file, or a test in it, cannot be audited."""


@dataclass(frozen=True)
class Allowed:
    """What a suite allows: |got - expected| <= atol + rtol |expected|, plus so many ULPs of it."""

    atol: float = 0.0
    rtol: float = 0.0
    ulp: float = 0.0

    def of(self, value: Floats, dtype: str) -> Floats:
        """Return it for each number."""
        unit = ARITHMETICS[dtype]
        _, exponent = np.frexp(np.maximum(np.abs(value), unit.tiny))
        ulps = self.ulp * 2 * np.ldexp(unit.roundoff / 2, exponent)
        return np.asarray(self.atol + self.rtol * np.abs(value) + ulps)

    def __str__(self) -> str:
        parts = [f"{name} {value:g}" for name, value in vars(self).items() if value]
        return ", ".join(parts) or "exact"


@dataclass(frozen=True)
class Published:
    """A test of somebody's: how arrays are to be read, a call, and the numbers that are expected.

    ``inputs`` has parameters as ``own`` reads them, x (T, B, D), states (passes, B, width);
    ``expected`` is by name, ``y``, ``final h``, and gradients, by the equations' names, where there
    are ``cotangents``. ``bounds`` are what is allowed of each number, instead of ``allowed``;
    ``unit`` is how far a printed number may be from the one that was computed.
    """

    name: str
    cell: str
    case: Case
    own: ParameterMap
    inputs: Inputs
    expected: Mapping[str, Floats]
    allowed: Allowed
    words: str = ""
    rectified: bool = False
    cotangents: Pair | None = None
    bounds: Mapping[str, Floats] | None = None
    unit: float = 0.0

    def __post_init__(self) -> None:
        """Refuse arrays of other shapes; Unread says which."""
        case, cell = self.case, cell_named(self.cell)
        widths = cell.widths(case.sizes)
        passes = case.layers * case.directions
        given = self.inputs.leaves
        wanted = {"x": (case.T, case.B, cell.input_width(case.sizes))}
        wanted |= {f"state {k}": (passes, case.B, w) for k, w in enumerate(widths)}
        odd = [n for n, shape in wanted.items() if n in given and given[n].shape != shape]
        outputs = {"y": (case.T, case.B, widths[0] * case.directions)}
        outputs |= {f"final {s}": (passes, case.B, w)
                    for s, w in zip(cell.states, widths, strict=True)}  # fmt: skip
        odd += [n for n, a in self.expected.items() if np.shape(a) != outputs.get(n, np.shape(a))]
        if odd:
            raise Unread(f"{self.name}: {', '.join(odd)}: other shapes than its sizes say")

    @cached_property
    def derived(self) -> Mapping[str, Bounded]:
        """What the equations give, with a bound of each number."""
        lift = partial(exact, arithmetic=ARITHMETICS[self.case.dtype], rectified=self.rectified)
        cell, case = cell_named(self.cell), self.case
        layer = Layer(cell, case.sizes, case.layers, case.bidirectional)
        return by_name(cell.states, evaluated(layer, self.own, self.inputs, lift, self.cotangents))

    @property
    def allowance(self) -> str:
        """What is allowed, in words."""
        return "what rounding explains" if self.bounds is not None else str(self.allowed)

    @property
    def ratio(self) -> float:
        """The largest error of what is expected, in units of its bound."""
        ratios = [0.0]
        for name, value in self.expected.items():
            want = self.derived[name]
            free = False if self.bounds is None else np.isinf(self.bounds[name])
            bound = np.where(free, np.inf, want.bound + self.unit)
            ratios.append(float(np.max(in_bounds(value, want.value, bound), initial=0.0)))
        return max(ratios)

    @property
    def tight(self) -> bool:
        """Whether a right implementation may be refused: a bound is wider than what is allowed."""
        return self.bounds is None and any(
            bool(np.any(self.derived[n].bound > self.allowed.of(a, self.case.dtype)))
            for n, a in self.expected.items()
        )

    @cached_property
    def seen(self) -> frozenset[str]:
        """The mistakes that it sees."""
        return frozenset(m.id for m in at_home(self.cell) if self._sees(m))

    def _sees(self, mutant: Mutant) -> bool:
        dtype = self.case.dtype if "float64" not in mutant.dtypes else "float64"
        if mutant.isolated or dtype not in mutant.dtypes:
            return False
        made = self.made_by(mutant)
        return made is None or any(self._beyond(name, made[name]) for name in self.expected)

    def made_by(self, mutant: Mutant) -> Mapping[str, Floats] | None:
        """Return what a mistake makes of it, by name; None if it raises."""
        dtype = self.case.dtype if "float64" not in mutant.dtypes else "float64"
        case = Case(**{**vars(self.case), "dtype": dtype})
        with np.errstate(all="ignore"):
            try:
                layer, given = mutant_subject(mutant, self.cell).build(case), self._given(dtype)
                result: Result = (
                    layer.forward(given)
                    if self.cotangents is None
                    else layer.gradients(
                        given, [cotangents_of(lambda d: d.astype(dtype), self.cotangents)]
                    )[0]
                )
            except Exception:
                return None
        named = by_name(cell_named(self.cell).states, result)
        return {name: np.asarray(array).astype(np.float64) for name, array in named.items()}

    def _given(self, dtype: str) -> Inputs:
        """Return what a mistake is called with, the parameters as the equations have them."""
        numbers = self.inputs.map(lambda a: floats(a, rectified=self.rectified).astype(dtype))
        p = self.own.to_reference(numbers.parameters)
        return replace(numbers, parameters=ExplicitMap(self.cell, self.case).from_reference(p))

    def _beyond(self, name: str, got: Floats) -> bool:
        """Whether a mistake's numbers are off by more than what is allowed, and by rounding."""
        want = self.expected[name]
        if got.shape != want.shape:
            return True
        room = self.allowed.of(want, self.case.dtype) + self.derived[name].bound
        if self.bounds is not None:
            room = self.bounds[name]
        return bool(np.any(in_bounds(got, want, room) > 1))


def at_home(cell: str) -> tuple[Mutant, ...]:
    """Return the mistakes of a cell."""
    return tuple(m for m in mutants() if cell in m.cells)


@dataclass(frozen=True)
class Share:
    """A group of mistakes of a cell that vectors can show: those that are missed, of how many."""

    group: str
    missed: tuple[Mutant, ...]
    count: int


@dataclass(frozen=True)
class Audit:
    """What the vectors of one cell see together."""

    cell: str
    vectors: tuple[Published, ...]

    @property
    def showable(self) -> tuple[Mutant, ...]:
        """The mistakes of the cell that some vector could show, gradients included."""
        dtype = self.vectors[0].case.dtype
        home = at_home(self.cell)
        return tuple(m for m in home if m.id in self.seen or not hidden(m, dtype, None))

    @cached_property
    def seen(self) -> frozenset[str]:
        """Those that some vector sees."""
        return frozenset().union(*(each.seen for each in self.vectors))

    @property
    def shares(self) -> tuple[Share, ...]:
        """Every group, with what is missed."""
        result = []
        for letter, title in GROUPS.items():
            own = [m for m in self.showable if m.id[0] == letter]
            missed = tuple(m for m in own if m.id not in self.seen)
            if own:
                result.append(Share(title, missed, len(own)))
        return tuple(result)


def audits(vectors: Sequence[Published]) -> tuple[Audit, ...]:
    """Return an audit of each cell, of the vectors that are right by the equations."""
    cells = dict.fromkeys(each.cell for each in vectors if each.ratio <= 1)
    return tuple(
        Audit(cell, tuple(v for v in vectors if v.cell == cell and v.ratio <= 1)) for cell in cells
    )
