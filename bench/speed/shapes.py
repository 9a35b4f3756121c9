"""Named sets of shapes (``shapes.toml``), and what users type instead of a name."""

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
    """A grid, for some cells and in some dtypes; empty: for all, in those that are asked for."""

    grid: str
    cells: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()

    @property
    def shapes(self) -> list[Shape]:
        """Return its shapes."""
        return grid(self.grid)


@dataclass(frozen=True)
class ShapeSet:
    """A named set: what it is about, or from where, and its parts."""

    about: str
    entries: tuple[Part, ...]


@cache
def named() -> dict[str, ShapeSet]:
    """Return every named set."""
    path = Path(__file__).parent / "shapes.toml"
    read: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: from_json(ShapeSet, value, path) for name, value in read.items()}


def parts(text: str) -> tuple[Part, ...]:
    """Return the parts of a named set, or the one that a grid is."""
    if text in named():
        return named()[text].entries
    if "=" not in text:
        raise InputError("shapes", f"a grid, H=64/128,B=1,T=50, or one of {', '.join(named())}",
                         repr(text))  # fmt: skip
    grid(text)
    return (Part(text),)
