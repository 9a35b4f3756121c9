"""Closed forms, from the shapes of a cell's parameters: every matrix is read once a step.

Symbols: T steps, B rows, D inputs, H units, G gates. Forward, the input's products take
2 G H D B flop a step and the recurrent ones 2 G H² B; so do, backward, the gradients of the input
and of the state, and those of the weights take as much as both. In training a share of
2 H / (3 (D + H)) must wait for the step before. Appleyard, Kocisky & Blunsom 2016,
arXiv:1604.01946, is why the others need not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...reference.cell import Cell
from ...reference.parameters import Sizes

INPUT = "W"
"""The matrices that read the input, in every cell; all others read states."""


def _matrices(cell: Cell, sizes: Sizes) -> Iterator[tuple[str, int]]:
    for name, shape in cell.shapes(sizes).items():
        if len(shape.axes) == 2:
            yield name, math.prod(shape.full)


def input_flop(cell: Cell, sizes: Sizes) -> int:
    """Return the flop of the input's products, for one row at one step: 2 G H D."""
    return sum(2 * words for name, words in _matrices(cell, sizes) if name == INPUT)


def recurrent_flop(cell: Cell, sizes: Sizes) -> int:
    """Return the flop of all other products, for one row at one step: 2 G H²."""
    return sum(2 * words for name, words in _matrices(cell, sizes) if name != INPUT)


def parameters(cell: Cell, sizes: Sizes) -> int:
    """Return the number of parameters as the equations have them: G H (D + H) + G H, and more.

    PyTorch and cuDNN add a second bias, G H more, which has no effect but in the GRU's candidate.
    """
    return sum(math.prod(shape.full) for shape in cell.shapes(sizes).values())


def sequential_share(cell: Cell, sizes: Sizes) -> float:
    """Return the part of training's products that must wait: 2 H / (3 (D + H)) for plain cells."""
    feeding, recurrent = input_flop(cell, sizes), recurrent_flop(cell, sizes)
    return 2 * recurrent / (3 * (feeding + recurrent))
