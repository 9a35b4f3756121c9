"""Inputs of any length that are never all in memory: blocks, each drawn from its own seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from ...reference.cell import Cell
from ...reference.functions import Array
from ...reference.parameters import Sizes

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
        self._stamps = cell.input_width(sizes) - sizes.D
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
