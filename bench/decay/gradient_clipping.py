"""The effect of clipping on exploding gradients (E30), with the same seeds with and without.

Two methods are called clipping. One limits the gradient of the parameters once, after
all steps; it bounds the size of an update, but cannot clip when the
gradient has overflowed on the way. The other limits the cotangent at every step, and so the
backward pass itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...reference.cell import Cell, State
from ...reference.errors import InputError
from ...reference.functions import Array
from ...reference.gradient_clipping import clip_by_global_norm, clip_by_value, global_norm
from ...reference.parameters import Parameters
from ..run import OK
from .adjoint import DTYPES, loss, rounded
from .measurement import WARM_UP, seeds_of
from .problem import Setting, draw
from .rates import or_none
from .rows import ClippingRow
from .trajectory import Step

THRESHOLD = 1.0


@dataclass(frozen=True)
class Clipped:
    """Norms at every lag, of a loss that is a unit projection of the last state.

    ``carried`` and ``carried_clipped``: ln of the norm of the cotangent, without clipping and with
    clipping at every step. ``gradient`` and ``by_norm``: ln of the norm of the parameters'
    gradient over so many steps, and after clipping once by global norm. ``cosine``: between that
    gradient and itself clipped by value. NaN where it has overflowed. ``refused``: the first lag,
    if any, at which there is an infinite or NaN entry, which clipping refuses.
    """

    carried: Array
    carried_clipped: Array
    gradient: Array
    by_norm: Array
    cosine: Array
    refused: int | None


def clipped(
    cell: Cell, p: Parameters, steps: Iterable[Step], cotangent: State, lags: Sequence[int]
) -> Clipped:
    """Measure at ``lags``, ascending from 1, in the dtype of ``p``; the last of ``steps`` first."""
    points, refused, wanted = [], None, set(lags)
    free = limited = cotangent
    dp = p.map(np.zeros_like)
    with np.errstate(over="ignore", invalid="ignore"):
        for lag, step in enumerate(steps, start=1):
            dp_t, _, free = cell.vjp(p, *step, free)
            dp = dp + dp_t
            arriving = cell.vjp(p, *step, limited)[2]
            limited = tuple(clip_by_global_norm(_by_name(arriving), THRESHOLD).values())
            if refused is None and not all(np.isfinite(g).all() for g in dp.values()):
                refused = lag
            if lag in wanted:
                points.append((_log_norm(free), _log_norm(limited), *_clip(dp)))
            if lag == lags[-1]:
                break
    carried, carried_clipped, gradient, by_norm, cosine = np.array(points).T
    return Clipped(carried, carried_clipped, gradient, by_norm, cosine, refused)


def _clip(dp: Parameters) -> tuple[float, float, float]:
    """Return ln of the norm, ln of the clipped norm, and the cosine after clipping by value.

    All three are NaN if clipping refuses the gradient.
    """
    try:
        by_norm, by_value = clip_by_global_norm(dp, THRESHOLD), clip_by_value(dp, THRESHOLD)
    except InputError:
        return math.nan, math.nan, math.nan
    norm, limited = float(global_norm(dp)), float(global_norm(by_norm))
    product = sum(float(np.vdot(dp[name] / norm, by_value[name])) for name in dp)
    return math.log(norm), math.log(limited), product / float(global_norm(by_value))


def _log_norm(state: State) -> float:
    with np.errstate(divide="ignore"):
        return float(np.log(global_norm(_by_name(state))))


def _by_name(state: State) -> dict[str, Array]:
    return {str(k): array for k, array in enumerate(state)}


# Settings in which gradients explode, with and without clipping.


SETTINGS = (
    Setting("rnn", 32, 3.0),
    Setting("lstm", 32, 6.0, 1.0),
    Setting("gru", 32, 6.0, 1.0),
)
"""Driven cells whose gradients grow; an LSTM needs a large gain."""

SEEDS = 5


def exploded(setting: Setting, steps: int, seed: int) -> ClippingRow:
    """Measure over ``steps`` lags, the same seeds with and without clipping."""
    lags = np.unique(np.geomspace(1, steps, 80).astype(int)).tolist()
    problems = [draw(setting, s) for s in seeds_of(seed, SEEDS)]
    trajectories = [problem.follow(steps, WARM_UP) for problem in problems]
    runs = [
        clipped(problem.cell, problem.p, trajectory.backwards(), problem.cotangent, lags)
        for problem, trajectory in zip(problems, trajectories, strict=True)
    ]

    def median(name: str) -> tuple[float | None, ...]:
        return tuple(map(or_none, np.median([getattr(run, name) for run in runs], axis=0)))

    problem, trajectory = problems[0], trajectories[0]
    single = clipped(
        problem.cell, problem.p.map(lambda array: array.astype("float32")),
        (rounded(step, "float32") for step in trajectory.backwards()),
        tuple(d.astype("float32") for d in problem.cotangent), lags,
    )  # fmt: skip
    return ClippingRow(
        id="", status=OK, what="clipping", cell=setting.cell, title=problem.cell.title,
        hidden=setting.hidden, gain=setting.gain, forget_bias=setting.forget_bias,
        seeds=len(problems), lags=tuple(lags),
        carried=median("carried"), carried_clipped=median("carried_clipped"),
        gradient=median("gradient"), by_norm=median("by_norm"), cosine=median("cosine"),
        refused={"float32": single.refused, "float64": runs[0].refused},
        losses=tuple(loss(problem, trajectory, dtype) for dtype in DTYPES),
    )  # fmt: skip
