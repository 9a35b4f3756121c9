"""Mamba-2 (SSD): a linear state space whose step size comes with the input.

The state of a head is a (V, K) matrix with one decay. ``dt`` is the step size Δ after its softplus;
B and C are those of one group. The convolution before the cell, and the gate and the norm after
it, are no part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..arrays import Array, Floats
from ..cell import Gates, State
from ..equation import equation, vjp_of
from ..functions import zeros
from ..gated_by_input import (
    RATE,
    Arrays,
    Cotangents,
    GatedByInput,
    Heads,
    InputArray,
    Values,
    step_size,
)
from ..linear import Linear
from ..parameters import Parameters, Shape

Group: TypeAlias = Annotated[Array, "B K"]
States: TypeAlias = Annotated[Array, "B N V K"]
PerHead: TypeAlias = Annotated[Array, "N"]
"""B or C of a step, which all heads of its one group share; the states; one number a head."""

SSD = "Dao & Gu 2024, arXiv:2405.21060"


@equation(
    "X45",
    "ssd.decay",
    latex=r"\tilde S_t = e^{\Delta_t A} S_{t-1}",
    documents=(SSD,),
    note="A < 0 is one learned number a head",
)
def decay(dt: Heads, A: PerHead, S: States) -> States:
    """Return the decayed state (B, N, V, K)."""
    return np.exp(dt * A)[..., None, None] * S


@vjp_of("ssd.decay")
def decay_vjp(dt: Heads, A: PerHead, S: States, d: States) -> tuple[Heads, PerHead, States]:
    """Pull back to (ddt, dA, dS)."""
    dS = np.exp(dt * A)[..., None, None] * d
    d_log = (dS * S).sum(axis=-1).sum(axis=-1)
    return d_log * A, (d_log * dt).sum(axis=0), dS


@equation(
    "X46",
    "ssd.write",
    latex=r"S_t = \tilde S_t + (\Delta_t x_t)^\top B_t",
    documents=(SSD,),
    note="B is discretised by Δ B (Euler), not by zero-order hold",
)
def write(dt: Heads, x: Values, B: Group, S: States) -> States:
    """Return the new state (B, N, V, K)."""
    return S + (dt[..., None] * x)[..., None] * B[:, None, None, :]


@vjp_of("ssd.write")
def write_vjp(
    dt: Heads, x: Values, B: Group, S: States, d: States
) -> tuple[Heads, Values, Group, States]:
    """Pull back to (ddt, dx, dB, dS)."""
    scaled = dt[..., None] * x
    d_scaled = (d * B[:, None, None, :]).sum(axis=-1)
    dB = (d * scaled[..., None]).sum(axis=1).sum(axis=1)
    return (d_scaled * x).sum(axis=-1), d_scaled * dt[..., None], dB, d


@equation(
    "X47",
    "ssd.output",
    latex=r"y_t = S_t C_t + D x_t",
    documents=(SSD,),
    note="of the new state; D is one learned number a head",
)
def output(C: Group, x: Values, D: PerHead, S: States) -> Values:
    """Return the output (B, N, V)."""
    return (S @ C[:, None, :, None])[..., 0] + D[:, None] * x


@vjp_of("ssd.output")
def output_vjp(
    C: Group, x: Values, D: PerHead, S: States, dy: Values
) -> tuple[Group, Values, PerHead, States]:
    """Pull back to (dC, dx, dD, dS)."""
    dC = (dy[..., None] * S).sum(axis=1).sum(axis=1)
    dD = (dy * x).sum(axis=-1).sum(axis=0)
    return dC, D[:, None] * dy, dD, dy[..., None] * C[:, None, None, :]


class StateSpace(GatedByInput):
    """The base class of Mamba's cells: a decay by Δ A, a write of Δ x B, an output of C and D x."""

    decay: Callable[..., Any]
    decay_vjp: Callable[..., Any]
    write: Callable[..., Any]
    write_vjp: Callable[..., Any]
    output: Callable[..., Any]
    output_vjp: Callable[..., Any]

    def random_parameter(self, name: str, rng: np.random.Generator, shape: Shape) -> Floats:
        """Draw A < 0, and D from N(0, 1)."""
        drawn = rng.standard_normal(shape.full)
        return -0.2 - np.abs(drawn) if name == "A" else drawn

    def update(self, p: Parameters, inputs: Arrays, state: State) -> tuple[State, Gates]:
        """Compute X45 and X46, or X48 and X49."""
        decayed = self.decay(inputs["dt"], p["A"], state[0])
        return (self.write(inputs["dt"], inputs["x"], inputs["B"], decayed),), {}

    def update_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, d_new: State
    ) -> tuple[Arrays, State]:
        """Pull back; the step size acts on the write and on the decay."""
        args = (inputs["dt"], inputs["x"], inputs["B"], state[0])
        ddt, dx, dB, dS = self.write_vjp(*args, d_new[0])
        ddt_decay, dA, dS = self.decay_vjp(inputs["dt"], p["A"], state[0], dS)
        return {"dt": ddt + ddt_decay, "x": dx, "B": dB, "A": dA}, (dS,)

    def read(self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State) -> Array:
        """X47, or X50."""
        read: Array = self.output(inputs["C"], inputs["x"], p["D"], new[0])
        return read

    def read_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, dy: Array
    ) -> tuple[Arrays, Cotangents, Cotangents]:
        """Pull back; the output has a term of the input beside the state's."""
        dC, dx, dD, dS = self.output_vjp(inputs["C"], inputs["x"], p["D"], new[0], dy)
        return {"C": dC, "x": dx, "D": dD}, (None,), (dS,)


class StateSpaceDual(StateSpace):
    """X45-X47: Mamba-2."""

    name, title = "ssd", "Mamba-2 (SSD)"
    equations = ("ssd.decay", "ssd.write", "ssd.output")
    state_axes = {"S": "N V K"}  # noqa: RUF012 - constants of a class
    parameter_axes = {"A": "N", "D": "N"}  # noqa: RUF012
    inputs = (
        InputArray("x", "N V"),
        InputArray("dt", "N", step_size, RATE),
        InputArray("B", "K"),
        InputArray("C", "K"),
    )
    decay, decay_vjp = staticmethod(decay), staticmethod(decay_vjp)
    write, write_vjp = staticmethod(write), staticmethod(write_vjp)
    output, output_vjp = staticmethod(output), staticmethod(output_vjp)

    def linear(self, p: Parameters, inputs: Arrays, S: Array) -> Linear:
        """Return the linear recurrence: keys B, queries C, values Δ x, the state transposed."""
        dt, (steps, batch, heads) = inputs["dt"], inputs["dt"].shape
        wide = zeros(dt, (steps, batch, heads, inputs["B"].shape[-1]))
        k, q = (wide + inputs[name][:, :, None] for name in "BC")
        g = (dt * p["A"])[..., None]
        return Linear(g, k, dt[..., None] * inputs["x"], q, None, np.swapaxes(S, -1, -2))

    def from_linear(self, p: Parameters, inputs: Arrays, read: Array, S: Array) -> tuple[Any, Any]:
        """Return y + D x, and the state transposed."""
        return read + p["D"][:, None] * inputs["x"], np.swapaxes(S, -1, -2)


CELLS = (StateSpaceDual(),)
