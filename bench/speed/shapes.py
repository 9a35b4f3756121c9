"""Named sets of shapes (``shapes.toml``), and grids that users type instead."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...reference.errors import InputError
from ..cost.shape import Shape, grid
from ..run import from_json


@dataclass(frozen=True)
class Part:
    """A grid, for some cells and dtypes; empty means all cells, the requested dtypes."""

    grid: str
    cells: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()

    @property
    def shapes(self) -> list[Shape]:
        """Return its shapes."""
        return grid(self.grid)


@dataclass(frozen=True)
class ShapeSet:
    """A named set: its subject or source, and its parts."""

    about: str
    entries: tuple[Part, ...]


@cache
def named() -> dict[str, ShapeSet]:
    """Return every named set."""
    path = Path(__file__).parent / "shapes.toml"
    document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: from_json(ShapeSet, value, path) for name, value in document.items()}


def parts(text: str) -> tuple[Part, ...]:
    """Return the parts of a named set, or one part for a grid."""
    if text in named():
        return named()[text].entries
    if "=" not in text:
        raise InputError("shapes", f"a grid, H=64/128,B=1,T=50, or one of {', '.join(named())}",
                         repr(text))  # fmt: skip
    grid(text)
    return (Part(text),)
