"""Figures: Altair charts in one theme, drawn without a browser and without a network.

The SVG of a page takes its text colour from the page, so that it is readable in light and dark
modes and on paper. The colours of data are those of Okabe and Ito (Color Universal Design, 2008),
which the colour-blind can tell apart.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from . import words
from .section import Figure, Section, Table
from .tables import inert

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7A7A7A")
ON_DARK = ("#3D93DB", "#F0803C", "#2CBF95", "#DD9BC1", "#F0B429", "#93D2F6", "#BB9A5A", "#A6A6A6")
"""The same colours for dark pages, in the same order: lighter, and as distinct."""

WIDTH, HEIGHT = 620, 320

_AXIS = {
    "labelColor": "currentColor",
    "titleColor": "currentColor",
    "tickColor": "currentColor",
    "domainColor": "currentColor",
    "gridColor": "currentColor",
    "gridOpacity": 0.15,
    "labelFontSize": 12,
    "titleFontSize": 13,
    "titleFontWeight": "normal",
}
_TITLES = {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12}

THEME: dict[str, Any] = {
    "background": "transparent",
    "aria": False,  # a figure has its own words for those who do not see it
    "font": "system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif",
    "view": {"stroke": "transparent", "continuousWidth": WIDTH, "continuousHeight": HEIGHT},
    "axis": _AXIS,
    "legend": {
        **_TITLES,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 280,
        "symbolBaseFillColor": "currentColor",
        "symbolBaseStrokeColor": "currentColor",
    },
    "header": {**_TITLES, "titleFontSize": 13, "titleFontWeight": "normal"},
    "title": {"color": "currentColor", "fontSize": 14, "fontWeight": "normal"},
    "text": {"color": "currentColor"},
    "rule": {"color": "currentColor"},
    "mark": {"color": PALETTE[0]},
    "line": {"strokeWidth": 2},
    "range": {"category": list(PALETTE)},
}


def available() -> bool:
    """Return whether Altair and vl-convert are installed."""
    return bool(find_spec("altair") and find_spec("vl_convert"))


def specification(chart: Any) -> dict[str, Any]:
    """Return a chart as Vega-Lite in the theme."""
    spec: dict[str, Any] = _printable(json.loads(chart.to_json(indent=None)))
    spec["config"] = {**spec.get("config", {}), **THEME}
    return spec


def _printable(value: Any) -> Any:
    """Return a JSON value whose texts are printable, since they may come from a run."""
    if isinstance(value, dict):
        return {words.printable(name): _printable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return words.printable(value) if isinstance(value, str) else value


def svg(chart: Any, *, standing_alone: bool = False) -> str:
    """Return a chart as an SVG element that inherits its text colour, or as a file of its own."""
    import vl_convert

    spec = _on_white(chart) if standing_alone else specification(chart)
    return str(vl_convert.vegalite_to_svg(spec))


def png(chart: Any, scale: float = 2.0) -> bytes:
    """Return a chart as a PNG with black text on white."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(_on_white(chart), scale=scale))


def _on_white(chart: Any) -> dict[str, Any]:
    text = json.dumps(specification(chart)).replace("currentColor", "#1d1c1a")
    return {**json.loads(text), "background": "white"}


@cache
def library() -> str:
    """Return the JavaScript of interactive figures: Vega and its parts."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


@dataclass(frozen=True)
class Drawn:
    """A figure on the page: its SVG, its Vega-Lite, and its data as a link to a CSV file."""

    figure: Figure
    svg: str
    specification: str
    data: str


@dataclass(frozen=True)
class Shown:
    """A section on the page; ``parts`` are tables, and figures drawn or (without Altair) not."""

    section: Section
    parts: tuple[Table | Figure | Drawn, ...]

    @property
    def figures(self) -> bool:
        """True if the section has figures."""
        return any(not isinstance(part, Table) for part in self.parts)

    @property
    def rows(self) -> int:
        """The number of rows of all its tables."""
        return sum(len(part.rows) for part in self.parts if isinstance(part, Table))


@dataclass(frozen=True)
class Interactive:
    """The scripts of a page with figures, and their entry in its security policy."""

    library: str
    start: str

    @property
    def policy(self) -> str:
        """The hashes of the scripts, the only ones that may run."""
        hashes = (hashlib.sha256(text.encode()).digest() for text in (self.library, self.start))
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes)


def drawn(section: Section) -> Shown:
    """Return a section with its figures drawn, if Altair is installed."""
    return Shown(section, tuple(map(_draw, section.parts)))


def interactive(parts: Sequence[Shown]) -> Interactive | None:
    """Return the scripts, None if no section has a figure."""
    if not any(isinstance(part, Drawn) for section in parts for part in section.parts):
        return None
    start = files(__package__ or "").joinpath("templates/figures.js").read_text(encoding="utf-8")
    return Interactive(library().replace("</script", "<\\/script"), start)


def _draw(part: Table | Figure) -> Table | Figure | Drawn:
    if isinstance(part, Table) or not available():
        return part
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):  # the chart is validated as a whole: its parts need not be, one by one
        chart = part.chart()
    spec = specification(chart)
    text = json.dumps(spec, separators=(",", ":"))
    text = text.replace("<", "\\u003c")  # so that no text can end the script element
    return Drawn(part, svg(chart), text, as_link(data(spec)))


def _records(spec: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of all data in a specification."""
    if isinstance(spec, dict):
        yield from (row for rows in spec.get("datasets", {}).values() for row in rows)
        yield from spec.get("data", {}).get("values", ()) if "data" in spec else ()
        for name, value in spec.items():
            if name not in ("data", "datasets", "config"):
                yield from _records(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from _records(value)


def data(specification: Any) -> str:
    """Return the rows behind a specification as comma-separated values."""
    rows = list(_records(specification))
    file = io.StringIO()
    writer = csv.DictWriter(file, dict.fromkeys(name for row in rows for name in row))
    writer.writeheader()
    writer.writerows({name: inert(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def as_link(text: str) -> str:
    """Return comma-separated values as a data link."""
    return f"data:text/csv;base64,{base64.b64encode(text.encode()).decode()}"
