"""The cost of a layer over steps, rows, levels and directions: operations, words, bytes.

Two conventions of counting are in use. DeepBench counts the recurrent products alone, 2 G H² B T;
oneDNN's benchdnn counts the input's too, 2 G H (D + H) B T. The same time is therefore reported as
different speeds. ``Cost`` has both. Of its passes, ``training`` is ``forward`` and ``backward``.

In closed form, every matrix being read once a step: forward, the input's products take 2 G H D B
flop a step and the recurrent ones 2 G H² B; so do, backward, the gradients of the input and of the
state, and those of the weights take as much as both. In training a share of 2 H / (3 (D + H)) must
wait for the step before (Appleyard, Kocisky & Blunsom 2016, arXiv:1604.01946).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ...reference.cell import Cell
from ...reference.layer import Layer
from ...reference.parameters import Sizes
from .shape import Shape
from .step import StepCost, Work, count_step

INPUT = "W"
"""The matrices that read the input in every cell; all others read states."""


def recurrent_flop(cell: Cell, sizes: Sizes) -> int:
    """Return the flop of all products but the input's, for one row at one step: 2 G H²."""
    matrices = {n: s.full for n, s in cell.shapes(sizes).items() if len(s.axes) == 2}
    return sum(2 * math.prod(full) for name, full in matrices.items() if name != INPUT)


def parameters(cell: Cell, sizes: Sizes) -> int:
    """Return the number of parameters of the equations: G H (D + H) + G H, and extra ones.

    PyTorch and cuDNN add a second bias, G H more, which has no effect but in the GRU's candidate.
    """
    return sum(math.prod(shape.full) for shape in cell.shapes(sizes).values())


@dataclass(frozen=True)
class Cost:
    """The cost of a layer over (T, B), from shapes alone.

    ``input_gradient`` and ``state_gradient`` are whether the gradients of x and of the initial
    states are computed; without the latter the first step's product for it is saved.
    """

    layer: Layer
    T: int
    B: int
    input_gradient: bool = True
    state_gradient: bool = True

    def _passes(self) -> Iterator[tuple[int, StepCost]]:
        """Yield the level and the cost of a step of every layer and direction."""
        for k, sizes in enumerate(self.layer.pass_sizes):
            yield k // self.layer.directions, count_step(self.layer.cell, sizes, self.B)

    @cached_property
    def forward(self) -> Work:
        """The forward pass."""
        return sum((step.forward * self.T for _, step in self._passes()), Work())

    @cached_property
    def backward_data(self) -> Work:
        """The gradients of inputs and states: cotangents through the layer."""
        return sum((self._data(level, step) for level, step in self._passes()), Work())

    def _data(self, level: int, step: StepCost) -> Work:
        steps = step.state * self.T + step.slopes * self.T
        if level > 0 or self.input_gradient:
            steps += step.input * self.T
        if not self.state_gradient and self.T:
            steps += step.state_only * -1
        return steps

    @cached_property
    def backward_weights(self) -> Work:
        """The gradients of the parameters: products over all steps and rows at once."""
        return sum((step.weights * self.T for _, step in self._passes()), Work())

    @cached_property
    def recomputed(self) -> Work:
        """The products of the forward pass that the reference computes again."""
        return sum((step.recomputed * self.T for _, step in self._passes()), Work())

    @cached_property
    def sequential(self) -> dict[str, int]:
        """The flop of the products that must wait for the step before, by pass."""
        forward = sum(step.sequential.product * self.T for _, step in self._passes())
        backward = sum(step.state.product * self.T for _, step in self._passes())
        return {"forward": forward, "backward": backward, "training": forward + backward}

    def flop(self, phase: str = "forward") -> int:
        """Return the flop of all products of a pass (oneDNN's convention)."""
        backward = self.backward_data.product + self.backward_weights.product
        return _amount(phase, self.forward.product, backward)

    def recurrent_flop(self, phase: str = "forward") -> int:
        """Return the flop without the input's products (DeepBench's convention).

        Backward, the gradients of the weights take as much as those of the states.
        """
        flop = sum(recurrent_flop(self.layer.cell, sizes) for sizes in self.layer.pass_sizes)
        forward = flop * self.T * self.B
        return _amount(phase, forward, 2 * forward)

    @property
    def chain(self) -> int:
        """The number of products that wait for each other within one forward step."""
        return max(step.chain for _, step in self._passes())

    @property
    def parameters(self) -> int:
        """The number of learned parameters, with one bias."""
        sizes = self.layer.pass_sizes
        return sum(parameters(self.layer.cell, size) for size in sizes)

    @property
    def saved(self) -> int:
        """The words kept for the backward pass, beside x and the parameters."""
        return sum(step.saved * self.T for _, step in self._passes())

    def resident_words(self, phase: str) -> int:
        """Return the words that a call of a pass needs at once, beside its arguments.

        Forward: its results. Backward: the gradients. Training: those, the final states, and
        the kept words, which include y.
        """
        sizes, rows = self.layer.sizes, self.T * self.B
        widths, passes = self.layer.cell.widths(sizes), len(self.layer.pass_sizes)
        ends = self.B * passes * sum(widths)
        results = rows * self.layer.directions * widths[0] + ends
        gradients = self.parameters + rows * self.layer.cell.input_width(sizes) + ends
        training = self.saved + ends + gradients
        return {"forward": results, "backward": gradients, "training": training}[phase]

    def step_words(self, phase: str, *, streamed: bool) -> int:
        """Return the words that the sequential part of a pass must move, over all steps.

        Forward: the states are read and written, the input's products read; in training the kept
        words are written. Backward: they are read, the output's cotangent read, the cotangents of
        pre-activations written. ``streamed``: the recurrent weights come from memory at every step,
        else once.
        """
        words = 0
        for _, step in self._passes():
            weights = step.recurrent * (self.T if streamed else min(self.T, 1))
            forward = weights + self.T * (2 * step.states + step.projected)
            output = self.B * self.layer.cell.widths(self.layer.sizes)[0]
            backward = weights + self.T * (2 * step.states + step.projected + step.saved + output)
            words += _amount(phase, forward, backward, saved=self.T * step.saved)
        return words

    def parallel_words(self, phase: str) -> int:
        """Return the words that the products over all steps at once must move.

        Forward: the input, its weights, its products. Backward: the same for the input's
        gradient; for that of the weights, the operands of its products and the gradient.
        """
        words = 0
        for (level, step), sizes in zip(self._passes(), self.layer.pass_sizes, strict=True):
            x = self.T * self.B * self.layer.cell.input_width(sizes)
            forward = x + step.feeding + self.T * step.projected
            data = forward if level > 0 or self.input_gradient else 0
            backward = data + self.T * step.deltas + step.feeding + step.recurrent
            words += _amount(phase, forward, backward)
        return words

    def words(self, phase: str = "forward", *, streamed: bool = False) -> int:
        """Return the fewest words that a pass must move to and from memory."""
        return self.step_words(phase, streamed=streamed) + self.parallel_words(phase)

    def intensity(self, bytes_a_word: int) -> float:
        """Return the flop per byte of the forward recurrence, streamed; 0 if nothing is moved."""
        moved = self.step_words("forward", streamed=True) * bytes_a_word
        return self.sequential["forward"] / moved if moved else 0.0


