"""Wrong layers that the catalogue does not have, to see whether the diagnosis says so.

Each is a function that changes a ``ReplaceableLayer``, as mutants are. None is a mutant, nor two
together, nor another order of gates, nor an array that is not read: a diagnosis that names one of
those is a wrong story.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from ...reference.cell import State
from ...reference.cells.gru import state_keeps_old, state_takes_new
from ...reference.cells.lstm import cell_state, hidden_state
from ...reference.functions import Array, minimum, sigmoid, switch, tanh
from ...reference.parameters import Parameters
from ...reference.sequence import Step
from ..numbers.tape import instead, plain, rearranged
from ..subjects.protocol import Inputs, Result
from . import Change, Mutant
from .gradient import after_step_vjp, gives, gives_named
from .parts import affine, changed, gate, pre_activation, reads, steps, with_gates
from .replaceable_layer import (
    At,
    ReadPart,
    ReplaceableLayer,
    RunPart,
    StepGradients,
    StepVjpPart,
    UnrollPart,
    WritePart,
)
from .state import given_states

Function = Callable[[Array], Array]

_registered: list[Mutant] = []


def mistake(cell: str, needs: tuple[str, ...] = ()) -> Callable[[Change], None]:
    """Register the decorated change, whose docstring is the statement; its id is its name."""

    def register(change: Change) -> None:
        statement = (change.__doc__ or "").strip()
        _registered.append(Mutant(change.__name__, statement, change, (cell,), needs=needs))

    return register


def rnn(layer: ReplaceableLayer, squash: Function, finish: Callable[[Array, Array], Array]) -> None:
    """Let an RNN squash otherwise, and make its state of what was squashed and the old one."""
    layer.step = lambda at, p, x, s: (finish(squash(affine(p, "a", x, s[0])), s[0]),)


def new_alone(new: Array, old: Array) -> Array:
    """Return the new state, as an RNN does."""
    return new


def softly(s: Array) -> Array:
    """Return s / (1 + |s|)."""
    return s / (1 + switch(s, -s, s))


@mistake("rnn")
def softsign(layer: ReplaceableLayer) -> None:
    """The activation is softsign, s / (1 + |s|), not tanh."""
    rnn(layer, softly, new_alone)


@mistake("rnn")
def scaled_tanh(layer: ReplaceableLayer) -> None:
    """The state is 1.7159 tanh(2 s / 3)."""
    rnn(layer, lambda s: 1.7159 * tanh(s * (2 / 3)), new_alone)


@mistake("rnn")
def rational_tanh(layer: ReplaceableLayer) -> None:
    """The tanh is its rational approximation s (27 + s^2) / (27 + 9 s^2)."""
    rnn(layer, lambda s: s * (27 + s * s) / (27 + 9 * s * s), new_alone)


@mistake("lstm")
def hard_tanh(layer: ReplaceableLayer) -> None:
    """The candidate is clip(s, -1, 1)."""
    steps(layer, squash=lambda s: -minimum(-minimum(s, 1 + 0 * s), 1 + 0 * s))


@mistake("lstm")
def flatter_sigmoid(layer: ReplaceableLayer) -> None:
    """Gates are sigmoid(0.9 s)."""
    steps(layer, gate=lambda p, k, x, h, c: sigmoid(0.9 * pre_activation(p, k, x, h, c)))


@mistake("lstm-peephole")
def sigmoid_of_softsign(layer: ReplaceableLayer) -> None:
    """Gates are (1 + softsign(s)) / 2."""
    steps(layer, gate=lambda p, k, x, h, c: 0.5 + 0.5 * softly(pre_activation(p, k, x, h, c)))


@mistake("lstm")
def decaying_cell_state(layer: ReplaceableLayer) -> None:
    """The cell state decays: c' = f c + i g - 0.01 c."""
    steps(layer, blend=lambda f, c, i, g: f * c + i * g - 0.01 * c)


@mistake("lstm")
def no_tanh_at_the_output(layer: ReplaceableLayer) -> None:
    """The output is h = o c, without tanh."""
    steps(layer, show=lambda o, c: o * c)


@mistake("lstm-peephole")
def tanh_around_the_output(layer: ReplaceableLayer) -> None:
    """The output is h = tanh(o c), not o tanh(c)."""
    steps(layer, show=lambda o, c: tanh(o * c))


