"""What a node computes beyond its convention, as data: its activations and its clipping."""

from __future__ import annotations

import math
from dataclasses import dataclass

ACTIVATIONS = (
    "Affine", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "ScaledTanh", "Sigmoid", "Softplus",
    "Softsign", "Tanh", "ThresholdedRelu",
)  # fmt: skip
"""Those that ONNX has."""

FUSED_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH")
"""Those that an operator of TensorFlow Lite has, as its schema spells them."""


@dataclass(frozen=True)
class Fused:
    """What an operator of TensorFlow Lite has beside its gates; clips of 0 are none.

    ``coupled``: i = 1 - f, from the negated sum of what is i here; ``normalised``: the sums of the
    gates are, each by itself.
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
    """What a node computes beyond its convention: activations (name, alpha, beta), and clipping.

    ``base`` is the cell whose parameters it has; ``clips_state``: the cell state is clipped before
    its activation, too. ``fused`` is what an operator of TensorFlow Lite has, which no other has.
    """

    base: str
    kind: str
    activations: tuple[tuple[str, float, float], ...]
    clip: float = 0.0
    clips_state: bool = False
    fused: Fused | None = None

    @property
    def problem(self) -> str:
        """What of it is none of ONNX or TensorFlow Lite, "" if nothing."""
        if self.fused is not None:
            clips = (self.fused.cell_clip, self.fused.projection_clip)
            sound = self.fused.activation in FUSED_ACTIVATIONS and self.kind in ("RNN", "LSTM")
            return "" if sound and all(0 <= c < math.inf for c in clips) else "no such operator"
        count = {"RNN": 1, "GRU": 2, "LSTM": 3}.get(self.kind)
        if count != len(self.activations) or any(a[0] not in ACTIVATIONS for a in self.activations):
            return f"activations {self.activations!r:.100}"
        numbers = (self.clip, *(n for a in self.activations for n in a[1:]))
        return (
            "" if all(map(math.isfinite, numbers)) and self.clip >= 0 else "numbers that are none"
        )
