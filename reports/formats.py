"""The forms of reports, by the suffix of the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ..bench.run import BenchRun
from ..verify.runs.deviations import KNOWN
from ..verify.runs.run import Run
from ..verify.runs.status import STATUSES, TONES
from ..verify.runs.verdict import Verdict
from . import figures, summary, words
from .comparison import Comparison, section, sentence
from .junit import junit
from .markdown import code, markdown, plain, sections_as_markdown, table, tallies
from .section import Figure
from .sections import sections
from .summary import Headline


class FormatError(ValueError):
    """A form that does not exist, or not for these runs; the message lists the forms."""


def _html(runs: Sequence[Run | BenchRun]) -> str:
    from .page import render

    return render(*runs)


def _junit(runs: Sequence[Run | BenchRun]) -> str:
    run = summary.combined(_check_runs(runs, "JUnit XML"))
    untested = [
        Verdict(p.subject, "", p.check, "", [], p.dtype, 0, "not tested", message=summary.ENDED)
        for p in run.untested
    ]
    return junit([*run.verdicts, *untested], run.diagnoses, created=run.created)


FORMATS: dict[str, Callable[[Sequence[Run | BenchRun]], str]] = {
    ".html": _html,
    ".md": lambda runs: markdown(*runs),
    ".xml": _junit,
    ".json": lambda runs: badge(_check_runs(runs, "a badge")),
}
"""HTML page, Markdown, JUnit XML, badge (of shields.io)."""


def written(runs: Sequence[Run | BenchRun], output: Path) -> str:
    """Return the content of the file; raise FormatError for an unknown suffix."""
    if output.suffix not in FORMATS:
        raise FormatError(f"{output}: expected a name that ends in {', '.join(FORMATS)}")
    return FORMATS[output.suffix](runs)


def compared(comparisons: Sequence[Comparison], output: Path) -> str:
    """Return comparisons as HTML or Markdown; raise FormatError for another suffix."""
    sections = [section(c, number) for number, c in enumerate(comparisons, start=1)]
    if output.suffix == ".md":
        return sections_as_markdown(sections)
    if output.suffix == ".html":
        from .page import render_sections

        worse = any(c.regressed for c in comparisons)
        headline = "; ".join(map(sentence, comparisons))
        return render_sections(sections, Headline("differs" if worse else "measured", headline))
    raise FormatError(f"{output}: expected a name that ends in .html or .md")


def _check_runs(runs: Sequence[Run | BenchRun], form: str) -> list[Run]:
    check_runs = [run for run in runs if isinstance(run, Run)]
    if not check_runs:
        raise FormatError(f"{form} tells verdicts, and these runs have none")
    return check_runs


def badge(runs: Sequence[Run]) -> str:
    """Return the badge as JSON (https://shields.io/badges/endpoint-badge, schema version 1)."""
    rows = summary.entries(summary.combined(runs))
    tone = summary.headline(rows).tone
    passed = sum(row.status == "passed" for row in rows)
    wrong = sum(row.wrong for row in rows)
    declared = sum(row.status == KNOWN for row in rows)
    suffix = f", {STATUSES[KNOWN].counted(declared)}" if declared else ""
    message = {
        "conforms": f"conforms, {passed} passed{suffix}",
        "differs": f"{wrong} of {len(rows)} fail",
        "incomplete": f"incomplete, {passed} passed" if passed else "not tested",
    }[tone]
    return json.dumps(
        {"schemaVersion": 1, "label": "gatewise", "message": message, "color": TONES[tone].colour}
    )


# A folder with all forms of a report, and a README.md that GitHub shows.


FORMS = {
    "index.html": "the report: one page that needs nothing beside itself",
    "report.md": "the same in Markdown, as much as fits a comment",
    "junit.xml": "the verdicts as JUnit XML, for CI",
    "badge.json": "a badge, for shields.io",
}
"""The description of each file beside the figures."""

FILES = ("run.json", "verdicts.jsonl", "diagnoses.jsonl", "rows.jsonl")
"""The files of a run."""


def everything(runs: Mapping[Path, Run | BenchRun]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of all forms of a report on runs (by folder): name and content.

    Figures are SVG and PNG with black text, if Altair is installed, with their data
    as CSV. The runs themselves are below ``runs``, so that others can be compared with them.
    README.md is the index.
    """
    all_runs = [*runs.values()]
    check_runs = [run for run in all_runs if isinstance(run, Run)]
    sizes: dict[str, int] = {}
    contents = sections(run for run in all_runs if isinstance(run, BenchRun))
    wanted = [part for section in contents for part in section.parts if isinstance(part, Figure)]
    drawn = {figure.id: figure for figure in wanted} if figures.available() else {}
    for name, content in _files(runs, drawn, has_verdicts=bool(check_runs)):
        sizes[name] = len(content)
        yield name, content
    parts = [
        *_headline(check_runs),
        *_provenance(all_runs),
        *_file_table(sizes),
        *_figure_table(drawn),
        "## Commands",
        code("\n".join(run.command for run in all_runs)),
    ]
    yield "README.md", ("\n\n".join(parts) + "\n").encode()


def _files(
    runs: Mapping[Path, Run | BenchRun], drawn: Mapping[str, Figure], *, has_verdicts: bool
) -> Iterator[tuple[str, bytes]]:
    """Yield all files but the index; those of verdicts only if a run ``has_verdicts``."""
    for name in FORMS:
        if Path(name).suffix in (".html", ".md") or has_verdicts:
            yield name, written([*runs.values()], Path(name)).encode()
    for id, figure in drawn.items():
        chart = figure.chart()
        yield f"figures/{id}.svg", figures.svg(chart, standing_alone=True).encode()
        yield f"figures/{id}.png", figures.png(chart, scale=1.0)
        yield f"figures/{id}.csv", figures.data(figures.specification(chart)).encode()
    for number, (folder, run) in enumerate(runs.items(), start=1):
        kind = "checks" if isinstance(run, Run) else run.kind
        for name in FILES:
            if (folder / name).is_file():
                yield f"runs/{number}-{kind}/{name}", (folder / name).read_bytes()


def _headline(check_runs: Sequence[Run]) -> Iterator[str]:
    if not check_runs:
        yield "# Report"
        return
    rows = summary.entries(summary.combined(check_runs))
    yield f"# {plain(summary.headline(rows).text)}"
    yield tallies(rows)


def _provenance(runs: Sequence[Run | BenchRun]) -> Iterator[str]:
    """Yield the time, machine and versions of the runs; where runs differ, those of each."""
    facts = {
        "Made": [summary.created([run.created for run in runs])],
        "Machine": [words.machine(run.machine) for run in runs],
        "Isolation": [words.isolation(getattr(run, "verdicts", ())) for run in runs],
        "Versions": [", ".join(f"{name} {v}" for name, v in run.versions.items()) for run in runs],
        "Source": [f"commit {run.source}" if run.source else "" for run in runs],
    }
    lines = (
        f"* {heading}: {'; '.join(plain(answer) for answer in dict.fromkeys(answers) if answer)}"
        for heading, answers in facts.items()
        if any(answers)
    )
    yield "## How it was made"
    yield "\n".join(lines)


def _file_table(sizes: Mapping[str, int]) -> Iterator[str]:
    rows = [(f"[{n}]({n})", about, _size(sizes[n])) for n, about in FORMS.items() if n in sizes]
    data = sum(size for name, size in sizes.items() if name.startswith("runs/"))
    rows.append(("[runs](runs)", "the runs, for `gatewise report` and `compare`", _size(data)))
    yield "## Files"
    yield table(("file", "what it is", "size"), rows, [2])


def _figure_table(drawn: Mapping[str, Figure]) -> Iterator[str]:
    if not drawn:
        return
    yield "## Figures"
    yield table(("figure", "", "data", "what it shows"), (
        (f"[{plain(figure.title)}](figures/{id}.svg)", f"[PNG](figures/{id}.png)",
         f"[CSV](figures/{id}.csv)", plain(figure.alt))
        for id, figure in drawn.items()
    ))  # fmt: skip


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{max(1, round(count / 1024))} KiB"
