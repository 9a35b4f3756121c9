"""Forward-mode derivatives along something else than what was asked for (J)."""

from __future__ import annotations

from dataclasses import replace

from ..subjects.protocol import Inputs
from .catalogue import mutant
from .parts import PLAIN
from .workshop import Workshop


@mutant(
    "J01",
    cells=PLAIN,
    killed_by=("jvp",),
    needs=("jvp",),
    fix="start from the tangents of the initial states, not from zeros, in forward mode",
)
def tangent_of_the_state_dropped(layer: Workshop) -> None:
    """The tangents of the initial states are not read."""

    def read(tangents: Inputs) -> Inputs:
        still = None if tangents.state is None else tuple(0 * s for s in tangents.state)
        return replace(tangents, state=still)

    layer.read_tangents = read


@mutant(
    "J02",
    cells=PLAIN,
    killed_by=("jvp",),
    needs=("jvp",),
    fix="add the tangents of the biases in forward mode: d(x W + b) = dx W + x dW + db",
)
def tangent_of_the_biases_dropped(layer: Workshop) -> None:
    """The tangents of the biases are not read."""
    layer.read_tangents = lambda tangents: replace(
        tangents,
        parameters={n: 0 * t if n[0] == "b" else t for n, t in tangents.parameters.items()},
    )
