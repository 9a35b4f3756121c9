"""Cotangents that are not read, gradients that are not handed out as they should be (G)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...reference.functions import Array
from ..subjects.protocol import Cotangents, Pulled
from .catalogue import mutant
from .parts import PLAIN, RECURRENT
from .workshop import Workshop


@mutant(
    "G01",
    cells=("lstm", "lstm-peephole"),
    models="deeplearning4j/deeplearning4j#8838",
    killed_by=("cotangents", "gradient"),
    fix="add the cotangent on the final c to dc at each row's last step",
)
def cotangent_on_the_final_cell_state_dropped(layer: Workshop) -> None:
    """The cotangent on the final cell state is not read."""
    layer.read_cotangents = lambda given: (given[0], (given[1][0], None))


@mutant(
    "G02",
    cells=RECURRENT,
    models="chainer/chainer#2505",
    killed_by=("cotangents", "gradient"),
    fix="add the cotangent on the final h to dh at each row's last step",
)
def cotangent_on_the_final_hidden_state_dropped(layer: Workshop) -> None:
    """The cotangent on the final hidden state is not read."""
    layer.read_cotangents = lambda given: (given[0], (None, *given[1][1:]))


@mutant(
    "G02b",
    cells=PLAIN,
    killed_by=("cotangents",),
    fix="take a missing cotangent on y as zeros, and read those on the final states all the same",
)
def final_states_count_only_beside_outputs(layer: Workshop) -> None:
    """Where nothing depends on y, the cotangents on the final states are not read either."""
    layer.read_cotangents = lambda given: (
        given if given[0] is not None else (None, tuple(None for _ in given[1]))
    )


@mutant(
    "G10",
    cells=PLAIN,
    models="apache/mxnet#17872",
    killed_by=("gradient",),
    needs=("layers",),
    fix="compute the bias gradients of every layer, not of the lowest alone",
)
def bias_gradient_of_the_lowest_level_only(layer: Workshop) -> None:
    """The biases of upper levels have gradient 0."""
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
    cells=PLAIN,
    killed_by=("gradient",),
    fix="sum the gradients of biases over the batch; do not take the mean (no division by B)",
)
def bias_gradient_averaged_over_the_batch(layer: Workshop) -> None:
    """The gradients of biases are divided by B."""
    right = layer.give_gradients

    def give(pulled: Pulled, given: Cotangents) -> Pulled:
        B = pulled.x.shape[1]
        named = {name: d / B if name[0] == "b" else d for name, d in pulled.parameters.items()}
        return right(replace(pulled, parameters=named), given)

    layer.give_gradients = give


@mutant(
    "G12",
    cells=PLAIN,
    models="apache/mxnet#18203",
    killed_by=("purity",),
    fix="write the gradient of x into an array of its own, not into the cotangent on y",
)
def gradient_of_x_over_the_cotangent(layer: Workshop) -> None:
    """The gradient of x is written into the caller's cotangent on y, as far as it fits."""
    right = layer.give_gradients

    def give(pulled: Pulled, given: Cotangents) -> Pulled:
        dy, width = given[0], pulled.x.shape[2]
        if dy is not None and dy.flags.writeable:
            dy[:, :, :width] = pulled.x[:, :, : dy.shape[2]]
        return right(pulled, given)

    layer.give_gradients = give


@mutant(
    "G13",
    cells=PLAIN,
    models="pytorch/pytorch#619",
    killed_by=("strided",),
    fix="honour the strides of the cotangent on y, or copy it to contiguous memory first",
)
def cotangent_read_without_its_strides(layer: Workshop) -> None:
    """The cotangent on y is read as if it were contiguous, whatever its strides."""
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
    cells=RECURRENT,
    models="fla-org/flash-linear-attention#1140",
    killed_by=("carry-gradient", "gradient"),
    fix="return what the first step passes back (dh, and dc if there is one) as the initial "
    "states' gradients",
)
def gradients_of_initial_states_dropped(layer: Workshop) -> None:
    """The gradients of the initial states are 0."""
    right = layer.give_gradients
    layer.give_gradients = lambda pulled, given: right(
        replace(pulled, initial=tuple(0 * d for d in pulled.initial)), given
    )


@mutant(
    "G19",
    cells=PLAIN,
    killed_by=("gradient",),
    fix="compute dx_t from step t alone, dx_t = dz_t W^T; look for a buffer that keeps step t "
    "- 1's",
)
def gradient_of_x_leaks_forward(layer: Workshop) -> None:
    """A thousandth of every step's gradient of x is added to the next step's."""
    right = layer.give_gradients

    def give(pulled: Pulled, given: Cotangents) -> Pulled:
        late = np.concatenate([0 * pulled.x[:1], pulled.x[:-1]]) / 1000
        return right(replace(pulled, x=pulled.x + late), given)

    layer.give_gradients = give
