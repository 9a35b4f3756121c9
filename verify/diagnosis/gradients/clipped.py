"""Gradients that a backward pass clips by their norm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ....reference.arrays import Floats
from ...mutants.gradient import gives
from ...mutants.replaceable_layer import ReplaceableLayer
from ...subjects.protocol import Pulled
from ..hypotheses import Hypothesis

LIMITS = (1.0, 5.0, 10.0, 0.5, 0.25, 0.1, 2.0, 3.0)
"""Usual limits of norms."""

GROUPS = {
    "all parameters together": ("parameters",),
    "all parameters, of x and of the initial states together": ("parameters", "x", "initial"),
    "each array": (),
}
FIX = "return the gradients as they are: clip, if at all, after the backward pass"


def clipped() -> Iterator[Hypothesis]:
    """Yield limits of the norm of gradients, beyond which they are scaled down."""
    for words, group in GROUPS.items():
        for limit in LIMITS:
            yield Hypothesis(
                (f"norm of {words} clipped at {limit:g}",),
                (f"The gradients of {words} are scaled down where their norm exceeds {limit:g}.",),
                (partial(_scaled, group, limit),), (FIX,), ("gradient",),
            )  # fmt: skip


def _scaled(group: Sequence[str], limit: float, layer: ReplaceableLayer) -> None:
    def share(arrays: Sequence[Floats]) -> float:
        norm = float(np.sqrt(sum(float((a.astype(np.float64) ** 2).sum()) for a in arrays)))
        return limit / norm if norm > limit else 1.0

    def function(pulled: Pulled) -> Pulled:
        named, x, initial = pulled.parameters, pulled.x, pulled.initial
        if not group:
            by = {n: d * d.dtype.type(share([d])) for n, d in named.items()}
            first = tuple(d * d.dtype.type(share([d])) for d in initial)
            return replace(pulled, parameters=by, x=x * x.dtype.type(share([x])), initial=first)
        whole = len(group) > 1
        factor = x.dtype.type(share([*named.values(), *((x, *initial) if whole else ())]))
        scaled = replace(pulled, parameters={n: factor * d for n, d in named.items()})
        if not whole:
            return scaled
        return replace(scaled, x=factor * x, initial=tuple(factor * d for d in initial))

    gives(layer, function)
