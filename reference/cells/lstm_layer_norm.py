"""The LSTM with layer normalisation, of its products and of its cell state.

The products x W and h U of all gates side by side, 4 H numbers a row, are normalised apart; the
cell state either where it is shown alone (the paper), or also where it is carried on (PyTorch's
and TensorFlow Addons' layer-norm cells). ε stands inside the root.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array, Column, Floats, Rows, Units
from ..cell import VJP, Cell, Gates, State
from ..equation import equation
from ..functions import sigmoid, sigmoid_slope, tanh, tanh_slope
from ..parameters import Parameters, Shape, Sizes
from .lstm import LIMITS, cell_state, cell_state_vjp, hidden_state, hidden_state_vjp

SOURCE = ("Ba, Kiros & Hinton 2016, arXiv:1607.06450",)

EPSILON = 1e-5
"""ε of the sources' layers."""


def spread(v: Rows) -> tuple[Rows, Column]:
    """Return each row less its mean, and its standard deviation (B, 1), ε inside the root."""
    count = v.shape[1]
    centred = v - v.sum(axis=1)[:, None] / count
    variance = (centred * centred).sum(axis=1)[:, None] / count
    return centred, np.sqrt(variance + EPSILON)


@equation(
    "X15", "layer_norm",
    latex=r"\mathrm{LN}(v) = \frac{v - \mu(v)}{\sqrt{\sigma^2(v) + \varepsilon}}",
    documents=SOURCE, note="over the row; ε inside the root; gain and shift follow by themselves",
)  # fmt: skip
def normalised(v: Rows) -> Rows:
    """Return each row (B, n) with mean 0 and, but for ε, variance 1."""
    centred, deviation = spread(v)
    return centred / deviation


def normalised_vjp(v: Rows, y: Rows, dy: Rows) -> Rows:
    """Pull dy back to v: dy less its mean and its part along y, by the deviation."""
    count = v.shape[1]
    mean, along = (d.sum(axis=1)[:, None] / count for d in (dy, dy * y))
    return (dy - mean - y * along) / spread(v)[1]


@equation(
    "X16", "lstm.normalised_sums",
    latex=r"a_t = \gamma^x \odot \mathrm{LN}(x_t W) + \gamma^h \odot \mathrm{LN}(h_{t-1} U) + b",
    documents=SOURCE, note="all gates' products in one row; b is the sum of both shifts",
)  # fmt: skip
def normalised_sum(p: Parameters, gate: str, of_x: Units, of_h: Units) -> Units:
    """Return a gate's sum (B, H) from its part of the two normalised products."""
    gain_x, gain_h = getattr(p, f"gx_{gate}"), getattr(p, f"gh_{gate}")
    a: Units = gain_x * of_x + gain_h * of_h + getattr(p, f"b_{gate}")
    return a


@equation(
    "X17", "lstm.normalised_cell_state",
    latex=r"\bar c_t = \gamma^c \odot \mathrm{LN}(f_t \odot c_{t-1} + i_t \odot g_t) + \beta^c",
    documents=SOURCE, note="in h = o ⊙ tanh(c̄); carried on as c_t in some frameworks",
)  # fmt: skip
def normalised_cell(p: Parameters, c: Units) -> Units:
    """Return the cell state (B, H), normalised."""
    return p.gain_c * normalised(c) + p.shift_c


