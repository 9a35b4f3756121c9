"""A folder with everything that can be told of runs, and an index of it that GitHub shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..bench.run import BenchRun
from ..verify.runs.run import Run
from . import figures, summary, words
from .formats import written
from .markdown import code, plain, tallies
from .section import Figure
from .sections import sections

FORMS = {
    "index.html": "the report: one page that needs nothing beside itself",
    "report.md": "the same in Markdown, as much as fits a comment",
    "junit.xml": "the verdicts as JUnit XML, for CI",
    "badge.json": "a badge, for shields.io",
}
"""What each file beside the figures is."""

FILES = ("run.json", "verdicts.jsonl", "diagnoses.jsonl", "rows.jsonl")
"""What a run consists of."""


def everything(runs: Mapping[Path, Run | BenchRun]) -> Iterator[tuple[str, bytes]]:
    """Yield every form that runs (by their folders) can be told in, as files: name and content.

    Figures are there as SVG and PNG where Altair is installed, text in them black, with their data
    as CSV; the runs themselves stand below ``runs``, so that others can be compared with them.
    README.md is the index.
    """
    every = [*runs.values()]
    check_runs = [run for run in every if isinstance(run, Run)]
    sizes: dict[str, int] = {}
    drawn = _figures(every) if figures.available() else {}
    files = _forms(every, check_runs), _drawn(drawn), _data(runs)
    for name, content in (file for group in files for file in group):
        sizes[name] = len(content)
        yield name, content
    yield "README.md", _index(every, check_runs, drawn, sizes).encode()


def _forms(
    runs: Sequence[Run | BenchRun], check_runs: Sequence[Run]
) -> Iterator[tuple[str, bytes]]:
    for name in FORMS:
        if Path(name).suffix in (".html", ".md") or check_runs:
            yield name, written(runs, Path(name)).encode()


def _figures(runs: Sequence[Run | BenchRun]) -> dict[str, Figure]:
    contents = sections(run for run in runs if isinstance(run, BenchRun))
    return {part.id: part for each in contents for part in each.parts if isinstance(part, Figure)}


def _drawn(shown: Mapping[str, Figure]) -> Iterator[tuple[str, bytes]]:
    for id, figure in shown.items():
        chart = figure.chart()
        yield f"figures/{id}.svg", figures.svg(chart, standing_alone=True).encode()
        yield f"figures/{id}.png", figures.png(chart, scale=1.0)
        yield f"figures/{id}.csv", figures.data(figures.specification(chart)).encode()


def _data(runs: Mapping[Path, Run | BenchRun]) -> Iterator[tuple[str, bytes]]:
    for number, (folder, run) in enumerate(runs.items(), start=1):
        for name in FILES:
            if (folder / name).is_file():
                yield f"runs/{number}-{_kind(run)}/{name}", (folder / name).read_bytes()


def _kind(run: Run | BenchRun) -> str:
    return "checks" if isinstance(run, Run) else run.kind


def _index(
    runs: Sequence[Run | BenchRun],
    check_runs: Sequence[Run],
    drawn: Mapping[str, Figure],
    sizes: Mapping[str, int],
) -> str:
    """Return the index: what was found, how it was made, and every file."""
    return "\n\n".join(
        [*_headline(check_runs), *_made(runs), *_listed(sizes), *_pictures(drawn), *_again(runs)]
    ) + "\n"  # fmt: skip


def _headline(check_runs: Sequence[Run]) -> Iterator[str]:
    if not check_runs:
        yield "# Report"
        return
    rows = summary.entries(summary.combined(check_runs))
    yield f"# {plain(summary.headline(rows).text)}"
    yield tallies(rows)


def _made(runs: Sequence[Run | BenchRun]) -> Iterator[str]:
    """Yield when, where and with what; of runs that differ, every answer."""
    facts = {
        "Made": [summary.created([run.created for run in runs])],
        "Machine": [words.machine(run.machine) for run in runs],
        "Isolation": [words.isolation(getattr(run, "verdicts", ())) for run in runs],
        "Versions": [", ".join(f"{name} {v}" for name, v in run.versions.items()) for run in runs],
        "Source": [f"commit {run.source}" if run.source else "" for run in runs],
    }
    lines = (
        f"* {what}: {'; '.join(plain(answer) for answer in dict.fromkeys(answers) if answer)}"
        for what, answers in facts.items()
        if any(answers)
    )
    yield "## How it was made"
    yield "\n".join(lines)


def _listed(sizes: Mapping[str, int]) -> Iterator[str]:
    lines = [
        f"| [{name}]({name}) | {what} | {_size(sizes[name])} |"
        for name, what in FORMS.items()
        if name in sizes
    ]
    data = sum(size for name, size in sizes.items() if name.startswith("runs/"))
    lines.append(
        f"| [runs](runs) | the runs, for `gatewise report` and `compare` | {_size(data)} |"
    )
    yield "## Files"
    yield "\n".join(["| file | what it is | size |", "|---|---|---:|", *lines])


def _pictures(drawn: Mapping[str, Figure]) -> Iterator[str]:
    if not drawn:
        return
    lines = [
        f"| [{plain(figure.title)}](figures/{id}.svg) | [PNG](figures/{id}.png) "
        f"| [CSV](figures/{id}.csv) | {plain(figure.alt)} |"
        for id, figure in drawn.items()
    ]
    yield "## Figures"
    yield "\n".join(["| figure | | data | what it shows |", "|---|---|---|---|", *lines])


def _again(runs: Sequence[Run | BenchRun]) -> Iterator[str]:
    yield "## Commands"
    yield code("\n".join(run.command for run in runs))


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{max(1, round(count / 1024))} KiB"
