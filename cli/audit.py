"""``gatewise audit``: which mistakes do a project's own tests of a layer find?"""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .common import COULD_NOT_RUN, DIFFERS, Seconds, json_option, or_usage, print_json, stop

if TYPE_CHECKING:
    from ..verify.audit.suite import Baseline, Row, Suite
    from ..verify.mutants import Mutant

LIKE = ("torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN")


@click.command()
@click.option("--tests", multiple=True, type=click.Path(exists=True),
              metavar="PATH", help="The tests: a file or a folder; may be repeated.")  # fmt: skip
@click.option("--target", metavar="MODULE:CLASS", help="The class that they test; "
              "also path/to/file.py:Class.")  # fmt: skip
@click.option("--bench", type=click.Choice(["kernelbench"]), help="In the place of tests: which "
              "cheating kernels a benchmark's own test passes.")  # fmt: skip
@click.option("--like", type=click.Choice(LIKE), help="Whose call and packing of gates the class "
              "has; by default its name says it.")  # fmt: skip
@click.option("--mutants", "names", multiple=True, metavar="ID[,ID]", help="Only these mutants.")
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True,
              help="Runs of their suite at a time.")  # fmt: skip
@click.option("--timeout", type=Seconds(), metavar="SECONDS",
              help="For one run of their suite; by default a minute, or ten times what "
              "it takes without a mutant.")  # fmt: skip
@click.option("--pytest-args", default="", metavar="TEXT", help="More arguments of their pytest.")
@json_option
def audit(
    tests: Sequence[str],
    target: str | None,
    bench: str | None,
    like: str | None,
    names: Sequence[str],
    jobs: int,
    timeout: float | None,
    pytest_args: str,
    as_json: bool,
) -> None:
    """Plant mistakes in a layer and say which its tests miss.

    Their pytest suite runs once without a mutant, once with a right layer in the place of the
    class, and once with each mutant there. The class has the call and the parameters of
    torch.nn.LSTM, GRU or RNN. Exit code 1 if a mutant survives. A suite that draws at random
    wants a seed, as in --pytest-args --hypothesis-seed=0.
    """
    from ..verify.audit.suite import Suite, choose

    if bench is not None:
        _print_cheats(jobs, as_json=as_json)
        return
    if not tests or target is None:
        raise click.UsageError("name tests and a class: --tests PATH --target MODULE:CLASS")
    where, colon, attribute = target.rpartition(":")
    if not (where and colon and attribute):
        raise click.UsageError(f"--target {target!r}: expected MODULE:CLASS or path/file.py:Class")
    mutants = or_usage(lambda: choose([n for some in names for n in some.split(",")]))
    arguments = or_usage(lambda: tuple(shlex.split(pytest_args)))
    kind = (like or "").rpartition(".")[2]
    suite = Suite(tuple(tests), target, kind, arguments, timeout or 0.0)
    try:
        base, rows = _run(suite, mutants, jobs)
    except KeyboardInterrupt:
        stop("interrupted; nothing is kept of an unfinished audit", COULD_NOT_RUN)
    if as_json:
        _print_json(suite, base, rows)
    else:
        _print(rows)
    if any(row.result == "survived" for row in rows):
        sys.exit(DIFFERS)
    if not any(row.result in ("killed", "timed out") for row in rows):
        stop("nothing was tested: no mutant could be planted", COULD_NOT_RUN)


def _print_cheats(jobs: int, *, as_json: bool) -> None:
    """Print on how many problems each cheat passes the benchmark's own test."""
    from ..bench.scores.kernel_gate import cheats_table
    from ..reports.terminal import print_rows

    rows = [(name, str(problems), str(loose), str(strict))
            for name, problems, loose, strict in cheats_table(jobs)]  # fmt: skip
    columns = ("cheat", "problems", "passes at 1e-2", "passes at 1e-4")
    print_rows(columns, rows, as_json=as_json)
    survived = sum(int(row[3]) for row in rows)
    if not as_json:
        click.echo(f"{survived} of {sum(int(row[1]) for row in rows)} cheats pass at 1e-4")
    if survived:
        sys.exit(DIFFERS)


def _run(suite: Suite, mutants: Sequence[Mutant], jobs: int) -> tuple[Baseline, list[Row]]:
    """Run their suite without a mutant and with each, under a progress bar."""
    from ..reports.terminal import progress
    from ..verify.audit.suite import Auditor, CouldNotRun, WrongTarget

    auditor = Auditor(suite, jobs)
    rows = []
    try:
        with progress(None, lines=True) as advance:
            base = auditor.baseline()
            advance.plan(len(mutants))
            for row in auditor.rows(mutants, base):
                rows.append(row)
                advance(f"{row.mutant:5} {row.result:14} {row.seconds:5.1f} s")
    except WrongTarget as error:
        raise click.UsageError(f"--target {suite.target}: {error}") from error
    except CouldNotRun as error:
        stop(str(error), COULD_NOT_RUN)
    finally:
        auditor.close()
    return base, sorted(rows, key=lambda row: row.mutant)


def _count(rows: Sequence[Row]) -> tuple[int, int]:
    """Return the number of mutants that were killed, and of those that were planted."""
    results = Counter(row.result for row in rows)
    killed = results["killed"] + results["timed out"]
    return killed, killed + results["survived"]


def _print_json(suite: Suite, base: Baseline, rows: Sequence[Row]) -> None:
    killed, planted = _count(rows)
    print_json({
        "schema": "gatewise.audit/1",
        "target": suite.target,
        "tests": suite.tests,
        "like": f"torch.nn.{base.kind}",
        "killed": killed,
        "planted": planted,
        "mutants": rows,
    })  # fmt: skip


def _print(rows: Sequence[Row]) -> None:
    """Print the result of each mutant, a test that would catch each survivor, and the score."""
    from ..reports.terminal import print_rows

    applicable = [row for row in rows if row.result != "not applicable"]
    cells = [
        (row.mutant, row.statement, row.models,
         "SURVIVED" if row.result == "survived" else row.result, ", ".join(row.by) or row.why)
        for row in applicable
    ]  # fmt: skip
    columns = ("mutant", "what is wrong with it", "models", "", "by which test, or why")
    print_rows(columns, cells)
    for row in applicable:
        if row.result == "survived":
            click.echo(f"{row.mutant} survived: {row.statement}")
            click.echo(f"  A test catches it that looks at this: {row.caught_by}")
            click.echo(f"  To mend a layer that has it: {row.fix}.")
    reasons = dict.fromkeys(row.why for row in rows if row.result == "not applicable")
    for why in reasons:
        ids = ", ".join(row.mutant for row in rows if row.why == why)
        click.echo(f"{ids} not applicable: {why}")
    killed, planted = _count(rows)
    share = f" ({100 * killed / planted:.0f} %)" if planted else ""
    apart = f", {len(applicable) - planted} not planted" if planted < len(applicable) else ""
    outside = (
        f", {len(rows) - len(applicable)} not applicable" if len(applicable) < len(rows) else ""
    )
    click.echo(f"{killed} of {planted} mutants killed{share}{apart}{outside}")
