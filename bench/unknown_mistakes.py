"""Wrong layers that the catalogue does not have, to see whether the diagnosis says so.

Each is a function that changes a ``Workshop``, as mutants are. None is a mutant, nor two together,
nor another order of gates, nor an array that is not read: a diagnosis that names one of those is
a wrong story. Here are equations and parameters; ``unknown_mistakes_around`` has the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..reference.cell import State
from ..reference.cells.gru import state_keeps_old, state_takes_new
from ..reference.cells.lstm import cell_state, hidden_state
from ..reference.functions import Array, minimum, sigmoid, switch, tanh
from ..reference.parameters import Parameters
from ..verify.mutants import Change, Mutant
from ..verify.mutants.parts import Gate, changed, gate, gru_step, pre_activation, reads, with_gates
from ..verify.mutants.tape import instead, plain, rearranged
from ..verify.mutants.workshop import At, Workshop

Function = Callable[[Array], Array]

_found: list[Mutant] = []


def mistake(cell: str, needs: tuple[str, ...] = ()) -> Callable[[Change], Change]:
    """Note the decorated change, whose docstring is the statement; its id is its name."""

    def note(change: Change) -> Change:
        statement = (change.__doc__ or "").strip()
        _found.append(Mutant(change.__name__, statement, change, (cell,), needs=needs))
        return change

    return note


def unknown_mistakes() -> tuple[Mutant, ...]:
    """Return all of them."""
    from . import unknown_mistakes_around  # noqa: F401 - it notes its own

    return tuple(_found)


def affine(p: Parameters, letter: str, x: Array, h: Array) -> Array:
    """Return x W + h U + b of one gate."""
    W, U, b = (getattr(p, f"{array}_{letter}") for array in "WUb")
    return x @ W + h @ U + b


def rnn(layer: Workshop, squash: Function, finish: Callable[[Array, Array], Array]) -> None:
    """Let an RNN squash otherwise, and make its state of what was squashed and the old one."""
    layer.step = lambda at, p, x, s: (finish(squash(affine(p, "a", x, s[0])), s[0]),)


def new_alone(new: Array, old: Array) -> Array:
    """Return the new state, as an RNN does."""
    return new


def lstm(
    layer: Workshop,
    *,
    gate: Gate = gate,
    squash: Function = tanh,
    blend: Callable[[Array, Array, Array, Array], Array] = cell_state,
    show: Callable[[Array, Array], Array] = hidden_state,
) -> None:
    """Put another gate, candidate, cell state or output into an LSTM, with peepholes or without."""

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        h, c = state
        f, i = gate(p, "f", x, h, c), gate(p, "i", x, h, c)
        c_new = blend(f, c, i, squash(affine(p, "g", x, h)))
        return show(gate(p, "o", x, h, c_new), c_new), c_new

    layer.step = step


def softly(s: Array) -> Array:
    """Return s / (1 + |s|)."""
    return s / (1 + switch(s, -s, s))


@mistake("rnn")
def softsign(layer: Workshop) -> None:
    """The activation is softsign, s / (1 + |s|), not tanh."""
    rnn(layer, softly, new_alone)


@mistake("rnn")
def scaled_tanh(layer: Workshop) -> None:
    """The state is 1.7159 tanh(2 s / 3)."""
    rnn(layer, lambda s: 1.7159 * tanh(s * (2 / 3)), new_alone)


@mistake("rnn")
def rational_tanh(layer: Workshop) -> None:
    """The tanh is its rational approximation s (27 + s^2) / (27 + 9 s^2)."""
    rnn(layer, lambda s: s * (27 + s * s) / (27 + 9 * s * s), new_alone)


@mistake("lstm")
def hard_tanh(layer: Workshop) -> None:
    """The candidate is clip(s, -1, 1)."""
    lstm(layer, squash=lambda s: -minimum(-minimum(s, 1 + 0 * s), 1 + 0 * s))


@mistake("lstm")
def flatter_sigmoid(layer: Workshop) -> None:
    """Gates are sigmoid(0.9 s)."""
    lstm(layer, gate=lambda p, k, x, h, c: sigmoid(0.9 * pre_activation(p, k, x, h, c)))


@mistake("lstm-peephole")
def sigmoid_of_softsign(layer: Workshop) -> None:
    """Gates are (1 + softsign(s)) / 2."""
    lstm(layer, gate=lambda p, k, x, h, c: 0.5 + 0.5 * softly(pre_activation(p, k, x, h, c)))


@mistake("lstm")
def decaying_cell_state(layer: Workshop) -> None:
    """The cell state decays: c' = f c + i g - 0.01 c."""
    lstm(layer, blend=lambda f, c, i, g: f * c + i * g - 0.01 * c)


@mistake("lstm")
def no_tanh_at_the_output(layer: Workshop) -> None:
    """The output is h = o c, without tanh."""
    lstm(layer, show=lambda o, c: o * c)


@mistake("lstm-peephole")
def tanh_around_the_output(layer: Workshop) -> None:
    """The output is h = tanh(o c), not o tanh(c)."""
    lstm(layer, show=lambda o, c: tanh(o * c))


