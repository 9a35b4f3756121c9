"""The widths at which PyTorch asks cuDNN for another algorithm, and its speed jumps.

As ``aten/src/ATen/native/cudnn/RNN.cpp`` chooses (PyTorch 2.13). What cuDNN then runs is read from
the names of its kernels.
"""

from __future__ import annotations

SMALL = {"rnn": (384, 256), "lstm": (192, 128), "gru": (192, 128)}
"""The widest H of the small persistent kernels, forward and backward."""

PERSISTENT_WIDTH = 1024
"""The widest H of the persistent kernels, which take float16 alone."""


def edges(cell: str, *, backward: bool = False) -> tuple[int, ...]:
    """Return the widths H at whose right the algorithm may change, for one cell."""
    kind = cell.partition("-")[0]
    return (SMALL[kind][backward], PERSISTENT_WIDTH) if kind in SMALL else ()
