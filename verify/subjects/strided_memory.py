"""NumPy arrays with gaps or repeats in memory, as frameworks with ``as_strided`` take them."""

from __future__ import annotations

import numpy as np

from ...reference.functions import Array


def flat(array: Array) -> tuple[Array, list[int]]:
    """Return a buffer, and the strides in entries by which it is seen as the same array.

    What lies between the entries is 1000, so that whoever reads it is noticed.
    """
    strides = [stride // array.itemsize for stride in array.strides]
    if min(strides, default=0) < 0 or array.size == 0:
        raise ValueError("expected a non-empty array without negative strides")
    last = sum((n - 1) * stride for n, stride in zip(array.shape, strides, strict=True))
    buffer = np.full(last + 1, 1000, array.dtype)
    np.lib.stride_tricks.as_strided(buffer, array.shape, array.strides)[...] = array
    return buffer, strides
