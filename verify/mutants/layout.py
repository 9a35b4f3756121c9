"""Misread weights: order of gates, transposition, flat buffers (L)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...reference.arrays import Floats
from ...reference.parameters import Parameters
from ..numbers.tape import instead, plain, rearranged
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import GRU, LSTM, changed, reads, with_gates
from .replaceable_layer import ReadPart, ReplaceableLayer, RunPart

SQUARE = ("rnn", "lstm", "lstm-peephole", *GRU)


def reordered(p: Parameters, order: str, arrays: Sequence[str] = ("W", "U", "b")) -> Parameters:
    """Return parameters with their blocks in another order of gates."""
    gates = {name: p.shapes[name].gates for name in arrays if name in p}
    index = {n: [letters.index(k) for k in order if k in letters] for n, letters in gates.items()}
    return changed(p, **{name: p[name][places] for name, places in index.items()})


mutant(
    "L01",
    "The input and forget gates are exchanged in W, U and b.",
    ("gate-limits", "forward"),
    cells=LSTM,
    models="NX-AI/xlstm#98",
    same_as="order figo",
    fix="exchange the blocks of i and f: the order is i, f, g, o",
    change=lambda layer: reads(layer, lambda p: reordered(p, "figo")),
)

mutant(
    "L02",
    "The candidate and the output gate are exchanged in W, U and b.",
    ("forward",),
    cells=LSTM,
    models="apple/coremltools#93",
    same_as="order ifog",
    fix="exchange the blocks of g and o: the order is i, f, g, o",
    change=lambda layer: reads(layer, lambda p: reordered(p, "ifog")),
)

mutant(
    "L03",
    "The gates are read in the order i, g, f, o of another library, and 1 is added to the forget "
    "gate's bias.",
    ("forward",),
    cells=("lstm",),
    models="tensorflow/tensorflow#29622",
    fix="read the blocks in the order i, f, g, o, not i, g, f, o, and do not add 1 to b_f",
    change=lambda layer: reads(
        layer, lambda p: with_gates(q := reordered(p, "igfo"), b_f=q.b_f + 1)
    ),
)


def first_two_exchanged(layer: ReplaceableLayer) -> str:
    """Return the letters of a layer's gates with the first two exchanged."""
    first, second, *others = layer.cell.gates
    return "".join((second, first, *others))


mutant(
    "L04",
    "W is read with its first two gates exchanged, while U and b are read in the right order.",
    ("forward",),
    cells=("lstm", "gru"),
    models="magenta/magenta#1015",
    fix="read W in the order of gates that U and b have: i, f, g, o (r, z, n in a GRU)",
    change=lambda layer: reads(layer, lambda p: reordered(p, first_two_exchanged(layer), ["W"])),
)

mutant(
    "L05",
    "The recurrent weights U are transposed, gate by gate.",
    ("forward", "gradient"),
    cells=SQUARE,
    models="keras-team/keras#8720",
    fix="transpose U, gate by gate: the product is h @ U, or h @ weight_hh.T in PyTorch's layout",
    change=lambda layer: reads(
        layer, lambda p: changed(p, U=rearranged(p.U, lambda U: U.swapaxes(1, 2)))
    ),
)


def interleaved(columns: Floats, gates: int) -> Floats:
    """Return packed columns (..., G * H), read as if H came before G."""
    return columns.reshape(*columns.shape[:-1], -1, gates).swapaxes(-1, -2)


def packed(p: Parameters, read: Callable[[Floats, int], Floats]) -> Parameters:
    """Pack (G, ..., H) to (..., G * H), and unpack it by the function ``read``."""
    gates = len(p.W)

    def repacked(a: Floats) -> Floats:
        columns = np.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1)
        return np.moveaxis(read(columns, gates).reshape(*a.shape[1:-1], gates, -1), -2, 0)

    return changed(p, **{name: rearranged(p[name], repacked) for name in "WUb"})


mutant(
    "L06",
    "The packed weights are read unit by unit instead of gate by gate.",
    ("unit-permutation", "forward"),
    cells=("lstm", "gru"),
    models="huggingface/candle#2351",
    fix="read the packed axis gate after gate: unit j of gate k stands at k H + j, not at j G + k "
    "(G gates)",
    change=lambda layer: reads(layer, lambda p: packed(p, interleaved)),
)


def by_rows(W: Floats) -> Floats:
    """Return matrices that are stored by columns and read by rows."""
    return np.stack([w.ravel("F").reshape(w.shape) for w in W])


mutant(
    "L07",
    "W is stored by columns but read by rows, without being transposed.",
    ("unit-permutation", "forward"),
    models="tracel-ai/burn#5383",
    fix="transpose W where it is read in the wrong storage order: use .T, not reshape",
    change=lambda layer: reads(layer, lambda p: changed(p, W=rearranged(p.W, by_rows))),
)

