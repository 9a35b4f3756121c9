"""``gatewise bench decay``: how gradients decay or explode with lag."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from .bench import RunOptions, bench_options
from .common import DIFFERS, DTYPES, number, say

if TYPE_CHECKING:
    from ..bench.decay.rows import DecayRow
    from ..bench.run import BenchRun


def _numbers(
    kind: type[int] | type[float], least: float
) -> Callable[[click.Context, click.Parameter, str | None], list[float]]:
    """Return a callback that parses numbers with commas between them; no text is an empty list."""

    def read(ctx: click.Context, param: click.Parameter, text: str | None) -> list[float]:
        try:
            numbers = [kind(part) for part in text.split(",")] if text else []
        except ValueError:
            numbers = [math.nan]
        if not all(least <= number < math.inf for number in numbers):
            raise click.BadParameter(f"{text!r}: expected numbers of at least {least:g}, "
                                     "with commas between them")  # fmt: skip
        return list(numbers)

    return read


@click.command("decay")
@click.argument("cells", metavar="[CELL]...", nargs=-1)
@click.option("--steps", type=click.IntRange(min=10), help="Lags.  [default: 200]")
@click.option("--seeds", type=click.IntRange(min=1), help="Draws of every setting.  [default: 20]")
@click.option("--hidden", callback=_numbers(int, 1), metavar="H,...",
              help="State widths; the first is the usual one.  [default: 32,16,64]")  # fmt: skip
@click.option("--gains", callback=_numbers(float, 0), metavar="G,...",
              help="U ~ N(0, G²/H).  [default: 0.5,1,2,3,4]")  # fmt: skip
@click.option("--forget-biases", callback=_numbers(float, -100), metavar="B,...",
              help="Biases of the gate that keeps the state.  [default: 0,1,2,5]")  # fmt: skip
@click.option("--lyapunov-steps", type=click.IntRange(min=20),
              help="Steps of the Lyapunov exponents.  [default: 200]")  # fmt: skip
@click.option("--subject", "subjects", multiple=True, metavar="SUBJECT",
              help="Only measure the gradients of this layer (see: gatewise subjects); "
              "may be repeated.")  # fmt: skip
@click.option("--dtype", "dtypes", multiple=True, type=click.Choice(DTYPES),
              help="Their dtype; may be repeated.  [default: float64, float32]")  # fmt: skip
@click.option("--full", is_flag=True,
              help="All cells, 1000 lags, 50 seeds, an adjoint of 10^6 steps: hours.")  # fmt: skip
@bench_options
def command(options: RunOptions, **settings: Any) -> None:
    """Measure how gradients decay or explode with lag, CELL by CELL (default: all).

    First, what is measured is held to what theory says; exit code 1 if it is not so. Then every
    cell at gain 1 and forget bias 1, and rnn, lstm and gru (or the cells that are named) with one
    of gain, forget bias and width varied: norms of gradients against lag, Lyapunov exponents,
    products of Jacobians, where float16, float32 and float64 lose the gradient, and clipping.

    With --subject: the gradient that a layer itself computes, against lag, beside the reference's.
    """
    from ..bench.decay import plan as decay

    run = options.carry_out(decay.KIND, decay.plan, settings, _print_results)
    if any(row.get("passed") is False for row in run.rows):
        sys.exit(DIFFERS)


def _print_results(run: BenchRun) -> None:
    from ..bench.decay.rows import of_kind

    _print(
        ("validation", "expected", "measured", "digits", ""),
        [
            (row.id.partition("/")[2], number(row.expected, 8), number(row.measured, 8),
             "a bound" if row.digits is None else f"{row.digits:.1f}",
             "holds" if row.passed else "DOES NOT HOLD")
            for row in of_kind(run.rows, "validation")
        ],
    )  # fmt: skip
    _print(
        ("setting", "rate per step", "95 %", "half-life", "", "λ₁", "sum-rule residual", "at rest",
         "theory"),
        [_row(row) for row in of_kind(run.rows, "decay")],
    )  # fmt: skip
    _print_losses(run)
    _print(
        ("layer", "dtype", "H", "rate per step", "is half wrong from lag", "is zero from lag"),
        [
            (row.subject, row.dtype, str(row.hidden), number(row.rate.value),
             *(f"> {row.lags[-1]}" if lag is None else str(lag) for lag in (row.wrong, row.zero)))
            for row in of_kind(run.rows, "layer")
        ],
    )  # fmt: skip
    for row in of_kind(run.rows, "cost"):
        say(
            f"adjoint of an LSTM, H {row.hidden}, over {row.steps} steps: "
            f"{1e6 * row.adjoint_step:.0f} µs a step, {row.ratio:.2f} times a plain step; "
            f"gradient 10^{row.log10_norm:.0f}"
        )
    for row in [row for row in run.rows if row["status"] != "OK"]:
        click.echo(f"{row['id']}: not measured: {row.get('message', '')}")


def _row(row: DecayRow) -> tuple[str, ...]:
    rate, spectrum = row.rate, row.spectrum
    interval = "" if rate.low is None else f"{rate.low:.4f} to {rate.high:.4f}"
    first = spectrum.exponents[0] if spectrum else None
    return (
        row.id.partition("/")[2], number(rate.value), interval, number(row.half_life, 3),
        row.sense, number(first), spectrum.missed if spectrum else "",
        number(row.rest.value if row.rest else None), number(row.rest_theory),
    )  # fmt: skip


def _print_losses(run: BenchRun) -> None:
    from ..bench.decay.rows import of_kind

    lags = [
        (row.id.partition("/")[2], loss.dtype,
         *map(loss.text, (loss.all_subnormal, loss.wrong, loss.zero, loss.overflow)))
        for row in (*of_kind(run.rows, "decay"), *of_kind(run.rows, "clipping"))
        for loss in row.losses
    ]  # fmt: skip
    headings = ("first lag at which the gradient", "dtype", "is subnormal", "is half wrong",
                "is zero", "overflows")  # fmt: skip
    _print(headings, lags)


def _print(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, unless it has no rows."""
    from ..reports.terminal import print_rows

    if rows:
        print_rows(headings, rows)
