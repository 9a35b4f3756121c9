"""``gatewise bench ladder``: how an LSTM is made fast, one step after the other."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .bench import bench_options, carry
from .common import DIFFERS

if TYPE_CHECKING:
    from ..bench.ladder.analysis import Step
    from ..bench.ladder.measuring import Row
    from ..bench.run import BenchRun

COLUMNS = ("rung", "µs/step", "95 %", "times as fast as below", "", "as the first", "products/step",
           "calls/step", "arrays/step", "peak MB", "kept MB", "error/bound", "")  # fmt: skip


@click.command("ladder")
@click.option("--size", "sizes", multiple=True, metavar="T,B,D,H",
              help="Steps, rows, width of the input, of the state; again for more.")  # fmt: skip
@click.option("--dtype", type=click.Choice(["float64", "float32"]), default="float64",
              show_default=True)  # fmt: skip
@click.option("--effort", type=click.Choice(["quick", "standard", "thorough"]), default="standard",
              show_default=True, help="How long to measure.")  # fmt: skip
@click.option("--full", is_flag=True, help="Six sizes: minutes.")
@bench_options
def command(
    sizes: Sequence[str],
    dtype: str,
    effort: str,
    full: bool,
    seed: int,
    runs: Path,
    resume: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Measure six ways to compute an LSTM in NumPy, each one step faster than the one before.

    Four products, one product, the input's product for all steps at once, results written in
    place, gradients of weights for all steps at once, gate by gate in memory. Each is proven equal
    to the reference and to the one before; one that is wrong gets no time, and exit code 1.
    """
    from ..bench.ladder import plan as ladder

    chosen = sizes or (ladder.FULL if full else ladder.SIZES)
    settings = {"sizes": list(chosen), "dtype": dtype, "effort": effort}
    run = carry(ladder.KIND, ladder.plan, settings, _tell,
                seed=seed, runs=runs, resume=resume, page=page, as_json=as_json)  # fmt: skip
    if any(row["status"] == "WRONG" for row in run.rows):
        sys.exit(DIFFERS)


def _tell(run: BenchRun) -> None:
    from ..bench.ladder.analysis import analysed, rows
    from ..bench.ladder.measuring import PASSES
    from ..reports.terminal import print_rows

    found = rows([run])
    steps = analysed(found)
    for row in found:
        for of in PASSES:
            click.echo(f"\n{row.id} {of}; noise floor (A/A) {100 * row.floor.get(of, 0):.1f} %")
            told = [_told(s) for s in steps if (s.size, s.of) == (row.size, of)]
            print_rows(COLUMNS, told, as_json=False)
        _tell_wrong(row)
    if found:
        said = ", ".join(f"{name} {value}" for name, value in found[-1].environment.items())
        click.echo(f"one thread; {said}")


def _told(step: Step) -> tuple[str, ...]:
    from ..bench.ladder.analysis import times_as_fast

    counts, T, (median, low, high) = step.counts, step.size.T, step.microseconds
    gain, first = step.gain, step.speed_up
    proof = step.rung.proof
    return (
        f"{step.place} {step.rung.name}",
        _microseconds(median),
        f"{_microseconds(low)}-{_microseconds(high)}",
        "{:.2f} ({:.2f}-{:.2f})".format(*times_as_fast(gain)) if gain else "",
        gain.verdict if gain else "",
        "{:.2f} ({:.2f}-{:.2f})".format(*first),
        f"{counts.products / T:.3g}",
        f"{counts.calls / T:.3g}",
        f"{counts.made / T:.3g}",
        f"{counts.peak / 1e6:.3g}",
        f"{counts.kept / 1e6:.3g}",
        f"{proof.error:.2g}" if proof else "",
        step.timing.status,
    )


def _microseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _tell_wrong(row: Row) -> None:
    for rung in row.rungs:
        if rung.message:
            click.echo(f"{rung.name}: {rung.status}: {rung.message}")