mutant(
    "L08",
    "Each gate's slice of the packed weights starts one column too late.",
    ("unit-permutation", "forward"),
    cells=("lstm", "gru"),
    fix="begin the slice of gate k at k H, not at k H + 1: packed[k * H : (k + 1) * H]",
    change=lambda layer: reads(
        layer, lambda p: packed(p, lambda columns, gates: np.roll(columns, -1, axis=-1))
    ),
)


@mutant(
    "L09",
    "The flat buffer of all weights is read direction by direction instead of layer by layer.",
    ("forward",),
    models="pytorch/pytorch#22493",
    needs=("layers", "bidirectional"),
    fix="read the flat buffer layer by layer, both directions in each: pass = 2 * layer + "
    "direction",
    part="read_parameters",
)
def directions_outside_layers(
    layer: ReplaceableLayer, original: ReadPart, named: Mapping[str, Floats]
) -> Sequence[Parameters]:
    passes = list(original(named))
    flat = np.concatenate([a.reshape(-1) for p in passes for a in p.values()])
    by_direction = sorted(range(len(passes)), key=lambda k: k % layer.case.directions)
    start = 0
    for k in by_direction:
        arrays = {}
        for name, array in passes[k].items():
            size = int(np.prod(array.shape))
            arrays[name] = flat[start : start + size].reshape(*array.shape)
            start += size
        passes[k] = changed(passes[k], **arrays)
    return passes


mutant(
    "L10",
    "The layer above receives zeros instead of the outputs of the backward direction.",
    ("forward",),
    models="pytorch/pytorch#89357",
    needs=("layers", "bidirectional"),
    fix="feed the layer above the outputs of both directions: concatenate forward and backward",
    part="drop",
    change=lambda layer, original, y: original(
        y * (np.arange(y.shape[2]) < y.shape[2] // layer.case.directions)
    ),
)


@mutant(
    "L11",
    "The weights of the first call are kept, so later changes of the weights have no effect.",
    ("reweight",),
    models="apache/mxnet#16037",
    fix="read the weights at every call: look for a packed or cached copy that is never renewed",
    part="read_parameters",
)
def weights_of_the_first_call(
    layer: ReplaceableLayer, original: ReadPart, named: Mapping[str, Floats]
) -> Sequence[Parameters]:
    for name, array in named.items():
        layer.memory.setdefault(name, np.array(plain(array)))
    return original({name: instead(array, layer.memory[name]) for name, array in named.items()})


mutant(
    "L12",
    "The first two gates are exchanged in the backward direction only.",
    ("direction", "forward"),
    cells=("lstm", "gru"),
    models="jax-ml/jax#36572",
    needs=("bidirectional",),
    fix="read the backward direction's gates in the forward one's order: i, f, g, o (r, z, n in a "
    "GRU)",
    part="read_parameters",
    change=lambda layer, original, named: [
        reordered(p, first_two_exchanged(layer)) if k % layer.case.directions else p
        for k, p in enumerate(original(named))
    ],
)

mutant(
    "L13",
    "The reset and update gates are exchanged in W, U and b.",
    ("gate-limits", "forward"),
    cells=GRU,
    same_as="order zrn",
    fix="exchange the blocks of r and z: the order is r, z, n",
    change=lambda layer: reads(layer, lambda p: reordered(p, "zrn")),
)


# Other layouts of inputs: batch first, or no batch axis at all (B).
#
# Arrays arrive here time first in every layout; mistakes in another layout are expressed in it.


@mutant(
    "B01",
    "Batch-first input is reshaped to time-first instead of being transposed, and so are the "
    "outputs.",
    ("batch-first",),
    needs=("batch_first",),
    fix="transpose batch-first input and outputs (exchange axes 0 and 1); do not reshape them",
    part="run",
)
def reshaped_instead_of_transposed(
    layer: ReplaceableLayer, original: RunPart, inputs: Inputs
) -> Result:
    if layer.case.layout != "batch-first":
        return original(inputs)
    result = original(replace(inputs, x=rearranged(inputs.x, _reshaped)))
    return replace(result, y=rearranged(result.y, _reshaped_back))


def _reshaped(x: Floats) -> Floats:
    """Read the memory of (B, T, D) as (T, B, D)."""
    return x.swapaxes(0, 1).reshape(x.shape)


def _reshaped_back(y: Floats) -> Floats:
    """Read the memory of (T, B, width) as (B, T, width)."""
    T, B, width = y.shape
    return y.reshape(B, T, width).swapaxes(0, 1)


mutant(
    "B02",
    "The initial state is ignored when the input has no batch axis.",
    ("unbatched",),
    needs=("unbatched",),
    fix="read the initial state without a batch axis, too: give it an axis of size 1, as x gets "
    "one",
    part="read_state",
    change=lambda layer, original, state, x: (
        tuple(0 * s for s in state)
        if state and layer.case.layout == "unbatched"
        else original(state, x)
    ),
)
