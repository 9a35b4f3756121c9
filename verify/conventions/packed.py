"""One stored array: which slices of the reference's parameters it holds, and how they lie in it.

A slice is named as in the equations: ``W_i`` (D, H), ``U_f`` (H, H), ``b_o`` (H,), ``b_hn`` (H,),
``p_o`` (H,), ``R`` (H, P).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Shape

LAYOUTS = {
    "out-in": "[G·H, D]: one row a unit, gate after gate",
    "in-out": "[D, G·H]: one column a unit, gate after gate",
    "joint": "[D + H, G·H]: the rows of U below those of W",
    "interleaved": "[H·G, D]: one row a unit and gate, unit after unit",
    "stacked in-out": "[G·D, H]: a block [D, H] for every gate, one below the other",
    "beside out-in": "[H, G·D]: a block [H, D] for every gate, side by side",
    "separate out-in": "an array [H, D] for every gate",
    "separate in-out": "an array [D, H] for every gate",
    "gates": "[G, D, H]: an axis for the gates",
    "gates out-in": "[G, H, D]: an axis for the gates, one row a unit",
}
"""How weights lie; W's shapes, those of U have H in the place of D."""

GATE_AXIS = ("gates", "gates out-in")
BLOCKS = ("stacked in-out", "beside out-in")


@dataclass(frozen=True)
class Packed:
    """An array's ``name``, its ``slices`` along the packed axis, and the layout of its weights.

    ``below`` are the slices whose rows stand below (layout ``joint``).
    """

    name: str
    slices: tuple[str, ...]
    layout: str
    below: tuple[str, ...] = ()

    def shape(self, shapes: Mapping[str, Shape]) -> tuple[int, ...]:
        """Return the array's shape; ``shapes`` are the cell's."""
        axes, count = slice_shape(shapes, self.slices[0]), len(self.slices)
        if len(axes) == 1:
            return (count, *axes) if self.layout in GATE_AXIS else (count * axes[0],)
        rows, width = axes
        if self.below:
            rows += slice_shape(shapes, self.below[0])[0]
        if self.layout in GATE_AXIS:
            return (count, rows, width) if self.layout == "gates" else (count, width, rows)
        if self.layout in BLOCKS:
            stacked = (count * rows, width)
            return stacked if self.layout == "stacked in-out" else stacked[::-1]
        packed = (rows, count * width)
        return packed if self.layout in ("in-out", "joint", "separate in-out") else packed[::-1]

    def split(self, array: Array, shapes: Mapping[str, Shape]) -> dict[str, Array]:
        """Return every slice, as the reference has it."""
        axes = slice_shape(shapes, self.slices[0])
        if not self.below:
            return dict(zip(self.slices, self._blocks(array, axes[-1]), strict=True))
        upper = self._blocks(array[: axes[0]], axes[-1])
        lower = self._blocks(array[axes[0] :], axes[-1])
        return dict(zip(self.slices + self.below, upper + lower, strict=True))

    def join(self, slices: Mapping[str, Array]) -> Array:
        """Return the array that holds these slices."""
        upper = self._joined([slices[name] for name in self.slices])
        if not self.below:
            return upper
        return np.concatenate([upper, self._joined([slices[name] for name in self.below])])

    def _blocks(self, array: Array, width: int) -> list[Array]:
        count = len(self.slices)
        if self.layout in GATE_AXIS:
            return [array[k] if self.layout == "gates" else array[k].T for k in range(count)]
        if self.layout == "interleaved":
            return [array[k::count].T for k in range(count)]
        if self.layout in BLOCKS and len(array.shape) > 1:
            whole = array if self.layout == "stacked in-out" else array.T
            height = whole.shape[0] // count
            return [whole[k * height : (k + 1) * height] for k in range(count)]
        if len(array.shape) == 1 or self.layout.endswith("out-in"):
            return [array[k * width : (k + 1) * width].T for k in range(count)]
        return [array[:, k * width : (k + 1) * width] for k in range(count)]

    def _joined(self, blocks: list[Array]) -> Array:
        if self.layout in GATE_AXIS:
            return np.stack(blocks if self.layout == "gates" else [block.T for block in blocks])
        if self.layout == "interleaved":
            rows = np.stack([block.T for block in blocks], axis=1)
            return rows.reshape(-1, *rows.shape[2:])
        if self.layout in BLOCKS and len(blocks[0].shape) > 1:
            stacked = np.concatenate(blocks)
            return stacked if self.layout == "stacked in-out" else stacked.T
        if len(blocks[0].shape) == 1 or self.layout.endswith("out-in"):
            return np.concatenate([block.T for block in blocks])
        return np.concatenate(blocks, axis=1)


def slice_shape(shapes: Mapping[str, Shape], name: str) -> tuple[int, ...]:
    """Return the shape of one slice."""
    return shapes[name].axes if name in shapes else shapes[name.partition("_")[0]].axes
