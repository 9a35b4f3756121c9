"""The numbers of a result, or of what was expected of it, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

GRADIENT = "gradient of "
"""What the names of gradients begin with."""


def by_name(states: Sequence[str], result: Any) -> dict[str, Any]:
    """Return every number of a result, or of what was expected: outputs, then gradients.

    ``states`` are the names of the cell's states; a wrong layer may return more, or fewer.
    """
    named = {"y": result.y}
    named |= {f"final {s}": a for s, a in zip(states, result.final, strict=False)}
    if hasattr(result, "parameters"):
        named |= gradients_by_name(states, result)
    return named


def gradients_by_name(states: Sequence[str], pulled: Any) -> dict[str, Any]:
    """Return the gradients alone."""
    named = {f"gradient of {name}": a for name, a in pulled.parameters.items()}
    named["gradient of x"] = pulled.x
    pairs = zip(states, pulled.initial, strict=False)  # a default state has no gradient
    return named | {f"gradient of initial {s}": a for s, a in pairs}
