"""The functions whose meaning a number system must decide.

The same equation lines run on floats, complex numbers (whose imaginary part carries a
derivative), object arrays of balls (``flint.arb``: every result encloses) and ``Bounded``
values. Most functions need no care: ``np.tanh`` finds the right one by itself. Those that
*branch* do. ``np.where(s < 0, ...)`` on a ball that straddles the switch silently picks a side, so
every branch of this package goes through :func:`switch`, and a number system defines here what a
switch is. Other number systems register with ``function.register``.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Annotated, Any, TypeAlias

import numpy as np

from . import arrays
from .arrays import Floats, Same
from .equation import equation

Array: TypeAlias = Any
"""An array of any number system, where several meet; elsewhere ``arrays.Floats``."""

DOCUMENTS = ("D0", "D1", "D2", "D3", "D4")


def is_ball(x: Same | float) -> bool:
    """Return whether ``x`` is an object array, whose elements are Python objects such as balls."""
    return bool(np.asarray(x).dtype == object)


@singledispatch
def midpoint(x: Same) -> Annotated[Floats, "..."]:
    """Return the midpoint of each element as a real number; the shape is that of ``x``."""
    if isinstance(x, arrays.NumberSystem):
        return midpoint(x.value)
    plain = np.asarray(x)
    return np.asarray(plain, dtype=np.float64) if is_ball(x) else plain.real


@singledispatch
def zeros(like: arrays.Array, shape: tuple[int, ...]) -> arrays.Array:
    """Return zeros of ``shape`` in the number system of ``like``."""
    numbers = np.asarray(like)
    if is_ball(numbers) and numbers.size:
        return np.full(shape, type(numbers.flat[0])(0), dtype=object)
    return np.zeros(shape, dtype=numbers.dtype)


@singledispatch
def switch(s: Same, below: arrays.Array | float, above: arrays.Array | float) -> Same:
    """Return ``below`` where s < 0, ``above`` where s >= 0; of a ball around 0 their union."""
    if is_ball(s):
        return np.asarray(_switch_balls(s, below, above), dtype=object)
    chosen = np.where(midpoint(s) < 0, below, above)
    return chosen.astype(np.result_type(s, below, above), copy=False)


def _switch_ball(s: Any, below: Any, above: Any) -> Any:
    if s < 0:
        return below
    if s >= 0:
        return above
    return type(s)(below).union(above)


_switch_balls = np.frompyfunc(_switch_ball, 3, 1)


@singledispatch
def floor(s: Same) -> Same:
    """Return the largest integer not above ``s``; for complex numbers that of the real part."""
    if is_ball(s):
        return np.asarray(np.frompyfunc(lambda v: v.floor(), 1, 1)(s))
    return np.floor(midpoint(s))


def minimum(a: Same, b: Same) -> Same:
    """Return the smaller of ``a`` and ``b``, elementwise."""
    return switch(a - b, a, b)


@singledispatch
def binarise(u: Same) -> Same:
    """Return 1 where u >= 1/2, else 0, with the straight-through derivative 1.

    On complex numbers the imaginary part passes unchanged: that *is* the straight-through
    estimator (Bengio, Leonard & Courville 2013), and a complex step then differentiates it.
    """
    rounded = switch(u - 0.5, 0.0, 1.0)
    if u.dtype.kind == "c":
        return np.asarray(rounded).real + 1j * np.asarray(u).imag
    return rounded


@equation(
    "E01",
    "sigmoid",
    latex=r"\sigma(s) = \frac{1}{1 + e^{-s}}",
    documents=DOCUMENTS,
    note="σ' = σ(1 - σ) <= 1/4; σ(-s) = 1 - σ(s)",
)
@singledispatch
def sigmoid(s: Same) -> Same:
    """Return 1 / (1 + exp(-s)), without overflow, and accurate where it is small."""
    if is_ball(s):
        return np.asarray(1 / (1 + np.exp(-s)))
    positive, e = _decayed(s)
    return np.asarray(np.where(positive, 1, e) / (1 + e))


@equation(
    "E02",
    "tanh",
    latex=r"\tanh(s) = \frac{e^{s} - e^{-s}}{e^{s} + e^{-s}}",
    documents=("D0", "D3"),
    note="tanh' = 1 - tanh² <= 1; tanh(s) = 2σ(2s) - 1",
)
def tanh(s: Same) -> Same:
    """Return the hyperbolic tangent, by the number system's own function."""
    value: arrays.Array = np.tanh(s)
    return value


@singledispatch
def softplus(s: Same) -> Same:
    """Return ln(1 + exp(s)), without overflow; its derivative is the sigmoid."""
    if is_ball(s):
        return np.asarray(np.log(1 + np.exp(s)))
    positive, e = _decayed(s)
    return np.asarray(np.where(positive, s, 0) + np.log1p(e))


def _decayed(s: Same) -> tuple[Same, Same]:
    """Return where s >= 0, and exp(-s) there and exp(s) elsewhere, which do not overflow."""
    if isinstance(s, np.ndarray) and s.dtype.kind == "f":  # as nearly always, by fewer operations
        return s >= 0, np.exp(-np.abs(s))
    positive = midpoint(s) >= 0
    return positive, np.exp(np.where(positive, -s, s))


def log_sigmoid(s: Same) -> Same:
    """Return log(sigmoid(s)), without overflow; its derivative is sigmoid(-s)."""
    return -softplus(-s)


def relu(s: Same) -> Same:
    """Return max(s, 0)."""
    return switch(s, 0.0, s)


def sigmoid_slope(y: Same) -> Same:
    """Return the derivative of the sigmoid where its *value* is ``y``."""
    return y * (1 - y)


def tanh_slope(y: Same) -> Same:
    """Return the derivative of tanh where its *value* is ``y``."""
    return 1 - y * y


def relu_slope(y: Same) -> Same:
    """Return the derivative of ReLU where its *value* is ``y``: 0 at 0, as PyTorch has it."""
    return switch(-y, 1.0, 0.0)
