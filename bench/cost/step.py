"""``Counted``: arrays without values, which record every operation on a tape.

The equations of the reference run on any number system. On Counted arrays, which are only
shapes, they leave a tape of their operations: the floating-point operations of each, and the
operations on which it depends. So a cell's cost follows from its equations, and a new cell needs
no code here. Counting a million units takes no longer than counting one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cache
from operator import add
from typing import Any

import numpy as np

from ...reference import functions
from ...reference.arrays import Array, Floats, NumberSystem
from ...reference.cell import Cell
from ...reference.parameters import Parameters, Sizes

PRODUCT, POINTWISE, ACTIVATION, NOTHING = "product", "pointwise", "activation", "nothing"
"""The kinds of operations: matrix products; elementwise sums, products and choices; sigmoids and
tanh; and operations that only move numbers."""


@dataclass(frozen=True)
class Operation:
    """One line of the tape: its kind, its cost, the shape of its result, the lines that it reads.

    The cost is in floating-point operations, two for a multiply-add; that of an activation is
    the number of its elements, since their cost depends on the machine.
    """

    kind: str
    cost: int
    shape: tuple[int, ...]
    reads: tuple[int, ...]

    @property
    def words(self) -> int:
        """The number of entries of its result."""
        return math.prod(self.shape)


@dataclass
class Tape:
    """Operations in order; an array refers to the line that computed it."""

    lines: list[Operation] = field(default_factory=list)

    def input(self, shape: Sequence[int]) -> Counted:
        """Return an input array, which no operation computes."""
        return self.write(NOTHING, 0, tuple(shape), ())

    def write(
        self, kind: str, cost: int, shape: tuple[int, ...], reads: Sequence[Counted]
    ) -> Counted:
        """Add an operation and return its result."""
        self.lines.append(Operation(kind, cost, shape, tuple(a.line for a in reads)))
        return Counted(self, len(self.lines) - 1, shape)

    def below(self, *sources: Counted) -> set[int]:
        """Return the lines that depend on any of the arrays, their own lines included."""
        dependents = {a.line for a in sources}
        for number, line in enumerate(self.lines):
            if dependents.intersection(line.reads):
                dependents.add(number)
        return dependents

    def above(self, *results: Counted) -> set[int]:
        """Return the lines on which any of the arrays depends, their own lines included."""
        sources = {a.line for a in results}
        for number in reversed(range(len(self.lines))):
            if number in sources:
                sources.update(self.lines[number].reads)
        return sources

    def longest(self, kind: str, among: set[int]) -> int:
        """Return the length of the longest chain of operations of a kind among some lines."""
        depth: list[int] = []
        for number, line in enumerate(self.lines):
            before = max((depth[r] for r in line.reads), default=0)
            depth.append(before + (number in among and line.kind == kind))
        return max(depth, default=0)


class Counted(NumberSystem):
    """An array that is only a shape, and the line of the tape that computed it."""

    def __init__(self, tape: Tape, line: int, shape: tuple[int, ...]) -> None:
        self.tape, self.line, self._shape = tape, line, shape

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64; counts are the same in all dtypes."""
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
            return NotImplemented  # an unknown operation must not count as nothing
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
    return like.tape.input(shape)


@functions.switch.register
def _(s: Counted, below: Array | float, above: Array | float) -> Counted:
    """Count a choice as one operation per element; both sides have been computed."""
    return _elementwise(POINTWISE, [s, below, above])


@functions.floor.register
def _(s: Counted) -> Counted:
    return _elementwise(POINTWISE, [s])


# The cost of one step of a cell, forward and backward, from the tape of its equations.
#
# An operation is *sequential* if it depends on the old state and the new state depends
# on it: it must wait for the step before. All others can run for all steps at once. In the
# backward step the same holds of the cotangents, and other operations lead to the input's
# gradient, or to the weights'. A product of the backward step that depends on no cotangent is one
# that the forward step has computed and that the reference did not keep.


@dataclass(frozen=True)
class Work:
    """Amounts of operations: flop of matrix products, elementwise flop, activations; calls.

    ``calls`` are the products as the equations write them, one per gate; implementations merge
    them. A multiply-add is two flop.
    """

    product: int = 0
    pointwise: int = 0
    activation: int = 0
    calls: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(*map(add, astuple(self), astuple(other)))

    def __mul__(self, times: int) -> Work:
        return Work(*(times * count for count in astuple(self)))


