"""Sections of benches as the page shows them: figures drawn, with the data behind them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..bench.run import BenchRun
from . import figures
from .section import Figure, Section, Table
from .sections import sections
from .tables import inert


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


@dataclass(frozen=True)
class Interactive:
    """The scripts of a page with figures, and what its security policy must say of them."""

    library: str
    start: str

    @property
    def policy(self) -> str:
        """Return the hashes of the scripts: nothing else may run."""
        return " ".join(f"'sha256-{_hash(text)}'" for text in (self.library, self.start))


def shown(runs: Sequence[BenchRun]) -> tuple[Shown, ...]:
    """Return every section of these runs, its figures drawn if that can be done here."""
    return tuple(map(drawn, sections(runs)))


def drawn(section: Section) -> Shown:
    """Return a section with its figures drawn, if that can be done here."""
    return Shown(section, tuple(map(_drawn, section.parts)))


def interactive(parts: Sequence[Shown]) -> Interactive | None:
    """Return the scripts, None where there is no figure."""
    if not any(isinstance(part, Drawn) for each in parts for part in each.parts):
        return None
    start = files(__package__ or "").joinpath("templates/figures.js").read_text(encoding="utf-8")
    return Interactive(figures.library().replace("</script", "<\\/script"), start)


def _drawn(part: Table | Figure) -> Table | Figure | Drawn:
    if isinstance(part, Table) or not figures.available():
        return part
    chart = part.chart()
    spec = figures.specification(chart)
    said = json.dumps(spec, separators=(",", ":")).replace(
        "<", "\\u003c"
    )  # so that no text can end the script element
    return Drawn(part, figures.svg(chart), said, as_link(data(spec)))


def _records(spec: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of all data that a specification holds."""
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
    writer.writerows({name: inert(each) for name, each in row.items()} for row in rows)
    return file.getvalue()


def as_link(text: str) -> str:
    """Return comma-separated values as a link that holds them."""
    return f"data:text/csv;base64,{base64.b64encode(text.encode()).decode()}"


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
