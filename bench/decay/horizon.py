"""The lag at which an arithmetic loses the gradient, found by computing in that arithmetic.

The trajectory is that of float64, rounded; the adjoint is carried unscaled in the dtype, as
training does it. Beside it runs the scaled adjoint of float64, which says what is still right:
rounding keeps a few subnormal entries alive for long, and non-zero is not the same as right.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...reference.functions import Array
from .adjoint import Scaled, pulled
from .problem import Problem
from .trajectory import Step, Trajectory
from .transition import Bound, joined

DTYPES = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Loss:
    """First lags at which the gradient in ``dtype`` ...; None where not within ``searched`` lags.

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

    def said(self, lag: int | None) -> str:
        """Return a lag as text: beyond what was searched, or – where nothing was left to search."""
        if lag is not None:
            return str(lag)
        ended = self.zero is not None or self.overflow is not None
        return "–" if ended else f"> {self.searched}"


def loss(problem: Problem, trajectory: Trajectory, dtype: str) -> Loss:
    """Carry the problem's cotangent back along ``trajectory`` until nothing of it is left."""
    found: dict[str, int] = {}
    lag, tiny = 0, np.finfo(dtype).tiny
    for lag, (vector, true) in enumerate(_both(problem, trajectory, dtype)):
        sizes = np.abs(vector)
        seen = {
            "subnormal": bool(((sizes > 0) & (sizes < tiny)).any()),
            "all_subnormal": float(sizes.max()) < tiny,
            "wrong": _is_wrong(vector, true),
            "zero": not sizes.any(),
            "overflow": not np.isfinite(sizes).all(),
        }
        found |= {name: lag for name, is_so in seen.items() if is_so and name not in found}
        if seen["zero"] or seen["overflow"]:
            break
    return Loss(
        dtype, found.get("subnormal"), found.get("all_subnormal"), found.get("wrong"),
        found.get("zero"), found.get("overflow"), lag,
    )  # fmt: skip


def _both(problem: Problem, trajectory: Trajectory, dtype: str) -> Iterator[tuple[Array, Scaled]]:
    """Yield at each lag the cotangent in ``dtype``, (n,), and the scaled one in float64."""
    steps, again = itertools.tee(trajectory.backwards())
    coarse = Bound(problem.cell, problem.p.map(lambda array: array.astype(dtype)), problem.sizes)
    start = tuple(d.astype(dtype) for d in problem.cotangent)
    with np.errstate(all="ignore"):
        own = pulled(coarse, (rounded(step, dtype) for step in steps), start, scaled=False)
        true = pulled(problem.transition, again, problem.cotangent, scaled=True)
        for one, other in zip(own, true, strict=True):
            yield joined(one.cotangent)[0], other


def rounded(step: Step, dtype: str) -> Step:
    """Return a step with all its arrays in ``dtype``."""
    x, state, gates, new = step
    return (
        x.astype(dtype),
        tuple(np.asarray(s).astype(dtype) for s in state),
        {name: np.asarray(gate).astype(dtype) for name, gate in gates.items()},
        tuple(np.asarray(s).astype(dtype) for s in new),
    )


def _is_wrong(vector: Array, true: Scaled) -> bool:
    """Whether ``vector`` (n,) is off by more than half of the norm of the scaled one."""
    expected = joined(true.cotangent)[0]
    apart = np.ldexp(vector.astype(np.float64), -true.exponent) - expected
    return not np.vdot(apart, apart) <= np.vdot(expected, expected) / 4