@mistake("lstm")
def forget_gate_reads_the_state_before_last(layer: ReplaceableLayer) -> None:
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
def peepholes_see_a_squashed_state(layer: ReplaceableLayer) -> None:
    """Peepholes read tanh(c)."""
    steps(layer, gate=lambda p, k, x, h, c: gate(p, k, x, h, tanh(c)))


@mistake("lstm")
def half_a_forget_bias(layer: ReplaceableLayer) -> None:
    """1/2 is added to the bias of the forget gate."""
    reads(layer, lambda p: with_gates(p, b_f=p.b_f + 0.5))


@mistake("rnn")
def leaky_state(layer: ReplaceableLayer) -> None:
    """The state leaks: h' = 0.9 tanh(s) + 0.1 h."""
    rnn(layer, tanh, lambda new, old: 0.9 * new + 0.1 * old)


@mistake("gru")
def squared_update_gate(layer: ReplaceableLayer) -> None:
    """The update gate is squared before it is used."""
    steps(layer, gate=lambda p, k, x, h, c: (g := gate(p, k, x, h, c)) * (g if k == "z" else 1))


@mistake("gru")
def reset_of_everything(layer: ReplaceableLayer) -> None:
    """The reset gate multiplies the candidate's input as well: n = tanh(r (x W + h U + b))."""
    steps(layer, candidate=lambda p, x, h, r: tanh(r * (affine(p, "n", x, h) + p.b_hn)))


@mistake("gru-takes-new")
def reset_gate_of_the_other_polarity(layer: ReplaceableLayer) -> None:
    """1 - r stands for r."""
    reads(layer, lambda p: with_gates(p, W_r=-p.W_r, U_r=-p.U_r, b_r=-p.b_r))


@mistake("gru-keeps-old")
def update_gate_reads_the_reset_state(layer: ReplaceableLayer) -> None:
    """The update gate reads r h, not h."""

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        (h,) = state
        r = gate(p, "r", x, h, h)
        return (state_keeps_old(gate(p, "z", x, r * h, h), tanh(affine(p, "n", x, r * h)), h),)

    layer.step = step


@mistake("gru-takes-new")
def update_gate_of_the_mean_unit(layer: ReplaceableLayer) -> None:
    """All units share one update gate, the mean over them."""

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        (h,) = state
        r, z = gate(p, "r", x, h, h), gate(p, "z", x, h, h)
        mean = z @ np.full((layer.case.H, layer.case.H), 1 / layer.case.H, z.dtype)
        return (state_takes_new(mean, tanh(affine(p, "n", x, r * h)), h),)

    layer.step = step


@mistake("lstm")
def input_weights_scaled(layer: ReplaceableLayer) -> None:
    """W is divided by the square root of H."""
    reads(layer, lambda p: changed(p, W=p.W * layer.case.H**-0.5))


@mistake("rnn")
def recurrent_weights_symmetrised(layer: ReplaceableLayer) -> None:
    """U is replaced by the mean of U and its transpose."""
    reads(
        layer, lambda p: changed(p, U=0.5 * p.U + 0.5 * rearranged(p.U, lambda U: U.swapaxes(1, 2)))
    )


@mistake("gru")
def diagonal_zeroed(layer: ReplaceableLayer) -> None:
    """No unit reads its own old state through U: its diagonal counts as 0."""
    reads(layer, lambda p: changed(p, U=p.U * (1 - np.eye(layer.case.H, dtype=p.U.dtype))))


@mistake("rnn")
def bias_times_step(layer: ReplaceableLayer) -> None:
    """At step t the bias is added t + 1 times."""
    layer.wrap("step", lambda right, at, p, *xs: right(at, changed(p, b=p.b * (at.t + 1)), *xs))


@mistake("gru-keeps-old")
def candidate_weights_transposed(layer: ReplaceableLayer) -> None:
    """U of the candidate alone is transposed."""
    reads(layer, lambda p: with_gates(p, U_n=rearranged(p.U_n, np.transpose)))


@mistake("lstm")
def weights_rounded(layer: ReplaceableLayer) -> None:
    """W is rounded to multiples of 1/64."""
    reads(layer, lambda p: changed(p, W=instead(p.W, np.round(plain(p.W) * 64) / 64)))


@mistake("lstm-peephole")
def peepholes_of_the_next_unit(layer: ReplaceableLayer) -> None:
    """Every unit uses the peepholes of the unit before it."""
    reads(layer, lambda p: changed(p, p=rearranged(p.p, lambda a: np.roll(a, 1, axis=-1))))


