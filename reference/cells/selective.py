"""Mamba-1 (S6): every entry of the (V, K) state has its own decay.

``dt`` is the step size Δ after its softplus, one for each of the V channels. The convolution
before the cell and the gate SiLU(z) after it are no part of it.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import numpy as np

from ..arrays import Array
from ..equation import equation, vjp_of
from ..functions import zeros
from ..gated_by_input import RATE, Arrays, InputArray, step_size
from ..linear import Linear
from ..parameters import Parameters
from .ssd import Group, StateSpace

Channels: TypeAlias = Annotated[Array, "B V"]
States: TypeAlias = Annotated[Array, "B V K"]
Rates: TypeAlias = Annotated[Array, "V K"]
Skip: TypeAlias = Annotated[Array, "V"]

S6 = "Gu & Dao 2023, arXiv:2312.00752"


@equation(
    "X48",
    "selective.decay",
    latex=r"\tilde h_t = e^{\Delta_t A} \odot h_{t-1}",
    documents=(S6,),
    note="A < 0 is learned, one number for every entry of the state",
)
def decay(dt: Channels, A: Rates, h: States) -> States:
    """Return the decayed state (B, V, K)."""
    return np.exp(dt[..., None] * A) * h


@vjp_of("selective.decay")
def decay_vjp(dt: Channels, A: Rates, h: States, d: States) -> tuple[Channels, Rates, States]:
    """Pull back to (ddt, dA, dh)."""
    dh = np.exp(dt[..., None] * A) * d
    d_log = dh * h
    return (d_log * A).sum(axis=-1), (d_log * dt[..., None]).sum(axis=0), dh


@equation(
    "X49",
    "selective.write",
    latex=r"h_t = \tilde h_t + (\Delta_t x_t)^\top B_t",
    documents=(S6,),
    note="B is discretised by Δ B (Euler), as the paper's code does",
)
def write(dt: Channels, x: Channels, B: Group, h: States) -> States:
    """Return the new state (B, V, K)."""
    return h + (dt * x)[..., None] * B[:, None, :]


@vjp_of("selective.write")
def write_vjp(
    dt: Channels, x: Channels, B: Group, h: States, d: States
) -> tuple[Channels, Channels, Group, States]:
    """Pull back to (ddt, dx, dB, dh)."""
    d_scaled = (d * B[:, None, :]).sum(axis=-1)
    return d_scaled * x, d_scaled * dt, (d * (dt * x)[..., None]).sum(axis=1), d


@equation(
    "X50",
    "selective.output",
    latex=r"y_t = h_t C_t + D \odot x_t",
    documents=(S6,),
    note="of the new state; D is learned",
)
def output(C: Group, x: Channels, D: Skip, h: States) -> Channels:
    """Return the output (B, V)."""
    return (h @ C[..., None])[..., 0] + D * x


@vjp_of("selective.output")
def output_vjp(
    C: Group, x: Channels, D: Skip, h: States, dy: Channels
) -> tuple[Group, Channels, Skip, States]:
    """Pull back to (dC, dx, dD, dh)."""
    dC = (dy[..., None] * h).sum(axis=1)
    return dC, D * dy, (dy * x).sum(axis=0), dy[..., None] * C[:, None, :]


class Selective(StateSpace):
    """X48-X50: Mamba-1; it has no heads."""

    name, title = "selective", "Mamba-1 (S6)"
    equations = ("selective.decay", "selective.write", "selective.output")
    state_axes = {"h": "V K"}  # noqa: RUF012 - constants of a class
    parameter_axes = {"A": "V K", "D": "V"}  # noqa: RUF012
    output_axes = "V"
    inputs = (
        InputArray("x", "V"),
        InputArray("dt", "V", step_size, RATE),
        InputArray("B", "K"),
        InputArray("C", "K"),
    )
    decay, decay_vjp = staticmethod(decay), staticmethod(decay_vjp)
    write, write_vjp = staticmethod(write), staticmethod(write_vjp)
    output, output_vjp = staticmethod(output), staticmethod(output_vjp)

    def linear(self, p: Parameters, inputs: Arrays, S: Array) -> Linear:
        """Return the linear recurrence: every channel is a head with values of width 1."""
        dt, shape = inputs["dt"], (*inputs["x"].shape, inputs["B"].shape[-1])
        wide = zeros(dt, shape)
        k, q = (wide + inputs[name][:, :, None] for name in "BC")
        g = dt[..., None] * p["A"]
        return Linear(g, k, (dt * inputs["x"])[..., None], q, None, S[..., None])

    def from_linear(self, p: Parameters, inputs: Arrays, read: Array, S: Array) -> tuple[Any, Any]:
        """Return y + D x, and the state."""
        return read[..., 0] + p["D"] * inputs["x"], S[..., 0]


CELLS = (Selective(),)
