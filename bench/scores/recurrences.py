"""Mistakes in recurrences that have no equations: how many are seen, and which cannot be.

``python -m gatewise.bench.scores.recurrences`` plants mistakes in the layers of
``without_equations`` and runs all checks. A mistake that leaves a faithful recurrence, with
its true gradients, is one that no property can see: it is listed as unprovable.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from ...verify.api import find, verdicts_on
from ...verify.checks import subject_checks
from ...verify.execution.tasks import Named
from ..run import from_json
from . import score

LAYERS = ("zoneout_lstm", "minimal_gru", "conv_rnn")
FOLDER = files(__package__) / "without_equations"


@dataclass(frozen=True)
class Edit:
    """A piece of a layer's text and its replacement."""

    before: str
    after: str


@dataclass(frozen=True)
class Mistake:
    """A mistake in a layer, in words and as edits of its text.

    ``provable``: some property of every recurrence, or its gradient, shows it.
    """

    layer: str
    what: str
    edits: tuple[Edit, ...]
    provable: bool = True


@cache
def mistakes() -> tuple[Mistake, ...]:
    """Return all, in the order of ``mistakes.toml``."""
    document: dict[str, Any] = tomllib.loads((FOLDER / "mistakes.toml").read_text(encoding="utf-8"))
    return tuple(from_json(Mistake, value, "mistakes.toml") for value in document["mistakes"])


@dataclass(frozen=True)
class Row:
    """The outcome of one mistake: the checks that failed, in order."""

    layer: str
    what: str
    provable: bool
    failed: tuple[str, ...]

    @property
    def missed(self) -> bool:
        """True for a provable mistake that no check saw."""
        return self.provable and not self.failed

    @property
    def result(self) -> str:
        """The outcome as it stands in tables."""
        if self.failed:
            return "seen" if self.provable else "seen, unexpectedly"
        return "missed" if self.provable else "unprovable"


def source(layer: str) -> str:
    """Return the text of a right layer."""
    return (FOLDER / f"{layer}.py").read_text(encoding="utf-8")


def wrong_source(mistake: Mistake) -> str:
    """Return the text of a layer with a mistake; ValueError where a piece is not in it."""
    text = source(mistake.layer)
    for edit in mistake.edits:
        if edit.before not in text:
            raise ValueError(f"{mistake.layer}: {mistake.what}: there is no {edit.before!r}")
        text = text.replace(edit.before, edit.after)
    return text


def row(number: int) -> Row:
    """Run all checks on a layer with one mistake."""
    mistake = mistakes()[number]
    layer = find(score.layer_of_text(wrong_source(mistake)))
    checks = subject_checks()
    verdicts = [*verdicts_on(layer, Named(layer.name), checks, None, "quick", 0, shrink=False)]
    failed = tuple(dict.fromkeys(v.check for v in verdicts if v.wrong))
    unrun = ("smoke",) if any(v.check == "smoke" and not v.compared for v in verdicts) else ()
    return Row(mistake.layer, mistake.what, mistake.provable, failed or unrun)


def totals(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many mistakes there are of each result."""
    results = [r.result for r in rows]
    return {"mistakes": len(rows)} | {name: results.count(name) for name in dict.fromkeys(results)}


COLUMNS: score.Columns = {
    "": lambda r: r.result,
    "layer": lambda r: r.layer,
    "mistake": lambda r: r.what,
    "checks that fail": lambda r: ", ".join(r.failed),
}


@click.command()
@score.jobs_option
@score.misses_option
@score.json_option
def main(jobs: int, misses: Path | None, as_json: bool) -> None:
    """Score and print all, whether they are missed or not."""
    todo: list[score.Work[Row]] = [(row, (number,)) for number in range(len(mistakes()))]
    scores = {(r.layer, r.what): r for r in score.results(todo, jobs)}
    rows = [scores[m.layer, m.what] for m in mistakes()]
    if misses:
        title = f"Recurrences without equations: {score.counted(totals(rows))}"
        score.write_table(misses, title, COLUMNS, rows)
    if as_json:
        score.print_json(rows=rows, totals=totals(rows))
    else:
        score.print_table("Recurrences without equations", COLUMNS, rows)
        click.echo(score.counted(totals(rows)))


if __name__ == "__main__":
    main()
