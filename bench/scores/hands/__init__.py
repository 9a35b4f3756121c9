"""Layers in other people's styles, with places for the catalogue's mistakes.

A layer is source with marked places: ``«name: text»`` stands for its text, or for a replacement.
A mark alone on its line may be replaced by several lines; a mark of several lines
ends at ``»``. Marks are not nested. ``numpy_loop.toml`` and ``torch_loop.toml``
have the layers, and the replacements of each mistake, by the id of its mutant. The styles are
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
"""The texts of places, by name."""


@dataclass(frozen=True)
class Cell:
    """A cell of a layer: gates, states, texts; ``compiled`` are the texts of a faster step."""

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
        parts = self.cells[cell]
        inner = {name: {*texts} & places(text) for name, text in parts.texts.items()}
        inner_texts = {name: filled(text, {place: texts[place] for place in inner[name]})
               for name, text in parts.texts.items()}  # fmt: skip
        outer = {name: texts[name] for name in texts.keys() - set().union(*inner.values())}
        code = filled(self.text, {**inner_texts, **(parts.compiled if compiled else {}), **outer})
        return code.replace("GATES", str(parts.gates)).replace("STATES", str(parts.states))


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
    """Return the source with these texts in its places; raise KeyError for an unknown place."""
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
