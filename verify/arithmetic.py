"""Arithmetics: what rounding a computation is allowed.

The unit roundoff u is half the distance from 1 to the next number, so that a correctly rounded
operation returns (exact)(1 + δ) with |δ| <= u (Higham 2002, ch. 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ACTIVATION_UNITS = 8
"""How many u a sigmoid or tanh may be off, absolutely.

Not relative: D3 prints tanh as (e^s - e^-s)/(e^s + e^-s), whose subtraction leaves an absolute
error of about 7u near 0, and an implementation that computes what is printed is right.
"""


@dataclass(frozen=True)
class Arithmetic:
    """A floating-point arithmetic.

    ``roundoff`` is u of every operation; ``product_roundoff`` that to which operands of matrix
    products are rounded first (TF32), 0 if they are not; ``tiny`` the smallest normal number,
    below which results may be flushed to zero; ``largest`` the largest, beyond which they overflow.
    """

    name: str
    roundoff: float
    tiny: float
    largest: float
    product_roundoff: float = 0.0

    def gamma(self, n: int) -> float:
        """Return γ_n = n u / (1 - n u), the error of n roundings in a row; inf where n u >= 1.

        The float64 in which the bound's own midpoint is computed counts as well.
        """
        nu = n * (self.roundoff + FLOAT64_ROUNDOFF)
        return nu / (1 - nu) if nu < 1 else float("inf")


FLOAT64_ROUNDOFF = 2.0**-53

FLOAT16 = Arithmetic("float16", 2.0**-11, 2.0**-14, 65504.0)
BFLOAT16 = Arithmetic("bfloat16", 2.0**-8, 2.0**-126, 2.0**127 * (2 - 2.0**-7))
TF32 = Arithmetic("tf32", 2.0**-24, 2.0**-126, float(np.finfo(np.float32).max), 2.0**-11)
FLOAT32 = Arithmetic("float32", 2.0**-24, 2.0**-126, float(np.finfo(np.float32).max))
FLOAT64 = Arithmetic("float64", FLOAT64_ROUNDOFF, 2.0**-1022, float(np.finfo(np.float64).max))
LONGDOUBLE = Arithmetic(
    "longdouble", float(np.finfo(np.longdouble).eps) / 2, 2.0**-1022, FLOAT64.largest
)

ARITHMETICS = {
    a.name: a for a in (FLOAT16, BFLOAT16, TF32, FLOAT32, FLOAT64, LONGDOUBLE)
}  # fmt: skip
