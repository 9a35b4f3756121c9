"""Precision, range and the order of sums (D)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ...reference.cell import State
from ...reference.cells.lstm import cell_state
from ...reference.functions import Array, minimum, zeros
from ...reference.parameters import Parameters
from ..numbers.tape import instead, plain
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import GRU, LSTM, changed, pre_activation, returns, steps, takes
from .replaceable_layer import At, ReplaceableLayer, RunPart, StepPart

CLAMP = 8.0


def computed_in(dtype: str, layer: ReplaceableLayer) -> None:
    """Let the layer compute in another dtype than that of its inputs and outputs."""
    back = layer.case.dtype
    takes(layer, lambda inputs: inputs.map(lambda a: a.astype(dtype)))
    returns(layer, lambda r: Result(r.y.astype(back), tuple(s.astype(back) for s in r.final)))


mutant(
    "D01",
    "The layer accepts and returns float64 but computes in float32.",
    ("dtype", "forward", "gradient"),
    models="tensorflow/tensorflow#32369",
    fix="keep float64 throughout: look for a cast or a default dtype",
    change=partial(computed_in, "float32"),
)

mutant(
    "D02",
    "The state is rounded to bfloat16 after every step.",
    ("dtype", "forward", "transition"),
    models="fla-org/flash-linear-attention#37",
    dtypes=("float32",),
    fix="keep the state in the dtype of x between steps: look for a cast to bfloat16, or autocast",
    change=lambda layer: layer.wrap(
        "step",
        lambda original, at, p, x, state: tuple(
            instead(s, to_bfloat16(plain(s))) for s in original(at, p, x, state)
        ),
    ),
)


def to_bfloat16(a: Array) -> Array:
    """Round to the nearest number of 8 significant bits, ties to even."""
    bits = a.astype(np.float32).view(np.uint32)
    upper = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return upper.view(np.float32).astype(a.dtype)


def clamped(f: Array, c: Array, i: Array, g: Array) -> Array:
    """Return the new cell state, cut off at both ends."""
    limit = CLAMP + zeros(c, c.shape)
    return -minimum(-minimum(cell_state(f, c, i, g), limit), limit)


mutant(
    "D03",
    "The cell state is clamped to the range from −8 to 8.",
    ("gate-limits", "transition"),
    cells=LSTM,
    models="mlcommons/inference#689",
    fix="remove the clamp on the cell state: c' = f c + i g has no bounds",
    change=lambda layer: steps(layer, blend=clamped),
)


def overflowing(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return a gate by a sigmoid of large exponentials."""
    e = np.exp(pre_activation(p, letter, x, h, c))
    return e / (1 + e)


mutant(
    "D04",
    "The sigmoid is computed as exp(s) / (1 + exp(s)), which overflows to NaN for large s.",
    ("extreme",),
    cells=(*LSTM, *GRU),
    models="muditbhargava66/PyxLSTM#15",
    dtypes=("float64", "float32"),
    fix="compute the sigmoid without overflow: 1 / (1 + exp(-s)) where s >= 0, exp(s) / (1 + "
    "exp(s)) where s < 0",
    change=lambda layer: steps(layer, gate=overflowing),
)


@mutant(
    "D05",
    "The order of summation in the product with W changes from call to call, so results are not "
    "reproducible.",
    ("repeat",),
    models="pytorch/pytorch#35661",
    fix="add terms in the same order at every call: look for atomic additions or a shuffled or "
    "unordered loop",
    part="step",
)
def sums_in_random_order(
    layer: ReplaceableLayer, original: StepPart, at: At, p: Parameters, x: Array, state: State
) -> State:
    rng = layer.memory.setdefault("rng", np.random.default_rng())
    order = rng.permutation(x.shape[1])
    return original(at, changed(p, W=p.W[:, order]), x[:, order], state)


@mutant(
    "D06",
    "The last row reads one number past the end of a scratch buffer, which may hold what a larger "
    "call left there.",
    ("repeat",),
    models="microsoft/onnxruntime#28052",
    fix="read no more of a scratch buffer than this call wrote: check the last row's bounds",
    part="run",
)
def reads_past_the_end_of_scratch(
    layer: ReplaceableLayer, original: RunPart, inputs: Inputs
) -> Result:
    x, scratch = plain(inputs.x), layer.memory.get("scratch", np.zeros(0))
    if len(x) == 0:
        return original(inputs)
    if scratch.size <= x.size:
        scratch = np.concatenate([scratch, np.zeros(x.size + 1 - scratch.size)])
    stray = np.zeros(x.shape, x.dtype)
    stray[-1, -1, -1] = scratch[x.size]
    scratch[: x.size] = np.nan_to_num(x.real.ravel())
    layer.memory["scratch"] = scratch
    return original(replace(inputs, x=inputs.x + stray))
