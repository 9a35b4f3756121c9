"""Cells whose gates are inputs: a step reads named arrays, and computes an output apart.

Other cells compute gates from x by weights; these read them from x: queries, keys, values,
decays. The row x of a step is these arrays, side by side in the order of ``inputs``. A state is a
matrix or a vector per head.

=====  =========================  =====  ==========================================
``N``  heads: ``heads`` of them   ``V``  width of values: H of the sizes
``K``  width of keys: D           ``B``  rows of the batch, the first axis of all
=====  =========================  =====  ==========================================
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np

from .arrays import Array, Carried, Floats, Rows
from .cell import VJP, Cell, Gates, ReadVJP, State
from .forms import LINEAR_KINDS, Form
from .functions import zeros
from .linear import Linear
from .parameters import Parameters, Shape, Sizes

Arrays: TypeAlias = Mapping[str, Any]
"""The input arrays of a step, or their cotangents, by name."""

Keys: TypeAlias = Annotated[Array, "B N K"]
Values: TypeAlias = Annotated[Array, "B N V"]
Heads: TypeAlias = Annotated[Array, "B N"]
Memory: TypeAlias = Annotated[Array, "B N K V"]
"""Arrays per head: keys, values, scalars, and a matrix."""

Cotangents: TypeAlias = tuple["Carried | None", ...]
"""The cotangents of states; None for a state that the output does not depend on."""

Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def plain(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draw N(0, 1)."""
    return rng.standard_normal(shape)


