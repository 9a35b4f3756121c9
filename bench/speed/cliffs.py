"""Which algorithm PyTorch asks cuDNN for, by shape: the edges at which its speed jumps.

As ``aten/src/ATen/native/cudnn/RNN.cpp`` chooses (PyTorch 2.13). What cuDNN then runs is read from
the names of its kernels; this is the prediction beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..cost.shape import Shape

SMALL = {"rnn": (384, 256), "lstm": (192, 128), "gru": (192, 128)}
"""The widest H of the small persistent kernels, forward and backward."""

PERSISTENT_WIDTH = 1024


@dataclass(frozen=True)
class Device:
    """What the choice depends on: compute capability and number of multiprocessors."""

    major: int
    minor: int
    multiprocessors: int


def algorithm(cell: str, shape: Shape, dtype: str, device: Device, *, backward: bool) -> str:
    """Return STANDARD, PERSIST_STATIC or PERSIST_STATIC_SMALL_H, for input that is not packed."""
    kind = cell.partition("-")[0]
    if kind not in SMALL or cell == "lstm-projected" or dtype == "float64":
        return "STANDARD"
    if device.major >= 6 and shape.H <= SMALL[kind][backward]:
        return "PERSIST_STATIC_SMALL_H"
    even = shape.H <= PERSISTENT_WIDTH and shape.H % 128 == 0 and shape.D % 128 == 0
    single = shape.layers == shape.directions == 1
    if dtype == "float16" and even and single and _device_allows(kind, shape, device):
        return "PERSIST_STATIC"
    return "STANDARD"


def _device_allows(kind: str, shape: Shape, device: Device) -> bool:
    T, B = shape.T, shape.B
    if device.major == 7 and device.minor != 5:
        rows = B == 8 or (B % 16 == 0 and B not in (80, 112))
        return rows and any(
            T >= least and B <= most for least, most in ((40, 128), (20, 96), (10, 32))
        )
    large = device.major >= 8 and device.minor != 6 and device.multiprocessors >= 98
    if not large or kind == "gru" or B % 8 or B > 128:
        return False
    return kind == "lstm" or B < 96 or shape.H < 896


def edges(cell: str, *, backward: bool = False) -> tuple[int, ...]:
    """Return the widths H at whose right the algorithm may change, for one cell."""
    kind = cell.partition("-")[0]
    return (SMALL[kind][backward], PERSISTENT_WIDTH) if kind in SMALL else ()
