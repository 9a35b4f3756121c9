"""``gatewise bench forms``: the rounding errors of forms of a linear recurrence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .bench import RunOptions, bench_options

if TYPE_CHECKING:
    from ..bench.run import BenchRun


@click.command("forms")
@click.option(
    "--cell",
    "cells",
    multiple=True,
    help="A cell that is linear in its state; default: gla, gated-delta, ssd.",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    type=click.IntRange(1, 4096),
    metavar="STEPS",
    help="Steps of a chunk, and of a scan; default: 1 to 128.",
)
@click.option(
    "--decay",
    "decays",
    multiple=True,
    type=click.FloatRange(min=0),
    metavar="RATE",
    help="Mean of -ln of the decay of a step; default: 0.01 to 2.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 4096),
    default=128,
    show_default=True,
    help="Length of sequences.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=4,
    show_default=True,
    help="Sequences of each decay.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    default="float32",
    show_default=True,
)
@bench_options
def command(options: RunOptions, **settings: Any) -> None:
    """Measure the error of chunks, of their quotient form and of scans beside its bound.

    Against the length of chunks and the strength of decay: a form that divides by cumulative decays
    overflows where a chunk keeps less than the smallest number, and its bound says so.
    """
    from ..bench.forms import plan as forms

    options.carry_out(forms.KIND, forms.plan, settings, _print_results)


def _print_results(run: BenchRun) -> None:
    from ..bench.forms.plan import rows
    from ..reports.sections.forms import HEADINGS, worst
    from ..reports.terminal import print_rows

    cells = [
        ["-" if c is None else c if isinstance(c, str) else f"{c:.3g}" for c in row]
        for row in worst(rows(run.rows))
    ]
    print_rows(HEADINGS, cells)
