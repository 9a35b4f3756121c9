"""Linear attention with a decay and a delta rule: RetNet, GLA, DeltaNet, Gated DeltaNet, KDA.

All are one recurrence. The state S of a head is a (K, V) matrix, an associative memory. A step
lets S decay, compares its content at the key with the value, writes the correction, and reads S
at the query. The members differ in the decay, and in whether they correct the write.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array
from ..cell import Gates, State
from ..equation import equation, vjp_of
from ..functions import zeros
from ..gated_by_input import (
    DECAY,
    Arrays,
    Cotangents,
    GatedByInput,
    Heads,
    InputArray,
    Keys,
    Memory,
    Values,
    log_decay,
    matrix_times,
    outer,
    rows_times,
    scaled,
    share,
    unit,
)
from ..linear import Linear
from ..parameters import Parameters

RETNET, GLA = "Sun et al. 2023, arXiv:2307.08621", "Yang et al. 2023, arXiv:2312.06635"
DELTANET = "Yang et al. 2024, arXiv:2406.06484"
GATED, KDA = "Yang et al. 2024, arXiv:2412.06464", "Kimi Team 2025, arXiv:2510.26692"


@equation(
    "X40",
    "delta.retention",
    latex=r"\tilde S_t = \gamma S_{t-1}, \quad \gamma_n = 1 - 2^{-5-n}",
    documents=(RETNET,),
    note="the decay of a head is a constant",
)
def retention(S: Memory) -> Memory:
    """Return the decayed memory (B, N, K, V)."""
    return _by_gamma(S)


@vjp_of("delta.retention")
def retention_vjp(S: Memory, d: Memory) -> tuple[Memory]:
    """Pull back to (dS,)."""
    return (_by_gamma(d),)


def _by_gamma(S: Memory) -> Memory:
    heads = range(S.shape[1])
    return np.concatenate([(1 - 2.0 ** (-5 - n)) * S[:, n : n + 1] for n in heads], axis=1)


@equation(
    "X41",
    "delta.decay",
    latex=r"\tilde S_t = e^{g_t} S_{t-1}",
    documents=(GATED,),
    note="g is the logarithm of the decay: one number a head",
)
def decay(g: Heads, S: Memory) -> Memory:
    """Return the decayed memory (B, N, K, V)."""
    return np.exp(g)[..., None, None] * S


@vjp_of("delta.decay")
def decay_vjp(g: Heads, S: Memory, d: Memory) -> tuple[Heads, Memory]:
    """Pull back to (dg, dS)."""
    dS = np.exp(g)[..., None, None] * d
    return (dS * S).sum(axis=-1).sum(axis=-1), dS


@equation(
    "X41",
    "delta.decay_by_key",
    latex=r"\tilde S_t = \operatorname{diag}(e^{g_t}) S_{t-1}",
    documents=(GLA, KDA),
    note="one number for each channel of the keys",
)
def decay_by_key(g: Keys, S: Memory) -> Memory:
    """Return the decayed memory (B, N, K, V)."""
    return np.exp(g)[..., None] * S


@vjp_of("delta.decay_by_key")
def decay_by_key_vjp(g: Keys, S: Memory, d: Memory) -> tuple[Keys, Memory]:
    """Pull back to (dg, dS)."""
    dS = np.exp(g)[..., None] * d
    return (dS * S).sum(axis=-1), dS


@equation(
    "X42",
    "delta.correction",
    latex=r"u_t = \beta_t (v_t - k_t \tilde S_t)",
    documents=(DELTANET, GATED, KDA),
    note="k S̃ is what the memory holds at the key, after its decay",
)
def correction(beta: Heads, v: Values, k: Keys, S: Memory) -> Values:
    """Return the write u (B, N, V): a share of the error at the key."""
    return beta[..., None] * (v - rows_times(k, S))


@vjp_of("delta.correction")
def correction_vjp(
    beta: Heads, v: Values, k: Keys, S: Memory, du: Values
) -> tuple[Heads, Values, Keys, Memory]:
    """Pull back to (dbeta, dv, dk, dS)."""
    error = v - rows_times(k, S)
    dv = beta[..., None] * du
    return (du * error).sum(axis=-1), dv, -matrix_times(S, dv), -outer(k, dv)


@equation(
    "X43",
    "delta.write",
    latex=r"S_t = \tilde S_t + k_t^\top u_t",
    documents=(RETNET, GLA, DELTANET, GATED, KDA),
    note="without a correction u_t = v_t",
)
def write(k: Keys, u: Values, S: Memory) -> Memory:
    """Return the new memory (B, N, K, V)."""
    return S + outer(k, u)


@vjp_of("delta.write")
def write_vjp(k: Keys, u: Values, S: Memory, d: Memory) -> tuple[Keys, Values, Memory]:
    """Pull back to (dk, du, dS)."""
    return matrix_times(d, u), rows_times(k, d), d


@equation(
    "X44",
    "delta.output",
    latex=r"o_t = d_k^{-1/2} q_t S_t",
    documents=(RETNET, GLA, DELTANET, GATED, KDA),
    note="of the new state; the scale is that of attention",
)
def output(q: Keys, S: Memory) -> Values:
    """Return the output (B, N, V)."""
    return rows_times(scaled(q), S)


@vjp_of("delta.output")
def output_vjp(q: Keys, S: Memory, do: Values) -> tuple[Keys, Memory]:
    """Pull back to (dq, dS)."""
    return scaled(matrix_times(S, do)), outer(scaled(q), do)


class DeltaFamily(GatedByInput):
    """X40-X44; each member has one of ``decays``, and a correction or none."""

    state_axes = {"S": "N K V"}  # noqa: RUF012 - constants of a class
    decays: dict[str, tuple[str, Callable[..., Any], Callable[..., Any]] | None] = {  # noqa: RUF012
        "": None,
        "constant": ("delta.retention", lambda g, S: retention(S),
                     lambda g, S, d: (None, *retention_vjp(S, d))),
        "N": ("delta.decay", decay, decay_vjp),
        "N K": ("delta.decay_by_key", decay_by_key, decay_by_key_vjp),
    }  # fmt: skip

    def __init__(self, name: str, title: str, decay: str, *, corrects: bool) -> None:
        """Set the axes of the decay ("constant" for RetNet), and whether v is corrected."""
        self.name, self.title, self.corrects = name, title, corrects
        self._decay = self.decays[decay]
        queries = (InputArray("q", "N K"), InputArray("k", "N K", unit), InputArray("v", "N V"))
        decayed = (InputArray("g", decay, log_decay, DECAY),) if decay.startswith("N") else ()
        self.inputs = queries + decayed + ((InputArray("beta", "N", share),) if corrects else ())
        named = (self._decay and self._decay[0], corrects and "delta.correction")
        self.equations = (*(n for n in named if n), "delta.write", "delta.output")

    def update(self, p: Parameters, inputs: Arrays, state: State) -> tuple[State, Gates]:
        """X40-X43: decay, correct, write."""
        (S,), u = state, inputs["v"]
        if self._decay:
            S = self._decay[1](inputs.get("g"), S)
        if self.corrects:
            u = correction(inputs["beta"], u, inputs["k"], S)
        return (write(inputs["k"], u, S),), {"u": u}

    def update_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, d_new: State
    ) -> tuple[Arrays, State]:
        """Pull back; the key's cotangent has a term of the write and one of the correction."""
        (old,) = state
        S = self._decay[1](inputs.get("g"), old) if self._decay else old  # not kept: it is large
        dk, dv, dS = write_vjp(inputs["k"], gates["u"], S, d_new[0])
        d = {"k": dk, "v": dv}
        if self.corrects:
            args = (inputs["beta"], inputs["v"], inputs["k"], S)
            d["beta"], d["v"], dk_read, dS_read = correction_vjp(*args, dv)
            d["k"], dS = dk + dk_read, dS + dS_read
        if self._decay:
            dg, dS = self._decay[2](inputs.get("g"), old, dS)
            d |= {} if dg is None else {"g": dg}
        return d, (dS,)

    def linear(self, p: Parameters, inputs: Arrays, S: Array) -> Linear:
        """Return the linear recurrence; RetNet's g are logarithms of constants."""
        k, g = inputs["k"], inputs.get("g")
        if g is None:
            heads = range(k.shape[2])
            constant = [math.log(1 - 2.0 ** (-5 - n)) if self._decay else 0.0 for n in heads]
            g = zeros(k, (*k.shape[:3], 1)) + np.array(constant, k.dtype)[:, None]
        elif g.ndim < k.ndim:
            g = g[..., None]
        return Linear(g, k, inputs["v"], scaled(inputs["q"]), inputs.get("beta"), S)

    def read(self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State) -> Array:
        """X44."""
        return output(inputs["q"], new[0])

    def read_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, dy: Array
    ) -> tuple[Arrays, Cotangents, Cotangents]:
        """Pull back; the output does not depend on the old state."""
        dq, dS = output_vjp(inputs["q"], new[0], dy)
        return {"q": dq}, (None,), (dS,)


CELLS = (
    DeltaFamily("retnet", "RetNet's retention", "constant", corrects=False),
    DeltaFamily("gla", "gated linear attention (GLA)", "N K", corrects=False),
    DeltaFamily("deltanet", "DeltaNet", "", corrects=True),
    DeltaFamily("gated-delta", "Gated DeltaNet", "N", corrects=True),
    DeltaFamily("kda", "Kimi delta attention (KDA)", "N K", corrects=True),
)
