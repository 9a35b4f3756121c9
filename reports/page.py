"""The report: runs of any kind as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from ..bench.run import BenchRun
from ..reference.documents import TITLES, examples
from ..verify.proofs import proofs
from ..verify.proofs.coverage import Coverage, coverage
from ..verify.runs.findings import Finding, diagnosis_lines, findings
from ..verify.runs.run import Run
from ..verify.runs.status import STATUSES, TONES, Outcome, Status, shown
from . import conventions, figures, summary, tables, words
from .figures import as_link
from .section import Section, grouped
from .sections import sections
from .typeset import mathml, subscripted

CHOICES = 24
"""The most dtypes and cells by which the table can be filtered."""

DETAILED = 1000
"""The most failures that a page shows in full; others are counted."""

NAMED = 300
"""The most subjects, gaps or standings that a page names in one place."""

LARGEST_LINK = 8 * 2**20
"""The most characters of a table that a page has as a file."""

LISTED = 3000
"""The most results that a page lists in numbers; it also has all of them as a file."""


@dataclass(frozen=True)
class EquationRow:
    """An equation of the page, its MathML and the subjects' standings."""

    equation: Coverage
    math: str
    standings: tuple[tables.Standing, ...]


def render(*runs: Run | BenchRun) -> str:
    """Return the page of one run or several. All their content is shown as text."""
    return _environment().get_template("page.html").render(_context(runs))


def render_sections(contents: Sequence[Section], headline: summary.Headline) -> str:
    """Return a page of sections without runs, such as comparisons."""
    parts = tuple(map(figures.drawn, contents))
    context = {**_shared_context((), parts, ""), **_without_verdicts(headline)}
    return _environment().get_template("page.html").render(context)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__ or "", "templates"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=_printable,
    )  # fmt: skip
    for function in (
        words.shown,
        words.heat,
        words.case_items,
        words.families,
        words.isolation,
        words.cell,
        diagnosis_lines,
        subscripted,
    ):
        environment.filters[function.__name__] = function
    return environment


def _printable(value: Any) -> Any:
    foreign = isinstance(value, str) and not isinstance(value, Markup)
    return words.printable(value) if foreign else value


def _context(runs: Sequence[Run | BenchRun]) -> dict[str, Any]:
    check_runs = [run for run in runs if isinstance(run, Run)]
    names = dict.fromkeys(planned.subject for run in check_runs for planned in run.planned)
    parts = (
        *map(figures.drawn, conventions.section(names)),
        *map(figures.drawn, sections(run for run in runs if isinstance(run, BenchRun))),
    )
    measured = "; ".join(part.section.title for part in parts)
    created = summary.created([run.created for run in runs])
    empty = _without_verdicts(summary.Headline("measured", measured))
    context = _conformance(check_runs) if check_runs else empty
    return {**_shared_context(runs, parts, created), **context}


def _shared_context(
    runs: Sequence[Run | BenchRun], parts: Sequence[figures.Shown], created: str
) -> dict[str, Any]:
    """Return the context of all pages."""
    return {
        "css": _css(),
        "created": created,
        "all_runs": runs,
        "benches": parts,
        "interactive": figures.interactive(parts),
        "statuses": STATUSES,
        "tones": TONES,
        "colours": words.COLOURS,
        "named": NAMED,
    }


def _without_verdicts(headline: summary.Headline) -> dict[str, Any]:
    """Return the context of a page without verdicts."""
    empty = ("failures", "open", "accepted", "not_planned", "detailed")
    return {"run": None, "headline": headline, **dict.fromkeys(empty, ())}


