"""The conventions of PyTorch's parameters, by the cells of the reference.

Rows of ``weight_ih`` (G * H, D) stand gate after gate: i, f, g, o (LSTM), r, z, n (GRU). Both
biases are added, except in the GRU's candidate, whose recurrent bias is reset with the product.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...reference.arrays import Floats
from ..conventions import Convention
from ..conventions.parameter_map import ConventionMap

_CALLED = Convention("rnn", "a", ("a", "a"), padding="zeros", empty_row="error",
                     merge="concatenated", states=("h",))  # fmt: skip
_LSTM = replace(_CALLED, family="lstm", order="ifgo", bias=("ifgo", "ifgo"), states=("h", "c"))

CONVENTIONS = {
    "rnn": _CALLED,
    "rnn-relu": replace(_CALLED, candidate="relu"),
    "lstm": _LSTM,
    "lstm-projected": replace(_LSTM, projected=True),
    "gru": replace(_CALLED, family="gru", order="rzn", bias=("rzn", "rzm")),
}
"""The conventions of torch.nn's layers, by the reference's cells."""


def stepped(cell: str) -> Convention:
    """Return the convention of a cell of torch.nn, which has neither lengths nor directions."""
    of_layer = CONVENTIONS[cell]
    return replace(of_layer, time="one step", padding="none", empty_row="none", merge="none")


class TorchMap(ConventionMap):
    """A map of torch's conventions, with parameters drawn by their own fan-in."""

    def draw(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Draw weights of N(0, 1/fan-in) by the case's scale, biases of N(0, 1/4)."""
        deviation = self.case.weight_scale / np.sqrt(shape[-1]) if len(shape) > 1 else 0.5
        return self.case.normal(name, shape, deviation)
