"""Conventions: the meaning of a layer's parameters and of its call, as data.

The reference has explicit gates. Frameworks pack gates in different orders, layouts and numbers of
biases, and some compute different functions under the same name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.parameters import Shape


@dataclass(frozen=True)
class Layout:
    """The arrangement of the blocks of several gates in one array.

    The block of a gate is [D, H], or [H, D] if ``turned``; U has H in place of D. Blocks follow
    each other along ``axis``, or are ``interleaved`` there; an ``axis`` of None stands for a new
    first axis. Vectors have one axis less.
    """

    turned: bool
    axis: int | None = None
    interleaved: bool = False

    def stored(self, block: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape in which a block (D, H) or (H,) is stored."""
        return block[::-1] if self.turned else block

    def shape(self, block: tuple[int, ...], count: int) -> tuple[int, ...]:
        """Return the shape of an array of so many blocks (D, H) or (H,)."""
        shape = self.stored(block)
        if self.axis is None:
            return (count, *shape)
        axis = self._axis(len(shape))
        return (*shape[:axis], count * shape[axis], *shape[axis + 1 :])

    def split(self, array: Floats, count: int) -> list[Floats]:
        """Return the blocks, each (D, H) or (H,)."""
        blocks = [array[self._key(array.shape, k, count)] for k in range(count)]
        return [block.T for block in blocks] if self.turned else blocks

    def join(self, blocks: list[Floats]) -> Floats:
        """Return the array that holds these blocks."""
        stored = [block.T for block in blocks] if self.turned else blocks
        if self.axis is None:
            return np.stack(stored)
        if self.interleaved:
            rows = np.stack(stored, axis=1)
            return rows.reshape(-1, *rows.shape[2:])
        return np.concatenate(stored, axis=self._axis(len(stored[0].shape)))

    def _axis(self, axes: int) -> int:
        return (self.axis or 0) if axes > 1 else 0

    def _key(self, shape: tuple[int, ...], k: int, count: int) -> Any:
        if self.axis is None:
            return k
        axis = self._axis(len(shape))
        size = shape[axis] // count
        part = slice(k, None, count) if self.interleaved else slice(k * size, (k + 1) * size)
        return (slice(None),) * axis + (part,)


LAYOUTS = {
    "out-in": Layout(turned=True, axis=0),
    "in-out": Layout(turned=False, axis=1),
    "joint": Layout(turned=False, axis=1),
    "interleaved": Layout(turned=True, axis=0, interleaved=True),
    "stacked in-out": Layout(turned=False, axis=0),
    "beside out-in": Layout(turned=True, axis=1),
    "separate out-in": Layout(turned=True, axis=0),
    "separate in-out": Layout(turned=False, axis=1),
    "gates": Layout(turned=False),
    "gates out-in": Layout(turned=True),
}
"""In ``joint`` the rows of U stand below those of W; ``separate`` has one array per gate."""


@dataclass(frozen=True)
class Packed:
    """A stored array: its name, its slices of parameters along the packed axis, their layout.

    A slice is named as in the equations: ``W_i`` (D, H), ``U_f`` (H, H), ``b_o`` (H,), ``b_hn``
    (H,), ``p_o`` (H,), ``R`` (H, P). ``below`` are the slices whose rows stand below the others,
    as in layout ``joint``, or above them with ``state_first``.
    """

    name: str
    slices: tuple[str, ...]
    layout: str
    below: tuple[str, ...] = ()
    state_first: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of all slices."""
        return self.slices + self.below

    def shape(self, shapes: Mapping[str, Shape]) -> tuple[int, ...]:
        """Return the array's shape; ``shapes`` are the cell's."""
        block = slice_shape(shapes, self.slices[0])
        if self.below:
            block = (block[0] + slice_shape(shapes, self.below[0])[0], block[1])
        return LAYOUTS[self.layout].shape(block, len(self.slices))

    def split(self, array: Floats, shapes: Mapping[str, Shape]) -> dict[str, Floats]:
        """Return all slices, in the shapes of the reference."""
        blocks = LAYOUTS[self.layout].split(array, len(self.slices))
        if not self.below:
            return dict(zip(self.slices, blocks, strict=True))
        upper, lower = self._rows
        rows = slice_shape(shapes, upper[0])[0]
        above = dict(zip(upper, (block[:rows] for block in blocks), strict=True))
        return above | dict(zip(lower, (block[rows:] for block in blocks), strict=True))

    def join(self, slices: Mapping[str, Floats]) -> Floats:
        """Return the array that holds these slices."""
        blocks = [slices[name] for name in self.slices]
        if self.below:
            pairs = zip(*self._rows, strict=True)
            blocks = [np.concatenate([slices[u], slices[v]]) for u, v in pairs]
        return LAYOUTS[self.layout].join(blocks)

    @property
    def _rows(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The slices above, and those below them."""
        return (self.below, self.slices) if self.state_first else (self.slices, self.below)


def slice_shape(shapes: Mapping[str, Shape], name: str) -> tuple[int, ...]:
    """Return the shape of one slice."""
    return shapes[name].axes if name in shapes else shapes[name.partition("_")[0]].axes


