"""What a layer means by its parameters and its call, as data.

The reference has explicit gates; everybody else packs them, in an order, a layout and a number of
biases of their own, and some mean another function by the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Shape

LAYOUTS = {
    "out-in": "[G·H, D]: one row a unit, gate after gate",
    "in-out": "[D, G·H]: one column a unit, gate after gate",
    "joint": "[D + H, G·H]: the rows of U below those of W",
    "interleaved": "[H·G, D]: one row a unit and gate, unit after unit",
    "stacked in-out": "[G·D, H]: a block [D, H] for every gate, one below the other",
    "beside out-in": "[H, G·D]: a block [H, D] for every gate, side by side",
    "separate out-in": "an array [H, D] for every gate",
    "separate in-out": "an array [D, H] for every gate",
    "gates": "[G, D, H]: an axis for the gates",
    "gates out-in": "[G, H, D]: an axis for the gates, one row a unit",
}
"""How weights lie; W's shapes, those of U have H in the place of D."""

GATE_AXIS = ("gates", "gates out-in")
BLOCKS = ("stacked in-out", "beside out-in")


@dataclass(frozen=True)
class Packed:
    """A stored array: its name, the slices of parameters along its packed axis, their layout.

    A slice is named as in the equations: ``W_i`` (D, H), ``U_f`` (H, H), ``b_o`` (H,), ``b_hn``
    (H,), ``p_o`` (H,), ``R`` (H, P). ``below`` are the slices whose rows stand below (layout
    ``joint``).
    """

    name: str
    slices: tuple[str, ...]
    layout: str
    below: tuple[str, ...] = ()

    def shape(self, shapes: Mapping[str, Shape]) -> tuple[int, ...]:
        """Return the array's shape; ``shapes`` are the cell's."""
        axes, count = slice_shape(shapes, self.slices[0]), len(self.slices)
        if len(axes) == 1:
            return (count, *axes) if self.layout in GATE_AXIS else (count * axes[0],)
        rows, width = axes
        if self.below:
            rows += slice_shape(shapes, self.below[0])[0]
        if self.layout in GATE_AXIS:
            return (count, rows, width) if self.layout == "gates" else (count, width, rows)
        if self.layout in BLOCKS:
            stacked = (count * rows, width)
            return stacked if self.layout == "stacked in-out" else stacked[::-1]
        packed = (rows, count * width)
        return packed if self.layout in ("in-out", "joint", "separate in-out") else packed[::-1]

    def split(self, array: Array, shapes: Mapping[str, Shape]) -> dict[str, Array]:
        """Return every slice, as the reference has it."""
        axes = slice_shape(shapes, self.slices[0])
        if not self.below:
            return dict(zip(self.slices, self._blocks(array, axes[-1]), strict=True))
        upper = self._blocks(array[: axes[0]], axes[-1])
        lower = self._blocks(array[axes[0] :], axes[-1])
        return dict(zip(self.slices + self.below, upper + lower, strict=True))

    def join(self, slices: Mapping[str, Array]) -> Array:
        """Return the array that holds these slices."""
        upper = self._joined([slices[name] for name in self.slices])
        if not self.below:
            return upper
        return np.concatenate([upper, self._joined([slices[name] for name in self.below])])

    def _blocks(self, array: Array, width: int) -> list[Array]:
        count = len(self.slices)
        if self.layout in GATE_AXIS:
            return [array[k] if self.layout == "gates" else array[k].T for k in range(count)]
        if self.layout == "interleaved":
            return [array[k::count].T for k in range(count)]
        if self.layout in BLOCKS and len(array.shape) > 1:
            whole = array if self.layout == "stacked in-out" else array.T
            height = whole.shape[0] // count
            return [whole[k * height : (k + 1) * height] for k in range(count)]
        if len(array.shape) == 1 or self.layout.endswith("out-in"):
            return [array[k * width : (k + 1) * width].T for k in range(count)]
        return [array[:, k * width : (k + 1) * width] for k in range(count)]

    def _joined(self, blocks: list[Array]) -> Array:
        if self.layout in GATE_AXIS:
            return np.stack(blocks if self.layout == "gates" else [block.T for block in blocks])
        if self.layout == "interleaved":
            rows = np.stack([block.T for block in blocks], axis=1)
            return rows.reshape(-1, *rows.shape[2:])
        if self.layout in BLOCKS and len(blocks[0].shape) > 1:
            stacked = np.concatenate(blocks)
            return stacked if self.layout == "stacked in-out" else stacked.T
        if len(blocks[0].shape) == 1 or self.layout.endswith("out-in"):
            return np.concatenate([block.T for block in blocks])
        return np.concatenate(blocks, axis=1)


