"""One input to a layer: sizes, options and a seed; the numbers come from the seed.

A case is a handful of small integers and flags, so it prints as one line and shrinks well. Every
array is random, non-zero and distinct, because repeated entries cannot tell gates, rows or
directions apart; only a failing case, once its sizes are small, has its numbers simplified.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np

from ...reference.arrays import Floats, Lengths
from ...reference.parameters import Sizes
from ..numbers.arithmetic import ARITHMETICS, DTYPES, Arithmetic
from .layouts import RAGGED
from .schedule import parsed

SCALES = {"unit": 1.0, "tiny": 2.0**-20, "large": 10.0, "saturating": 50.0, "huge": 1e4}
"""Factors on weights: ordinary, nearly linear, half and fully saturated gates.

In float16 some are nearer to 1, so that weights are normal numbers and do not overflow.
"""

ROOM = 64
"""Weights stay this factor within the dtype's smallest and largest numbers."""

SUBNORMAL = "subnormal"
"""One more scale: weights an eighth of the smallest normal number of the case's dtype."""

LAYOUTS = ("time-first", "batch-first", "unbatched", *RAGGED)
LARGEST_SIZE = 4096
GRID = 8
"""Simplified numbers are multiples of 1/8, which every dtype represents."""

Source: TypeAlias = "Callable[[Case, str, Floats], Floats]"
"""A function of a case, the name of a part and its drawn numbers; returns the part's numbers."""


