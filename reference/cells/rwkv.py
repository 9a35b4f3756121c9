"""RWKV-6 and RWKV-7: linear attention with a bonus for the present, and with a generalised delta.

``w`` is the logarithm of the decay. RWKV-6 reads the old state, and the present key and value
with a learned bonus u. RWKV-7 removes the content at κ̂ from the memory, by a rate a for every
channel, before it writes; its keys k are the replacement keys of the paper.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..cell import Gates, State
from ..equation import equation, vjp_of
from ..gated_by_input import (
    DECAY,
    Arrays,
    Cotangents,
    GatedByInput,
    InputArray,
    Keys,
    Memory,
    Values,
    log_decay,
    matrix_times,
    outer,
    rows_times,
    share,
    unit,
)
from ..linear import Linear
from ..parameters import Parameters
from .delta import decay_by_key, decay_by_key_vjp, write, write_vjp

RWKV6, RWKV7 = "Peng et al. 2024, arXiv:2404.05892", "Peng et al. 2025, arXiv:2503.14456"


@equation(
    "X61",
    "rwkv6.output",
    latex=r"o_t = r_t (S_{t-1} + \operatorname{diag}(u) k_t^\top v_t)",
    documents=(RWKV6,),
    note="the old state is read; u is learned",
)
def output_with_bonus(r: Keys, u: Array, k: Keys, v: Values, S: Memory) -> Values:
    """Return the output (B, N, V); u is (N, K)."""
    return rows_times(r, S + outer(u * k, v))


@equation(
    "X62",
    "rwkv7.removal",
    latex=r"\tilde S_t = \operatorname{diag}(e^{w_t}) S_{t-1}"
    r" - (a_t \odot \hat\kappa_t)^\top (\hat\kappa_t S_{t-1})",
    documents=(RWKV7,),
    note="eq. 17 transposed; what is removed is read before the decay",
)
def removal(w: Keys, a: Keys, kappa: Keys, S: Memory) -> Memory:
    """Return the memory (B, N, K, V) before the write."""
    return np.exp(w)[..., None] * S - outer(a * kappa, rows_times(kappa, S))


@vjp_of("rwkv7.removal")
def removal_vjp(
    w: Keys, a: Keys, kappa: Keys, S: Memory, d: Memory
) -> tuple[Keys, Keys, Keys, Memory]:
    """Pull back to (dw, da, dkappa, dS)."""
    content = rows_times(kappa, S)
    d_rate = -matrix_times(d, content)
    d_content = -rows_times(a * kappa, d)
    dw = np.exp(w) * (d * S).sum(axis=-1)
    d_kappa = d_rate * a + matrix_times(S, d_content)
    return dw, d_rate * kappa, d_kappa, np.exp(w)[..., None] * d + outer(kappa, d_content)


@equation(
    "X63",
    "rwkv7.output",
    latex=r"o_t = r_t S_t",
    documents=(RWKV7,),
    note="of the new state, without a scale; the bonus behind is no part of the cell",
)
def output(r: Keys, S: Memory) -> Values:
    """Return the output (B, N, V)."""
    return rows_times(r, S)


@vjp_of("rwkv7.output")
def output_vjp(r: Keys, S: Memory, do: Values) -> tuple[Keys, Memory]:
    """Pull back to (dr, dS)."""
    return matrix_times(S, do), outer(r, do)


class RWKV6Cell(GatedByInput):
    """X61, X41 by key, X43."""

    name, title = "rwkv6", "RWKV-6"
    equations = ("delta.decay_by_key", "delta.write", "rwkv6.output")
    state_axes = {"S": "N K V"}  # noqa: RUF012 - constants of a class
    parameter_axes = {"u": "N K"}  # noqa: RUF012
    inputs = (
        InputArray("r", "N K"),
        InputArray("k", "N K"),
        InputArray("v", "N V"),
        InputArray("w", "N K", log_decay, DECAY),
    )

    def update(self, p: Parameters, inputs: Arrays, state: State) -> tuple[State, Gates]:
        """Let the memory decay, and write (X41, X43)."""
        decayed = decay_by_key(inputs["w"], state[0])
        return (write(inputs["k"], inputs["v"], decayed),), {}

    def update_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, d_new: State
    ) -> tuple[Arrays, State]:
        """Pull back through the write and the decay."""
        dk, dv, dS = write_vjp(inputs["k"], inputs["v"], state[0], d_new[0])
        dw, dS = decay_by_key_vjp(inputs["w"], state[0], dS)
        return {"k": dk, "v": dv, "w": dw}, (dS,)

    def linear(self, p: Parameters, inputs: Arrays, S: Array) -> Linear:
        """Return the linear recurrence, which reads the old state and adds the bonus."""
        return Linear(inputs["w"], inputs["k"], inputs["v"], inputs["r"], None, S, p["u"])

    def read(self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State) -> Array:
        """X61."""
        return output_with_bonus(inputs["r"], p["u"], inputs["k"], inputs["v"], state[0])

    def read_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, dy: Array
    ) -> tuple[Arrays, Cotangents, Cotangents]:
        """Pull back; the output reads the old state, not the new one."""
        r, k, v, u = inputs["r"], inputs["k"], inputs["v"], p["u"]
        d = outer(r, dy)
        d_bonus = matrix_times(d, v)
        arrays = {
            "r": matrix_times(state[0] + outer(u * k, v), dy),
            "k": d_bonus * u,
            "v": rows_times(u * k, d),
            "u": (d_bonus * k).sum(axis=0),
        }
        return arrays, (d,), (None,)


class RWKV7Cell(GatedByInput):
    """X62, X43, X63."""

    name, title = "rwkv7", "RWKV-7"
    equations = ("rwkv7.removal", "delta.write", "rwkv7.output")
    state_axes = {"S": "N K V"}  # noqa: RUF012 - constants of a class
    inputs = (
        InputArray("r", "N K"),
        InputArray("w", "N K", log_decay, DECAY),
        InputArray("k", "N K"),
        InputArray("v", "N V"),
        InputArray("kappa", "N K", unit),
        InputArray("a", "N K", share),
    )

    def update(self, p: Parameters, inputs: Arrays, state: State) -> tuple[State, Gates]:
        """Remove and write (X62, X43)."""
        removed = removal(inputs["w"], inputs["a"], inputs["kappa"], state[0])
        return (write(inputs["k"], inputs["v"], removed),), {}

    def update_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, d_new: State
    ) -> tuple[Arrays, State]:
        """Pull back through the write and the removal."""
        dk, dv, dS = write_vjp(inputs["k"], inputs["v"], state[0], d_new[0])
        args = (inputs["w"], inputs["a"], inputs["kappa"], state[0])
        dw, da, d_kappa, dS = removal_vjp(*args, dS)
        return {"k": dk, "v": dv, "w": dw, "a": da, "kappa": d_kappa}, (dS,)

    def read(self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State) -> Array:
        """X63."""
        return output(inputs["r"], new[0])

    def read_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, dy: Array
    ) -> tuple[Arrays, Cotangents, Cotangents]:
        """Pull back; the output does not depend on the old state."""
        dr, dS = output_vjp(inputs["r"], new[0], dy)
        return {"r": dr}, (None,), (dS,)


CELLS = (RWKV6Cell(), RWKV7Cell())
