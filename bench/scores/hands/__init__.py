"""Layers as other people write them, with places for the catalogue's mistakes.

A layer is source with marked places: ``«name: text»`` stands for its text, unless another is given.
A mark that is alone on its line may be replaced by several lines; one that runs over several lines
ends where ``»`` does. Marks do not lie in each other. ``numpy_loop.toml`` and ``torch_loop.toml``
hold the layers, and what a mistake, by the id of its mutant, puts in which places. The styles are
not by the author of the mutants.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from ...run import from_json

MARK = re.compile(r"«(\w+):?[ \n]?(.*?)»", re.DOTALL)

Texts = Mapping[str, str]
"""Places and what stands in them."""


@dataclass(frozen=True)
class Cell:
    """What a cell has in a layer: gates, states, texts; ``compiled`` are those of a faster step."""

    gates: int
    states: int
    texts: dict[str, str]
    compiled: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """A layer with places, its cells, and each mistake's texts by cell and id."""

    text: str
    cells: dict[str, Cell]
    mistakes: dict[str, dict[str, Texts]]

    def source(self, cell: str, texts: Texts, *, compiled: bool = False) -> str:
        """Return the layer of a cell with these texts in its places."""
        of = self.cells[cell]
        inner = {name: {*texts} & places(text) for name, text in of.texts.items()}
        own = {name: filled(text, {place: texts[place] for place in inner[name]})
               for name, text in of.texts.items()}  # fmt: skip
        outer = {name: texts[name] for name in texts.keys() - set().union(*inner.values())}
        made = filled(self.text, {**own, **(of.compiled if compiled else {}), **outer})
        return made.replace("GATES", str(of.gates)).replace("STATES", str(of.states))


@cache
def layer(name: str) -> Layer:
    """Return the layer of a file."""
    text = files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    value: dict[str, Any] = tomllib.loads(text)
    cells = {name: from_json(Cell, cell, name) for name, cell in value["cells"].items()}
    mistakes: dict[str, dict[str, Texts]] = {cell: {} for cell in cells}
    for texts in value["mistakes"]:
        id = texts.pop("id")
        for cell in texts.pop("cells", cells):
            mistakes[cell][id] = texts
    return Layer(value["layer"], cells, mistakes)


def places(template: str) -> set[str]:
    """Return the names of a template's places."""
    return {mark[1] for mark in MARK.finditer(template)}


def filled(template: str, texts: Texts) -> str:
    """Return the source with these texts in its places; KeyError for a place that is not there."""
    if unknown := sorted(texts.keys() - places(template)):
        raise KeyError(f"no such place: {', '.join(unknown)}")

    def text(mark: re.Match[str]) -> str:
        start = template.rfind("\n", 0, mark.start()) + 1
        before = template[start : mark.start()]
        indent = re.match(r" *", before)
        lines = texts.get(mark[1], mark[2]).split("\n")
        margin = indent[0] if indent and mark[1] in texts else ""
        return ("\n" + margin).join(lines)

    return MARK.sub(text, template)