@dataclass(frozen=True)
class StepCost:
    """The cost of one step of a batch.

    ``parallel`` and ``sequential`` are the forward step. Of the backward step, ``state`` is the
    sequential part, ``state_only`` its part that only the old state's gradient needs,
    ``input`` leads to the input's gradient alone, ``weights`` to the parameters', ``slopes`` need
    no cotangent, ``recomputed`` repeats products of the forward step.

    ``chain`` and ``chain_back`` are the numbers of products that wait for each other in a step: 1
    for an LSTM, 2 for a GRU that resets before its product.

    Words, for the whole batch: ``saved`` must be kept for the backward step if no product is to be
    computed twice, x not counted; ``projected`` are the input's products, ``deltas`` the operands
    of the products of the weights' gradients; ``states`` the carried states. Weights, once:
    ``recurrent`` and ``feeding`` are those of sequential and of other products.
    """

    parallel: Work
    sequential: Work
    state: Work
    state_only: Work
    input: Work
    weights: Work
    slopes: Work
    recomputed: Work
    chain: int
    chain_back: int
    saved: int
    projected: int
    deltas: int
    states: int
    recurrent: int
    feeding: int

    @property
    def forward(self) -> Work:
        """The whole forward step."""
        return self.parallel + self.sequential


@cache
def count_step(cell: Cell, sizes: Sizes, batch: int) -> StepCost:
    """Return the cost of a step of ``cell`` for a batch of B rows: its equations, run on shapes."""
    return _Counter(cell, sizes, batch).cost()


class _Counter:
    """The tape of one forward step, and of the backward step that follows it."""

    def __init__(self, cell: Cell, sizes: Sizes, batch: int) -> None:
        self.tape = tape = Tape()
        shapes = cell.shapes(sizes)
        self.p = Parameters(shapes, {name: tape.input(s.full) for name, s in shapes.items()})
        self.x = tape.input((batch, cell.input_width(sizes)))
        self.old = tuple(tape.input((batch, width)) for width in cell.widths(sizes))
        self.new: tuple[Any, ...]
        self.gates: Mapping[str, Any]
        self.new, self.gates = cell.step(self.p, self.x, self.old)
        self.half = len(tape.lines)
        self.cotangent = tuple(tape.input(s.shape) for s in self.new)
        self.dx: Any
        self.d_old: tuple[Any, ...]
        self.dp, self.dx, self.d_old = cell.vjp(
            self.p, self.x, self.old, self.gates, self.new, self.cotangent
        )

    def cost(self) -> StepCost:
        """Classify the lines of both halves and add up their costs."""
        tape, forward = self.tape, set(range(self.half))
        backward = set(range(self.half, len(tape.lines)))
        sequential = tape.below(*self.old) & tape.above(*self.new) & forward
        pulled = backward & tape.below(*self.cotangent)
        state, dx = tape.above(*self.d_old), tape.above(self.dx)
        dp = tape.above(*self.dp.values())
        weights = pulled - state - dx
        repeated = {n for n in backward - pulled if tape.lines[n].kind == PRODUCT}
        return StepCost(
            parallel=self._work(forward - sequential),
            sequential=self._work(sequential),
            state=self._work(pulled & state),
            state_only=self._work((pulled & state) - dx - dp),
            input=self._work((pulled & dx) - state),
            weights=self._work(weights),
            slopes=self._work(backward - pulled - repeated),
            recomputed=self._work(repeated),
            chain=tape.longest(PRODUCT, sequential),
            chain_back=tape.longest(PRODUCT, pulled & state),
            saved=self._saved_words(backward) + self._words(repeated),
            projected=self._words(self._products(forward - sequential)),
            deltas=self._words(self._read_by(self._products(weights))),
            states=self._words(s.line for s in self.old),
            recurrent=self._parameters_of(sequential),
            feeding=self._parameters_of(forward - sequential),
        )

    def _products(self, among: set[int]) -> set[int]:
        return {number for number in among if self.tape.lines[number].kind == PRODUCT}

    def _work(self, among: set[int]) -> Work:
        lines = [self.tape.lines[number] for number in among]
        product, pointwise, activation = (
            sum(line.cost for line in lines if line.kind == kind)
            for kind in (PRODUCT, POINTWISE, ACTIVATION)
        )
        return Work(product, pointwise, activation, len(self._products(among)))

    def _words(self, numbers: Iterable[int]) -> int:
        return sum(self.tape.lines[number].words for number in numbers)

    def _read_by(self, numbers: Iterable[int]) -> set[int]:
        return {read for number in numbers for read in self.tape.lines[number].reads}

    def _saved_words(self, backward: set[int]) -> int:
        """Return the words of the gates and states that the backward half reads, each state once.

        The state after one step is the state before the next.
        """
        read = self._read_by(backward)
        pairs = zip(self.old, self.new, strict=True)
        states = [old.line for old, new in pairs if {old.line, new.line} & read]
        gates = {g.line for g in self.gates.values()} - {s.line for s in (*self.old, *self.new)}
        return self._words(states) + self._words(gates & read)

    def _parameters_of(self, among: set[int]) -> int:
        """Return the words of the parameters that the products among some lines read."""
        read = self._read_by(self._products(among))
        return self._words(read & {array.line for array in self.p.values()})
