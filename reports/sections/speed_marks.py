"""What the figures about speed share: names and colours of contenders, records, axes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...bench.speed.analysis import Row
from ...verify.subjects import family

KINDS = ("numpy", "numpy-fast", "torch-native", "torch-onednn", "torch cells", "torch-compile",
         "cudnn", "cudnn-graph", "torch-cuda")  # fmt: skip
"""The families with colours of their own; others follow."""


def kind(row: Row) -> str:
    """Return what a contender is called in figures, whatever its cell."""
    name = row.entry.subject
    of = family(name)
    return "torch cells" if of == "torch" and name.endswith("Cell") else of


def colour(alt: Any, found: Iterable[Row]) -> Any:
    """Return the colour channel of the families that there are."""
    there = {kind(row) for row in found}
    order = [name for name in KINDS if name in there] + sorted(there - set(KINDS))
    return alt.Color("kind:N", title=None, sort=order, scale=alt.Scale(domain=order))


def values(found: Iterable[Row]) -> list[dict[str, Any]]:
    """Return rows as records, in the units of the axes."""
    return [
        {
            "kind": kind(r),
            "contender": r.entry.subject,
            "cell": r.group.cell,
            "dtype": r.group.dtype,
            "pass": r.entry.of,
            "shape": str(r.shape),
            "T": r.shape.T,
            "B": r.shape.B,
            "H": r.shape.H,
            "us": r.us_per_step,
            "low": 1e6 * r.entry.timing.low / r.shape.T,
            "high": 1e6 * r.entry.timing.high / r.shape.T,
            "gflops": r.gflops,
            "intensity": r.intensity,
            "share": r.share,
            "status": r.entry.status,
        }
        for r in found
        if r.entry.timing
    ]


def cells(found: Iterable[Row]) -> dict[str, str]:
    """Return what each cell is called where shapes tell them apart: those of many, and others."""
    kinds: dict[str, set[str]] = {}
    for row in found:
        kinds.setdefault(row.group.cell, set()).add(kind(row))
    often = [cell for cell in kinds if len(kinds[cell]) > 1][:MOST_SHAPES]
    return {cell: cell if cell in often else "other cells" for cell in kinds}


def log(alt: Any) -> Any:
    """Return a logarithmic scale with room at its ends."""
    return alt.Scale(type="log", nice=False, padding=16)


MOST_SHAPES = 6
"""Marks that can be told apart."""

TOOLTIP = ["contender:N", "cell:N", "pass:N", "shape:N", "us:Q", "gflops:Q", "status:N"]
