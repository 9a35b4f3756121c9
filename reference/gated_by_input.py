"""Cells whose gates come with the input: a step is given named arrays, and an output is read.

What other cells compute from x by weights of their own, these are given: queries, keys, values,
decays. The row x of a step is these arrays, side by side in the order of ``given``. A state is a
matrix, or a vector, for every head.

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
"""The arrays that a step is given, or their cotangents, by name."""

Keys: TypeAlias = Annotated[Array, "B N K"]
Values: TypeAlias = Annotated[Array, "B N V"]
Heads: TypeAlias = Annotated[Array, "B N"]
Memory: TypeAlias = Annotated[Array, "B N K V"]
"""What the heads are given, and a matrix for each of them."""

Cotangents: TypeAlias = tuple["Carried | None", ...]
"""Those of states; None for a state that is not read."""

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
    """Return q / √K, the root in the number system of q: a program rounds it."""
    return q / np.sqrt(zeros(q, (1,)) + float(q.shape[-1]))


DECAY, RATE, GATE = "decay", "rate", "gate"
"""What keeps a state: a decay's logarithm, a rate of decay (times A < 0), a gate's argument."""


@dataclass(frozen=True)
class Given:
    """An array that every step is given: its name, its axes by letter, how it is drawn.

    ``keeps`` says how it keeps the state, if it does: ``DECAY``, ``RATE`` or ``GATE``.
    """

    name: str
    axes: str
    draw: Draw = plain
    keeps: str = ""


class GatedByInput(Cell):
    """A cell that is given its gates; it says its arrays, its step, and what is read.

    ``given`` are the arrays of a step, ``state_axes`` the axes of every state, ``output_axes``
    those of the output, and ``parameter_axes`` those of what it learns itself.
    """

    gates = ()
    traits = frozenset({"readout"})
    heads = 2
    given: tuple[Given, ...]
    state_axes: Mapping[str, str]
    parameter_axes: Mapping[str, str] = {}
    output_axes = "N V"

    @property
    def states(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of its states."""
        return tuple(self.state_axes)

    @abstractmethod
    def update(self, p: Parameters, given: Arrays, state: State) -> tuple[State, Gates]:
        """Return the new states and intermediate values."""

    @abstractmethod
    def update_vjp(
        self, p: Parameters, given: Arrays, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Arrays, State]:
        """Pull a cotangent on the new states back, to what is read by name and the old states."""

    @abstractmethod
    def read(self, p: Parameters, given: Arrays, state: State, gates: Gates, new: State) -> Array:
        """Return the output, with its axes."""

    @abstractmethod
    def read_vjp(
        self, p: Parameters, given: Arrays, state: State, gates: Gates, new: State, dy: Array
    ) -> tuple[Arrays, Cotangents, Cotangents]:
        """Pull a cotangent on the output back: to what is read by name, old and new states."""

    def linear(self, p: Parameters, given: Arrays, S: Array) -> Linear | None:
        """Return a sequence (T, B, ...) as a linear recurrence; None for a cell that is none."""
        return None

    @property
    def form_kinds(self) -> tuple[str, ...]:
        """The kinds of forms that it has beside steps."""
        return () if type(self).linear is GatedByInput.linear else LINEAR_KINDS

    def formed(
        self, p: Parameters, given: Arrays, state: State, form: Form
    ) -> tuple[Any, tuple[Any, ...]]:
        """Compute a sequence (T, B, ...) by a form: outputs with their axes, and final states."""
        linear = self.linear(p, given, state[0])
        if linear is None:
            raise NotImplementedError(f"{self.name} has no other form than steps")
        y, S = self.from_linear(p, given, *form.run(linear))
        return y, (S,)

    def from_linear(self, p: Parameters, given: Arrays, read: Array, S: Array) -> tuple[Any, Any]:
        """Return outputs and final state in the cell's own axes, of what a form computed."""
        return read, S

    def shape(self, axes: str, sizes: Sizes) -> tuple[int, ...]:
        """Return the lengths of axes: letters, or numbers."""
        lengths = {"N": self.heads, "K": sizes.D, "V": sizes.H}
        return tuple(lengths.get(axis) or int(axis) for axis in axes.split())

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the shape of what it learns itself."""
        return {n: Shape((), self.shape(axes, sizes)) for n, axes in self.parameter_axes.items()}

    def state_shapes(self, sizes: Sizes) -> tuple[tuple[int, ...], ...]:
        """Return the shape of one row of every state."""
        return tuple(self.shape(axes, sizes) for axes in self.state_axes.values())

    def widths(self, sizes: Sizes) -> tuple[int, ...]:
        """Return how many numbers one row of every state has."""
        return tuple(map(math.prod, self.state_shapes(sizes)))

    def places(self, sizes: Sizes) -> Iterator[tuple[Given, tuple[int, ...], slice]]:
        """Yield every given array, its axes' lengths, and where in a row it stands."""
        start = 0
        for each in self.given:
            shape = self.shape(each.axes, sizes)
            yield each, shape, slice(start, start + math.prod(shape))
            start += math.prod(shape)

    def input_width(self, sizes: Sizes) -> int:
        """Return how many numbers one row of a step is given."""
        return sum(math.prod(shape) for _, shape, _ in self.places(sizes))

    def feature(self, index: int, sizes: Sizes) -> str:
        """Return the array in which one number of the input stands, and where: k[1, 0]."""
        for each, shape, place in self.places(sizes):
            if index < place.stop:
                where = np.unravel_index(index - place.start, shape)
                return f"{each.name}{[int(k) for k in where]}"
        raise IndexError(f"{self.name}: no number {index} of its input")

    def output_width(self, sizes: Sizes) -> int:
        """Return how many numbers one row of an output has."""
        return math.prod(self.shape(self.output_axes, sizes))

    def sizes_of(self, state: State) -> Sizes:
        """Return the widths of which a state is; an axis that no state has is 1."""
        lengths = {"K": 1, "V": 1}
        for axes, array in zip(self.state_axes.values(), state, strict=True):
            lengths |= dict(zip(axes.split(), array.shape[1:], strict=True))
        return Sizes(lengths["K"], lengths["V"])

    def split(self, x: Array, sizes: Sizes) -> dict[str, Array]:
        """Return the named arrays (..., axes) that stand side by side in x (..., width)."""
        return {
            each.name: x[..., place].reshape(*x.shape[:-1], *shape)
            for each, shape, place in self.places(sizes)
        }

    def joined(self, arrays: Arrays, like: Rows, sizes: Sizes) -> Rows:
        """Return named arrays side by side, (..., width); those that are missing are 0."""
        lead, parts = like.shape[:-1], []
        for each, shape, _ in self.places(sizes):
            array, flat = arrays.get(each.name), (*lead, math.prod(shape))
            parts.append(zeros(like, flat) if array is None else array.reshape(*flat))
        joined: Array = np.concatenate(parts, axis=-1)
        return joined

    def random_input(
        self, rng: np.random.Generator, steps: int, batch: int, sizes: Sizes
    ) -> Floats:
        """Draw every array of a sequence as it is meant: (T, B, width) side by side."""
        drawn = [
            each.draw(rng, (steps, batch, *shape)).reshape(steps, batch, math.prod(shape))
            for each, shape, _ in self.places(sizes)
        ]
        return np.concatenate(drawn, axis=-1)

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Take the row apart and step."""
        return self.update(p, self.split(x, self.sizes_of(state)), state)

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back through the step."""
        sizes = self.sizes_of(state)
        arrays, d_old = self.update_vjp(p, self.split(x, sizes), state, gates, new, d)
        return self._of(p, arrays), self.joined(arrays, x, sizes), d_old

    def no_output(self, state: State) -> Rows:
        """Return an output of zeros (B, width)."""
        return zeros(state[0], (state[0].shape[0], self.output_width(self.sizes_of(state))))

    def readout(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State) -> Rows:
        """Return the output of a step (B, width)."""
        given = self.split(x, self.sizes_of(state))
        flat: Array = self.read(p, given, state, gates, new).reshape(x.shape[0], -1)
        return flat

    def readout_vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, dy: Rows
    ) -> ReadVJP:
        """Pull back through what is read."""
        sizes = self.sizes_of(state)
        d = dy.reshape(dy.shape[0], *self.shape(self.output_axes, sizes))
        arrays, d_old, d_new = self.read_vjp(p, self.split(x, sizes), state, gates, new, d)
        return self._of(p, arrays), self.joined(arrays, x, sizes), d_old, d_new

    def _of(self, p: Parameters, arrays: Arrays) -> Parameters:
        """Return the gradients of what it learns, 0 where nothing is said."""
        return Parameters(p.shapes, {n: arrays.get(n, zeros(a, a.shape)) for n, a in p.items()})
