"""Quantised arithmetics as data: the rounded numbers, their scales, and the rounding.

=====================  =========================================================================
weights                on a grid: bits, one scale for each matrix, channel, ..., a zero point
activations            operands of matrix products, quantised per call, per row or by given scales
fixed point            all stored results: ``<bits, integer bits>``, sign included
states                 single states in fixed point, the rest in floats: ``c:<16,4>``
=====================  =========================================================================

The text of a quantisation, ``weights=8, per=channel, activations=8, range=row``, is written by
users, saved in runs, and sent between processes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from ...reference.arrays import Floats

ROUNDINGS: dict[str, Callable[[Floats], Floats]] = {
    "even": np.rint,
    "away": lambda v: np.copysign(np.floor(np.abs(v) + 0.5), v),
    "up": lambda v: np.floor(v + 0.5),
    "down": np.floor,
    "zero": np.trunc,
}
"""Rounding to integers: the nearest (ties to even, away from 0, or up), or down, or toward 0."""

OVERFLOWS = ("saturate", "wrap")
SUMS = ("exact", "pairs")
RANGES = ("call", "row", "given")
OPERANDS = {"x": "W", "h": "U", "m": "R"}
"""Operands of matrix products and their matrices; m is the operand of a projection."""


INTEGERS_ALONE: dict[str, Any] = {
    "weights": 8, "weight_zero": False, "matrices": "xh", "activations": 8, "range": "given",
    "activation_zero": True, "activation_levels": 0, "sums": "exact", "overflow": "saturate",
}  # fmt: skip
"""Fields that a step of integers alone requires."""


class QuantisationError(ValueError):
    """An invalid quantisation; the message names the field and the expected values."""


@dataclass(frozen=True)
class FixedPoint:
    """Numbers of ``bits`` bits, ``integer_bits`` of them before the point, sign included."""

    bits: int
    integer_bits: int

    @classmethod
    def parse(cls, text: str) -> FixedPoint:
        """Read a format such as ``<16,6>``."""
        match = re.fullmatch(r"<\s*(\d+)\s*,\s*(-?\d+)\s*>", text)
        if not match or not 2 <= int(match[1]) <= 32:
            raise QuantisationError(f"expected <bits,integer bits> as in <16,6>, got {text!r:.40}")
        return cls(int(match[1]), int(match[2]))

    @property
    def step(self) -> float:
        """The distance of two neighbouring numbers."""
        return float(2.0 ** (self.integer_bits - self.bits))

    @property
    def fraction(self) -> int:
        """The number of bits after the point."""
        return self.bits - self.integer_bits

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number, in steps."""
        half = 2.0 ** (self.bits - 1)
        return -half, half - 1

    def __str__(self) -> str:
        return f"<{self.bits},{self.integer_bits}>"


