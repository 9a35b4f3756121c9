"""The vanilla (Elman) RNN, with tanh as in the documents, or with ReLU."""

from __future__ import annotations

from collections.abc import Callable

from ..arrays import Input, Rows, Units
from ..cell import VJP, Cell, Gates, State, affine_vjp
from ..equation import equation
from ..functions import relu, relu_slope, tanh, tanh_slope
from ..parameters import Parameters


@equation(
    "E04",
    "rnn.state",
    latex=r"a_t = \tanh(W_a [a_{t-1}, x_t] + b_a)",
    documents=("D0", "D2", "D3", "D4"),
    note="four notations of one equation; [a, x] W_a = a W_aa + x W_ax, here U_a and W_a",
)
def state(p: Parameters, x: Input, a: Units) -> Units:
    """Return the next state (B, H) of a tanh RNN."""
    return tanh(x @ p.W_a + a @ p.U_a + p.b_a)


@equation(
    "E04",
    "rnn.state_relu",
    latex=r"a_t = \max(0, W_a [a_{t-1}, x_t] + b_a)",
    documents=("Le, Jaitly & Hinton 2015",),
    note="ReLU in place of tanh; the state is unbounded",
)
def state_relu(p: Parameters, x: Input, a: Units) -> Units:
    """Return the next state (B, H) of a ReLU RNN."""
    return relu(x @ p.W_a + a @ p.U_a + p.b_a)


class RNN(Cell):
    """a' = φ(x W + a U + b), with φ = tanh or ReLU."""

    gates = ("a",)
    states = ("h",)

    def __init__(
        self,
        name: str,
        title: str,
        equations: tuple[str, ...],
        traits: frozenset[str],
        forward: Callable[[Parameters, Input, Units], Units],
        slope: Callable[[Units], Units],
    ) -> None:
        """Set the equation of the state, and the slope of its activation as a function of a'."""
        self.name, self.title, self.equations, self.traits = name, title, equations, traits
        self._forward, self._slope = forward, slope

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Compute E04, or X06 of an IndRNN."""
        (a,) = state
        return (self._forward(p, x, a),), {}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back (E07): the cotangent times diag(φ'), then times W_aa transposed."""
        (a,), (a_new,), (da_new,) = state, new, d
        dz = {"a": da_new * self._slope(a_new)}
        arrays, dx, da = affine_vjp(p, x, a, dz)
        return Parameters(p.shapes, arrays), dx, (da,)


CELLS = (
    RNN("rnn", "RNN (tanh)", ("rnn.state",), frozenset({"bounded"}), state, tanh_slope),
    RNN("rnn-relu", "RNN (ReLU)", ("rnn.state_relu",), frozenset(), state_relu, relu_slope),
)
