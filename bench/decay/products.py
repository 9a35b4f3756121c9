"""All singular values of a product of Jacobians, however far apart they are.

Formed by multiplication, a product of a few dozen Jacobians has only its first singular values
right: the others drown in the rounding of the first. Here QR goes along,
P = Q T Qᵀ with T = R_l ... R_1 upper triangular, and T keeps a power of two for each row, so that
rows neither drown nor underflow. The rows of T, once scaled, are well-conditioned, and one-sided
Jacobi rotations find the singular values of such a matrix each to its own relative accuracy
(Demmel & Veselić 1992, doi:10.1137/0613074).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ...reference.cell import Cell
from ...reference.functions import Array
from .adjoint import LN2
from .problem import has_gain, keeping_gate
from .transition import Step, Transition

MOST_SWEEPS = 40
FAR = 1000
"""Powers of two further apart than this are 0 and infinity to each other."""


def log_singular_values(
    jacobians: Iterable[Array], lags: Sequence[int], seed: int = 0
) -> Iterator[Array]:
    """Yield the logs of the singular values (n,), descending, of the first ``lags`` Jacobians.

    ``lags`` ascend. -inf where the product is singular.
    """
    last, wanted = lags[-1], set(lags)
    for lag, J in enumerate(jacobians, start=1):
        if lag == 1:
            n = len(J)
            frame = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]
            mantissas, exponents, rank = np.eye(n), np.zeros(n, dtype=np.int64), n
        frame, R = np.linalg.qr(J @ frame)
        mantissas, exponents = _multiplied(R, mantissas, exponents)
        if np.linalg.slogdet(J)[1] == -math.inf:
            rank = min(rank, int(np.linalg.matrix_rank(J)))
        if lag in wanted:
            logs = _log_singular_values(mantissas, exponents)
            logs[rank:] = -math.inf
            yield logs
        if lag == last:
            return


def _multiplied(R: Array, mantissas: Array, exponents: Array) -> tuple[Array, Array]:
    """Return the rows of R @ T, T = 2^exponents mantissas, again with a power of two for each."""
    sizes, own = np.frexp(np.abs(R))
    reach = np.where(sizes > 0, own + exponents, np.iinfo(np.int32).min)
    largest = reach.max(axis=1)
    shifts = np.clip(exponents - largest[:, None], -FAR, FAR)
    rows = np.ldexp(R, shifts) @ mantissas
    return _normal(rows, largest)


def _normal(rows: Array, exponents: Array) -> tuple[Array, Array]:
    """Move powers of two from the rows, or columns of a transpose, to their exponents."""
    shifts = np.frexp(np.abs(rows).max(axis=1))[1]
    return np.ldexp(rows, -shifts[:, None]), exponents + shifts


def _log_singular_values(mantissas: Array, exponents: Array) -> Array:
    """One-sided Jacobi on the rows 2^exponents mantissas, in rounds of disjoint pairs."""
    rows, tolerance = mantissas, len(mantissas) * float(np.finfo(float).eps)
    for _ in range(MOST_SWEEPS):
        worst = 0.0
        for pairs in _rounds(len(rows)):
            rows, cosine = _rotated(rows, exponents, pairs)
            worst = max(worst, cosine)
        rows, exponents = _normal(rows, exponents)
        if worst <= tolerance:
            break
    else:
        raise ArithmeticError(f"Jacobi rotations did not end within {MOST_SWEEPS} sweeps")
    with np.errstate(divide="ignore"):
        logs = np.log(np.linalg.norm(rows, axis=1)) + exponents * LN2
    return -np.sort(-logs)


def _rotated(rows: Array, exponents: Array, pairs: Array) -> tuple[Array, float]:
    """Make the rows of every pair orthogonal; return the largest cosine that there was.

    With ρ = 2^(e_j - e_i) <= 1 the rotation's tangent is t = ρ u, and both u and t ρ = ρ² u are
    needed and finite for any ρ, 0 included.
    """
    first, second = pairs
    swapped = exponents[first] < exponents[second]
    i, j = np.where(swapped, second, first), np.where(swapped, first, second)
    a, b = rows[i], rows[j]
    alpha, beta, gamma = (np.einsum("pk,pk->p", p, q) for p, q in ((a, a), (b, b), (a, b)))
    rho = np.ldexp(1.0, np.maximum(exponents[j] - exponents[i], -FAR))
    safe = np.where(gamma == 0, 1.0, 2 * gamma)
    zeta = (beta * rho**2 - alpha) / safe
    u = np.where(zeta < 0, -1.0, 1.0) / (np.abs(zeta) + np.hypot(rho, zeta))
    u = np.where(gamma == 0, 0.0, u)
    c = 1 / np.sqrt(1 + (rho * u) ** 2)
    rows = rows.copy()
    rows[i] = c[:, None] * (a - (rho**2 * u)[:, None] * b)
    rows[j] = c[:, None] * (u[:, None] * a + b)
    with np.errstate(invalid="ignore"):
        cosines = np.abs(gamma) / np.sqrt(alpha * beta)
    return rows, float(np.nan_to_num(cosines).max(initial=0.0))


def _rounds(n: int) -> Iterator[Array]:
    """Yield pairs (2, n // 2) such that each of 0 ... n - 1 meets every other one once."""
    players = list(range(n + n % 2))
    half = len(players) // 2
    for _ in range(len(players) - 1):
        meeting = zip(players[:half], reversed(players[half:]), strict=True)
        pairs = [pair for pair in meeting if max(pair) < n]
        yield np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        players.insert(1, players.pop())


# The direct path: what a state keeps of itself without going through a matrix.


def direct_rate(cell: Cell, transition: Transition, steps: Iterable[Step]) -> float | None:
    """Return the mean over units and time of ln of what they keep; None if there is no such path.

    That is the diagonal of ∂c_t/∂c_{t-1} with h held fixed (E19) where a cell has a state c, and
    where h is all that a cell has, that of ∂h_t/∂h_{t-1} if no matrix acts on h, or else what the
    gate keeps of it. Cells that are given their gates have no other path, or a stabiliser in it.
    """
    gate = keeping_gate(cell)
    plain = len(cell.states) == 1 and not hasattr(cell, "plain")
    if hasattr(cell, "given") or ("c" not in cell.states and not (gate and plain)):
        return None
    with np.errstate(divide="ignore"):
        logs = [np.log(np.abs(_kept(cell, transition, step))) for step in steps]
    return float(np.mean(logs))


def _kept(cell: Cell, transition: Transition, step: Step) -> Array:
    """Return what every unit keeps in one step, (H,)."""
    x, state, gates, new = step
    if "c" not in cell.states and has_gain(cell):
        name, sign = keeping_gate(cell) or ("", 0)
        return gates[name][0] if sign > 0 else 1 - gates[name][0]
    k = cell.states.index("c") if "c" in cell.states else 0
    ones = tuple(np.full(s.shape, float(j == k)) for j, s in enumerate(state))
    kept: Array = transition.pull(x, state, gates, new, ones)[k][0]  # the block is diagonal
    return kept
