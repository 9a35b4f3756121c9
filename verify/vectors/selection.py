"""The selection of cases for vectors: the fewest numbers that catch a cell's mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ...reference.cells import cell_named
from ..cases.case import Case
from ..cases.options import WORDS
from ..mutants import Mutant, mutants
from ..subjects.framework import FrameworkSubject
from .vector import ALL, FAR_STATE, NAN_PADDING, OUTPUTS, Vector, in_convention, vector

SIZES = ((3, 2, 2, 3), (4, 3, 3, 2), (1, 1, 2, 2), (5, 1, 1, 1), (2, 3, 4, 4))
"""T, B, D, H: different from each other, so that exchanged axes show."""

DEPTHS = ((1, False), (2, False), (1, True), (2, True))
SPECIAL = (
    Case(0, 2, 1, 3),
    Case(3, 3, 2, 2),
    Case(40, 1, 2, 2, seed=1),
    Case(104, 1, 1, 1),
    Case(6, 4, 3, 2, lengths=True, zero_length=True, state=False),
    Case(4, 2, 3, 2, lengths=True, zero_length=True),
    Case(4, 2, 2, 3, bias=False),
    Case(4, 2, 3, 5, scale="saturating"),
    Case(4, 2, 3, 5, scale="huge", seed=1),
    Case(4, 2, 3, 5, scale="subnormal", seed=2),
)
"""No steps, many steps, rows of length 0, no bias, weights at the ends of a dtype's range."""

Part = tuple[Case, str]
"""A case, and the only output with a cotangent, or one of the constants of ``vector.py``."""


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
    yield of_cell(Case(1010, 1, 1, 1)), OUTPUTS
    yield of_cell(Case(6, 4, 3, 2, lengths=True, state=False)), NAN_PADDING
    yield of_cell(Case(6, 4, 3, 2, lengths=True, seed=1)), NAN_PADDING
    yield of_cell(Case(2, 2, 2, 2)), FAR_STATE
    for output in ("y", *(f"final {state}" for state in cell_named(cell).states)):
        yield of_cell(Case(3, 2, 2, 3, seed=1)), output


@dataclass(frozen=True)
class Selection:
    """The vectors of a cell in a dtype, and the mistakes that they do not catch.

    ``unseen`` are the mistakes that no vectors can show, ``missed`` those that vectors of other
    sizes would show, each with its reason. ``adapter`` has the convention of the weights; None is
    that of the equations.
    """

    cell: str
    dtype: str
    vectors: tuple[Vector, ...]
    unseen: Mapping[str, str]
    missed: Mapping[str, str]
    adapter: FrameworkSubject | None = None

    @property
    def catches(self) -> frozenset[str]:
        """The mistakes that they catch."""
        return frozenset().union(*(vector.catches for vector in self.vectors))


def select(
    cell: str,
    dtype: str,
    seed: int = 0,
    on_case: Callable[[str], None] = lambda reason: None,
    adapter: FrameworkSubject | None = None,
) -> Selection:
    """Choose vectors greedily: the next is the one that catches most for its size.

    With an ``adapter`` only cases that its framework offers are used, with weights in its
    convention. ``on_case`` is called with the description of each candidate.
    """
    gradients = adapter is None or adapter.options.gradient
    pool: list[Vector] = []
    for case, output in offered(adapter, candidates(cell, dtype, seed)):
        candidate = vector(cell, case, output, gradients=gradients)
        on_case(candidate.reason)
        if np.isfinite(candidate.expected["y"].bound).all():
            pool.append(candidate)
    chosen = [] if any(v.catches for v in pool) else [v for v in pool if _is_plain(v.case)]
    caught: frozenset[str] = frozenset()
    while pool:
        best = max(pool, key=lambda v: (len(v.catches - caught) / v.entries, -v.entries))
        if not best.catches - caught:
            break
        chosen.append(best)
        pool.remove(best)
        caught |= best.catches
    chosen = _without_spare(chosen) if caught else chosen
    if adapter is not None:
        chosen = [in_convention(v, adapter) for v in chosen]
        caught = frozenset().union(*(v.catches for v in chosen))
    unseen, missed = _others(cell, dtype, caught, adapter)
    return Selection(cell, dtype, tuple(chosen), unseen, missed, adapter)


