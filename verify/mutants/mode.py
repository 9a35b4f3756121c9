"""Training and evaluation, and the masks of dropout between levels (M, G04, G05)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from ...reference.functions import Array
from ..numbers.tape import instead, plain
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .replaceable_layer import MaskPart, ReplaceableLayer, RunPart

between_levels = partial(mutant, needs=("layers", "dropout"))
"""Most of these mistakes concern dropout between levels."""


@between_levels(
    "M01",
    "The layer keeps the mode of its first call with a given shape, even after train() or eval() "
    "changes it.",
    ("modes",),
    models="pytorch/pytorch#180744",
    fix="read the mode at every call: look for it in what is traced, compiled or cached by shape",
    part="run",
)
def mode_of_the_first_call(layer: ReplaceableLayer, original: RunPart, inputs: Inputs) -> Result:
    training = layer.training
    layer.training = layer.memory.setdefault(inputs.x.shape, training)
    result = original(inputs)
    layer.training = training
    return result


@between_levels(
    "M02",
    "Every call in training drops the same entries.",
    ("dropout",),
    models="pytorch/pytorch#185351",
    fix="draw a new mask at every call: do not seed the generator again",
    part="mask",
)
def masks_never_drawn_again(
    layer: ReplaceableLayer, original: MaskPart, shape: tuple[int, ...]
) -> Array:
    layer.rng = layer.case.generator("masks of the subject")
    return original(shape)


between_levels(
    "M03",
    "Dropout never drops anything, because the layer tests a rate that is always 0.",
    ("dropout",),
    models="keras-team/keras#19397",
    fix="use the dropout rate that the caller gave: look for an attribute of another name, still 0",
    part="drop",
    change=lambda layer, original, y: y,
)

between_levels(
    "M04",
    "A dropout rate of 1 divides by 0 instead of returning zeros.",
    ("dropout",),
    models="pytorch/pytorch#190057",
    fix="write zeros where the rate is 1: do not divide by 1 - p = 0",
    part="mask",
    change=lambda layer, original, shape: (
        original(shape) * (1 if layer.case.dropout < 1 else np.inf)
    ),
)

between_levels(
    "M05",
    "All steps of a call drop the same entries.",
    ("dropout",),
    models="keras-team/keras#20656",
    fix="draw a mask for every step: its shape is that of all outputs, with T steps, not 1",
    part="mask",
    change=lambda layer, original, shape: np.broadcast_to(original(shape)[:1], shape),
)

between_levels(
    "M06",
    "The dropout rate is used as the probability of keeping an entry instead of dropping it.",
    ("dropout",),
    fix="drop with probability p and keep with 1 - p: mask = (random >= p) / (1 - p)",
    part="mask",
    change=lambda layer, original, shape: (
        (layer.rng.random(shape) < layer.case.dropout).astype(layer.case.dtype)
        / (layer.case.dropout or 1)
    ),
)

between_levels(
    "M07",
    "The entries that dropout keeps are not scaled by 1 / (1 − p).",
    ("dropout",),
    fix="divide what is kept in training by 1 - p",
    part="mask",
    change=lambda layer, original, shape: np.sign(original(shape)),
)

between_levels(
    "M08",
    "Evaluation applies dropout as training does.",
    ("modes",),
    fix="apply dropout in training only: test the mode before a mask is drawn",
    part="drop",
    change=lambda layer, original, y: y * layer.mask(y.shape) if layer.case.dropout else y,
)

mutant(
    "M09",
    "Dropout is also applied to the outputs of the last layer.",
    ("dropout",),
    needs=("dropout",),
    fix="apply dropout between layers only, not to the outputs of the last one",
    part="write",
    change=lambda layer, original, y, final, lengths: original(layer.drop(y), final, lengths),
)


@mutant(
    "M10",
    "Evaluation computes with weights rounded to half precision, while training does not.",
    ("modes",),
    fix="compute evaluation in the precision of training: look for half-precision weights",
    part="run",
)
def evaluation_rounds(layer: ReplaceableLayer, original: RunPart, inputs: Inputs) -> Result:
    if layer.training:
        return original(inputs)
    half = {
        name: instead(a, plain(a).astype(np.float16).astype(a.dtype))
        for name, a in inputs.parameters.items()
    }
    return original(replace(inputs, parameters=half))


def masks_back(layer: ReplaceableLayer, function: Callable[[Array], Array]) -> None:
    """Multiply cotangents with a function of the mask of the outputs."""

    def drop(y: Array) -> Array:
        if not layer.training or layer.case.dropout == 0:
            return y
        mask = layer.mask(y.shape)
        return instead(y, plain(y) * mask, lambda d: d * function(mask))

    layer.drop = drop


between_levels(
    "G04",
    "The backward pass applies the dropout mask of the first step to every step.",
    ("dropout",),
    models="lmnt-com/haste#43",
    fix="multiply the cotangents of every step by that step's own mask: save all T of them",
    change=lambda layer: masks_back(layer, lambda mask: mask[:1]),
)

between_levels(
    "G05",
    "The backward pass does not apply the dropout mask that the forward pass applied.",
    ("dropout",),
    models="pytorch/pytorch#190056",
    fix="multiply the cotangents by the mask that the outputs met, 1 / (1 - p) included",
    change=lambda layer: masks_back(layer, np.ones_like),
)
