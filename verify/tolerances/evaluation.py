"""Correct evaluations: the equations in a dtype, with sums in some order and some activations.

A correct implementation may add the products of a matrix product in any order, one by one, in
pairs, with a fused multiply-add or in a wider format, and take its activations from any library
with errors of up to ``ACTIVATION_UNITS``. An ``Evaluation`` chooses among these at random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...reference import functions
from ...reference.arrays import Array, Floats
from ..numbers.arithmetic import FLOAT32, HALVES, Arithmetic

ORDERS = ("one by one", "pairs", "fused", "wide")
"""Ways to compute a sum of products."""

PRINTED_UP_TO = 8.0
"""|s| up to which tanh may be computed by the printed formula of two exponentials."""

ACTIVATIONS = ("library", "wide", "printed", "other")
"""Kinds of activations.

They are NumPy's function, its float64 result rounded, a formula of exponentials, and each function
by a formula of the other.
"""


@dataclass(frozen=True)
class Evaluation:
    """One way to compute: a generator that chooses orders of sums, and a kind of activations.

    ``inner`` is the dtype of matrix products and activations: that of the arrays, or float32.
    """

    arithmetic: Arithmetic
    rng: np.random.Generator
    activation: str
    inner: np.dtype[Any]

    @classmethod
    def drawn(cls, arithmetic: Arithmetic, rng: np.random.Generator) -> Evaluation:
        """Draw a way to compute; raise PackageMissing for bfloat16 without ml_dtypes."""
        finer = bool(arithmetic.inner_roundoff)
        if arithmetic.name in HALVES:
            finer = bool(rng.random() < 0.5)
        inner = FLOAT32.dtype if finer else arithmetic.dtype
        return cls(arithmetic, rng, str(rng.choice(ACTIVATIONS)), inner)

    def lift(self, array: Floats) -> Evaluated:
        """Return input numbers in the dtype."""
        return self.stored(np.asarray(array))

    def stored(self, array: Array) -> Evaluated:
        """Round exact float64 numbers to the dtype, once."""
        rounded = np.asarray(array).astype(self.arithmetic.dtype).astype(np.float64).view(Evaluated)
        rounded.evaluation = self
        return rounded

    def product(self, a: Array, b: Array) -> Evaluated:
        """Multiply matrices, with sums in an order of this evaluation's choice."""
        order = self.rng.permutation(a.shape[-1])
        a, b = (self._operand(m) for m in (a[..., order], b[..., order, :]))
        terms = np.moveaxis(a[..., :, :, None] * b[..., None, :, :], -2, 0)
        return self.stored(self._summed(terms))

    def total(self, array: Floats, axis: int | None, *, keepdims: bool) -> Evaluated:
        """Sum over an axis, or over everything, in an order of this evaluation's choice."""
        flat = array.reshape(-1) if axis is None else np.moveaxis(array, axis, 0)
        terms = np.asarray(flat)[self.rng.permutation(len(flat))]
        total = self._summed(terms)
        if keepdims:
            total = np.expand_dims(total, tuple(range(array.ndim)) if axis is None else axis)
        return self.stored(total)

    def activated(self, exact: Callable[[Floats], Floats], s: Array) -> Evaluated:
        """Compute tanh or the sigmoid, which ``exact`` computes on float64, by the chosen kind."""
        formulas = _TANH if exact is np.tanh else _SIGMOID
        plain = np.asarray(s)
        if self.activation == "wide":
            return self.stored(exact(plain))
        with np.errstate(over="ignore"):
            return self.stored(formulas[self.activation](plain.astype(self.inner)))

    def _operand(self, array: Array) -> Floats:
        """Return an operand of a matrix product, rounded by the hardware."""
        wide = np.asarray(array)
        if not self.arithmetic.product_roundoff:
            return wide
        fraction, exponent = np.frexp(wide)
        steps = 1 / self.arithmetic.product_roundoff
        return np.asarray(np.ldexp(np.round(fraction * steps) / steps, exponent))

    def _summed(self, terms: Floats) -> Floats:
        """Add exact float64 terms over the first axis, with the rounding of a random order."""
        order = str(self.rng.choice(ORDERS))
        if order == "wide" or not len(terms):
            return np.asarray(terms.sum(axis=0))

        def rounded(array: Floats) -> Floats:
            return array.astype(self.inner).astype(np.float64)

        if order != "fused":
            terms = rounded(terms)
        if order == "pairs":
            while len(terms) > 1:
                odd = terms[len(terms) // 2 * 2 :]
                terms = np.concatenate([rounded(terms[: len(terms) - 1 : 2] + terms[1::2]), odd])
            return np.asarray(terms[0])
        sum_: Floats = rounded(terms[0])
        for term in terms[1:]:
            sum_ = rounded(sum_ + term)
        return sum_


def _printed_tanh(s: Floats) -> Floats:
    up, down = np.exp(s), np.exp(-s)
    return np.where(np.abs(s) < PRINTED_UP_TO, (up - down) / (up + down), np.tanh(s))


_TANH: Mapping[str, Callable[[Floats], Floats]] = {
    "library": np.tanh,
    "printed": _printed_tanh,
    "other": lambda s: 2 / (1 + np.exp(-2 * s)) - 1,
}
_SIGMOID: Mapping[str, Callable[[Floats], Floats]] = {
    "library": lambda s: np.asarray(functions.sigmoid(s)),
    "printed": lambda s: 1 / (1 + np.exp(-s)),
    "other": lambda s: (1 + np.tanh(s / 2)) / 2,
}


class Evaluated(np.ndarray[Any, Any]):
    """Numbers of an ``Evaluation``; every operation rounds to its dtype.

    They are stored in float64, in which sums and products of two halves or floats are exact enough
    to be rounded once (Figueroa 1995): float64 has more than twice their digits.
    """

    evaluation: Evaluation

    def __array_finalize__(self, base: Any) -> None:
        """Pass the evaluation on to parts and views."""
        if base is not None and hasattr(base, "evaluation"):
            self.evaluation = base.evaluation

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(x) for x in inputs]
        if ufunc is np.matmul:
            return self.evaluation.product(*plain)
        if ufunc is np.add and method == "reduce":
            axis, keepdims = options.get("axis", 0), bool(options.get("keepdims"))
            return self.evaluation.total(plain[0], axis, keepdims=keepdims)
        if ufunc is np.tanh:
            return self.evaluation.activated(np.tanh, plain[0])
        result = getattr(ufunc, method)(*plain, **options)
        return result if result.dtype.kind == "b" else self.evaluation.stored(result)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        result = super().__array_function__(function, types, args, options)
        number = isinstance(result, np.ndarray) and result.dtype.kind not in "biu"
        return self.evaluation.stored(result) if number else result


@functions.sigmoid.register
def _(s: Evaluated) -> Evaluated:
    return s.evaluation.activated(_SIGMOID["library"], s)
