"""The cost model as rows: what ``gatewise bench cost`` prints, and what CI can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...reference.cell import Cell
from .layer import Cost
from .shape import Shape

WORD_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of a number, by dtype."""


@dataclass(frozen=True)
class CostRow:
    """What one layer costs. All are counts, so the same row everywhere: any change is a change.

    Flop are of matrix products: ``forward``, ``backward_data`` and ``backward_weights`` with the
    input's, as oneDNN counts, ``recurrent`` forward without, as DeepBench counts; ``sequential``
    those of training that must wait for the step before. ``pointwise`` and ``activations`` are of
    the forward pass. ``calls`` are the reference's products, ``chain`` those in a row in a step.
    ``kept`` are words for the backward pass; ``moved`` and ``streamed`` the bytes that the
    forward pass must move, its weights once or at every step; ``intensity`` the flop for each
    byte of the recurrence alone, streamed. ``units`` is T B H for every layer and direction.
    """

    cell: str
    shape: str
    dtype: str
    parameters: int
    forward: int
    recurrent: int
    backward_data: int
    backward_weights: int
    sequential: int
    pointwise: int
    activations: int
    calls: int
    calls_back: int
    chain: int
    kept: int
    moved: int
    streamed: int
    intensity: float
    units: int

    @property
    def training(self) -> int:
        """Flop of all products of a training step."""
        return self.forward + self.backward_data + self.backward_weights

    @property
    def word(self) -> int:
        """Bytes of a number."""
        return WORD_BYTES[self.dtype]


def cost_of(cell: Cell, shape: Shape) -> Cost:
    """Return the cost of a cell in a shape."""
    return Cost(shape.layer(cell), shape.T, shape.B)


def row(cell: Cell, shape: Shape, dtype: str = "float32") -> CostRow:
    """Return what a cell costs in a shape."""
    cost, size = cost_of(cell, shape), WORD_BYTES[dtype]
    back, weights, again = cost.backward_data, cost.backward_weights, cost.recomputed
    return CostRow(
        cell=cell.name,
        shape=str(shape),
        dtype=dtype,
        parameters=cost.parameters,
        forward=cost.flop(),
        recurrent=cost.recurrent_flop(),
        backward_data=back.product,
        backward_weights=weights.product,
        sequential=cost.sequential["training"],
        pointwise=cost.forward.pointwise,
        activations=cost.forward.activation,
        calls=cost.forward.calls,
        calls_back=back.calls + weights.calls + again.calls,
        chain=cost.chain,
        kept=cost.saved,
        moved=cost.words() * size,
        streamed=cost.words(streamed=True) * size,
        intensity=round(cost.intensity("forward", size, streamed=True), 6),
        units=shape.T * shape.B * shape.H * shape.layers * shape.directions,
    )


def changes(before: Sequence[Mapping[str, Any]], now: Iterable[CostRow]) -> list[str]:
    """Return a sentence for every count that is not what it was; what is new is no change."""
    known = {(r["cell"], r["shape"], r["dtype"]): r for r in before}
    sentences = []
    for current in now:
        counts = asdict(current)
        old = known.get((current.cell, current.shape, current.dtype), counts)
        for name in [name for name, count in counts.items() if old.get(name, count) != count]:
            sentences.append(
                f"{current.cell} {current.shape}: {name} {old[name]} -> {counts[name]}"
            )
    return sentences
