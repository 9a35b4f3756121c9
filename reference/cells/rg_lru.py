"""The real-gated linear recurrent unit (RG-LRU) of Griffin and RecurrentGemma.

Griffin's block has D = H and multiplies the input gate with its input; here that is a product
x W_u, which for the identity is the input itself. Nothing is reset at the start of a document.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array, Input, Rows, Units
from ..cell import VJP, Cell, Gates, Limit, State, input_vjp
from ..equation import equation, vjp_of
from ..functions import sigmoid, sigmoid_slope, softplus, switch
from ..parameters import Parameters, Shape, Sizes

SOURCE = ("De et al. 2024, arXiv:2402.19427",)

SHARPNESS = 8
"""c of the paper."""


@equation("X18", "rg_lru.recurrence_gate", latex=r"r_t = \sigma(x_t W_r + b_r)", documents=SOURCE)
def recurrence_gate(p: Parameters, x: Input) -> Units:
    """Return r (B, H): the exponent of the decay, in (0, 1)."""
    return sigmoid(x @ p.W_r + p.b_r)


@equation("X18", "rg_lru.input_gate", latex=r"i_t = \sigma(x_t W_i + b_i)", documents=SOURCE)
def input_gate(p: Parameters, x: Input) -> Units:
    """Return i (B, H): the share of the input that is written."""
    return sigmoid(x @ p.W_i + p.b_i)


@equation(
    "X18", "rg_lru.input", latex=r"u_t = x_t W_u + b_u", documents=SOURCE,
    note="the paper's x_t where D = H, W_u = 1 and b_u = 0; the block's linear layer before it",
)  # fmt: skip
def read_input(p: Parameters, x: Input) -> Units:
    """Return u (B, H): the factor of the input gate."""
    return x @ p.W_u + p.b_u


@equation(
    "X19", "rg_lru.decay",
    latex=r"a_t = \exp(-c \, r_t \odot \ln(1 + e^{\Lambda})), \quad c = 8", documents=SOURCE,
)  # fmt: skip
def decay(p: Parameters, r: Units) -> Units:
    """Return a (B, H) in (0, 1): the share of the old state."""
    return np.exp(-SHARPNESS * r * softplus(p.Lambda))


@equation(
    "X20", "rg_lru.state",
    latex=r"h_t = a_t \odot h_{t-1} + \sqrt{1 - a_t^2} \odot (i_t \odot u_t)", documents=SOURCE,
    note="RecurrentGemma clips the slope of the root at 1000",
)  # fmt: skip
def state(a: Units, h: Units, i: Units, u: Units) -> Units:
    """Return the next state (B, H); inputs of variance 1 keep it at variance 1."""
    return a * h + np.sqrt(1 - a * a) * (i * u)


@vjp_of("rg_lru.state")
def state_vjp(
    a: Units, h: Units, i: Units, u: Units, dh_new: Units
) -> tuple[Units, Units, Units, Units]:
    """Pull dh' back to (da, dh, di, du); at a = 1, where the root has no slope, da is of a h."""
    root = np.sqrt(1 - a * a)
    per_root = a / switch(-root, root, 1 + 0 * root)
    written = dh_new * root
    return dh_new * (h - per_root * (i * u)), dh_new * a, written * u, written * i


class RGLRU(Cell):
    """X18-X20; W and b in the order r, i, u, and Lambda (H,)."""

    name, title = "rg-lru", "RG-LRU (Griffin)"
    equations = (
        "rg_lru.recurrence_gate", "rg_lru.input_gate", "rg_lru.input", "rg_lru.decay",
        "rg_lru.state",
    )  # fmt: skip
    gates, states = ("r", "i", "u"), ("h",)
    traits = frozenset()
    limits = (Limit("r = 0 keeps the old state", (), ("r",), "h", "old"),)
    spans = {"Lambda": (-5, -1)}  # noqa: RUF012 - a constant; a lies between 0.3 and 1

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the shapes of W (3, D, H), b (3, H) and Lambda (H,)."""
        return {
            "W": Shape(self.gates, (sizes.D, sizes.H)),
            "b": Shape(self.gates, (sizes.H,)),
            "Lambda": Shape((), (sizes.H,)),
        }

    def step(self, p: Parameters, x: Rows, state_before: State) -> tuple[State, Gates]:
        """Compute X18-X20."""
        r, i, u = recurrence_gate(p, x), input_gate(p, x), read_input(p, x)
        a = decay(p, r)
        return (state(a, state_before[0], i, u),), {"r": r, "i": i, "u": u, "a": a}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back; the decay's cotangent reaches the gate r, and Λ."""
        r, i, u, a = (gates[k] for k in ("r", "i", "u", "a"))
        da, dh, di, du = state_vjp(a, state[0], i, u, d[0])
        d_log = -SHARPNESS * (da * a)
        dz = {
            "r": d_log * softplus(p.Lambda) * sigmoid_slope(r),
            "i": di * sigmoid_slope(i),
            "u": du,
        }
        arrays: dict[str, Array]
        arrays, dx = input_vjp(p, x, dz)
        arrays["Lambda"] = (d_log * r).sum(axis=0) * sigmoid(p.Lambda)
        return Parameters(p.shapes, arrays), dx, (dh,)


CELLS = (RGLRU(),)
