"""Precision, range and the order of sums (D)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...reference.cell import State
from ...reference.cells.lstm import cell_state
from ...reference.functions import Array, minimum, zeros
from ...reference.parameters import Parameters
from ..numbers.tape import instead, plain
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import GRU, LSTM, PLAIN, any_step, changed, lstm_step, pre_activation
from .replaceable_layer import At, ReplaceableLayer

CLAMP = 8.0


@mutant(
    "D01",
    statement="The layer accepts and returns float64 but computes in float32.",
    cells=PLAIN,
    models="tensorflow/tensorflow#32369",
    killed_by=("dtype", "forward", "gradient"),
    fix="keep float64 throughout: look for a cast or a default dtype",
)
def computes_in_float32(layer: ReplaceableLayer) -> None:
    right = layer.run

    def run(inputs: Inputs) -> Result:
        def single(a: Array) -> Array:
            return a.astype("float32")

        state = None if inputs.state is None else tuple(single(s) for s in inputs.state)
        named = {name: single(a) for name, a in inputs.parameters.items()}
        result = right(Inputs(named, single(inputs.x), state, inputs.lengths))
        back = layer.case.dtype
        return Result(result.y.astype(back), tuple(s.astype(back) for s in result.final))

    layer.run = run


@mutant(
    "D02",
    statement="The state is rounded to bfloat16 after every step.",
    cells=PLAIN,
    models="fla-org/flash-linear-attention#37",
    killed_by=("dtype", "forward", "transition"),
    dtypes=("float32",),
    fix="keep the state in the dtype of x between steps: look for a cast to bfloat16, or autocast",
)
def state_kept_in_bfloat16(layer: ReplaceableLayer) -> None:
    right = layer.step
    layer.step = lambda at, p, x, state: tuple(
        instead(s, to_bfloat16(plain(s))) for s in right(at, p, x, state)
    )


def to_bfloat16(a: Array) -> Array:
    """Round to the nearest number of 8 significant bits, ties to even."""
    bits = a.astype(np.float32).view(np.uint32)
    upper = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return upper.view(np.float32).astype(a.dtype)


@mutant(
    "D03",
    statement="The cell state is clamped to the range from −8 to 8.",
    cells=LSTM,
    models="mlcommons/inference#689",
    killed_by=("gate-limits", "transition"),
    fix="remove the clamp on the cell state: c' = f c + i g has no bounds",
)
def cell_state_clamped(layer: ReplaceableLayer) -> None:
    def clamped(f: Array, c: Array, i: Array, g: Array) -> Array:
        limit = CLAMP + zeros(c, c.shape)
        return -minimum(-minimum(cell_state(f, c, i, g), limit), limit)

    layer.step = lambda at, p, x, s: lstm_step(p, x, s, blend=clamped)


@mutant(
    "D04",
    statement="The sigmoid is computed as exp(s) / (1 + exp(s)), which overflows to NaN for "
    "large s.",
    cells=(*LSTM, *GRU),
    models="muditbhargava66/PyxLSTM#15",
    killed_by=("extreme",),
    dtypes=("float64", "float32"),
    fix="compute the sigmoid without overflow: 1 / (1 + exp(-s)) where s >= 0, exp(s) / (1 + "
    "exp(s)) where s < 0",
)
def sigmoid_overflows(layer: ReplaceableLayer) -> None:
    def gate(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        e = np.exp(pre_activation(p, letter, x, h, c))
        return e / (1 + e)

    layer.step = lambda at, p, x, s: any_step(layer.cell.name, p, x, s, gate)


@mutant(
    "D05",
    statement="The order of summation in the product with W changes from call to call, so "
    "results are not reproducible.",
    cells=PLAIN,
    models="pytorch/pytorch#35661",
    killed_by=("repeat",),
    fix="add terms in the same order at every call: look for atomic additions or a shuffled "
    "or unordered loop",
)
def sums_in_random_order(layer: ReplaceableLayer) -> None:
    rng, right = np.random.default_rng(), layer.step

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        order = rng.permutation(x.shape[1])
        return right(at, changed(p, W=p.W[:, order]), x[:, order], state)

    layer.step = step


@mutant(
    "D06",
    statement="The last row reads one number past the end of a scratch buffer, which may hold "
    "what a larger call left there.",
    cells=PLAIN,
    models="microsoft/onnxruntime#28052",
    killed_by=("repeat",),
    fix="read no more of a scratch buffer than this call wrote: check the last row's bounds",
)
def reads_past_the_end_of_scratch(layer: ReplaceableLayer) -> None:
    right, scratch = layer.run, np.zeros(0)

    def past_the_end(x: Array) -> float:
        """Write x into scratch, and return the number behind it."""
        nonlocal scratch
        if scratch.size <= x.size:
            scratch = np.concatenate([scratch, np.zeros(x.size + 1 - scratch.size)])
        behind = float(scratch[x.size])
        scratch[: x.size] = np.nan_to_num(x.real.ravel())
        return behind

    def run(inputs: Inputs) -> Result:
        T, B, D = inputs.x.shape
        if T == 0:
            return right(inputs)
        stray = np.zeros((T, B, D), inputs.x.dtype)
        stray[-1, -1, -1] = past_the_end(plain(inputs.x))
        return right(replace(inputs, x=inputs.x + stray))

    layer.run = run