def _amount(phase: str, forward: int, backward: int, saved: int = 0) -> int:
    """Return the amount of a pass; training is both, and writes the ``saved`` words."""
    training = forward + saved + backward
    return {"forward": forward, "backward": backward, "training": training}[phase]


# The rows of ``gatewise bench cost``, which CI can compare.


WORD_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of a number, by dtype."""


@dataclass(frozen=True)
class CostRow:
    """The cost of one layer. All fields are counts, so a row is the same on every machine.

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
        """The flop of all products of a training step."""
        return self.forward + self.backward_data + self.backward_weights

    @property
    def word(self) -> int:
        """Bytes of a number."""
        return WORD_BYTES[self.dtype]


def cost_of(cell: Cell, shape: Shape) -> Cost:
    """Return the cost of a cell in a shape."""
    return Cost(shape.layer(cell), shape.T, shape.B)


def row(cell: Cell, shape: Shape, dtype: str = "float32") -> CostRow:
    """Return the cost of a cell in a shape as a row."""
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
        intensity=round(cost.intensity(size), 6),
        units=shape.T * shape.B * shape.H * shape.layers * shape.directions,
    )


def changes(before: Sequence[Mapping[str, Any]], rows: Iterable[CostRow]) -> list[str]:
    """Return a sentence for every changed count; new rows are no change."""
    old_rows = {(r["cell"], r["shape"], r["dtype"]): r for r in before}
    sentences = []
    for current in rows:
        counts = asdict(current)
        old = old_rows.get((current.cell, current.shape, current.dtype), counts)
        sentences += [
            f"{current.cell} {current.shape}: {name} {old[name]} -> {count}"
            for name, count in counts.items() if old.get(name, count) != count
        ]  # fmt: skip
    return sentences
