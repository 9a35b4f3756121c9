"""Wrong layers outside of the catalogue, for which a diagnosis must find no explanation.

Each changes a ``ReplaceableLayer``, as mutants do. None equals a mutant, two mutants together,
another order of gates, or an unread array: a diagnosis that names one of these is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...reference.cell import State
from ...reference.cells.gru import state_keeps_old, state_takes_new
from ...reference.cells.lstm import cell_state, hidden_state
from ...reference.functions import Array, minimum, sigmoid, switch, tanh
from ...reference.parameters import Parameters
from ...reference.sequence import Step
from ..numbers.tape import instead, plain, rearranged
from . import Mutant
from .catalogue import in_place_of
from .gradient import after_step_vjp, gives, gives_named
from .parts import affine, changed, gate, pre_activation, reads, steps, takes, with_gates
from .replaceable_layer import (
    At,
    Part,
    ReadPart,
    ReplaceableLayer,
    StepGradients,
    StepVjpPart,
    UnrollPart,
    WritePart,
)
from .state import given_states

Function = Callable[[Array], Array]


def mistake(
    id: str,
    cell: str,
    statement: str,
    change: Part,
    *,
    part: str = "",
    needs: tuple[str, ...] = (),
) -> Mutant:
    """Return a mistake of one cell; with ``part`` the change replaces that part."""
    return Mutant(id, statement, in_place_of(part, change), (cell,), needs=needs)


def rnn(squash: Function, finish: Callable[[Array, Array], Array] = lambda new, old: new) -> Part:
    """Return the step of an RNN with another activation, or another function of new and old."""
    return lambda layer, original, at, p, x, s: (finish(squash(affine(p, "a", x, s[0])), s[0]),)


def softly(s: Array) -> Array:
    """Return s / (1 + |s|)."""
    return s / (1 + switch(s, -s, s))


def reading(function: Function) -> Part:
    """Return a pass that reads a function of its input, where there is any."""
    return lambda layer, original, at, p, x: original(at, p, function(x) if len(x) else x)


def forget_gate_reads_the_state_before_last(
    layer: ReplaceableLayer, original: Part, at: At, p: Parameters, x: Array, state: State
) -> State:
    """Step an LSTM whose forget gate reads h of two steps ago."""
    h, c = state
    place = at.level, at.direction
    late = layer.memory.get(place, h) if at.t else h
    layer.memory[place] = h
    i, o = gate(p, "i", x, h, c), gate(p, "o", x, h, c)
    c_new = cell_state(gate(p, "f", x, late, c), c, i, tanh(affine(p, "g", x, h)))
    return hidden_state(o, c_new), c_new


def update_gate_reads_the_reset_state(
    layer: ReplaceableLayer, original: Part, at: At, p: Parameters, x: Array, state: State
) -> State:
    """Step a GRU whose update gate reads r h."""
    (h,) = state
    r = gate(p, "r", x, h, h)
    return (state_keeps_old(gate(p, "z", x, r * h, h), tanh(affine(p, "n", x, r * h)), h),)


def update_gate_of_the_mean_unit(
    layer: ReplaceableLayer, original: Part, at: At, p: Parameters, x: Array, state: State
) -> State:
    """Step a GRU whose units share one update gate."""
    (h,) = state
    r, z = gate(p, "r", x, h, h), gate(p, "z", x, h, h)
    mean = z @ np.full((layer.case.H, layer.case.H), 1 / layer.case.H, z.dtype)
    return (state_takes_new(mean, tanh(affine(p, "n", x, r * h)), h),)


def upper_levels_run_backwards(
    layer: ReplaceableLayer, original: UnrollPart, at: At, p: Parameters, x: Array
) -> tuple[Array, State]:
    """Reverse the input and the outputs of every other level."""
    if at.level % 2 == 0:
        return original(at, p, x)
    y, final = original(at, p, layer.turn(1, x, at.lengths))
    return layer.turn_back(1, y, at.lengths), final


def final_state_averaged(
    layer: ReplaceableLayer, original: WritePart, y: Array, final: State, lengths: Array | None
) -> tuple[Array, State]:
    """Average the initial and the final state, if there is an initial one."""
    initial = layer.inputs.state or final
    mean = tuple(0.5 * f + 0.5 * s for f, s in zip(final, initial, strict=True))
    return original(y, mean, lengths)


def flat_slope(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return a gate whose slope counts as 1/4."""
    s = pre_activation(p, letter, x, h, c)
    return instead(s, sigmoid(plain(s)), lambda d: d / 4)


