"""Certificates: the smallest tolerance that no right implementation exceeds, quantity by quantity.

The bound of each number is derived by the equations on ``Bounded``, for these inputs and any order
of sums. The share that correct implementations use is measured over random correct evaluations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..checks.oracle import expected_gradient
from ..checks.quantities import by_name, evaluated
from ..mutants import Mutant, mutant_subject, mutants, right_subject
from ..mutants.catalogue import MutantSubject
from ..numbers.bounded import Bounded
from ..numbers.ledger import Mismatch, in_bounds
from ..subjects.called import SubjectCrashed, layer_of, under_test
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Inputs, cotangents_of
from .evaluation import Evaluation


@dataclass(frozen=True)
class Tolerance:
    """The tolerance of one quantity: its largest bound, in four measures, and the share in use.

    ``absolute``; ``relative``, to each number itself; ``of_largest``, relative to the largest
    number; ``ulps``, units in the last place of each number. ``used`` is the largest error of all
    evaluations in units of its bound, ``seen`` the largest error itself. Unknown values are inf.
    """

    quantity: str
    absolute: float
    relative: float
    of_largest: float
    ulps: float
    used: float
    seen: float


@dataclass(frozen=True)
class Mistake:
    """A mistake of the catalogue: its results, and whether this setting can show it at all.

    ``shown`` if a number lies beyond its bound; ``got`` has no quantity whose shape is wrong, and
    is empty for a mistake that raises.
    """

    id: str
    statement: str
    shown: bool
    got: Mapping[str, Floats]


@dataclass(frozen=True)
class Setting:
    """A cell with sizes and inputs, its expected results and their bounds.

    One call with an initial state, rows of one length, and cotangents on all outputs. Without
    ``gradients`` only outputs of mistakes are computed.
    """

    subject: MutantSubject
    case: Case
    inputs: Inputs
    cotangents: tuple[Floats, tuple[Floats, ...]]
    expected: Mapping[str, Bounded]
    gradients: bool = True

    def evaluated(self, rng: np.random.Generator) -> dict[str, Floats]:
        """Return the results of some correct implementation; float64 arrays by quantity."""
        evaluation = Evaluation.drawn(self.case.arithmetic, rng)
        layer, parameters = layer_of(self.subject, self.case), self.subject.parameter_map(self.case)
        pulled = evaluated(layer, parameters, self.inputs, evaluation.lift, self.cotangents)
        named = by_name(layer.cell.states, pulled)
        return {name: np.asarray(a).astype(np.float64) for name, a in named.items()}

    def tolerances(self, evaluations: int, seed: int) -> tuple[Tolerance, ...]:
        """Return each quantity's tolerance, with the share that ``evaluations`` use of it."""
        used, largest = dict.fromkeys(self.expected, 0.0), dict.fromkeys(self.expected, 0.0)
        rng = np.random.default_rng(seed)
        for _ in range(evaluations):
            for name, got in self.evaluated(rng).items():
                error = np.abs(got - self.expected[name].value)
                used[name] = max(used[name], self.ratio(name, got))
                largest[name] = max(largest[name], float(error.max(initial=0.0)))
        return tuple(_tolerance(n, w, used[n], largest[n]) for n, w in self.expected.items())

    def ratio(self, quantity: str, got: Floats) -> float:
        """Return the largest error of a quantity in units of its bound."""
        want = self.expected[quantity]
        return float(np.max(in_bounds(got, want.value, want.bound), initial=0.0))

    def mistakes(self) -> Iterator[Mistake]:
        """Yield the results of each mistake of the cell on these inputs, in float64."""
        for mutant in mutants():
            at_home = self.subject.cell_name in mutant.cells and "float64" in mutant.dtypes
            if at_home and not mutant.isolated:
                yield self.mistake(mutant)

    def mistake(self, mutant: Mutant, dtype: str = "float64") -> Mistake:
        """Return the results of a mistake of the cell on these inputs, in a dtype."""
        subject = under_test(mutant_subject(mutant, self.subject.cell_name))
        case = replace(self.case, dtype=dtype, assumed="")
        states = layer_of(subject, self.case).cell.states
        try:
            with np.errstate(all="ignore"):
                built, wide = subject.build(case), dtype == "float64"
                # copies, because some mistakes write into their arguments
                inputs = self.inputs.map(_wide) if wide else self.inputs
                pair = cotangents_of(_wide, self.cotangents) if wide else self.cotangents
                result = built.gradient(inputs, pair) if self.gradients else built.forward(inputs)
        except (SubjectCrashed, Mismatch):  # visible without any tolerance
            return Mistake(mutant.id, mutant.statement, shown=True, got={})
        got = {n: np.asarray(a) for n, a in by_name(states, result).items()}
        same = {n: a.astype(np.float64) for n, a in got.items() if self._fits(n, a)}
        is_visible = len(same) < len(self.expected) or any(
            self.ratio(n, a) > 1 for n, a in same.items()
        )
        return Mistake(mutant.id, mutant.statement, is_visible, same)

    def _fits(self, quantity: str, got: Floats) -> bool:
        return quantity in self.expected and got.shape == self.expected[quantity].shape


