"""The linear recurrent unit (LRU): a diagonal recurrence of complex numbers, written in reals.

A state x = re + i im turns by the phase of its eigenvalue and shrinks by its modulus, both of which
are learned by their logarithms. The output is as wide as the state: H.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Input, Rows, Units, Vector
from ..cell import VJP, Cell, Gates, ReadVJP, State
from ..equation import equation, vjp_of
from ..functions import zeros
from ..parameters import Parameters, Shape, Sizes

SOURCE = ("Orvieto et al. 2023, arXiv:2303.06349",)


@equation("X64", "lru.modulus", latex=r"|\lambda| = \exp(-e^{\nu})", documents=SOURCE)
def modulus(p: Parameters) -> Vector:
    """Return |λ| (H,), below 1 with any ν."""
    return np.exp(-np.exp(p.nu))


@equation("X64", "lru.phase", latex=r"\arg \lambda = e^{\theta}", documents=SOURCE)
def phase(p: Parameters) -> Vector:
    """Return the phase of λ (H,)."""
    return np.exp(p.theta)


@equation(
    "X65", "lru.real_input", latex=r"\mathrm{Re}\, b_t = e^{\gamma} \odot (u_t B_{re})",
    documents=SOURCE, note="e^γ begins as √(1 - |λ|²), and is learned",
)  # fmt: skip
def real_input(p: Parameters, u: Input) -> Units:
    """Return the real part of the write (B, H)."""
    return np.exp(p.gamma) * (u @ p.B_re)


@equation(
    "X65", "lru.imaginary_input", latex=r"\mathrm{Im}\, b_t = e^{\gamma} \odot (u_t B_{im})",
    documents=SOURCE,
)  # fmt: skip
def imaginary_input(p: Parameters, u: Input) -> Units:
    """Return the imaginary part of the write (B, H)."""
    return np.exp(p.gamma) * (u @ p.B_im)


@equation(
    "X65", "lru.real_state",
    latex=r"\mathrm{Re}\, x_t = \mathrm{Re}(\lambda \odot x_{t-1}) + \mathrm{Re}\, b_t",
    documents=SOURCE,
)  # fmt: skip
def real_state(size: Vector, angle: Vector, re: Units, im: Units, written: Units) -> Units:
    """Return the real part of the new state (B, H)."""
    turned: Units = np.cos(angle) * re - np.sin(angle) * im
    return size * turned + written


@vjp_of("lru.real_state")
def real_state_vjp(
    size: Vector, angle: Vector, re: Units, im: Units, written: Units, d: Units
) -> tuple[Vector, Vector, Units, Units, Units]:
    """Pull d back to (dsize, dangle, dre, dim, dwritten)."""
    cos, sin = np.cos(angle), np.sin(angle)
    d_size = (d * (cos * re - sin * im)).sum(axis=0)
    d_angle = -size * (d * (sin * re + cos * im)).sum(axis=0)
    return d_size, d_angle, size * cos * d, -(size * sin * d), d


@equation(
    "X65", "lru.imaginary_state",
    latex=r"\mathrm{Im}\, x_t = \mathrm{Im}(\lambda \odot x_{t-1}) + \mathrm{Im}\, b_t",
    documents=SOURCE,
)  # fmt: skip
def imaginary_state(size: Vector, angle: Vector, re: Units, im: Units, written: Units) -> Units:
    """Return the imaginary part of the new state (B, H)."""
    turned: Units = np.sin(angle) * re + np.cos(angle) * im
    return size * turned + written


@vjp_of("lru.imaginary_state")
def imaginary_state_vjp(
    size: Vector, angle: Vector, re: Units, im: Units, written: Units, d: Units
) -> tuple[Vector, Vector, Units, Units, Units]:
    """Pull d back to (dsize, dangle, dre, dim, dwritten)."""
    cos, sin = np.cos(angle), np.sin(angle)
    d_size = (d * (sin * re + cos * im)).sum(axis=0)
    d_angle = size * (d * (cos * re - sin * im)).sum(axis=0)
    return d_size, d_angle, size * sin * d, size * cos * d, d


@equation("X66", "lru.output", latex=r"y_t = \mathrm{Re}(x_t C) + u_t D", documents=SOURCE)
def output(p: Parameters, u: Input, re: Units, im: Units) -> Units:
    """Return y (B, H)."""
    return re @ p.C_re - im @ p.C_im + u @ p.D


class LRU(Cell):
    """X64-X66; ν, θ and γ (H,), B and C by their real and imaginary parts, and D."""

    name, title = "lru", "Linear recurrent unit (LRU)"
    equations = (
        "lru.modulus", "lru.phase", "lru.real_input", "lru.imaginary_input", "lru.real_state",
        "lru.imaginary_state", "lru.output",
    )  # fmt: skip
    gates, states = (), ("re", "im")
    traits = frozenset({"readout"})
    # Moduli of 0.5 to 0.98, phases of 0.1 to 3, γ as they begin.
    spans = {"nu": (-3.9, -0.37), "theta": (-2.3, 1.1), "gamma": (-1.6, -0.14)}  # noqa: RUF012

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return those of nu, theta, gamma (H,), B (2, D, H), C (2, H, H) and D (D, H)."""
        vector, parts = Shape((), (sizes.H,)), ("re", "im")
        return {
            "nu": vector, "theta": vector, "gamma": vector,
            "B": Shape(parts, (sizes.D, sizes.H)), "C": Shape(parts, (sizes.H, sizes.H)),
            "D": Shape((), (sizes.D, sizes.H)),
        }  # fmt: skip

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """X64 and X65."""
        (re, im), size, angle = state, modulus(p), phase(p)
        b_re, b_im = real_input(p, x), imaginary_input(p, x)
        new = real_state(size, angle, re, im, b_re), imaginary_state(size, angle, re, im, b_im)
        return new, {"re": b_re, "im": b_im}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back; the state's cotangent turns by the opposite phase."""
        (re, im), size, angle = state, modulus(p), phase(p)
        of_re = real_state_vjp(size, angle, re, im, gates["re"], d[0])
        of_im = imaginary_state_vjp(size, angle, re, im, gates["im"], d[1])
        d_size, d_angle, d_re, d_im = (a + b for a, b in zip(of_re[:4], of_im[:4], strict=True))
        scale = np.exp(p.gamma)
        d_input = scale * of_re[4], scale * of_im[4]
        arrays = {
            "nu": -(d_size * size * np.exp(p.nu)),
            "theta": d_angle * angle,
            "gamma": (of_re[4] * gates["re"] + of_im[4] * gates["im"]).sum(axis=0),
            "B": np.stack([x.T @ part for part in d_input]),
            "C": zeros(p["C"], p["C"].shape),
            "D": zeros(p["D"], p["D"].shape),
        }
        dx = d_input[0] @ p.B_re.T + d_input[1] @ p.B_im.T
        return Parameters(p.shapes, arrays), dx, (d_re, d_im)

    def readout(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State) -> Rows:
        """X66."""
        return output(p, x, *new)

    def readout_vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, dy: Rows
    ) -> ReadVJP:
        """Pull dy back to C, D, u and the new state."""
        arrays = {name: zeros(array, array.shape) for name, array in p.items()}
        arrays["C"] = np.stack([new[0].T @ dy, -(new[1].T @ dy)])
        arrays["D"] = x.T @ dy
        d_new = dy @ p.C_re.T, -(dy @ p.C_im.T)
        return Parameters(p.shapes, arrays), dy @ p.D.T, (None, None), d_new


CELLS = (LRU(),)
