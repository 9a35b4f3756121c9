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
from .inputs import Inputs
from .transition import Transition

Step: TypeAlias = tuple[Array, State, Gates, State]
"""What one step read and computed: x (1, D), old state, gates, new state."""


@dataclass(frozen=True)
class Trajectory:
    """``steps`` steps from the first of ``checkpoints``, which lie ``every`` steps apart.

    ``inputs`` come in blocks of the same length; ``skipped`` of them lie before the first step.
    ``overflowed`` says that the state left the range of its dtype and the trajectory ends early.
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
        for x in self.inputs.block(self.skipped + k)[: self.steps - k * self.every]:
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

    The warm-up is rounded up to whole blocks of ``inputs``, whose length is √T.
    """
    every, state = inputs.length, start
    skipped, blocks = math.ceil(warm_up / every), math.ceil(steps / every)
    checkpoints: list[State] = []
    for k in range(skipped + blocks):
        before = state
        for x in inputs.block(k)[: skipped * every + steps - k * every]:
            state, _ = transition.step(x, state)
        if not all(np.isfinite(s).all() for s in state):
            kept = len(checkpoints)
            return Trajectory(
                transition, inputs, tuple(checkpoints), kept * every, every, skipped, True
            )
        if k >= skipped:
            checkpoints.append(before)
    return Trajectory(transition, inputs, tuple(checkpoints), steps, every, skipped, False)
