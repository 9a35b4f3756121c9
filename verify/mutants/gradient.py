"""Mistakes in the backward pass of a step or a sequence; the forward pass is correct (G)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ...reference.cell import Cell, State
from ...reference.functions import Array, tanh
from ...reference.parameters import Parameters
from ...reference.sequence import Step, Unrolled, only, unroll
from ..numbers.tape import Pull, custom
from ..subjects.protocol import Cotangents, Pulled
from .catalogue import mutant
from .parts import RECURRENT, changed, one_step_late, pulls_outputs
from .replaceable_layer import (
    At,
    GradientsPart,
    ReplaceableLayer,
    StepGradients,
    StepVjpPart,
    UnrollPart,
    taken_apart,
)


def after_step_vjp(
    layer: ReplaceableLayer,
    spoil: Callable[[At, Parameters, Array, State], StepGradients],
) -> None:
    """Replace the gradients (dp, dx, dold) of every step by a function of the correct ones."""
    layer.wrap("step_vjp", lambda original, at, p, step, d: spoil(at, *original(at, p, step, d)))


def gives(layer: ReplaceableLayer, function: Callable[[Pulled], Pulled]) -> None:
    """Replace the layer's gradients by a function of them."""
    layer.wrap(
        "give_gradients",
        lambda original, pulled, cotangents: original(function(pulled), cotangents),
    )


def gives_named(layer: ReplaceableLayer, function: Callable[[str, Array], Array]) -> None:
    """Replace each parameter's gradient by a function of its name and gradient."""
    gives(
        layer, lambda p: replace(p, parameters={n: function(n, d) for n, d in p.parameters.items()})
    )


@mutant(
    "G03",
    "The backward pass uses the steps' Jacobians in forward order instead of last step first.",
    ("gradient",),
    models="elixir-nx/axon#646",
    fix="go back through the steps last first: for t = T - 1, ..., 0, use the Jacobian of step t "
    "itself",
    part="unroll",
)
def jacobians_in_forward_order(
    layer: ReplaceableLayer, original: UnrollPart, at: At, p: Parameters, x: Array
) -> tuple[Array, State]:
    def rule(*arrays: Array) -> tuple[Sequence[Array], Pull]:
        q, x, start = taken_apart(p, arrays)
        run = unroll(layer.cell, q, x, start, at.lengths)

        def pull(dy: Array, *dfinal: Array) -> Sequence[Array]:
            dp, dx, d0 = _mirrored(layer.cell, q, run, dy, dfinal)
            return [*dp.values(), dx, *d0]

        return [run.y, *run.final], pull

    y, *final = custom(rule, *p.values(), x, *at.start)
    return y, tuple(final)


def _mirrored(
    cell: Cell, p: Parameters, run: Unrolled[Array], dy: Array, dfinal: State
) -> StepGradients:
    """Backpropagate, but pull each state's cotangent through the step at the mirrored time."""

    def pulled(step: Step, d: State) -> StepGradients:
        return cell.vjp(p, step.x, step.state, step.gates, step.new, d)

    dp, dx, d = p.map(np.zeros_like), np.zeros_like(run.x), dfinal
    for t in reversed(range(len(run.steps))):
        step = run.steps[t]
        arriving = (only(step.active, d[0] + dy[t]), *(only(step.active, s) for s in d[1:]))
        skipping = tuple(s - only(step.active, s) for s in d)
        dp_t, dx_t, _ = pulled(step, arriving)
        _, _, d_old = pulled(run.steps[-1 - t], arriving)
        dp, dx[t] = dp + dp_t, only(step.active, dx_t)
        d = tuple(o + s for o, s in zip(d_old, skipping, strict=True))
    return dp, dx, d


mutant(
    "G06",
    "No gradient flows through the hidden state from one step to the step before.",
    ("gradient-window", "gradient"),
    cells=RECURRENT,
    models="ooples/AiDotNet#722",
    fix="carry dh from every step to the one before it, and add that step's dy: look for a detach",
    change=lambda layer: after_step_vjp(
        layer, lambda at, dp, dx, d: (dp, dx, (0 * d[0], *d[1:]) if at.t else d)
    ),
)

mutant(
    "G07",
    "The backward pass multiplies the gradient of the input gate by i instead of by the candidate "
    "g.",
    ("gradient",),
    cells=("lstm",),
    models="wvabrinskas/Neuron#181",
    fix="use g, not i, where g belongs: di = dc g, and dz_g = dc i (1 - g^2)",
    part="step_vjp",
    change=lambda layer, original, at, p, step, d: original(
        at, p, replace(step, gates={**step.gates, "g": step.gates["i"]}), d
    ),
)

