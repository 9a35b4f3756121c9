"""Integer kernels of LiteRT and TensorFlow Lite Micro: rescaling, and activations of 16 bits.

Integers are rescaled by a multiplier of 31 bits and a shift, and rounded twice: by
``MultiplyByQuantizedMultiplier`` and ``QuantizeMultiplier`` of TensorFlow Lite
(``kernels/internal/common.h``, ``kernels/internal/quantization_util.cc``). Sigmoid and tanh are
those of google/gemmlowp (``fixedpoint/fixedpoint.h``): an exponential by a polynomial of degree 4
and a product of constants, a quotient by three steps of Newton. All of it is exact in int64.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.int64]

BITS = 16
LEAST, MOST = -(2 ** (BITS - 1)), 2 ** (BITS - 1) - 1
"""The range of gates and cell states; as a gate, ``MOST`` stands for 1."""

MOST_SHIFT = 31


def multiplier_of(scale: float) -> tuple[int, int]:
    """Return a multiplier of 31 bits and a shift to the left: m / 2^31 * 2^shift is the scale."""
    fraction, shift = np.frexp(scale)
    multiplier = int(np.floor(fraction * 2.0**31 + 0.5))
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift < -MOST_SHIFT:
        return 0, 0
    return (multiplier, int(shift)) if shift < MOST_SHIFT else (2**31 - 1, MOST_SHIFT - 1)


def rescaled(x: Integers, scale: float, *, once: bool = False) -> Integers:
    """Return integers times a scale, rounded after the product and again after the shift.

    With ``once`` they are rounded once, ties up, as with ``TFLITE_SINGLE_ROUNDING``.
    """
    multiplier, shift = multiplier_of(scale)
    if once:
        return np.asarray((x * multiplier + (1 << (30 - shift))) >> (31 - shift))
    return shifted(_high(x << max(shift, 0), multiplier, 31), max(-shift, 0))


def shifted(x: Any, bits: int) -> Integers:
    """Return integers divided by 2^bits, rounded to the nearest, ties away from 0."""
    x = np.asarray(x, np.int64)
    rest, half = x & ((1 << bits) - 1), ((1 << bits) - 1) // 2 + (x < 0)
    return np.asarray((x >> bits) + (rest > half))


def saturated(x: Integers, least: int = LEAST, most: int = MOST) -> Integers:
    """Return integers clipped to 16 bits, or to another range."""
    return np.clip(x, least, most)


@cache
def sigmoid_table(integer_bits: int) -> Integers:
    """Return sigmoid, in steps of 2^-15, of each int16 with ``integer_bits`` before the point."""
    a = np.arange(LEAST, MOST + 1, dtype=np.int64)
    above = _rescaled_bits(_reciprocal(_exponential(-np.abs(a), integer_bits)), 1)
    return np.where(a == 0, 2 ** (BITS - 2), np.where(a > 0, above, MOST - above))


@cache
def tanh_table(integer_bits: int) -> Integers:
    """Return tanh, in steps of 2^-15, of each int16 with ``integer_bits`` before the point."""
    a = np.arange(LEAST, MOST + 1, dtype=np.int64)
    quotient = _wrapped(_reciprocal(_exponential(-np.abs(a), integer_bits + 1)) - _ONE_OF_2)
    return np.asarray(np.sign(a) * _rescaled_bits(quotient, 2))


_ONE_OF_2 = 1 << (BITS - 3)
"""1 with two bits before the point, beside the sign."""


def _constant(of_32_bits: int) -> int:
    return int(shifted(of_32_bits, 32 - BITS))


def _high(a: Any, b: Any, bits: int) -> Integers:
    """Return the high part of twice a product, to the nearest, ties up."""
    product = np.asarray(a, np.int64) * b
    nudged = product + np.where(product >= 0, 1 << (bits - 1), 1 - (1 << (bits - 1)))
    return np.asarray(np.sign(nudged) * (np.abs(nudged) >> bits))


def _product(a: Any, b: Any) -> Integers:
    """Return a product in fixed point; of two -1 it is the largest number."""
    return saturated(_high(a, b, BITS - 1))


def _wrapped(x: Integers) -> Integers:
    return np.asarray(((x - LEAST) & (2**BITS - 1)) + LEAST)


def _rescaled_bits(x: Integers, exponent: int) -> Integers:
    return saturated(x << exponent)


def _exponential(a: Integers, integer_bits: int) -> Integers:
    """Return exp of numbers up to 0, in steps of 2^-15."""
    fraction = BITS - 1 - integer_bits
    quarter = 1 << (fraction - 2)
    beyond = (a & (quarter - 1)) - quarter
    result = _exponential_below_a_quarter(_rescaled_bits(beyond, integer_bits))
    rest = beyond - a
    for exponent, factor in _FACTORS.items():
        if integer_bits > exponent:
            chosen = rest & (1 << (fraction + exponent)) != 0
            result = np.where(chosen, _product(result, _constant(factor)), result)
    if integer_bits > 5:  # below -32
        result = np.where(a < _constant(-(1 << (36 - integer_bits))), 0, result)
    return np.where(a == 0, MOST, result)


_FACTORS = {
    -2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401, 4: 242,
}  # fmt: skip
"""exp(-2^k) in 31 bits."""


def _exponential_below_a_quarter(a: Integers) -> Integers:
    """Return exp between -1/4 and 0: its polynomial around -1/8."""
    at_an_eighth, third = _constant(1895147668), _constant(715827883)
    x = a + (1 << (BITS - 4))
    square = _product(x, x)
    cube, fourth = _product(square, x), _product(square, square)
    rest = shifted(_product(shifted(fourth, 2) + cube, third) + square, 1)
    return saturated(at_an_eighth + _product(at_an_eighth, x + rest))


def _reciprocal(a: Integers) -> Integers:
    """Return 2 / (1 + a) for a between 0 and 1, with two bits before the point."""
    total = a + MOST + 1
    half = total // 2
    x = _constant(1515870810) + _product(half, _constant(-1010580540))  # 48/17 - 32/17 half
    for _ in range(3):
        rest = _ONE_OF_2 - _product(half, x)
        x = _wrapped(x + _rescaled_bits(_product(x, rest), 2))
    return x
