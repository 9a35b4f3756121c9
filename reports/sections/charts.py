"""Parts of the sections' charts, and Altair, which is imported when a chart is drawn."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class _Altair:
    """Altair, imported on first use: that takes a second, and it may not be installed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("altair"), name)


alt: Any = _Altair()


def plot(records: Iterable[Mapping[str, Any]]) -> Any:
    """Return a chart of records, without marks."""
    return alt.Chart(alt.Data(values=tuple(records)))  # Altair copies lists at every call


def panels(panel: Any, by: str, columns: int, sort: Sequence[str] | None = None) -> Any:
    """Return a panel for every value of a field, without a title."""
    order = {} if sort is None else {"sort": list(sort)}
    return panel.facet(alt.Facet(by, title=None, **order), columns=columns)


def log() -> Any:
    """Return a logarithmic scale with room at its ends."""
    return alt.Scale(type="log", nice=False, padding=16)


def tooltip(*fields: str) -> list[Any]:
    """Return the fields that a mark shows under the pointer, each as Altair's own object.

    For a field that is text Altair builds a table of all its classes, in 20 ms.
    """
    return [alt.Tooltip(field) for field in fields]
