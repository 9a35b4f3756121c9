"""Vectors in the arrays of a framework: names of weights, and the axes of x and y."""

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
"""Arrays with time first, (T, B, _), or with the batch first in some frameworks."""

KNOWN = (
    "x", "y", "lengths", *(f"{part} {state}" for part in ("initial", "final", "cotangent of final")
                           for state in "hcu"), "cotangent of y",
)  # fmt: skip
"""Names of arrays that are not weights."""


def adapter(name: str, cell: str) -> FrameworkSubject:
    """Return the adapter with a framework's convention of a cell; its package is not needed.

    ``name`` is a family, ``torch``, or a subject, ``keras:GRU-reset-before``. Raises ValueError if
    there is none.
    """
    family, _, kind = ALIASES.get(name, name).partition(":")
    offered = families()[family].subjects() if family in families() else ()
    for subject in offered:
        if not isinstance(subject, FrameworkSubject) or subject.convention.time == "one step":
            continue
        if cell in subject.cells and kind in ("", subject.name.partition(":")[2]):
            return subject
    names = ", ".join(sorted({*families(), *ALIASES}))
    raise ValueError(f"{name!r} states no convention of a layer of {cell}; there are {names}")


def given_arrays(vector: Vector, framework: FrameworkSubject | None) -> dict[str, Floats]:
    """Return the arguments by the framework's names; ``framework`` None is the equations'."""
    return _written(vector.given, vector, framework)


def expected(vector: Vector, framework: FrameworkSubject | None) -> dict[str, Bounded]:
    """Return the expected results by the framework's names."""
    want = vector.expected
    values = _written({n: w.value for n, w in want.items()}, vector, framework)
    bounds = _written({n: np.asarray(w.bound) for n, w in want.items()}, vector, framework)
    kind = want["y"].arithmetic
    return {name: Bounded(values[name], bounds[name], kind) for name in values}


def from_file(
    named: Mapping[str, Floats], framework: FrameworkSubject | None, stems: Sequence[str] = ()
) -> dict[str, Floats]:
    """Return arrays of a file by the names of the convention's arrays, with time first.

    ``stems`` are the convention's arrays, ``weight_ih``; gradients of weights are left out.
    """
    if framework is None:
        return dict(named)
    others = {n: a for n, a in named.items() if n in KNOWN or n.removeprefix(GRADIENT) in KNOWN}
    if framework.convention.time == "second":
        others |= {n: np.swapaxes(a, 0, 1) for n, a in others.items() if n in ROWS_FIRST}
    stored = {n: a for n, a in named.items() if n not in others and not n.startswith(GRADIENT)}
    return others | (framework.stored.from_file(stems, stored)[0] if stems else {})


def _written(
    named: Mapping[str, Floats], vector: Vector, framework: FrameworkSubject | None
) -> dict[str, Floats]:
    """Return arrays in a framework's layout, with weights and gradients by its names."""
    if framework is None:
        return dict(named)
    parameters = vector.inputs.parameters
    to_file = framework.stored.to_file
    gradients = {n: named[GRADIENT + n] for n in parameters if GRADIENT + n in named}
    weights = {n: named[n] for n in parameters if n in named}
    others = {
        n: np.swapaxes(a, 0, 1) if n in ROWS_FIRST and framework.convention.time == "second" else a
        for n, a in named.items()
        if n not in parameters and n.removeprefix(GRADIENT) not in parameters
    }
    return others | to_file(weights) | {GRADIENT + n: a for n, a in to_file(gradients).items()}
