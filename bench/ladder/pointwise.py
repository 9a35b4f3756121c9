"""The pointwise part of a step, E13-E18, as it is written: every line makes a new array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...reference.functions import Array


@dataclass(frozen=True)
class Step:
    """The h and c that a step read, its gates, and tanh c'; each (B, H)."""

    h: Array
    c: Array
    i: Array
    f: Array
    g: Array
    o: Array
    tanh_c: Array


@dataclass(frozen=True)
class Run:
    """Outputs y (T, B, H), final h and c (B, H), the input, and what every step left."""

    y: Array
    h: Array
    c: Array
    x: Array
    steps: Sequence[Step]


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)); exp(1000) = inf is right, 1 / (1 + inf) = 0."""
    return 1 / (1 + np.exp(-z))


def forward_step(z: Sequence[Array], h: Array, c: Array) -> tuple[Step, Array, Array]:
    """Return the step, h' and c', from the pre-activations of i, f, g, o, each (B, H)."""
    i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), np.tanh(z[2]), sigmoid(z[3])
    c_new = f * c + i * g
    tanh_c = np.tanh(c_new)
    return Step(h, c, i, f, g, o, tanh_c), o * tanh_c, c_new


def backward_step(s: Step, dh: Array, dc: Array) -> tuple[list[Array], Array]:
    """Pull dh' and dc' (B, H) back to the pre-activations of i, f, g, o, and to c."""
    dc = dc + dh * s.o * (1 - s.tanh_c * s.tanh_c)
    di = dc * s.g * s.i * (1 - s.i)
    df = dc * s.c * s.f * (1 - s.f)
    dg = dc * s.i * (1 - s.g * s.g)
    do = dh * s.tanh_c * s.o * (1 - s.o)
    return [di, df, dg, do], dc * s.f
