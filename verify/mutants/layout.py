"""Weights that mean something else than they say: order, transposition, flat buffers (L)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...reference.cell import State
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..numbers.tape import instead, plain, rearranged
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import GRU, LSTM, PLAIN, changed, reads, with_gates
from .replaceable_layer import ReplaceableLayer

SQUARE = ("rnn", "lstm", "lstm-peephole", *GRU)


def reordered(p: Parameters, order: str, arrays: Sequence[str] = ("W", "U", "b")) -> Parameters:
    """Return parameters whose blocks are taken in another order of gates."""
    index = [p.shapes["W"].gates.index(letter) for letter in order]
    return changed(p, **{name: p[name][index] for name in arrays})


@mutant(
    "L01",
    statement="The input and forget gates are exchanged in W, U and b.",
    cells=LSTM,
    models="NX-AI/xlstm#98",
    killed_by=("gate-limits", "forward"),
    fix="exchange the blocks of i and f: the order is i, f, g, o",
    same_as="order figo",
)
def input_and_forget_gate_swapped(layer: ReplaceableLayer) -> None:
    reads(layer, lambda p: reordered(p, "figo"))


@mutant(
    "L02",
    statement="The candidate and the output gate are exchanged in W, U and b.",
    cells=LSTM,
    models="apple/coremltools#93",
    killed_by=("forward",),
    fix="exchange the blocks of g and o: the order is i, f, g, o",
    same_as="order ifog",
)
def candidate_and_output_gate_swapped(layer: ReplaceableLayer) -> None:
    reads(layer, lambda p: reordered(p, "ifog"))


@mutant(
    "L03",
    statement="The gates are read in the order i, g, f, o of another library, and 1 is added to "
    "the forget gate's bias.",
    cells=("lstm",),
    models="tensorflow/tensorflow#29622",
    killed_by=("forward",),
    fix="read the blocks in the order i, f, g, o, not i, g, f, o, and do not add 1 to b_f",
)
def order_and_forget_bias_of_another_library(layer: ReplaceableLayer) -> None:
    def read(p: Parameters) -> Parameters:
        p = reordered(p, "igfo")
        return with_gates(p, b_f=p.b_f + 1)

    reads(layer, read)


@mutant(
    "L04",
    statement="W is read with its first two gates exchanged, while U and b are read in the right "
    "order.",
    cells=("lstm", "gru"),
    models="magenta/magenta#1015",
    killed_by=("forward",),
    fix="read W in the order of gates that U and b have: i, f, g, o (r, z, n in a GRU)",
)
def only_the_input_weights_reordered(layer: ReplaceableLayer) -> None:
    letters = "".join(layer.cell.gates)
    reads(layer, lambda p: reordered(p, letters[1] + letters[0] + letters[2:], ["W"]))


@mutant(
    "L05",
    statement="The recurrent weights U are transposed, gate by gate.",
    cells=SQUARE,
    models="keras-team/keras#8720",
    killed_by=("forward", "gradient"),
    fix="transpose U, gate by gate: the product is h @ U, or h @ weight_hh.T in PyTorch's layout",
)
def recurrent_weights_transposed(layer: ReplaceableLayer) -> None:
    reads(layer, lambda p: changed(p, U=rearranged(p.U, lambda U: U.swapaxes(1, 2))))


def packed(array: Array, gates: int, read: Callable[[Array], Array]) -> Array:
    """Pass (G, ..., H) through the packed form (..., G * H) and read that otherwise."""

    def moved(a: Array) -> Array:
        together = np.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1)
        return np.moveaxis(read(together).reshape(*a.shape[1:-1], gates, -1), -2, 0)

    return rearranged(array, moved)


@mutant(
    "L06",
    statement="The packed weights are read unit by unit instead of gate by gate.",
    cells=("lstm", "gru"),
    models="huggingface/candle#2351",
    killed_by=("unit-permutation", "forward"),
    fix="read the packed axis gate after gate: unit j of gate k stands at k H + j, not at j G "
    "+ k (G gates)",
)
def gates_interleaved(layer: ReplaceableLayer) -> None:
    gates = len(layer.cell.gates)

    def read(columns: Array) -> Array:
        return columns.reshape(*columns.shape[:-1], -1, gates).swapaxes(-1, -2)

    reads(layer, lambda p: changed(p, **{name: packed(p[name], gates, read) for name in "WUb"}))


@mutant(
    "L07",
    statement="W is stored by columns but read by rows, without being transposed.",
    cells=PLAIN,
    models="tracel-ai/burn#5383",
    killed_by=("unit-permutation", "forward"),
    fix="transpose W where it is read in the wrong storage order: use .T, not reshape",
)
def stored_by_columns_read_by_rows(layer: ReplaceableLayer) -> None:
    def by_rows(W: Array) -> Array:
        return np.stack([w.ravel("F").reshape(w.shape) for w in W])

    reads(layer, lambda p: changed(p, W=rearranged(p.W, by_rows)))


@mutant(
    "L08",
    statement="Each gate's slice of the packed weights starts one column too late.",
    cells=("lstm", "gru"),
    killed_by=("unit-permutation", "forward"),
    fix="begin the slice of gate k at k H, not at k H + 1: packed[k * H : (k + 1) * H]",
)
def gates_sliced_off_by_one(layer: ReplaceableLayer) -> None:
    gates = len(layer.cell.gates)

    def late(p: Parameters) -> Parameters:
        arrays = {n: packed(p[n], gates, lambda a: np.roll(a, -1, axis=-1)) for n in "WUb"}
        return changed(p, **arrays)

    reads(layer, late)


@mutant(
    "L09",
    statement="The flat buffer of all weights is read direction by direction instead of layer by "
    "layer.",
    cells=PLAIN,
    models="pytorch/pytorch#22493",
    killed_by=("forward",),
    needs=("layers", "bidirectional"),
    fix="read the flat buffer layer by layer, both directions in each: pass = 2 * layer + "
    "direction",
)
def directions_outside_layers(layer: ReplaceableLayer) -> None:
    right, case = layer.read_parameters, layer.case
    order = [
        level * case.directions + direction
        for direction in range(case.directions)
        for level in range(case.layers)
    ]

    def read(named: Mapping[str, Array]) -> Sequence[Parameters]:
        passes = right(named)
        flat = np.concatenate([a.reshape(-1) for p in passes for a in p.values()])
        found, start = {}, 0
        for k in order:
            arrays = {}
            for name, array in passes[k].items():
                size = int(np.prod(array.shape))
                arrays[name] = flat[start : start + size].reshape(*array.shape)
                start += size
            found[k] = changed(passes[k], **arrays)
        return [found[k] for k in range(len(passes))]

    layer.read_parameters = read


@mutant(
    "L10",
    statement="The layer above receives zeros instead of the outputs of the backward direction.",
    cells=PLAIN,
    models="pytorch/pytorch#89357",
    killed_by=("forward",),
    needs=("layers", "bidirectional"),
    fix="feed the layer above the outputs of both directions: concatenate forward and backward",
)
def upper_layer_reads_one_direction(layer: ReplaceableLayer) -> None:
    right = layer.drop

    def forward_half(y: Array) -> Array:
        width = y.shape[2] // layer.case.directions
        kept = np.zeros(y.shape[2], y.dtype)
        kept[:width] = 1
        return right(y * kept)

    layer.drop = forward_half


@mutant(
    "L11",
    statement="The weights of the first call are kept, so later changes of the weights have no "
    "effect.",
    cells=PLAIN,
    models="apache/mxnet#16037",
    killed_by=("reweight",),
    fix="read the weights at every call: look for a packed or cached copy that is never renewed",
)
def weights_of_the_first_call(layer: ReplaceableLayer) -> None:
    right = layer.read_parameters
    first: dict[str, Array] = {}

    def read(named: Mapping[str, Array]) -> Sequence[Parameters]:
        for name, array in named.items():
            first.setdefault(name, np.array(plain(array)))
        return right({name: instead(array, first[name]) for name, array in named.items()})

    layer.read_parameters = read


@mutant(
    "L12",
    statement="The first two gates are exchanged in the backward direction only.",
    cells=("lstm", "gru"),
    models="jax-ml/jax#36572",
    killed_by=("direction", "forward"),
    needs=("bidirectional",),
    fix="read the backward direction's gates in the forward one's order: i, f, g, o (r, z, n "
    "in a GRU)",
)
def backward_direction_has_another_order(layer: ReplaceableLayer) -> None:
    right, directions = layer.read_parameters, layer.case.directions
    letters = "".join(layer.cell.gates)
    order = letters[1] + letters[0] + letters[2:]
    layer.read_parameters = lambda named: [
        reordered(p, order) if k % directions else p for k, p in enumerate(right(named))
    ]


@mutant(
    "L13",
    statement="The reset and update gates are exchanged in W, U and b.",
    cells=GRU,
    killed_by=("gate-limits", "forward"),
    fix="exchange the blocks of r and z: the order is r, z, n",
    same_as="order zrn",
)
def reset_and_update_gate_swapped(layer: ReplaceableLayer) -> None:
    reads(layer, lambda p: reordered(p, "zrn"))


# Other layouts at the border: the batch first, or no batch axis at all (B).
#
# Arrays arrive here time first in every layout; what a wrong layer makes of another one is put into
# these terms.


@mutant(
    "B01",
    statement="Batch-first input is reshaped to time-first instead of being transposed, and so "
    "are the outputs.",
    cells=PLAIN,
    killed_by=("batch-first",),
    needs=("batch_first",),
    fix="transpose batch-first input and outputs (exchange axes 0 and 1); do not reshape them",
)
def reshaped_instead_of_transposed(layer: ReplaceableLayer) -> None:
    right = layer.run

    def run(inputs: Inputs) -> Result:
        if layer.case.layout != "batch-first":
            return right(inputs)
        result = right(replace(inputs, x=rearranged(inputs.x, _reshaped)))
        return replace(result, y=rearranged(result.y, _reshaped_back))

    layer.run = run


def _reshaped(x: Array) -> Array:
    """Read the memory of (B, T, D) as (T, B, D)."""
    return x.swapaxes(0, 1).reshape(x.shape)


def _reshaped_back(y: Array) -> Array:
    """Read the memory of (T, B, width) as (B, T, width)."""
    T, B, width = y.shape
    return y.reshape(B, T, width).swapaxes(0, 1)


@mutant(
    "B02",
    statement="The initial state is ignored when the input has no batch axis.",
    cells=PLAIN,
    killed_by=("unbatched",),
    needs=("unbatched",),
    fix="read the initial state without a batch axis, too: give it an axis of size 1, as x "
    "gets one",
)
def state_ignored_without_a_batch(layer: ReplaceableLayer) -> None:
    right = layer.read_state

    def read(state: State | None, x: Array) -> State:
        if state is None or layer.case.layout != "unbatched":
            return right(state, x)
        return tuple(0 * s for s in state)

    layer.read_state = read
