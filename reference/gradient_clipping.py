"""Gradient clipping by value and by global norm (E30)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .arrays import Array
from .cell import total
from .equation import equation
from .errors import InputError
from .functions import midpoint, minimum, switch


@equation(
    "E30",
    "clip.by_value",
    latex=r"g \mapsto \max(-\theta, \min(g, \theta))",
    documents=("D0", "D2"),
    note="“clipped if they are larger than a threshold”; NaN and inf are refused, not passed on",
)
def clip_by_value(gradients: Mapping[str, Array], threshold: float) -> dict[str, Array]:
    """Return every entry limited to [-threshold, threshold]."""
    _check(gradients, threshold)
    return {
        name: switch(g + threshold, 0 * g - threshold, minimum(g, 0 * g + threshold))
        for name, g in gradients.items()
    }


@equation(
    "E30",
    "clip.by_global_norm",
    latex=r"g \mapsto g \cdot \min\left(1, \frac{\theta}{\lVert g \rVert_2}\right)",
    documents=("D0", "D2", "Pascanu, Mikolov & Bengio 2013"),
    note="one norm over all arrays together, so the direction stays",
)
def clip_by_global_norm(gradients: Mapping[str, Array], threshold: float) -> dict[str, Array]:
    """Return all arrays scaled by one factor, so that their joint 2-norm is at most threshold."""
    _check(gradients, threshold)
    norm = global_norm(gradients)
    if not midpoint(norm).any():
        return dict(gradients)
    scale = minimum(threshold / norm, 0 * norm + 1)
    return {name: g * scale for name, g in gradients.items()}


def global_norm(gradients: Mapping[str, Array]) -> Any:
    """Return the 2-norm of all entries of all arrays together.

    The largest entry is taken out first, so that squares neither overflow nor underflow.
    """
    largest = max(float(np.max(np.abs(midpoint(g)), initial=0.0)) for g in gradients.values())
    if largest == 0.0:
        largest = 1.0
    squares = total([((g / largest) * (g / largest)).sum() for g in gradients.values()])
    return largest * np.sqrt(squares)


def _check(gradients: Mapping[str, Array], threshold: float) -> None:
    if not gradients:
        raise InputError("gradients", "at least one array", "none")
    if not threshold > 0:
        raise InputError("threshold", "a positive number", threshold)
    for name, g in gradients.items():
        if not np.isfinite(midpoint(g)).all():
            raise InputError(f"gradients[{name!r}]", "finite numbers", "NaN or inf")
