"""Forward steps of any convention from its parameters, for one layer and direction.

The reference has proven cells for most conventions. These functions evaluate all conventions, also
those with hard sigmoids or other output activations, on floats or ``Bounded`` numbers, with leading
axes for many hypotheses at a time. Tests compare them with the reference's cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, singledispatch

import numpy as np

from ...reference.functions import Array, minimum, relu, sigmoid, switch, tanh
from ...reference.parameters import Shape, Sizes
from ..numbers.arithmetic import ACTIVATION_UNITS
from ..numbers.bounded import OWN_ROUNDING, Bounded
from .convention import Convention

SLOPES = {"hard sigmoid 0.2": 0.2, "hard sigmoid 1/6": 1 / 6}
"""Slopes of the hard sigmoids at 0."""

Slices = Mapping[str, Array]
"""Slices of parameters by name: W_i (D, H), U_i (H, H), b_i (H,), b_hn, p_o, R (H, P)."""


@singledispatch
def hard_sigmoid(s: Array, slope: float) -> Array:
    """Return slope * s + 1/2, clipped to [0, 1]."""
    line = slope * s + 0.5
    return minimum(switch(line, 0 * line, line), 1 + 0 * line)


@hard_sigmoid.register
def _(s: Bounded, slope: float) -> Bounded:
    """Return the bounded function, of at most this slope and the other activations' accuracy."""
    rounding = ACTIVATION_UNITS * s.arithmetic.gamma(1) + s.arithmetic.tiny
    error = (np.minimum(slope * s.bound, 1.0) + rounding) * OWN_ROUNDING
    return Bounded(np.clip(slope * s.value + 0.5, 0, 1), error, s.arithmetic)


@cache
def activation(name: str) -> Callable[[Array], Array]:
    """Return the function that a convention names."""
    if name in SLOPES:
        return lambda s: hard_sigmoid(s, SLOPES[name])
    plain: dict[str, Callable[[Array], Array]] = {
        "sigmoid": sigmoid,
        "tanh": tanh,
        "relu": relu,
        "identity": lambda s: s,
    }
    return plain[name]


def shapes(convention: Convention, sizes: Sizes) -> dict[str, Shape]:
    """Return the shapes of the parameters with an explicit gate axis, as in the reference."""
    gates = tuple(convention.letters)
    width = sizes.projected if convention.projected else sizes.H
    result = {
        "W": Shape(gates, (sizes.D, sizes.H)),
        "U": Shape(gates, (width, sizes.H)),
        "b": Shape(gates, (sizes.H,)),
    }
    if convention.recurrent_bias:
        result["b_hn"] = Shape((), (sizes.H,))
    if convention.peepholes:
        result["p"] = Shape(("i", "f", "o"), (sizes.H,))
    if convention.projected:
        result["R"] = Shape((), (sizes.H, sizes.projected))
    return result


def stored_shapes(convention: Convention, sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all stored arrays."""
    parameters = shapes(convention, sizes)
    return {packed.name: packed.shape(parameters) for packed in convention.arrays()}


def step(
    convention: Convention, slices: Slices, x: Array, state: tuple[Array, ...]
) -> tuple[Array, ...]:
    """Return the state after one step: (h,) or (h, c)."""
    h = state[0]
    # The bias joins the product of x, and a GRU's b_hn that of h, so that sums stay open.
    of_x = {g: x @ slices[f"W_{g}"] + slices[f"b_{g}"] for g in convention.letters}
    of_h = {g: h @ slices[f"U_{g}"] for g in convention.letters}
    if convention.family == "gru":
        return (gru(convention, of_x, of_h, h, slices.get("b_hn"), lambda rh: rh @ slices["U_n"]),)
    if convention.family == "rnn":
        return (activation(convention.candidate)(of_x["a"] + of_h["a"]),)
    sums = {g: of_x[g] + of_h[g] for g in convention.letters}
    peepholes = {g: slices[f"p_{g}"] for g in convention.peepholes}
    h, c = lstm(convention, sums, peepholes, state[1])
    return (h @ slices["R"] if convention.projected else h, c)


def lstm(
    convention: Convention, sums: Mapping[str, Array], peepholes: Mapping[str, Array], c: Array
) -> tuple[Array, Array]:
    """Return h and c after a step, from the gates' sums without peepholes; h before projection."""
    gate, candidate = activation(convention.gate), activation(convention.candidate)

    def gate_of(letter: str, cell_state: Array) -> Array:
        p = peepholes.get(letter)
        return gate(sums[letter] if p is None else sums[letter] + p * cell_state)

    i = gate_of("i", c)
    f = 1 - i if convention.coupled else gate_of("f", c)
    new = f * c + i * candidate(sums["g"])
    o = gate_of("o", new if convention.output_peephole == "new" else c)
    return o * activation(convention.output)(new), new


def gru(
    convention: Convention,
    of_x: Mapping[str, Array],
    of_h: Mapping[str, Array],
    h: Array,
    b_hn: Array | None,
    product: Callable[[Array], Array],
) -> Array:
    """Return h after a step, from the parts of the gates' sums; ``product`` is that with U_n."""
    gate, candidate = activation(convention.gate), activation(convention.candidate)
    r, z = (gate(of_x[g] + of_h[g]) for g in "rz")
    if convention.reset == "before":
        n = candidate(of_x["n"] + product(r * h))
    else:
        n = candidate(of_x["n"] + r * (of_h["n"] if b_hn is None else of_h["n"] + b_hn))
    return z * h + (1 - z) * n if convention.update == "keep" else (1 - z) * h + z * n
