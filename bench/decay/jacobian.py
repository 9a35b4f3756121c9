"""The Jacobian of a step in the whole state, for every cell, from its VJP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ...reference.cell import Gates, State
from ...reference.functions import Array
from .trajectory import Step
from .transition import Transition, joined, parted


def state_jacobian(
    transition: Transition, x: Array, state: State, gates: Gates, new: State
) -> Array:
    """Return J (n, n), J[k, j] = ∂ new[k] / ∂ old[j], all states side by side, (h, c) of an LSTM.

    All unit cotangents are pulled back at once, as one batch of n copies of the step. For a cell
    with the trait ``surrogate`` this is what backpropagation uses, not a derivative.
    """
    n = sum(transition.widths)

    def copies(array: Array) -> Array:
        return np.broadcast_to(array, (n, array.shape[1]))

    pulled = transition.pull(
        copies(x),
        tuple(map(copies, state)),
        {name: copies(gate) for name, gate in gates.items()},
        tuple(map(copies, new)),
        parted(np.eye(n), transition.widths),
    )
    return joined(pulled)


def state_jacobians(transition: Transition, steps: Iterable[Step]) -> Iterator[Array]:
    """Yield the Jacobian of every step, in the order of the steps."""
    for x, state, gates, new in steps:
        yield state_jacobian(transition, x, state, gates, new)
