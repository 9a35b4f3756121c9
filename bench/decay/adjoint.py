"""A cotangent carried back over any number of steps, without under- or overflow.

The carried vector is scaled by powers of two, whose exponent is kept apart. That rounds nothing:
the mantissas are those of the unscaled vector, bit by bit, for as long as the entries of that one
are normal numbers (and those of the scaled one: entries of one vector may lie 2^950 apart).
Scaling by the norm would round at every step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...reference.cell import State
from ...reference.functions import Array
from .trajectory import Step, Trajectory
from .transition import Transition

LN2 = math.log(2)
RANGE = 2.0**128
"""The squared norm is kept between this and its inverse: the norm within 2^±64."""


class Scaled(NamedTuple):
    """The cotangent times 2^-exponent; all its arrays share the exponent."""

    cotangent: State
    exponent: int

    def log_norms(self) -> Array:
        """Return ln of the norm of each array and, last, of all together; -inf for zero."""
        squares = [float(np.vdot(d, d)) for d in self.cotangent]
        with np.errstate(divide="ignore"):
            return np.log([*squares, math.fsum(squares)]) / 2 + self.exponent * LN2


def carried(trajectory: Trajectory, cotangent: State, *, scaled: bool = True) -> Iterator[Scaled]:
    """Yield the cotangent at lag 0, 1, ... T: what it is on the state so many steps before the end.

    Without ``scaled`` the exponent stays 0, and the vector may leave the range of its dtype.
    """
    return pulled(trajectory.transition, trajectory.backwards(), cotangent, scaled=scaled)


def pulled(
    transition: Transition, steps: Iterable[Step], cotangent: State, *, scaled: bool
) -> Iterator[Scaled]:
    """Yield the cotangent as it is, and pulled back through one after another of ``steps``."""
    exponent = 0
    yield Scaled(cotangent, exponent)
    for x, state, gates, new in steps:
        cotangent = transition.pull(x, state, gates, new, cotangent)
        if scaled and (shift := _shift(cotangent)):
            cotangent = tuple(np.ldexp(d, -shift) for d in cotangent)
            exponent += shift
        yield Scaled(cotangent, exponent)


def log_norms(trajectory: Trajectory, cotangent: State, lags: Sequence[int]) -> Array:
    """Return ln ‖∂L/∂s‖ at ``lags`` for each state, and for all together in the last column.

    ``lags`` ascend; what is not asked for is not kept.
    """
    wanted, found = iter(lags), []
    next_one = next(wanted, None)
    for lag, scaled in enumerate(carried(trajectory, cotangent)):
        if lag == next_one:
            found.append(scaled.log_norms())
            next_one = next(wanted, None)
            if next_one is None:
                break
    return np.array(found)


def _shift(cotangent: State) -> int:
    """Return the exponent to take out; 0 while the norm is neither very small nor very large."""
    size = sum([float(np.vdot(d, d)) for d in cotangent])
    if 1 / RANGE <= size <= RANGE:
        return 0
    largest = max(float(np.abs(d).max()) for d in cotangent)
    return math.frexp(largest)[1] if 0 < largest < math.inf else 0
