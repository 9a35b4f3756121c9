"""Activations of other libraries, and functions of rows, for plain and for traced arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ....reference.functions import Array
from ...numbers.tape import Pull, Traced, custom, rearranged

Scalar = Callable[[Array], Array]


@dataclass(frozen=True)
class Activation:
    """An elementwise function and its slope; the imaginary part of an argument is its tangent."""

    value: Scalar
    slope: Scalar

    def __call__(self, s: Array) -> Array:
        """Apply the function to every entry."""
        if not isinstance(s, Traced):
            return self._plain(s if hasattr(s, "dtype") else np.float64(s))

        def rule(a: Array) -> tuple[Sequence[Array], Pull]:
            slope = self.slope(a).astype(a.dtype)
            return [self._plain(a)], lambda d: [d * slope]

        return custom(rule, s)[0]

    def _plain(self, s: Array) -> Array:
        if np.iscomplexobj(s):
            return self.value(s.real) + 1j * s.imag * self.slope(s.real)
        return self.value(s).astype(s.dtype, copy=False)


def softmax(s: Array) -> Array:
    """Return the softmax over the units of each row."""

    def along(y: Array, d: Array) -> Array:
        return np.asarray(y * (d - (y * d).sum(axis=-1, keepdims=True)))

    def value(a: Array) -> Array:
        e = np.exp(a.real - a.real.max(axis=-1, keepdims=True))
        y = np.asarray(e / e.sum(axis=-1, keepdims=True))
        return y + 1j * along(y, a.imag) if np.iscomplexobj(a) else y

    if not isinstance(s, Traced):
        return value(s)
    return custom(lambda a: ([value(a)], lambda d: [along(value(a), d)]), s)[0]


def _sigmoid(s: Array) -> Array:
    return 1 / (1 + np.exp(-s))


def _normal(s: Array) -> Array:
    """Return the normal distribution function."""
    from scipy.special import ndtr  # takes long to import

    return np.asarray(ndtr(s))


def _density(s: Array) -> Array:
    return np.exp(-s * s / 2) / np.sqrt(2 * np.pi)


def _clipped(slope: float, offset: float, low: float) -> Activation:
    """Return clip(slope s + offset, low, 1)."""
    return Activation(
        lambda s: np.clip(slope * s + offset, low, 1),
        lambda s: slope * ((slope * s + offset > low) & (slope * s + offset < 1)),
    )


def _gelu_argument(s: Array) -> Array:
    return np.sqrt(2 / np.pi) * (s + 0.044715 * s**3)


def _gelu_tanh_slope(s: Array) -> Array:
    t, inner = np.tanh(_gelu_argument(s)), np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * s * s)
    return (1 + t) / 2 + s * (1 - t * t) * inner / 2


ACTIVATIONS: dict[str, tuple[Scalar, str]] = {
    "hard_sigmoid": (_clipped(1 / 6, 0.5, 0), "a hard sigmoid, clip(s / 6 + 0.5, 0, 1),"),
    "hard_sigmoid_torch": (
        Activation(
            lambda s: np.clip(s / 6 + 0.5, 0, 1),
            lambda s: float(np.float32(1 / 6)) * (np.abs(s) < 3),
        ),
        "torch's hard sigmoid, clip(s / 6 + 0.5, 0, 1) with a slope in single precision,",
    ),
    "hard_sigmoid_keras": (_clipped(0.2, 0.5, 0), "a hard sigmoid, clip(0.2 s + 0.5, 0, 1),"),
    "hard_sigmoid_steep": (_clipped(0.25, 0.5, 0), "a hard sigmoid, clip(s / 4 + 0.5, 0, 1),"),
    "hard_sigmoid_half": (_clipped(0.5, 0.5, 0), "a hard sigmoid, clip(s / 2 + 0.5, 0, 1),"),
    "hardtanh": (_clipped(1, 0, -1), "hardtanh, clip(s, -1, 1),"),
    "relu6": (
        Activation(lambda s: np.clip(s, 0, 6), lambda s: (s > 0) & (s < 6)), "ReLU6, clip(s, 0, 6),"
    ),
    "clip_to_1": (_clipped(1, 0, 0), "clip(s, 0, 1)"),
    "softsign": (
        Activation(lambda s: s / (1 + np.abs(s)), lambda s: 1 / (1 + np.abs(s)) ** 2),
        "softsign, s / (1 + |s|),",
    ),
    "leaky_relu": (
        Activation(lambda s: np.where(s > 0, s, 0.01 * s), lambda s: np.where(s > 0, 1, 0.01)),
        "leaky ReLU",
    ),
    "elu": (
        Activation(
            lambda s: np.where(s > 0, s, np.expm1(np.minimum(s, 0))),
            lambda s: np.where(s > 0, 1, np.exp(np.minimum(s, 0))),
        ),
        "ELU",
    ),
    "gelu": (
        Activation(lambda s: s * _normal(s), lambda s: _normal(s) + s * _density(s)),
        "GELU, s Phi(s),",
    ),
    "gelu_tanh": (
        Activation(lambda s: s * (1 + np.tanh(_gelu_argument(s))) / 2, _gelu_tanh_slope),
        "GELU by tanh",
    ),
    "silu": (
        Activation(
            lambda s: s * _sigmoid(s),
            lambda s: _sigmoid(s) * (1 + s * (1 - _sigmoid(s))),
        ),
        "SiLU, s sigmoid(s),",
    ),
    "softplus": (Activation(lambda s: np.logaddexp(0, s), _sigmoid), "softplus"),
    "exp": (Activation(np.exp, np.exp), "exp"),
    "softmax": (softmax, "a softmax over the units"),
}  # fmt: skip
"""The functions by their names in formulas, with their names in sentences."""


def _mean(a: Array) -> Array:
    return np.broadcast_to(a.mean(axis=-2, keepdims=True), a.shape)


def _sum(a: Array) -> Array:
    return np.broadcast_to(a.sum(axis=-2, keepdims=True), a.shape)


def _taken(where: Callable[[Array], Array], x: Array) -> Array:
    return rearranged(x, lambda a: np.array(np.broadcast_to(where(a), a.shape)))


def _linear(function: Scalar, x: Array) -> Array:
    """Apply a symmetric linear function, which is its own VJP."""
    return custom(lambda a: ([function(a)], lambda d: [function(d)]), x)[0]


OF_ROWS: dict[str, tuple[Scalar, str]] = {
    "row_first": (partial(_taken, lambda a: a[..., :1, :]), "that of row 0, for all rows,"),
    "row_last": (partial(_taken, lambda a: a[..., -1:, :]), "that of the last row, for all rows,"),
    "row_mean": (partial(_linear, _mean), "the mean over the rows, for all of them,"),
    "row_sum": (partial(_linear, _sum), "the sum over the rows, for all of them,"),
    "row_centred": (
        partial(_linear, lambda a: a - _mean(a)), "its difference to the mean over the rows"),
    "row_centred_if_several": (
        partial(_linear, lambda a: a - _mean(a) if a.shape[-2] > 1 else a),
        "its difference to the mean over the rows, if there are several,"),
    "row_before": (
        partial(_taken, lambda a: np.roll(a, 1, axis=-2)),
        "that of the row before (the first's: of the last)",
    ),
}  # fmt: skip
"""Functions of an array's rows by their names in formulas, with their words in sentences."""
