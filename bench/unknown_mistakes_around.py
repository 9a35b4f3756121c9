"""Unknown mistakes around the equations: sequences, states, gradients, training, calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..reference.cell import Gates, State
from ..reference.functions import Array, sigmoid
from ..reference.parameters import Parameters
from ..verify.mutants.gradient import after_step_vjp
from ..verify.mutants.parts import changed, gate, gru_step, pre_activation
from ..verify.mutants.state import given_states
from ..verify.mutants.tape import instead, plain
from ..verify.mutants.workshop import At, Workshop
from ..verify.subjects.protocol import Cotangents, Inputs, Pulled, Result
from .unknown_mistakes import lstm, mistake


@mistake("rnn")
def every_third_step_skipped(layer: Workshop) -> None:
    """Every third step leaves the state as it is."""
    right = layer.step
    layer.step = lambda at, p, x, s: s if at.t % 3 == 2 else right(at, p, x, s)


@mistake("lstm", needs=("lengths",))
def rows_end_two_steps_early(layer: Workshop) -> None:
    """Every row ends two steps before its length."""
    layer.read_lengths = lambda lengths: None if lengths is None else np.maximum(lengths - 2, 0)


@mistake("gru")
def mean_over_neighbours(layer: Workshop) -> None:
    """Every step reads the mean of its input and the one before."""
    _reading(layer, lambda x: np.concatenate([x[:1], 0.5 * x[1:] + 0.5 * x[:-1]]))


@mistake("lstm-peephole")
def inputs_one_step_late(layer: Workshop) -> None:
    """Every step reads the input of the step before it, the first one zeros."""
    _reading(layer, lambda x: np.concatenate([0 * x[:1], x[:-1]]))


def _reading(layer: Workshop, function: Callable[[Array], Array]) -> None:
    right = layer.unroll
    layer.unroll = lambda at, p, x: right(at, p, function(x) if len(x) else x)


@mistake("rnn")
def first_step_twice(layer: Workshop) -> None:
    """The first step is made twice."""
    right = layer.step

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        return right(at, p, x, right(at, p, x, state) if at.t == 0 else state)

    layer.step = step


@mistake("gru-takes-new")
def outputs_averaged_in_time(layer: Workshop) -> None:
    """An output is the mean of the new state and the old one."""
    right = layer.show
    layer.show = lambda at, new, old: right(at, (0.5 * new[0] + 0.5 * old[0], *new[1:]), old)


@mistake("gru-keeps-old", needs=("layers",))
def upper_levels_run_backwards(layer: Workshop) -> None:
    """Every other level reads its input last step first."""
    right = layer.unroll

    def unroll(at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        if at.level % 2 == 0:
            return right(at, p, x)
        y, final = right(at, p, layer.turn(1, x, at.lengths))
        return layer.turn_back(1, y, at.lengths), final

    layer.unroll = unroll


@mistake("rnn")
def half_the_initial_state(layer: Workshop) -> None:
    """The initial state is read times 1/2."""
    given_states(layer, lambda state: tuple(0.5 * s for s in state))


@mistake("lstm")
def initial_states_exchanged(layer: Workshop) -> None:
    """The initial h is read as c, and c as h; final states come as they should."""
    given_states(layer, lambda state: state[::-1])


@mistake("gru-keeps-old")
def default_state_of_tenths(layer: Workshop) -> None:
    """Without an initial state, every unit starts at 0.1."""
    right = layer.read_state
    layer.read_state = lambda state, x: tuple(s + 0.1 * (state is None) for s in right(state, x))


@mistake("gru")
def final_state_averaged(layer: Workshop) -> None:
    """The final state is the mean over rows' own and the initial one."""
    write = layer.write

    def averaged(y: Array, final: State, lengths: Array | None) -> tuple[Array, State]:
        given = layer.given.state
        if given is not None:
            final = tuple(0.5 * f + 0.5 * s for f, s in zip(final, given, strict=True))
        return write(y, final, lengths)

    layer.write = averaged


