"""Could a difference be chance? A test that trusts nothing but the coin that ordered each pair.

Two calls that take the same time are exchangeable within a pair whose order was drawn: whatever the
machine did, the log ratio would have had the other sign had the coin fallen the other way. So signs
are random given the sizes, however correlated, drifting or bursty the times are, and Wilcoxon's
signed-rank test (1945) is exact (Fisher's randomisation, 1935).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...reference.functions import Array


def p_value(log_ratios: Array, floor: float) -> float:
    """Return the p-value of: the log ratios (n,) lie no further from 0 than ``floor``.

    Two-sided: twice the smaller of the two one-sided tests at the floor's ends.
    """
    from scipy.stats import wilcoxon  # takes a second to import

    if not log_ratios.any():  # as a clock with coarse steps has it; the ranks of zeros mean nothing
        return 1.0
    above = wilcoxon(log_ratios - floor, alternative="greater").pvalue
    below = wilcoxon(log_ratios + floor, alternative="less").pvalue
    return float(min(1.0, 2 * min(above, below)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for how many there are (Holm 1979), in their order.

    Calling all of those up to a level errs anywhere with a probability of at most that level,
    however the comparisons depend on each other.
    """
    m, order = len(p_values), np.argsort(p_values)
    steps = np.array([(m - rank) * p_values[k] for rank, k in enumerate(order)])
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]
