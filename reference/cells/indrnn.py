"""The independently recurrent network (IndRNN): each unit reads only its own old state."""

from __future__ import annotations

from ..arrays import Input, Rows, Units
from ..cell import VJP, Gates, State, input_vjp
from ..equation import equation
from ..functions import relu, relu_slope, tanh, tanh_slope
from ..parameters import Parameters, Shape, Sizes
from .rnn import RNN

SOURCE = ("Li et al. 2018, arXiv:1803.04831",)


@equation(
    "X06", "indrnn.state", latex=r"h_t = \max(0, x_t W + u \odot h_{t-1} + b)", documents=SOURCE
)
def state(p: Parameters, x: Input, h: Units) -> Units:
    """Return the next state (B, H), with ReLU as in the paper."""
    return relu(x @ p.W_a + p.u_a * h + p.b_a)


@equation(
    "X06", "indrnn.state_tanh", latex=r"h_t = \tanh(x_t W + u \odot h_{t-1} + b)", documents=SOURCE
)
def state_tanh(p: Parameters, x: Input, h: Units) -> Units:
    """Return the next state (B, H), with tanh."""
    return tanh(x @ p.W_a + p.u_a * h + p.b_a)


class IndRNN(RNN):
    """h' = φ(x W + u ⊙ h + b), φ = ReLU or tanh; W (1, D, H), u and b (1, H)."""

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the shapes of W (1, D, H), u and b (1, H)."""
        vector = Shape(self.gates, (sizes.H,))
        return {"W": Shape(self.gates, (sizes.D, sizes.H)), "u": vector, "b": vector}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back; the old state's cotangent is u φ' dh', unit by unit."""
        dz = d[0] * self._slope(new[0])
        arrays, dx = input_vjp(p, x, {"a": dz})
        arrays["u"] = (dz * state[0]).sum(axis=0)[None]
        return Parameters(p.shapes, arrays), dx, (dz * p.u_a,)


CELLS = (
    IndRNN("indrnn", "IndRNN (ReLU)", ("indrnn.state",), frozenset(), state, relu_slope),
    IndRNN(
        "indrnn-tanh", "IndRNN (tanh)", ("indrnn.state_tanh",), frozenset({"bounded"}), state_tanh,
        tanh_slope,
    ),
)  # fmt: skip
