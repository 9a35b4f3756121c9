"""The cells, one per file; adding a file adds a cell.

Each module ends with ``CELLS``, the cells it defines. No other file lists them.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from ..cell import Cell
from ..equation import registered
from ..errors import InputError


@cache
def cells() -> dict[str, Cell]:
    """Return every cell by name."""
    members: dict[str, Cell] = {}
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        for cell in _members(importlib.import_module(module.name)):
            if cell.name in members:
                raise ValueError(f"{module.name}: there is a cell {cell.name} already")
            if unknown := set(cell.equations) - registered():
                raise ValueError(f"cell {cell.name}: no equation is called {', '.join(unknown)}")
            members[cell.name] = cell
    return dict(sorted(members.items()))


def _members(module: ModuleType) -> tuple[Cell, ...]:
    members: object = getattr(module, "CELLS", None)
    if not isinstance(members, tuple) or not all(isinstance(cell, Cell) for cell in members):
        raise ValueError(f"{module.__name__}: expected CELLS, a tuple of cells, got {members!r}")
    return members


def gating_cells() -> dict[str, Cell]:
    """Return the cells that compute their own gates, by name; benchmarks use these."""
    return {name: cell for name, cell in cells().items() if "readout" not in cell.traits}


def gating_cell(name: str) -> Cell:
    """Return such a cell by name; raise InputError for a cell whose gates are inputs."""
    if cell_named(name).name not in gating_cells():
        raise InputError("cell", "one that computes its gates", f"{name!r}, which is given them")
    return cell_named(name)


def cell_named(name: str) -> Cell:
    """Return the cell called ``name``; raise InputError, which lists all names, for any other."""
    if name not in cells():
        raise InputError("cell", f"one of {', '.join(cells())}", repr(name))
    return cells()[name]
