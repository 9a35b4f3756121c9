"""The cells, one a file; adding a file adds a cell.

Each module ends with ``CELLS``, the members of the family it defines. Nothing else has to know.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ..cell import Cell
from ..equation import registered
from ..errors import InputError


@cache
def cells() -> dict[str, Cell]:
    """Return every cell by name."""
    found: dict[str, Cell] = {}
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        for cell in getattr(importlib.import_module(module.name), "CELLS", ()):
            if unknown := set(cell.equations) - registered():
                raise ValueError(f"cell {cell.name}: no equation is called {', '.join(unknown)}")
            found[cell.name] = cell
    return dict(sorted(found.items()))


def cell_named(name: str) -> Cell:
    """Return the cell called ``name``; an InputError lists the names there are."""
    if name not in cells():
        raise InputError("cell", f"one of {', '.join(cells())}", repr(name))
    return cells()[name]
