"""The report: runs of any kind as one HTML page that needs nothing beside itself."""

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
"""Dtypes and cells by which the table can be filtered."""

DETAILED = 1000
"""Failures that a page tells in full; of more it says how many there are."""

NAMED = 300
"""Subjects, gaps or standings that a page names in one place."""

LARGEST_LINK = 8 * 2**20
"""Characters of a table that a page holds as a file."""

LISTED = 3000
"""Results up to which a page lists them in numbers; it has all of them as a file, anyway."""


@dataclass(frozen=True)
class EquationRow:
    """An equation as the page shows it."""

    equation: Coverage
    math: str
    standings: tuple[tables.Standing, ...]


def render(*runs: Run | BenchRun) -> str:
    """Return the page of a run or of several. Whatever they contain is shown as text."""
    return _environment().get_template("page.html").render(_context(runs))


def render_sections(contents: Sequence[Section], headline: summary.Headline) -> str:
    """Return a page of sections alone: of comparisons, which are no runs."""
    parts = tuple(map(figures.drawn, contents))
    context = {**_shared((), parts, ""), **_nothing_held(headline)}
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
    measured = "; ".join(each.section.title for each in parts)
    created = summary.created([run.created for run in runs])
    nothing = _nothing_held(summary.Headline("measured", measured))
    about = _conformance(check_runs) if check_runs else nothing
    return {**_shared(runs, parts, created), **about}


def _shared(
    runs: Sequence[Run | BenchRun], parts: Sequence[figures.Shown], created: str
) -> dict[str, Any]:
    """Return what every page has."""
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


def _nothing_held(headline: summary.Headline) -> dict[str, Any]:
    """Return what a page without verdicts says."""
    empty = ("failures", "open", "accepted", "not_planned", "detailed")
    return {"run": None, "headline": headline, **dict.fromkeys(empty, ())}


def _conformance(runs: Sequence[Run]) -> dict[str, Any]:
    run = summary.combined(runs)
    rows = summary.entries(run)
    standings = tables.standings(rows)
    equations = [
        EquationRow(each, mathml(each.latex), standings.get(each.name, ())) for each in coverage()
    ]
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
        "detailed": {e.number for each in failures for e in (each.root, *each.told)},
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
    """The finding on a subject that does not conform, its first failure, and the others.

    ``told`` are those of the others that a page has room for.
    """

    finding: Finding
    root: summary.Entry
    others: tuple[summary.Entry, ...]
    told: tuple[summary.Entry, ...]


def _failures(run: Run, rows: Sequence[summary.Entry]) -> Iterator[Failure]:
    """Yield what is wrong with each subject: ``DETAILED`` failures of all can be told in full."""
    wrong = grouped((row.planned.subject, row) for row in rows if row.wrong)
    room = max(0, DETAILED - min(len(wrong), NAMED))
    for finding in findings([row.verdict for row in rows if row.verdict], run.diagnoses):
        own = wrong.get(finding.subject, [])
        if own:
            root = next(row for row in own if row.verdict is finding.root)
            others = tuple(row for row in own if row is not root)
            yield Failure(finding, root, others, others[:room])
            room = max(0, room - len(others))


def _gaps(
    rows: Sequence[summary.Entry], outcome: Outcome
) -> list[tuple[Status, tuple[summary.Gap, ...]]]:
    """Return the statuses with this outcome that are there, each with what has it."""
    present = [s for s in STATUSES.values() if s.outcome is outcome]
    return [(s, gaps) for s in present if (gaps := summary.gaps(rows, s.name))]


def _css() -> str:
    """Return the style, with rules for checkboxes that hide, and for colours of data."""
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
        f'  .chart [{what}="{light}"] {{ {what}: {lighter}; }}'
        for light, lighter in pairs
        for what in ("fill", "stroke")
    )
    scheme = "@media screen and (prefers-color-scheme: dark) {"
    return "\n".join([text, *cells, *columns, scheme, *dark, "}"])
