"""Forms: the programs by which a recurrence that is linear in its state is computed.

==============  ===================================================================================
``steps``       one step after another, as the equations stand
``chunk:64``    within chunks of 64 steps all at once, from the state before each chunk
``quotient:64`` the same with e^(c_i) e^(-c_j) in the place of e^(c_i - c_j): less stable
``parallel``    one chunk of all steps, as attention
``scan``        a prefix scan over pairs (A, B) that stand for S -> A S + B
==============  ===================================================================================

All are the same function; they round differently, so each has a bound of its own. They run in any
number system whose arrays take NumPy's functions. c is the sum of the logarithms of decays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import InputError
from .linear import Linear

STEPS = "steps"
KINDS = ("chunk", "quotient")
"""The forms whose names end with the number of steps of a chunk."""

LINEAR_KINDS = (*KINDS, "parallel", "scan")
"""The forms of every recurrence that is linear in its state."""


@dataclass(frozen=True)
class Form:
    """A form by its name; ``size`` is the number of steps of a chunk, 0 where it has none."""

    kind: str
    size: int = 0

    @property
    def name(self) -> str:
        """The name that users type."""
        return f"{self.kind}:{self.size}" if self.size else self.kind

    def run(self, linear: Linear) -> tuple[Any, Any]:
        """Return the outputs (T, B, N, V) and the final state."""
        if self.kind == "scan":
            return scan(linear)
        products = quotients if self.kind == "quotient" else differences
        return in_chunks(linear, self.steps(len(linear.v)), products)

    def steps(self, length: int) -> int:
        """Return how many steps of a sequence of this length are computed at once."""
        return 1 if self.kind == STEPS else self.size or max(length, 1)


def form_named(name: str) -> Form:
    """Return the form of this name; raise InputError, which lists the forms, for any other."""
    kind, _, size = name.partition(":")
    plain = kind in (STEPS, "parallel", "scan") and not size
    if plain or (kind in KINDS and size.isdecimal() and 0 < int(size) <= 4096):
        return Form(kind, int(size or 0))
    names = "steps, parallel, scan, chunk:C or quotient:C with C up to 4096"
    raise InputError("form", names, repr(name))


Products = Callable[[Any, Any, list[Any], list[Any]], Any]
"""(rows, columns, c of rows, c of columns) to the sums over K of rows_i e^(c_i - c_j) columns_j"""


def in_chunks(linear: Linear, size: int, products: Products) -> tuple[Any, Any]:
    """Compute chunk after chunk; within one, forward substitution solves for the writes (WY)."""
    S, outputs = linear.S, []
    for start in range(0, len(linear.v), size):
        part = linear.part(start, start + size)
        sums = part.sums()
        U = _writes(part, S, sums, products)
        reads = part.read_sums(sums)
        entries = products(part.q, part.k, reads, sums)
        if part.bonus is not None:
            entries = [[*row[:-1], part.present(i)] for i, row in enumerate(entries)]
        weights = _lower_triangular(entries, len(U))
        of_S = _rows_times([q * np.exp(c) for q, c in zip(part.q, reads, strict=True)], S)
        outputs.append(of_S + (weights[..., None] * np.stack(U)[None]).sum(axis=1))
        S = np.exp(sums[-1])[..., None] * S + _final(part, sums, U)
    empty = linear.v[:0]
    return np.concatenate([empty, *outputs]), S


def _writes(part: Linear, S: Any, sums: list[Any], products: Products) -> list[Any]:
    """Return the writes of a chunk's steps, u = β (v - k S̃), by forward substitution."""
    if part.beta is None:
        return [part.v[i] for i in range(len(part.v))]
    contents = _rows_times([k * np.exp(c) for k, c in zip(part.k, sums, strict=True)], S)
    overlap = products(part.k, part.k, sums, sums)
    U: list[Any] = []
    for i in range(len(part.v)):
        content = contents[i]
        for j, u in enumerate(U):
            content = content + overlap[i][j][..., None] * u
        U.append(part.beta[i][..., None] * (part.v[i] - content))
    return U


def differences(rows: Any, columns: Any, read: list[Any], sums: list[Any]) -> list[list[Any]]:
    """Return Σ_k rows_i e^(c_i - c_j) columns_j for j <= i, each (B, N)."""
    return [
        [(rows[i] * np.exp(c - sums[j]) * columns[j]).sum(axis=-1) for j in range(i + 1)]
        for i, c in enumerate(read)
    ]


def quotients(rows: Any, columns: Any, read: list[Any], sums: list[Any]) -> list[list[Any]]:
    """Return the same sums, of rows times e^c and columns divided by e^c."""
    multiplied = [rows[i] * np.exp(c) for i, c in enumerate(read)]
    divided = [columns[j] * np.exp(-c) for j, c in enumerate(sums)]
    return [[(a * divided[j]).sum(axis=-1) for j in range(i + 1)] for i, a in enumerate(multiplied)]


def _lower_triangular(entries: list[list[Any]], steps: int) -> Any:
    """Return a matrix (T, T, B, N) from its entries on and below the diagonal, 0 above."""
    nothing = 0.0 * entries[0][0]
    return np.stack([np.stack([*row, *[nothing] * (steps - len(row))]) for row in entries])


def _final(part: Linear, sums: list[Any], U: list[Any]) -> Any:
    """Return what a chunk adds to the state by its end."""
    keys = np.stack([
        part.k[j] * np.exp(sums[-1] - c) for j, c in enumerate(sums)
    ])  # fmt: skip
    return (keys[..., None] * np.stack(U)[..., None, :]).sum(axis=0)


def _rows_times(rows: list[Any], S: Any) -> Any:
    return (np.stack(rows)[..., None, :] @ S)[..., 0, :]


def scan(linear: Linear) -> tuple[Any, Any]:
    """Compose the maps S -> A S + B of all steps by pairs (Hillis & Steele 1986)."""
    steps = len(linear.v)
    if not steps:
        return linear.v[:0], linear.S
    maps = [linear.affine(t) for t in range(steps)]
    reach = 1
    while reach < steps:
        maps = [_after(maps[t], maps[t - reach]) if t >= reach else maps[t] for t in range(steps)]
        reach *= 2
    states = [_times(A, linear.S) + B for A, B in maps]
    if linear.bonus is None:
        return _rows_times(list(linear.q), np.stack(states)), states[-1]
    before = np.stack([linear.S, *states[:-1]])
    bonus = [linear.present(t)[..., None] * linear.v[t] for t in range(steps)]
    return _rows_times(list(linear.q), before) + np.stack(bonus), states[-1]


def _after(later: tuple[Any, Any], earlier: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return A and B of the map ``later`` after the map ``earlier``."""
    (A, B), (A0, B0) = later, earlier
    return _times(A, A0), _times(A, B0) + B


def _times(A: Any, S: Any) -> Any:
    """Return A S: of a matrix (.., K, K), or of a diagonal (.., K, 1) entry by entry."""
    square = A.shape[-1] == A.shape[-2] and A.shape[-1] == S.shape[-2] and A.shape[-1] > 1
    return A @ S if square else A * S
