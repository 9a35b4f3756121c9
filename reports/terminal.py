"""Tables and progress on a terminal; plain text when it is none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from ..verify.runs.diagnosis import Diagnosis, Explanation
from ..verify.runs.status import STATUSES, Outcome, shown
from ..verify.runs.verdict import Verdict

FEW = 4
"""Checks that are listed where all have the same reason."""

WIDEST = 8
"""Columns of subjects and dtypes side by side; more are listed one below the other."""


@dataclass
class Advance:
    """A progress bar on a terminal, or one line a verdict where there is none."""

    bar: Progress
    task: TaskID
    console: Console

    def plan(self, total: int) -> None:
        """Say how many verdicts there will be."""
        self.bar.update(self.task, total=total, description="")

    def __call__(self, line: str) -> None:
        """Count one verdict and show what it says."""
        if self.bar.disable:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.bar.update(self.task, advance=1, description=line)


@contextmanager
def progress(total: int | None, *, lines: bool = False) -> Iterator[Advance]:
    """Show a bar on standard error while the block runs; call the result after each item.

    Where standard error is no terminal there is no bar, and with ``lines`` a line an item.
    """
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    quiet = not console.is_terminal
    shown = console if lines else Console(quiet=True)
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        yield Advance(bar, bar.add_task("starting", total=total), shown)


def verdict_line(v: Verdict) -> str:
    """Return a verdict in one line."""
    ratio = "" if v.worst_ratio is None else f" error/bound {v.worst_ratio:.2g}"
    return f"{v.status:14} {v.subject} {v.check} {v.dtype}{ratio} {v.seconds:.1f} s"


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Return one row a check, one column a subject and dtype; numbers are error/bound."""
    columns = list(dict.fromkeys((v.subject, v.dtype) for v in verdicts))
    if len(columns) > WIDEST:
        return _long_table(verdicts)
    table = Table(caption="numbers: largest error in units of its bound", caption_style="dim")
    table.add_column("check")
    for subject, dtype in columns:
        table.add_column(Text(f"{subject}\n{dtype}"), overflow="fold")
    by_place = {(v.check, v.subject, v.dtype): v for v in verdicts}
    for check in dict.fromkeys(v.check for v in verdicts):
        cells = [_cell(by_place.get((check, *column))) for column in columns]
        table.add_row(check, *cells)
    return table


def _cell(v: Verdict | None) -> Text:
    if v is None:
        return Text("")
    status = STATUSES[v.status]
    words = f"{v.worst_ratio:.2g}" if v.worst_ratio else "ok"
    return Text(words if status.outcome is Outcome.RIGHT else v.status, style=status.style)


def _long_table(verdicts: Sequence[Verdict]) -> Table:
    """Return one row a verdict."""
    table = Table()
    for column in ("subject", "check", "dtype", "status", "sharp cases", "error/bound", "worst in"):
        table.add_column(column, overflow="fold")
    for v in verdicts:
        ratio = "" if v.worst_ratio is None else f"{v.worst_ratio:.3g}"
        sharp = f"{v.cases - v.blind_cases} of {v.cases}"
        status = Text(v.status, style=STATUSES[v.status].style)
        table.add_row(Text(v.subject), v.check, v.dtype, status, sharp, ratio, Text(v.worst))
    return table


def counts(verdicts: Sequence[Verdict]) -> str:
    """Return how many verdicts there are of each status, the passed first."""
    count = Counter(v.status for v in verdicts)
    return ", ".join(f"{count[status.name]} {status.name}" for status in shown(count))


def profile(verdicts: Sequence[Verdict]) -> str:
    """Return where the time of the checks went."""
    total = sum(v.seconds for v in verdicts) or 1.0
    subject = sum(v.subject_seconds for v in verdicts)
    oracle = sum(v.oracle_seconds for v in verdicts)
    shares = {
        "subject": subject,
        "oracle": oracle,
        "Hypothesis, drawing and comparing": total - subject - oracle,
    }
    parts = ", ".join(f"{name} {100 * s / total:.0f} %" for name, s in shares.items())
    return f"{total:.1f} s in checks: {parts}"


def tell_failures(verdicts: Sequence[Verdict]) -> None:
    """Print what is wrong: the first check that failed in full, the others in a line each."""
    for subject in dict.fromkeys(v.subject for v in verdicts):
        groups: dict[tuple[str, str], list[Verdict]] = {}
        for v in verdicts:
            if v.subject == subject and STATUSES[v.status].explained:
                key = v.message if v.status == "not tested" else v.check
                groups.setdefault((v.status, key), []).append(v)
        for number, alike in enumerate(groups.values()):
            _tell_one(alike, whole=number == 0)
    click.echo()


def _tell_one(alike: Sequence[Verdict], *, whole: bool) -> None:
    """Print one check's verdict, which several dtypes may share."""
    v = alike[0]
    dtypes = ", ".join(dict.fromkeys(each.dtype for each in alike))
    checks = ", ".join(dict.fromkeys(each.check for each in alike))
    checks = "all checks" if len(alike) > FEW else f"{checks} ({dtypes})"
    click.echo(f"\n{v.subject} {checks}: {v.status}: {v.message}")
    if v.place:
        click.echo(f"  first wrong: {v.place}")
    if v.reproduce:
        if whole and v.equations:
            click.echo(f"  equations: {', '.join(v.equations)}")
        click.echo(f"  again: {v.reproduce}")


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    """Print rows as a table, or as JSON objects."""
    if as_json:
        objects = [dict(zip(columns, row, strict=True)) for row in rows]
        click.echo(json.dumps(objects, indent=1, ensure_ascii=False))
        return
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    print_table(table)


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal, or as wide as it needs where there is none."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


SHOWN = 6
"""Explanations that are listed where several compute the same."""


def tell_diagnosis(diagnosis: Diagnosis) -> None:
    """Print what is wrong with a subject, where, and what to do."""
    for line in diagnosis_lines(diagnosis):
        click.echo(line)


def diagnosis_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the lines of a diagnosis."""
    yield f"\ndiagnosis of {diagnosis.subject} ({diagnosis.dtype})"
    if not diagnosis.explanations:
        yield f"  {diagnosis.message}"
    for number, one in enumerate(diagnosis.explanations[:SHOWN]):
        yield from _explained(one, first=number == 0)
    if len(diagnosis.explanations) > SHOWN:
        yield f"  and {len(diagnosis.explanations) - SHOWN} more that compute the same"
    if str(diagnosis.location):
        yield f"  where: {diagnosis.location}"
    if diagnosis.reach:
        yield f"  reach: {diagnosis.reach}"
    yield f"  failed checks: {', '.join(diagnosis.failed)}"
    if diagnosis.tried:
        yield f"  {_evidence(diagnosis)}"


def _explained(one: Explanation, *, first: bool) -> Iterator[str]:
    lead = "what is wrong" if first else "or, computing the same"
    for statement in one.statements:
        yield f"  {lead}: {statement} [{one.name}]"
    if first:
        for fix in one.fixes:
            yield f"  to do: {fix}"


def _evidence(diagnosis: Diagnosis) -> str:
    """Say how sure this is: how far off the explanation is, and the nearest other one."""
    tried = f"{diagnosis.tried} mistakes tried in {diagnosis.experiments} experiments"
    if diagnosis.runner_up is None:
        nearest = ""
    else:
        nearest = f", the nearest other ({diagnosis.runner_up_name}) {diagnosis.runner_up:.2g}"
    if not diagnosis.explanations:
        return f"{tried}{nearest} times what rounding explains"
    return f"{tried}; off by {diagnosis.residual:.2g} of what rounding explains{nearest} times that"
