"""Clipping of a state."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from ....reference.arrays import Array
from ....reference.cell import State
from ....reference.cells.lstm import cell_state
from ....reference.functions import switch
from ....reference.parameters import Parameters
from ...mutants.parts import lstm_step
from ...mutants.replaceable_layer import At, ReplaceableLayer, StepPart
from ..hypotheses import Hypothesis
from .step import StepExperiment, distance

FAR = (2.0**14, 2.0**15)
"""Cell states far beyond ordinary ones."""


def clipped(experiment: StepExperiment) -> Iterator[Hypothesis]:
    """Yield hypotheses that the cell state is clipped, before or after it reaches the output."""
    if experiment.cell.name not in ("lstm", "lstm-peephole") or not experiment.case.state:
        return
    ends = []
    for sign in (-1.0, 1.0):
        reached = [_new_cell_state(experiment, sign * far) for far in FAR]
        if distance(*reached) > experiment.exact or np.ptp(reached[0]) > experiment.exact:
            return
        ends.append(float(np.median(reached[0])))
    low, high = ends
    if not low < high:
        return
    yield _hypothesis(low, high, shown=True)
    yield _hypothesis(low, high, shown=False)


def clipped_outputs(experiment: StepExperiment) -> Iterator[Hypothesis]:
    """Yield the hypothesis that the new h is clipped to the ends at which several entries stand."""
    if not experiment.case.state:
        return
    old = tuple(np.where(s < 0, -FAR[0], FAR[0]).astype(s.dtype) for s in experiment.old)
    reached = np.asarray(experiment.run(old=old).new[0])
    if distance(experiment.right(old=old)[0], reached) <= experiment.exact:
        return  # tanh reaches its own ends
    low, high = float(reached.min()), float(reached.max())
    if low < high < FAR[0] and all(np.sum(reached == end) > 1 for end in (low, high)):
        yield Hypothesis(
            ("h clipped",),
            (f"The new state h_t is clipped to the range from {low:.4g} to {high:.4g}.",),
            (lambda layer: layer.wrap("step", partial(_with_clipped_h, low, high)),),
            ("leave the state as it is, unless clipping is meant",), ("forward", "bounds"),
        )  # fmt: skip


def _with_clipped_h(
    low: float, high: float, right: StepPart, at: At, p: Parameters, x: Array, old: State
) -> State:
    h, *rest = right(at, p, x, old)
    return clip(low, high, h), *rest


def clip(low: float, high: float, a: Array) -> Array:
    """Return an array clipped to a range, with the gradient."""
    below = switch(a - low, low + 0 * a, a)
    return switch(high - below, high + 0 * a, below)


def _new_cell_state(experiment: StepExperiment, c: float) -> Array:
    old = (experiment.old[0], np.full_like(experiment.old[1], c))
    return experiment.run(old=old).new[1]


def _hypothesis(low: float, high: float, *, shown: bool) -> Hypothesis:
    def change(layer: ReplaceableLayer) -> None:
        right = layer.step

        def step(at: At, p: Parameters, x: Array, old: State) -> State:
            if shown:
                return lstm_step(
                    p, x, old, blend=lambda *parts: clip(low, high, cell_state(*parts))
                )
            h, c = right(at, p, x, old)
            return h, clip(low, high, c)

        layer.step = step

    where = "before it is shown" if shown else "where it is carried, not where it is shown"
    return Hypothesis(
        ("clipped",),
        (f"The cell state is clipped to the range from {low:.4g} to {high:.4g}, {where}.",),
        (change,),
        ("leave the cell state as it is, c' = f c + i g, unless clipping is meant",),
        ("gate-limits",),
    )
