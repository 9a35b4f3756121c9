"""Cells whose gates are inputs: decays, corrections, normalisers, chunks (K)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...reference.cell import State
from ...reference.cells import delta, mlstm, rwkv, selective, ssd
from ...reference.functions import Array, switch
from ...reference.gated_by_input import GatedByInput, outer, rows_times, scaled
from ...reference.parameters import Parameters
from ..numbers.tape import instead, plain, rearranged
from .catalogue import mutant
from .parts import changed, one_step_late, reads
from .replaceable_layer import At, OutputPart, ReplaceableLayer, UnrollPart

CHUNK = 4
"""Steps of a chunk of the wrong programs."""

DECAYS = ("gated-delta", "gla", "kda")
CORRECTS = ("gated-delta", "kda", "deltanet")
EVERY = ("gated-delta", "retnet", "gla", "kda", "deltanet")
STATE_SPACES = {"ssd": ssd, "selective": selective}
BITS = 12
"""Bits of a state that is rounded too early."""

mistake = partial(mutant, killed_by=("forward",))
"""Most of these mistakes show in the outputs of any run."""


def cell_of(layer: ReplaceableLayer) -> GatedByInput:
    """Return the layer's cell; raise TypeError if it computes its gates."""
    if not isinstance(layer.cell, GatedByInput):
        raise TypeError(f"{layer.cell.name} is not given its gates")
    return layer.cell


def parts_of(layer: ReplaceableLayer, x: Array) -> dict[str, Any]:
    """Return the named arrays of one step, or of all."""
    return cell_of(layer).split(x, layer.case.sizes)


def replaced(
    layer: ReplaceableLayer, x: Array, function: Callable[[dict[str, Any]], dict[str, Any]]
) -> Array:
    """Return the input of one step, or of all, with some arrays replaced by a function."""
    parts = parts_of(layer, x)
    return cell_of(layer).joined(parts | function(parts), x, layer.case.sizes)


