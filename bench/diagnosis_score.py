"""How often the diagnosis names the mistake: alone, two together, and one that nobody knows.

``python -m gatewise.bench.diagnosis_score [--mutants] [--pairs N] [--unknown]`` diagnoses every
mutant of the catalogue in each of its cells, N random pairs of them, and the mistakes of
``unknown_mistakes``, for which the right answer is that nothing known explains them. It prints
what was missed, and totals. Without any of the three, all are scored, with 100 pairs.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from ..verify.mutants import mutants
from ..verify.provenance import machine, versions
from .diagnosis_rows import (
    IN_CLASS,
    MISSED,
    ONE,
    TOP,
    Row,
    mutant_row,
    pair_row,
    pairs,
    unknown_row,
)
from .unknown_mistakes import unknown_mistakes

PAIRS = 100

GOOD = {"mutant": (TOP,), "pair": (TOP, IN_CLASS, ONE), "unknown": (TOP,)}
"""What counts as right in the totals."""

Work = tuple[Callable[..., Row], tuple[object, ...]]


def work(*, all_mutants: bool, count: int, all_unknown: bool, seed: int) -> Iterator[Work]:
    """Yield what is to be scored, each as a function and its arguments."""
    if all_mutants:
        for mutant in mutants():
            yield from ((mutant_row, (mutant.id, cell)) for cell in mutant.cells)
    yield from ((pair_row, pair) for pair in pairs(count, seed))
    if all_unknown:
        yield from ((unknown_row, (one.id,)) for one in unknown_mistakes())


def score(todo: Sequence[Work], jobs: int) -> Iterator[Row]:
    """Yield rows as they are found."""
    if jobs == 1:
        yield from (function(*arguments) for function, arguments in todo)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed(pool.submit(function, *given) for function, given in todo):
            yield done.result()


def totals(rows: Iterable[Row]) -> dict[str, dict[str, object]]:
    """Return counts and seconds for each kind of row."""
    found: dict[str, dict[str, object]] = {}
    kinds = dict.fromkeys(row.kind for row in rows)
    for kind in kinds:
        mine = [row for row in rows if row.kind == kind]
        seconds = [row.seconds for row in mine]
        right = sum(row.result in GOOD[kind] for row in mine)
        found[kind] = {
            "rows": len(mine),
            "right": right,
            "percent": round(100 * right / len(mine), 1),
            **Counter(row.result for row in mine),
            "located": sum(not row.misplaced for row in mine),
            "median seconds": round(median(seconds), 1),
            "longest seconds": round(max(seconds), 1),
        }
    return found


@click.command()
@click.option("--mutants", "all_mutants", is_flag=True, help="Every mutant, in each of its cells.")
@click.option("--pairs", "count", type=click.IntRange(min=1), help="That many random pairs.")
@click.option("--unknown", "all_unknown", is_flag=True, help="The mistakes that nobody knows.")
@click.option("--seed", default=0, show_default=True, help="Of the pairs.")
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True,
              help="Processes at a time.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def main(
    all_mutants: bool, count: int | None, all_unknown: bool, seed: int, jobs: int, as_json: bool
) -> None:
    """Score and print."""
    if not (all_mutants or count or all_unknown):
        all_mutants, count, all_unknown = True, PAIRS, True
    todo = list(work(all_mutants=all_mutants, count=count or 0, all_unknown=all_unknown, seed=seed))
    rows = []
    for number, row in enumerate(score(todo, jobs), 1):
        rows.append(row)
        click.echo(f"{number}/{len(todo)} {row}", err=True)
    rows.sort(key=lambda row: (row.kind, row.name))
    if as_json:
        told = {"rows": [asdict(row) for row in rows], "totals": totals(rows)}
        click.echo(json.dumps(told | {"versions": versions(), "machine": machine()}, indent=1))
        return
    _print(rows)


def _print(rows: Sequence[Row]) -> None:
    """Print what is not as it should be, then the totals."""
    console = Console(width=160)
    missed = [row for row in rows if row.result != TOP]
    table = Table("", "is wrong", "", "explanations", "seconds", title="not named first")
    for row in missed:
        told = ", ".join(row.explanations) or row.message
        table.add_row(row.kind, row.name, row.result, told, f"{row.seconds:.1f}")
    console.print(table)
    table = Table("is wrong", "found in", "what is wrong with that", title="in the wrong place")
    for row in rows:
        if row.misplaced:
            table.add_row(row.name, row.location, row.misplaced)
    console.print(table)
    for kind, numbers in totals(rows).items():
        console.print(f"{kind}: " + ", ".join(f"{v} {k}" for k, v in numbers.items()))
    for row in rows:
        if row.kind == "unknown" and row.result == MISSED:
            console.print(f"wrong story of {row.name}: {row.story}")


if __name__ == "__main__":
    main()
