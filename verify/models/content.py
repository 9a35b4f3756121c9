"""What the process that reads a model file tells the judge of a node and of its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...reference.arrays import Floats

ORDERS = {
    "torch": {"lstm": "ifgo", "gru": "rzn", "rnn": "a"},
    "keras": {"lstm": "ifgo", "gru": "zrn", "rnn": "a"},
    "onnx": {"lstm": "iofg", "gru": "zrn", "rnn": "a"},
    "TensorFlow Lite": {"lstm": "ifgo", "gru": "zrn", "rnn": "a"},
}
"""The gates in each framework's order, by the letters of the equations."""


@dataclass(frozen=True)
class Layer:
    """One recurrent layer, gate by gate, for comparison with another.

    ``passes`` have for each direction W_i (H, D), U_i (H, H), b_i (H,) of the input, c_i (H,) of
    the state, p_i (H,); r_h (P, H) of a projection, s_i (H,) of a layer norm. ``facts`` are further
    properties: ``reset``, ``activations``, ``clip``, ``coupled``, ``direction``, ``steps``, and
    ``reader``, the framework of the operator. ``fixed`` are constant initial states. ``names`` are
    those of its arrays.
    """

    name: str
    family: str
    passes: tuple[Mapping[str, Floats], ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Floats] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @property
    def signature(self) -> tuple[str, int, int, int]:
        """Family, widths and directions."""
        gate = ORDERS["onnx"][self.family][0]
        H, D = self.passes[0][f"W_{gate}"].shape
        return self.family, H, D, len(self.passes)

    @property
    def size(self) -> int:
        """The number of its numbers."""
        arrays = [*self.fixed.values(), *(a for blocks in self.passes for a in blocks.values())]
        return sum(array.size for array in arrays)


@dataclass(frozen=True)
class Content:
    """A node's weights by its convention's names, and what it is compared with.

    ``unrolled``: it is a step that an exporter has unrolled, which runs with its own weights alone;
    ``reverse``: it begins at the end of its rows. ``file`` are the layers of its file, of which it
    has this ``number``, ``source`` those that they were exported from. ``calls`` are its inputs and
    results in the running graph, ``unseen`` is the reason why there are none.
    """

    weights: Mapping[str, Floats]
    unrolled: bool = False
    reverse: bool = False
    number: int = 0
    file: tuple[Layer, ...] = ()
    source: tuple[Layer, ...] = ()
    calls: tuple[Mapping[str, Floats], ...] = ()
    unseen: str = ""
