"""ONNX's recurrent operators with any of their activations, and with clipping, as cells.

These cells are for operators of which the reference has no cell. The sums of the gates are clipped,
that of the candidate included. ONNX leaves open whether the cell state is clipped before its
activation, too; no known runtime does it.
The equations run on floats, on ``Bounded`` numbers and on enclosures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, singledispatch

import numpy as np

from ...reference.arrays import Array, Rows
from ...reference.cell import Cell, Gates, State
from ...reference.cells import cell_named
from ...reference.functions import relu, sigmoid, switch, tanh
from ...reference.parameters import Parameters, Shape, Sizes
from ..numbers.bounded import Bounded
from ..runs.verdict import OWN_EQUATIONS
from .operation import Operation

SOURCE = "https://onnx.ai/onnx/operators/"


@singledispatch
def clamp(s: Array, low: float, high: float) -> Array:
    """Return s clipped to [low, high]."""
    above = switch(s - low, low + 0 * s, s)
    return switch(above - high, above, high + 0 * s)


@clamp.register
def _(s: Bounded, low: float, high: float) -> Bounded:
    """Return the bounded function, which has slopes of at most 1 and does not round."""
    return Bounded(np.clip(s.value, low, high), np.minimum(s.bound, high - low), s.arithmetic)


def _magnitude(s: Array) -> Array:
    return switch(s, -s, s)


ACTIVATIONS: Mapping[str, Callable[[Array, float, float], Array]] = {
    "Affine": lambda s, alpha, beta: alpha * s + beta,
    "Elu": lambda s, alpha, beta: switch(s, alpha * (np.exp(s) - 1), s),
    "HardSigmoid": lambda s, alpha, beta: clamp(alpha * s + beta, 0.0, 1.0),
    "LeakyRelu": lambda s, alpha, beta: switch(s, alpha * s, s),
    "Relu": lambda s, alpha, beta: relu(s),
    "ScaledTanh": lambda s, alpha, beta: alpha * tanh(beta * s),
    "Sigmoid": lambda s, alpha, beta: sigmoid(s),
    "Softplus": lambda s, alpha, beta: relu(s) + np.log(1 + np.exp(-_magnitude(s))),
    "Softsign": lambda s, alpha, beta: s / (1 + _magnitude(s)),
    "Tanh": lambda s, alpha, beta: tanh(s),
    "ThresholdedRelu": lambda s, alpha, beta: switch(s - alpha, 0 * s, s),
}
"""ONNX's activations as functions of s, alpha and beta."""


def activated(operation: Operation, number: int, s: Array, *, clipped: bool = True) -> Array:
    """Return an operation's activation ``number`` of s, which is clipped before it."""
    name, alpha, beta = operation.activations[number]
    bound = operation.clip if clipped else 0.0
    return ACTIVATIONS[name](clamp(s, -bound, bound) if bound else s, alpha, beta)


class OperatorCell(Cell):
    """An RNN, GRU or LSTM of ONNX, with the parameters of its base."""

    title = "operator of ONNX"
    equations: tuple[str, ...] = ()
    traits: frozenset[str] = frozenset()

    def __init__(self, operation: Operation) -> None:
        """Take the operation."""
        self.operation, self._base = operation, cell_named(operation.base)
        self.gates, self.states = self._base.gates, self._base.states
        self.name = f"{OWN_EQUATIONS}{operation.kind}"

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the shapes of the base."""
        return self._base.shapes(sizes)

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Return the next state, by the equations of ONNX's operator."""
        h = state[0]
        of_x = {g: x @ getattr(p, f"W_{g}") + getattr(p, f"b_{g}") for g in self.gates}
        of_h = {g: h @ getattr(p, f"U_{g}") for g in self.gates}
        if self.operation.kind == "RNN":
            return (activated(self.operation, 0, of_x["a"] + of_h["a"]),), {}
        if self.operation.kind == "GRU":
            return (self._gru(p, of_x, of_h, h),), {}
        sums = {g: of_x[g] + of_h[g] for g in self.gates}
        return self._lstm(p, sums, x, state), {}

    def _gru(
        self, p: Parameters, of_x: Mapping[str, Array], of_h: Mapping[str, Array], h: Array
    ) -> Array:
        f = partial(activated, self.operation)
        r, z = (f(0, of_x[g] + of_h[g]) for g in "rz")
        after = "b_hn" in p.shapes
        product = r * (of_h["n"] + p.b_hn) if after else (r * h) @ p.U_n
        n = f(1, of_x["n"] + product)
        return z * h + (1 - z) * n

    def forget(self, p: Parameters, x: Array, h: Array, i: Array) -> Array:
        """Return the forget gate of a coupled operator."""
        return 1 - i

    def _lstm(
        self, p: Parameters, sums: Mapping[str, Array], x: Array, state: State
    ) -> tuple[Array, Array]:
        f, (h, c) = partial(activated, self.operation), state

        def gate(letter: str, cell_state: Array) -> Array:
            peephole = getattr(p, f"p_{letter}") * cell_state if "p" in p.shapes else None
            return f(0, sums[letter] if peephole is None else sums[letter] + peephole)

        i = gate("i", c)
        forget = gate("f", c) if "f" in self.gates else self.forget(p, x, h, i)
        new = forget * c + i * f(1, sums["g"])
        return gate("o", new) * f(2, new, clipped=self.operation.clips_state), new

    def vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Parameters, Rows, State]:
        """Raise NotImplementedError: runtimes of files have no gradients."""
        raise NotImplementedError("an operator of a file has no gradients")
