"""The quasi-recurrent network (QRNN): a convolution over the last inputs, and its pooling.

The convolution reads the last k inputs. The terms of earlier inputs in a gate's sum are carried
in k - 1 states per gate, ``z1`` one step ahead and so on; no state has the width of the input.
"""

from __future__ import annotations

from ..arrays import Input, Rows, Units
from ..cell import VJP, Cell, Gates, Limit, State, input_vjp
from ..equation import equation
from ..functions import sigmoid, sigmoid_slope, tanh, tanh_slope, zeros
from ..parameters import Parameters, Shape, Sizes
from .gru import state_keeps_old, state_keeps_old_vjp
from .lstm import cell_state, cell_state_vjp

SOURCE = ("Bradbury et al. 2016, arXiv:1611.01576",)


@equation(
    "X10", "qrnn.window",
    latex=r"a_t = \sum_{j=0}^{k-1} x_{t-j} W^{(j)}", documents=SOURCE,
    note="masked: no later input; before the first step there are zeros",
)  # fmt: skip
def window(p: Parameters, x: Input, tap: str, earlier: Units | None) -> Units:
    """Return a gate's sum (B, H) from one tap of the convolution on, ``earlier`` inputs included.

    The tap of the gate z that sees the newest input is ``z``, those that see older ones ``z1``, ...
    """
    newest: Units = x @ getattr(p, f"W_{tap}")
    return newest if earlier is None else newest + earlier


@equation("X11", "qrnn.candidate", latex=r"z_t = \tanh(a^z_t + b_z)", documents=SOURCE)
def candidate(p: Parameters, a: Units) -> Units:
    """Return z (B, H) from its sum."""
    return tanh(a + p.b_z)


@equation("X12", "qrnn.forget_gate", latex=r"f_t = \sigma(a^f_t + b_f)", documents=SOURCE)
def forget_gate(p: Parameters, a: Units) -> Units:
    """Return f (B, H) from its sum: the share of the old state."""
    return sigmoid(a + p.b_f)


@equation("X12", "qrnn.output_gate", latex=r"o_t = \sigma(a^o_t + b_o)", documents=SOURCE)
def output_gate(p: Parameters, a: Units) -> Units:
    """Return o (B, H) from its sum: the share of the cell state in the output."""
    return sigmoid(a + p.b_o)


@equation("X12", "qrnn.input_gate", latex=r"i_t = \sigma(a^i_t + b_i)", documents=SOURCE)
def input_gate(p: Parameters, a: Units) -> Units:
    """Return i (B, H) from its sum: the share of z that is written."""
    return sigmoid(a + p.b_i)


@equation("X13", "qrnn.output", latex=r"h_t = o_t \odot c_t", documents=SOURCE)
def output(o: Units, c: Units) -> Units:
    """Return h (B, H), which no later step reads."""
    return o * c


EQUATIONS = {
    "f": ("qrnn.candidate", "qrnn.forget_gate", "gru.state_keeps_old"),
    "fo": ("qrnn.candidate", "qrnn.forget_gate", "qrnn.output_gate", "gru.state_keeps_old",
           "qrnn.output"),
    "ifo": ("qrnn.candidate", "qrnn.input_gate", "qrnn.forget_gate", "qrnn.output_gate",
            "lstm.cell_state", "qrnn.output"),
}  # fmt: skip
"""The equations of each pooling, by the letters of its gates."""

GATES = {"z": candidate, "i": input_gate, "f": forget_gate, "o": output_gate}


class QRNN(Cell):
    """X10-X13 with E23b (f, fo) or E17 (ifo); gates z and the pooling's letters.

    W (k G, D, H) in the order z, f, o, z1, f1, o1, ...; b (G, H).
    """

    traits: frozenset[str] = frozenset()

    def __init__(self, name: str, pooling: str, k: int = 1) -> None:
        """Set the pooling (f, fo or ifo) and ``k``, the number of inputs of the convolution."""
        self.name, self.title, self.k = name, f"QRNN, {pooling}-pooling" + f", k = {k}" * (k > 1), k
        self.equations = ("qrnn.window", *EQUATIONS[pooling])
        self.gates = ("z", *pooling)
        self.shows = "o" in pooling
        self._delayed = tuple(f"{g}{j}" for j in range(1, k) for g in self.gates)
        self.states = (*("h", "c")[: 1 + self.shows], *self._delayed)
        shut = ("i",) if "i" in pooling else ()
        self.limits = (Limit("f = 1 keeps the state", ("f",), shut, "hc"[self.shows], "old"),)
        self.traits = frozenset({"bounded"}) if pooling == "f" else frozenset()

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the shapes of W (k G, D, H) and b (G, H)."""
        return {
            "W": Shape((*self.gates, *self._delayed), (sizes.D, sizes.H)),
            "b": Shape(self.gates, (sizes.H,)),
        }

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Compute the taps, the gates, the pooling and the output."""
        old, carried = state[self.shows], dict(zip(self.states, state, strict=True))
        sums = {
            f"{g}{j or ''}": window(p, x, f"{g}{j or ''}", carried.get(f"{g}{j + 1}"))
            for j in range(self.k)
            for g in self.gates
        }
        gates = {g: GATES[g](p, sums[g]) for g in self.gates}
        f, z = gates["f"], gates["z"]
        new = cell_state(f, old, gates["i"], z) if "i" in gates else state_keeps_old(f, z, old)
        shown = (output(gates["o"], new),) if self.shows else ()
        return (*shown, new, *(sums[tap] for tap in self._delayed)), gates

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back; a tap's cotangent reaches x, its weights, and its ``earlier`` state."""
        old, d_new, dg = state[self.shows], d[self.shows], {}
        if self.shows:
            dg["o"] = d[0] * new[1]
            d_new = d_new + d[0] * gates["o"]
        f, z = gates["f"], gates["z"]
        if "i" in gates:
            dg["f"], d_old, dg["i"], dg["z"] = cell_state_vjp(f, old, gates["i"], z, d_new)
        else:
            dg["f"], dg["z"], d_old = state_keeps_old_vjp(f, z, old, d_new)
        slopes = {g: (tanh_slope if g == "z" else sigmoid_slope)(gates[g]) for g in self.gates}
        taps = {g: dg[g] * slopes[g] for g in self.gates}
        taps |= dict(zip(self.states[1 + self.shows :], d[1 + self.shows :], strict=True))
        arrays, dx = input_vjp(p, x, taps)
        earlier = [taps[f"{g}{j - 1 or ''}"] for j in range(1, self.k) for g in self.gates]
        shown = (zeros(state[0], state[0].shape),) if self.shows else ()
        return Parameters(p.shapes, arrays), dx, (*shown, d_old, *earlier)


CELLS = (
    QRNN("qrnn-f", "f"),
    QRNN("qrnn-fo", "fo"),
    QRNN("qrnn-ifo", "ifo"),
    QRNN("qrnn-fo-2", "fo", k=2),
)
