"""Tables and progress on a terminal; plain text when it is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..verify.runner import Verdict

STYLES = {
    "passed": "green",
    "failed": "bold red",
    "crashed": "bold red",
    "blind": "yellow",
    "not tested": "dim",
}


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar on standard error while the block runs; call the result after each item."""
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("starting", total=total)

        def advance(name: str) -> None:
            bar.update(task, advance=1, description=name)

        yield advance


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Return one row a verdict."""
    table = Table()
    for column in ("subject", "check", "dtype", "status", "sharp cases", "error/bound", "worst in"):
        table.add_column(column, overflow="fold")
    for v in verdicts:
        ratio = "" if v.worst_ratio is None else f"{v.worst_ratio:.3g}"
        status = Text(v.status, style=STYLES[v.status])
        table.add_row(
            v.subject,
            v.check,
            v.dtype,
            status,
            f"{v.cases - v.blind_cases} of {v.cases}",
            ratio,
            v.worst,
        )
    return table


def tell_failures(verdicts: Sequence[Verdict]) -> None:
    """Print what is wrong, in which case, and the command that makes it again."""
    told = set()
    for v in verdicts:
        said = (v.subject, v.status, v.message)
        if v.status == "passed" or (v.status == "not tested" and said in told):
            continue
        told.add(said)
        where = v.subject if v.status == "not tested" else f"{v.subject} {v.check} {v.dtype}"
        click.echo(f"\n{where}: {v.status}: {v.message}")
        if v.reproduce:
            click.echo(f"  equations: {', '.join(v.equations)}\n  again: {v.reproduce}")
    click.echo()


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    """Print rows as a table, or as JSON objects."""
    if as_json:
        objects = [dict(zip(columns, row, strict=True)) for row in rows]
        click.echo(json.dumps(objects, indent=1, ensure_ascii=False))
        return
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    print_table(table)


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal, or as wide as it needs where there is none."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
