"""Every recurrent node of a file, with names that tell them apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from .graph import Model, read
from .nodes import Node, nodes
from .steps import steps
from .tflite import flatbuffer
from .tflite.operators import operators
from .tflite.steps import unrolled


def opened(path: Path) -> Model | flatbuffer.File:
    """Return a file, by what its name ends in; ModelError says why it cannot be read."""
    return flatbuffer.read(path) if path.suffix == ".tflite" else read(path)


def inventory(model: Model | flatbuffer.File) -> list[Node]:
    """Return the recurrent nodes of all graphs of a file, with names that tell them apart."""
    if isinstance(model, flatbuffer.File):
        every = [*operators(model), *unrolled(model)]
    else:
        every = [node for scope in model.scopes() for node in (*nodes(scope), *steps(scope))]
    names = Counter(node.name for node in every)
    seen: Counter[str] = Counter()
    named = []
    for node in every:
        name = node.name
        if names[name] > 1:
            name = f"{node.path}{name}"
            seen[name] += 1
            name += f" ({seen[name]})" if seen[name] > 1 else ""
        named.append(replace(node, name=name))
    return named
