"""``gatewise compare``: what changed from one run to another?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import COULD_NOT_RUN, DIFFERS, json_option, or_usage, say, stop, write

if TYPE_CHECKING:
    from ..bench.run import BenchRun
    from ..reports.comparison import Comparison
    from ..verify.runs.run import Run


@click.command()
@click.argument("paths", metavar="RUN RUN...", type=click.Path(path_type=Path), nargs=-1,
                required=True)  # fmt: skip
@click.option("--subject", "subjects", multiple=True, metavar="NAME",
              help="Compare two subjects of one RUN: give this twice.")  # fmt: skip
@click.option("--fail-on", type=click.Choice(["never", "regress", "change"]), default="never",
              show_default=True, help="When the exit code is 1.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Also write it as .html or .md.")  # fmt: skip
@json_option
def compare(
    paths: Sequence[Path], subjects: Sequence[str], fail_on: str, output: Path | None, as_json: bool
) -> None:
    """Compare each RUN with the first: checks, errors, times, and the environments.

    A RUN is a folder made by gatewise, or a JSON file of pytest-benchmark.
    """
    from ..reports.comparison import between, sentence

    runs = [_read(path) for path in paths]
    names = _names(paths)
    if subjects:
        if len(runs) != 1 or len(subjects) != 2:
            raise click.UsageError("--subject: give one RUN and two subjects")
        runs = list(or_usage(lambda: between(runs[0], *subjects)))
        names = list(subjects)
    elif len(runs) < 2:
        raise click.UsageError("give two runs, or one with --subject NAME --subject NAME")
    comparisons = [_compared(runs, names, k) for k in range(1, len(runs))]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in comparisons], indent=1, ensure_ascii=False))
    else:
        for each in comparisons:
            _print(each)
    if output is not None:
        _write(comparisons, output)
    regressed, changed = (
        any(e.regressed for e in comparisons),
        any(e.changes for e in comparisons),
    )
    if (fail_on == "regress" and regressed) or (fail_on == "change" and changed):
        if not as_json:
            click.echo(f"--fail-on {fail_on}: {'; '.join(map(sentence, comparisons))}", err=True)
        sys.exit(DIFFERS)


def _read(path: Path) -> Run | BenchRun:
    from ..reports import pytest_benchmark
    from ..verify.runs.records import RunFileError
    from ..verify.runs.run import read

    try:
        if path.is_file() and path.name != "run.json":
            return pytest_benchmark.read(path)
        return read(path.parent if path.name == "run.json" else path)
    except RunFileError as error:
        stop(str(error), COULD_NOT_RUN)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return what runs are called: the last part of their paths, unless two are the same."""
    short = [path.parent.name if path.name == "run.json" else path.name for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def _compared(runs: Sequence[Run | BenchRun], names: Sequence[str], k: int) -> Comparison:
    from ..reports.comparison import compare as compared

    comparison: Comparison = or_usage(lambda: compared(runs[0], runs[k], (names[0], names[k])))
    return comparison


def _print(comparison: Comparison) -> None:
    from ..reports.comparison import sentence, tables
    from ..reports.terminal import print_rows

    say(f"{comparison.before} and {comparison.after}: {sentence(comparison)}")
    for table in tables(comparison):
        say(f"\n{table.title}")
        rows = [[str(cell) for cell in row] for row in table.rows]
        print_rows(table.headings, rows, as_json=False)


def _write(comparisons: Sequence[Comparison], output: Path) -> None:
    from ..reports.formats import FormatError, compared

    try:
        text = compared(comparisons, output)
    except FormatError as error:
        raise click.UsageError(str(error)) from error
    write(output, text)
    click.echo(f"comparison: {output.resolve()}", err=True)