def sees(layer: ReplaceableLayer, function: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace some input arrays of every step by a function of all of them."""
    layer.wrap("see", lambda original, at, x: replaced(layer, original(at, x), function))


def updates(
    layer: ReplaceableLayer, function: Callable[[Parameters, dict[str, Any], State], State]
) -> None:
    """Replace the step by a function of the parameters, input arrays and old states."""
    layer.step = lambda at, p, x, state: function(p, parts_of(layer, x), state)


def outputs(
    layer: ReplaceableLayer, function: Callable[[dict[str, Any], State, State], Array]
) -> None:
    """Replace the output by a function of the input arrays, the old and the new states."""
    layer.output = lambda at, p, x, state, new: function(parts_of(layer, x), state, new).reshape(
        x.shape[0], -1
    )


def decayed(layer: ReplaceableLayer, parts: dict[str, Any], S: Array) -> Array:
    """Return the memory after the decay of the layer's cell."""
    if "g" not in parts:
        return delta.retention(S) if layer.cell.name == "retnet" else S
    return (delta.decay if parts["g"].ndim == 2 else delta.decay_by_key)(parts["g"], S)


mistake(
    "K01",
    "The decay is applied twice.",
    cells=DECAYS,
    models="NeuraLegion/shainet#170",
    fix="multiply the state by exp(g) once in every step",
    change=lambda layer: sees(layer, lambda a: {"g": a["g"] + a["g"]}),
)

mistake(
    "K02",
    "The logarithm of the decay is used as 1 + g, without its exponential.",
    cells=DECAYS,
    fix="multiply by exp(g): g is the logarithm of the decay",
    change=lambda layer: sees(layer, lambda a: {"g": np.log(1 + a["g"])}),
)

mistake(
    "K03",
    "β is left out: the whole error is written.",
    cells=CORRECTS,
    fix="multiply v - k S by beta",
    change=lambda layer: sees(layer, lambda a: {"beta": 0 * a["beta"] + 1}),
)

mistake(
    "K04",
    "β is applied to v alone, and not to what the memory holds at the key.",
    cells=CORRECTS,
    fix="multiply the whole error v - k S by beta",
    change=lambda layer: updates(layer, lambda p, a, s: _beta_on_v(layer, a, s)),
)


def _beta_on_v(layer: ReplaceableLayer, a: dict[str, Any], s: State) -> State:
    S = decayed(layer, a, s[0])
    return (delta.write(a["k"], a["beta"][..., None] * a["v"] - rows_times(a["k"], S), S),)


mistake(
    "K05",
    "The correction reads the memory before its decay.",
    cells=("gated-delta", "kda"),  # without a decay it is right
    models="fla-org/flash-linear-attention#623",
    fix="decay the state first, then read k S from it",
    change=lambda layer: updates(layer, lambda p, a, s: _before_decay(layer, a, s)),
)


def _before_decay(layer: ReplaceableLayer, a: dict[str, Any], s: State) -> State:
    u = delta.correction(a["beta"], a["v"], a["k"], s[0])
    return (delta.write(a["k"], u, decayed(layer, a, s[0])),)


mistake(
    "K06",
    "The output is read before the write.",
    cells=EVERY,
    fix="read q S from the new state",
    change=lambda layer: outputs(
        layer, lambda a, old, new: delta.output(a["q"], decayed(layer, a, old[0]))
    ),
)

mistake(
    "K07",
    "The output is not scaled by 1/√K.",
    cells=EVERY,
    fix="divide q by the root of the width of keys",
    change=lambda layer: outputs(layer, lambda a, old, new: rows_times(a["q"], new[0])),
)

mistake(
    "K08",
    "The output is scaled by 1/√K twice.",
    cells=EVERY,
    fix="divide q by the root of the width of keys once",
    change=lambda layer: outputs(layer, lambda a, old, new: delta.output(scaled(a["q"]), new[0])),
)

mistake(
    "K09",
    "Nothing is corrected: β v is written.",
    cells=CORRECTS,
    fix="subtract what the memory holds at the key, k S, from v",
    change=lambda layer: updates(
        layer,
        lambda p, a, s: (
            delta.write(a["k"], a["beta"][..., None] * a["v"], decayed(layer, a, s[0])),
        ),
    ),
)

mistake(
    "K10",
    "What a step writes decays in the same step.",
    cells=("gla", "retnet"),
    fix="decay the old state, and then write",
    change=lambda layer: updates(
        layer, lambda p, a, s: (decayed(layer, a, delta.write(a["k"], a["v"], s[0])),)
    ),
)


@mutant(
    "K11",
    "The padding of the last chunk of 4 steps makes the final state decay.",
    ("forward", "carry"),
    cells=DECAYS,
    models="huggingface/transformers#46190",
    fix="let the steps that fill a chunk up have a decay of 1: g = 0",
    part="unroll",
)
def padding_decays(
    layer: ReplaceableLayer, original: UnrollPart, at: At, p: Parameters, x: Array
) -> tuple[Array, State]:
    y, (S,) = original(at, p, x)
    for _ in range(-len(x) % CHUNK):
        S = decayed(layer, parts_of(layer, x[-1]), S)
    return y, (S,)


mistake(
    "K12",
    "The normaliser is lost between chunks of 4 steps.",
    cells=("mlstm",),
    fix="carry n beside C from chunk to chunk",
    part="step",
    change=lambda layer, original, at, p, x, state: original(
        at, p, x, (state[0], 0 * state[1], state[2]) if at.t and at.t % CHUNK == 0 else state
    ),
)

mistake(
    "K13",
    "The denominator is at least 1 instead of e^(-m): the stabiliser is forgotten there.",
    cells=("mlstm",),
    fix="compare |q n| with exp(-m), since n is stabilised by m",
    change=lambda layer: outputs(
        layer, lambda a, old, new: mlstm.output(a["q"], new[0], new[1], 0 * new[2])
    ),
)

mistake(
    "K14",
    "The denominator takes q n without its absolute value.",
    cells=("mlstm",),
    fix="take |q n|: it may be negative",
    change=lambda layer: outputs(layer, lambda a, old, new: _without_absolute(a["q"], *new)),
)


def _without_absolute(q: Array, C: Array, n: Array, m: Array) -> Array:
    denominator, floor = (scaled(q) * n).sum(axis=-1), np.exp(-m)
    return rows_times(scaled(q), C) / switch(denominator - floor, floor, denominator)[..., None]


def _forgets_nothing(a: dict[str, Any], s: State) -> State:
    m = mlstm.stabiliser(a["f"], s[2], a["i"])
    i, f = mlstm.input_gate(a["i"], m), mlstm.forget_gate(a["f"], s[2], m)
    C = mlstm.memory(f, s[0], i, a["k"], a["v"])
    return C, mlstm.normaliser(0 * f + 1, s[1], i, a["k"]), m


mistake(
    "K15",
    "The normaliser does not forget.",
    cells=("mlstm",),
    fix="multiply n by the forget gate, as C",
    change=lambda layer: updates(layer, lambda p, a, s: _forgets_nothing(a, s)),
)


@mutant(
    "K16",
    "The outputs of the first chunk of 4 steps ignore the initial state.",
    ("carry", "forward"),
    cells=("gated-delta", "ssd"),
    models="fla-org/flash-linear-attention#351",
    fix="add q S_0 with its decay to the outputs of the first chunk, too",
    part="output",
)
def first_chunk_from_zeros(
    layer: ReplaceableLayer,
    original: OutputPart,
    at: At,
    p: Parameters,
    x: Array,
    state: State,
    new: State,
) -> Array:
    if at.t == 0:
        layer.memory["state"] = tuple(0 * s for s in at.start)
    if at.t >= CHUNK:
        return original(at, p, x, state, new)
    old = layer.memory["state"]
    layer.memory["state"] = layer.step(at, p, x, old)
    return original(at, p, x, old, layer.memory["state"])


mutant(
    "K17",
    "The decay gets no gradient.",
    ("gradient",),
    cells=DECAYS,
    fix="return dg = sum over the state of its cotangent times the decayed state",
    change=lambda layer: sees(layer, lambda a: {"g": _without_gradient(a["g"])}),
)


def _without_gradient(x: Array) -> Array:
    return instead(x, plain(x), lambda d: 0 * d)


mutant(
    "K18",
    "The key gets no gradient from the correction.",
    ("gradient",),
    cells=CORRECTS,
    fix="add the cotangent of k from k S to that from the write",
    change=lambda layer: updates(layer, lambda p, a, s: _key_detached(layer, a, s)),
)


def _key_detached(layer: ReplaceableLayer, a: dict[str, Any], s: State) -> State:
    S = decayed(layer, a, s[0])
    u = delta.correction(a["beta"], a["v"], _without_gradient(a["k"]), S)
    return (delta.write(a["k"], u, S),)


mistake(
    "K19",
    "Operands of the scan are exchanged: a step decays by the decay of the step before.",
    cells=DECAYS,
    models="state-spaces/mamba#716",
    fix="compose (a, b) after (a', b') as (a a', a b' + b), the later one first",
    part="unroll",
    change=lambda layer, original, at, p, x: original(
        at, p, replaced(layer, x, lambda a: {"g": one_step_late(a["g"])}) if len(x) else x
    ),
)


def _rounded(S: Array) -> Array:
    values = np.asarray(plain(S))
    fraction, exponent = np.frexp(values)
    near = np.ldexp(np.rint(np.ldexp(fraction, BITS)), exponent - BITS).astype(values.dtype)
    return instead(S, near)


mistake(
    "K20",
    "The state is rounded to 12 bits before the output is read from it.",
    cells=("gated-delta", "ssd"),
    models="vllm-project/vllm#48578",
    fix="read the output from the state before it is rounded for the cache",
    part="output",
    change=lambda layer, original, at, p, x, state, new: original(
        at, p, x, state, tuple(map(_rounded, new))
    ),
)

mistake(
    "K21",
    "The heads of v are read in the opposite order.",
    cells=EVERY,
    fix="keep the heads of q, k and v in one order",
    change=lambda layer: sees(layer, lambda a: {"v": a["v"][:, ::-1]}),
)

mistake(
    "K22",
    "The heads are counted from 1: γ = 1 - 2^(-6-n).",
    cells=("retnet",),
    fix="count the heads from 0 in 1 - 2^(-5-n)",
    change=lambda layer: updates(  # (1 + γ) / 2 = 1 - 2^(-6-n)
        layer,
        lambda p, a, s: (delta.write(a["k"], a["v"], (s[0] + delta.retention(s[0])) / 2),),
    ),
)

mistake(
    "K23",
    "The input is not added to the output: D x is missing.",
    cells=tuple(STATE_SPACES),
    fix="add D x to what is read from the state",
    same_as="D not read",
    change=lambda layer: reads(layer, lambda p: changed(p, D=0 * p["D"])),
)

mistake(
    "K24",
    "The step size is missing in the write.",
    cells=tuple(STATE_SPACES),
    fix="write Δ x B, not x B",
    change=lambda layer: updates(
        layer, lambda p, a, s: _written(layer, a, 0 * a["dt"] + 1, _decayed_state(layer, p, a, s))
    ),
)


def _decayed_state(layer: ReplaceableLayer, p: Parameters, a: dict[str, Any], s: State) -> Array:
    return STATE_SPACES[layer.cell.name].decay(a["dt"], p["A"], s[0])


def _written(layer: ReplaceableLayer, a: dict[str, Any], dt: Array, S: Array) -> State:
    return (STATE_SPACES[layer.cell.name].write(dt, a["x"], a["B"], S),)


mistake(
    "K25",
    "A is taken as a logarithm: the decay is exp(-Δ e^A).",
    cells=tuple(STATE_SPACES),
    fix="use A as it is given: it is negative already",
    change=lambda layer: reads(layer, lambda p: changed(p, A=-np.exp(p["A"]))),
)

mistake(
    "K26",
    "The output is read from the new state instead of the old one.",
    cells=("rwkv6",),
    fix="read r (S + diag(u) k v) from the state before the step",
    change=lambda layer: outputs(layer, lambda a, old, new: rwkv.output(a["r"], new[0])),
)

mistake(
    "K27",
    "The bonus u for the present is left out.",
    cells=("rwkv6",),
    fix="multiply the present k v by u before it is read",
    change=lambda layer: outputs(
        layer, lambda a, old, new: rwkv.output(a["r"], old[0] + outer(a["k"], a["v"]))
    ),
)

mistake(
    "K28",
    "Nothing is removed before the write: it computes RWKV-6's state.",
    cells=("rwkv7",),
    fix="subtract (a κ̂) (κ̂ S) from the decayed state",
    change=lambda layer: sees(layer, lambda a: {"a": 0 * a["a"]}),
)

mistake(
    "K29",
    "What is removed is read after the decay.",
    cells=("rwkv7",),
    fix="read κ̂ S from the state before its decay",
    change=lambda layer: updates(layer, lambda p, a, s: _removed_late(a, s)),
)


def _removed_late(a: dict[str, Any], s: State) -> State:
    S = delta.decay_by_key(a["w"], s[0])
    removed = S - outer(a["a"] * a["kappa"], rows_times(a["kappa"], S))
    return (delta.write(a["k"], a["v"], removed),)


mistake(
    "K30",
    "The forget gate is exp(f) instead of the sigmoid of f.",
    cells=("mlstm",),
    fix="take the logarithm of the sigmoid of f, not f itself",
    change=lambda layer: updates(layer, lambda p, a, s: _exponential_forget(a, s)),
)


def _exponential_forget(a: dict[str, Any], s: State) -> State:
    old = a["f"] + s[2]
    m = switch(old - a["i"], a["i"], old)
    i, f = mlstm.input_gate(a["i"], m), np.exp(old - m)
    return mlstm.memory(f, s[0], i, a["k"], a["v"]), mlstm.normaliser(f, s[1], i, a["k"]), m


mistake(
    "K31",
    "The hidden state is not divided by the normaliser.",
    cells=("slstm",),
    fix="divide c by n before the output gate",
    part="step",
    change=lambda layer, original, *arguments: (
        (new := original(*arguments))[0] * new[2],
        *new[1:],
    ),
)

mistake(
    "K32",
    "The recurrent blocks are transposed.",
    cells=("slstm",),
    fix="multiply h by R from the left, h R, in every head",
    change=lambda layer: reads(
        layer, lambda p: changed(p, R=rearranged(p["R"], lambda R: R.swapaxes(2, 3)))
    ),
)

mutant(
    "K33",
    "A call of a single step does not decay: decoding differs from prefill.",
    ("carry",),
    cells=DECAYS,
    models="huggingface/transformers#46873",
    fix="decay in the path of a single step as in that of many",
    part="unroll",
    change=lambda layer, original, at, p, x: original(
        at, p, replaced(layer, x, lambda a: {"g": 0 * a["g"]}) if len(x) == 1 else x
    ),
)

mistake(
    "K34",
    "The output is read from the state before the step.",
    cells=tuple(STATE_SPACES),
    fix="let a step update the state first, and read C h then",
    part="output",
    change=lambda layer, original, at, p, x, state, new: original(at, p, x, state, state),
)

mistake(
    "K35",
    "A has the other sign: the state grows by exp(-Δ A) in every step.",
    cells=tuple(STATE_SPACES),
    fix="multiply the state by exp(Δ A): A is negative already",
    change=lambda layer: reads(layer, lambda p: changed(p, A=-p["A"])),
)

mistake(
    "K36",
    "What is written is discretised by zero-order hold, (exp(Δ A) - 1) / A, and not by Δ.",
    cells=tuple(STATE_SPACES),
    fix="write Δ x B, as Mamba's programs do: zero-order hold is another recurrence",
    change=lambda layer: updates(layer, lambda p, a, s: _zero_order_hold(layer, p, a, s)),
)


def _zero_order_hold(layer: ReplaceableLayer, p: Parameters, a: dict[str, Any], s: State) -> State:
    S = _decayed_state(layer, p, a, s)
    if layer.cell.name == "ssd":
        return _written(layer, a, (np.exp(a["dt"] * p["A"]) - 1) / p["A"], S)
    hold = (np.exp(a["dt"][..., None] * p["A"]) - 1) / p["A"]
    return (S + hold * a["x"][..., None] * a["B"][:, None, :],)


mistake(
    "K37",
    "Softplus is applied to the step size once more.",
    cells=tuple(STATE_SPACES),
    fix="use Δ as it is given: softplus was applied to it already",
    change=lambda layer: sees(layer, lambda a: {"dt": np.log(1 + np.exp(a["dt"]))}),
)
