"""The common form of linear recurrences: decays, keys, values and queries.

S~ = diag(e^g) S; u = β (v - k S~), or v; S = S~ + k^T u; read: q S, or of the S before, with a
bonus w, q (S + (w k)^T v). A cell of this form has a method ``linear``; every form of ``forms``
then computes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .functions import zeros


@dataclass(frozen=True)
class Linear:
    """A whole sequence: g (T, B, N, K) or (T, B, N, 1), k and q (T, B, N, K), v (T, B, N, V).

    ``beta`` (T, B, N) is None where nothing is corrected; S (B, N, K, V) is the state before;
    ``bonus`` (N, K) is None where the new state is read.
    """

    g: Any
    k: Any
    v: Any
    q: Any
    beta: Any
    S: Any
    bonus: Any = None

    def part(self, start: int, stop: int) -> Linear:
        """Return some of the steps."""
        arrays = {n: getattr(self, n) for n in ("g", "k", "v", "q", "beta")}
        cut = {n: None if a is None else a[start:stop] for n, a in arrays.items()}
        return replace(self, **cut)

    def sums(self) -> list[Any]:
        """Return the sums of the logarithms of decays up to each step."""
        sums = [self.g[0]]
        for t in range(1, len(self.g)):
            sums.append(sums[-1] + self.g[t])
        return sums

    def read_sums(self, sums: list[Any]) -> list[Any]:
        """Return the sums up to the state that each step reads: the new one, or the old one."""
        return sums if self.bonus is None else [0.0 * sums[0], *sums[:-1]]

    def present(self, t: int) -> Any:
        """Return the factor of a step's own value in its output, (B, N): by a bonus, or its key."""
        k = self.k[t] if self.bonus is None else self.bonus * self.k[t]
        return (self.q[t] * k).sum(axis=-1)

    def affine(self, t: int) -> tuple[Any, Any]:
        """Return A and B of step t, S -> A S + B; A is diagonal without a correction."""
        decay, k, v = np.exp(self.g[t]), self.k[t], self.v[t]
        if self.beta is None:
            return decay[..., None], k[..., None] * v[..., None, :]
        beta_k = (self.beta[t][..., None] * k)[..., None]
        width = k.shape[-1]
        identity = zeros(k, (width, width)) + np.eye(width, dtype=k.dtype)
        A = (identity - beta_k * k[..., None, :]) * decay[..., None, :]
        return A, beta_k * v[..., None, :]
