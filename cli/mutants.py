"""``gatewise mutants``: do the checks catch wrong layers, and pass right ones?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import common
from .common import DIFFERS

if TYPE_CHECKING:
    from ..bench.scores.kill_matrix import Row


@click.command()
@click.argument("names", metavar="[ID]...", nargs=-1)
@click.option("--budget", type=click.Choice(common.BUDGETS), default="standard", show_default=True,
              help="How many cases for each check.")  # fmt: skip
@common.seed_option
@click.option("--full", is_flag=True, help="Try every check on every mutant, not only until one "
              "fails it.")  # fmt: skip
@click.option("--list", "only_list", is_flag=True, help="List the mutants, and run none.")
@click.option("--recorded", is_flag=True, help="Record each, and say which recorded check sees "
              "it; 'gatewise record' takes the same cases.")  # fmt: skip
@click.option("--only", type=click.Choice(["wrong", "right"]),
              help="Only wrong layers, or only equivalent programs.")  # fmt: skip
@common.jobs_option
@click.option("--resume", type=click.Path(path_type=Path, exists=True, file_okay=False),
              metavar="RUN", help="Go on with an unfinished run, by its own options.")  # fmt: skip
@common.runs_option
@common.json_option
def mutants(
    names: Sequence[str],
    budget: str,
    seed: int,
    full: bool,
    only_list: bool,
    recorded: bool,
    only: str | None,
    jobs: int,
    resume: Path | None,
    runs: Path,
    as_json: bool,
) -> None:
    """Hold wrong layers to the checks: each must fail one.

    Equivalent programs must fail none. IDs name some of the layers; without, all are tried. Exit
    code 1 if a mutant survives or an equivalent program is called wrong.
    """
    from ..bench import run
    from ..bench.scores import kill_matrix
    from ..reports.terminal import progress

    chosen = common.or_usage(lambda: kill_matrix.choose(names))
    if only is not None:
        chosen = tuple(m for m in chosen if m.id in kill_matrix.ids(only))
        names = [m.id for m in chosen]
    if only_list:
        _list(kill_matrix.blank_rows(chosen), as_json=as_json)
        return
    if recorded:
        _see(names, as_json=as_json)
        return
    settings = {"mutants": list(names), "budget": budget, "full": full}
    folder = resume or common.new_run(runs, "mutants")
    with common.resumable(folder, "mutants", "what was decided"):
        with progress(None, lines=True) as advance:
            for row in kill_matrix.decide(folder, settings, seed=seed, jobs=jobs,
                                          command=common.command(),
                                          on_plan=advance.plan):  # fmt: skip
                outcome = f"killed by {row.killed_by[0]}" if row.killed_by else "survives"
                advance(f"{row.name} {row.dtype} {outcome} {row.seconds:.1f} s")
        rows = kill_matrix.rows(run.read(folder).rows)
    if as_json:
        common.print_json(rows, ensure_ascii=True)
    else:
        _print(rows, folder)
    if not all(row.right for row in rows):
        sys.exit(DIFFERS)


def _list(rows: Sequence[Row], *, as_json: bool) -> None:
    from ..reports.terminal import print_rows

    columns = ("mutant", "cell", "dtype", "statement", "models", "seen by")
    listed = [
        (r.mutant, r.cell, r.dtype, r.statement, r.models,
         ", ".join(r.expected) or "nothing: right")
        for r in rows
    ]  # fmt: skip
    print_rows(columns, listed, as_json=as_json)


def _see(names: Sequence[str], *, as_json: bool) -> None:
    """Print which recorded check sees each mutant; exit with 1 if one is not as expected."""
    from ..reports.terminal import print_rows, progress
    from ..verify.recordings.visibility import UNSEEN, visibilities

    results = []
    with progress(None, lines=True) as advance:
        for result in visibilities(lambda mutant: not names or mutant.id in names):
            results.append(result)
            advance(f"{result.mutant} {result.cell} {result.dtype}: {result.seen_by or 'not seen'}")
    cells = [
        (f"mutant:{s.mutant}[{s.cell}]", s.dtype, s.statement,
         s.seen_by or UNSEEN.get(s.mutant, "passes"), "" if s.right else "NOT AS FORESEEN")
        for s in results
    ]  # fmt: skip
    columns = ("subject", "dtype", "what is wrong with it", "seen by", "")
    print_rows(columns, cells, as_json=as_json)
    if not as_json:
        wrong = [s for s in results if s.wrong]
        visible = sum(bool(s.seen_by) for s in wrong)
        same = [s for s in results if not s.wrong]
        common.say(
            f"{visible} of {len(wrong)} mutants are seen in recordings, "
            f"{sum(not s.seen_by for s in same)} of {len(same)} equivalent programs pass"
        )
    if not all(s.right for s in results):
        sys.exit(DIFFERS)


def _print(rows: Sequence[Row], folder: Path) -> None:
    from ..reports.terminal import print_rows

    cells = [
        (row.name, row.dtype, row.statement, row.verdict, ", ".join(row.killed_by),
         str(row.cases or ""), f"{row.seconds:.2f}")
        for row in rows
    ]  # fmt: skip
    columns = ("subject", "dtype", "what is wrong with it", "", "by", "cases", "seconds")
    print_rows(columns, cells)
    planted = [row for row in rows if row.expected]
    same = [row for row in rows if not row.expected]
    killed = sum(row.right for row in planted)
    common.say(
        f"{killed} of {len(planted)} mutants killed, {sum(row.right for row in same)} of "
        f"{len(same)} equivalent programs pass\nrun: {folder}"
    )
