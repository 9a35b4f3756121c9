"""``gatewise bench speed``: the speed of layers that have proven right."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from .bench import RunOptions, bench_options
from .common import COULD_NOT_RUN, DIFFERS, Seconds, number, say

if TYPE_CHECKING:
    from ..bench.run import BenchRun
    from ..bench.speed.analysis import Row

COLUMNS = ("shape", "contender", "pass", "status", "error", "median ms", "95 %", "us/step",
           "GFLOP/s", "ceiling", "bound by", "MB", "/formula", "first s", "as fast")  # fmt: skip


def _parts(ctx: click.Context, param: click.Parameter, text: str) -> list[str]:
    """Split words with commas between them."""
    return [part.strip() for part in text.split(",") if part.strip()]


@click.command("speed")
@click.argument("subjects", metavar="[SUBJECT]...", nargs=-1)
@click.option("--cell", "cells", multiple=True, metavar="CELL",
              help="Only this cell (see: gatewise cells); may be repeated.")  # fmt: skip
@click.option("--shapes", multiple=True, metavar="NAME|GRID",
              help="A named set, or sizes: H=64/128,B=1/16,T=50 are four shapes; D, L layers and "
              "N directions as wanted.")  # fmt: skip
@click.option("--pass", "passes", default="", callback=_parts, metavar="PASS[,...]",
              help="forward, backward, backward-data, training.")  # fmt: skip
@click.option("--dtype", "dtypes", default="", callback=_parts, metavar="DTYPE[,...]",
              help="float32, float64, float16, bfloat16.")  # fmt: skip
@click.option("--full", is_flag=True,
              help="More shapes, float64, all passes, every framework: some hours.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--baseline", default="", metavar="SUBJECT", help="The subject to compare with.")
@click.option("--like", metavar="CLASS", help="torch.nn.LSTM, GRU or RNN, for a class of your own.")
@click.option("--longest", type=Seconds(), metavar="SECONDS",
              help="A call that takes longer is not timed.")  # fmt: skip
@click.option("--timeout", type=Seconds(1), default=600.0, show_default=True,
              help="Seconds for all contenders of a shape.")  # fmt: skip
@click.option("--memory", type=click.IntRange(min=0), default=4096, show_default=True,
              help="MiB that they may take; 0 for no limit.")  # fmt: skip
@bench_options
def command(options: RunOptions, **settings: Any) -> None:
    """Time layers forward, backward and in training, each after it has proven right.

    SUBJECTs are numpy:CELL, numpy-fast:lstm, torch-native:LSTM, torch-onednn:LSTM,
    torch-compile:LSTMCell, cudnn:LSTM, or any of: gatewise subjects; FAMILY:* are all of a family.
    ladder:* are six ways to compute an LSTM in NumPy, each one step faster than the one before;
    --shapes ladder has sizes that tell them apart.
    Those of one cell take turns, in a process of their own. By default: the reference and PyTorch
    in a few shapes, some four minutes. Exit code 1 if one is WRONG, 3 if nothing could be timed.
    """
    from ..bench.speed import rows
    from ..bench.speed.plan import plan

    run = options.carry_out("speed", plan, settings, _print_results)
    entries = [entry for group in rows.groups(run) for entry in group.entries]
    if any(entry.status == rows.WRONG for entry in entries):
        sys.exit(DIFFERS)
    if not any(entry.timing for entry in entries):
        sys.exit(COULD_NOT_RUN)


def _print_results(run: BenchRun) -> None:
    from ..bench.speed.analysis import analysed
    from ..bench.speed.plan import Wanted, left_out
    from ..reports.section import grouped
    from ..reports.sections import ladder
    from ..reports.terminal import print_rows

    analyses = analysed(run)
    _print_machine(run)
    for cell, dtype in dict.fromkeys((r.group.cell, r.group.dtype) for r in analyses):
        alike = [r for r in analyses if (r.group.cell, r.group.dtype) == (cell, dtype)]
        rows = [_cells(r) for r in alike if r.entry.timing]
        against = " and ".join(sorted({r.baseline for r in alike if r.baseline}))
        click.echo(f"\n{cell} {dtype}{f', as fast as {against}' if against else ''}")
        if rows:
            print_rows(COLUMNS, rows)
    if rungs := ladder.table(analyses):
        click.echo("\nThe ladder, counts of one call")
        counts = [[str(cell) for cell in row[:-1]] for row in rungs.rows]  # without what is new
        print_rows(rungs.headings[:-1], counts)
    untimed = [r.entry for r in analyses if r.entry.message]
    for reason, names in grouped((f"{e.status}: {e.message}", e.subject) for e in untimed).items():
        say(f"{', '.join(dict.fromkeys(names))}: {reason}")
    statuses = Counter(r.entry.status for r in analyses)
    say(", ".join(f"{count} {status}" for status, count in statuses.items()))
    for omission in left_out(Wanted.checked(**run.settings)):
        say(f"left out: {omission}; --full measures more")


def _print_machine(run: BenchRun) -> None:
    """Print the machine's ceilings, and the noise of its times."""
    from ..bench.speed import rows

    machine = rows.piece(run, rows.CEILINGS)
    for name, value in machine.get("ceilings", {}).items():
        click.echo(f"{name}: {value:.3g}")
    environment = ", ".join(f"{k} {v}" for k, v in machine.get("environment", {}).items())
    say(f"threads {run.settings.get('threads')}; {environment}")
    click.echo(f"A/A noise floor: {100 * rows.floor(run):.1f} %")
    say(
        "GFLOP/s: all products, 2 G H (D + H) B T forward, as oneDNN counts; DeepBench leaves out "
        "those of the input. ceiling: the time of the same products alone, over the time."
    )


def _cells(r: Row) -> tuple[str, ...]:
    """Return the cells of a timed row, in the order of ``COLUMNS``."""
    entry, timing, gate, c = r.entry, r.entry.timing, r.entry.gate, r.comparison
    assert timing is not None  # noqa: S101
    errors = [e for e in (gate.outputs, gate.gradients) if e is not None] if gate else []
    algorithm = entry.algorithm  # shown where the name does not imply it
    plain = not algorithm or algorithm.lower() in entry.subject or entry.subject.endswith("Cell")
    return (
        str(r.shape), entry.subject if plain else f"{entry.subject} ({algorithm})", entry.of,
        entry.status, f"{max(errors):.1e}" if errors else "", f"{1e3 * timing.median:.3g}",
        f"{1e3 * timing.low:.3g}-{1e3 * timing.high:.3g}", number(r.us_per_step, 3),
        number(r.gflops, 3), f"{100 * r.share:.0f} %" if r.share is not None else "", r.regime,
        number(entry.peak and entry.peak / 1e6, 3), number(r.memory, 3), number(entry.first, 3),
        f"{c.verdict} {1 / c.ratio:.2f} [{1 / c.high:.2f}, {1 / c.low:.2f}]" if c else "",
    )  # fmt: skip