class LayerNormLSTM(Cell):
    """X15-X17, E17, E18; gates i, f, g, o; gx, gh (4, H), gain_c and shift_c (H,)."""

    gates, states = ("i", "f", "g", "o"), ("h", "c")

    def __init__(self, name: str, title: str, *, carried: bool) -> None:
        """Set the names; ``carried``: whether the next step reads the normalised cell state."""
        self.name, self.title, self.carried = name, title, carried
        self.equations = (
            "layer_norm", "lstm.normalised_sums", "lstm.cell_state", "lstm.normalised_cell_state",
            "lstm.hidden_state",
        )  # fmt: skip
        self.limits = LIMITS[2:] if carried else LIMITS

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the LSTM's shapes; gx and gh (4, H), gain_c and shift_c (H,)."""
        per_gate, vector = Shape(self.gates, (sizes.H,)), Shape((), (sizes.H,))
        gains = {"gx": per_gate, "gh": per_gate, "gain_c": vector, "shift_c": vector}
        return super().shapes(sizes) | gains

    def random_parameter(self, name: str, rng: np.random.Generator, shape: Shape) -> Floats:
        """Draw as for any cell, but gains around 1."""
        drawn = super().random_parameter(name, rng, shape)
        return 1 + drawn / 2 if name.startswith("g") else drawn

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Compute X15, X16, the gates, E17, X17, E18."""
        h, c = state
        of_x, of_h = _products(p, "W", x), _products(p, "U", h)
        norm_x, norm_h = normalised(of_x), normalised(of_h)
        sums = {
            k: normalised_sum(p, k, part_x, part_h)
            for k, part_x, part_h in zip(
                self.gates, _parts(norm_x), _parts(norm_h), strict=True
            )
        }  # fmt: skip
        gates = {k: (tanh if k == "g" else sigmoid)(s) for k, s in sums.items()}
        raw = cell_state(gates["f"], c, gates["i"], gates["g"])
        shown = normalised_cell(p, raw)
        trace = {"of x": of_x, "of h": of_h, "raw c": raw, "shown c": shown}
        new = hidden_state(gates["o"], shown), shown if self.carried else raw
        return new, {**gates, **trace}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back through the shown cell state, the gates, and both normalised products."""
        (h, c), (dh_new, dc_new), raw = state, d, gates["raw c"]
        do, d_shown = hidden_state_vjp(gates["o"], gates["shown c"], dh_new)
        d_shown = d_shown + dc_new if self.carried else d_shown
        norm_c = normalised(raw)
        d_raw = normalised_vjp(raw, norm_c, d_shown * p.gain_c)
        d_raw = d_raw if self.carried else d_raw + dc_new
        df, dc, di, dg = cell_state_vjp(gates["f"], c, gates["i"], gates["g"], d_raw)
        slopes = {k: (tanh_slope if k == "g" else sigmoid_slope)(gates[k]) for k in self.gates}
        da = [d * slopes[k] for k, d in zip(self.gates, (di, df, dg, do), strict=True)]
        da_row = np.concatenate(da, axis=1)
        arrays: dict[str, Array] = {
            "b": np.stack([d.sum(axis=0) for d in da]),
            "gain_c": (d_shown * norm_c).sum(axis=0),
            "shift_c": d_shown.sum(axis=0),
        }
        back = []
        for matrix, gain, product, read in (
            ("W", "gx", gates["of x"], x),
            ("U", "gh", gates["of h"], h),
        ):
            norm = normalised(product)
            arrays[gain] = np.stack([part.sum(axis=0) for part in _parts(da_row * norm)])
            gains = np.concatenate([p[gain][k] for k in range(len(self.gates))])
            d_product = normalised_vjp(product, norm, da_row * gains)
            arrays[matrix] = np.stack([read.T @ part for part in _parts(d_product)])
            back.append(d_product @ p.rows(matrix))
        dx, dh = back
        return Parameters(p.shapes, arrays), dx, (dh, dc)


def _products(p: Parameters, name: str, read: Rows) -> Rows:
    """Return the products of all gates side by side, (B, 4 H)."""
    return np.concatenate([read @ getattr(p, f"{name}_{k}") for k in p.shapes[name].gates], axis=1)


def _parts(row: Rows) -> list[Units]:
    """Return the four gates' parts (B, H) of a row of 4 H."""
    H = row.shape[1] // 4
    return [row[:, k * H : (k + 1) * H] for k in range(4)]


CELLS = (
    LayerNormLSTM("lstm-layer-norm", "LSTM, layer norm (c normalised where shown)", carried=False),
    LayerNormLSTM(
        "lstm-layer-norm-carried", "LSTM, layer norm (normalised c carried)", carried=True
    ),
)
