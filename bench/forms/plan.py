"""Errors of forms beside their bounds, against the length of chunks.

A form (``reference/forms.py``) computes a sequence of T steps; a scan one as long as the
chunks of the others. Logarithms of decays are drawn about a mean of -``decay`` per step, so that a
chunk of C steps keeps e^(-C decay) of the state. Steps in float64 count as exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.cells import cell_named, cells
from ...reference.forms import KINDS, STEPS, form_named
from ...reference.gated_by_input import GatedByInput
from ...reference.linear import Linear
from ...reference.parameters import Parameters, Sizes
from ...verify.numbers.arithmetic import ARITHMETICS, PackageMissing
from ...verify.numbers.bounded import Bounded
from ..decay.rates import or_none
from ..run import OK, Piece, Plan, UnsupportedError, from_json, to_json

KIND = "forms"
CELLS = ("gla", "gated-delta", "ssd")
SIZES = (1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 128)
DECAYS = (0.01, 0.1, 0.5, 1.0, 2.0)
SCAN = "scan"
WIDTHS = Sizes(4, 4)
"""The widths of keys and values; there are two heads."""

AXES = ((0, 2, 3), (1, 2, 3))
"""The axes of outputs (T, B, N, V) and of the state (B, N, K, V) except the batch's."""


@dataclass(frozen=True)
class Point:
    """The results at one strength of decay: the largest error and bound, in units of last place.

    A unit is the unit roundoff times the largest value of a sequence. ``share``: the largest
    quotient of an error and its own bound. None stands for NaN and infinity.
    """

    decay: float
    error: float | None
    bound: float | None
    share: float | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A form of a cell, over all strengths of decay; ``size`` is the length of its chunks."""

    id: str
    status: str
    cell: str
    title: str
    form: str
    size: int
    dtype: str
    steps: int
    seeds: int
    points: tuple[Point, ...]


def plan(
    *,
    seed: int = 0,
    cells: Sequence[str] = (),
    sizes: Sequence[int] = (),
    decays: Sequence[float] = (),
    steps: int = 128,
    seeds: int = 4,
    dtype: str = "float32",
) -> Plan:
    """Return the plan; raise ValueError for a cell that has no forms."""
    names, lengths = list(cells or CELLS), list(sizes or SIZES)
    strengths = list(decays or DECAYS)
    settings = {"cells": names, "sizes": lengths, "decays": strengths, "steps": steps,
                "seeds": seeds, "dtype": dtype}  # fmt: skip
    if odd := [size for size in lengths if not 0 < size <= steps]:
        raise ValueError(f"chunks of {odd[0]} steps: expected 1 to {steps}, the whole sequence")
    chosen = [linear_cell(name) for name in names]
    pieces = [
        Piece(f"{cell.name}/{kind}:{size}/{dtype}",
              partial(_row, cell, kind, size, dtype, steps, seeds, strengths, seed))
        for cell, kind, size in product(chosen, (*KINDS, SCAN), lengths)
    ]  # fmt: skip
    return Plan(KIND, seed, settings, pieces)


def linear_cell(name: str) -> GatedByInput:
    """Return a cell that has forms; raise ValueError, which lists them, for any other cell."""
    cell = cell_named(name)
    linear = [n for n, c in cells().items()
             if isinstance(c, GatedByInput) and "scan" in c.form_kinds]  # fmt: skip
    if isinstance(cell, GatedByInput) and name in linear:
        return cell
    raise ValueError(f"{name} is not linear in its state; those that are: {', '.join(linear)}")


def rows(values: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the measured rows of a run."""
    return [from_json(Row, row) for row in values if row["status"] == OK]


def _row(
    cell: GatedByInput,
    kind: str,
    size: int,
    dtype: str,
    steps: int,
    seeds: int,
    decays: Sequence[float],
    seed: int,
) -> dict[str, Any]:
    length = size if kind == SCAN else steps
    drawn = sequence(cell, np.repeat(decays, seeds), length, seed)
    points = measured(drawn, kind if kind == SCAN else f"{kind}:{size}", dtype, decays)
    return to_json(Row(id="", status=OK, cell=cell.name, title=cell.title, form=kind, size=size,
                       dtype=dtype, steps=length, seeds=seeds, points=points))  # fmt: skip


def sequence(cell: GatedByInput, decays: Floats, steps: int, seed: int) -> Linear:
    """Draw a sequence of the cell with one row of the batch per decay."""
    rng = np.random.default_rng(seed)
    rows = len(decays)
    p = Parameters(cell.shapes(WIDTHS), cell.random_parameters(rng, WIDTHS))
    inputs = cell.split(cell.random_input(rng, steps, rows, WIDTHS), WIDTHS)
    S = rng.standard_normal((rows, *cell.state_shapes(WIDTHS)[0]))
    linear = cell.linear(p, inputs, S)
    if linear is None:
        raise UnsupportedError(f"{cell.name} has no other form than steps")
    return replace(linear, g=-decays[:, None, None] * rng.uniform(0.5, 1.5, linear.g.shape))


def measured(drawn: Linear, form: str, dtype: str, decays: Sequence[float]) -> tuple[Point, ...]:
    """Run a form in a dtype and on numbers with bounds; all decays have equally many rows.

    Raise UnsupportedError if NumPy lacks the dtype.
    """
    arithmetic = ARITHMETICS[dtype]
    try:
        stored = _map(drawn, lambda a: a.astype(arithmetic.dtype))
    except PackageMissing as error:
        raise UnsupportedError(str(error)) from error
    run = form_named(form).run
    exact = form_named(STEPS).run(_map(stored, lambda a: a.astype(np.float64)))
    with np.errstate(all="ignore"):  # overflow is part of the measurement
        got = run(stored)
        bounded = run(_map(stored, partial(Bounded.exact, arithmetic=arithmetic)))
        largest = []
        for value, bound, e, axes in zip(got, (b.bound for b in bounded), exact, AXES, strict=True):
            errors, unit = np.abs(value - e), arithmetic.roundoff * np.abs(e).max(axes)
            ratios = errors.max(axes) / unit, bound.max(axes) / unit, (errors / bound).max(axes)
            largest.append(ratios)
    most = np.max(np.array(largest), axis=0).reshape(3, len(decays), -1).max(axis=-1)
    return tuple(
        Point(float(decay), *map(or_none, values))
        for decay, values in zip(decays, most.T, strict=True)
    )


def _map(linear: Linear, function: Callable[[Floats], Any]) -> Linear:
    arrays = {field.name: getattr(linear, field.name) for field in fields(linear)}
    return replace(linear, **{n: None if a is None else function(a) for n, a in arrays.items()})
