"""Other layouts at the border: the batch first, or no batch axis at all (B).

Arrays arrive here time first in every layout; what a wrong layer makes of another one is put into
these terms.
"""

from __future__ import annotations

from dataclasses import replace

from ...reference.cell import State
from ...reference.functions import Array
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import PLAIN
from .tape import rearranged
from .workshop import Workshop


@mutant(
    "B01",
    cells=PLAIN,
    killed_by=("batch-first",),
    needs=("batch_first",),
    fix="transpose batch-first input and outputs (exchange axes 0 and 1); do not reshape them",
)
def reshaped_instead_of_transposed(layer: Workshop) -> None:
    """Batch-first input is reshaped to (T, B, D), not transposed, and so are the outputs."""
    right = layer.run

    def run(inputs: Inputs) -> Result:
        if layer.case.layout != "batch-first":
            return right(inputs)
        result = right(replace(inputs, x=rearranged(inputs.x, _reshaped)))
        return replace(result, y=rearranged(result.y, _reshaped_back))

    layer.run = run


def _reshaped(x: Array) -> Array:
    """Read the memory of (B, T, D) as (T, B, D)."""
    return x.swapaxes(0, 1).reshape(x.shape)


def _reshaped_back(y: Array) -> Array:
    """Read the memory of (T, B, width) as (B, T, width)."""
    T, B, width = y.shape
    return y.reshape(B, T, width).swapaxes(0, 1)


@mutant(
    "B02",
    cells=PLAIN,
    killed_by=("unbatched",),
    needs=("unbatched",),
    fix="read the initial state without a batch axis, too: give it an axis of size 1, as x "
    "gets one",
)
def state_ignored_without_a_batch(layer: Workshop) -> None:
    """Without a batch axis the initial state is not read."""
    right = layer.read_state

    def read(state: State | None, x: Array) -> State:
        if state is None or layer.case.layout != "unbatched":
            return right(state, x)
        return tuple(0 * s for s in state)

    layer.read_state = read
