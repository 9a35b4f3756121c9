"""The quantities of a result by name, and results computed by the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..conventions.parameter_map import ParameterMap
from ..subjects.protocol import Cotangents, Inputs, Pulled, Result

GRADIENT = "gradient of "
"""Beginning of the names of gradients."""


def by_name(states: Sequence[str], result: Any) -> dict[str, Any]:
    """Return all arrays of an actual or expected result by name: outputs, then gradients.

    ``states`` are the names of the cell's states; a wrong layer may return more, or fewer.
    """
    named = {"y": result.y}
    named |= {f"final {s}": a for s, a in zip(states, result.final, strict=False)}
    if hasattr(result, "parameters"):
        named |= gradients_by_name(states, result)
    return named


def gradients_by_name(states: Sequence[str], pulled: Any) -> dict[str, Any]:
    """Return the gradients of a result by name."""
    named = {f"gradient of {name}": a for name, a in pulled.parameters.items()}
    named["gradient of x"] = pulled.x
    pairs = zip(states, pulled.initial, strict=False)  # a default state has no gradient
    return named | {f"gradient of initial {s}": a for s, a in pairs}


def evaluated(
    layer: Any,  # a Layer or a FormedLayer: each takes back its own output alone
    parameter_map: ParameterMap,
    inputs: Inputs,
    lift: Callable[[Floats], Any],
    cotangents: Cotangents | None = None,
) -> Result:
    """Return the results of a layer of the reference in the number system of ``lift``.

    With cotangents, gradients are included; a cotangent of None is 0.
    """
    numbers = inputs.map(lift)
    p = parameter_map.to_reference(numbers.parameters)
    output = layer.forward(p, numbers.x, numbers.state, inputs.lengths)
    if cotangents is None:
        return Result(output.y, output.final)
    pairs = zip((cotangents[0], *cotangents[1]), (output.y, *output.final), strict=True)
    dy, *dfinal = (lift(np.zeros(a.shape) if d is None else d) for d, a in pairs)
    gradient = layer.vjp(p, output, dy, tuple(dfinal))
    packed = parameter_map.from_reference(gradient.parameters)
    initial = gradient.initial if inputs.state is not None else ()
    return Pulled(output.y, output.final, packed, gradient.x, initial)