def offered(adapter: FrameworkSubject | None, parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the cases that an adapter's framework offers; every output has a cotangent or none."""
    for case, output in parts:
        if adapter is None or (
            not adapter.options.lacking(case)
            and (adapter.options.gradient or output in (ALL, FAR_STATE, NAN_PADDING, OUTPUTS))
        ):
            yield case, output


def _is_plain(case: Case) -> bool:
    """Return whether a case is used for a cell without mistakes in the catalogue."""
    sizes = (case.T, case.B, case.D, case.H)
    return sizes == SIZES[0] and case.state and case.scale == "unit" and not case.seed


def _without_spare(chosen: list[Vector]) -> list[Vector]:
    """Drop vectors that later choices made unnecessary, the largest first."""
    needed = list(chosen)
    for candidate in sorted(chosen, key=lambda v: -v.entries):
        others: Iterable[frozenset[str]] = (v.catches for v in needed if v is not candidate)
        if candidate.catches <= frozenset().union(*others):
            needed.remove(candidate)
    return needed


TRAINING = "it shows in training alone, where masks are drawn"
CALLS = "it shows from one call to another"
DTYPE = "it is of the dtype that comes back"
NOT_OF_ONE_CALL = {
    "dropout": TRAINING, "modes": TRAINING, "repeat": CALLS, "reweight": CALLS, "purity": CALLS,
    "schedule": CALLS,
    "backward-twice": CALLS, "jvp": "it is of forward-mode derivatives",
    "batch-first": "it is of another layout of the call", "unbatched": "it is of another layout "
    "of the call", "strided": "it depends on how arrays lie in memory",
    "cotangents": "it shows where an output has no cotangent at all",
    "wide": "it shows at widths that would make vectors large",
}  # fmt: skip
"""Checks of properties that the numbers of one call do not show, with the reasons."""

ENDS = "it ends its process, or never returns: no numbers show that"
TOO_LARGE = "it shows at sizes or in relations that these vectors do not have: {}"


GRADIENTS = {
    "gradient", "cotangents", "gradient-window", "carry-gradient", "vjp-linearity",
}  # fmt: skip
"""Checks of gradients; outputs do not show mistakes that only these catch."""

NEEDS = {"zero-length": "zero_length", "no-steps": "no_steps"}
"""Checks of options that a framework may lack, and the option."""


def _others(
    cell: str, dtype: str, caught: frozenset[str], adapter: FrameworkSubject | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the uncaught mistakes that no vector shows, and those that others would show."""
    unseen, missed = {}, {}
    for mutant in mutants():
        if cell not in mutant.cells or mutant.id in caught:
            continue
        if reason := hidden(mutant, dtype, adapter):
            unseen[mutant.id] = reason
        else:
            missed[mutant.id] = TOO_LARGE.format(", ".join(mutant.killed_by))
    return unseen, missed


def hidden(mutant: Mutant, dtype: str, adapter: FrameworkSubject | None) -> str:
    """Return the reason why no vector shows a mistake; "" if vectors do."""
    if mutant.isolated:
        return ENDS
    if "float64" not in mutant.dtypes and dtype not in mutant.dtypes:
        return f"it shows only in {', '.join(mutant.dtypes)}"
    if mutant.killed_by[0] == "dtype" and dtype != "float64":
        return "it shows only in float64"
    if "smoke" in mutant.killed_by and "float64" not in mutant.dtypes:
        return DTYPE
    reasons = [NOT_OF_ONE_CALL.get(check, "") for check in mutant.killed_by]
    refused = "" if adapter is None else _lacking_options(mutant, adapter)
    return refused or (reasons[0] if all(reasons) else "")


def _lacking_options(mutant: Mutant, adapter: FrameworkSubject) -> str:
    """Return the missing options without which a mistake does not show, as a reason."""
    checks = {*mutant.killed_by}
    if not adapter.options.gradient and "forward" not in checks and GRADIENTS & checks:
        return "it shows in gradients alone"
    options = (*mutant.needs, *(NEEDS[check] for check in mutant.killed_by if check in NEEDS))
    missing = adapter.options.missing(tuple(dict.fromkeys(options)))
    if not missing or checks & {*NOT_OF_ONE_CALL}:
        return ""
    return f"{adapter.name} does not offer {', '.join(WORDS[option] for option in missing)}"
