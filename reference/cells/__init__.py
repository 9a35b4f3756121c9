"""The cells, one a file; adding a file adds a cell.

Each module ends with ``CELLS``, the members of the family it defines. Nothing else has to know.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ..cell import Cell


@cache
def cells() -> dict[str, Cell]:
    """Return every cell by name."""
    found: dict[str, Cell] = {}
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        for cell in importlib.import_module(module.name).CELLS:
            found[cell.name] = cell
    return dict(sorted(found.items()))


def cell_named(name: str) -> Cell:
    """Return the cell called ``name``; a ValueError lists the names there are."""
    if name not in cells():
        raise ValueError(f"cell: expected one of {', '.join(cells())}; got {name!r}")
    return cells()[name]
