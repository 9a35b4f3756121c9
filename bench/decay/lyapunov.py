"""Lyapunov exponents of a whole state by QR, in memory that does not grow with time.

Benettin et al. 1980; Engelken, Wolf & Abbott 2023 (arXiv:2006.02427). A random orthonormal frame
is carried by the full state Jacobian and made orthonormal again at every step; the exponents are
the mean of ln |diag R|. They add up to the mean of ln |det J|, the sum rule. One QR for many steps
keeps the first exponent, but the last directions shrink beneath the rounding of the first; what R
has of them then is noise, and as a number it would be another on every processor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...reference.functions import Array

PARTS = 20
"""The time is cut into so many parts, whose means tell how far off the whole mean may be."""

ROUNDOFF = float(np.finfo(np.float64).eps) / 2


@dataclass(frozen=True)
class Exponents:
    """Lyapunov exponents (n,) per step, descending, with the standard error of each.

    Those of directions that a singular Jacobian has taken to 0 are -inf, and so are those of the
    ``lost`` directions of which rounding has left nothing; their errors are 0. ``log_det`` is the
    mean of ln |det J| by LU factors, which QR has no part in.
    """

    values: Array
    errors: Array
    log_det: float
    lost: int = 0

    @property
    def residual(self) -> float:
        """The sum of the exponents minus ``log_det``: -inf where directions were lost.

        NaN where a Jacobian was singular, as there is no sum then.
        """
        if not np.isfinite(self.log_det):
            return float("nan")
        return float(self.values.sum() - self.log_det)


def exponents(
    jacobians: Iterable[Array], *, steps: int, transient: int, qr_every: int = 1, seed: int = 0
) -> Exponents:
    """Measure over ``steps`` Jacobians (n, n), after ``transient`` in which the frame settles."""
    rest = iter(jacobians)
    first = next(rest)
    n, parts, factored = len(first), min(PARTS, steps), -transient
    frame = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]
    sums, log_det, rank, kept = np.zeros((parts, n)), 0.0, n, n
    for t, J in enumerate(itertools.chain([first], rest), start=1 - transient):
        frame, logs = J @ frame, np.zeros(n)
        if t % qr_every == 0 or t in (0, steps):
            carried = frame
            frame, R = np.linalg.qr(carried)
            with np.errstate(divide="ignore"):
                logs = np.log(np.abs(np.diag(R)))
            if t > 0:
                kept = min(kept, _kept(np.diag(R), carried, t - factored))
            factored = t
        if t > 0:
            sums[(t - 1) * parts // steps] += logs
            log_det += (log_det_J := float(np.linalg.slogdet(J)[1]))
            if log_det_J == -math.inf:
                rank = min(rank, int(np.linalg.matrix_rank(J)))
        if t == steps:
            break
    sums[:, min(kept, rank) :] = -math.inf
    ends = [math.ceil(k * steps / parts) for k in range(parts + 1)]
    return _exponents(sums, np.diff(ends), log_det / steps, max(0, rank - kept))


def _kept(diagonal: Array, carried: Array, steps: int) -> int:
    """Return how many directions, carried over ``steps``, are more than rounding noise.

    A step's product rounds a column by n u of its norm, u the unit roundoff, and that error is then
    carried on as the column is, which all grow as the first direction does: to first order
    n steps u of the norm. A |R_kk| no larger has nothing of its direction. The frame goes on with
    another one, so that no later direction is what it was.
    """
    noise = len(diagonal) * steps * ROUNDOFF * np.linalg.norm(carried, axis=0)
    lost = np.abs(diagonal) <= noise
    return int(lost.argmax()) if lost.any() else len(diagonal)


def _exponents(sums: Array, lengths: Array, log_det: float, lost: int) -> Exponents:
    """Take the sums of logs in each part (parts, n), and the parts' lengths in steps."""
    values = sums.sum(axis=0) / lengths.sum()
    finite, errors = np.isfinite(values), np.zeros(len(values))
    if len(lengths) > 1:
        means = sums[:, finite] / lengths[:, None]
        errors[finite] = means.std(axis=0, ddof=1) / math.sqrt(len(lengths))
    order = np.argsort(-values, kind="stable")
    return Exponents(values[order], errors[order], log_det, lost)
