"""``gatewise bench``: how fast, how much memory, how far back. One file for each bench."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .common import COULD_NOT_RUN, command, json_option, or_usage, runs_option, seed_option, stop
from .report import write_report

if TYPE_CHECKING:
    from ..bench.plan import Plan
    from ..bench.run import BenchRun

BENCHES = {
    "cost": "Operations, bytes, parameters and what is kept for the gradient, as formulas say.",
    "decay": "How gradients decay or explode with lag.",
    "memory": "Long-range tasks: success against lag.",
    "speed": "How fast layers run, once they have proven right.",
}
"""Name and what it measures; ``cli/bench_NAME.py`` holds its ``command``."""


class _Benches(click.Group):
    """Loads a bench when it is asked for, so that the others cost nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(BENCHES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in BENCHES:
            return None
        module = importlib.import_module(f".bench_{cmd_name}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(BENCHES.items()))


@click.group(cls=_Benches)
def bench() -> None:
    """Measure layers: speed, cost, memory, and how far back gradients reach."""


F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    seed_option,
    runs_option,
    click.option("--resume", type=click.Path(path_type=Path, exists=True, file_okay=False),
                 metavar="RUN", help="Go on with an unfinished run, by its own options."),
    click.option("--report", "page", type=click.Path(path_type=Path, dir_okay=False),
                 metavar="FILE", help="Also write the report, one HTML page."),
    json_option,
)  # fmt: skip


def bench_options(function: F) -> F:
    """Add ``seed``, ``runs``, ``resume``, ``page`` and ``as_json``, which ``carry`` takes."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def carry(
    kind: str,
    make: Callable[..., Plan],
    settings: Mapping[str, Any],
    tell: Callable[[BenchRun], None],
    *,
    seed: int,
    runs: Path,
    resume: Path | None,
    page: Path | None,
    as_json: bool,
) -> BenchRun:
    """Carry out ``make(seed=seed, **settings)``; tell its run, or print its rows as JSON.

    ``settings`` are JSON values and are kept with the run: from them it is gone on with. What was
    measured before an interruption or a full disk is kept.
    """
    from ..bench import run
    from ..verify.runs.records import RunFileError

    if resume is not None:
        before = or_usage(lambda: run.unfinished(resume, kind))
        settings, seed = before.settings, before.seed
    plan = or_usage(lambda: make(seed=seed, **settings))
    folder = resume or runs / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{os.getpid()}-{kind}"
    _carry_out(plan, folder, kind)
    try:
        found = run.read(folder)
    except RunFileError as error:
        stop(str(error), COULD_NOT_RUN)
    if as_json:
        click.echo(json.dumps(list(found.rows), indent=1, ensure_ascii=False))
    else:
        tell(found)
        click.echo(f"run: {folder}")
    if page is not None:
        write_report([folder], page, quiet=as_json)
    return found


def _carry_out(plan: Plan, folder: Path, kind: str) -> None:
    from ..bench.plan import carry_out
    from ..reports.terminal import progress

    again = f"what was measured is kept; go on with: gatewise {_name(kind)} --resume {folder}"
    try:
        with progress(len(plan.pieces)) as advance:
            for row in carry_out(plan, folder, command()):
                advance(f"{row['id']} {row['status']}")
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        stop(f"{folder}: cannot be written ({error.strerror}); {again}", COULD_NOT_RUN)
    except KeyboardInterrupt:
        stop(f"interrupted; {again}", COULD_NOT_RUN)


def _name(kind: str) -> str:
    return kind if kind == "claims" else f"bench {kind}"
