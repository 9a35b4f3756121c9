"""``gatewise evidence``: published results of cuDNN on GPUs, held to the equations."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .bench import RunOptions, bench_options
from .common import CONFORMS, COULD_NOT_RUN, DIFFERS

if TYPE_CHECKING:
    from ..bench.evidence.plan import LayerRow, MutantRow
    from ..bench.run import BenchRun


@click.command()
@click.option(
    "--mutants",
    is_flag=True,
    help="Also tell which of the known mistakes each sum rejects (about five minutes).",
)
@click.option(
    "--sums",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Sums of your own, in the form of cudnn-sums.json.",
)
@bench_options
def evidence(options: RunOptions, mutants: bool, sums: Path | None) -> None:
    """Hold published sums of cuDNN's results to the equations.

    The bounds are derived. The 44 sums were printed by programs that ran cuDNN on a GPU. No GPU is
    needed to compute them from the equations. The exit code is 0 if all are within their bounds, 1
    if one is not.
    """
    from ..bench.evidence.plan import KIND, layer_rows, plan

    settings = {"path": str(sums) if sums else "", "with_mutants": mutants}
    run = options.carry_out(KIND, plan, settings, _print_results)
    if any(row.beyond for row in layer_rows(run.rows)):
        sys.exit(DIFFERS)
    sys.exit(COULD_NOT_RUN if run.untested else CONFORMS)


def _print_results(run: BenchRun) -> None:
    from ..bench.evidence.plan import layer_rows, mutant_rows

    layers = layer_rows(run.rows)
    sums = sum(len(row.sums) for row in layers)
    beyond = [f"{row.group}, {row.cell}: {name}" for row in layers for name in row.beyond]
    others = f" Beyond them: {'; '.join(beyond)}." if beyond else ""
    click.echo(
        f"{sums - len(beyond)} of {sums} published sums are within their derived bounds.{others}"
    )
    for row in layers:
        click.echo(f"\n{row.group}, {row.cell}")
        click.echo(f"  {'sum':5} {'printed':>13} {'equations':>14} {'difference/allowed':>19}")
        for s in row.sums:
            mark = click.style("  BEYOND THE BOUND", fg="red") if s.quantity in row.beyond else ""
            click.echo(f"  {s.quantity:5} {s.printed:>13} {s.value:14.7E} {s.ratio:19.3f}{mark}")
    if mistakes := mutant_rows(run.rows):
        _print_mutants(layers, mistakes)
    if run.untested:
        click.echo(f"\nnot tested: {', '.join(run.untested)}")


def _print_mutants(layers: list[LayerRow], mistakes: list[MutantRow]) -> None:
    click.echo("\nknown mistakes that a sum rejects")
    for layer in layers:
        of_layer = [m for m in mistakes if (m.group, m.cell) == (layer.group, layer.cell)]
        if not of_layer:
            continue
        counts = ", ".join(
            f"{s.quantity} {sum(s.quantity in m.rejected_by for m in of_layer)}"
            for s in layer.sums
        )  # fmt: skip
        unseen = [m.mutant for m in of_layer if not m.rejected_by]
        click.echo(f"  {layer.group}, {layer.cell}: of {len(of_layer)}: {counts}")
        click.echo(click.wrap_text(f"seen by none: {', '.join(unseen) or 'no mistake'}", 78,
                                   "    ", "    "))  # fmt: skip
