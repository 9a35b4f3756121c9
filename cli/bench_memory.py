"""``gatewise bench memory``: success on long-range tasks against lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .bench import RunOptions, bench_options
from .common import say

if TYPE_CHECKING:
    from ..bench.run import BenchRun


@click.command("memory")
@click.option("--task", "tasks", multiple=True, help="adding, copy, counting; default: all.")
@click.option("--cell", "cells", multiple=True, help="rnn, gru, lstm, lstm+1; default: all.")
@click.option("--lag", "lags", multiple=True, type=click.IntRange(min=2), metavar="STEPS",
              help="Steps between an input and the output that depends on it.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1), help="Trainings of each kind.")
@click.option("--updates", type=click.IntRange(min=1), default=400, show_default=True,
              help="Steps of the optimiser.")  # fmt: skip
@click.option("--parameters", type=click.IntRange(min=1), default=1500, show_default=True,
              help="Parameters of each layer, with its read-out.")  # fmt: skip
@click.option("--full", is_flag=True, help="Seven lags to 256, ten seeds: hours.")
@bench_options
def command(options: RunOptions, **settings: Any) -> None:
    """Train small layers on long-range tasks: success rate against lag.

    The sum of two numbers that are far apart (adding), a string after a pause (copy), and whether
    there were as many b as a (counting). Layers have the same number of parameters.
    """
    from ..bench.memory import plan as memory

    options.carry_out(memory.KIND, memory.plan, settings, _print_results)


def _print_results(run: BenchRun) -> None:
    from ..bench.memory.plan import rows, summaries
    from ..bench.memory.tasks import TASKS
    from ..reports.terminal import print_rows

    shares = [
        (s.task, s.cell, str(s.lag), f"{s.median:.0%}", f"{s.least:.0%} to {s.most:.0%}",
         f"{s.solved:.0%} ({s.low:.0%} to {s.high:.0%})", f"{TASKS[s.task].guessing:.0%}")
        for s in summaries(rows(run.rows))
    ]  # fmt: skip
    headings = ("task", "cell", "lag", "right, median", "over seeds", "seeds that learned it",
                "by guessing")  # fmt: skip
    print_rows(headings, shares)
    untested = [row for row in run.rows if row["status"] != "OK"]
    if untested:
        say(f"not tested: {len(untested)} of {len(run.planned)}: {untested[0].get('message', '')}")
