"""Arithmetics that NumPy has not, simulated: every operation rounds to so many bits."""

from typing import Any, ClassVar

import numpy as np


def rounded(x, bits):
    """Round to nearest, ties to even, at ``bits`` significant bits; the exponent is unlimited."""
    fraction, exponent = np.frexp(np.asarray(x, dtype=np.float64))
    return np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits)


class Simulated(np.ndarray):
    """A float64 array whose operations round; sums accumulate one rounded term after another."""

    bits: ClassVar[int]
    product_bits: ClassVar[int | None] = None

    def __array_ufunc__(self, ufunc, method, *inputs: Any, **options: Any):
        plain = [np.asarray(x) for x in inputs]
        if ufunc is np.matmul:
            return self.matmul(*plain).view(type(self))
        result = getattr(ufunc, method)(*plain, **options)
        return rounded(result, self.bits).view(type(self)) if result.dtype.kind == "f" else result

    def __array_function__(self, function, types, args, options):
        result = super().__array_function__(function, types, args, options)
        floats = isinstance(result, np.ndarray) and result.dtype.kind == "f"
        return result.view(type(self)) if floats else result

    def matmul(self, a, b):
        """Multiply with rounded operands, products and partial sums."""
        if self.product_bits:
            a, b = rounded(a, self.product_bits), rounded(b, self.product_bits)
        total = np.zeros((*a.shape[:-1], b.shape[-1]))
        for k in range(a.shape[-1]):
            term = rounded(a[..., k, None] * b[..., k, None, :], self.bits)
            total = rounded(total + term, self.bits)
        return total


class BFloat16(Simulated):
    """8 significant bits."""

    bits = 8


class TF32(Simulated):
    """float32 whose matrix products round their operands to 11 bits first."""

    bits = 24
    product_bits = 11
