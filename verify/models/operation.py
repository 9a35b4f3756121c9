"""The function of a node beyond its convention, as data: activations and clipping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

ACTIVATIONS = (
    "Affine", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "ScaledTanh", "Sigmoid", "Softplus",
    "Softsign", "Tanh", "ThresholdedRelu",
)  # fmt: skip
"""Activations of ONNX."""

FUSED_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH")
"""Activations of TensorFlow Lite's operators, as the schema spells them."""

PARAMETERS: Mapping[str, tuple[float, float]] = {
    "Affine": (1.0, 0.0), "LeakyRelu": (0.01, 0.0), "ThresholdedRelu": (1.0, 0.0),
    "ScaledTanh": (1.0, 1.0), "HardSigmoid": (0.2, 0.5), "Elu": (1.0, 0.0),
}  # fmt: skip
"""The default alpha and beta of the activations that have an alpha."""

WITH_BETA = ("Affine", "HardSigmoid", "ScaledTanh")
"""Those that have a beta, too."""


class Activation(NamedTuple):
    """An activation of ONNX with its two numbers."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def __str__(self) -> str:
        if self.name not in PARAMETERS:
            return self.name
        return f"{self.name}({self.alpha:g}, {self.beta:g})"


@dataclass(frozen=True)
class Fused:
    """Options of an operator of TensorFlow Lite; a clip of 0 is none.

    ``coupled``: i = 1 - f, with the negated sum of the gate called i here; ``normalised``: the sum
    of each gate is normalised.
    """

    activation: str = "TANH"
    peepholes: bool = False
    projected: bool = False
    normalised: bool = False
    coupled: bool = False
    cell_clip: float = 0.0
    projection_clip: float = 0.0


@dataclass(frozen=True)
class Operation:
    """The function of a node beyond its convention: activations and clipping.

    ``base`` is the cell of the same parameters; ``clips_state``: the cell state is clipped before
    its activation, too. ``fused`` are the options of an operator of TensorFlow Lite.
    """

    base: str
    kind: str
    activations: tuple[Activation, ...]
    clip: float = 0.0
    clips_state: bool = False
    fused: Fused | None = None

    @property
    def problem(self) -> str:
        """The part of it that is invalid, "" if none."""
        if self.fused is not None:
            clips = (self.fused.cell_clip, self.fused.projection_clip)
            sound = self.fused.activation in FUSED_ACTIVATIONS and self.kind in ("RNN", "LSTM")
            return "" if sound and all(0 <= c < math.inf for c in clips) else "no such operator"
        count = {"RNN": 1, "GRU": 2, "LSTM": 3}.get(self.kind)
        if count != len(self.activations) or any(
            a.name not in ACTIVATIONS for a in self.activations
        ):
            return f"activations {self.activations!r:.100}"
        numbers = (self.clip, *(n for a in self.activations for n in a[1:]))
        return "" if all(map(math.isfinite, numbers)) and self.clip >= 0 else "invalid numbers"