@dataclass(frozen=True)
class Case:
    """One input to a layer; equal cases have equal numbers on every machine.

    ``T, B, D, H, P``: steps, batch, widths of input, state and projection (0: none).
    ``lengths`` draws one length a row, ``zero_length`` makes one of them 0; ``state`` passes a
    random initial state; ``layout`` is the order of the axes, or one of ``RAGGED`` for rows of
    different lengths; ``dropout`` is the rate between layers; ``schedule`` lists what is done with
    the states between several calls (see ``schedule.py``). ``zeroed`` and ``rounded`` name parts,
    separated by commas, whose numbers were simplified after the case had failed. ``form`` is the
    form of computation of a layer that has several, "" for its usual one.

    Two fields concern the judgement of a case; its JSON and comparisons leave them out.
    ``assumed`` names the arithmetic whose bounds hold, if it is not the dtype's own. ``source``
    replaces the drawn numbers: the last bit of a normal number may depend on the machine's
    logarithm, so a recording holds its own.
    """

    T: int
    B: int
    D: int
    H: int
    P: int = 0
    layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    lengths: bool = False
    zero_length: bool = False
    state: bool = True
    layout: str = "time-first"
    dropout: float = 0.0
    scale: str = "unit"
    dtype: str = "float64"
    seed: int = 0
    schedule: str = ""
    zeroed: str = ""
    rounded: str = ""
    form: str = ""
    assumed: str = field(default="", compare=False)
    source: Source | None = field(default=None, compare=False, repr=False)

    @property
    def sizes(self) -> Sizes:
        """The widths as an object of the reference."""
        return Sizes(self.D, self.H, self.P or None)

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 2 if self.bidirectional else 1

    @property
    def weight_scale(self) -> float:
        """The factor on weights."""
        arithmetic = ARITHMETICS[self.dtype]
        if self.scale == SUBNORMAL:
            return arithmetic.tiny / 8
        return min(max(SCALES[self.scale], ROOM * arithmetic.tiny), arithmetic.largest / ROOM)

    @property
    def arithmetic(self) -> Arithmetic:
        """The arithmetic that is assumed, or else the dtype's own."""
        return ARITHMETICS[self.assumed or self.dtype]

    @property
    def number_type(self) -> np.dtype[Any]:
        """NumPy's dtype of its arrays."""
        return ARITHMETICS[self.dtype].dtype

    def normal(self, part: str, shape: Sequence[int], scale: float = 1.0) -> Floats:
        """Draw N(0, scale²) numbers of the case's dtype; each ``part`` has a random stream."""
        return self.simplified(part, self.generator(part).standard_normal(tuple(shape)) * scale)

    def simplified(self, part: str, numbers: Floats) -> Floats:
        """Return numbers in the case's dtype; set zeroed parts to 0, put rounded ones on a grid."""
        if part in self.zeroed.split(","):
            numbers = 0 * numbers
        elif part in self.rounded.split(","):
            away = np.where(numbers < 0, -1, 1) / GRID  # none becomes 0
            rounded = np.round(numbers * GRID) / GRID
            numbers = np.where(rounded == 0, away, rounded)
        numbers = np.asarray(numbers).astype(self.number_type)
        return numbers if self.source is None else self.source(self, part, numbers)

    def generator(self, part: str) -> np.random.Generator:
        """Return the random generator of one part of the case."""
        return np.random.default_rng([self.seed, *part.encode()])

    def row_lengths(self) -> Lengths | None:
        """Return lengths (B,): one is T, one is 1, one may be 0, in random rows; None without."""
        if not self.lengths:
            return None
        lengths = self.generator("lengths").integers(1, self.T + 1, self.B)
        special = [self.T, 1] if not self.zero_length else [self.T, 0, 1]
        rows = self.generator("rows").permutation(self.B)
        for row, length in zip(rows, special, strict=False):
            lengths[row] = length
        return lengths

    def to_json(self) -> str:
        """Return the case as one line of JSON, defaults left out."""
        values = {f.name: (getattr(self, f.name), f.default) for f in _FIELDS}
        return json.dumps({name: value for name, (value, default) in values.items()
                           if value != default})  # fmt: skip

    @classmethod
    def from_json(cls, text: str) -> Case:
        """Read the text that to_json writes; raise ValueError with a reason for any other."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"case: expected JSON, got {text!r:.60} ({error!s:.100})") from error
        _check_types(values)
        case = cls(**values)
        case.require()
        return case

    def require(self) -> None:
        """Raise ValueError for a field that is out of its range, or contradicts another."""
        for name, least in {"T": 0, "B": 1, "D": 1, "H": 1, "layers": 1}.items():
            if not least <= (value := getattr(self, name)) <= LARGEST_SIZE:
                raise ValueError(
                    f"case: {name}: expected {least} to {LARGEST_SIZE}, got {value!r:.60}"
                )
        if not 0 <= self.P < self.H or self.seed < 0:
            raise ValueError("case: expected 0 <= P < H and seed >= 0")
        if self.lengths and not self.T:
            raise ValueError("case: lengths need T > 0")
        if not 0 <= self.dropout <= 1:
            raise ValueError("case: dropout: expected 0 to 1")
        if self.layout == "unbatched" and self.B != 1:
            raise ValueError("case: layout: unbatched needs B = 1")
        if self.layout in RAGGED and (not self.lengths or self.bidirectional):
            raise ValueError(f"case: layout: {self.layout} needs lengths, and one direction")
        parsed(self.schedule)
        choices = {"scale": (*SCALES, SUBNORMAL), "dtype": DTYPES, "layout": LAYOUTS}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"case: {name}: expected one of {', '.join(allowed)}")


_FIELDS = tuple(f for f in fields(Case) if f.compare)


def _check_types(values: Any) -> None:
    """Raise ValueError unless a JSON value has the fields of a case, in their types."""
    types = {f.name: f.type for f in _FIELDS}
    if not isinstance(values, dict):
        raise ValueError(f"case: expected an object, got {values!r:.60}")
    if missing := sorted(set("TBDH") - values.keys()):
        raise ValueError(f"case: {', '.join(missing)} missing; T, B, D and H are needed")
    if unknown := sorted(values.keys() - types.keys()):
        raise ValueError(f"case: {', '.join(unknown):.100} unknown; there are {', '.join(types)}")
    for name, value in values.items():
        if type(value).__name__ != types[name]:
            raise ValueError(f"case: {name}: expected {types[name]}, got {value!r:.60}")
