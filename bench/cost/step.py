"""What one step of a cell costs, forward and backward: read off the tape of its own lines.

An operation is *sequential* if it depends on the state handed in and the state handed on depends
on it: it must wait for the step before. Everything else can be done for all steps at once. In the
backward step the same holds of the cotangents, and what is not sequential leads to the input's
gradient, or to the weights'. A product of the backward step that depends on no cotangent is one
that the forward step has computed already and that the reference did not keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from functools import cache
from operator import add
from typing import Any

from ...reference.cell import Cell
from ...reference.parameters import Parameters, Sizes
from .counted import ACTIVATION, POINTWISE, PRODUCT, Operation, Tape


@dataclass(frozen=True)
class Work:
    """Operations: flop in matrix products, flop elementwise, elements of activations; calls.

    ``calls`` are the products as the equations are written, one a gate; implementations merge
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
    """What one step of a batch costs.

    ``parallel`` and ``sequential`` are the forward step. Of the backward step, ``state`` is the
    sequential part, ``state_only`` that of it which no gradient but the old state's needs,
    ``input`` leads to the input's gradient alone, ``weights`` to the parameters', ``slopes`` need
    no cotangent, ``recomputed`` repeats products of the forward step.

    ``chain`` and ``chain_back`` are how many products wait for each other within a step: 1 for
    an LSTM, 2 for a GRU that resets before its product.

    Words, for the whole batch: ``saved`` must be kept for the backward step if no product is to
    be computed twice, x not counted; ``projected`` are the input's products, ``deltas`` what the
    products of the weights' gradients read; ``states`` what is carried. Weights, once:
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
    """Return what a step of ``cell`` costs for a batch of B rows: its lines, run on shapes."""
    return _Counter(cell, sizes, batch).cost()


class _Counter:
    """The tape of one forward step, and of the backward step that follows it."""

    def __init__(self, cell: Cell, sizes: Sizes, batch: int) -> None:
        self.tape = tape = Tape()
        shapes = cell.shapes(sizes)
        self.p = Parameters(shapes, {name: tape.given(s.full) for name, s in shapes.items()})
        self.x = tape.given((batch, cell.input_width(sizes)))
        self.old = tuple(tape.given((batch, width)) for width in cell.widths(sizes))
        self.new: tuple[Any, ...]
        self.gates: Mapping[str, Any]
        self.new, self.gates = cell.step(self.p, self.x, self.old)
        self.half = len(tape.lines)
        self.cotangent = tuple(tape.given(s.shape) for s in self.new)
        self.dx: Any
        self.d_old: tuple[Any, ...]
        self.dp, self.dx, self.d_old = cell.vjp(
            self.p, self.x, self.old, self.gates, self.new, self.cotangent
        )

    def cost(self) -> StepCost:
        """Sort the lines of both halves and add them up."""
        tape, forward = self.tape, set(range(self.half))
        backward = set(range(self.half, len(tape.lines)))
        in_turn = tape.below(*self.old) & tape.above(*self.new) & forward
        pulled = backward & tape.below(*self.cotangent)
        state, dx = tape.above(*self.d_old), tape.above(self.dx)
        dp = tape.above(*self.dp.values())
        weights = pulled - state - dx
        again = {n for n in backward - pulled if tape.lines[n].kind == PRODUCT}
        return StepCost(
            parallel=self._work(forward - in_turn),
            sequential=self._work(in_turn),
            state=self._work(pulled & state),
            state_only=self._work((pulled & state) - dx - dp),
            input=self._work((pulled & dx) - state),
            weights=self._work(weights),
            slopes=self._work(backward - pulled - again),
            recomputed=self._work(again),
            chain=tape.longest(PRODUCT, in_turn),
            chain_back=tape.longest(PRODUCT, pulled & state),
            saved=self._saved(backward) + self._words(self._lines(again)),
            projected=self._words(self._lines(self._products(forward - in_turn))),
            deltas=self._read_by(self._products(weights)),
            states=sum(tape.lines[s.line].words for s in self.old),
            recurrent=self._parameters_of(in_turn),
            feeding=self._parameters_of(forward - in_turn),
        )

    def _lines(self, numbers: Iterable[int]) -> list[Operation]:
        return [self.tape.lines[number] for number in sorted(numbers)]

    def _products(self, among: set[int]) -> set[int]:
        return {number for number in among if self.tape.lines[number].kind == PRODUCT}

    def _work(self, among: set[int]) -> Work:
        costs = dict.fromkeys((PRODUCT, POINTWISE, ACTIVATION), 0)
        for line in self._lines(among):
            if line.kind in costs:
                costs[line.kind] += line.cost
        calls = len(self._products(among))
        return Work(costs[PRODUCT], costs[POINTWISE], costs[ACTIVATION], calls)

    def _words(self, lines: Iterable[Operation]) -> int:
        return sum(line.words for line in lines)

    def _saved(self, backward: set[int]) -> int:
        """Words of the gates and states that the backward half reads; a state counts once.

        The state after one step is the state before the next.
        """
        read = {r for line in self._lines(backward) for r in line.reads}
        states = sum(
            self.tape.lines[old.line].words
            for old, new in zip(self.old, self.new, strict=True)
            if {old.line, new.line} & read
        )
        gates = {g.line for g in self.gates.values()} - {s.line for s in (*self.old, *self.new)}
        return states + self._words(self._lines(gates & read))

    def _read_by(self, products: set[int]) -> int:
        """Words of everything that some products read, each array once."""
        read = {r for line in self._lines(products) for r in line.reads}
        return self._words(self._lines(read))

    def _parameters_of(self, among: set[int]) -> int:
        """Words of the parameters that the products among some lines read."""
        read = {r for line in self._lines(self._products(among)) for r in line.reads}
        return self._words(self._lines(read & {array.line for array in self.p.values()}))
