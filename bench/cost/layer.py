"""What a layer costs: steps, rows, levels and directions added up; operations, words, bytes.

Two conventions of counting are in use. DeepBench counts the recurrent products alone, 2 G H² B T;
oneDNN's benchdnn counts the input's too, 2 G H (D + H) B T. The same time is therefore reported as
different speeds. ``Cost`` has both. Of its passes ``backward`` is that alone, ``training`` is both.

In closed form, every matrix being read once a step: forward, the input's products take 2 G H D B
flop a step and the recurrent ones 2 G H² B; so do, backward, the gradients of the input and of the
state, and those of the weights take as much as both. In training a share of 2 H / (3 (D + H)) must
wait for the step before (Appleyard, Kocisky & Blunsom 2016, arXiv:1604.01946).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ...reference.cell import Cell
from ...reference.layer import Layer
from ...reference.parameters import Sizes
from .step import StepCost, Work, count_step

INPUT = "W"
"""The matrices that read the input, in every cell; all others read states."""


def recurrent_flop(cell: Cell, sizes: Sizes) -> int:
    """Return the flop of all products but the input's, for one row at one step: 2 G H²."""
    matrices = {n: s.full for n, s in cell.shapes(sizes).items() if len(s.axes) == 2}
    return sum(2 * math.prod(full) for name, full in matrices.items() if name != INPUT)


def parameters(cell: Cell, sizes: Sizes) -> int:
    """Return the number of parameters as the equations have them: G H (D + H) + G H, and more.

    PyTorch and cuDNN add a second bias, G H more, which has no effect but in the GRU's candidate.
    """
    return sum(math.prod(shape.full) for shape in cell.shapes(sizes).values())


@dataclass(frozen=True)
class Cost:
    """The cost of a layer over (T, B), from shapes alone.

    ``input_gradient`` and ``state_gradient`` say whether those of x and of the initial states are
    wanted; without the latter the first step's product for it is saved.
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
        return _total(step.forward * self.T for _, step in self._passes())

    @cached_property
    def backward_data(self) -> Work:
        """The gradients of inputs and states: cotangents through the layer."""
        return _total(self._data(level, step) for level, step in self._passes())

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
        return _total(step.weights * self.T for _, step in self._passes())

    @cached_property
    def recomputed(self) -> Work:
        """Products of the forward pass that the reference computes again, as it kept less."""
        return _total(step.recomputed * self.T for _, step in self._passes())

    @cached_property
    def sequential(self) -> dict[str, int]:
        """Flop of the products that must wait for the step before, by pass."""
        forward = sum(step.sequential.product * self.T for _, step in self._passes())
        back = sum(step.state.product * self.T for _, step in self._passes())
        return {"forward": forward, "backward": back, "training": forward + back}

    def flop(self, of: str = "forward") -> int:
        """Return the flop of all products of a pass: oneDNN's convention."""
        back = self.backward_data.product + self.backward_weights.product
        return {
            "forward": self.forward.product,
            "backward": back,
            "training": self.forward.product + back,
        }[of]

    def recurrent_flop(self, of: str = "forward") -> int:
        """Return the flop without the input's products: DeepBench's convention.

        Backward it counts the states' gradients and, as much again, those of the weights.
        """
        once = sum(
            recurrent_flop(self.layer.cell, sizes) * self.T * self.B
            for sizes in self.layer.pass_sizes
        )
        return {"forward": 1, "backward": 2, "training": 3}[of] * once

    @property
    def chain(self) -> int:
        """Products that wait for each other within one forward step."""
        return max(step.chain for _, step in self._passes())

    @property
    def parameters(self) -> int:
        """Numbers that are learned, with one bias."""
        sizes = self.layer.pass_sizes
        return sum(parameters(self.layer.cell, each) for each in sizes)

    @property
    def saved(self) -> int:
        """Words kept for the backward pass, beyond x and the parameters."""
        return sum(step.saved * self.T for _, step in self._passes())

    def held(self, of: str) -> int:
        """Return the words that a call of a pass must hold at once, beyond what it is given.

        Forward: its results. Backward: the gradients. Training: those, the final states, and
        what is kept, of which y is a part.
        """
        sizes, rows = self.layer.sizes, self.T * self.B
        widths, passes = self.layer.cell.widths(sizes), len(self.layer.pass_sizes)
        ends = self.B * passes * sum(widths)
        results = rows * self.layer.directions * widths[0] + ends
        gradients = self.parameters + rows * self.layer.cell.input_width(sizes) + ends
        return {
            "forward": results,
            "backward": gradients,
            "training": self.saved + ends + gradients,
        }[of]

    def step_words(self, of: str, *, streamed: bool) -> int:
        """Return the words that the sequential part of a pass must move, over all its steps.

        Forward: the states are read and written, the input's products read; in training what is
        kept is written. Backward: that is read, the output's cotangent read, the cotangents of
        pre-activations written. ``streamed``: the recurrent weights come from memory at every
        step, else once.
        """
        words = 0
        for _, step in self._passes():
            weights = step.recurrent * (self.T if streamed else min(self.T, 1))
            ahead = weights + self.T * (2 * step.states + step.projected)
            output = self.B * self.layer.cell.widths(self.layer.sizes)[0]
            back = weights + self.T * (2 * step.states + step.projected + step.saved + output)
            kept = self.T * step.saved
            words += {"forward": ahead, "backward": back, "training": ahead + kept + back}[of]
        return words

    def parallel_words(self, of: str) -> int:
        """Return the words that the products over all steps at once must move.

        Forward: the input, its weights, its products. Backward: the same for the input's
        gradient, and for that of the weights what its products read, and the gradient.
        """
        words = 0
        for (level, step), sizes in zip(self._passes(), self.layer.pass_sizes, strict=True):
            x = self.T * self.B * self.layer.cell.input_width(sizes)
            once = x + step.feeding + self.T * step.projected
            data = once if level > 0 or self.input_gradient else 0
            back = data + self.T * step.deltas + step.feeding + step.recurrent
            words += {"forward": once, "backward": back, "training": once + back}[of]
        return words

    def words(self, of: str = "forward", *, streamed: bool = False) -> int:
        """Return the least words that a pass must move to and from memory."""
        return self.step_words(of, streamed=streamed) + self.parallel_words(of)

    def intensity(self, of: str, bytes_a_word: int, *, streamed: bool) -> float:
        """Return flop for each byte moved, of the sequential part; 0 where nothing is moved."""
        moved = self.step_words(of, streamed=streamed) * bytes_a_word
        return self.sequential[of] / moved if moved else 0.0


def _total(parts: Iterator[Work]) -> Work:
    return sum(parts, Work())
