"""The scalar arithmetic that the documents take for granted, in mpmath."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from mpmath import mp, mpf  # type: ignore[import-untyped]

__all__ = [
    "Biases", "Matrix", "Scalar", "Vector", "Weights", "bias_or_zero", "dot", "mp", "mpf",
    "sigmoid", "tanh",
]  # fmt: skip

Scalar: TypeAlias = Any
"""An ``mpf``; on input, anything that mpmath converts to one."""

Vector: TypeAlias = list[Scalar]
Matrix: TypeAlias = list[list[Scalar]]
Weights: TypeAlias = Mapping[str, Matrix]
"""Matrices by the subscript they carry in the document: ``W["f"]`` is W_f."""

Biases: TypeAlias = Mapping[str, Vector]
"""Bias (or peephole) vectors by the subscript they carry in the document."""


def dot(u: Vector, v: Vector) -> Scalar:
    """Σ_k u_k v_k of two lists; ValueError if their lengths differ."""
    total = mpf(0)
    for u_k, v_k in zip(u, v, strict=True):
        total += mp.convert(u_k) * mp.convert(v_k)
    return total


def sigmoid(s: Scalar) -> Scalar:
    """σ(s) = 1 / (1 + e^-s) (E01)."""
    return 1 / (1 + mp.exp(-mp.convert(s)))


def tanh(s: Scalar) -> Scalar:
    """
    (e^s - e^-s) / (e^s + e^-s) (E02).

    The numerator cancels near 0: the error there is small against 1, not against
    the result.
    """
    s = mp.convert(s)
    return (mp.exp(s) - mp.exp(-s)) / (mp.exp(s) + mp.exp(-s))


def bias_or_zero(b: Biases | None, gate: str, j: int) -> Scalar:
    """Component ``j`` of ``b[gate]``, or 0 for an equation printed without a bias."""
    return mpf(0) if b is None else mp.convert(b[gate][j])