# Unknown mistakes around the equations: sequences, states, gradients, training, calls.


@mistake("rnn")
def every_third_step_skipped(layer: ReplaceableLayer) -> None:
    """Every third step leaves the state as it is."""
    layer.wrap("step", lambda right, at, p, x, s: s if at.t % 3 == 2 else right(at, p, x, s))


@mistake("lstm", needs=("lengths",))
def rows_end_two_steps_early(layer: ReplaceableLayer) -> None:
    """Every row ends two steps before its length."""
    layer.read_lengths = lambda lengths: None if lengths is None else np.maximum(lengths - 2, 0)


@mistake("gru")
def mean_over_neighbours(layer: ReplaceableLayer) -> None:
    """Every step reads the mean of its input and the one before."""
    _reading(layer, lambda x: np.concatenate([x[:1], 0.5 * x[1:] + 0.5 * x[:-1]]))


@mistake("lstm-peephole")
def inputs_one_step_late(layer: ReplaceableLayer) -> None:
    """Every step reads the input of the step before it, the first one zeros."""
    _reading(layer, lambda x: np.concatenate([0 * x[:1], x[:-1]]))


def _reading(layer: ReplaceableLayer, function: Callable[[Array], Array]) -> None:
    layer.wrap("unroll", lambda right, at, p, x: right(at, p, function(x) if len(x) else x))


@mistake("rnn")
def first_step_twice(layer: ReplaceableLayer) -> None:
    """The first step is made twice."""
    layer.wrap(
        "step",
        lambda right, at, p, x, s: right(at, p, x, right(at, p, x, s) if at.t == 0 else s),
    )


@mistake("gru-takes-new")
def outputs_averaged_in_time(layer: ReplaceableLayer) -> None:
    """An output is the mean of the new state and the old one."""
    layer.wrap("show", lambda right, at, new, old: right(at, (0.5 * new[0] + 0.5 * old[0],), old))


