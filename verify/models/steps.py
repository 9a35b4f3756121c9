"""Recurrent steps that an exporter has unrolled into products and activations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .graph import Scope

if TYPE_CHECKING:
    from .nodes import Node


def steps(scope: Scope) -> Iterator[Node]:
    """Yield the unrolled steps of a graph."""
    yield from ()
