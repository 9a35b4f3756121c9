"""``gatewise compare``: what changed from one run to another?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import DIFFERS, FILE, json_option, or_usage, print_json, say, write

if TYPE_CHECKING:
    from ..bench.run import BenchRun
    from ..verify.runs.run import Run


@click.command()
@click.argument("paths", metavar="RUN RUN...", type=click.Path(path_type=Path), nargs=-1,
                required=True)  # fmt: skip
@click.option("--subject", "subjects", multiple=True, metavar="NAME",
              help="Compare two subjects of one RUN; give it twice.")  # fmt: skip
@click.option("--fail-on", type=click.Choice(["never", "regress", "change"]), default="never",
              show_default=True, help="When the exit code is 1.")  # fmt: skip
@click.option("-o", "--output", type=FILE, metavar="FILE",
              help="Also write it as .html or .md.")  # fmt: skip
@json_option
def compare(
    paths: Sequence[Path], subjects: Sequence[str], fail_on: str, output: Path | None, as_json: bool
) -> None:
    """Compare each RUN with the first.

    It compares checks, errors, times and the environments. A RUN is a folder made by gatewise, or a
    JSON file of pytest-benchmark.
    """
    from ..reports import comparison
    from ..reports.formats import compared
    from ..reports.terminal import print_rows

    runs = [_read(path) for path in paths]
    names = _names(paths)
    if subjects:
        if len(runs) != 1 or len(subjects) != 2:
            raise click.UsageError("--subject: give one RUN and two subjects")
        runs = list(or_usage(lambda: comparison.between(runs[0], *subjects)))
        names = list(subjects)
    elif len(runs) < 2:
        raise click.UsageError("give two runs, or one with --subject NAME --subject NAME")
    comparisons = or_usage(lambda: [
        comparison.compare(runs[0], run, (names[0], name))
        for run, name in zip(runs[1:], names[1:], strict=True)
    ])  # fmt: skip
    if as_json:
        print_json(comparisons)
    for pair in comparisons if not as_json else ():
        say(f"{pair.before} and {pair.after}: {comparison.sentence(pair)}")
        for table in comparison.tables(pair):
            say(f"\n{table.title}")
            print_rows(table.headings, [[*map(str, row)] for row in table.rows])
    if output is not None:
        write(output, or_usage(lambda: compared(comparisons, output)))
        click.echo(f"comparison: {output.resolve()}", err=True)
    regressed = any(pair.regressed for pair in comparisons)
    changed = any(pair.changes for pair in comparisons)
    if (fail_on == "regress" and regressed) or (fail_on == "change" and changed):
        if not as_json:
            sentences = "; ".join(map(comparison.sentence, comparisons))
            click.echo(f"--fail-on {fail_on}: {sentences}", err=True)
        sys.exit(DIFFERS)


def _read(path: Path) -> Run | BenchRun:
    from ..reports.comparison import read_benchmarks
    from ..verify.runs.run import read

    if path.is_file() and path.name != "run.json":
        return read_benchmarks(path)
    return read(path.parent if path.name == "run.json" else path)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the names of runs: the last parts of their paths, or the paths if two are equal."""
    short = [path.parent.name if path.name == "run.json" else path.name for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]
