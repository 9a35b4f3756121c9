"""A trajectory of which every √T-th state is kept; what lies between is computed again.

So T steps need the memory of 2 √T (Griewank & Walther 2008, ch. 12, with one level of
checkpoints), at the price of running each step twice. Nor are inputs ever all in memory: they come
in blocks, each drawn from its own seed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...reference.cell import Cell, State
from ...reference.functions import Array
from ...reference.parameters import Sizes
from .transition import Step, Transition

BLOCK = 64
"""Steps in a block."""


class Inputs:
    """A random input sequence (T, 1, input width), in blocks of ``BLOCK`` steps.

    The features are the cell's own random input times ``scale``; time stamps are not scaled, and
    run on from block to block. The same block is the same whenever it is asked for.
    """

    def __init__(self, cell: Cell, sizes: Sizes, seed: tuple[int, ...], scale: float) -> None:
        """Take the cell that draws, and the seed that all blocks share."""
        self._cell, self._sizes, self._seed = cell, sizes, seed
        self._scale = scale
        self._stamps = cell.input_width(sizes) - sizes.D if "timed" in cell.traits else 0
        self._ends = [0.0]  # of the clock, before every block that has been asked for

    def block(self, k: int) -> Array:
        """Return block ``k``, (BLOCK, 1, input width), float64."""
        while self._stamps and len(self._ends) <= k:
            self._ends.append(self._drawn(len(self._ends) - 1, self._ends[-1])[1])
        return self._drawn(k, self._ends[k if self._stamps else 0])[0]

    def stream(self) -> Iterator[Array]:
        """Yield every step's input (1, input width), for ever, and keep none."""
        end = 0.0
        for k in itertools.count():
            x, end = self._drawn(k, end)
            yield from x

    def _drawn(self, k: int, time: float) -> tuple[Array, float]:
        """Return block ``k``, whose clock starts at ``time``, and where its clock ends."""
        rng = np.random.default_rng((*self._seed, k))
        x = self._cell.random_input(rng, BLOCK, 1, self._sizes)
        x[..., self._stamps :] *= self._scale
        if not self._stamps:
            return x, 0.0
        x[..., : self._stamps] += time
        return x, float(x[-1, 0, 0])


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
        state, steps = self.checkpoints[k], []
        first, last = k * self.every, min((k + 1) * self.every, self.steps)
        for x in _inputs(self.inputs, self.skipped, first, last):
            new, gates = self.transition.step(x, state)
            steps.append((x, state, gates, new))
            state = new
        return steps

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