@dataclass(frozen=True)
class Quantisation:
    """The quantised arithmetic of a layer. Bits of 0, and "", stand for: not quantised.

    * ``per``: the group of weights that share a scale (``matrix``, ``channel``, ``gate``, ...),
      which is their largest magnitude / ``weight_levels``; with ``weight_zero`` the grid reaches
      from the smallest to the largest weight and has a zero point. ``matrices`` are those on the
      grid, by letters of x and h. ``gradient`` passes ``straight`` through the rounding, or is
      ``zero``.
    * ``activations`` are the bits of the ``operands`` of products, x, h, and m of a projection.
      Their ``range`` is that of a whole ``call`` or of each ``row``, or ``given`` by ``scales``:
      ``x:0.02:128`` is a scale and a zero point. ``activation_zero``: they have a zero point;
      ``activation_levels`` is the number of levels beside the lowest; scales are at least
      ``least_scale``. ``sums`` of products are ``exact``, or ``pairs`` of an unsigned activation
      with a weight are added in 16 bits that saturate, as by VPMADDUBSW on older processors. The
      zero point is added ``after`` rounding or ``before``; then ties are those of signed levels.
    * ``fixed`` is the format of all stored numbers; ``products``: each product is stored, too;
      ``initial`` states are ``rounded`` when they are read, or used as ``given``.
    * ``states`` are formats of single states, ``c:<16,4>``; ``rounding`` and ``overflow`` are those
      of all numbers.
    * ``gates`` is the format of the gates' pre-activations in a step of integers alone: products
      are rescaled to it, and activations are those of fixed point (``integer_lstm``). A
      ``rescaling`` rounds ``twice``, after the product and after the shift, or ``once``.
    """

    weights: int = 0
    per: str = "matrix"
    weight_zero: bool = False
    weight_levels: float = 0.0
    matrices: str = "xh"
    activations: int = 0
    range: str = "call"
    operands: str = "xh"
    scales: str = ""
    activation_zero: bool = True
    activation_levels: int = 0
    zero_added: str = "after"
    least_scale: float = 0.0
    sums: str = "exact"
    fixed: str = ""
    products: bool = False
    initial: str = "rounded"
    states: str = ""
    gates: str = ""
    rescaling: str = "twice"
    rounding: str = "even"
    overflow: str = "saturate"
    gradient: str = "straight"

    def __post_init__(self) -> None:
        """Raise QuantisationError for invalid fields."""
        choices = {
            "range": RANGES,
            "sums": SUMS,
            "zero_added": ("after", "before"),
            "rescaling": ("twice", "once"),
            "rounding": tuple(ROUNDINGS),
            "overflow": OVERFLOWS,
            "initial": ("rounded", "given"),
            "gradient": ("straight", "zero"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise _expected(name, f"one of {', '.join(allowed)}", getattr(self, name))
        for name in ("weights", "activations"):
            bits = getattr(self, name)
            if bits and not 2 <= bits <= 16:
                raise _expected(name, "2 to 16 bits, or 0 for none", bits)
        for name in ("matrices", "operands"):
            if not {*getattr(self, name)} <= {*OPERANDS}:
                raise _expected(name, "letters of x, h and m", getattr(self, name))
        if not (self.weights or self.activations or self.fixed or self.states):
            raise _expected("quantised", "weights, activations, fixed or states", "none of these")
        if self.fixed and (self.weights or self.activations or self.states):
            raise _expected("fixed", "no other quantisation beside it", self.text)
        if (
            self.activations
            and self.range == "given"
            and not self.given_scales.keys() >= {*self.operands}
        ):
            raise _expected("scales", f"one for each of {' and '.join(self.operands)}", self.scales)
        if self.gates:
            self._check_integers()
        _ = self.format, self.state_formats

    def _check_integers(self) -> None:
        """Refuse a step of integers alone whose other fields do not fit."""
        forms = [self.gate_format, self.state_formats.get("c")]
        if (
            {name: getattr(self, name) for name in INTEGERS_ALONE} != INTEGERS_ALONE
            or self.per not in ("gate", "matrix")
            or not {"x", "h"} <= {*self.operands}
            or not all(form and form.bits == 16 and 1 <= form.integer_bits <= 7 for form in forms)
        ):
            expectation = (
                "weights=8, per=gate, activations=8, range=given, scales of x and h and "
                "states=c:<16,..> beside it, and formats <16,1> to <16,7>"
            )
            raise _expected("gates", expectation, self.text)

    @classmethod
    def parse(cls, declaration: object) -> Quantisation:
        """Read a text of ``name=value`` or a mapping; return a Quantisation unchanged."""
        if isinstance(declaration, cls):
            return declaration
        if isinstance(declaration, Mapping):
            return cls(**{name: _read(name, value) for name, value in declaration.items()})
        if not isinstance(declaration, str):
            raise _expected("quantised", "a text as in 'weights=8, per=channel'", declaration)
        pairs = re.findall(r"(\w+)\s*=\s*((?:<[^>]*>|[^,;\s<])+)", declaration)
        rest = re.sub(r"(\w+)\s*=\s*((?:<[^>]*>|[^,;\s<])+)", "", declaration).strip(" ,;\n\t")
        if rest or not pairs:
            raise _expected(
                "quantised", "name=value, ... as in 'weights=8, per=channel'", declaration
            )
        return cls(**{name: _read(name, value) for name, value in pairs})

    @cached_property
    def text(self) -> str:
        """The fields that differ from the defaults, in the form that ``parse`` reads."""
        triples = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        return ", ".join(f"{name}={_written(v)}" for name, v, default in triples if v != default)

    @property
    def stepwise(self) -> bool:
        """Whether a step is changed: more than the weights is quantised."""
        return bool(self.activations or self.fixed or self.states)

    def stores(self, state: str) -> bool:
        """Return whether a state is stored in fixed point."""
        return bool(self.fixed) or state in self.state_formats

    @cached_property
    def format(self) -> FixedPoint | None:
        """The format of all stored numbers, or None."""
        return FixedPoint.parse(self.fixed) if self.fixed else None

    @cached_property
    def gate_format(self) -> FixedPoint:
        """The format of the gates' pre-activations."""
        return FixedPoint.parse(self.gates)

    @cached_property
    def state_formats(self) -> dict[str, FixedPoint]:
        """The formats of single states, by name."""
        parts = re.findall(r"(\w+):(<[^>]*>)", self.states)
        if "".join(f"{name}:{form}" for name, form in parts) != re.sub(r"[+\s]", "", self.states):
            raise _expected("states", "name:<bits,integer bits>, as in c:<16,4>", self.states)
        return {name: FixedPoint.parse(form) for name, form in parts}

    @cached_property
    def given_scales(self) -> dict[str, tuple[float, int]]:
        """The declared scales and zero points, by operand."""
        scales = {}
        for part in filter(None, self.scales.split("+")):
            name, *numbers = part.split(":")
            try:
                scale, zero = float(numbers[0]), int(numbers[1]) if numbers[1:] else 0
            except (IndexError, ValueError):
                raise _expected("scales", "as in x:0.02:128+h:0.0078", self.scales) from None
            if name not in OPERANDS or not 0 < scale < np.inf or len(numbers) > 2:
                raise _expected("scales", "as in x:0.02:128+h:0.0078", self.scales)
            scales[name] = (scale, zero)
        return scales

    @property
    def levels(self) -> float:
        """The divisor of a group's largest weight, or of its range with a zero point."""
        most = 2**self.weights - 1
        return self.weight_levels or (most if self.weight_zero else most // 2)

    @property
    def words(self) -> str:
        """The arithmetic in words."""
        parts = []
        if self.weights:
            zero = " with a zero point" if self.weight_zero else ""
            parts.append(f"weights of {self.weights} bits{zero}, one scale for each {self.per}")
        if self.activations:
            ranges = {"call": "a range for each call", "row": "a range for each row"}
            parts.append(f"activations of {self.activations} bits, "
                        f"{ranges.get(self.range, 'given scales')}")  # fmt: skip
        if self.fixed:
            parts.append(f"fixed point {self.fixed}, rounded {self.rounding}, {self.overflow}")
        parts += [
            f"state {name} in fixed point {form}" for name, form in self.state_formats.items()
        ]
        if self.gates:
            parts.append(f"gates in fixed point {self.gates}, computed in integers alone")
        return "; ".join(parts)


def _expected(name: str, expectation: str, got: object) -> QuantisationError:
    where = "" if name == "quantised" else f"{name}: "
    return QuantisationError(f"quantised: {where}expected {expectation}, got {got!r:.60}")


def _read(name: str, value: Any) -> Any:
    """Return the value of a field, from text or from its own type."""
    defaults: dict[str, Any] = {f.name: f.default for f in fields(Quantisation)}
    if name not in defaults:
        raise QuantisationError(f"quantised: {name}: unknown; there are {', '.join(defaults)}")
    kind = type(defaults[name])
    if kind is bool and value in ("yes", "no", True, False):
        return value in ("yes", True)
    try:
        return kind(value) if kind is not bool else _read(name, None)
    except (TypeError, ValueError, RecursionError):
        names = {bool: "yes or no", int: "an integer", float: "a number"}
        raise _expected(name, names.get(kind, "a text"), value) from None


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def neighbours(value: Floats, error: Floats | float, rounding: str) -> tuple[Floats, Floats]:
    """Return the least and the largest integer to which numbers within ``error`` may be rounded."""
    nearest = ROUNDINGS[rounding]
    return nearest(value - error), nearest(value + error)


def count(low: Floats, high: Floats) -> None:
    """Count ambiguous integers, within a block of ``counting``."""
    if (counted := _counts.get()) is not None:
        counted.ambiguous += int(np.sum(low != high))


@dataclass
class Count:
    """The number of ambiguous integers."""

    ambiguous: int = 0


_counts: ContextVar[Count | None] = ContextVar("count", default=None)


@contextmanager
def counting() -> Iterator[Count]:
    """Count the integers that are rounded in the block and may be either of two neighbours."""
    token = _counts.set(Count())
    try:
        yield _counts.get() or Count()
    finally:
        _counts.reset(token)