def unit(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draw vectors of length 1, as keys are normalised."""
    drawn = rng.standard_normal(shape)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))


def share(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draw numbers in (0, 1): the sigmoid of N(0, 1)."""
    return np.asarray(1 / (1 + np.exp(-rng.standard_normal(shape))))


def log_decay(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draw logarithms of decays in (0, 1), mostly in (0.4, 0.9)."""
    return -np.log1p(np.exp(-1 - rng.standard_normal(shape)))


def step_size(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draw positive numbers around 0.7: the softplus of N(0, 1)."""
    return np.log1p(np.exp(rng.standard_normal(shape)))


def rows_times(k: Keys, S: Memory) -> Values:
    """Return k S of every head."""
    return (k[..., None, :] @ S)[..., 0, :]


def matrix_times(S: Memory, v: Values) -> Keys:
    """Return S v of every head."""
    return (S @ v[..., None])[..., 0]


def outer(k: Keys, v: Values) -> Memory:
    """Return k^T v of every head."""
    return k[..., None] * v[..., None, :]


def scaled(q: Keys) -> Keys:
    """Return q / √K, the root in the number system of q, since programs round it."""
    return q / np.sqrt(zeros(q, (1,)) + float(q.shape[-1]))


DECAY, RATE, GATE = "decay", "rate", "gate"
"""The kinds of decay inputs: a decay's logarithm, a rate (times A < 0), a gate's argument."""


@dataclass(frozen=True)
class InputArray:
    """An input array of every step: its name, the letters of its axes, its random draw.

    ``keeps`` is ``DECAY``, ``RATE`` or ``GATE`` where the array decays the state, else empty.
    """

    name: str
    axes: str
    draw: Draw = plain
    keeps: str = ""


class GatedByInput(Cell):
    """A cell that reads its gates; a subclass defines its arrays, its step and its output.

    ``inputs`` are the arrays of a step, ``state_axes`` the axes of every state, ``output_axes``
    those of the output, and ``parameter_axes`` those of the learned arrays.
    """

    gates = ()
    traits = frozenset({"readout"})
    heads = 2
    inputs: tuple[InputArray, ...]
    state_axes: Mapping[str, str]
    parameter_axes: Mapping[str, str] = {}
    output_axes = "N V"

    @property
    def states(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of the states."""
        return tuple(self.state_axes)

    @abstractmethod
    def update(self, p: Parameters, inputs: Arrays, state: State) -> tuple[State, Gates]:
        """Return the new states and intermediate values."""

    @abstractmethod
    def update_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, d_new: State
    ) -> tuple[Arrays, State]:
        """Pull a cotangent on the new states back to the arrays by name, and to the old states."""

    @abstractmethod
    def read(self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State) -> Array:
        """Return the output, with its axes."""

    @abstractmethod
    def read_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, dy: Array
    ) -> tuple[Arrays, Cotangents, Cotangents]:
        """Pull a cotangent on the output back to the arrays by name, to old and to new states."""

    def linear(self, p: Parameters, inputs: Arrays, S: Array) -> Linear | None:
        """Return a sequence (T, B, ...) as a linear recurrence; None if the cell is not linear."""
        return None

    @property
    def form_kinds(self) -> tuple[str, ...]:
        """The kinds of forms that the cell has beside steps."""
        return () if type(self).linear is GatedByInput.linear else LINEAR_KINDS

    def formed(
        self, p: Parameters, inputs: Arrays, state: State, form: Form
    ) -> tuple[Any, tuple[Any, ...]]:
        """Compute a sequence (T, B, ...) by a form: outputs with their axes, and final states."""
        linear = self.linear(p, inputs, state[0])
        if linear is None:
            raise NotImplementedError(f"{self.name} has no other form than steps")
        y, S = self.from_linear(p, inputs, *form.run(linear))
        return y, (S,)

    def from_linear(self, p: Parameters, inputs: Arrays, read: Array, S: Array) -> tuple[Any, Any]:
        """Return the outputs and the final state of a form in the cell's own axes."""
        return read, S

    def shape(self, axes: str, sizes: Sizes) -> tuple[int, ...]:
        """Return the lengths of axes: letters, or numbers."""
        lengths = {"N": self.heads, "K": sizes.D, "V": sizes.H}
        return tuple(lengths.get(axis) or int(axis) for axis in axes.split())

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the shapes of the learned arrays."""
        return {n: Shape((), self.shape(axes, sizes)) for n, axes in self.parameter_axes.items()}

    def state_shapes(self, sizes: Sizes) -> tuple[tuple[int, ...], ...]:
        """Return the shape of one row of every state."""
        return tuple(self.shape(axes, sizes) for axes in self.state_axes.values())

    def widths(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the number of entries in one row of every state."""
        return tuple(map(math.prod, self.state_shapes(sizes)))

    def places(self, sizes: Sizes) -> Iterator[tuple[InputArray, tuple[int, ...], slice]]:
        """Yield every input array, the lengths of its axes, and its columns in a row."""
        start = 0
        for array in self.inputs:
            shape = self.shape(array.axes, sizes)
            yield array, shape, slice(start, start + math.prod(shape))
            start += math.prod(shape)

    def input_width(self, sizes: Sizes) -> int:
        """Return the number of columns of a row x."""
        return sum(math.prod(shape) for _, shape, _ in self.places(sizes))

    def feature(self, index: int, sizes: Sizes) -> str:
        """Return the array and the index of one column of the input, such as k[1, 0]."""
        for array, shape, place in self.places(sizes):
            if index < place.stop:
                where = np.unravel_index(index - place.start, shape)
                return f"{array.name}{[int(k) for k in where]}"
        raise IndexError(f"{self.name}: no number {index} of its input")

    def output_width(self, sizes: Sizes) -> int:
        """Return the number of columns of an output."""
        return math.prod(self.shape(self.output_axes, sizes))

    def sizes_of(self, state: State) -> Sizes:
        """Return the widths of a state; the width of an axis that no state has is 1."""
        lengths = {"K": 1, "V": 1}
        for axes, array in zip(self.state_axes.values(), state, strict=True):
            lengths |= dict(zip(axes.split(), array.shape[1:], strict=True))
        return Sizes(lengths["K"], lengths["V"])

    def split(self, x: Array, sizes: Sizes) -> dict[str, Array]:
        """Split x (..., width) into its arrays (..., axes), by name."""
        return {
            array.name: x[..., place].reshape(*x.shape[:-1], *shape)
            for array, shape, place in self.places(sizes)
        }

    def joined(self, arrays: Arrays, like: Rows, sizes: Sizes) -> Rows:
        """Join named arrays side by side, (..., width); missing arrays are 0."""
        lead, parts = like.shape[:-1], []
        for piece, shape, _ in self.places(sizes):
            array, flat = arrays.get(piece.name), (*lead, math.prod(shape))
            parts.append(zeros(like, flat) if array is None else array.reshape(*flat))
        joined: Array = np.concatenate(parts, axis=-1)
        return joined

    def random_input(
        self, rng: np.random.Generator, steps: int, batch: int, sizes: Sizes
    ) -> Floats:
        """Draw every array of a sequence from its own distribution, joined: (T, B, width)."""
        drawn = [
            array.draw(rng, (steps, batch, *shape)).reshape(steps, batch, math.prod(shape))
            for array, shape, _ in self.places(sizes)
        ]
        return np.concatenate(drawn, axis=-1)

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Split the row and step."""
        return self.update(p, self.split(x, self.sizes_of(state)), state)

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back through the step."""
        sizes = self.sizes_of(state)
        arrays, d_old = self.update_vjp(p, self.split(x, sizes), state, gates, new, d)
        return self._gradients(p, arrays), self.joined(arrays, x, sizes), d_old

    def no_output(self, state: State) -> Rows:
        """Return an output of zeros (B, width)."""
        return zeros(state[0], (state[0].shape[0], self.output_width(self.sizes_of(state))))

    def readout(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State) -> Rows:
        """Return the output of a step (B, width)."""
        inputs = self.split(x, self.sizes_of(state))
        flat: Array = self.read(p, inputs, state, gates, new).reshape(x.shape[0], -1)
        return flat

    def readout_vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, dy: Rows
    ) -> ReadVJP:
        """Pull back through ``read``."""
        sizes = self.sizes_of(state)
        d = dy.reshape(dy.shape[0], *self.shape(self.output_axes, sizes))
        arrays, d_old, d_new = self.read_vjp(p, self.split(x, sizes), state, gates, new, d)
        return self._gradients(p, arrays), self.joined(arrays, x, sizes), d_old, d_new

    def _gradients(self, p: Parameters, arrays: Arrays) -> Parameters:
        """Return the gradients of the learned arrays, 0 where ``arrays`` has none."""
        return Parameters(p.shapes, {n: arrays.get(n, zeros(a, a.shape)) for n, a in p.items()})
