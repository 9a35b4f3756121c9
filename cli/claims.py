"""``gatewise claims``: the documents' claims, each with a verdict and its evidence."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from .bench import RunOptions, bench_options
from .common import CONFORMS, COULD_NOT_RUN, say

if TYPE_CHECKING:
    from ..bench.run import BenchRun

STYLES = {"holds": "green", "holds when": "yellow", "false as printed": "red",
          "not tested": "magenta"}  # fmt: skip

ROLES = {"says": "says", "when": "when", "instead": "true", "ground": "needs"}
"""The labels of findings, by role."""


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--only", metavar="ID,ID", help="The same, separated by commas: C07,C16.")
@click.option("--evidence", is_flag=True,
              help="Tell what was measured, as is done where IDs are given.")  # fmt: skip
@bench_options
def claims(options: RunOptions, ids: list[str], only: str | None, evidence: bool) -> None:
    """Measure whether the claims of the five documents hold.

    Printed numbers are judged, too. All take about two minutes; IDs (C01 ... C27, N1 ... N4, P1 ...
    P4) choose some. A claim that is false is no error: the exit code is 0 if all could be judged,
    and 3 if one could not.
    """
    from ..bench.claims.ledger import plan, rows

    chosen = [*ids, *filter(None, (id.strip() for id in (only or "").split(",")))]
    full = evidence or bool(chosen)
    run = options.carry_out("claims", plan, {"only": chosen}, partial(_print, evidence=full))
    judged = not run.untested and all(row.judged for row in rows(run.rows))
    sys.exit(CONFORMS if judged else COULD_NOT_RUN)


def _print(run: BenchRun, *, evidence: bool) -> None:
    from ..bench.claims.ledger import VERDICTS, rows

    ledger = rows(run.rows)
    for row in ledger:
        shown = click.style(row.verdict, fg=STYLES[row.verdict])
        click.echo(f"{row.id} {shown} {row.condition}".rstrip())
        say(f"    claimed: {row.statement} [{', '.join(row.documents)}]")
        if row.counterexample:
            say(f"    against: {row.counterexample}")
        if row.message:
            say(f"    error: {row.message}")
        for number in row.numbers if evidence else ():
            say(f"    {number.name}: {number.shown}")
        for finding in row.findings if evidence else ():
            answer = "yes" if finding.holds else "no"
            say(f"    {ROLES[finding.role]}, {answer}: {finding.text}")
    counts = (f"{sum(row.verdict == v for row in ledger)} {v}" for v in VERDICTS)
    say(", ".join(counts))
