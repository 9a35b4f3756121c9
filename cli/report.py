"""``gatewise report``: runs as one HTML page, as Markdown, JUnit XML or a badge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import COULD_NOT_RUN, RUNS, runs_option, stop, write

if TYPE_CHECKING:
    from ..bench.run import BenchRun
    from ..verify.runs.run import Run


@click.command()
@click.argument("paths", metavar="[RUN]...", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    default=Path("gatewise-report.html"), show_default=True,
    help="What it is follows from its ending: .html, .md, .xml (JUnit), .json (badge); or a "
    "folder, for all of them, the figures and an index.",
)  # fmt: skip
@runs_option
def report(paths: Sequence[Path], output: Path, runs: Path) -> None:
    """Turn RUNs (default: the newest) into one HTML page.

    The page is self-contained. Other forms are Markdown for a job's summary or a comment, JUnit
    XML, and the JSON of a badge.
    """
    write_report(paths, output, runs=runs)


def write_report(
    paths: Sequence[Path], output: Path, *, runs: Path = RUNS, quiet: bool = False
) -> None:
    """Read runs and write their report; raise RunFileError for a folder that is no run."""
    from ..verify.runs.run import newest, read

    paths = paths or [newest(runs)]
    folders = [path.parent if path.name == "run.json" else path for path in paths]
    unique = {folder.resolve(): folder for folder in folders}
    write_runs({folder: read(folder) for folder in unique.values()}, output, quiet=quiet)


def write_runs(runs: Mapping[Path, Run | BenchRun], output: Path, *, quiet: bool) -> None:
    """Write the report of runs by folder, and print its path unless ``quiet``."""
    from ..reports.formats import FormatError, everything, written

    is_folder = output.suffix == "" or output.is_dir()
    if is_folder or output.suffix == ".html":
        require_page()
    try:
        if is_folder:
            files = {output / name: content for name, content in everything(runs)}
        else:
            text = written([*runs.values()], output)
            files = {output: text.encode("utf-8", "backslashreplace")}
    except FormatError as error:
        raise click.UsageError(str(error)) from error
    for path, content in files.items():
        write(path, content)
    if not quiet:
        click.echo(f"report: {(output / 'index.html' if is_folder else output).resolve()}")


def require_form(output: Path) -> None:
    """Raise UsageError for a file whose suffix is none of ``FORMATS``."""
    from ..reports.formats import FORMATS

    if output.suffix not in FORMATS:
        raise click.UsageError(f"--report {output}: expected a name that ends in "
                               f"{', '.join(FORMATS)}")  # fmt: skip


def require_page() -> None:
    """Stop if the packages for the HTML page are not installed."""
    try:
        from ..reports import page  # noqa: F401
    except ImportError as missing:
        stop(
            f"{missing.name} is not installed; install it with: pip install jinja2 latex2mathml",
            COULD_NOT_RUN,
        )
