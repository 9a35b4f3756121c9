"""A setting in which gradients explode, measured with and without clipping."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..plan import OK
from .clipping import clipped
from .horizon import DTYPES, loss, rounded
from .measuring import WARM_UP, seeds_of
from .problem import Problem, Setting, draw
from .rates import or_none
from .rows import ClippingRow
from .trajectory import Step, Trajectory

SETTINGS = (
    Setting("rnn", 32, 3.0),
    Setting("lstm", 32, 6.0, 1.0),
    Setting("gru", 32, 6.0, 1.0),
)
"""Driven cells whose gradients grow: an LSTM needs a large gain for it."""

SEEDS = 5


def exploded(setting: Setting, steps: int, seed: int) -> ClippingRow:
    """Measure over ``steps`` lags, the same seeds with and without clipping."""
    lags = np.unique(np.geomspace(1, steps, 80).astype(int)).tolist()
    problems = [draw(setting, s) for s in seeds_of(seed, SEEDS)]
    trajectories = [problem.follow(steps, WARM_UP) for problem in problems]
    found = [
        clipped(problem.cell, problem.p, trajectory.backwards(), problem.cotangent, lags)
        for problem, trajectory in zip(problems, trajectories, strict=True)
    ]

    def median(name: str) -> tuple[float | None, ...]:
        curves = np.median([getattr(one, name) for one in found], axis=0)
        return tuple(or_none(value) for value in curves)

    first = problems[0], trajectories[0]
    return ClippingRow(
        id="", status=OK, what="clipping", cell=setting.cell, title=problems[0].cell.title,
        hidden=setting.hidden, gain=setting.gain, forget_bias=setting.forget_bias,
        seeds=len(problems), lags=tuple(lags),
        carried=median("carried"), carried_clipped=median("carried_clipped"),
        gradient=median("gradient"), by_norm=median("by_norm"), cosine=median("cosine"),
        refused={"float32": _refused(*first, "float32", lags), "float64": found[0].refused},
        losses=tuple(loss(*first, dtype) for dtype in DTYPES),
    )  # fmt: skip


def _refused(problem: Problem, trajectory: Trajectory, dtype: str, lags: list[int]) -> int | None:
    """Return the lag from which on clipping refuses the parameters' gradient in ``dtype``."""
    p = problem.p.map(lambda array: array.astype(dtype))
    cotangent = tuple(d.astype(dtype) for d in problem.cotangent)
    return clipped(problem.cell, p, _steps(trajectory, dtype), cotangent, lags).refused


def _steps(trajectory: Trajectory, dtype: str) -> Iterator[Step]:
    for step in trajectory.backwards():
        yield rounded(step, dtype)
