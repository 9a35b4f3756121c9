"""A trajectory of which every √T-th state is kept; what lies between is computed again.

So T steps need the memory of 2 √T (Griewank & Walther 2008, ch. 12, with one level of
checkpoints), at the price of running each step twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ...reference.cell import Gates, State
from ...reference.functions import Array
from .inputs import BLOCK, Inputs
from .transition import Transition

Step: TypeAlias = tuple[Array, State, Gates, State]
"""What one step read and computed: x (1, D), old state, gates, new state."""


@dataclass(frozen=True)
class Trajectory:
    """``steps`` steps from the first of ``checkpoints``, which lie ``every`` steps apart.

    ``skipped`` blocks of the ``inputs`` lie before the first step, and ``every`` is a multiple of
    a block. ``overflowed``: the state left float64, and the trajectory ends at a checkpoint before.
    """

    transition: Transition
    inputs: Inputs
    checkpoints: tuple[State, ...]
    steps: int
    every: int
    skipped: int
    overflowed: bool

    def segment(self, k: int) -> list[Step]:
        """Compute the steps from checkpoint ``k`` to the next again."""
        state, found = self.checkpoints[k], []
        first, last = k * self.every, min((k + 1) * self.every, self.steps)
        for x in _inputs(self.inputs, self.skipped, first, last):
            new, gates = self.transition.step(x, state)
            found.append((x, state, gates, new))
            state = new
        return found

    def forwards(self) -> Iterator[Step]:
        """Yield every step."""
        for k in range(len(self.checkpoints)):
            yield from self.segment(k)

    def backwards(self) -> Iterator[Step]:
        """Yield every step, the last first."""
        for k in reversed(range(len(self.checkpoints))):
            yield from reversed(self.segment(k))


def wander(transition: Transition, inputs: Inputs, start: State) -> Iterator[Step]:
    """Yield step after step, for ever, and keep none."""
    state = start
    for x in inputs.stream():
        new, gates = transition.step(x, state)
        yield x, state, gates, new
        state = new


def follow(
    transition: Transition, inputs: Inputs, start: State, steps: int, warm_up: int = 0
) -> Trajectory:
    """Follow ``transition`` over ``steps`` steps, after at least ``warm_up`` that are not kept.

    The warm-up is rounded up to whole blocks of inputs, and so is √T.
    """
    skipped = math.ceil(warm_up / BLOCK)
    every = BLOCK * math.ceil(math.sqrt(steps) / BLOCK)
    checkpoints: list[State] = []
    state = start
    for x in _inputs(inputs, 0, 0, skipped * BLOCK):
        state, _ = transition.step(x, state)
    for first in range(0, steps, every):
        before = state
        for x in _inputs(inputs, skipped, first, min(first + every, steps)):
            state, _ = transition.step(x, state)
        if not all(np.isfinite(s).all() for s in state):
            return Trajectory(transition, inputs, tuple(checkpoints), first, every, skipped, True)
        checkpoints.append(before)
    return Trajectory(transition, inputs, tuple(checkpoints), steps, every, skipped, False)


def _inputs(inputs: Inputs, skipped: int, first: int, last: int) -> Iterator[Array]:
    """Yield the inputs of steps ``first`` to ``last``; ``first`` begins a block."""
    for start in range(first, last, BLOCK):
        yield from inputs.block(skipped + start // BLOCK)[: last - start]