def _conformance(runs: Sequence[Run]) -> dict[str, Any]:
    run = summary.combined(runs)
    rows = summary.entries(run)
    standings = tables.standings(rows)
    equations = [EquationRow(c, mathml(c.latex), standings.get(c.name, ())) for c in coverage()]
    failures = tuple(_failures(run, rows))
    results = as_link(tables.as_csv(rows))
    grid = tables.grid(rows) if len(rows) <= tables.MOST else tables.Grid((), {}, ())
    dtypes = (dtype for column in grid.subjects for dtype in column.dtypes)
    cells = (column.cell for column in grid.subjects)
    return {
        "run": run,
        "header": summary.header(runs),
        "rows": rows,
        "headline": summary.headline(rows),
        "subjects": summary.names(rows),
        "blind": sum(verdict.blind_cases for verdict in run.verdicts),
        "closest": summary.closest(rows),
        "failures": failures,
        "detailed": {e.number for failure in failures for e in (failure.root, *failure.told)},
        "open": _gaps(rows, Outcome.OPEN),
        "accepted": _gaps(rows, Outcome.ACCEPTED),
        "not_planned": summary.not_planned(rows),
        "grid": grid,
        "choices": [*filter(None, dict.fromkeys([*dtypes, *cells]))],
        "states": shown(row.status for row in rows),
        "tallies": tables.tallies(rows),
        "ran": tables.ran(rows),
        "by_check": tables.by_check(rows),
        "listed": len(rows) <= LISTED,
        "results": results if len(results) <= LARGEST_LINK else "",
        "statements": tables.statements(rows),
        "equations": grouped((row.equation.id, row) for row in equations),
        "ids": {row.equation.name: row.equation.id for row in equations},
        "concerned": sum(bool(row.standings) for row in equations),
        "proofs": proofs(),
        "examples": examples(),
        "titles": TITLES,
    }


@dataclass(frozen=True)
class Failure:
    """The finding on a subject that does not conform, its first failure, and the other ones.

    ``told`` are those of the other ones that the page shows.
    """

    finding: Finding
    root: summary.Entry
    others: tuple[summary.Entry, ...]
    told: tuple[summary.Entry, ...]


def _failures(run: Run, rows: Sequence[summary.Entry]) -> Iterator[Failure]:
    """Yield the failures of each subject; together, ``DETAILED`` are shown in full."""
    wrong = grouped((row.planned.subject, row) for row in rows if row.wrong)
    room = max(0, DETAILED - min(len(wrong), NAMED))
    for finding in findings([row.verdict for row in rows if row.verdict], run.diagnoses):
        entries = wrong.get(finding.subject, [])
        if entries:
            root = next(row for row in entries if row.verdict is finding.root)
            others = tuple(row for row in entries if row is not root)
            yield Failure(finding, root, others, others[:room])
            room = max(0, room - len(others))


def _gaps(
    rows: Sequence[summary.Entry], outcome: Outcome
) -> list[tuple[Status, tuple[summary.Gap, ...]]]:
    """Return the statuses with this outcome, each with its gaps, unless it has none."""
    present = [s for s in STATUSES.values() if s.outcome is outcome]
    return [(s, gaps) for s in present if (gaps := summary.gaps(rows, s.name))]


def _css() -> str:
    """Return the style sheet, with rules for the checkboxes that hide cells, and for colours."""
    text = files(__package__ or "").joinpath("templates/page.css").read_text(encoding="utf-8")
    hidden = "#conformance:has(#show-{0}:not(:checked)) .of-{0} {{ visibility: collapse; }}"
    for outcome in Outcome:
        slugs = ", ".join(f".{s.slug}" for s in STATUSES.values() if s.outcome is outcome)
        text = text.replace(f".grid .{outcome.name.lower()} ", f".grid :is({slugs}) ")
    columns = (hidden.format(number) for number in range(CHOICES))
    cells = (
        f"#conformance:has(#show-{s.slug}:not(:checked)) .grid .{s.slug} {{ visibility: hidden; }}"
        for s in STATUSES.values()
    )
    pairs = zip(figures.PALETTE, figures.ON_DARK, strict=True)
    dark = (
        f'  .chart [{attribute}="{light}"] {{ {attribute}: {lighter}; }}'
        for light, lighter in pairs
        for attribute in ("fill", "stroke")
    )
    scheme = "@media screen and (prefers-color-scheme: dark) {"
    return "\n".join([text, *cells, *columns, scheme, *dark, "}"])