GATES = {"rnn": "a", "lstm": "ifgo", "gru": "rzn"}
"""The letters of the gates of each family, in the order of the reference."""

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
"""The allowed values of fields."""

FUNCTIONS = {
    "rnn": ("candidate",),
    "gru": ("reset", "update", "gate", "candidate"),
    "lstm": ("gate", "candidate", "output"),
}
"""The fields that determine a family's function; identification tries all combinations."""


def functions(family: str) -> Iterator[dict[str, Any]]:
    """Yield all combinations of values of the ``FUNCTIONS`` fields of a family."""
    names = FUNCTIONS[family]
    for values in product(*(CHOICES[name] for name in names)):
        yield dict(zip(names, values, strict=True))


@dataclass(frozen=True)
class Convention:
    """One way to write a recurrent layer.

    Function: ``family``; ``reset`` of a GRU acts before or after the product with U_n;
    ``update``: z is the share of the old state (keep) or of the new one (take); ``gate``,
    ``candidate`` and ``output`` are activations; ``peepholes`` in their packed order, o's of the
    new or the old cell state (``output_peephole``); ``coupled``: f = 1 - i; ``projected``.

    Parameters: ``order`` of the gates in W, ``recurrent_order`` in U ("": the same),
    ``bias``, one string of letters for each bias array; biases of a letter in two arrays are
    added (``m`` is b_hn); ``layout`` of W, ``recurrent_layout`` of U ("": the same);
    ``forget_offset`` is added to b_f at each call.

    Call: ``time`` axis; ``states`` in their order; outputs in the ``padding``, the final state of
    an ``empty_row``; ``merge`` of the directions.
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
        """Raise ValueError for an invalid field."""
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"convention: {name}: expected one of {', '.join(allowed)}, "
                    f"got {getattr(self, name)!r}"
                )
        for name in ("order", "recurrent_order"):
            letters = getattr(self, name)
            if (letters or name == "order") and sorted(letters) != sorted(self.letters):
                raise ValueError(
                    f"convention: {name}: expected the letters {self.letters}, got {letters!r}"
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
        """The letter of the bias that is reset with the product, "" if there is none."""
        return RECURRENT_BIAS if self.family == "gru" and self.reset == "after" else ""

    @property
    def cell(self) -> str | None:
        """The reference's cell of the same function, up to a map of parameters; None if none."""
        return CELLS.get(self._function())

    def _function(self) -> tuple[object, ...]:
        """Return the fields that determine the function, without those that rename parameters."""
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
        """The gates whose parameters have the opposite sign in the reference."""
        opposite = self.family == "gru" and self.reset == "after" and self.update == "take"
        return "z" if opposite else ""

    def arrays(self, *, bias: bool = True) -> tuple[Packed, ...]:
        """Return its arrays of one pass: ``weight_ih``, ``weight_hh``, ``bias``, ...

        Layouts that separate the gates name them, ``weight_ih_i``; two biases are ``bias_ih`` and
        ``bias_hh``; a second one with b_hn alone is ``bias_hn``.
        """
        return _all_arrays(self, bias)

    @property
    def projection_turned(self) -> bool:
        """Whether the projection is stored as [P, H], not as [H, P]."""
        return self.layout in ("out-in", "interleaved")

    @property
    def bias_names(self) -> tuple[str, ...]:
        """The names of its bias arrays."""
        if len(self.bias) < 2:
            return ("bias",) * len(self.bias)
        return ("bias", "bias_hn") if self.bias[1] == RECURRENT_BIAS else ("bias_ih", "bias_hh")

    def differences(self, other: Convention) -> tuple[str, ...]:
        """Return the names of the fields in which two conventions differ."""
        return tuple(
            f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)
        )


def added(slices: dict[str, Floats], others: Mapping[str, Floats]) -> None:
    """Add each of ``others`` to the slice of its name, or insert it."""
    for name, value in others.items():
        slices[name] = slices[name] + value if name in slices else value


@cache
def _all_arrays(c: Convention, bias: bool) -> tuple[Packed, ...]:
    upper, lower = c.layout, c.recurrent_layout or c.layout
    W = tuple(f"W_{g}" for g in c.order)
    U = tuple(f"U_{g}" for g in c.recurrent_order or c.order)
    arrays = []
    if upper == "joint":
        arrays.append(Packed("weight", W, upper, below=U))
    else:
        arrays += _arrays("weight_ih", W, upper) + _arrays("weight_hh", U, lower)
    for name, letters in zip(c.bias_names, c.bias if bias else (), strict=False):
        slices = tuple("b_hn" if k == RECURRENT_BIAS else f"b_{k}" for k in letters)
        layout = "in-out" if upper == "joint" or slices == ("b_hn",) else upper
        arrays += _arrays(name, slices, layout)
    if c.peepholes:
        slices = tuple(f"p_{g}" for g in c.peepholes)
        arrays += _arrays("peephole", slices, "out-in" if upper == "joint" else upper)
    if c.projected:
        arrays.append(Packed("weight_hr", ("R",), "out-in" if c.projection_turned else "in-out"))
    return tuple(arrays)


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
"""The cell of the reference for each function."""
