"""What the scores have in common: a sample, rows on several processors, what was missed."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

import click

R = TypeVar("R")
Work = tuple[Callable[..., R], tuple[Any, ...]]
"""What is to be scored: a function that returns a row, and its arguments."""


def scored(todo: Sequence[Work[R]], jobs: int) -> Iterator[R]:
    """Yield rows as they are found."""
    if jobs == 1:
        yield from (function(*arguments) for function, arguments in todo)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed(pool.submit(function, *given) for function, given in todo):
            yield done.result()


T = TypeVar("T")


def in_turns(entries: Iterable[T], group: Callable[[T], Hashable], seed: int) -> Iterator[T]:
    """Yield all entries at random, one of every group before a second of any."""
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


sample_option = click.option(
    "--sample", type=click.IntRange(min=1), help="That many, at random; else all."
)
seed_option = click.option("--seed", default=0, show_default=True, help="Of the sample.")
jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True,
    help="Processes at a time.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
misses_option = click.option(
    "--misses", type=click.Path(path_type=Path, dir_okay=False),
    help="Write what was missed into this file, as a Markdown table.",
)  # fmt: skip


def write_table(
    path: Path, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Write a Markdown table."""
    lines = [f"# {title}", "", _line(columns), _line(["---"] * len(columns)), *map(_line, rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _line(cells: Sequence[str]) -> str:
    shown = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(shown)} |"
