"""The mistakes that explain exactly a program's outputs for vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..mutants import Mutant, mutants
from ..numbers.ledger import in_bounds
from . import public, weights
from .audit import PublishedTest
from .files import EQUATIONS, Vectors


def exact_suspects(
    document: Vectors, outputs: Mapping[str, Mapping[str, Any]], suspects: Iterable[str]
) -> tuple[str, ...]:
    """Return the suspects that compute the same numbers up to rounding."""
    by_id = {mutant.id: mutant for mutant in mutants()}
    adapter = document.weights != EQUATIONS and weights.adapter(document.weights, document.cell)
    tests = []
    for test in document.tests:
        if got := outputs.get(str(test.id)):
            plain = {name: np.asarray(array, np.float64) for name, array in got.items()}
            tests.append(
                (public.of_test(document, test), weights.from_file(plain, adapter or None))
            )
    return tuple(
        id for id in suspects
        if id in by_id and all(_same(vector, got, by_id[id]) for vector, got in tests)
    )  # fmt: skip


def _same(vector: PublishedTest, got: Mapping[str, Floats], mutant: Mutant) -> bool:
    """Return whether a mistake computes these numbers of a vector, each within its bound."""
    results, bounds = vector.results_of(mutant), vector.bounds or {}
    if results is None:
        return False
    for name in got.keys() & bounds.keys():
        array = got[name]
        if array.size == 0 == results[name].size:
            continue
        if array.shape != results[name].shape:
            return False
        alike = np.isnan(array) & np.isnan(results[name])
        ratio = in_bounds(array, results[name], bounds[name])
        if np.any(np.where(alike, 0, ratio) > 1):
            return False
    return True
