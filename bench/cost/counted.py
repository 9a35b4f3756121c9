"""``Counted``: numbers without values, which write down every operation made with them.

The equations of the reference run on any number system. Run on Counted arrays, which are nothing
but a shape, they leave a tape of their operations: how many floating-point operations each takes,
and on what it depends. So a cell's cost is read off its own lines, and a new cell needs nothing
here. A million units cost as little to count as one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...reference import functions
from ...reference.arrays import Array, Floats, NumberSystem

PRODUCT, POINTWISE, ACTIVATION, NOTHING = "product", "pointwise", "activation", "nothing"
"""Kinds of operation: matrix products; sums, products and choices of elements; sigmoids and tanh;
and what only moves or names numbers."""


@dataclass(frozen=True)
class Operation:
    """One line of the tape: its kind, its cost, its result's shape, the lines that it reads.

    The cost is in floating-point operations, two for a multiply-add; that of an activation is
    the number of its elements, since what one takes depends on the machine.
    """

    kind: str
    cost: int
    shape: tuple[int, ...]
    reads: tuple[int, ...]

    @property
    def words(self) -> int:
        """How many numbers its result has."""
        return math.prod(self.shape)


@dataclass
class Tape:
    """Operations in the order in which they were made; an array is the line that made it."""

    lines: list[Operation] = field(default_factory=list)

    def given(self, shape: Sequence[int]) -> Counted:
        """Return an array that is given, not computed."""
        return self.write(NOTHING, 0, tuple(shape), ())

    def write(
        self, kind: str, cost: int, shape: tuple[int, ...], reads: Sequence[Counted]
    ) -> Counted:
        """Add an operation and return its result."""
        self.lines.append(Operation(kind, cost, shape, tuple(a.line for a in reads)))
        return Counted(self, len(self.lines) - 1, shape)

    def below(self, *sources: Counted) -> set[int]:
        """Return the lines whose results depend on any of the arrays, themselves included."""
        dependents = {a.line for a in sources}
        for number, line in enumerate(self.lines):
            if dependents.intersection(line.reads):
                dependents.add(number)
        return dependents

    def above(self, *results: Counted) -> set[int]:
        """Return the lines on which any of the arrays depends, themselves included."""
        sources = {a.line for a in results}
        for number in reversed(range(len(self.lines))):
            if number in sources:
                sources.update(self.lines[number].reads)
        return sources

    def longest(self, kind: str, among: set[int]) -> int:
        """Return how many operations of a kind wait for each other, at most, among some lines."""
        depth: list[int] = []
        for number, line in enumerate(self.lines):
            before = max((depth[r] for r in line.reads), default=0)
            depth.append(before + (number in among and line.kind == kind))
        return max(depth, default=0)

    def __iter__(self) -> Iterator[tuple[int, Operation]]:
        return iter(enumerate(self.lines))


class Counted(NumberSystem):
    """An array of which there is only the shape, and the line of the tape that made it."""

    def __init__(self, tape: Tape, line: int, shape: tuple[int, ...]) -> None:
        self.tape, self.line, self._shape = tape, line, shape

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Any dtype: what is counted is the same in all."""
        return np.dtype(np.float64)

    @property
    def T(self) -> Counted:  # noqa: N802 - as ndarray calls it
        """The transposed array: the same numbers."""
        return Counted(self.tape, self.line, self.shape[::-1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Counted:
        nothing = np.broadcast_to(np.empty((), np.bool_), self.shape)
        return Counted(self.tape, self.line, nothing[key].shape)

    def reshape(self, *shape: int) -> Counted:
        """Return the same numbers in another shape."""
        return Counted(self.tape, self.line, shape)

    def sum(self, axis: int | None = None, *, keepdims: bool = False) -> Counted:
        """Return the sum over an axis of n: n - 1 additions for each of its elements."""
        if axis is None or keepdims:
            raise NotImplementedError("no sum but over an axis that goes")
        shape = self.shape[:axis] + self.shape[axis + 1 :]
        additions = math.prod(shape) * (self.shape[axis] - 1)
        return self.tape.write(POINTWISE, additions, shape, [self])

    def __repr__(self) -> str:
        return f"Counted{self.shape}"

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc not in KINDS or method != "__call__" or kwargs:
            return NotImplemented  # what is not known must not count as nothing
        if ufunc is np.matmul:
            return _product(*inputs)
        return _elementwise(KINDS[ufunc], inputs)

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if function not in (np.stack, np.concatenate):
            return NotImplemented
        shapes = [np.broadcast_to(np.empty((), np.bool_), _shape(a)) for a in args[0]]
        shape = function(shapes, *args[1:], **kwargs).shape
        return self.tape.write(NOTHING, 0, shape, _counted(args[0]))


KINDS: dict[Any, str] = {
    np.matmul: PRODUCT,
    np.add: POINTWISE,
    np.subtract: POINTWISE,
    np.multiply: POINTWISE,
    np.true_divide: POINTWISE,
    np.negative: POINTWISE,
    np.tanh: ACTIVATION,
    np.exp: ACTIVATION,
    np.sqrt: ACTIVATION,
}


def _product(a: Counted, b: Counted) -> Counted:
    """Count 2 m k n for the product of (m, k) and (k, n)."""
    (rows, inner), (_, columns) = a.shape, b.shape
    return a.tape.write(PRODUCT, 2 * rows * inner * columns, (rows, columns), [a, b])


def _elementwise(kind: str, inputs: Sequence[Any]) -> Counted:
    """Count one for every element of the result."""
    arrays = _counted(inputs)
    shape = np.broadcast_shapes(*map(_shape, inputs))
    return arrays[0].tape.write(kind, math.prod(shape), shape, arrays)


def _shape(x: Any) -> tuple[int, ...]:
    return x.shape if isinstance(x, Counted) else np.shape(x)


def _counted(arrays: Sequence[Any]) -> list[Counted]:
    return [a for a in arrays if isinstance(a, Counted)]


@functions.sigmoid.register
def _(s: Counted) -> Counted:
    return _elementwise(ACTIVATION, [s])


@functions.softplus.register
def _(s: Counted) -> Counted:
    return _elementwise(ACTIVATION, [s])


@functions.midpoint.register
def _(x: Counted) -> Floats:
    raise TypeError(f"{x} has no values: a branch must go through functions.switch")


@functions.zeros.register
def _(like: Counted, shape: tuple[int, ...]) -> Counted:
    return like.tape.given(shape)


@functions.switch.register
def _(s: Counted, below: Array | float, above: Array | float) -> Counted:
    """Count a choice as one operation; both sides have been computed, as the lines say."""
    return _elementwise(POINTWISE, [s, below, above])


@functions.floor.register
def _(s: Counted) -> Counted:
    return _elementwise(POINTWISE, [s])
