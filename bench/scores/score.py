"""The common parts of scores: options, rows on several processors, tables, Markdown, JSON."""

from __future__ import annotations

import json
import os
import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from ...verify.runs.provenance import machine, versions

R = TypeVar("R")
Work = tuple[Callable[..., R], tuple[Any, ...]]
"""A piece of work: a function that returns a row, and its arguments."""

Columns = Mapping[str, Callable[[Any], str]]
"""The columns of a table: headings, and the function that makes a cell from a row."""


def results(todo: Sequence[Work[R]], jobs: int) -> list[R]:
    """Return all rows; print each on standard error as soon as it is done."""
    rows = []
    for row in _in_any_order(todo, jobs):
        rows.append(row)
        click.echo(f"{len(rows)}/{len(todo)} {row!s:.100}", err=True)
    return rows


def _in_any_order(todo: Sequence[Work[R]], jobs: int) -> Iterator[R]:
    if jobs == 1:
        yield from (function(*arguments) for function, arguments in todo)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for future in as_completed(pool.submit(function, *values) for function, values in todo):
            yield future.result()


T = TypeVar("T")


def in_turns(entries: Iterable[T], group: Callable[[T], Hashable], seed: int) -> Iterator[T]:
    """Yield all entries in random order, one of every group before a second of any."""
    rng, groups = random.Random(seed), defaultdict[Hashable, list[T]](list)  # noqa: S311
    for entry in entries:
        groups[group(entry)].append(entry)
    waiting = list(groups.values())
    for members in waiting:
        rng.shuffle(members)
    while waiting:
        rng.shuffle(waiting)
        yield from (members.pop() for members in waiting)
        waiting = [members for members in waiting if members]


@dataclass(frozen=True, kw_only=True)
class Duration:
    """The time for a layer: seconds of the checks, and then of the diagnosis.

    ``cpu_seconds`` is the processor time of the latter.
    """

    check_seconds: float
    seconds: float
    cpu_seconds: float


def durations(rows: Sequence[Duration]) -> dict[str, float]:
    """Return medians and the longest, for totals."""
    return {
        "median seconds": round(median(r.seconds for r in rows), 1),
        "longest seconds": round(max(r.seconds for r in rows), 1),
        "median CPU seconds": round(median(r.cpu_seconds for r in rows), 1),
        "longest CPU seconds": max(r.cpu_seconds for r in rows),
        "median seconds with checks": round(median(r.seconds + r.check_seconds for r in rows), 1),
    }


sample_option = click.option(
    "--sample", type=click.IntRange(min=1), help="That many, at random; else all."
)
seed_option = click.option("--seed", default=0, show_default=True, help="Of what is drawn.")
jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True,
    help="Processes at a time.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
table_option = click.option(
    "--table", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the rows into this file, as a Markdown table.",
)  # fmt: skip
misses_option = click.option(
    "--misses", type=click.Path(path_type=Path, dir_okay=False),
    help="Write what was missed into this file, as a Markdown table.",
)  # fmt: skip


def sampled(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a score over a sample: --sample, --seed, --jobs, --misses and --json."""
    for option in (json_option, misses_option, jobs_option, seed_option, sample_option):
        command = option(command)
    return command


def print_table(title: str, columns: Columns, rows: Sequence[Any]) -> None:
    """Print rows as a table, if there are any."""
    if not rows:
        return
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(cell(row) for cell in columns.values()))
    Console(width=160).print(table, markup=False)


def counted(totals: Mapping[str, object]) -> str:
    """Return totals as a line."""
    return ", ".join(f"{name} {value}" for name, value in totals.items())


def print_json(**scores: Any) -> None:
    """Print the scores as JSON, with the versions and the machine."""
    document = {**scores, "versions": versions(), "machine": machine()}
    click.echo(json.dumps(document, indent=1, default=asdict))


def print_rows(
    title: str, columns: Columns, rows: Sequence[Any], *, as_json: bool, **more: Any
) -> None:
    """Print rows as a table, or as JSON together with ``more``."""
    if as_json:
        print_json(rows=rows, **more)
    else:
        print_table(title, columns, rows)


def made_by(command: str) -> str:
    """Return the command that makes a table, and the versions and machine that made this one."""
    packages = ", ".join(f"{name} {value}" for name, value in versions().items())
    return (f"Made by `python -m gatewise.bench.scores.{command}`; {packages};\n"
            f"{', '.join(machine().values())}.")  # fmt: skip


def layer_of_text(text: str) -> Any:
    """Return the class ``Layer`` that one of our own texts defines."""
    namespace: dict[str, Any] = {"__name__": "layer"}
    exec(text, namespace)  # noqa: S102
    return namespace["Layer"]


def tell(
    title: str,
    columns: Columns,
    rows: Sequence[Any],
    totals: Mapping[str, object],
    *,
    missed: Callable[[Any], bool],
    misses: Path | None,
    as_json: bool,
) -> None:
    """Print the rows that are ``missed``, and totals; write the former into the file ``misses``."""
    shown = [row for row in rows if missed(row)]
    if misses:
        write_table(misses, f"{title}: {len(shown)} of {len(rows)} missed", columns, shown)
    if as_json:
        print_json(rows=rows, totals=totals)
        return
    print_table("missed", columns, shown)
    click.echo(f"{title}: {counted(totals)}")


def write_table(
    path: Path, title: str, columns: Columns, rows: Iterable[Any], below: str = ""
) -> None:
    """Write a Markdown table, with text below it."""
    lines = [_line(columns), _line(["---"] * len(columns))]
    lines += [_line([cell(row) for cell in columns.values()]) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"# {title}", "", *lines, below]), encoding="utf-8")


def _line(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"
