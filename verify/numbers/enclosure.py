"""Enclosures of exact values: object arrays of Arb balls, on which the equations run unchanged.

A ball is a midpoint and a radius, and every operation returns a ball that contains all results
of its operands (Johansson 2017, doi:10.1109/TC.2017.2690633). At 160 bits the radius of a
layer's output is some 1e-40: the equation's exact value for all purposes here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import flint
import numpy as np
from numpy.typing import ArrayLike

from ...reference.arrays import Entries, Floats, Same

BITS = 160


@contextmanager
def precision(bits: int = BITS) -> Iterator[None]:
    """Compute with balls of ``bits`` bits inside the block."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


def _ball(x: np.longdouble) -> flint.arb:
    high = float(x)
    return flint.arb(high) + flint.arb(float(x - np.longdouble(high)))


_balls = np.frompyfunc(_ball, 1, 1)


def balls(x: ArrayLike) -> Floats:
    """Return exact balls (object array) of floats of any width up to longdouble."""
    wide = np.asarray(x, dtype=np.longdouble)
    return np.asarray(_balls(wide), dtype=object).reshape(wide.shape)


def distance(x: Same, enclosed: Same) -> Entries:
    """Return, rounded up, the largest distance of each float of ``x`` from its ball's points."""
    upper = np.frompyfunc(lambda ball: float(abs(ball).upper()), 1, 1)
    difference = np.asarray(balls(x) - enclosed, dtype=object).reshape(np.shape(x))
    return np.asarray(upper(difference), dtype=np.float64) * (1 + 2.0**-50)