def slice_shape(shapes: Mapping[str, Shape], name: str) -> tuple[int, ...]:
    """Return the shape of one slice."""
    return shapes[name].axes if name in shapes else shapes[name.partition("_")[0]].axes


GATES = {"rnn": "a", "lstm": "ifgo", "gru": "rzn"}
"""The letters of every gate, in the order of the reference."""

RECURRENT_BIAS = "m"
"""The letter of the GRU's b_hn, the bias of its candidate that is reset with the product."""

CHOICES: dict[str, tuple[str, ...]] = {
    "family": ("rnn", "lstm", "gru"),
    "layout": tuple(LAYOUTS),
    "reset": ("after", "before"),
    "update": ("keep", "take"),
    "gate": ("sigmoid", "hard sigmoid 0.2", "hard sigmoid 1/6"),
    "candidate": ("tanh", "sigmoid", "relu"),
    "output": ("tanh", "sigmoid", "identity"),
    "output_peephole": ("new", "old"),
    "time": ("first", "second", "one step"),
    "padding": ("none", "zeros", "repeats", "runs on"),
    "empty_row": ("none", "initial state", "zeros", "last step", "error"),
    "merge": ("none", "concatenated", "axis"),
}
"""What some fields may be."""


@dataclass(frozen=True)
class Convention:
    """One member of the recurrent family, as somebody writes it.

    What it computes: ``family``; ``reset`` of a GRU acts before or after the product with U_n;
    ``update``: z is the share of the old state that it keeps, or of the new that it takes;
    ``gate``, ``candidate`` and ``output`` activations; ``peepholes`` in their packed order, of
    which o's sees the new or the old cell state; ``coupled``: f = 1 - i; ``projected``.

    How its parameters lie: ``order`` of the gates in W, ``recurrent_order`` in U ("": the same),
    ``bias``, one string of letters for every bias array: letters that stand in two are added up
    (``m`` is b_hn); ``layout`` of W, ``recurrent_layout`` of U ("": the same); ``forget_offset``
    is added to b_f at every call.

    How it is called: ``time`` axis; ``states`` in their order; outputs in the ``padding`` and the
    final state of an ``empty_row``; how directions are ``merge``d.
    """

    family: str
    order: str
    bias: tuple[str, ...] = ()
    layout: str = "out-in"
    recurrent_order: str = ""
    recurrent_layout: str = ""
    forget_offset: float = 0.0
    reset: str = "after"
    update: str = "keep"
    gate: str = "sigmoid"
    candidate: str = "tanh"
    output: str = "tanh"
    peepholes: str = ""
    output_peephole: str = "new"
    coupled: bool = False
    projected: bool = False
    time: str = "first"
    states: tuple[str, ...] = ()
    padding: str = "none"
    empty_row: str = "none"
    merge: str = "none"

    def __post_init__(self) -> None:
        """Refuse what is no convention."""
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"convention: {name}: expected one of {', '.join(allowed)}, "
                    f"got {getattr(self, name)!r}"
                )
        for name in ("order", "recurrent_order"):
            given = getattr(self, name)
            if (given or name == "order") and sorted(given) != sorted(self.letters):
                raise ValueError(
                    f"convention: {name}: expected the letters {self.letters}, got {given!r}"
                )
        if set("".join(self.bias)) - set(self.letters) - set(self.recurrent_bias):
            raise ValueError(f"convention: bias: unknown letters in {self.bias}")
        if set(self.peepholes) - set("ifo") or (self.peepholes and self.family != "lstm"):
            raise ValueError("convention: peepholes: expected letters of ifo, of an LSTM")

    @property
    def letters(self) -> str:
        """The gates it has, in the reference's order."""
        return GATES[self.family].replace("f" if self.coupled else " ", "")

    @property
    def recurrent_bias(self) -> str:
        """The letter of the bias that is reset with the product, if there may be one."""
        return RECURRENT_BIAS if self.family == "gru" and self.reset == "after" else ""

    @property
    def cell(self) -> str | None:
        """The reference's cell that computes the same, after a map of parameters; None if none."""
        return CELLS.get(self._function())

    def _function(self) -> tuple[object, ...]:
        """Return what makes the function, without what only renames parameters."""
        polarity = self.update if self.family == "gru" and self.reset == "before" else ""
        return (
            self.family,
            self.reset if self.family == "gru" else "",
            polarity,
            self.gate if self.family != "rnn" else "",
            self.candidate,
            self.output if self.family == "lstm" else "",
            self.output_peephole if self.peepholes else "",
            self.coupled,
            self.projected,
        )

    @property
    def negated(self) -> str:
        """The gates whose parameters the reference has with the other sign."""
        opposite = self.family == "gru" and self.reset == "after" and self.update == "take"
        return "z" if opposite else ""

    def arrays(self, *, bias: bool = True) -> tuple[Packed, ...]:
        """Return its arrays: ``weight_ih``, ``weight_hh``, ``bias``, ...; of one pass.

        Layouts that separate the gates name them, ``weight_ih_i``; two biases are ``bias_ih`` and
        ``bias_hh``; a second one that holds b_hn alone is ``bias_hn``.
        """
        return _all_arrays(self, bias)

    @property
    def bias_names(self) -> tuple[str, ...]:
        """The names of its bias arrays."""
        if len(self.bias) < 2:
            return ("bias",) * len(self.bias)
        return ("bias", "bias_hn") if self.bias[1] == RECURRENT_BIAS else ("bias_ih", "bias_hh")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Convention:
        """Read what ``dataclasses.asdict`` made, also by way of JSON."""
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
        }
        return cls(**given)

    def differences(self, other: Convention) -> tuple[str, ...]:
        """Return the names of the fields in which two conventions differ."""
        return tuple(
            f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)
        )


