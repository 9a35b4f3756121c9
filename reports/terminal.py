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
    table = Table("subject", "check", "dtype", "status", "cases", "error/bound", "worst in")
    for v in verdicts:
        ratio = "" if v.worst_ratio is None else f"{v.worst_ratio:.3g}"
        status = Text(v.status, style=STYLES[v.status])
        table.add_row(v.subject, v.check, v.dtype, status, str(v.cases), ratio, v.worst)
    return table


def tell_failures(verdicts: Sequence[Verdict]) -> None:
    """Print what is wrong, in which case, and the command that makes it again."""
    for v in verdicts:
        if v.status != "passed":
            click.echo(f"\n{v.subject} {v.check} {v.dtype}: {v.status}: {v.message}")
        if v.reproduce:
            click.echo(f"  equations: {', '.join(v.equations)}\n  again: {v.reproduce}")


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    """Print rows as a table, or as JSON objects."""
    if as_json:
        objects = [dict(zip(columns, row, strict=True)) for row in rows]
        click.echo(json.dumps(objects, indent=1, ensure_ascii=False))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))
    print_table(table)


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal, or as wide as it needs where there is none."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
