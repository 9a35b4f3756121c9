"""The shape of a layer's run, and grids of shapes as users type them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from ...reference.cell import Cell
from ...reference.errors import InputError
from ...reference.layer import Layer
from ...reference.parameters import Sizes

LETTERS = {"T": "T", "B": "B", "D": "D", "H": "H", "L": "layers", "N": "directions"}
"""The field of each letter of a grid: steps, rows, inputs, units, layers, directions."""

LARGEST = 2**20

EXPECTED = "sizes as H=64/128,B=1/16,T=50, with D (default H), L layers and N directions if wanted"


@dataclass(frozen=True, order=True)
class Shape:
    """T steps, B rows, D inputs, H units; layers; directions, 1 or 2."""

    T: int
    B: int
    D: int
    H: int
    layers: int = 1
    directions: int = 1

    def __str__(self) -> str:
        """Return T100-B64-D512-H512, with -L2 and -N2 unless they are 1."""
        sizes = f"T{self.T}-B{self.B}-D{self.D}-H{self.H}"
        deep = f"-L{self.layers}" if self.layers > 1 else ""
        return sizes + deep + ("-N2" if self.directions == 2 else "")

    def layer(self, cell: Cell) -> Layer:
        """Return a cell's layer in this shape; a projection is half as wide as the state."""
        P = max(self.H // 2, 1) if "projected" in cell.traits else None
        return Layer(cell, Sizes(self.D, self.H, P), self.layers, self.directions == 2)


def grid(text: str) -> list[Shape]:
    """Return every combination of the sizes in ``text``: H=64/128,B=1,T=50 are two shapes."""
    sizes = dict(_sizes(part, text) for part in text.split(","))
    if missing := [letter for letter in "HBT" if letter not in sizes]:
        raise InputError("shapes", f"{EXPECTED}; {', '.join(missing)} missing", repr(text))
    shapes = []
    for chosen in itertools.product(*sizes.values()):
        values = dict(zip(sizes, chosen, strict=True))
        values.setdefault("D", values["H"])
        shapes.append(Shape(**{LETTERS[letter]: size for letter, size in values.items()}))
    return sorted(set(shapes))


def _sizes(part: str, text: str) -> tuple[str, list[int]]:
    letter, equals, numbers = part.strip().partition("=")
    if letter not in LETTERS or not equals:
        raise InputError("shapes", EXPECTED, repr(text))
    most = 2 if letter == "N" else LARGEST
    sizes = [int(n) if n.strip().isdecimal() else 0 for n in numbers.split("/")]
    if not all(1 <= size <= most for size in sizes):
        raise InputError("shapes", f"{letter} from 1 to {most}", repr(part.strip()))
    return letter, sizes
