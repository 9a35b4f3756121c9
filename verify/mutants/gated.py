"""The gates around a cell: the Phased LSTM's rhythm, and Skip RNN's choice of steps (F, G)."""

from __future__ import annotations

from collections.abc import Callable

from ...reference.arrays import Array
from ...reference.cell import State
from ...reference.cells.lstm import candidate, cell_state, hidden_state
from ...reference.cells.lstm_phased import LEAK, PhasedLSTM, gated_state, phase, time_gate
from ...reference.cells.skip import Skip, accumulated, increment, skip_state
from ...reference.functions import binarise, switch, zeros
from ...reference.parameters import Parameters
from ..numbers.tape import custom
from .catalogue import mutant
from .parts import SKIP, gate
from .replaceable_layer import At, ReadStatePart, ReplaceableLayer, StepPart

PHASED = ("lstm-phased",)


def open_time_gate(p: Parameters, phi: Array) -> Array:
    """Return the correct time gate."""
    return time_gate(p, phi, LEAK)


def phases(
    layer: ReplaceableLayer,
    openness: Callable[[Parameters, Array], Array] = open_time_gate,
    *,
    gated_c: bool = False,
) -> None:
    """Change the step of a Phased LSTM; ``gated_c``: h̃ is computed from the gated cell state."""

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        h, c = state
        time, x = x[:, :1], x[:, 1:]
        k = openness(p, phase(p, time))
        i, f = gate(p, "i", x, h, c), gate(p, "f", x, h, c)
        c_proposed = cell_state(f, c, i, candidate(p, x, h))
        o, c_new = gate(p, "o", x, h, c_proposed), gated_state(k, c_proposed, c)
        h_proposed = hidden_state(o, c_new if gated_c else c_proposed)
        return gated_state(k, h_proposed, h), c_new

    layer.step = step


def half(p: Parameters, phi: Array) -> Array:
    """Return a time gate that closes at once."""
    return switch(phi - p.r_on / 2, 2 * phi / p.r_on, LEAK * phi)


mutant(
    "F11",
    "The time gate closes at half of its open time, because r_on / 2 is tested twice.",
    ("forward",),
    cells=PHASED,
    models="fferroni/PhasedLSTM-Keras#7",
    fix="close the time gate after r_on, not r_on / 2: k = 2 - 2 phi / r_on where r_on / 2 <= phi "
    "< r_on",
    change=lambda layer: phases(layer, half),
)


@mutant(
    "F12",
    "The closed time gate leaks in training but not in evaluation.",
    ("modes",),
    cells=PHASED,
    models="philipperemy/tensorflow-phased-lstm#10",
    fix="use the same leak in evaluation as in training: k = alpha phi where phi >= r_on",
    part="step",
)
def leak_depends_on_the_mode(
    layer: ReplaceableLayer, original: StepPart, at: At, p: Parameters, x: Array, state: State
) -> State:
    layer.cell = PhasedLSTM(LEAK if layer.training else 0.0)
    return original(at, p, x, state)


@mutant(
    "F12b",
    "The closed time gate never leaks.",
    ("forward",),
    cells=PHASED,
    fix="let the closed time gate leak: k = alpha phi, with alpha = 0.001, where phi >= r_on",
)
def time_gate_without_leak(layer: ReplaceableLayer) -> None:
    layer.cell = PhasedLSTM(0.0)


mutant(
    "F13",
    "The proposed hidden state is computed from the gated cell state instead of the proposed one.",
    ("forward",),
    cells=PHASED,
    models="Enny1991/PLSTM#1",
    fix="take the proposed h from the proposed c, o tanh(c_proposed), and gate both with k only "
    "then",
    change=lambda layer: phases(layer, gated_c=True),
)


def straight_through(u_tilde: Array) -> Array:
    """Round, with derivative 1."""
    return custom(lambda u: ([binarise(u)], lambda d: [d]), u_tilde)[0]


def skips(
    layer: ReplaceableLayer,
    *,
    rounded: Callable[[Array], Array] = straight_through,
    following: Callable[[Array, Array, Array], Array] = accumulated,
    state_read: int = 0,
) -> None:
    """Change the step of a skipping cell; ``state_read`` determines the increment."""

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        *old, u_tilde = state
        assert isinstance(layer.cell, Skip)  # noqa: S101 - the mutant lists such cells only
        u = rounded(u_tilde)
        names = [name for name in p if name not in ("w_p", "b_p")]
        q = Parameters({n: p.shapes[n] for n in names}, {n: p[n] for n in names})
        proposed, _ = layer.cell.plain.step(q, x, tuple(old))
        states = tuple(skip_state(u, s, before) for s, before in zip(proposed, old, strict=True))
        return (*states, following(u, u_tilde, increment(p, states[state_read])))

    layer.step = step


mutant(
    "G17",
    "The rounded update gate passes no gradient back, so the layer cannot learn when to skip.",
    ("gradient",),
    cells=SKIP,
    models="gitabcworld/skiprnn_pytorch#5",
    fix="give the rounding derivative 1 (straight-through): hand the cotangent on u to ũ unchanged",
    change=lambda layer: skips(layer, rounded=binarise),
)

mutant(
    "F16",
    "The share of an update keeps adding up after an update instead of starting again.",
    ("forward",),
    cells=SKIP,
    fix="restart the sum after an update: ũ' = u Δũ + (1 - u) (ũ + min(Δũ, 1 - ũ))",
    change=lambda layer: skips(
        layer, following=lambda u, u_tilde, delta: accumulated(0 * u, u_tilde, delta)
    ),
)

mutant(
    "F17",
    "The share of an update can grow past 1.",
    ("gradient",),
    cells=SKIP,
    fix="keep ũ at most 1: a skipped step adds min(Δũ, 1 - ũ), not Δũ",
    change=lambda layer: skips(
        layer, following=lambda u, u_tilde, delta: u * delta + (1 - u) * (u_tilde + delta)
    ),
)

mutant(
    "F18",
    "The increment of the share of an update is computed from the cell state instead of the hidden "
    "state.",
    ("forward",),
    cells=("skip-lstm",),
    fix="compute the increment from the new hidden state: Δũ = sigmoid(h w_p + b_p), not from c",
    change=lambda layer: skips(layer, state_read=1),
)


@mutant(
    "S14",
    "Without an initial state, the share of an update starts at 0, so the first step is skipped.",
    ("default-state",),
    cells=SKIP,
    fix="start ũ at 1 when no initial state is given, so that the first step always updates",
    part="read_state",
)
def first_step_may_be_skipped(
    layer: ReplaceableLayer, original: ReadStatePart, state: State | None, x: Array
) -> State:
    *plain, u = original(state, x)
    return (*plain, zeros(u, u.shape) if state is None else u)
