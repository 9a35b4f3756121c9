"""``gatewise bench memory``: what layers learn to remember, against how long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .bench import bench_options, carry

if TYPE_CHECKING:
    from ..bench.run import BenchRun


@click.command("memory")
@click.option("--task", "tasks", multiple=True, help="adding, copy, counting; default: all.")
@click.option("--cell", "cells", multiple=True, help="rnn, gru, lstm, lstm+1; default: all.")
@click.option("--lag", "lags", multiple=True, type=click.IntRange(min=2), metavar="STEPS",
              help="Steps between what is seen and what depends on it.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1), help="Trainings of each kind.")
@click.option("--updates", type=click.IntRange(min=1), default=400, show_default=True,
              help="Steps of the optimiser.")  # fmt: skip
@click.option("--parameters", type=click.IntRange(min=1), default=1500, show_default=True,
              help="What each layer may have, with its read-out.")  # fmt: skip
@click.option("--full", is_flag=True, help="Seven lags to 256, ten seeds: hours.")
@bench_options
def command(
    tasks: Sequence[str],
    cells: Sequence[str],
    lags: Sequence[int],
    seeds: int | None,
    updates: int,
    parameters: int,
    full: bool,
    seed: int,
    runs: Path,
    resume: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Train small layers on long-range tasks: success rate against lag.

    The sum of two numbers that are far apart (adding), a string after a pause (copy), and whether
    there were as many b as a (counting). Layers have the same number of parameters.
    """
    from ..bench.memory import plan as memory

    size = (memory.FULL_LAGS, memory.FULL_SEEDS) if full else (memory.LAGS, memory.SEEDS)
    settings = {
        "lags": list(lags or size[0]),
        "seeds": seeds or size[1],
        "updates": updates,
        "parameters": parameters,
        **({"tasks": list(tasks)} if tasks else {}),
        **({"cells": list(cells)} if cells else {}),
    }
    carry(memory.KIND, memory.plan, settings, _tell,
          seed=seed, runs=runs, resume=resume, page=page, as_json=as_json)  # fmt: skip


def _tell(run: BenchRun) -> None:
    from ..bench.memory.plan import rows, summaries
    from ..bench.memory.tasks import TASKS
    from ..reports.terminal import print_rows

    found = [
        (s.task, s.cell, str(s.lag), f"{s.median:.0%}", f"{s.least:.0%} to {s.most:.0%}",
         f"{s.solved:.0%} ({s.low:.0%} to {s.high:.0%})", f"{TASKS[s.task].guessing:.0%}")
        for s in summaries(rows(run.rows))
    ]  # fmt: skip
    headings = ("task", "cell", "lag", "right, median", "over seeds", "seeds that learned it",
                "by guessing")  # fmt: skip
    print_rows(headings, found, as_json=False)
    left = [row for row in run.rows if row["status"] != "OK"]
    if left:
        click.echo(f"not tested: {len(left)} of {len(run.planned)}: {left[0].get('message', '')}")
