"""The documents' worked numbers and listings (N1-N4, P1-P4), computed, beside the printed ones.

Where a printed number is wrong it is reported as an erratum; it is never made to pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .arrays import Array, Floats, Hidden, Input, Units
from .bptt import chain
from .cell import State
from .cells import cell_named
from .functions import sigmoid, tanh, tanh_slope
from .parameters import Parameters, Sizes
from .tokens import one_hot, vocabulary

TITLES = {
    "D0": "LSTM and GRU: Handling Vanishing Gradients (slides)",
    "D1": "Long Short Term Memory (LSTM), A. Chouhan and A. Patil (slides)",
    "D2": "RNNs, GRUs, and LSTMs (slides)",
    "D3": "Recurrent Neural Network (RNN) and Long Short Term Memory (LSTM), M. R. Rahman (slides)",
    "D4": "LSTM and variants (slides)",
}
"""The five documents."""


@dataclass(frozen=True)
class Example:
    """A worked number or listing: the printed value, the true one, and whether they agree."""

    id: str
    title: str
    documents: tuple[str, ...]
    printed: str
    true: str
    agrees: bool
    note: str = ""


def examples() -> tuple[Example, ...]:
    """Compute every example."""
    makers: tuple[Callable[[], Example], ...] = (
        forget_gate_example, four_step_chain, shrinking, one_hot_sentence,
        swapped_unpacking, index_slip, dates, attribution,
    )  # fmt: skip
    return tuple(make() for make in makers)


FORGET_GATE_PRINTED = np.array([0.7941, 0.1062])


def forget_gate_values() -> tuple[Floats, Floats]:
    """Return the pre-activations and the gate of D0's worked forget gate."""
    a = np.array([2.9, 0.5, 0.7])
    W_f = np.array([[1.0, 0.4, 0.7], [-0.6, -0.5, -0.2]])
    b_f = np.array([0.0, 0.0])
    z = W_f @ a + b_f
    return z, np.asarray(sigmoid(z))


def forget_gate_example() -> Example:
    """N1: the pre-activations are right; σ(3.59) is not 0.7941."""
    z, f = forget_gate_values()
    agrees = bool(np.all(np.abs(f - FORGET_GATE_PRINTED) <= 0.5e-4))
    return Example(
        "N1",
        "worked forget gate",
        ("D0",),
        "σ((3.59, -2.13)) = (0.7941, 0.1062)",
        f"σ(({z[0]:.2f}, {z[1]:.2f})) = ({f[0]:.8f}, {f[1]:.8f})",
        agrees,
        "the vector is introduced as a^t and used as a^(t-1); no x_t appears",
    )


def four_step_chain_values(H: int) -> tuple[Array, Array]:
    """Return dL/da_0 over four steps at width H: the ordered product, and D0's printed formula."""
    rng = np.random.default_rng(1)
    cell, sizes = cell_named("rnn"), Sizes(H, H)
    p = cell.random_parameters(rng, sizes)
    x, dL = rng.standard_normal((4, 1, H)), np.ones(H)
    a: Array = rng.standard_normal((1, H))
    states = []
    for x_t in x:
        ((a,), _) = cell.step(p, x_t, (a,))
        states.append(a[0])
    printed = dL * np.prod([tanh_slope(s) for s in states], axis=0)
    for _ in states:
        printed = printed @ p.U_a.T
    return chain(p, states, dL), printed


def four_step_chain() -> Example:
    """N2: four tanh' factors times (W_a)^4 is the chain rule for H = 1 only."""
    narrow, narrow_printed = four_step_chain_values(1)
    wide, wide_printed = four_step_chain_values(2)
    agrees = bool(np.allclose(wide, wide_printed, rtol=1e-9, atol=0))
    return Example(
        "N2",
        "four-step chain",
        ("D0",),
        f"Π(1 - tanh²) · (W_a)^4: H = 1: {_row(narrow_printed)}; H = 2: {_row(wide_printed)}",
        f"Π diag(1 - a_t²) W_aa: H = 1: {_row(narrow)}; H = 2: {_row(wide)}",
        agrees,
        "the factors do not commute for H > 1, and W_aa is meant, not W_a",
    )


def shrinking() -> Example:
    """N3: a product with a small number is small."""
    values = 10 * 0.1, 10 * 0.01
    return Example(
        "N3",
        "shrinking",
        ("D2",),
        "10 × 0.1 = 1; 10 × 0.01 = 0.1",
        f"10 × 0.1 = {values[0]:g}; 10 × 0.01 = {values[1]:g}",
        values == (1.0, 0.1),
    )


