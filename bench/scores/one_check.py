"""How much of gatewise one check of one subject runs: functions, and the files that they are in.

``python -m gatewise.bench.scores.one_check [SUBJECT] [CHECK]`` does in its own process what a
worker does for one task, and traces it. What runs while a module is imported is counted apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import click

PACKAGE = Path(__file__).resolve().parents[2]
"""The folder of gatewise's own code."""


@dataclass
class Trace:
    """The code of gatewise that ran: called, or while a module was imported."""

    called: set[CodeType] = field(default_factory=set)
    imported: set[CodeType] = field(default_factory=set)
    _imports: int = 0

    def event(self, frame: FrameType, kind: str, argument: object) -> None:
        """Take an event of ``sys.setprofile``."""
        code = frame.f_code
        if code.co_name == "<module>":
            self._imports += {"call": 1, "return": -1}.get(kind, 0)
        if kind == "call":
            (self.imported if self._imports else self.called).add(code)

    def of(self, function: Callable[[], Any]) -> Any:
        """Call a function and see what runs."""
        sys.setprofile(self.event)
        try:
            return function()
        finally:
            sys.setprofile(None)


def files(codes: set[CodeType]) -> dict[str, list[str]]:
    """Return the names of gatewise's functions by file; comprehensions are part of a function.

    An environment inside the checkout (``.venv``, ``.nox``) holds the code of others.
    """
    named: dict[str, set[str]] = {}
    for code in codes:
        path = Path(code.co_filename)
        inner = code.co_name.startswith("<") and code.co_name not in ("<lambda>", "<module>")
        if not path.is_relative_to(PACKAGE) or path == Path(__file__) or inner:
            continue
        file = path.relative_to(PACKAGE)
        if not any(folder.startswith(".") for folder in file.parts):
            named.setdefault(str(file), set()).add(code.co_qualname)
    return {file: sorted(names) for file, names in sorted(named.items())}


def traced(subject: str, check: str) -> dict[str, Mapping[str, list[str]]]:
    """Return what one check of a subject in float64 runs; ValueError if it does not pass."""
    from ...verify.execution.tasks import Named, Task, answer

    task = Task(Named(subject), check, "float64", "quick", 0)

    def hold() -> str:
        verdict = answer(task, task.named.find(), lambda case: None)
        return f"{verdict.status} {verdict.message}".strip()

    trace = Trace()
    ended = trace.of(hold)
    if ended != "passed":
        raise ValueError(f"{subject} {check}: {ended}")
    return {"called": files(trace.called), "imported": files(trace.imported)}


@click.command()
@click.argument("subject", default="torch:LSTM")
@click.argument("check", default="forward")
@click.option("--json", "as_json", is_flag=True, help="Print the names of all functions.")
def main(subject: str, check: str, as_json: bool) -> None:
    """Count the functions that one CHECK of one SUBJECT runs."""
    try:
        counted = traced(subject, check)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps(counted, indent=1))
        return
    for file, names in counted["called"].items():
        click.echo(f"{len(names):4}  {file}")
    for kind, by_file in counted.items():
        click.echo(f"{kind}: {sum(map(len, by_file.values()))} functions in {len(by_file)} files")


if __name__ == "__main__":
    main()