def last_row_not_summed(
    layer: ReplaceableLayer, original: StepVjpPart, at: At, p: Parameters, step: Step, d: State
) -> StepGradients:
    """Pull back, and compute the gradient of W without the last row."""
    dp, dx, d_old = original(at, p, step, d)
    if len(step.x) == 1:
        return dp, dx, d_old
    others = tuple(np.concatenate([a[:-1], 0 * a[-1:]]) for a in d)
    fewer, _, _ = original(at, p, step, others)
    return changed(dp, W=fewer.W), dx, d_old


def closed_reset_gate(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return a gate; the gate r passes no cotangent."""
    value = gate(p, letter, x, h, c)
    return instead(value, plain(value), lambda d: 0 * d) if letter == "r" else value


def weights_one_call_late(
    layer: ReplaceableLayer, original: ReadPart, named: Mapping[str, Array]
) -> Sequence[Parameters]:
    """Keep the weights of every call for the next one."""
    now = {name: np.array(plain(a)) for name, a in named.items()}
    late = now | layer.memory
    layer.memory.update(now)
    return original({name: instead(a, late[name]) for name, a in named.items()})


def bias_grows_with_calls(
    layer: ReplaceableLayer, original: ReadPart, named: Mapping[str, Array]
) -> Sequence[Parameters]:
    """Count calls, and let the biases grow."""
    calls = layer.memory["calls"] = layer.memory.get("calls", -1) + 1
    return original({n: a * (1 + calls / 1000) if n[0] == "b" else a for n, a in named.items()})


def gradients_add_up(layer: ReplaceableLayer) -> None:
    """Keep the sums of gradients."""
    sums: dict[str, Array] = {}

    def added(name: str, d: Array) -> Array:
        sums[name] = sums[name] + d if name in sums else d
        return sums[name]

    gives_named(layer, added)


UNKNOWN_MISTAKES = (
    mistake("softsign", "rnn", "The activation is softsign, s / (1 + |s|), not tanh.",
            rnn(softly), part="step"),
    mistake("scaled_tanh", "rnn", "The state is 1.7159 tanh(2 s / 3).",
            rnn(lambda s: 1.7159 * tanh(s * (2 / 3))), part="step"),
    mistake("rational_tanh", "rnn",
            "The tanh is its rational approximation s (27 + s^2) / (27 + 9 s^2).",
            rnn(lambda s: s * (27 + s * s) / (27 + 9 * s * s)), part="step"),
    mistake("hard_tanh", "lstm", "The candidate is clip(s, -1, 1).",
            lambda layer: steps(
                layer, squash=lambda s: -minimum(-minimum(s, 1 + 0 * s), 1 + 0 * s))),
    mistake("flatter_sigmoid", "lstm", "Gates are sigmoid(0.9 s).",
            lambda layer: steps(
                layer, gate=lambda *arguments: sigmoid(0.9 * pre_activation(*arguments)))),
    mistake("sigmoid_of_softsign", "lstm-peephole", "Gates are (1 + softsign(s)) / 2.",
            lambda layer: steps(
                layer, gate=lambda *arguments: 0.5 + 0.5 * softly(pre_activation(*arguments)))),
    mistake("decaying_cell_state", "lstm", "The cell state decays: c' = f c + i g - 0.01 c.",
            lambda layer: steps(layer, blend=lambda f, c, i, g: f * c + i * g - 0.01 * c)),
    mistake("no_tanh_at_the_output", "lstm", "The output is h = o c, without tanh.",
            lambda layer: steps(layer, show=lambda o, c: o * c)),
    mistake("tanh_around_the_output", "lstm-peephole",
            "The output is h = tanh(o c), not o tanh(c).",
            lambda layer: steps(layer, show=lambda o, c: tanh(o * c))),
    mistake("forget_gate_reads_the_state_before_last", "lstm",
            "The forget gate reads h of two steps ago.", forget_gate_reads_the_state_before_last,
            part="step"),
    mistake("peepholes_see_a_squashed_state", "lstm-peephole", "Peepholes read tanh(c).",
            lambda layer: steps(layer, gate=lambda p, k, x, h, c: gate(p, k, x, h, tanh(c)))),
    mistake("half_a_forget_bias", "lstm", "1/2 is added to the bias of the forget gate.",
            lambda layer: reads(layer, lambda p: with_gates(p, b_f=p.b_f + 0.5))),
    mistake("leaky_state", "rnn", "The state leaks: h' = 0.9 tanh(s) + 0.1 h.",
            rnn(tanh, lambda new, old: 0.9 * new + 0.1 * old), part="step"),
    mistake("squared_update_gate", "gru", "The update gate is squared before it is used.",
            lambda layer: steps(layer, gate=lambda p, k, *others: (
                (g := gate(p, k, *others)) * (g if k == "z" else 1)))),
    mistake("reset_of_everything", "gru", "The reset gate multiplies the candidate's input as "
            "well: n = tanh(r (x W + h U + b)).",
            lambda layer: steps(layer, candidate=lambda p, x, h, r: tanh(
                r * (affine(p, "n", x, h) + p.b_hn)))),
    mistake("reset_gate_of_the_other_polarity", "gru-takes-new", "1 - r stands for r.",
            lambda layer: reads(layer, lambda p: with_gates(
                p, W_r=-p.W_r, U_r=-p.U_r, b_r=-p.b_r))),
    mistake("update_gate_reads_the_reset_state", "gru-keeps-old",
            "The update gate reads r h, not h.", update_gate_reads_the_reset_state, part="step"),
    mistake("update_gate_of_the_mean_unit", "gru-takes-new",
            "All units share one update gate, the mean over them.",
            update_gate_of_the_mean_unit, part="step"),
    mistake("input_weights_scaled", "lstm", "W is divided by the square root of H.",
            lambda layer: reads(layer, lambda p: changed(p, W=p.W * layer.case.H**-0.5))),
    mistake("recurrent_weights_symmetrised", "rnn",
            "U is replaced by the mean of U and its transpose.",
            lambda layer: reads(layer, lambda p: changed(
                p, U=0.5 * p.U + 0.5 * rearranged(p.U, lambda U: U.swapaxes(1, 2))))),
    mistake("diagonal_zeroed", "gru",
            "No unit reads its own old state through U: its diagonal counts as 0.",
            lambda layer: reads(layer, lambda p: changed(
                p, U=p.U * (1 - np.eye(layer.case.H, dtype=p.U.dtype))))),
    mistake("bias_times_step", "rnn", "At step t the bias is added t + 1 times.",
            lambda layer, original, at, p, *others: original(
                at, changed(p, b=p.b * (at.t + 1)), *others),
            part="step"),
    mistake("candidate_weights_transposed", "gru-keeps-old",
            "U of the candidate alone is transposed.",
            lambda layer: reads(layer, lambda p: with_gates(
                p, U_n=rearranged(p.U_n, np.transpose)))),
    mistake("weights_rounded", "lstm", "W is rounded to multiples of 1/64.",
            lambda layer: reads(layer, lambda p: changed(
                p, W=instead(p.W, np.round(plain(p.W) * 64) / 64)))),
    mistake("peepholes_of_the_next_unit", "lstm-peephole",
            "Every unit uses the peepholes of the unit before it.",
            lambda layer: reads(layer, lambda p: changed(
                p, p=rearranged(p.p, lambda a: np.roll(a, 1, axis=-1))))),

    # Around the equations: sequences, states, gradients, training, calls.
    mistake("every_third_step_skipped", "rnn", "Every third step leaves the state as it is.",
            lambda layer, original, at, p, x, s: s if at.t % 3 == 2 else original(at, p, x, s),
            part="step"),
    mistake("rows_end_two_steps_early", "lstm", "Every row ends two steps before its length.",
            lambda layer, original, n: None if n is None else np.maximum(n - 2, 0),
            part="read_lengths", needs=("lengths",)),
    mistake("mean_over_neighbours", "gru",
            "Every step reads the mean of its input and the one before.",
            reading(lambda x: np.concatenate([x[:1], 0.5 * x[1:] + 0.5 * x[:-1]])), part="unroll"),
    mistake("inputs_one_step_late", "lstm-peephole",
            "Every step reads the input of the step before it, the first one zeros.",
            reading(lambda x: np.concatenate([0 * x[:1], x[:-1]])), part="unroll"),
    mistake("first_step_twice", "rnn", "The first step is made twice.",
            lambda layer, original, at, p, x, s: original(
                at, p, x, s if at.t else original(at, p, x, s)), part="step"),
    mistake("outputs_averaged_in_time", "gru-takes-new",
            "An output is the mean of the new state and the old one.",
            lambda layer, original, at, new, old: original(at, (0.5 * new[0] + 0.5 * old[0],), old),
            part="show"),
    mistake("upper_levels_run_backwards", "gru-keeps-old",
            "Every other level reads its input last step first.",
            upper_levels_run_backwards, part="unroll", needs=("layers",)),
    mistake("half_the_initial_state", "rnn", "The initial state is read times 1/2.",
            lambda layer: given_states(layer, lambda state: tuple(0.5 * s for s in state))),
    mistake("initial_states_exchanged", "lstm",
            "The initial h is read as c, and c as h; final states come as they should.",
            lambda layer: given_states(layer, lambda state: state[::-1])),
    mistake("default_state_of_tenths", "gru-keeps-old",
            "Without an initial state, every unit starts at 0.1.",
            lambda layer, original, state, x: tuple(
                s + 0.1 * (state is None) for s in original(state, x)), part="read_state"),
    mistake("final_state_averaged", "gru",
            "The final state is the mean over rows' own and the initial one.",
            final_state_averaged, part="write"),
    mistake("flat_slope_of_the_sigmoid", "lstm",
            "The slope of the sigmoid counts as 1/4 on the way back.",
            lambda layer: steps(layer, gate=flat_slope)),
    mistake("recurrent_gradient_times_steps", "gru",
            "The gradient of U is multiplied by the number of steps.",
            lambda layer: gives_named(
                layer, lambda name, d: d * len(layer.inputs.x) if name[0] == "U" else d)),
    mistake("last_input_gradient_doubled", "rnn",
            "The gradient of the last step's x is twice what it should be.",
            lambda layer: gives(layer, lambda pulled: replace(
                pulled, x=np.concatenate([pulled.x[:-1], 2 * pulled.x[-1:]])))),
    mistake("cotangents_damped", "lstm",
            "The cotangents of the states are multiplied by 0.99 at every step back.",
            lambda layer: after_step_vjp(
                layer, lambda at, dp, dx, d: (dp, dx, tuple(0.99 * s for s in d)))),
    mistake("no_gradient_of_the_candidates_bias", "gru-takes-new",
            "The gradient of the candidate's bias is 0.",
            lambda layer: after_step_vjp(
                layer, lambda at, dp, dx, d: (with_gates(dp, b_n=0 * dp.b_n), dx, d))),
    mistake("last_row_not_summed", "gru-keeps-old",
            "The gradient of W leaves out the last row of the batch, where there are more.",
            last_row_not_summed, part="step_vjp"),
    mistake("no_gradient_through_the_reset_gate", "gru",
            "No cotangent passes through the reset gate.",
            lambda layer: steps(layer, gate=closed_reset_gate)),
    mistake("peephole_gradients_of_the_first_step", "lstm-peephole",
            "The gradients of the peepholes count the first step alone.",
            lambda layer: after_step_vjp(
                layer, lambda at, dp, dx, d: (changed(dp, p=dp.p * (at.t == 0)), dx, d))),
    mistake("dropout_of_the_input", "rnn",
            "In training, the input of the lowest level is dropped like that of the others.",
            lambda layer: takes(layer, lambda inputs: replace(inputs, x=layer.drop(inputs.x))),
            needs=("layers", "dropout")),
    mistake("kept_scaled_twice", "gru", "What is kept in training is divided by (1 - p)^2.",
            lambda layer, original, shape: original(shape) / (
                1 - layer.case.dropout if layer.case.dropout < 1 else 1),
            part="mask", needs=("layers", "dropout")),
    mistake("larger_weights_in_training", "lstm", "In training, W is one hundredth larger.",
            lambda layer: reads(
                layer, lambda p: changed(p, W=p.W * 1.01) if layer.training else p)),
    mistake("weights_one_call_late", "lstm",
            "Every call uses the weights of the call before it.", weights_one_call_late,
            part="read_parameters"),
    mistake("bias_grows_with_calls", "rnn",
            "The bias is one thousandth larger at every call.", bias_grows_with_calls,
            part="read_parameters"),
    mistake("gradients_add_up", "gru",
            "The gradients of parameters are added to those of the pull before, which stay.",
            gradients_add_up),
)  # fmt: skip