@mistake("lstm")
def forget_gate_reads_the_state_before_last(layer: Workshop) -> None:
    """The forget gate reads h of two steps ago."""
    before: dict[tuple[int, int], Array] = {}

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        h, c = state
        late = before.get((at.level, at.direction), h) if at.t else h
        before[at.level, at.direction] = h
        i, o = gate(p, "i", x, h, c), gate(p, "o", x, h, c)
        c_new = cell_state(gate(p, "f", x, late, c), c, i, tanh(affine(p, "g", x, h)))
        return hidden_state(o, c_new), c_new

    layer.step = step


@mistake("lstm-peephole")
def peepholes_see_a_squashed_state(layer: Workshop) -> None:
    """Peepholes read tanh(c)."""
    lstm(layer, gate=lambda p, k, x, h, c: gate(p, k, x, h, tanh(c)))


@mistake("lstm")
def half_a_forget_bias(layer: Workshop) -> None:
    """1/2 is added to the bias of the forget gate."""
    reads(layer, lambda p: with_gates(p, b_f=p.b_f + 0.5))


@mistake("rnn")
def leaky_state(layer: Workshop) -> None:
    """The state leaks: h' = 0.9 tanh(s) + 0.1 h."""
    rnn(layer, tanh, lambda new, old: 0.9 * new + 0.1 * old)


@mistake("gru")
def squared_update_gate(layer: Workshop) -> None:
    """The update gate is squared before it is used."""

    def squared(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        right = gate(p, letter, x, h, c)
        return right * right if letter == "z" else right

    layer.step = lambda at, p, x, s: gru_step("gru", p, x, s, gate=squared)


@mistake("gru")
def reset_of_everything(layer: Workshop) -> None:
    """The reset gate multiplies the candidate's input as well: n = tanh(r (x W + h U + b))."""
    layer.step = lambda at, p, x, s: gru_step(
        "gru", p, x, s, candidate=lambda p, x, h, r: tanh(r * (affine(p, "n", x, h) + p.b_hn))
    )


@mistake("gru-takes-new")
def reset_gate_of_the_other_polarity(layer: Workshop) -> None:
    """1 - r stands for r."""
    reads(layer, lambda p: with_gates(p, W_r=-p.W_r, U_r=-p.U_r, b_r=-p.b_r))


@mistake("gru-keeps-old")
def update_gate_reads_the_reset_state(layer: Workshop) -> None:
    """The update gate reads r h, not h."""

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        (h,) = state
        r = gate(p, "r", x, h, h)
        return (state_keeps_old(gate(p, "z", x, r * h, h), tanh(affine(p, "n", x, r * h)), h),)

    layer.step = step


@mistake("gru-takes-new")
def update_gate_of_the_mean_unit(layer: Workshop) -> None:
    """All units share one update gate, the mean over them."""

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        (h,) = state
        r, z = gate(p, "r", x, h, h), gate(p, "z", x, h, h)
        mean = z @ np.full((layer.case.H, layer.case.H), 1 / layer.case.H, z.dtype)
        return (state_takes_new(mean, tanh(affine(p, "n", x, r * h)), h),)

    layer.step = step


@mistake("lstm")
def input_weights_scaled(layer: Workshop) -> None:
    """W is divided by the square root of H."""
    reads(layer, lambda p: changed(p, W=p.W * layer.case.H**-0.5))


@mistake("rnn")
def recurrent_weights_symmetrised(layer: Workshop) -> None:
    """U is replaced by the mean of U and its transpose."""
    reads(layer, lambda p: changed(p, U=0.5 * p.U + 0.5 * transposed(p.U)))


def transposed(U: Array) -> Array:
    """Return U transposed, gate by gate."""
    return rearranged(U, lambda a: a.swapaxes(1, 2))


@mistake("gru")
def diagonal_zeroed(layer: Workshop) -> None:
    """No unit reads its own old state through U: its diagonal counts as 0."""
    reads(layer, lambda p: changed(p, U=p.U * (1 - np.eye(layer.case.H, dtype=p.U.dtype))))


@mistake("rnn")
def bias_times_step(layer: Workshop) -> None:
    """At step t the bias is added t + 1 times."""
    right = layer.step
    layer.step = lambda at, p, x, s: right(at, changed(p, b=p.b * (at.t + 1)), x, s)


@mistake("gru-keeps-old")
def candidate_weights_transposed(layer: Workshop) -> None:
    """U of the candidate alone is transposed."""
    reads(layer, lambda p: with_gates(p, U_n=rearranged(p.U_n, np.transpose)))


@mistake("lstm")
def weights_rounded(layer: Workshop) -> None:
    """W is rounded to multiples of 1/64."""
    reads(layer, lambda p: changed(p, W=instead(p.W, np.round(plain(p.W) * 64) / 64)))


@mistake("lstm-peephole")
def peepholes_of_the_next_unit(layer: Workshop) -> None:
    """Every unit uses the peepholes of the unit before it."""
    reads(layer, lambda p: changed(p, p=rearranged(p.p, lambda a: np.roll(a, 1, axis=-1))))
