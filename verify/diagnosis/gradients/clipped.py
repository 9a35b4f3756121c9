"""Gradients that a backward pass clips by their norm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from ....reference.arrays import Floats
from ...mutants.gradient import gives
from ...mutants.replaceable_layer import ReplaceableLayer
from ...subjects.protocol import Pulled
from ..hypotheses import Hypothesis

LIMITS = (1.0, 5.0, 10.0, 0.5, 0.25, 0.1, 2.0, 3.0)
"""Usual limits of norms."""

PARAMETERS = "all parameters together"
EVERYTHING = "all parameters, of x and of the initial states together"
EACH = "each array"
FIX = "return the gradients as they are: clip, if at all, after the backward pass"


def clipped() -> Iterator[Hypothesis]:
    """Yield limits of the norm of gradients, beyond which they are scaled down."""
    for group, limit in product((PARAMETERS, EVERYTHING, EACH), LIMITS):
        yield Hypothesis(
            (f"norm of {group} clipped at {limit:g}",),
            (f"The gradients of {group} are scaled down where their norm exceeds {limit:g}.",),
            (partial(_scaled, group, limit),), (FIX,), ("gradient",),
        )  # fmt: skip


def _scaled(group: str, limit: float, layer: ReplaceableLayer) -> None:
    def shortened(arrays: Sequence[Floats]) -> list[Floats]:
        norm = float(np.sqrt(sum(float((a.astype(np.float64) ** 2).sum()) for a in arrays)))
        factor = limit / norm if norm > limit else 1.0
        return [d * d.dtype.type(factor) for d in arrays]

    def function(pulled: Pulled) -> Pulled:
        count = len(pulled.parameters)
        arrays = [*pulled.parameters.values(), pulled.x, *pulled.initial]
        scaled = {
            PARAMETERS: [*shortened(arrays[:count]), *arrays[count:]],
            EVERYTHING: shortened(arrays),
            EACH: [d for array in arrays for d in shortened([array])],
        }[group]
        named = dict(zip(pulled.parameters, scaled, strict=False))
        return replace(
            pulled, parameters=named, x=scaled[count], initial=tuple(scaled[count + 1 :])
        )

    gives(layer, function)
