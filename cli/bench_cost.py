"""``gatewise bench cost``: the operations, words and bytes that layers need, counted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import DIFFERS, DTYPES, json_option, or_usage, print_json, say

if TYPE_CHECKING:
    from ..bench.cost.layer import CostRow

DEFAULT = "T=100,B=64,D=512,H=512"
STORED = tuple(name for name in DTYPES if name != "tf32")  # whose arrays are of float32
OPERATIONS: dict[str, Callable[[CostRow], str]] = {
    "cell": lambda r: r.cell,
    "parameters": lambda r: f"{r.parameters:,}",
    "forward Mflop": lambda r: f"{r.forward / 1e6:,.5g}",
    "recurrent Mflop": lambda r: f"{r.recurrent / 1e6:,.5g}",
    "training Mflop": lambda r: f"{r.training / 1e6:,.5g}",
    "in turn": lambda r: f"{100 * r.sequential / r.training:.0f} %",
    "flop/unit": lambda r: f"{r.pointwise / r.units:.3g}",
    "act./unit": lambda r: f"{r.activations / r.units:.3g}",
    "in a row": lambda r: str(r.chain),
}
MEMORY: dict[str, Callable[[CostRow], str]] = {
    "cell": lambda r: r.cell,
    "kept/unit": lambda r: f"{r.kept / r.units:.3g}",
    "kept MB": lambda r: f"{r.kept * r.word / 1e6:.3g}",
    "moved MB": lambda r: f"{r.moved / 1e6:.3g}",
    "streamed MB": lambda r: f"{r.streamed / 1e6:.3g}",
    "flop/byte": lambda r: f"{r.intensity:.2g}",
}
LEGEND = """\
forward: all products, 2 G H (D + H) B T, as oneDNN counts. recurrent: without those of the input,
2 G H H B T, as DeepBench counts. in turn: the part of training's products that must wait for the
step before. in a row: products that wait for each other within a step. kept: words for the backward
pass. moved: the least traffic of the forward pass if the recurrent weights are read once; streamed:
at every step. flop/byte: of the recurrence, streamed."""


@click.command("cost")
@click.argument("names", metavar="[CELL]...", nargs=-1)
@click.option("--shapes", default=DEFAULT, show_default=True, metavar="GRID",
              help="Sizes, all combinations of H=64/128,B=1,T=50.")  # fmt: skip
@click.option("--dtype", type=click.Choice(STORED), default="float32", show_default=True)
@click.option("--against", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              metavar="FILE", help="What --json printed before: exit code 1 if a count has "
              "changed.")  # fmt: skip
@json_option
def command(
    names: Sequence[str], shapes: str, dtype: str, against: Path | None, as_json: bool
) -> None:
    """Count operations, bytes, parameters and what is kept for the gradient.

    CELLs are those of: gatewise cells. Everything is counted on the cells' own equations, nothing
    is measured, so the numbers are the same everywhere and CI can hold them.
    """
    from ..bench.cost.layer import changes, row
    from ..bench.cost.shape import grid
    from ..reference.cells import gating_cell, gating_cells

    chosen = or_usage(lambda: [gating_cell(n) for n in names] or list(gating_cells().values()))
    sizes = or_usage(lambda: grid(shapes))
    rows = [row(cell, shape, dtype) for shape in sizes for cell in chosen]
    if as_json:
        print_json(rows, ensure_ascii=True)
    else:
        _print_rows(rows)
    if against is not None:
        changed = changes(_read(against), rows)
        for sentence in changed:
            click.echo(sentence, err=True)
        if changed:
            sys.exit(DIFFERS)


def _print_rows(rows: Sequence[CostRow]) -> None:
    from ..reports.terminal import print_rows

    for shape in dict.fromkeys(r.shape for r in rows):
        alike = [r for r in rows if r.shape == shape]
        click.echo(f"{shape} {rows[0].dtype}")
        for columns in (OPERATIONS, MEMORY):
            rows_of = [[cell(r) for cell in columns.values()] for r in alike]
            print_rows([*columns], rows_of)
    say(LEGEND)


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of an earlier ``--json`` output."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{path}: not JSON ({error})") from error
    keys = {"cell", "shape", "dtype"}
    if not isinstance(rows, list) or not all(
        isinstance(r, dict) and keys <= r.keys() for r in rows
    ):
        raise click.UsageError(f"{path}: expected what gatewise bench cost --json prints")
    return rows
