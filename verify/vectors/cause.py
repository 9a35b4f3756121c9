"""Which mistakes compute exactly what somebody's program made of vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..mutants import Mutant, mutants
from ..numbers.ledger import in_bounds
from . import public, weights
from .audit import Published
from .files import EQUATIONS, Vectors


def exact(
    document: Vectors, outputs: Mapping[str, Mapping[str, Any]], suspects: Iterable[str]
) -> tuple[str, ...]:
    """Return those of the suspects that return the same numbers, as far as rounding tells."""
    known = {mutant.id: mutant for mutant in mutants()}
    own = document.weights != EQUATIONS and weights.adapter(document.weights, document.cell)
    tests = []
    for test in document.tests:
        if got := outputs.get(str(test.id)):
            plain = {name: np.asarray(array, np.float64) for name, array in got.items()}
            tests.append((public.of_test(document, test), weights.taken(plain, own or None)))
    return tuple(
        id for id in suspects
        if id in known and all(_same(vector, got, known[id]) for vector, got in tests)
    )  # fmt: skip


def _same(vector: Published, got: Mapping[str, Floats], mutant: Mutant) -> bool:
    """Whether a mistake makes these numbers of a vector, each within the bound of the right one."""
    made, bounds = vector.made_by(mutant), vector.bounds or {}
    if made is None:
        return False
    for name in got.keys() & bounds.keys():
        array = got[name]
        if array.size == 0 == made[name].size:
            continue
        if array.shape != made[name].shape:
            return False
        alike = np.isnan(array) & np.isnan(made[name])
        ratio = in_bounds(array, made[name], bounds[name])
        if np.any(np.where(alike, 0, ratio) > 1):
            return False
    return True
