"""All recurrent nodes of a file, with unique names."""

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


def read_model(path: Path) -> Model | flatbuffer.File:
    """Read a file by its suffix; raise ModelError with a reason if it is invalid."""
    return flatbuffer.read(path) if path.suffix == ".tflite" else read(path)


def inventory(model: Model | flatbuffer.File) -> list[Node]:
    """Return the recurrent nodes of all graphs of a file, with unique names."""
    if isinstance(model, flatbuffer.File):
        all_nodes = [*operators(model), *unrolled(model)]
    else:
        all_nodes = [node for scope in model.scopes() for node in (*nodes(scope), *steps(scope))]
    names = Counter(node.name for node in all_nodes)
    numbers: Counter[str] = Counter()
    named = []
    for node in all_nodes:
        name = node.name
        if names[name] > 1:
            name = f"{node.path}{name}"
            numbers[name] += 1
            name += f" ({numbers[name]})" if numbers[name] > 1 else ""
        named.append(replace(node, name=name))
    return named
