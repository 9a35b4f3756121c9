"""Runs as Markdown, for a job's summary or a comment: failures first, cut to a limit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ..bench.run import BenchRun
from ..verify.runs.deviations import KNOWN
from ..verify.runs.findings import findings, laid_out
from ..verify.runs.run import Run
from ..verify.runs.status import STATUSES, TONES, shown
from . import summary, tables, words
from .section import Cell, Figure, Section, Table
from .sections import sections

LIMIT = 60_000
"""The most characters: a comment on GitHub may have 65 536, the summary of a job more."""

FINDINGS = 20
"""The most subjects whose failures are shown; the others are counted."""

_SPECIAL = re.compile(r"[\\`*_\[\]|~$]|^(?:[#+\-=]|\d+(?=[.)]))")
"""Characters that begin emphasis, code, links, cells or mathematics; first on a line, blocks."""

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}


def markdown(*runs: Run | BenchRun, limit: int = LIMIT) -> str:
    """Return the report of runs in at most ``limit`` characters; omitted parts are counted."""
    check_runs = [run for run in runs if isinstance(run, Run)]
    blocks = [*(_conformance(check_runs) if check_runs else ())]
    for section in sections(run for run in runs if isinstance(run, BenchRun)):
        blocks += _section(section)
    blocks += _provenance(runs)
    return fitted(blocks, limit)


def sections_as_markdown(contents: Iterable[Section]) -> str:
    """Return only sections, in at most ``LIMIT`` characters."""
    return fitted([block for section in contents for block in _section(section)], LIMIT)


def fitted(blocks: Sequence[str], limit: int) -> str:
    """Join as many blocks as fit, and a line with the number of the others."""
    parts: list[str] = []
    room = limit - 80
    for number, block in enumerate(blocks):
        if len(block) + 2 > room:
            rest = len(blocks) - number
            parts.append(f"_{rest} more {'part' if rest == 1 else 'parts'} did not fit here._")
            break
        parts.append(block)
        room -= len(block) + 2
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """Return foreign text on one line, escaped: without markup, links and mentions."""
    text = " ".join(words.printable(text).split())
    text = re.sub("[&<>@]", lambda match: _ENTITIES[match[0]], text)
    return _SPECIAL.sub(
        lambda match: f"&#8203;{match[0]}" if match[0].isdigit() else f"\\{match[0]}",
        text.replace("://", ":&#8203;//"),
    )


def code(text: str) -> str:
    """Return foreign text as a block of code, with a longer fence than any in the text."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{words.printable(text)}\n{fence}"


def grid(headings: Sequence[str], rows: Iterable[Sequence[Cell]], numeric: Iterable[int]) -> str:
    """Return a table; the ``numeric`` columns are aligned right."""
    cells = ([plain(c) if isinstance(c, str) else words.cell(c) for c in row] for row in rows)
    return table([*map(plain, headings)], cells, numeric)


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()
) -> str:
    """Return a table whose cells are Markdown; the ``numeric`` columns are aligned right."""
    aligned = set(numeric)
    rule = ["---:" if n in aligned else "---" for n in range(len(headings))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *rows))


def _conformance(runs: Sequence[Run]) -> Iterator[str]:
    run = summary.combined(runs)
    rows = summary.entries(run)
    headline = summary.headline(rows)
    yield f"# {TONES[headline.tone].emoji} gatewise: {plain(headline.text)}"
    wrong = [finding for finding in findings(run.verdicts, run.diagnoses) if finding.wrong]
    for finding in wrong[:FINDINGS]:
        emoji = STATUSES[finding.wrong[0].status].emoji
        evidence = code("\n".join(laid_out(finding.lines())))
        yield f"**{emoji} {plain(finding.headline)}**\n\n{plain(finding.cause)}\n\n{evidence}"
    if len(wrong) > FINDINGS:
        yield f"_And {len(wrong) - FINDINGS} more subjects that do not conform._"
    yield tallies(rows)
    if declared := summary.gaps(rows, KNOWN):
        yield f"**{STATUSES[KNOWN].emoji} {STATUSES[KNOWN].title}**\n\n" + "\n".join(
            f"- {plain(', '.join(gap.subjects))}: {plain(', '.join(gap.checks))}: "
            f"{plain(gap.reason)}"
            for gap in declared
        )


def tallies(rows: Sequence[summary.Entry]) -> str:
    """Return a table of the number of verdicts of each subject and status."""
    counted = tables.tallies(rows)
    statuses = shown(name for tally in counted for name in tally.count)
    headings = ("subject", "version", *(f"{s.emoji} {s.name}" for s in statuses))
    body: list[tuple[Cell, ...]] = [
        (t.name, t.version, *(t.count.get(s.name, 0) for s in statuses)) for t in counted
    ]
    return grid(headings, body, range(2, len(headings)))


def _section(section: Section) -> Iterator[str]:
    yield f"## {plain(section.title)}"
    yield from (plain(paragraph) for paragraph in section.intro)
    for part in section.parts:
        yield f"### {plain(part.title)}"
        if isinstance(part, Figure):
            yield f"{plain(part.alt)} {plain(part.caption)} (A figure of the HTML report.)"
        elif isinstance(part, Table):
            note = f"\n\n{plain(part.note)}" if part.note else ""
            yield grid(part.headings, part.rows, part.numeric) + note


def _provenance(runs: Sequence[Run | BenchRun]) -> Iterator[str]:
    for run in runs:
        versions = ", ".join(f"{name} {value}" for name, value in run.versions.items())
        facts = f"{run.created}; seed {run.seed}; {versions}; {words.machine(run.machine)}"
        if isolation := words.isolation(getattr(run, "verdicts", ())):
            facts += f"; isolation: {isolation}"
        yield f"{code(run.command)}\n\n{plain(facts)}"
