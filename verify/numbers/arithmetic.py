"""Arithmetics: the rounding that a computation in a dtype may have.

The unit roundoff u is half the distance from 1 to the next number, so that a correctly rounded
operation returns (exact)(1 + δ) with |δ| <= u (Higham 2002, ch. 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

ACTIVATION_UNITS = 8
"""Largest absolute error of a sigmoid or tanh, in units of u.

Not relative: D3 prints tanh as (e^s - e^-s)/(e^s + e^-s), whose subtraction leaves an absolute
error of about 7u near 0, and an implementation of the printed formula is right.
"""


class PackageMissing(ImportError):
    """A package for an arithmetic is missing; the message tells how to install it."""


MANY = 2**60
"""More roundings than this have an infinite bound in every arithmetic."""


@dataclass(frozen=True)
class Arithmetic:
    """A floating-point arithmetic.

    ``roundoff`` is u of every operation; ``product_roundoff`` that of the rounding of
    operands of matrix products (TF32), 0 if there is none; ``inner_roundoff`` that within a matrix
    product or an activation, where it is finer than the u with which the result is stored, else 0;
    ``tiny`` the smallest normal number, below which results may be flushed to zero; ``largest`` the
    largest, beyond which they overflow; ``storage`` the dtype of its arrays.
    """

    name: str
    roundoff: float
    tiny: float
    largest: float
    product_roundoff: float = 0.0
    inner_roundoff: float = 0.0
    storage: str = ""

    def gamma(self, n: float) -> float:
        """Return γ_n = n u / (1 - n u), the error of n roundings in a row; inf where n u >= 1.

        The float64 in which the bound's own midpoint is computed counts as well.
        """
        nu = n * (self.roundoff + FLOAT64_ROUNDOFF)
        return nu / (1 - nu) if nu < 1 else float("inf")

    @property
    def activation(self) -> float:
        """The largest error of a sigmoid or tanh, relative to 1, before its result is stored."""
        return ACTIVATION_UNITS * ((self.inner_roundoff or self.roundoff) + FLOAT64_ROUNDOFF)

    def roundings(self, products: int) -> float:
        """Return the number of roundings to u that bounds the error of a sum of products.

        With a finer ``inner_roundoff``: one for storing the sum, and a fraction for each product.
        """
        if not self.inner_roundoff:
            return products
        return 1 + products * self.inner_roundoff / self.roundoff

    @property
    def dtype_name(self) -> str:
        """The name of NumPy's dtype of its arrays."""
        return self.storage or self.name

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype of its arrays; bfloat16 is that of ml_dtypes."""
        name = self.dtype_name
        if name == "bfloat16":
            try:
                import ml_dtypes  # noqa: F401 - registers the dtype with NumPy
            except ImportError as error:
                raise PackageMissing(
                    "bfloat16 needs ml_dtypes; install it with: pip install 'gatewise[bfloat16]'"
                ) from error
        return np.dtype(name)


FLOAT64_ROUNDOFF = 2.0**-53

HALF_LARGEST, BRAIN_LARGEST = 65504.0, 2.0**127 * (2 - 2.0**-7)
FLOAT16 = Arithmetic("float16", 2.0**-11, 2.0**-14, HALF_LARGEST)
BFLOAT16 = Arithmetic("bfloat16", 2.0**-8, 2.0**-126, BRAIN_LARGEST)
FLOAT32 = Arithmetic("float32", 2.0**-24, 2.0**-126, float(np.finfo(np.float32).max))
TF32 = replace(FLOAT32, name="tf32", product_roundoff=2.0**-11, storage="float32")
FLOAT64 = Arithmetic("float64", FLOAT64_ROUNDOFF, 2.0**-1022, float(np.finfo(np.float64).max))
LONGDOUBLE = Arithmetic(
    "longdouble", float(np.finfo(np.longdouble).eps) / 2, 2.0**-1022, FLOAT64.largest
)
FLOAT16_STORED = replace(
    FLOAT16, name="float16, inside float32", inner_roundoff=FLOAT32.roundoff, storage="float16"
)
BFLOAT16_STORED = replace(
    BFLOAT16, name="bfloat16, inside float32", inner_roundoff=FLOAT32.roundoff, storage="bfloat16"
)
"""The arithmetic of BLAS, tensor cores and kernels: computed in float32, stored in halves."""

ARITHMETICS = {
    a.name: a
    for a in (
        FLOAT16, FLOAT16_STORED, BFLOAT16, BFLOAT16_STORED, TF32, FLOAT32, FLOAT64, LONGDOUBLE,
    )
}  # fmt: skip

DTYPES = ("float64", "float32", "tf32", "float16", "bfloat16")
"""The dtypes that a layer can claim; tf32 is float32 with matrix products in TF32."""

USUAL_DTYPES = DTYPES[:2]
"""The dtypes that are checked by default."""

HALVES = ("float16", "bfloat16")
"""Dtypes of 16 bits."""

EVERY = "all"
"""Stands for all dtypes of a subject."""


def chosen_dtypes(offered: Sequence[str], requested: str | None) -> tuple[str, ...]:
    """Return the requested ones of the offered dtypes: one, all, or by default the usual ones."""
    known = tuple(dtype for dtype in DTYPES if dtype in offered)
    if requested not in (None, EVERY):
        return tuple(dtype for dtype in known if dtype == requested)
    usual = tuple(dtype for dtype in known if dtype in USUAL_DTYPES)
    return known if requested == EVERY or not usual else usual


FINER = {
    "tf32": (FLOAT32.name,),
    "float16": (FLOAT16_STORED.name,),
    "bfloat16": (BFLOAT16_STORED.name,),
}
"""The arithmetic that layers usually have where the dtype permits a coarser one.

Results within its narrower bounds are right; others must be within the wider ones.
"""
