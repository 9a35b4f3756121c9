"""Training and evaluation, and the masks of dropout between levels (M, G04, G05)."""

from __future__ import annotations

import numpy as np

from ...reference.functions import Array
from ..numbers.tape import instead, plain
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import PLAIN
from .replaceable_layer import ReplaceableLayer

NEEDS = ("layers", "dropout")


@mutant(
    "M01",
    statement="The layer keeps the mode of its first call with a given shape, even after train() "
    "or eval() changes it.",
    cells=PLAIN,
    models="pytorch/pytorch#180744",
    killed_by=("modes",),
    needs=NEEDS,
    fix="read the mode at every call: look for it in what is traced, compiled or cached by shape",
)
def mode_of_the_first_call(layer: ReplaceableLayer) -> None:
    right = layer.run
    compiled: dict[tuple[int, ...], bool] = {}

    def run(inputs: Inputs) -> Result:
        asked = layer.training
        layer.training = compiled.setdefault(inputs.x.shape, asked)
        result = right(inputs)
        layer.training = asked
        return result

    layer.run = run


@mutant(
    "M02",
    statement="Every call in training drops the same entries.",
    cells=PLAIN,
    models="pytorch/pytorch#185351",
    killed_by=("dropout",),
    needs=NEEDS,
    fix="draw a new mask at every call: do not seed the generator again",
)
def masks_never_drawn_again(layer: ReplaceableLayer) -> None:
    right = layer.mask

    def mask(shape: tuple[int, ...]) -> Array:
        layer.rng = layer.case.generator("masks of the subject")
        return right(shape)

    layer.mask = mask


@mutant(
    "M03",
    statement="Dropout never drops anything, because the layer tests a rate that is always 0.",
    cells=PLAIN,
    models="keras-team/keras#19397",
    killed_by=("dropout",),
    needs=NEEDS,
    fix="use the dropout rate that the caller gave: look for an attribute of another name, still 0",
)
def rate_that_is_tested_is_another(layer: ReplaceableLayer) -> None:
    layer.drop = lambda y: y


@mutant(
    "M04",
    statement="A dropout rate of 1 divides by 0 instead of returning zeros.",
    cells=PLAIN,
    models="pytorch/pytorch#190057",
    killed_by=("dropout",),
    needs=NEEDS,
    fix="write zeros where the rate is 1: do not divide by 1 - p = 0",
)
def division_by_nothing_kept(layer: ReplaceableLayer) -> None:
    right = layer.mask

    def mask(shape: tuple[int, ...]) -> Array:
        drawn = right(shape)
        return drawn if layer.case.dropout < 1 else drawn * np.inf

    layer.mask = mask


@mutant(
    "M05",
    statement="All steps of a call drop the same entries.",
    cells=PLAIN,
    models="keras-team/keras#20656",
    killed_by=("dropout",),
    needs=NEEDS,
    fix="draw a mask for every step: its shape is that of all outputs, with T steps, not 1",
)
def one_mask_for_all_steps(layer: ReplaceableLayer) -> None:
    right = layer.mask

    def mask(shape: tuple[int, ...]) -> Array:
        drawn = right(shape)
        return np.broadcast_to(drawn[:1], shape) if len(drawn) else drawn

    layer.mask = mask


@mutant(
    "M06",
    statement="The dropout rate is used as the probability of keeping an entry instead of "
    "dropping it.",
    cells=PLAIN,
    killed_by=("dropout",),
    needs=NEEDS,
    fix="drop with probability p and keep with 1 - p: mask = (random >= p) / (1 - p)",
)
def rate_of_keeping(layer: ReplaceableLayer) -> None:
    def mask(shape: tuple[int, ...]) -> Array:
        rate = layer.case.dropout
        kept = (layer.rng.random(shape) < rate).astype(layer.case.dtype)
        return kept if rate == 0 else kept / rate

    layer.mask = mask


@mutant(
    "M07",
    statement="The entries that dropout keeps are not scaled by 1 / (1 − p).",
    cells=PLAIN,
    killed_by=("dropout",),
    needs=NEEDS,
    fix="divide what is kept in training by 1 - p",
)
def what_is_kept_is_not_scaled(layer: ReplaceableLayer) -> None:
    right = layer.mask
    layer.mask = lambda shape: np.sign(right(shape))


@mutant(
    "M08",
    statement="Evaluation applies dropout as training does.",
    cells=PLAIN,
    killed_by=("modes",),
    needs=NEEDS,
    fix="apply dropout in training only: test the mode before a mask is drawn",
)
def dropout_in_evaluation(layer: ReplaceableLayer) -> None:
    layer.drop = lambda y: y * layer.mask(y.shape) if layer.case.dropout else y


@mutant(
    "M09",
    statement="Dropout is also applied to the outputs of the last layer.",
    cells=PLAIN,
    killed_by=("dropout",),
    needs=("dropout",),
    fix="apply dropout between layers only, not to the outputs of the last one",
)
def dropout_after_the_last_level(layer: ReplaceableLayer) -> None:
    write = layer.write
    layer.write = lambda y, final, lengths: write(layer.drop(y), final, lengths)


@mutant(
    "M10",
    statement="Evaluation computes with weights rounded to half precision, while training does "
    "not.",
    cells=PLAIN,
    killed_by=("modes",),
    fix="compute evaluation in the precision of training: look for half-precision weights",
)
def evaluation_rounds(layer: ReplaceableLayer) -> None:
    right = layer.run

    def run(inputs: Inputs) -> Result:
        if layer.training:
            return right(inputs)
        half = {
            name: instead(a, plain(a).astype(np.float16).astype(a.dtype))
            for name, a in inputs.parameters.items()
        }
        return right(Inputs(half, inputs.x, inputs.state, inputs.lengths))

    layer.run = run


def _different_masks(layer: ReplaceableLayer, backward: str) -> None:
    """Let the cotangent meet another mask than the outputs did."""

    def drop(y: Array) -> Array:
        if not layer.training or layer.case.dropout == 0:
            return y
        mask = layer.mask(y.shape)
        met = mask[:1] if backward == "first step" else np.ones_like(mask)
        return instead(y, plain(y) * mask, lambda d: d * met)

    layer.drop = drop


@mutant(
    "G04",
    statement="The backward pass applies the dropout mask of the first step to every step.",
    cells=PLAIN,
    models="lmnt-com/haste#43",
    killed_by=("dropout",),
    needs=NEEDS,
    fix="multiply the cotangents of every step by that step's own mask: save all T of them",
)
def mask_of_the_first_step_on_the_way_back(layer: ReplaceableLayer) -> None:
    _different_masks(layer, "first step")


@mutant(
    "G05",
    statement="The backward pass does not apply the dropout mask that the forward pass applied.",
    cells=PLAIN,
    models="pytorch/pytorch#190056",
    killed_by=("dropout",),
    needs=NEEDS,
    fix="multiply the cotangents by the mask that the outputs met, 1 / (1 - p) included",
)
def mask_not_met_on_the_way_back(layer: ReplaceableLayer) -> None:
    _different_masks(layer, "none")
