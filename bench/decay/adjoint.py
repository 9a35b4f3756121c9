"""A cotangent pulled back over any number of steps, without under- or overflow.

The vector is scaled by powers of two, whose exponent is kept apart. This rounds nothing:
the mantissas are those of the unscaled vector, bit by bit, for as long as the entries of that one
are normal numbers (and those of the scaled one: entries of one vector may lie 2^950 apart).
Scaling by the norm would round at every step.

Beside it is the adjoint of training: unscaled, in float16, float32 or float64, to
find the lag at which that arithmetic loses the gradient.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import State
from .problem import Problem
from .trajectory import Bound, Step, Trajectory, Transition, joined

LN2 = math.log(2)
RANGE = 2.0**128
"""The bound of the squared norm, and its inverse: the norm stays within 2^±64."""


class Scaled(NamedTuple):
    """The cotangent times 2^-exponent; all its arrays share the exponent."""

    cotangent: State
    exponent: int

    def log_norms(self) -> Floats:
        """Return ln of the norm of each array and, last, of all together; -inf for 0."""
        squares = [float(np.vdot(d, d)) for d in self.cotangent]
        with np.errstate(divide="ignore"):
            return np.log([*squares, math.fsum(squares)]) / 2 + self.exponent * LN2


def carried(trajectory: Trajectory, cotangent: State, *, scaled: bool = True) -> Iterator[Scaled]:
    """Yield the cotangent on the state at lag 0, 1, ... T before the end.

    Without ``scaled`` the exponent stays 0, and the vector may leave the range of its dtype.
    """
    return pulled(trajectory.transition, trajectory.backwards(), cotangent, scaled=scaled)


def pulled(
    transition: Transition, steps: Iterable[Step], cotangent: State, *, scaled: bool
) -> Iterator[Scaled]:
    """Yield the cotangent, and then pulled back through each of ``steps`` in turn."""
    exponent = 0
    yield Scaled(cotangent, exponent)
    for x, state, gates, new in steps:
        cotangent = transition.pull(x, state, gates, new, cotangent)
        if scaled and (shift := _shift(cotangent)):
            cotangent = tuple(np.ldexp(d, -shift) for d in cotangent)
            exponent += shift
        yield Scaled(cotangent, exponent)


def log_norms(trajectory: Trajectory, cotangent: State, lags: Sequence[int]) -> Floats:
    """Return ln ‖∂L/∂s‖ at ``lags`` for each state, and for all together in the last column.

    ``lags`` ascend; other lags are not stored.
    """
    wanted = set(lags)
    vectors = zip(range(lags[-1] + 1), carried(trajectory, cotangent), strict=False)
    return np.array([vector.log_norms() for lag, vector in vectors if lag in wanted])


def _shift(cotangent: State) -> int:
    """Return the exponent to take out; 0 while the norm is within ``RANGE``."""
    size = sum([float(np.vdot(d, d)) for d in cotangent])
    if 1 / RANGE <= size <= RANGE:
        return 0
    largest = max(float(np.abs(d).max()) for d in cotangent)
    return math.frexp(largest)[1] if 0 < largest < math.inf else 0


# The lag at which an arithmetic loses the gradient, found by computing in that arithmetic along the
# trajectory of float64, rounded. The scaled adjoint of float64 beside it is the truth:
# rounding keeps a few subnormal entries alive, and a non-zero gradient may be wrong.


DTYPES = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Loss:
    """The first lags at which the gradient in ``dtype`` ...; None if not within ``searched`` lags.

    * ``subnormal``: has a subnormal entry; ``all_subnormal``: has no other entries but zeros.
    * ``wrong``: is off by more than half of its norm.
    * ``zero``: is zero in all entries.
    * ``overflow``: has an entry that is infinite or NaN.
    """

    dtype: str
    subnormal: int | None
    all_subnormal: int | None
    wrong: int | None
    zero: int | None
    overflow: int | None
    searched: int

    def text(self, lag: int | None) -> str:
        """Return a lag as text; for None "> searched", or "–" if the search had ended."""
        if lag is not None:
            return str(lag)
        ended = self.zero is not None or self.overflow is not None
        return "–" if ended else f"> {self.searched}"


def loss(problem: Problem, trajectory: Trajectory, dtype: str) -> Loss:
    """Pull the problem's cotangent back along ``trajectory`` until it vanishes or overflows."""
    firsts: dict[str, int | None] = {}
    lag, tiny = 0, np.finfo(dtype).tiny
    for lag, (vector, true) in enumerate(_both(problem, trajectory, dtype)):
        sizes = np.abs(vector)
        signs = {
            "subnormal": bool(((sizes > 0) & (sizes < tiny)).any()),
            "all_subnormal": float(sizes.max()) < tiny,
            "wrong": _is_wrong(vector, true),
            "zero": not sizes.any(),
            "overflow": not np.isfinite(sizes).all(),
        }
        for name, holds in signs.items():
            if firsts.setdefault(name) is None and holds:
                firsts[name] = lag
        if signs["zero"] or signs["overflow"]:
            break
    return Loss(dtype=dtype, searched=lag, **firsts)


def _both(problem: Problem, trajectory: Trajectory, dtype: str) -> Iterator[tuple[Floats, Scaled]]:
    """Yield at each lag the cotangent in ``dtype``, (n,), and the scaled one in float64."""
    steps, copy = itertools.tee(trajectory.backwards())
    coarse = Bound(problem.cell, problem.p.map(lambda array: array.astype(dtype)), problem.sizes)
    start = tuple(d.astype(dtype) for d in problem.cotangent)
    with np.errstate(all="ignore"):
        vectors = pulled(coarse, (rounded(step, dtype) for step in steps), start, scaled=False)
        true = pulled(problem.transition, copy, problem.cotangent, scaled=True)
        for vector, scaled in zip(vectors, true, strict=True):
            yield joined(vector.cotangent)[0], scaled


def rounded(step: Step, dtype: str) -> Step:
    """Return a step with all its arrays in ``dtype``."""
    x, state, gates, new = step
    return (
        x.astype(dtype),
        tuple(np.asarray(s).astype(dtype) for s in state),
        {name: np.asarray(gate).astype(dtype) for name, gate in gates.items()},
        tuple(np.asarray(s).astype(dtype) for s in new),
    )


def _is_wrong(vector: Floats, true: Scaled) -> bool:
    """Return whether ``vector`` (n,) is off by more than half of the norm of the scaled one."""
    expected = joined(true.cotangent)[0]
    apart = np.ldexp(vector.astype(np.float64), -true.exponent) - expected
    return not np.vdot(apart, apart) <= np.vdot(expected, expected) / 4
