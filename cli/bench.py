"""``gatewise bench``: speed, memory, reach of gradients. Each bench has a file of its own."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import click

from .common import (
    FILE,
    command,
    json_option,
    new_run,
    or_usage,
    print_json,
    resumable,
    runs_option,
    seed_option,
)
from .report import write_report

if TYPE_CHECKING:
    from ..bench.run import BenchRun, Plan

BENCHES = {
    "cost": "Operations, bytes, parameters and what is kept for the gradient, as formulas say.",
    "decay": "How gradients decay or explode with lag.",
    "forms": "Errors of chunks and scans of linear recurrences, beside their bounds.",
    "memory": "Long-range tasks: success against lag.",
    "speed": "How fast layers run, once they have proven right.",
}
"""The help of each bench, by name; ``cli/bench_NAME.py`` has its ``command``."""


class _Benches(click.Group):
    """A group that imports a bench only when it runs."""

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
    """Measure speed, cost, memory, and how far gradients reach."""


@dataclass(frozen=True)
class RunOptions:
    """The options of all benches: how to start, resume and show a run."""

    seed: int
    runs: Path
    resume: Path | None
    page: Path | None
    as_json: bool

    def carry_out(
        self,
        kind: str,
        make: Callable[..., Plan],
        settings: Mapping[str, Any],
        print_results: Callable[[BenchRun], None],
    ) -> BenchRun:
        """Carry out ``make(seed=..., **settings)``, print the run's results, and return it.

        They are printed by ``print_results``, or as JSON. ``settings`` are JSON values, and stored
        with the run, which resumes from them. Results from before an interruption or a full disk
        are kept.
        """
        from ..bench import run
        from ..bench.run import carry_out
        from ..reports.terminal import progress

        resume, seed = self.resume, self.seed
        if resume is not None:
            unfinished = or_usage(lambda: run.unfinished(resume, kind))
            settings, seed = unfinished.settings, unfinished.seed
            or_usage(lambda: _require_settings(make, settings, resume))
        plan = or_usage(lambda: make(seed=seed, **settings))
        folder = resume or new_run(self.runs, kind)
        name = f"bench {kind}" if kind in BENCHES else kind
        with (
            resumable(folder, name, "what was measured"),
            progress(len(plan.pieces)) as advance,
        ):
            for row in carry_out(plan, folder, command()):
                advance(f"{row['id']} {row['status']}")
        finished = run.read(folder)
        if self.as_json:
            print_json(finished.rows)
        else:
            print_results(finished)
            click.echo(f"run: {folder}")
        if self.page is not None:
            write_report([folder], self.page, quiet=self.as_json)
        return finished


def _require_settings(make: Callable[..., Plan], settings: Mapping[str, Any], folder: Path) -> None:
    """Raise ValueError unless ``make`` accepts the settings of a run's file."""
    from ..verify.runs.records import typed

    parameters, hints = inspect.signature(make).parameters, get_type_hints(make)
    free = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if not free and (odd := sorted(settings.keys() - parameters.keys())):
        raise ValueError(f"{folder}: settings: unknown: {', '.join(odd):.200}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and not free and name not in {*settings, "seed"}:
            raise ValueError(f"{folder}: settings: {name} is missing")
        if name in settings and parameter.kind is not parameter.VAR_KEYWORD:
            typed(hints[name], settings[name], f"{folder}: settings: {name}")


_OPTIONS = (
    seed_option,
    runs_option,
    click.option("--resume", type=click.Path(path_type=Path, exists=True, file_okay=False),
                 metavar="RUN", help="Go on with an unfinished run, by its own options."),
    click.option("--report", "page", type=FILE,
                 metavar="FILE", help="Also write the report, one HTML page."),
    json_option,
)  # fmt: skip


def bench_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of ``RunOptions``, the first argument of ``function``.

    It gets its own options by name, as JSON values in the order of their declaration.
    """

    @wraps(function)
    def command(**arguments: Any) -> None:
        shared = RunOptions(**{f.name: arguments.pop(f.name) for f in fields(RunOptions)})
        names = [option.name or "" for option in click.get_current_context().command.params]
        settings = {name: arguments[name] for name in names if name in arguments}
        lists = {name: list(v) for name, v in settings.items() if isinstance(v, tuple)}
        function(shared, **settings | lists)

    decorated: Callable[..., None] = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