mutant(
    "G07b",
    "The backward pass takes the slope of tanh at an output that has already been through tanh.",
    ("gradient",),
    cells=("rnn", "lstm"),
    models="wvabrinskas/Neuron#181",
    fix="apply tanh once in its slope: 1 - h^2 in a tanh RNN, 1 - tanh(c)^2 in an LSTM",
    part="step_vjp",
    change=lambda layer, original, at, p, step, d: original(
        at, p, replace(step, new=(*step.new[:-1], tanh(step.new[-1]))), d
    ),
)


@mutant(
    "G08",
    "The gradient of U is computed with the new hidden state instead of the previous one.",
    ("gradient",),
    cells=("rnn", "lstm"),
    models="wvabrinskas/Neuron#181",
    fix="use the old state in the gradient of U: dU = sum of h_{t-1}^T dz_t, not of h_t^T dz_t",
    part="step_vjp",
)
def gradient_of_u_with_the_new_state(
    layer: ReplaceableLayer, original: StepVjpPart, at: At, p: Parameters, step: Step, d: State
) -> StepGradients:
    dp, dx, d_old = original(at, p, step, d)
    late, _, _ = original(at, p, replace(step, state=(step.new[0], *step.state[1:])), d)
    return changed(dp, U=late.U), dx, d_old


mutant(
    "G09",
    "The biases of the input and output gates receive the gradient of the forget gate's bias.",
    ("gradient",),
    cells=("lstm",),
    models="hanbt/learn_dl#53",
    fix="give every gate its own bias gradient: db_i = sum of dz_i, db_o = sum of dz_o, not of "
    "dz_f",
    change=lambda layer: after_step_vjp(
        layer,
        lambda at, dp, dx, d: (changed(dp, b=np.stack([dp.b_f, dp.b_f, dp.b_g, dp.b_f])), dx, d),
    ),
)


@mutant(
    "G14",
    "The backward pass destroys the saved gates, so a second backward pass through the same run is "
    "wrong.",
    ("backward-twice",),
    cells=("lstm", "gru"),
    models="pytorch/pytorch#1532",
    fix="leave the saved gates as they are on the way back: write gradients into arrays of their "
    "own",
    part="step_vjp",
)
def saved_gates_destroyed_on_the_way_back(
    layer: ReplaceableLayer, original: StepVjpPart, at: At, p: Parameters, step: Step, d: State
) -> StepGradients:
    pulled: StepGradients = original(at, p, step, d)
    for values in step.gates.values():
        np.asarray(values)[...] = 0
    return pulled


@mutant(
    "G15",
    "The gradient of the peepholes counts the first row only instead of the sum over the batch.",
    ("gradient",),
    cells=("lstm-peephole", "lstm-peephole-old", "lstm-phased"),
    models="tensorflow/tensorflow#34171",
    fix="sum the peepholes' gradients over the batch (dp_i = sum over rows of dz_i c), not row 0 "
    "alone",
    part="step_vjp",
)
def peephole_gradient_of_one_row(
    layer: ReplaceableLayer, original: StepVjpPart, at: At, p: Parameters, step: Step, d: State
) -> StepGradients:
    def first(arrays: State) -> State:
        return tuple(a[:1] for a in arrays)

    dp, dx, d_old = original(at, p, step, d)
    gates = {name: a[:1] for name, a in step.gates.items()}
    row = Step(step.x[:1], first(step.state), gates, first(step.new), step.active)
    of_row, _, _ = original(at, p, row, first(d))
    return changed(dp, p=of_row.p), dx, d_old


mutant(
    "G18",
    "The gradient of U leaves out the first step, as if the initial state were 0.",
    ("gradient",),
    cells=RECURRENT,
    fix="count the first step in dU, too: its h_{t-1} is the initial state, which need not be 0",
    change=lambda layer: after_step_vjp(
        layer, lambda at, dp, dx, d: (dp if at.t else changed(dp, U=0 * dp.U), dx, d)
    ),
)

mutant(
    "G20",
    "The backward pass clips gradients between steps to the range from −1 to 1, although nobody "
    "asked for it.",
    ("vjp-linearity", "gradient"),
    fix="remove the clipping of gradients between steps; leave it to the optimiser",
    change=lambda layer: after_step_vjp(
        layer, lambda at, dp, dx, d: (dp, dx, tuple(np.clip(s, -1, 1) for s in d))
    ),
)


# Ignored cotangents, and gradients that are returned incorrectly (G).


