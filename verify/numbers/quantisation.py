"""Quantised arithmetics as data: what is rounded to integers, by which scale, and how.

=====================  =========================================================================
weights                on a grid: bits, one scale for each matrix, channel, ..., a zero point
activations            what matrix products read, quantised per call, per row or by given scales
fixed point            every result that is stored: ``<bits, integer bits>``, sign included
states                 single states in fixed point, where the rest is not: ``c:<16,4>``
=====================  =========================================================================

The text of a quantisation, ``weights=8, per=channel, activations=8, range=row``, is what users
write, what a run keeps, and what travels between processes.
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
"""To integers: the nearest, and at a tie the even one, that away from 0, that above; or cut off."""

OVERFLOWS = ("saturate", "wrap")
SUMS = ("exact", "pairs")
RANGES = ("call", "row", "given")
OPERANDS = {"x": "W", "h": "U", "m": "R"}
"""What matrix products read, by the letter of a quantisation, and the matrix that it meets: m is
what a projection reads."""


INTEGERS_ALONE: dict[str, Any] = {
    "weights": 8, "weight_zero": False, "matrices": "xh", "activations": 8, "range": "given",
    "activation_zero": True, "activation_levels": 0, "sums": "exact", "overflow": "saturate",
}  # fmt: skip
"""What a step of integers alone takes for granted."""


class QuantisationError(ValueError):
    """A quantisation that means nothing; the message says which part, and what is expected."""


@dataclass(frozen=True)
class FixedPoint:
    """Numbers of ``bits`` bits, ``whole`` of them before the point, the sign's among these."""

    bits: int
    whole: int

    @classmethod
    def parse(cls, text: str) -> FixedPoint:
        """Read ``<16,6>``."""
        match = re.fullmatch(r"<\s*(\d+)\s*,\s*(-?\d+)\s*>", text)
        if not match or not 2 <= int(match[1]) <= 32:
            raise QuantisationError(f"expected <bits,integer bits> as in <16,6>, got {text!r:.40}")
        return cls(int(match[1]), int(match[2]))

    @property
    def step(self) -> float:
        """The distance of two numbers."""
        return float(2.0 ** (self.whole - self.bits))

    @property
    def fraction(self) -> int:
        """The bits after the point."""
        return self.bits - self.whole

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number, in steps."""
        half = 2.0 ** (self.bits - 1)
        return -half, half - 1

    def __str__(self) -> str:
        return f"<{self.bits},{self.whole}>"


@dataclass(frozen=True)
class Quantisation:
    """What a layer computes with integers. Bits of 0, and "", stand for: not quantised.

    * ``per``: the weights that have one scale (``matrix``, ``channel``, ``gate``, ...): their
      largest magnitude by ``weight_levels``; with ``weight_zero`` they reach from the smallest to
      the largest, and have a zero point. ``matrices`` are those on the grid, by letters of x and h.
      ``gradient`` passes ``straight`` through their rounding, or is ``zero``.
    * ``activations`` are what is multiplied with weights, of the ``operands`` x and h, and m, which
      is projected. They have a
      ``range`` of a whole ``call``, of each ``row``, or are ``given`` ``scales``: ``x:0.02:128`` is
      a scale and a zero point. ``activation_zero`` says that they have one, ``activation_levels``
      how many levels there are beside the least; no scale is less than ``least_scale``. ``sums`` of
      products are ``exact``, or ``pairs`` of an unsigned activation with a weight are added in 16
      bits that saturate, as VPMADDUBSW does where a processor has nothing better. The zero point is
      added ``after`` rounding, or ``before``: then ties are those of signed levels.
    * ``fixed`` is the format of all that is stored, ``products`` whether each product is, too;
      ``initial`` states are ``rounded`` when they are read, or taken as they are ``given``.
    * ``states`` are formats of single states, ``c:<16,4>``; ``rounding`` and ``overflow`` are those
      of all of it.
    * ``gates`` is the format of the gates' pre-activations where a step is one of integers alone:
      products are rescaled to it, and activations are those of fixed point (``integer_lstm``).
      A ``rescaling`` rounds ``twice``, after the product and after the shift, or ``once``.
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
        """Refuse what means nothing."""
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
        """Refuse a step of integers alone of which too little is integers."""
        forms = [self.gate_format, self.state_formats.get("c")]
        if (
            {name: getattr(self, name) for name in INTEGERS_ALONE} != INTEGERS_ALONE
            or self.per not in ("gate", "matrix")
            or not {"x", "h"} <= {*self.operands}
            or not all(form and form.bits == 16 and 1 <= form.whole <= 7 for form in forms)
        ):
            what = (
                "weights=8, per=gate, activations=8, range=given, scales of x and h and "
                "states=c:<16,..> beside it, and formats <16,1> to <16,7>"
            )
            raise _expected("gates", what, self.text)

    @classmethod
    def parse(cls, given: object) -> Quantisation:
        """Read a text of ``name=value``, or a mapping; one that is read already stays as it is."""
        if isinstance(given, cls):
            return given
        if isinstance(given, Mapping):
            return cls(**{name: _read(name, value) for name, value in given.items()})
        if not isinstance(given, str):
            raise _expected("quantised", "a text as in 'weights=8, per=channel'", given)
        pairs = re.findall(r"(\w+)\s*=\s*((?:<[^>]*>|[^,;\s<])+)", given)
        rest = re.sub(r"(\w+)\s*=\s*((?:<[^>]*>|[^,;\s<])+)", "", given).strip(" ,;\n\t")
        if rest or not pairs:
            raise _expected("quantised", "name=value, ... as in 'weights=8, per=channel'", given)
        return cls(**{name: _read(name, value) for name, value in pairs})

    @cached_property
    def text(self) -> str:
        """The fields that are not the default's, as ``parse`` reads them."""
        given = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        return ", ".join(f"{name}={_written(v)}" for name, v, default in given if v != default)

    @property
    def stepwise(self) -> bool:
        """Whether more than the weights is quantised: then a step is no longer the cell's."""
        return bool(self.activations or self.fixed or self.states)

    def stores(self, state: str) -> bool:
        """Whether a state is stored in fixed point."""
        return bool(self.fixed) or state in self.state_formats

    @cached_property
    def format(self) -> FixedPoint | None:
        """The format of all that is stored."""
        return FixedPoint.parse(self.fixed) if self.fixed else None

    @cached_property
    def gate_format(self) -> FixedPoint:
        """The format of what gates' activations are applied to."""
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
        """The scales and zero points that are given, by operand."""
        every = {}
        for part in filter(None, self.scales.split("+")):
            name, *numbers = part.split(":")
            try:
                scale, zero = float(numbers[0]), int(numbers[1]) if numbers[1:] else 0
            except (IndexError, ValueError):
                raise _expected("scales", "as in x:0.02:128+h:0.0078", self.scales) from None
            if name not in OPERANDS or not 0 < scale < np.inf or len(numbers) > 2:
                raise _expected("scales", "as in x:0.02:128+h:0.0078", self.scales)
            every[name] = (scale, zero)
        return every

    @property
    def levels(self) -> float:
        """By what the largest weight of a group is divided; with a zero point, their range."""
        most = 2**self.weights - 1
        return self.weight_levels or (most if self.weight_zero else most // 2)

    @property
    def words(self) -> str:
        """The arithmetic in words."""
        said = []
        if self.weights:
            zero = " with a zero point" if self.weight_zero else ""
            said.append(f"weights of {self.weights} bits{zero}, one scale for each {self.per}")
        if self.activations:
            of = {"call": "a range for each call", "row": "a range for each row"}
            said.append(f"activations of {self.activations} bits, "
                        f"{of.get(self.range, 'given scales')}")  # fmt: skip
        if self.fixed:
            said.append(f"fixed point {self.fixed}, rounded {self.rounding}, {self.overflow}")
        said += [f"state {name} in fixed point {form}" for name, form in self.state_formats.items()]
        if self.gates:
            said.append(f"gates in fixed point {self.gates}, computed in integers alone")
        return "; ".join(said)


def _expected(name: str, what: str, got: object) -> QuantisationError:
    where = "" if name == "quantised" else f"{name}: "
    return QuantisationError(f"quantised: {where}expected {what}, got {got!r:.60}")


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
    """Return the least and the largest integer to which what is within ``error`` may be rounded."""
    nearest = ROUNDINGS[rounding]
    return nearest(value - error), nearest(value + error)


def count(low: Floats, high: Floats) -> None:
    """Count integers that may be one or the other neighbour, where somebody counts them."""
    if (counted := _counts.get()) is not None:
        counted.ambiguous += int(np.sum(low != high))


@dataclass
class Count:
    """How many integers were ambiguous."""

    ambiguous: int = 0


_counts: ContextVar[Count | None] = ContextVar("count", default=None)


@contextmanager
def counting() -> Iterator[Count]:
    """Count the integers that are rounded in the block and may be one or the other neighbour."""
    token = _counts.set(Count())
    try:
        yield _counts.get() or Count()
    finally:
        _counts.reset(token)
