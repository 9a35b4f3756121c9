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

from ..verify.runs.findings import UNJUDGED, WIDTH, Finding, laid_out
from ..verify.runs.status import STATUSES, Outcome, shown
from ..verify.runs.verdict import Verdict

FEW = 3
"""Subjects that are told one after the other; of more there is a table."""

STYLES = {True: "bold red", False: "bold"}
"""The style of a headline, by whether something is wrong."""


@dataclass
class Advance:
    """A progress bar on a terminal, or one line a verdict where there is none."""

    bar: Progress
    task: TaskID
    console: Console

    def plan(self, total: int) -> None:
        """Say how many verdicts there will be."""
        self.bar.update(self.task, total=total, description="")

    def about(self, text: str) -> None:
        """Say what is being done."""
        self.bar.update(self.task, description=text)

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


def check_table(verdicts: Sequence[Verdict]) -> Table:
    """Return one row a check and one column a dtype, of one subject; numbers are error/bound."""
    dtypes = list(dict.fromkeys(v.dtype for v in verdicts))
    table = Table()
    for column in ("check", *dtypes):
        table.add_column(column)
    by_place = {(v.check, v.dtype): v for v in verdicts}
    for check in dict.fromkeys(v.check for v in verdicts):
        table.add_row(check, *(_cell(by_place.get((check, dtype))) for dtype in dtypes))
    return table


def _cell(v: Verdict | None) -> Text:
    if v is None:
        return Text("")
    status = STATUSES[v.status]
    words = f"{v.worst_ratio:.2g}" if v.worst_ratio else "ok"
    return Text(words if status.outcome is Outcome.RIGHT else v.status, style=status.style)


def subject_table(findings: Sequence[Finding]) -> Table:
    """Return one row a subject: how many of its checks passed, and what is wrong."""
    table = Table()
    for column in ("subject", "verdict", "passed", "what is wrong"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        passed = sum(v.status == "passed" for v in finding.verdicts)
        style = "green" if finding.conforms else STATUSES[finding.verdict].style
        table.add_row(
            Text(finding.name), Text(finding.verdict, style=style),
            f"{passed} of {len(finding.verdicts)}", Text(finding.cause),
        )  # fmt: skip
    return table


def common_causes(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield what is wrong with several subjects at once, the most frequent first."""
    causes: dict[str, list[str]] = {}
    for finding in findings:
        if finding.diagnosis is not None and finding.diagnosis.explanations:
            causes.setdefault(finding.cause, []).append(finding.name)
    for cause, names in sorted(causes.items(), key=lambda each: -len(each[1])):
        if len(names) > 1:
            yield f"{len(names)} times: {cause} ({', '.join(names)})"


def counts(verdicts: Sequence[Verdict]) -> str:
    """Return how many verdicts there are of each status, the passed first."""
    count = Counter(v.status for v in verdicts)
    each = ", ".join(f"{count[status.name]} {status.name}" for status in shown(count))
    subjects = dict.fromkeys(v.subject for v in verdicts if v.without_equations)
    return f"{each}; {', '.join(subjects)}: {UNJUDGED}" if subjects else each


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


def print_findings(findings: Sequence[Finding]) -> None:
    """Print the finding on each subject, what is wrong first; of many, a table alone."""
    console = Console()
    width = console.width if console.is_terminal else WIDTH
    if len(findings) > FEW:
        console.print(subject_table(findings), width=width)
        for text in common_causes(findings):
            console.print(text, markup=False, highlight=False)
        return
    for finding in findings:
        style = STYLES[bool(finding.wrong)]
        console.print(Text(f"\n{finding.headline}", style=style), soft_wrap=True)
        for text in laid_out(finding.lines(), width):
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        if not finding.wrong and any(v.compared for v in finding.verdicts):
            print_table(check_table(finding.verdicts))
            click.echo("numbers: largest error in units of its bound")


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
