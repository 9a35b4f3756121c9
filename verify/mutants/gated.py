"""The gates around a cell: the Phased LSTM's rhythm, and Skip RNN's choice of steps (F, G)."""

from __future__ import annotations

from collections.abc import Callable

from ...reference.cell import State
from ...reference.cells.lstm import candidate, cell_state, hidden_state
from ...reference.cells.lstm_phased import LEAK, PhasedLSTM, gated_state, phase, time_gate
from ...reference.cells.skip import Skip, accumulated, increment, skip_state
from ...reference.functions import Array, binarise, switch, zeros
from ...reference.parameters import Parameters
from ..numbers.tape import custom
from .catalogue import mutant
from .parts import SKIP, gate
from .replaceable_layer import At, ReplaceableLayer

PHASED = ("lstm-phased",)


@mutant(
    "F11",
    statement="The time gate closes at half of its open time, because r_on / 2 is tested twice.",
    cells=PHASED,
    models="fferroni/PhasedLSTM-Keras#7",
    killed_by=("forward",),
    fix="close the time gate after r_on, not r_on / 2: k = 2 - 2 phi / r_on where r_on / 2 <= "
    "phi < r_on",
)
def time_gate_closes_at_half_its_time(layer: ReplaceableLayer) -> None:
    def half(p: Parameters, phi: Array) -> Array:
        return switch(phi - p.r_on / 2, 2 * phi / p.r_on, LEAK * phi)

    layer.step = lambda at, p, x, s: phased_step(p, x, s, half)


@mutant(
    "F12",
    statement="The closed time gate leaks in training but not in evaluation.",
    cells=PHASED,
    models="philipperemy/tensorflow-phased-lstm#10",
    killed_by=("modes",),
    fix="use the same leak in evaluation as in training: k = alpha phi where phi >= r_on",
)
def leak_depends_on_the_mode(layer: ReplaceableLayer) -> None:
    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        layer.cell = PhasedLSTM(LEAK if layer.training else 0.0)
        return right(at, p, x, state)

    right, layer.step = layer.step, step


@mutant(
    "F12b",
    statement="The closed time gate never leaks.",
    cells=PHASED,
    killed_by=("forward",),
    fix="let the closed time gate leak: k = alpha phi, with alpha = 0.001, where phi >= r_on",
)
def time_gate_without_leak(layer: ReplaceableLayer) -> None:
    layer.cell = PhasedLSTM(0.0)


@mutant(
    "F13",
    statement="The proposed hidden state is computed from the gated cell state instead of the "
    "proposed one.",
    cells=PHASED,
    models="Enny1991/PLSTM#1",
    killed_by=("forward",),
    fix="take the proposed h from the proposed c, o tanh(c_proposed), and gate both with k "
    "only then",
)
def output_of_the_gated_cell_state(layer: ReplaceableLayer) -> None:
    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        return phased_step(p, x, state, lambda p, phi: time_gate(p, phi, LEAK), gated_c=True)

    layer.step = step


def phased_step(
    p: Parameters,
    x: Array,
    state: State,
    openness: Callable[[Parameters, Array], Array],
    *,
    gated_c: bool = False,
) -> State:
    """Step a Phased LSTM; with ``gated_c``, h̃ is taken from the gated cell state."""
    h, c = state
    time, x = x[:, :1], x[:, 1:]
    k = openness(p, phase(p, time))
    i, f = gate(p, "i", x, h, c), gate(p, "f", x, h, c)
    c_proposed = cell_state(f, c, i, candidate(p, x, h))
    o, c_new = gate(p, "o", x, h, c_proposed), gated_state(k, c_proposed, c)
    h_proposed = hidden_state(o, c_new if gated_c else c_proposed)
    return gated_state(k, h_proposed, h), c_new


@mutant(
    "G17",
    statement="The rounded update gate passes no gradient back, so the layer cannot learn when "
    "to skip.",
    cells=SKIP,
    models="gitabcworld/skiprnn_pytorch#5",
    killed_by=("gradient",),
    fix="give the rounding derivative 1 (straight-through): hand the cotangent on u to ũ unchanged",
)
def binariser_without_gradient(layer: ReplaceableLayer) -> None:
    layer.step = lambda at, p, x, s: skip_step(layer, p, x, s, rounded=binarise)


@mutant(
    "F16",
    statement="The share of an update keeps adding up after an update instead of starting again.",
    cells=SKIP,
    killed_by=("forward",),
    fix="restart the sum after an update: ũ' = u Δũ + (1 - u) (ũ + min(Δũ, 1 - ũ))",
)
def skipping_never_restarts(layer: ReplaceableLayer) -> None:
    def always(u: Array, u_tilde: Array, delta: Array) -> Array:
        return accumulated(0 * u, u_tilde, delta)

    layer.step = lambda at, p, x, s: skip_step(layer, p, x, s, following=always)


@mutant(
    "F17",
    statement="The share of an update can grow past 1.",
    cells=SKIP,
    killed_by=("gradient",),
    fix="keep ũ at most 1: a skipped step adds min(Δũ, 1 - ũ), not Δũ",
)
def share_of_an_update_without_limit(layer: ReplaceableLayer) -> None:
    def unlimited(u: Array, u_tilde: Array, delta: Array) -> Array:
        return u * delta + (1 - u) * (u_tilde + delta)

    layer.step = lambda at, p, x, s: skip_step(layer, p, x, s, following=unlimited)


@mutant(
    "F18",
    statement="The increment of the share of an update is computed from the cell state instead "
    "of the hidden state.",
    cells=("skip-lstm",),
    killed_by=("forward",),
    fix="compute the increment from the new hidden state: Δũ = sigmoid(h w_p + b_p), not from c",
)
def share_of_an_update_from_the_cell_state(layer: ReplaceableLayer) -> None:
    layer.step = lambda at, p, x, s: skip_step(layer, p, x, s, read=1)


@mutant(
    "S14",
    statement="Without an initial state, the share of an update starts at 0, so the first step "
    "is skipped.",
    cells=SKIP,
    killed_by=("default-state",),
    fix="start ũ at 1 when no initial state is given, so that the first step always updates",
)
def first_step_may_be_skipped(layer: ReplaceableLayer) -> None:
    right = layer.read_state

    def read(state: State | None, x: Array) -> State:
        *plain, u = right(state, x)
        return (*plain, zeros(u, u.shape) if state is None else u)

    layer.read_state = read


def straight_through(u_tilde: Array) -> Array:
    """Round, with derivative 1."""
    return custom(lambda u: ([binarise(u)], lambda d: [d]), u_tilde)[0]


def skip_step(
    layer: ReplaceableLayer,
    p: Parameters,
    x: Array,
    state: State,
    *,
    rounded: Callable[[Array], Array] = straight_through,
    following: Callable[[Array, Array, Array], Array] = accumulated,
    read: int = 0,
) -> State:
    """The step of a skipping cell; ``read`` is the state that the increment sees."""
    *old, u_tilde = state
    assert isinstance(layer.cell, Skip)  # noqa: S101 - the mutant lists such cells only
    u = rounded(u_tilde)
    names = [name for name in p if name not in ("w_p", "b_p")]
    q = Parameters({n: p.shapes[n] for n in names}, {n: p[n] for n in names})
    proposed, _ = layer.cell.plain.step(q, x, tuple(old))
    kept = tuple(skip_state(u, s, before) for s, before in zip(proposed, old, strict=True))
    return (*kept, following(u, u_tilde, increment(p, kept[read])))