@cache
def _all_arrays(c: Convention, bias: bool) -> tuple[Packed, ...]:
    upper, lower = c.layout, c.recurrent_layout or c.layout
    W = tuple(f"W_{g}" for g in c.order)
    U = tuple(f"U_{g}" for g in c.recurrent_order or c.order)
    found = []
    if upper == "joint":
        found.append(Packed("weight", W, upper, below=U))
    else:
        found += _arrays("weight_ih", W, upper) + _arrays("weight_hh", U, lower)
    for name, letters in zip(c.bias_names, c.bias if bias else (), strict=False):
        slices = tuple("b_hn" if k == RECURRENT_BIAS else f"b_{k}" for k in letters)
        layout = "in-out" if upper == "joint" or slices == ("b_hn",) else upper
        found += _arrays(name, slices, layout)
    if c.peepholes:
        slices = tuple(f"p_{g}" for g in c.peepholes)
        found += _arrays("peephole", slices, "out-in" if upper == "joint" else upper)
    if c.projected:
        out_in = "out-in" if upper in ("out-in", "interleaved") else "in-out"
        found.append(Packed("weight_hr", ("R",), out_in))
    return tuple(found)


def _arrays(name: str, slices: tuple[str, ...], layout: str) -> list[Packed]:
    if not layout.startswith("separate"):
        return [Packed(name, slices, layout)]
    return [Packed(f"{name}_{s.partition('_')[2]}", (s,), layout) for s in slices]


_LSTM = ("lstm", "", "", "sigmoid", "tanh", "tanh")
_GRU = ("sigmoid", "tanh", "", "", False, False)
CELLS: dict[tuple[object, ...], str] = {
    ("rnn", "", "", "", "tanh", "", "", False, False): "rnn",
    ("rnn", "", "", "", "relu", "", "", False, False): "rnn-relu",
    (*_LSTM, "", False, False): "lstm",
    (*_LSTM, "", False, True): "lstm-projected",
    (*_LSTM, "", True, False): "lstm-coupled",
    (*_LSTM, "new", False, False): "lstm-peephole",
    (*_LSTM, "old", False, False): "lstm-peephole-old",
    ("lstm", "", "", "sigmoid", "sigmoid", "tanh", "", False, False): "lstm-sigmoid-candidate",
    ("gru", "after", "", *_GRU): "gru",
    ("gru", "before", "keep", *_GRU): "gru-keeps-old",
    ("gru", "before", "take", *_GRU): "gru-takes-new",
}
"""The cell of the reference that computes a convention's function."""