mutant(
    "G01",
    "The backward pass ignores the gradient that arrives at the final cell state.",
    ("cotangents", "gradient"),
    cells=("lstm", "lstm-peephole"),
    models="deeplearning4j/deeplearning4j#8838",
    fix="add the cotangent on the final c to dc at each row's last step",
    part="read_cotangents",
    change=lambda layer, original, pair: (pair[0], (pair[1][0], None)),
)

mutant(
    "G02",
    "The backward pass ignores the gradient that arrives at the final hidden state.",
    ("cotangents", "gradient"),
    cells=RECURRENT,
    models="chainer/chainer#2505",
    fix="add the cotangent on the final h to dh at each row's last step",
    part="read_cotangents",
    change=lambda layer, original, pair: (pair[0], (None, *pair[1][1:])),
)

mutant(
    "G02b",
    "The backward pass ignores gradients at the final states when no gradient arrives at the "
    "outputs.",
    ("cotangents",),
    fix="take a missing cotangent on y as zeros, and read those on the final states all the same",
    part="read_cotangents",
    change=lambda layer, original, pair: (
        (None, tuple(None for _ in pair[1])) if pair[0] is None else pair
    ),
)

mutant(
    "G10",
    "The biases of all layers above the lowest have a gradient of 0.",
    ("gradient",),
    models="apache/mxnet#17872",
    needs=("layers",),
    fix="compute the bias gradients of every layer, not of the lowest alone",
    change=lambda layer: gives_named(
        layer, lambda name, d: 0 * d if name[0] == "b" and "_l0" not in name else d
    ),
)

mutant(
    "G11",
    "The gradients of the biases are averaged over the batch instead of summed.",
    ("gradient",),
    fix="sum the gradients of biases over the batch; do not take the mean (no division by B)",
    change=lambda layer: gives_named(
        layer, lambda name, d: d / layer.inputs.x.shape[1] if name[0] == "b" else d
    ),
)


@mutant(
    "G12",
    "The backward pass writes the gradient of x over the caller's gradient of the outputs.",
    ("purity",),
    models="apache/mxnet#18203",
    fix="write the gradient of x into an array of its own, not into the cotangent on y",
    part="give_gradients",
)
def gradient_of_x_over_the_cotangent(
    layer: ReplaceableLayer, original: GradientsPart, pulled: Pulled, cotangents: Cotangents
) -> Pulled:
    dy, width = cotangents[0], pulled.x.shape[2]
    if dy is not None:
        dy[:, :, :width] = pulled.x[:, :, : dy.shape[2]]
    return original(pulled, cotangents)


mutant(
    "G13",
    "The backward pass reads the gradient of the outputs as if it were contiguous, whatever its "
    "strides.",
    ("strided",),
    models="pytorch/pytorch#619",
    fix="honour the strides of the cotangent on y, or copy it to contiguous memory first",
    change=lambda layer: pulls_outputs(layer, in_memory_order),
)


def in_memory_order(a: Array) -> Array:
    """Return the memory from the first entry of ``a`` on, in the shape of ``a``.

    After the end of the memory it continues at its beginning.
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


mutant(
    "G16",
    "The gradients of the initial states are 0.",
    ("carry-gradient", "gradient"),
    cells=RECURRENT,
    models="fla-org/flash-linear-attention#1140",
    fix="return what the first step passes back (dh, and dc if there is one) as the initial "
    "states' gradients",
    change=lambda layer: gives(
        layer, lambda pulled: replace(pulled, initial=tuple(0 * d for d in pulled.initial))
    ),
)

mutant(
    "G19",
    "A thousandth of each step's gradient of x leaks into the gradient of the next step.",
    ("gradient",),
    fix="compute dx_t from step t alone, dx_t = dz_t W^T; look for a buffer that keeps step t - "
    "1's",
    change=lambda layer: gives(layer, lambda p: replace(p, x=p.x + one_step_late(p.x) / 1000)),
)


# Forward-mode derivatives along wrong tangents (J).


mutant(
    "J01",
    "Forward-mode differentiation ignores the tangents of the initial states.",
    ("jvp",),
    needs=("jvp",),
    fix="start from the tangents of the initial states, not from zeros, in forward mode",
    part="read_tangents",
    change=lambda layer, original, tangents: replace(
        tangents, state=tangents.state and tuple(0 * s for s in tangents.state)
    ),
)

mutant(
    "J02",
    "Forward-mode differentiation ignores the tangents of the biases.",
    ("jvp",),
    needs=("jvp",),
    fix="add the tangents of the biases in forward mode: d(x W + b) = dx W + x dW + db",
    part="read_tangents",
    change=lambda layer, original, tangents: replace(
        tangents,
        parameters={n: 0 * t if n[0] == "b" else t for n, t in tangents.parameters.items()},
    ),
)
