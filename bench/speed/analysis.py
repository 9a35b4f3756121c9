"""Conclusions from a run: speeds, shares of ceilings, regimes, comparisons."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..cost.shape import Shape
from ..run import BenchRun
from ..timing.comparison import Comparison, Rounds, corrected
from ..timing.measurement import QUICK, STANDARD
from . import ladder, rows
from .plan import baseline_of
from .rows import Entry, Group

FLAT, LINEAR, STEEP = 0.25, 0.65, 1.4
"""Slopes below the first are flat, above the second linear, above the third steeper than that."""

LATENCY, MEMORY, PRODUCT = "latency", "memory", "product"
ELEMENTS, BETWEEN = "elements", "between"
"""The limits on a row's speed: calls and steps themselves, the traffic of weights, matrix products,
elementwise work; or several of them."""


@dataclass(frozen=True)
class Row:
    """One pass of one contender in one shape, with the numbers derived from its time.

    ``us_per_step`` is microseconds a time step; ``gflops`` counts all products, ``recurrent`` not
    those of the input. ``share`` is the time of the products alone over the row's time; ``memory``
    the peak over the bytes that must be held. ``by_rows`` and ``by_width`` are the slopes d log t /
    d log B and d log t / d log H to neighbours in the grid, ``regime`` follows from both.
    ``comparison`` is with ``baseline``; of a rung of the ladder, ``gain`` is with ``below``, the
    next lower rung that has a time.
    """

    group: Group
    entry: Entry
    us_per_step: float | None = None
    gflops: float | None = None
    recurrent_gflops: float | None = None
    intensity: float | None = None
    share: float | None = None
    sequential: float | None = None
    memory: float | None = None
    by_rows: float | None = None
    by_width: float | None = None
    regime: str = ""
    baseline: str = ""
    comparison: Comparison | None = None
    below: str = ""
    gain: Comparison | None = None

    @property
    def shape(self) -> Shape:
        """The group's shape."""
        return self.group.shape

    @property
    def seconds(self) -> float | None:
        """The median time of a call."""
        return self.entry.timing.median if self.entry.timing else None


def analysed(run: BenchRun) -> list[Row]:
    """Return every row of a run; comparisons are corrected for their number."""
    analyses = [_row(group, entry) for group in rows.groups(run) for entry in group.entries]
    by_size = zip(slopes(analyses, "B"), slopes(analyses, "H"), strict=True)
    return _with_comparisons(run, [
        replace(row, by_rows=by_rows, by_width=by_width, regime=regime(by_rows, by_width))
        for row, (by_rows, by_width) in zip(analyses, by_size, strict=True)
    ])  # fmt: skip


def _row(group: Group, entry: Entry) -> Row:
    if entry.timing is None:
        return Row(group, entry)
    seconds, work = entry.timing.median, group.work[entry.of]
    ceiling = None if entry.device else group.ceiling.get(entry.of)  # measured on the CPU
    return Row(
        group, entry, us_per_step=1e6 * seconds / group.shape.T,
        gflops=work["flop"] / seconds / 1e9,
        recurrent_gflops=work["recurrent_flop"] / seconds / 1e9,
        intensity=work["flop"] / work["streamed_bytes"],
        share=ceiling / seconds if ceiling else None,
        sequential=work["sequential_flop"] / work["flop"],
        memory=entry.peak / work["held_bytes"] if entry.peak is not None else None,
    )  # fmt: skip


def slopes(analyses: Sequence[Row], size: str) -> list[float | None]:
    """Return each row's slope to the nearest row that differs in ``size``, a letter, alone."""
    series = [_series(row, size) for row in analyses]
    timed: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row, key in zip(analyses, series, strict=True):
        if row.seconds:
            timed[key].append(row)
    return [_slope(row, timed[key], size) for row, key in zip(analyses, series, strict=True)]


def _slope(row: Row, others: Iterable[Row], size: str) -> float | None:
    """Return d log t / d log size to the nearest of the rows that have another size."""
    length = getattr(row.shape, size)
    alike = [candidate for candidate in others if getattr(candidate.shape, size) != length]
    if not alike or not row.seconds:
        return None
    at = math.log(length)
    near = min(alike, key=lambda candidate: abs(math.log(getattr(candidate.shape, size)) - at))
    rise = math.log(row.seconds / (near.seconds or 1.0))
    return rise / (at - math.log(getattr(near.shape, size)))


def _series(row: Row, size: str) -> tuple[Any, ...]:
    """Return all that identifies a row except one size; an input as wide as H follows H."""
    s, group = row.shape, row.group
    sizes = {"T": s.T, "B": s.B, "H": s.H, "D": 0 if s.D == s.H else s.D}
    del sizes[size]
    contender = (group.cell, group.dtype, group.threads, row.entry.subject, row.entry.of)
    return (*contender, s.layers, s.directions, *sizes.items())


def regime(by_rows: float | None, by_width: float | None) -> str:
    """Return the limit on a row whose time has these slopes; "" where one is unknown.

    Flat in B and in H: calls. Flat in B, steep in H: traffic of weights. Linear in B: products
    where it is steeper than linear in H, else elementwise work.
    """
    if by_rows is None or by_width is None:
        return ""
    if by_rows >= LINEAR:
        return PRODUCT if by_width >= STEEP else ELEMENTS
    if by_rows <= FLAT and by_width <= 2 * FLAT:
        return LATENCY
    return MEMORY if by_rows <= FLAT and by_width >= STEEP else BETWEEN


def _with_comparisons(run: BenchRun, analyses: list[Row]) -> list[Row]:
    """Compare each row with its baseline, and a rung with the one below, given the noise floor."""
    floor, chosen_baseline = rows.floor(run), str(run.settings.get("baseline", ""))
    effort = STANDARD if run.settings.get("full") else QUICK
    comparisons: dict[tuple[int, str], Comparison] = {}
    for number, row in enumerate(analyses):
        peers = {e.subject: e.timing for e in row.group.entries
                 if e.of == row.entry.of and e.timing is not None}  # fmt: skip
        subject = row.entry.subject
        if subject not in peers or len(peers) < 2:
            continue
        turns = Rounds(peers, effort, run.seed)
        baseline = baseline_of([*peers][::-1], chosen_baseline)
        baseline = "" if baseline == subject else baseline
        below = ladder.below(subject, peers)
        analyses[number] = replace(row, baseline=baseline, below=below)
        for role, other in (("baseline", baseline), ("below", below)):
            if other:
                comparisons[number, role] = turns.compare(subject, other, floor)
    verdicts = dict(zip(comparisons, corrected([*comparisons.values()]), strict=True))
    return [
        replace(row, comparison=verdicts.get((k, "baseline")), gain=verdicts.get((k, "below")))
        for k, row in enumerate(analyses)
    ]


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the geometric mean, the mean for ratios."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