@mistake("lstm")
def flat_slope_of_the_sigmoid(layer: Workshop) -> None:
    """The slope of the sigmoid counts as 1/4 on the way back."""

    def flat(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        s = pre_activation(p, letter, x, h, c)
        return instead(s, sigmoid(plain(s)), lambda d: d / 4)

    lstm(layer, gate=flat)


def _after(layer: Workshop, spoil: Callable[[Pulled], Pulled]) -> None:
    right = layer.give_gradients
    layer.give_gradients = lambda pulled, given: right(spoil(pulled), given)


@mistake("gru")
def recurrent_gradient_times_steps(layer: Workshop) -> None:
    """The gradient of U is multiplied by the number of steps."""

    def spoil(pulled: Pulled) -> Pulled:
        T = len(pulled.x)
        named = {k: d * T if k[0] == "U" else d for k, d in pulled.parameters.items()}
        return replace(pulled, parameters=named)

    _after(layer, spoil)


@mistake("rnn")
def last_input_gradient_doubled(layer: Workshop) -> None:
    """The gradient of the last step's x is twice what it should be."""
    _after(layer, lambda p: replace(p, x=np.concatenate([p.x[:-1], 2 * p.x[-1:]])))


@mistake("lstm")
def cotangents_damped(layer: Workshop) -> None:
    """The cotangents of the states are multiplied by 0.99 at every step back."""
    after_step_vjp(layer, lambda at, dp, dx, d: (dp, dx, tuple(0.99 * s for s in d)))


@mistake("gru-takes-new")
def no_gradient_of_the_candidates_bias(layer: Workshop) -> None:
    """The gradient of the candidate's bias is 0."""
    kept = np.array([1.0, 1.0, 0.0])[:, None]
    after_step_vjp(layer, lambda at, dp, dx, d: (changed(dp, b=dp.b * kept), dx, d))


@mistake("gru-keeps-old")
def last_row_not_summed(layer: Workshop) -> None:
    """The gradient of W leaves out the last row of the batch, where there are more."""
    right = layer.step_vjp

    def vjp(
        at: At, p: Parameters, x: Array, state: State, gates: Gates, new: State, d: State
    ) -> tuple[Parameters, Array, State]:
        dp, dx, d_old = right(at, p, x, state, gates, new, d)
        if len(x) == 1:
            return dp, dx, d_old
        seen = tuple(np.concatenate([a[:-1], 0 * a[-1:]]) for a in d)
        fewer, _, _ = right(at, p, x, state, gates, new, seen)
        return changed(dp, W=fewer.W), dx, d_old

    layer.step_vjp = vjp


@mistake("gru")
def no_gradient_through_the_reset_gate(layer: Workshop) -> None:
    """No cotangent passes through the reset gate."""

    def closed(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        right = gate(p, letter, x, h, c)
        return instead(right, plain(right), lambda d: 0 * d) if letter == "r" else right

    layer.step = lambda at, p, x, s: gru_step("gru", p, x, s, gate=closed)


@mistake("lstm-peephole")
def peephole_gradients_of_the_first_step(layer: Workshop) -> None:
    """The gradients of the peepholes count the first step alone."""
    after_step_vjp(layer, lambda at, dp, dx, d: (changed(dp, p=dp.p * (at.t == 0)), dx, d))


@mistake("rnn", needs=("layers", "dropout"))
def dropout_of_the_input(layer: Workshop) -> None:
    """In training, the input of the lowest level is dropped like that of the others."""
    right = layer.run
    layer.run = lambda inputs: right(replace(inputs, x=layer.drop(inputs.x)))


@mistake("gru", needs=("layers", "dropout"))
def kept_scaled_twice(layer: Workshop) -> None:
    """What is kept in training is divided by (1 - p)^2."""
    right = layer.mask

    def mask(shape: tuple[int, ...]) -> Array:
        rate = layer.case.dropout
        return right(shape) / (1 - rate if rate < 1 else 1)

    layer.mask = mask


@mistake("lstm")
def larger_weights_in_training(layer: Workshop) -> None:
    """In training, W is one hundredth larger."""
    right = layer.step

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        return right(at, changed(p, W=p.W * 1.01) if layer.training else p, x, state)

    layer.step = step


@mistake("lstm")
def weights_one_call_late(layer: Workshop) -> None:
    """Every call uses the weights of the call before it."""
    right = layer.read_parameters
    last: dict[str, Array] = {}

    def read(named: Mapping[str, Array]) -> Sequence[Parameters]:
        late = {name: last.get(name, np.array(plain(a))) for name, a in named.items()}
        last.update({name: np.array(plain(a)) for name, a in named.items()})
        return right({name: instead(a, late[name]) for name, a in named.items()})

    layer.read_parameters = read


@mistake("rnn")
def bias_grows_with_calls(layer: Workshop) -> None:
    """The bias is one thousandth larger at every call."""
    right = layer.run
    calls: list[None] = []

    def run(inputs: Inputs) -> Result:
        calls.append(None)
        larger = 1 + (len(calls) - 1) / 1000
        named = {n: a * larger if n[0] == "b" else a for n, a in inputs.parameters.items()}
        return right(replace(inputs, parameters=named))

    layer.run = run


@mistake("gru")
def gradients_add_up(layer: Workshop) -> None:
    """The gradients of parameters are added to those of the pull before, which stay."""
    right = layer.give_gradients
    sums: dict[str, Array] = {}

    def give(pulled: Pulled, given: Cotangents) -> Pulled:
        for name, d in pulled.parameters.items():
            sums[name] = sums[name] + d if name in sums else d
        return right(replace(pulled, parameters=dict(sums)), given)

    layer.give_gradients = give
