"""PyTorch's parameters: its conventions, by the cell of the reference that each stands for.

Rows of ``weight_ih`` (G * H, D) stand gate after gate: i, f, g, o (LSTM), r, z, n (GRU). Both
biases are added, except in the GRU's candidate, whose recurrent bias is reset with the product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...reference.cells import cell_named
from ...reference.functions import Array
from ...reference.layer import Layer
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..conventions import Convention
from ..conventions import parameter_map as mapping
from ..conventions.parameter_map import suffixes

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
"""What torch.nn's layers mean by their parameters and their call."""

__all__ = ["CONVENTIONS", "draw", "from_reference", "pack", "place", "reference_layer", "shapes",
           "suffixes", "to_reference"]  # fmt: skip


def reference_layer(case: Case, cell: str) -> Layer:
    """Return the reference's layer of a case."""
    return Layer(cell_named(cell), case.sizes, case.layers, case.bidirectional)


def shapes(case: Case, cell: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter under torch's name."""
    return mapping.shapes(CONVENTIONS[cell], case)


def draw(case: Case, name: str, shape: tuple[int, ...]) -> Array:
    """Draw weights of N(0, 1/fan-in) by the case's scale, biases of N(0, 1/4)."""
    weight = len(shape) > 1
    return case.normal(name, shape, case.weight_scale / np.sqrt(shape[-1]) if weight else 0.5)


def to_reference(case: Case, cell: str, named: Mapping[str, Array]) -> tuple[Parameters, ...]:
    """Unpack torch's parameters, of any number system."""
    return mapping.to_reference(CONVENTIONS[cell], case, named)


def from_reference(case: Case, cell: str, gradient: Sequence[Parameters]) -> dict[str, Array]:
    """Pack a gradient: each of two added biases has the gradient of their sum."""
    return mapping.from_reference(CONVENTIONS[cell], case, gradient)


def pack(case: Case, cell: str, parameters: Sequence[Parameters]) -> dict[str, Array]:
    """Pack the reference's parameters; a bias is halved, exactly, between torch's two."""
    return mapping.pack(CONVENTIONS[cell], case, parameters)


def place(case: Case, cell: str, name: str, index: tuple[int, ...]) -> str:
    """Say which gate and unit an entry of a packed array belongs to."""
    return mapping.place(CONVENTIONS[cell], case, name, index)
