"""Lyapunov exponents of a whole state by QR, in memory that does not grow with time.

Benettin et al. 1980; Engelken, Wolf & Abbott 2023 (arXiv:2006.02427). A random orthonormal frame
is multiplied by the full state Jacobian and made orthonormal again at every step; the exponents are
the mean of ln |diag R|. They add up to the mean of ln |det J|, the sum rule. One QR for many steps
keeps the first exponent, but the last directions shrink below the rounding of the first; their
entries in R are then noise, which differs between processors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import Cell
from .adjoint import LN2
from .biased import BiasedCell
from .problem import has_gain, keeping_gate
from .trajectory import Step, Transition

PARTS = 20
"""The number of parts of the time, whose means give the standard error of the whole mean."""

ROUNDOFF = float(np.finfo(np.float64).eps) / 2


@dataclass(frozen=True)
class Exponents:
    """Lyapunov exponents (n,) per step, descending, with the standard error of each.

    Exponents of directions that a singular Jacobian maps to 0 are -inf, as are those of the
    ``lost`` directions that rounding destroyed; their errors are 0. ``log_det`` is the
    mean of ln |det J| by LU factors, independent of QR.
    """

    values: Floats
    errors: Floats
    log_det: float
    lost: int = 0

    @property
    def residual(self) -> float:
        """The sum of the exponents minus ``log_det``: -inf if directions were lost.

        NaN if a Jacobian was singular.
        """
        if not np.isfinite(self.log_det):
            return float("nan")
        return float(self.values.sum() - self.log_det)


def exponents(
    jacobians: Iterable[Floats], *, steps: int, transient: int, qr_every: int = 1, seed: int = 0
) -> Exponents:
    """Measure over ``steps`` Jacobians (n, n), after ``transient`` in which the frame settles."""
    rest = iter(jacobians)
    first = next(rest)
    n, parts, factored = len(first), min(PARTS, steps), -transient
    frame = _frame(n, seed)
    sums, log_det, rank, finite = np.zeros((parts, n)), 0.0, n, n
    for t, J in enumerate(itertools.chain([first], rest), start=1 - transient):
        frame, logs = J @ frame, np.zeros(n)
        if t % qr_every == 0 or t in (0, steps):
            carried = frame
            frame, R = np.linalg.qr(carried)
            with np.errstate(divide="ignore"):
                logs = np.log(np.abs(np.diag(R)))
            if t > 0:
                finite = min(finite, _above_noise(np.diag(R), carried, t - factored))
            factored = t
        if t > 0:
            sums[(t - 1) * parts // steps] += logs
            log_det += (log_det_J := float(np.linalg.slogdet(J)[1]))
            if log_det_J == -math.inf:
                rank = min(rank, int(np.linalg.matrix_rank(J)))
        if t == steps:
            break
    sums[:, min(finite, rank) :] = -math.inf
    ends = [math.ceil(k * steps / parts) for k in range(parts + 1)]
    return _exponents(sums, np.diff(ends), log_det / steps, max(0, rank - finite))


def _frame(n: int, seed: int) -> Floats:
    """Draw an orthonormal frame (n, n)."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def _above_noise(diagonal: Floats, carried: Floats, steps: int) -> int:
    """Return the number of directions that are above rounding noise after ``steps``.

    A step's product rounds a column by n u of its norm, u the unit roundoff, and that error then
    grows like the first direction: to first order
    n steps u of the norm. A |R_kk| no larger is noise. The frame continues with
    another direction, so that all later ones are noise, too.
    """
    noise = len(diagonal) * steps * ROUNDOFF * np.linalg.norm(carried, axis=0)
    lost = np.abs(diagonal) <= noise
    return int(lost.argmax()) if lost.any() else len(diagonal)


def _exponents(sums: Floats, lengths: Floats, log_det: float, lost: int) -> Exponents:
    """Return the exponents from the sums of logs in each part (parts, n) and the parts' lengths."""
    values = sums.sum(axis=0) / lengths.sum()
    finite, errors = np.isfinite(values), np.zeros(len(values))
    if len(lengths) > 1:
        means = sums[:, finite] / lengths[:, None]
        errors[finite] = means.std(axis=0, ddof=1) / math.sqrt(len(lengths))
    order = np.argsort(-values, kind="stable")
    return Exponents(values[order], errors[order], log_det, lost)


# All singular values of a product of Jacobians, however far apart they are.
#
# Formed by multiplication, a product of a few dozen Jacobians has only its first singular values
# right: the others drown in the rounding of the first. With QR,
# P = Q T Qᵀ with T = R_l ... R_1 upper triangular, and T keeps a power of two for each row, so that
# rows neither drown nor underflow. The rows of T, once scaled, are well-conditioned, and one-sided
# Jacobi rotations find the singular values of such a matrix each to its own relative accuracy
# (Demmel & Veselić 1992, doi:10.1137/0613074).


MOST_SWEEPS = 40
FAR = 1000
"""The largest difference of exponents that matters; beyond, one of two numbers counts as 0."""


