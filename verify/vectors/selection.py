"""Which cases become vectors: the fewest numbers that catch the mistakes of a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ...reference.cells import cell_named
from ...reference.functions import Array
from ..cases.case import Case
from ..checks.oracle import expected_gradient
from ..checks.quantities import by_name
from ..mutants import mutants, right_subject
from ..numbers.bounded import Bounded
from ..subjects.called import layer_of, under_test
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..tolerances.certificate import Setting

SIZES = ((3, 2, 2, 3), (4, 3, 3, 2), (1, 1, 2, 2), (5, 1, 1, 1), (2, 3, 4, 4))
"""T, B, D, H: all different where a mistake may exchange two of them."""

DEPTHS = ((1, False), (2, False), (1, True), (2, True))
SPECIAL = (
    Case(0, 2, 1, 3),
    Case(3, 3, 2, 2),
    Case(40, 1, 2, 2, seed=1),
    Case(110, 1, 1, 2, scale="large"),
    Case(1010, 1, 1, 1),
    Case(6, 4, 3, 2, lengths=True, zero_length=True, state=False),
    Case(4, 2, 3, 2, lengths=True, zero_length=True),
    Case(4, 2, 2, 3, bias=False),
    Case(4, 2, 3, 5, scale="saturating"),
    Case(4, 2, 3, 5, scale="huge", seed=1),
    Case(4, 2, 3, 5, scale="subnormal", seed=2),
)
"""No steps, many steps, rows of length 0, no bias, weights at the ends of what a dtype holds.

Where a row has length 0, NaN stands in the padding of all: it must have no influence.
"""

ALL, FAR_STATE = "", "far state"
FAR = 100.0
"""By what initial states are multiplied, which are then beyond what a clip would leave."""

Part = tuple[Case, str]
"""A case, and the one output that has a cotangent; ALL, or FAR_STATE with ``FAR`` states."""


def candidates(cell: str, dtype: str, seed: int) -> Iterator[Part]:
    """Yield the cases to choose from: sizes, states, lengths, layers, directions, scales."""

    def of_cell(case: Case) -> Case:
        P = max(1, case.H - 1) if cell == "lstm-projected" else 0
        return replace(case, P=P, dtype=dtype, seed=case.seed + seed)

    for (T, B, D, H), (layers, both), state in product(SIZES, DEPTHS, (True, False)):
        case = of_cell(Case(T, B, D, H, layers=layers, bidirectional=both, state=state))
        yield case, ALL
        yield replace(case, scale="large"), ALL
        if B > 1:
            yield replace(case, lengths=True), ALL
    for case in SPECIAL:
        yield of_cell(case), ALL
    yield of_cell(Case(2, 2, 2, 2)), FAR_STATE
    for output in ("y", *(f"final {state}" for state in cell_named(cell).states)):
        yield of_cell(Case(3, 2, 2, 3, seed=1)), output


@dataclass(frozen=True)
class Vector:
    """One case with its numbers, what is expected of them, and the mistakes that they catch."""

    setting: Setting
    catches: frozenset[str]
    output: str = ALL
    """The one that has a cotangent, or ALL, or FAR_STATE."""

    @property
    def case(self) -> Case:
        """The case."""
        return self.setting.case

    @property
    def expected(self) -> Mapping[str, Bounded]:
        """Every output, state and gradient, with a bound for each entry."""
        return self.setting.expected

    @property
    def given(self) -> dict[str, Array]:
        """What the layer is called with, cotangents included, by name."""
        inputs, (dy, dfinal) = self.setting.inputs, self.setting.cotangents
        states = layer_of(self.setting.subject, self.case).cell.states
        named = {name.replace("state ", "initial "): a for name, a in inputs.leaves.items()}
        for k, state in enumerate(states):
            if f"initial {k}" in named:
                named[f"initial {state}"] = named.pop(f"initial {k}")
        if inputs.lengths is not None:
            named["lengths"] = inputs.lengths
        ends = {f"cotangent of final {s}": d for s, d in zip(states, dfinal, strict=True)}
        return named | {"cotangent of y": dy} | ends

    @property
    def entries(self) -> int:
        """How many numbers it has."""
        given = sum(array.size for array in self.given.values())
        return int(given + 2 * sum(want.value.size for want in self.expected.values()))

    @property
    def reason(self) -> str:
        """What it is there for, in a line."""
        case = self.case
        parts = [f"{case.T} steps, {case.B} rows"]
        parts += ["rows of different lengths"] * case.lengths
        parts += [f"{case.layers} layers"] * (case.layers > 1)
        parts += ["both directions"] * case.bidirectional
        parts += ["an initial state"] if case.state else ["no initial state"]
        parts += [f"{case.scale} weights"] * (case.scale != "unit")
        parts += ["no bias"] * (not case.bias)
        parts += ["states far from 0"] * (self.output == FAR_STATE)
        alone = self.output not in (ALL, FAR_STATE)
        parts += [f"a cotangent on {self.output} alone"] * alone
        return ", ".join(parts)


def vector(cell: str, case: Case, output: str = ALL) -> Vector:
    """Draw a case's numbers, derive what is expected, and run every mistake on them."""
    subject = right_subject(cell)
    states = layer_of(subject, case).cell.states
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    if case.zero_length:
        padding = np.arange(case.T)[:, None] >= np.asarray(inputs.lengths)
        inputs = replace(inputs, x=np.where(padding[:, :, None], np.nan, inputs.x))
    if output == FAR_STATE:
        inputs = replace(inputs, state=tuple(FAR * s for s in inputs.state or ()))
    elif output:
        dy = dy if output == "y" else np.zeros_like(dy)
        pairs = zip(states, dfinal, strict=True)
        dfinal = tuple(d if output == f"final {s}" else np.zeros_like(d) for s, d in pairs)
    want = expected_gradient(under_test(subject), case, inputs, (dy, dfinal))
    setting = Setting(subject, case, inputs, (dy, dfinal), by_name(states, want))
    shown = (mistake.id for mistake in setting.mistakes() if mistake.shown)
    return Vector(setting, frozenset(shown), output)


