"""TensorFlow Lite's recurrent operators as cells: clips, layer norm, i = 1 - f, any activation.

These cells are for operators of which the reference has no cell. The equations run on floats, on
``Bounded`` numbers and on enclosures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ....reference.arrays import Rows
from ....reference.cell import Cell, Gates, State
from ....reference.functions import Array, relu, sigmoid, tanh
from ....reference.parameters import Parameters, Shape, Sizes
from ...runs.verdict import OWN_EQUATIONS
from ..equations import clamp
from ..operation import Fused, Operation

SOURCE = "https://github.com/tensorflow/tensorflow, tensorflow/lite/kernels/lstm_eval.cc"

EPSILON = 1e-8
"""ε of the layer norm, inside the root."""

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "NONE": lambda s: s,
    "RELU": relu,
    "RELU_N1_TO_1": lambda s: clamp(s, -1.0, 1.0),
    "RELU6": lambda s: clamp(s, 0.0, 6.0),
    "TANH": tanh,
}


def normalised(s: Array) -> Array:
    """Return rows (B, H) normalised to mean 0 and, up to ε, variance 1."""
    count = s.shape[1]
    centred = s - s.sum(axis=1)[:, None] / count
    return centred / np.sqrt((centred * centred).sum(axis=1)[:, None] / count + EPSILON)


class FusedCell(Cell):
    """An operator with W, U, b; p of peepholes, R of a projection, norm of layer norm."""

    title = "operator of TensorFlow Lite"
    equations: tuple[str, ...] = ()

    def __init__(self, operation: Operation) -> None:
        """Take the operation."""
        self.operation, self.fused = operation, operation.fused or Fused()
        lstm = operation.kind == "LSTM"
        self.gates = (("i", "g", "o") if self.fused.coupled else ("i", "f", "g", "o")) if lstm \
            else ("a",)  # fmt: skip
        self.states = ("h", "c") if lstm else ("h",)
        self.name = f"{OWN_EQUATIONS}{operation.kind}"
        self.traits = frozenset({"projected"} if self.fused.projected else ())

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return shapes: W (G, D, H), U (G, P, H), b (G, H); perhaps p, norm (G, H), R (H, P)."""
        P, of_gates = self.widths(sizes)[0], Shape(self.gates, (sizes.H,))
        shapes = super().shapes(sizes) | {"U": Shape(self.gates, (P, sizes.H))}
        if self.fused.peepholes:
            peepholes = tuple(g for g in "ifo" if g in self.gates)
            shapes["p"] = Shape(peepholes, (sizes.H,))
        if self.fused.projected:
            shapes["R"] = Shape((), (sizes.H, P))
        if self.fused.normalised:
            shapes["norm"] = of_gates
        return shapes

    def widths(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the widths of the states; only the hidden state may be projected."""
        width = sizes.projected if self.fused.projected else sizes.H
        return (width, sizes.H)[: len(self.states)]

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Return the next state by the float kernels of TensorFlow Lite."""
        fused, h, activation = self.fused, state[0], ACTIVATIONS[self.fused.activation]
        if self.operation.kind == "RNN":
            return (activation(x @ p.W_a + h @ p.U_a + p.b_a),), {}

        def total(gate: str, cell_state: Array | None = None) -> Array:
            s = x @ getattr(p, f"W_{gate}") + h @ getattr(p, f"U_{gate}")
            if fused.peepholes and cell_state is not None:
                s = s + getattr(p, f"p_{gate}") * cell_state
            if fused.normalised:
                s = getattr(p, f"norm_{gate}") * normalised(s)
            return s + getattr(p, f"b_{gate}")

        c = state[1]
        f = sigmoid(-total("i", c)) if fused.coupled else sigmoid(total("f", c))
        i = 1 - f if fused.coupled else sigmoid(total("i", c))
        new = f * c + i * activation(total("g"))
        if fused.cell_clip:
            new = clamp(new, -fused.cell_clip, fused.cell_clip)
        h_new = sigmoid(total("o", new)) * activation(new)
        if not fused.projected:
            return (h_new, new), {}
        h_new = h_new @ p.R
        if fused.projection_clip:
            h_new = clamp(h_new, -fused.projection_clip, fused.projection_clip)
        return (h_new, new), {}

    def vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Parameters, Rows, State]:
        """Raise NotImplementedError: runtimes of files have no gradients."""
        raise NotImplementedError("an operator of a file has no gradients")