ONE_HOT_PRINTED = {
    "The": "0100000", "cat": "0010000", "sat": "0001000",
    "on": "0000100", "the": "0000010", "mat": "0000001",
}  # fmt: skip


def one_hot_sentence() -> Example:
    """N4: “The cat sat on the mat” in width 7."""
    numbers = vocabulary("The cat sat on the mat")
    rows = one_hot(list(numbers.values()), 7).astype(int)
    computed = {
        token: "".join(str(bit) for bit in row) for token, row in zip(numbers, rows, strict=True)
    }
    return Example(
        "N4",
        "one-hot rows",
        ("D2",),
        ", ".join(f"{t}: {r}" for t, r in ONE_HOT_PRINTED.items()),
        ", ".join(f"{t}: {r}" for t, r in computed.items()),
        computed == ONE_HOT_PRINTED,
    )


def lstm_cell(p: Parameters, prev_ct: Units, prev_ht: Hidden, input: Input) -> State:
    """D1's LSTMCELL, which takes (c, h) and returns (h, c); its “+” means concatenation."""
    (ht, ct), _ = cell_named("lstm").step(p, input, (prev_ht, prev_ct))
    return ht, ct


def listing(*, swapped: bool) -> State:
    """Run D1's loop over five inputs, with its own unpacking or with the one it needs: (h, c)."""
    rng = np.random.default_rng(3)
    p = cell_named("lstm").random_parameters(rng, Sizes(3, 3))
    ct: Array = np.zeros((1, 3))
    ht: Array = ct
    for input in rng.standard_normal((5, 1, 3)):
        if swapped:
            ct, ht = lstm_cell(p, ct, ht, input)
        else:
            ht, ct = lstm_cell(p, ct, ht, input)
    return (ct, ht) if swapped else (ht, ct)


def swapped_unpacking() -> Example:
    """P1: ``ct, ht = LSTMCELL(ct, ht, input)`` swaps the two results of ``return ht, Ct``."""
    h_printed, h = listing(swapped=True)[0], listing(swapped=False)[0]
    return Example(
        "P1",
        "LSTMCELL listing",
        ("D1",),
        f"ct, ht = LSTMCELL(ct, ht, input): h = {_row(h_printed[0])}",
        f"ht, ct = LSTMCELL(ct, ht, input): h = {_row(h[0])}",
        bool(np.array_equal(h, h_printed)),
        "and “prev_ht + input” must mean concatenation",
    )


def index_slip() -> Example:
    """P2: s_3 reads x_3; with any other t it is another number."""
    rng = np.random.default_rng(2)
    U, W = rng.standard_normal(2)
    x = rng.standard_normal(4)
    s = [0.0]
    for t in (1, 2, 3):
        s.append(float(np.asarray(tanh(U * x[t] + W * s[t - 1]))))
    slipped = [float(np.asarray(tanh(U * x[t] + W * s[2]))) for t in (0, 1, 2)]
    return Example(
        "P2",
        "index slip",
        ("D3",),
        "s_3 = tanh(U x_t + W s_2)" + f"; t = 0, 1, 2: {_row(np.array(slipped))}",
        f"s_3 = tanh(U x_3 + W s_2) = {s[3]:.4f}",
        s[3] in slipped,
    )


def dates() -> Example:
    """P3: the years of the LSTM, the forget gate and the GRU."""
    return Example(
        "P3",
        "dates",
        ("D1", "D2"),
        "LSTM 1998; GRU 2014",
        "LSTM 1997 (Hochreiter & Schmidhuber); its forget gate 2000 (Gers, Schmidhuber & Cummins);"
        " GRU 2014 (Cho et al.)",
        agrees=False,
    )


def attribution() -> Example:
    """P4: the proof that the LSTM is strictly stronger, and its authors."""
    return Example(
        "P4",
        "attribution",
        ("D1",),
        "LSTM strictly stronger than GRU, proved by Chung et al.",
        "shown by Weiss, Goldberg & Yahav 2018 (counting at finite precision); Chung et al. 2014"
        " compare the two empirically",
        agrees=False,
    )


def _row(values: Array) -> str:
    return "(" + ", ".join(f"{v:.4g}" for v in np.atleast_1d(values)) + ")"
