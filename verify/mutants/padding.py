"""What stands beyond a row's length, and what becomes of it (Q)."""

from __future__ import annotations

import numpy as np

from ...reference.cell import State
from ...reference.functions import Array
from ...reference.sequence import choose, only
from .catalogue import mutant
from .parts import PLAIN
from .tape import instead, plain
from .workshop import At, Workshop


@mutant(
    "Q08",
    cells=PLAIN,
    models="microsoft/onnxruntime#12492",
    killed_by=("padding", "forward"),
    needs=("lengths",),
    fix="write zeros to y beyond the end of a row; hold only the state there",
)
def last_output_repeated_in_the_padding(layer: Workshop) -> None:
    """Beyond the end of a row, y repeats the row's last output."""
    layer.show = lambda at, new, old: choose(at.active, new[0], old[0])


@mutant(
    "Q09",
    cells=PLAIN,
    models="microsoft/onnxruntime#1193",
    killed_by=("padding", "repeat", "forward"),
    needs=("lengths",),
    fix="fill y with zeros before the loop, or beyond each row's end: look for an empty() buffer",
)
def padding_not_written(layer: Workshop) -> None:
    """Beyond the end of a row, y holds whatever stood there before."""
    rng = np.random.default_rng()

    def show(at: At, new: State, old: State) -> Array:
        leftovers = rng.standard_normal(new[0].shape).astype(new[0].dtype)
        return choose(at.active, new[0], leftovers)

    layer.show = show


@mutant(
    "Q12",
    cells=PLAIN,
    models="keras-team/keras#17596",
    killed_by=("padding", "final", "forward"),
    needs=("lengths",),
    fix="hold h (and c) where t >= length, not y alone: h = where(t < length, h_new, h_old)",
)
def state_runs_on_in_the_padding(layer: Workshop) -> None:
    """Outputs are masked, the state is not: it goes on through the padding."""
    layer.see = lambda at, x: x
    layer.carry = lambda at, new, old: new


@mutant(
    "Q13",
    cells=PLAIN,
    killed_by=("padding",),
    needs=("lengths",),
    fix="select with where(t < length, new, old), not by multiplying with a mask: 0 * NaN is NaN",
)
def padding_multiplied_by_zero(layer: Workshop) -> None:
    """The padding is multiplied by 0, which leaves NaN what it is, and so it reaches the state."""

    def see(at: At, x: Array) -> Array:
        return x if at.active is None else x * at.active.astype(x.dtype)

    def carry(at: At, new: State, old: State) -> State:
        if at.active is None:
            return new
        on = at.active.astype(new[0].dtype)
        return tuple(on * n + (1 - on) * o for n, o in zip(new, old, strict=True))

    layer.see, layer.carry = see, carry


@mutant(
    "Q14",
    cells=PLAIN,
    killed_by=("padding", "gradient"),
    needs=("lengths",),
    fix="ignore cotangents on y where t >= length: set dy to 0 there before the way back",
)
def cotangents_of_the_padding_count(layer: Workshop) -> None:
    """Outputs in the padding are 0, but their cotangents reach the row's last state."""

    def show(at: At, new: State, old: State) -> Array:
        shown = choose(at.active, new[0], old[0])
        return instead(shown, plain(only(at.active, new[0])))

    layer.show = show
