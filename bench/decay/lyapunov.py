"""Lyapunov exponents of a whole state by QR, in memory that does not grow with time.

Benettin et al. 1980; Engelken, Wolf & Abbott 2023 (arXiv:2006.02427). A random orthonormal frame
is carried by the full state Jacobian and made orthonormal again at every step; the exponents are
the mean of ln |diag R|. One QR for many steps keeps the first exponent and spoils the last ones,
which only the sum rule shows: the exponents add up to the mean of ln |det J|.
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


@dataclass(frozen=True)
class Exponents:
    """Lyapunov exponents (n,) per step, descending, with the standard error of each.

    Exponents of directions that a singular Jacobian has taken to 0 are -inf, and their errors 0.
    ``log_det`` is the mean of ln |det J| by LU factors, which QR has no part in.
    """

    values: Array
    errors: Array
    log_det: float

    @property
    def residual(self) -> float:
        """The sum of the exponents minus ``log_det``; NaN where a Jacobian was singular."""
        if not (np.isfinite(self.values).all() and np.isfinite(self.log_det)):
            return float("nan")
        return float(self.values.sum() - self.log_det)


def exponents(
    jacobians: Iterable[Array], *, steps: int, transient: int, qr_every: int = 1, seed: int = 0
) -> Exponents:
    """Measure over ``steps`` Jacobians (n, n), after ``transient`` in which the frame settles."""
    found = iter(jacobians)
    first = next(found)
    n, parts = len(first), min(PARTS, steps)
    frame = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]
    sums, log_det, rank = np.zeros((parts, n)), 0.0, n
    for t, J in enumerate(itertools.chain([first], found), start=1 - transient):
        frame, logs = J @ frame, np.zeros(n)
        if t % qr_every == 0 or t in (0, steps):
            frame, R = np.linalg.qr(frame)
            logs = _logs(np.diag(R))
        if t > 0:
            sums[(t - 1) * parts // steps] += logs
            log_det += (log_det_J := float(np.linalg.slogdet(J)[1]))
            if log_det_J == -math.inf:
                rank = min(rank, int(np.linalg.matrix_rank(J)))
        if t == steps:
            break
    sums[:, rank:] = -math.inf
    ends = [math.ceil(k * steps / parts) for k in range(parts + 1)]
    return _exponents(sums, np.diff(ends), log_det / steps)


def _exponents(sums: Array, lengths: Array, log_det: float) -> Exponents:
    """Take the sums of logs in each part (parts, n), and the parts' lengths in steps."""
    values = sums.sum(axis=0) / lengths.sum()
    finite, errors = np.isfinite(values), np.zeros(len(values))
    if len(lengths) > 1:
        means = sums[:, finite] / lengths[:, None]
        errors[finite] = means.std(axis=0, ddof=1) / math.sqrt(len(lengths))
    order = np.argsort(-values, kind="stable")
    return Exponents(values[order], errors[order], log_det)


def _logs(diagonal: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(np.abs(diagonal))
