"""What a node computes beyond its convention, as data: its activations and its clipping."""

from __future__ import annotations

import math
from dataclasses import dataclass

ACTIVATIONS = (
    "Affine", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "ScaledTanh", "Sigmoid", "Softplus",
    "Softsign", "Tanh", "ThresholdedRelu",
)  # fmt: skip
"""Those that ONNX has."""


@dataclass(frozen=True)
class Operation:
    """What a node computes beyond its convention: activations (name, alpha, beta), and clipping.

    ``base`` is the cell whose parameters it has; ``clips_state``: the cell state is clipped before
    its activation, too.
    """

    base: str
    kind: str
    activations: tuple[tuple[str, float, float], ...]
    clip: float = 0.0
    clips_state: bool = False

    @property
    def problem(self) -> str:
        """What of it is none of ONNX, "" if nothing."""
        count = {"RNN": 1, "GRU": 2, "LSTM": 3}.get(self.kind)
        if count != len(self.activations) or any(a[0] not in ACTIVATIONS for a in self.activations):
            return f"activations {self.activations!r:.100}"
        numbers = (self.clip, *(n for a in self.activations for n in a[1:]))
        return (
            "" if all(map(math.isfinite, numbers)) and self.clip >= 0 else "numbers that are none"
        )
