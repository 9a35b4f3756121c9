"""``gatewise report``: a run as one HTML page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import COULD_NOT_RUN, RUNS, probe, runs_option, stop

if TYPE_CHECKING:
    from ..verify.run_files import Run


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
    default=Path("gatewise-report.html"), show_default=True,
)  # fmt: skip
@runs_option
def report(run: Path | None, output: Path, runs: Path) -> None:
    """Turn a RUN (default: the newest) into one self-contained HTML page."""
    write_report(run, output, runs=runs)


def write_report(run: Path | None, output: Path, *, runs: Path = RUNS, quiet: bool = False) -> None:
    """Read a run and write its page; stop with a sentence where that cannot be done."""
    from ..verify.run_files import RunFileError, newest, read

    try:
        from ..reports.page import render
    except ImportError as missing:
        message = (
            f"{missing.name} is not installed; install it with: pip install jinja2 latex2mathml"
        )
        stop(message, COULD_NOT_RUN)
    try:
        folder = run or newest(runs)
        text = render(read(folder.parent if folder.name == "run.json" else folder))
    except RunFileError as error:
        stop(str(error), COULD_NOT_RUN)
    probe(output)
    output.write_text(text, encoding="utf-8")
    if not quiet:
        click.echo(f"report: {output.resolve()}")


def renderer() -> Callable[[Run], str]:
    """Return what makes the page, or say which package is missing."""
    try:
        from ..reports.page import render
    except ImportError as missing:
        message = (
            f"{missing.name} is not installed; install it with: pip install jinja2 latex2mathml"
        )
        stop(message, COULD_NOT_RUN)
    return render