def log_singular_values(jacobians: Iterable[Floats], lags: Sequence[int]) -> Iterator[Floats]:
    """Yield the logs of the singular values (n,), descending, of the first ``lags`` Jacobians.

    ``lags`` ascend. -inf where the product is singular.
    """
    last, wanted = lags[-1], set(lags)
    for lag, J in enumerate(jacobians, start=1):
        if lag == 1:
            n = len(J)
            frame = _frame(n, 0)
            mantissas, exponents, rank = np.eye(n), np.zeros(n, dtype=np.int64), n
        frame, R = np.linalg.qr(J @ frame)
        mantissas, exponents = _multiply(R, mantissas, exponents)
        if np.linalg.slogdet(J)[1] == -math.inf:
            rank = min(rank, int(np.linalg.matrix_rank(J)))
        if lag in wanted:
            logs = _log_singular_values(mantissas, exponents)
            logs[rank:] = -math.inf
            yield logs
        if lag == last:
            return


def _multiply(R: Floats, mantissas: Floats, exponents: Floats) -> tuple[Floats, Floats]:
    """Return the rows of R @ T, T = 2^exponents mantissas, as mantissas and exponents."""
    sizes, exponent = np.frexp(np.abs(R))
    reach = np.where(sizes > 0, exponent + exponents, np.iinfo(np.int32).min)
    largest = reach.max(axis=1)
    shifts = np.clip(exponents - largest[:, None], -FAR, FAR)
    rows = np.ldexp(R, shifts) @ mantissas
    return _normal(rows, largest)


def _normal(rows: Floats, exponents: Floats) -> tuple[Floats, Floats]:
    """Move powers of two from the rows, or columns of a transpose, to their exponents."""
    shifts = np.frexp(np.abs(rows).max(axis=1))[1]
    return np.ldexp(rows, -shifts[:, None]), exponents + shifts


def _log_singular_values(mantissas: Floats, exponents: Floats) -> Floats:
    """Return ln σ by one-sided Jacobi on the rows 2^exponents mantissas, in rounds of pairs."""
    rows, tolerance = mantissas, len(mantissas) * float(np.finfo(float).eps)
    for _ in range(MOST_SWEEPS):
        worst = 0.0
        for pairs in _rounds(len(rows)):
            rows, cosine = _rotate(rows, exponents, pairs)
            worst = max(worst, cosine)
        rows, exponents = _normal(rows, exponents)
        if worst <= tolerance:
            break
    else:
        raise ArithmeticError(f"Jacobi rotations did not end within {MOST_SWEEPS} sweeps")
    with np.errstate(divide="ignore"):
        logs = np.log(np.linalg.norm(rows, axis=1)) + exponents * LN2
    return -np.sort(-logs)


def _rotate(rows: Floats, exponents: Floats, pairs: Floats) -> tuple[Floats, float]:
    """Make the rows of every pair orthogonal; return the rows, and the largest cosine before.

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


def _rounds(n: int) -> Iterator[Floats]:
    """Yield pairs (2, n // 2) such that each of 0 ... n - 1 meets every other number once."""
    players = list(range(n + n % 2))
    half = len(players) // 2
    for _ in range(len(players) - 1):
        meeting = zip(players[:half], reversed(players[half:]), strict=True)
        pairs = [pair for pair in meeting if max(pair) < n]
        yield np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        players.insert(1, players.pop())


# The direct path: the share of a state that stays without going through a matrix.


def direct_rate(cell: Cell, transition: Transition, steps: Iterable[Step]) -> float | None:
    """Return the mean over units and time of ln of the kept share; None without a direct path.

    The share is the diagonal of ∂c_t/∂c_{t-1} with h held fixed (E19) if a cell has a state c.
    If it has only h, it is that of ∂h_t/∂h_{t-1} if no matrix acts on h, else the value of the
    keeping gate. Cells gated by their input have no other path, or a stabiliser in it.
    """
    gate = keeping_gate(cell)
    plain = len(cell.states) == 1 and not hasattr(cell, "plain")
    if isinstance(cell, BiasedCell) or ("c" not in cell.states and not (gate and plain)):
        return None
    with np.errstate(divide="ignore"):
        logs = [np.log(np.abs(_kept_share(cell, transition, step))) for step in steps]
    return float(np.mean(logs))


def _kept_share(cell: Cell, transition: Transition, step: Step) -> Floats:
    """Return the share that every unit keeps in one step, (H,)."""
    x, state, gates, new = step
    if "c" not in cell.states and has_gain(cell):
        name, sign = keeping_gate(cell) or ("", 0)
        return np.asarray(gates[name][0] if sign > 0 else 1 - gates[name][0])
    k = cell.states.index("c") if "c" in cell.states else 0
    ones = tuple(np.full(s.shape, float(j == k)) for j, s in enumerate(state))
    return np.asarray(transition.pull(x, state, gates, new, ones)[k][0])  # the block is diagonal
