"""A right forward pass, and a step's or a sequence's way back with a mistake in it (G)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ...reference.cell import Gates, State
from ...reference.functions import Array, tanh
from ...reference.parameters import Parameters
from ...reference.sequence import Step, Unrolled, only, unroll
from ..numbers.tape import Pull, custom
from ..subjects.protocol import Cotangents, Inputs, Pulled
from .catalogue import mutant
from .parts import PLAIN, RECURRENT, changed
from .replaceable_layer import At, ReplaceableLayer


def after_step_vjp(
    layer: ReplaceableLayer,
    spoil: Callable[[At, Parameters, Array, State], tuple[Parameters, Array, State]],
) -> None:
    """Let every step's gradients (dp, dx, dold) be a function of the right ones."""
    right = layer.step_vjp

    def vjp(
        at: At, p: Parameters, x: Array, state: State, gates: Gates, new: State, d: State
    ) -> tuple[Parameters, Array, State]:
        return spoil(at, *right(at, p, x, state, gates, new, d))

    layer.step_vjp = vjp


@mutant(
    "G03",
    statement="The backward pass uses the steps' Jacobians in forward order instead of last step "
    "first.",
    cells=PLAIN,
    models="elixir-nx/axon#646",
    killed_by=("gradient",),
    fix="go back through the steps last first: for t = T - 1, ..., 0, use the Jacobian of "
    "step t itself",
)
def jacobians_in_forward_order(layer: ReplaceableLayer) -> None:
    def unrolled(at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        def rule(*arrays: Array) -> tuple[Sequence[Array], Pull]:
            q = Parameters(p.shapes, dict(zip(p, arrays[: len(p)], strict=True)))
            x, start = arrays[len(p)], arrays[len(p) + 1 :]
            run = unroll(layer.cell, q, x, start, at.lengths)

            def pull(dy: Array, *dfinal: Array) -> Sequence[Array]:
                dp, dx, d0 = _mirrored(layer, q, run, dy, dfinal)
                return [*dp.values(), dx, *d0]

            return [run.y, *run.final], pull

        y, *final = custom(rule, *p.values(), x, *at.start)
        return y, tuple(final)

    layer.unroll = unrolled


def _mirrored(
    layer: ReplaceableLayer, p: Parameters, run: Unrolled[Array], dy: Array, dfinal: State
) -> tuple[Parameters, Array, State]:
    """Backpropagate, but pull each state's cotangent through the step at the mirrored time."""
    dp, dx, d = p.map(np.zeros_like), np.zeros_like(run.x), dfinal
    for t in reversed(range(len(run.steps))):
        step = run.steps[t]
        arriving = (only(step.active, d[0] + dy[t]), *(only(step.active, s) for s in d[1:]))
        skipping = tuple(s - only(step.active, s) for s in d)
        dp_t, dx_t, _ = _step_pulled(layer, p, step, arriving)
        _, _, d_old = _step_pulled(layer, p, run.steps[-1 - t], arriving)
        dp, dx[t] = dp + dp_t, only(step.active, dx_t)
        d = tuple(o + s for o, s in zip(d_old, skipping, strict=True))
    return dp, dx, d


def _step_pulled(
    layer: ReplaceableLayer, p: Parameters, step: Step, d: State
) -> tuple[Parameters, Array, State]:
    return layer.cell.vjp(p, step.x, step.state, step.gates, step.new, d)


@mutant(
    "G06",
    statement="No gradient flows through the hidden state from one step to the step before.",
    cells=RECURRENT,
    models="ooples/AiDotNet#722",
    killed_by=("gradient-window", "gradient"),
    fix="carry dh from every step to the one before it, and add that step's dy: look for a detach",
)
def no_cotangent_between_steps(layer: ReplaceableLayer) -> None:
    def spoil(at: At, dp: Parameters, dx: Array, d_old: State) -> tuple[Parameters, Array, State]:
        return dp, dx, (0 * d_old[0], *d_old[1:]) if at.t else d_old

    after_step_vjp(layer, spoil)


@mutant(
    "G07",
    statement="The backward pass multiplies the gradient of the input gate by i instead of by "
    "the candidate g.",
    cells=("lstm",),
    models="wvabrinskas/Neuron#181",
    killed_by=("gradient",),
    fix="use g, not i, where g belongs: di = dc g, and dz_g = dc i (1 - g^2)",
)
def input_gate_times_itself(layer: ReplaceableLayer) -> None:
    right = layer.step_vjp
    layer.step_vjp = lambda at, p, x, state, gates, new, d: right(
        at, p, x, state, {**gates, "g": gates["i"]}, new, d
    )


@mutant(
    "G07b",
    statement="The backward pass takes the slope of tanh at an output that has already been "
    "through tanh.",
    cells=("rnn", "lstm"),
    models="wvabrinskas/Neuron#181",
    killed_by=("gradient",),
    fix="apply tanh once in its slope: 1 - h^2 in a tanh RNN, 1 - tanh(c)^2 in an LSTM",
)
def slope_of_tanh_taken_twice(layer: ReplaceableLayer) -> None:
    right = layer.step_vjp
    layer.step_vjp = lambda at, p, x, state, gates, new, d: right(
        at, p, x, state, gates, (*new[:-1], tanh(new[-1])), d
    )


@mutant(
    "G08",
    statement="The gradient of U is computed with the new hidden state instead of the previous "
    "one.",
    cells=("rnn", "lstm"),
    models="wvabrinskas/Neuron#181",
    killed_by=("gradient",),
    fix="use the old state in the gradient of U: dU = sum of h_{t-1}^T dz_t, not of h_t^T dz_t",
)
def gradient_of_u_with_the_new_state(layer: ReplaceableLayer) -> None:
    right = layer.step_vjp

    def vjp(
        at: At, p: Parameters, x: Array, state: State, gates: Gates, new: State, d: State
    ) -> tuple[Parameters, Array, State]:
        dp, dx, d_old = right(at, p, x, state, gates, new, d)
        late, _, _ = right(at, p, x, (new[0], *state[1:]), gates, new, d)
        return changed(dp, U=late.U), dx, d_old

    layer.step_vjp = vjp


@mutant(
    "G09",
    statement="The biases of the input and output gates receive the gradient of the forget "
    "gate's bias.",
    cells=("lstm",),
    models="hanbt/learn_dl#53",
    killed_by=("gradient",),
    fix="give every gate its own bias gradient: db_i = sum of dz_i, db_o = sum of dz_o, not "
    "of dz_f",
)
def bias_gradients_all_of_the_forget_gate(layer: ReplaceableLayer) -> None:
    def spoil(at: At, dp: Parameters, dx: Array, d_old: State) -> tuple[Parameters, Array, State]:
        return changed(dp, b=np.stack([dp.b_f, dp.b_f, dp.b_g, dp.b_f])), dx, d_old

    after_step_vjp(layer, spoil)


@mutant(
    "G14",
    statement="The backward pass destroys the saved gates, so a second backward pass through the "
    "same run is wrong.",
    cells=("lstm", "gru"),
    models="pytorch/pytorch#1532",
    killed_by=("backward-twice",),
    fix="leave the saved gates as they are on the way back: write gradients into arrays of "
    "their own",
)
def saved_gates_destroyed_on_the_way_back(layer: ReplaceableLayer) -> None:
    right = layer.step_vjp

    def vjp(
        at: At, p: Parameters, x: Array, state: State, gates: Gates, new: State, d: State
    ) -> tuple[Parameters, Array, State]:
        pulled = right(at, p, x, state, gates, new, d)
        for values in gates.values():
            np.asarray(values)[...] = 0
        return pulled

    layer.step_vjp = vjp


@mutant(
    "G15",
    statement="The gradient of the peepholes counts the first row only instead of the sum over "
    "the batch.",
    cells=("lstm-peephole", "lstm-peephole-old", "lstm-phased"),
    models="tensorflow/tensorflow#34171",
    killed_by=("gradient",),
    fix="sum the peepholes' gradients over the batch (dp_i = sum over rows of dz_i c), not "
    "row 0 alone",
)
def peephole_gradient_of_one_row(layer: ReplaceableLayer) -> None:
    right = layer.step_vjp

    def vjp(
        at: At, p: Parameters, x: Array, state: State, gates: Gates, new: State, d: State
    ) -> tuple[Parameters, Array, State]:
        def first(arrays: State) -> State:
            return tuple(a[:1] for a in arrays)

        dp, dx, d_old = right(at, p, x, state, gates, new, d)
        row = {name: a[:1] for name, a in gates.items()}
        of_row, _, _ = right(at, p, x[:1], first(state), row, first(new), first(d))
        return changed(dp, p=of_row.p), dx, d_old

    layer.step_vjp = vjp


@mutant(
    "G18",
    statement="The gradient of U leaves out the first step, as if the initial state were 0.",
    cells=RECURRENT,
    killed_by=("gradient",),
    fix="count the first step in dU, too: its h_{t-1} is the initial state, which need not be 0",
)
def gradient_of_u_without_the_first_step(layer: ReplaceableLayer) -> None:
    def spoil(at: At, dp: Parameters, dx: Array, d_old: State) -> tuple[Parameters, Array, State]:
        return dp if at.t else changed(dp, U=0 * dp.U), dx, d_old

    after_step_vjp(layer, spoil)


@mutant(
    "G20",
    statement="The backward pass clips gradients between steps to the range from −1 to 1, "
    "although nobody asked for it.",
    cells=PLAIN,
    killed_by=("vjp-linearity", "gradient"),
    fix="remove the clipping of gradients between steps; leave it to the optimiser",
)
def gradients_clipped(layer: ReplaceableLayer) -> None:
    def spoil(at: At, dp: Parameters, dx: Array, d_old: State) -> tuple[Parameters, Array, State]:
        return dp, dx, tuple(np.clip(d, -1, 1) for d in d_old)

    after_step_vjp(layer, spoil)


# Cotangents that are not read, gradients that are not handed out as they should be (G).


@mutant(
    "G01",
    statement="The backward pass ignores the gradient that arrives at the final cell state.",
    cells=("lstm", "lstm-peephole"),
    models="deeplearning4j/deeplearning4j#8838",
    killed_by=("cotangents", "gradient"),
    fix="add the cotangent on the final c to dc at each row's last step",
)
def cotangent_on_the_final_cell_state_dropped(layer: ReplaceableLayer) -> None:
    layer.read_cotangents = lambda given: (given[0], (given[1][0], None))


@mutant(
    "G02",
    statement="The backward pass ignores the gradient that arrives at the final hidden state.",
    cells=RECURRENT,
    models="chainer/chainer#2505",
    killed_by=("cotangents", "gradient"),
    fix="add the cotangent on the final h to dh at each row's last step",
)
def cotangent_on_the_final_hidden_state_dropped(layer: ReplaceableLayer) -> None:
    layer.read_cotangents = lambda given: (given[0], (None, *given[1][1:]))


@mutant(
    "G02b",
    statement="The backward pass ignores gradients at the final states when no gradient arrives "
    "at the outputs.",
    cells=PLAIN,
    killed_by=("cotangents",),
    fix="take a missing cotangent on y as zeros, and read those on the final states all the same",
)
def final_states_count_only_beside_outputs(layer: ReplaceableLayer) -> None:
    layer.read_cotangents = lambda given: (
        given if given[0] is not None else (None, tuple(None for _ in given[1]))
    )


@mutant(
    "G10",
    statement="The biases of all layers above the lowest have a gradient of 0.",
    cells=PLAIN,
    models="apache/mxnet#17872",
    killed_by=("gradient",),
    needs=("layers",),
    fix="compute the bias gradients of every layer, not of the lowest alone",
)
def bias_gradient_of_the_lowest_level_only(layer: ReplaceableLayer) -> None:
    right = layer.give_gradients

    def give(pulled: Pulled, given: Cotangents) -> Pulled:
        named = {
            name: 0 * d if name[0] == "b" and "_l0" not in name else d
            for name, d in pulled.parameters.items()
        }
        return right(replace(pulled, parameters=named), given)

    layer.give_gradients = give


@mutant(
    "G11",
    statement="The gradients of the biases are averaged over the batch instead of summed.",
    cells=PLAIN,
    killed_by=("gradient",),
    fix="sum the gradients of biases over the batch; do not take the mean (no division by B)",
)
def bias_gradient_averaged_over_the_batch(layer: ReplaceableLayer) -> None:
    right = layer.give_gradients

    def give(pulled: Pulled, given: Cotangents) -> Pulled:
        B = pulled.x.shape[1]
        named = {name: d / B if name[0] == "b" else d for name, d in pulled.parameters.items()}
        return right(replace(pulled, parameters=named), given)

    layer.give_gradients = give


@mutant(
    "G12",
    statement="The backward pass writes the gradient of x over the caller's gradient of the "
    "outputs.",
    cells=PLAIN,
    models="apache/mxnet#18203",
    killed_by=("purity",),
    fix="write the gradient of x into an array of its own, not into the cotangent on y",
)
def gradient_of_x_over_the_cotangent(layer: ReplaceableLayer) -> None:
    right = layer.give_gradients

    def give(pulled: Pulled, given: Cotangents) -> Pulled:
        dy, width = given[0], pulled.x.shape[2]
        if dy is not None and dy.flags.writeable:
            dy[:, :, :width] = pulled.x[:, :, : dy.shape[2]]
        return right(pulled, given)

    layer.give_gradients = give


@mutant(
    "G13",
    statement="The backward pass reads the gradient of the outputs as if it were contiguous, "
    "whatever its strides.",
    cells=PLAIN,
    models="pytorch/pytorch#619",
    killed_by=("strided",),
    fix="honour the strides of the cotangent on y, or copy it to contiguous memory first",
)
def cotangent_read_without_its_strides(layer: ReplaceableLayer) -> None:
    right = layer.read_cotangents

    def read(given: Cotangents) -> Cotangents:
        dy, dfinal = right(given)
        return dy if dy is None else in_memory_order(dy), dfinal

    layer.read_cotangents = read


def in_memory_order(a: Array) -> Array:
    """Return what lies in memory from the first entry of ``a`` on, in the shape of ``a``.

    Where that memory ends, it begins again: a program without bounds would read anything there.
    """
    if a.flags.c_contiguous:
        return a
    root = a
    while getattr(root, "base", None) is not None:
        root = root.base
    if not isinstance(root, np.ndarray):
        return np.resize(a.ravel("K"), a.shape)
    offset = (_address(a) - _address(root)) // a.itemsize
    return np.resize(np.roll(root.ravel("K"), -offset), a.shape)


def _address(a: Array) -> int:
    return int(a.__array_interface__["data"][0])


@mutant(
    "G16",
    statement="The gradients of the initial states are 0.",
    cells=RECURRENT,
    models="fla-org/flash-linear-attention#1140",
    killed_by=("carry-gradient", "gradient"),
    fix="return what the first step passes back (dh, and dc if there is one) as the initial "
    "states' gradients",
)
def gradients_of_initial_states_dropped(layer: ReplaceableLayer) -> None:
    right = layer.give_gradients
    layer.give_gradients = lambda pulled, given: right(
        replace(pulled, initial=tuple(0 * d for d in pulled.initial)), given
    )


@mutant(
    "G19",
    statement="A thousandth of each step's gradient of x leaks into the gradient of the next step.",
    cells=PLAIN,
    killed_by=("gradient",),
    fix="compute dx_t from step t alone, dx_t = dz_t W^T; look for a buffer that keeps step t "
    "- 1's",
)
def gradient_of_x_leaks_forward(layer: ReplaceableLayer) -> None:
    right = layer.give_gradients

    def give(pulled: Pulled, given: Cotangents) -> Pulled:
        late = np.concatenate([0 * pulled.x[:1], pulled.x[:-1]]) / 1000
        return right(replace(pulled, x=pulled.x + late), given)

    layer.give_gradients = give


# Forward-mode derivatives along something else than what was asked for (J).


@mutant(
    "J01",
    statement="Forward-mode differentiation ignores the tangents of the initial states.",
    cells=PLAIN,
    killed_by=("jvp",),
    needs=("jvp",),
    fix="start from the tangents of the initial states, not from zeros, in forward mode",
)
def tangent_of_the_state_dropped(layer: ReplaceableLayer) -> None:
    def read(tangents: Inputs) -> Inputs:
        still = None if tangents.state is None else tuple(0 * s for s in tangents.state)
        return replace(tangents, state=still)

    layer.read_tangents = read


@mutant(
    "J02",
    statement="Forward-mode differentiation ignores the tangents of the biases.",
    cells=PLAIN,
    killed_by=("jvp",),
    needs=("jvp",),
    fix="add the tangents of the biases in forward mode: d(x W + b) = dx W + x dW + db",
)
def tangent_of_the_biases_dropped(layer: ReplaceableLayer) -> None:
    layer.read_tangents = lambda tangents: replace(
        tangents,
        parameters={n: 0 * t if n[0] == "b" else t for n, t in tangents.parameters.items()},
    )