def _wide(array: Floats) -> Floats:
    return np.array(array, dtype=np.float64)


def setting(cell: str, case: Case, arrays: Mapping[str, Floats] | None = None) -> Setting:
    """Draw inputs and derive expected results; ``arrays`` replace drawn ones.

    Weights are drawn as in PyTorch, uniformly from [-1/√H, 1/√H]. Raises ValueError for an array
    that the cell does not have or of another shape.
    """
    subject = right_subject(cell)
    random = draw_inputs(subject, case)
    generator, reach = case.generator("weights"), case.H**-0.5
    parameters: dict[str, Floats] = {
        name: generator.uniform(-reach, reach, a.shape).astype(case.number_type)
        for name, a in random.parameters.items()
    }
    inputs = _replaced(Inputs(parameters, random.x, random.state, None), arrays or {})
    cotangents = draw_cotangents(subject, case)
    tested = under_test(subject)
    want = expected_gradient(tested, case, inputs, cotangents)
    states = layer_of(subject, case).cell.states
    return Setting(subject, case, inputs, cotangents, by_name(states, want))


def _replaced(inputs: Inputs, arrays: Mapping[str, Floats]) -> Inputs:
    leaves = inputs.leaves
    for name, array in arrays.items():
        if name not in leaves:
            names = ", ".join(map(repr, leaves))
            raise ValueError(f"{name!r}: no such array; there are {names}")
        if np.shape(array) != leaves[name].shape:
            raise ValueError(
                f"{name}: has the shape {np.shape(array)}, and the sizes ask for "
                f"{leaves[name].shape}"
            )
        if np.asarray(array).dtype.kind not in "fiu" or not np.all(np.isfinite(array)):
            raise ValueError(f"{name}: expected finite numbers")
        leaves[name] = np.asarray(array).astype(leaves[name].dtype)
    states = [leaves[name] for name in leaves if name.startswith("state ")]
    named = {name: leaves[name] for name in inputs.parameters}
    return Inputs(named, leaves["x"], tuple(states) or None, inputs.lengths)


def _tolerance(quantity: str, want: Bounded, used: float, largest_error: float) -> Tolerance:
    value, bound = np.abs(want.value), np.asarray(want.bound)
    if not value.size:
        return Tolerance(quantity, 0.0, 0.0, 0.0, 0.0, used, largest_error)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(bound == 0, 0.0, bound / value)
        ulps = bound / units_in_the_last_place(value, want)
        of_largest = float(bound.max() / value.max()) if bound.max() else 0.0
    return Tolerance(
        quantity, float(bound.max()), float(relative.max()), of_largest, float(ulps.max()),
        used, largest_error,
    )  # fmt: skip


def units_in_the_last_place(value: Floats, want: Bounded) -> Floats:
    """Return the distance from each magnitude to the next number of the arithmetic."""
    a = want.arithmetic
    _, exponent = np.frexp(np.maximum(value, a.tiny))
    return np.asarray(np.ldexp(a.roundoff, exponent))
