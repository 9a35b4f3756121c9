"""Which sizes the ladder is measured at."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..plan import Piece, Plan
from .measuring import EFFORTS, measured
from .one_thread import in_one_thread
from .problem import Size

KIND = "ladder"

SIZES = ("20,1,16,16", "50,8,64,64", "20,32,256,256")
"""T, B, D, H: where every call costs, where calls and products do, where products do."""

FULL = (*SIZES, "100,1,128,128", "100,64,128,128", "25,64,512,512")


def plan(
    *, seed: int, sizes: Sequence[str] = SIZES, dtype: str = "float64", effort: str = "standard"
) -> Plan:
    """Return the plan: a piece for each size, given as "T,B,D,H", each on one thread."""
    if effort not in EFFORTS:
        raise ValueError(f"effort: expected {', '.join(EFFORTS)}, got {effort!r}")
    asked = dict.fromkeys(size_of(said, dtype) for said in sizes)
    pieces = [
        Piece(str(size), partial(in_one_thread, measured, size, effort, seed)) for size in asked
    ]
    settings = {"sizes": list(sizes), "dtype": dtype, "effort": effort}
    return Plan(KIND, seed, settings, pieces)


def size_of(said: str, dtype: str) -> Size:
    """Return the size of "T,B,D,H"."""
    try:
        T, B, D, H = map(int, said.split(","))
    except ValueError as error:
        raise ValueError(f"size: expected T,B,D,H (four numbers), got {said!r}") from error
    return Size(T, B, D, H, dtype)
