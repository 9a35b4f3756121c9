"""Vectors in somebody's own arrays: which framework's, their names, and how x and y lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...reference.arrays import Floats
from ..checks.quantities import GRADIENT
from ..numbers.bounded import Bounded
from ..subjects.declared import ALIASES
from ..subjects.framework import FrameworkSubject
from ..subjects.frameworks import families
from .vector import Vector

ROWS_FIRST = ("x", "y", "cotangent of y", "gradient of x")
"""What has the steps first, (T, B, _), or the rows where a framework has those first."""

KNOWN = (
    "x", "y", "lengths", *(f"{part} {state}" for part in ("initial", "final", "cotangent of final")
                           for state in "hcu"), "cotangent of y",
)  # fmt: skip
"""What is no weight."""


def adapter(name: str, cell: str) -> FrameworkSubject:
    """Return the adapter that states a framework's convention of a cell, without its package.

    ``name`` is a family, ``torch``, or a subject, ``keras:GRU-reset-before``. ValueError if there
    is none.
    """
    family, _, kind = ALIASES.get(name, name).partition(":")
    offered = families()[family].subjects() if family in families() else ()
    for each in offered:
        if not isinstance(each, FrameworkSubject) or each.convention.time == "one step":
            continue
        if cell in each.cells and kind in ("", each.name.partition(":")[2]):
            return each
    known = ", ".join(sorted({*families(), *ALIASES}))
    raise ValueError(f"{name!r} states no convention of a layer of {cell}; there are {known}")


def given(vector: Vector, own: FrameworkSubject | None) -> dict[str, Floats]:
    """Return what is given by the framework's names, None for those of the equations."""
    return _written(vector.given, vector, own)


def expected(vector: Vector, own: FrameworkSubject | None) -> dict[str, Bounded]:
    """Return what is expected by the framework's names."""
    want = vector.expected
    values = _written({n: w.value for n, w in want.items()}, vector, own)
    bounds = _written({n: np.asarray(w.bound) for n, w in want.items()}, vector, own)
    kind = want["y"].arithmetic
    return {name: Bounded(values[name], bounds[name], kind) for name in values}


def taken(
    named: Mapping[str, Floats], own: FrameworkSubject | None, stems: Sequence[str] = ()
) -> dict[str, Floats]:
    """Return what was written by the names of the convention's arrays, with the steps first.

    ``stems`` are the convention's arrays, ``weight_ih``; of gradients of weights none are returned.
    """
    if own is None:
        return dict(named)
    others = {n: a for n, a in named.items() if n in KNOWN or n.removeprefix(GRADIENT) in KNOWN}
    if own.convention.time == "second":
        others |= {n: np.swapaxes(a, 0, 1) for n, a in others.items() if n in ROWS_FIRST}
    stored = {n: a for n, a in named.items() if n not in others and not n.startswith(GRADIENT)}
    return others | (own.stored.from_file(stems, stored)[0] if stems else {})


def _written(
    named: Mapping[str, Floats], vector: Vector, own: FrameworkSubject | None
) -> dict[str, Floats]:
    """Return arrays, weights and their gradients under a framework's names, rows first or not."""
    if own is None:
        return dict(named)
    parameters = vector.inputs.parameters
    stored = own.stored.written
    gradients = {n: named[GRADIENT + n] for n in parameters if GRADIENT + n in named}
    weights = {n: named[n] for n in parameters if n in named}
    others = {
        n: np.swapaxes(a, 0, 1) if n in ROWS_FIRST and own.convention.time == "second" else a
        for n, a in named.items()
        if n not in parameters and n.removeprefix(GRADIENT) not in parameters
    }
    return others | stored(weights) | {GRADIENT + n: a for n, a in stored(gradients).items()}
