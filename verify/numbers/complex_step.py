"""Derivatives by a complex step: f(x + i h v) = f(x) + i h f'(x) v + O(h²), without subtraction.

With h = 2^-100 the truncation error is far below rounding, and nothing cancels: the directional
derivative is as accurate as f itself (Squire & Trapp 1998, doi:10.1137/S003614459631241X).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...reference.arrays import Array, Floats, Same

STEP = 2.0**-100


def derivative(
    function: Callable[[Floats], tuple[Array, ...]], x: Same, direction: Same
) -> tuple[Floats, ...]:
    """Return the directional derivatives of every output of ``function`` at ``x``.

    ``function`` must run on complex128 arrays; ``direction`` has the shape of ``x``.
    """
    outputs = function(np.asarray(x, dtype=np.complex128) + 1j * STEP * np.asarray(direction))
    return tuple(np.asarray(output).imag / STEP for output in outputs)