@mistake("gru-keeps-old", needs=("layers",))
def upper_levels_run_backwards(layer: ReplaceableLayer) -> None:
    """Every other level reads its input last step first."""

    def unroll(right: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        if at.level % 2 == 0:
            return right(at, p, x)
        y, final = right(at, p, layer.turn(1, x, at.lengths))
        return layer.turn_back(1, y, at.lengths), final

    layer.wrap("unroll", unroll)


@mistake("rnn")
def half_the_initial_state(layer: ReplaceableLayer) -> None:
    """The initial state is read times 1/2."""
    given_states(layer, lambda state: tuple(0.5 * s for s in state))


@mistake("lstm")
def initial_states_exchanged(layer: ReplaceableLayer) -> None:
    """The initial h is read as c, and c as h; final states come as they should."""
    given_states(layer, lambda state: state[::-1])


@mistake("gru-keeps-old")
def default_state_of_tenths(layer: ReplaceableLayer) -> None:
    """Without an initial state, every unit starts at 0.1."""
    layer.wrap(
        "read_state",
        lambda right, state, x: tuple(s + 0.1 * (state is None) for s in right(state, x)),
    )


@mistake("gru")
def final_state_averaged(layer: ReplaceableLayer) -> None:
    """The final state is the mean over rows' own and the initial one."""

    def write(
        right: WritePart, y: Array, final: State, lengths: Array | None
    ) -> tuple[Array, State]:
        initial = layer.given.state
        if initial is not None:
            final = tuple(0.5 * f + 0.5 * s for f, s in zip(final, initial, strict=True))
        return right(y, final, lengths)

    layer.wrap("write", write)


@mistake("lstm")
def flat_slope_of_the_sigmoid(layer: ReplaceableLayer) -> None:
    """The slope of the sigmoid counts as 1/4 on the way back."""

    def flat(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        s = pre_activation(p, letter, x, h, c)
        return instead(s, sigmoid(plain(s)), lambda d: d / 4)

    steps(layer, gate=flat)


@mistake("gru")
def recurrent_gradient_times_steps(layer: ReplaceableLayer) -> None:
    """The gradient of U is multiplied by the number of steps."""
    gives_named(layer, lambda name, d: d * len(layer.given.x) if name[0] == "U" else d)


@mistake("rnn")
def last_input_gradient_doubled(layer: ReplaceableLayer) -> None:
    """The gradient of the last step's x is twice what it should be."""
    gives(layer, lambda p: replace(p, x=np.concatenate([p.x[:-1], 2 * p.x[-1:]])))


@mistake("lstm")
def cotangents_damped(layer: ReplaceableLayer) -> None:
    """The cotangents of the states are multiplied by 0.99 at every step back."""
    after_step_vjp(layer, lambda at, dp, dx, d: (dp, dx, tuple(0.99 * s for s in d)))


@mistake("gru-takes-new")
def no_gradient_of_the_candidates_bias(layer: ReplaceableLayer) -> None:
    """The gradient of the candidate's bias is 0."""
    kept = np.array([1.0, 1.0, 0.0])[:, None]
    after_step_vjp(layer, lambda at, dp, dx, d: (changed(dp, b=dp.b * kept), dx, d))


@mistake("gru-keeps-old")
def last_row_not_summed(layer: ReplaceableLayer) -> None:
    """The gradient of W leaves out the last row of the batch, where there are more."""

    def vjp(right: StepVjpPart, at: At, p: Parameters, step: Step, d: State) -> StepGradients:
        dp, dx, d_old = right(at, p, step, d)
        if len(step.x) == 1:
            return dp, dx, d_old
        others = tuple(np.concatenate([a[:-1], 0 * a[-1:]]) for a in d)
        fewer, _, _ = right(at, p, step, others)
        return changed(dp, W=fewer.W), dx, d_old

    layer.wrap("step_vjp", vjp)


@mistake("gru")
def no_gradient_through_the_reset_gate(layer: ReplaceableLayer) -> None:
    """No cotangent passes through the reset gate."""

    def closed(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        right = gate(p, letter, x, h, c)
        return instead(right, plain(right), lambda d: 0 * d) if letter == "r" else right

    steps(layer, gate=closed)


@mistake("lstm-peephole")
def peephole_gradients_of_the_first_step(layer: ReplaceableLayer) -> None:
    """The gradients of the peepholes count the first step alone."""
    after_step_vjp(layer, lambda at, dp, dx, d: (changed(dp, p=dp.p * (at.t == 0)), dx, d))


@mistake("rnn", needs=("layers", "dropout"))
def dropout_of_the_input(layer: ReplaceableLayer) -> None:
    """In training, the input of the lowest level is dropped like that of the others."""
    layer.wrap("run", lambda right, inputs: right(replace(inputs, x=layer.drop(inputs.x))))


@mistake("gru", needs=("layers", "dropout"))
def kept_scaled_twice(layer: ReplaceableLayer) -> None:
    """What is kept in training is divided by (1 - p)^2."""
    rate = layer.case.dropout
    layer.wrap("mask", lambda right, shape: right(shape) / (1 - rate if rate < 1 else 1))


@mistake("lstm")
def larger_weights_in_training(layer: ReplaceableLayer) -> None:
    """In training, W is one hundredth larger."""
    reads(layer, lambda p: changed(p, W=p.W * 1.01) if layer.training else p)


@mistake("lstm")
def weights_one_call_late(layer: ReplaceableLayer) -> None:
    """Every call uses the weights of the call before it."""
    last: dict[str, Array] = {}

    def read(right: ReadPart, named: Mapping[str, Array]) -> Sequence[Parameters]:
        late = {name: last.get(name, np.array(plain(a))) for name, a in named.items()}
        last.update({name: np.array(plain(a)) for name, a in named.items()})
        return right({name: instead(a, late[name]) for name, a in named.items()})

    layer.wrap("read_parameters", read)


@mistake("rnn")
def bias_grows_with_calls(layer: ReplaceableLayer) -> None:
    """The bias is one thousandth larger at every call."""
    factors = (1 + k / 1000 for k in count())

    def run(right: RunPart, inputs: Inputs) -> Result:
        factor = next(factors)
        named = {n: a * factor if n[0] == "b" else a for n, a in inputs.parameters.items()}
        return right(replace(inputs, parameters=named))

    layer.wrap("run", run)


@mistake("gru")
def gradients_add_up(layer: ReplaceableLayer) -> None:
    """The gradients of parameters are added to those of the pull before, which stay."""
    sums: dict[str, Array] = {}

    def added(name: str, d: Array) -> Array:
        sums[name] = sums[name] + d if name in sums else d
        return sums[name]

    gives_named(layer, added)


def unknown_mistakes() -> tuple[Mutant, ...]:
    """Return all of them."""
    return tuple(_registered)
