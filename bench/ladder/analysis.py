"""What may be said of the rungs: times per step, gains over the rung below and over the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..run import BenchRun, from_json
from ..timing import Comparison, Rounds, Timing, corrected
from .counting import Counts
from .measuring import EFFORTS, PASSES, Row, RungRow
from .problem import Size


@dataclass(frozen=True)
class Step:
    """One rung at one size in one pass.

    ``microseconds`` per step of the sequence, and ``speed_up`` over the first rung: medians with
    95 % intervals. ``gain`` compares with ``below``, the next lower rung that was timed, with
    verdicts that stand together; None for the first.
    """

    size: Size
    of: str
    place: int
    rung: RungRow
    timing: Timing
    counts: Counts
    microseconds: tuple[float, float, float]
    speed_up: tuple[float, float, float]
    below: str
    gain: Comparison | None


def rows(runs: Sequence[BenchRun]) -> list[Row]:
    """Return the rows of runs; RunFileError says what is wrong with one."""
    return [from_json(Row, row) for run in runs for row in run.rows]


def analysed(found: Sequence[Row]) -> list[Step]:
    """Return every rung that has a time; verdicts are corrected for how many there are."""
    steps = [step for row in found for of in PASSES for step in _steps(row, of)]
    gains = iter(corrected([step.gain for step in steps if step.gain]))
    return [replace(step, gain=next(gains)) if step.gain else step for step in steps]


def _steps(row: Row, of: str) -> list[Step]:
    timed = [rung for rung in row.rungs if of in rung.timings]
    turns = Rounds({r.name: r.timings[of] for r in timed}, EFFORTS[row.effort], row.seed)
    found = []
    for k, rung in enumerate(timed):
        below = timed[k - 1].name if k else ""
        found.append(
            Step(
                size=row.size,
                of=of,
                place=1 + row.rungs.index(rung),
                rung=rung,
                timing=rung.timings[of],
                counts=rung.counts[of],
                microseconds=_per_step(rung.timings[of], row.size),
                speed_up=_times(turns.compare(timed[0].name, rung.name)) if k else (1.0, 1.0, 1.0),
                below=below,
                gain=turns.compare(rung.name, below, row.floor[of]) if k else None,
            )
        )
    return found


def _per_step(timing: Timing, size: Size) -> tuple[float, float, float]:
    median, low, high = 1e6 * np.array([timing.median, timing.low, timing.high]) / size.T
    return float(median), float(low), float(high)


def _times(c: Comparison) -> tuple[float, float, float]:
    return c.ratio, c.low, c.high


def times_as_fast(gain: Comparison) -> tuple[float, float, float]:
    """Return how many times as fast a rung is as the one below, with its interval."""
    return 1 / gain.ratio, 1 / gain.high, 1 / gain.low