@dataclass(frozen=True)
class Selection:
    """The vectors of a cell in a dtype, and the mistakes that none of them can show, with why."""

    cell: str
    dtype: str
    vectors: tuple[Vector, ...]
    unseen: Mapping[str, str]

    @property
    def catches(self) -> frozenset[str]:
        """The mistakes that they catch."""
        return frozenset().union(*(vector.catches for vector in self.vectors))


def select(
    cell: str, dtype: str, seed: int = 0, on_case: Callable[[str], None] = lambda reason: None
) -> Selection:
    """Choose vectors greedily: the next is the one that catches most for its size.

    ``on_case`` is called after each candidate, with what it is.
    """
    left: list[Vector] = []
    for case, output in candidates(cell, dtype, seed):
        each = vector(cell, case, output)
        on_case(each.reason)
        if np.isfinite(each.expected["y"].bound).all():
            left.append(each)
    chosen: list[Vector] = []
    caught: frozenset[str] = frozenset()
    while left:
        best = max(left, key=lambda v: (len(v.catches - caught) / v.entries, -v.entries))
        if not best.catches - caught:
            break
        chosen.append(best)
        left.remove(best)
        caught |= best.catches
    chosen = _without_spare(chosen)
    return Selection(cell, dtype, tuple(chosen), dict(_unseen(cell, caught)))


def _without_spare(chosen: list[Vector]) -> list[Vector]:
    """Drop what later choices have made unnecessary, the largest first."""
    kept = list(chosen)
    for each in sorted(chosen, key=lambda v: -v.entries):
        others: Iterable[frozenset[str]] = (v.catches for v in kept if v is not each)
        if each.catches <= frozenset().union(*others):
            kept.remove(each)
    return kept


TRAINING = "it shows in training alone, where masks are drawn"
CALLS = "it shows from one call to another"
NOT_OF_ONE_CALL = {
    "dropout": TRAINING, "modes": TRAINING, "repeat": CALLS, "reweight": CALLS, "purity": CALLS,
    "backward-twice": CALLS, "jvp": "it is of forward-mode derivatives",
    "batch-first": "it is of another layout of the call", "unbatched": "it is of another layout "
    "of the call", "strided": "it depends on how arrays lie in memory",
    "cotangents": "it shows where an output has no cotangent at all",
    "dtype": "it is of the dtype that comes back",
    "wide": "it shows at widths that would make vectors large",
}  # fmt: skip
"""Checks of what the numbers of one call do not show, and why."""

ENDS = "it ends its process, or never returns: no numbers show that"
TOO_LARGE = "it shows at sizes or in relations that these vectors do not have: {}"


def _unseen(cell: str, caught: frozenset[str]) -> Iterator[tuple[str, str]]:
    for mutant in mutants():
        if cell not in mutant.cells or mutant.id in caught:
            continue
        reasons = [NOT_OF_ONE_CALL[c] for c in mutant.killed_by if c in NOT_OF_ONE_CALL]
        if mutant.isolated:
            yield mutant.id, ENDS
        elif "float64" not in mutant.dtypes:
            yield mutant.id, f"it shows only in {', '.join(mutant.dtypes)}"
        elif reasons:
            yield mutant.id, reasons[0]
        else:
            yield mutant.id, TOO_LARGE.format(", ".join(mutant.killed_by))
