"""Tables and progress on a terminal; plain text without one."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click
from rich.cells import cell_len
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
from ..verify.runs.verdict import UNSHARP, Verdict
from .section import grouped

FEW = 3
"""The most subjects that are shown one after the other; more become a table."""

BAR, BESIDE = 12, 36
"""The width of a progress bar, and of all columns beside its text."""

FOLDERS = re.compile(r"/?(?:[\w.~-]+/){2,}")
"""The folders before a file's name, which tables omit."""

STYLES = {True: "bold red", False: "bold"}
"""The style of a headline, by whether something is wrong."""


@dataclass
class Advance:
    """A progress bar on a terminal, or one line per item without one."""

    bar: Progress
    task: TaskID
    console: Console

    def plan(self, total: int) -> None:
        """Set the number of items."""
        self.bar.update(self.task, total=total, description="", visible=total != 0)

    def about(self, text: str) -> None:
        """Show a description."""
        self.bar.update(self.task, description=self._brief(text))

    def _brief(self, text: str) -> str:
        """Return as many words of a text as fit beside the bar."""
        return textwrap.shorten(text, max(2, self.console.width - BESIDE), placeholder=" …")

    def __call__(self, line: str) -> None:
        """Count one item and show its line."""
        if self.bar.disable and line:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.bar.update(self.task, advance=1, description=self._brief(line))


@contextmanager
def progress(total: int | None, *, lines: bool = False) -> Iterator[Advance]:
    """Show a bar on standard error while the block runs; call the result after each item.

    If standard error is no terminal there is no bar, but with ``lines`` a line per item.
    """
    console = Console(stderr=True)
    text = TextColumn("{task.description}")
    columns = BarColumn(BAR), MofNCompleteColumn(), TimeElapsedColumn(), text
    quiet = not console.is_terminal
    shown = console if lines else Console(quiet=True)
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("starting", total=total, visible=total != 0)
        yield Advance(bar, task, shown)


def verdict_line(v: Verdict) -> str:
    """Return a verdict in one line."""
    ratio = "" if v.worst_ratio is None else f" error/bound {v.worst_ratio:.2g}"
    return f"{v.status:14} {v.subject} {v.check} {v.dtype}{ratio} {v.seconds:.1f} s"


def check_table(verdicts: Sequence[Verdict]) -> Table:
    """Return a table of one subject, checks down, dtypes across; numbers are error/bound.

    Unsupported dtypes have no column.
    """
    all_dtypes = dict.fromkeys(v.dtype for v in verdicts)
    compared = {v.dtype for v in verdicts if v.status != "not supported"}
    dtypes = [dtype for dtype in all_dtypes if dtype in compared] or list(all_dtypes)
    table = Table("check", *dtypes)
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
    """Return a table of subjects: the number of passed checks, and the cause of failures."""
    table = Table("subject", "verdict", "passed", "what is wrong")
    for finding in findings:
        passed = sum(v.status == "passed" for v in finding.verdicts)
        style = "green" if finding.conforms else STATUSES[finding.verdict].style
        table.add_row(
            Text(finding.name),
            Text(finding.verdict, style=style),
            f"{passed} of {len(finding.verdicts)}",
            Text(FOLDERS.sub("", finding.cause)),
        )
    return table


def common_causes(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the causes that several subjects share, the most frequent first."""
    explained = (f for f in findings if f.diagnosis is not None and f.diagnosis.explanations)
    causes = grouped((finding.cause, finding.name) for finding in explained)
    for cause, names in sorted(causes.items(), key=lambda item: -len(item[1])):
        if len(names) > 1:
            yield f"{len(names)} times: {cause} ({', '.join(names)})"


def counts(verdicts: Sequence[Verdict]) -> str:
    """Return the number of verdicts of each status, passed ones first."""
    count = Counter(v.status for v in verdicts)
    summary = ", ".join(f"{count[status.name]} {status.name}" for status in shown(count))
    subjects = dict.fromkeys(v.subject for v in verdicts if v.without_equations)
    return f"{summary}; {', '.join(subjects)}: {UNJUDGED}" if subjects else summary


def unsharp(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield the passed checks that prove nothing at the requested sizes."""
    blunt = (v for v in verdicts if v.status == "passed" and UNSHARP in v.message)
    by_sizes = grouped((v.message.partition(UNSHARP)[2], f"{v.check} ({v.dtype})") for v in blunt)
    for sizes, checks in by_sizes.items():
        yield f"{UNSHARP}{sizes}: {', '.join(checks)}"


def profile(verdicts: Sequence[Verdict]) -> str:
    """Return the shares of the checks' time."""
    total = sum(v.seconds for v in verdicts) or 1.0
    shares = {
        "subject": sum(v.subject_seconds for v in verdicts),
        "oracle": sum(v.oracle_seconds for v in verdicts),
    }
    shares["Hypothesis, drawing and comparing"] = total - sum(shares.values())
    parts = ", ".join(f"{name} {100 * s / total:.0f} %" for name, s in shares.items())
    return f"{total:.1f} s in checks: {parts}"


def print_findings(findings: Sequence[Finding]) -> None:
    """Print the finding on each subject, or for many subjects one table."""
    console = Console()
    width = columns_of(console, WIDTH)
    if len(findings) > FEW:
        print_table(subject_table(findings), otherwise=WIDTH)
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


def print_rows(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool = False
) -> None:
    """Print rows as a table, or as JSON objects."""
    if as_json:
        objects = [dict(zip(columns, row, strict=True)) for row in rows]
        click.echo(json.dumps(objects, indent=1, ensure_ascii=False))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))
    print_table(table)


def columns_of(console: Console, otherwise: int) -> int:
    """Return the width of the terminal or of ``COLUMNS``, else ``otherwise``."""
    columns = os.environ.get("COLUMNS", "")
    return console.width if console.is_terminal or columns.isdecimal() else otherwise


def print_table(table: Table, *, otherwise: int = 200) -> None:
    """Print a table of texts in the width of the terminal, or ``otherwise`` without one.

    Lines break between words. Where not even the longest words of all columns fit beside each
    other, each row is a paragraph with a line for each column.
    """
    console = Console()
    width = columns_of(console, otherwise)
    columns = [(str(c.header), [plain(cell) for cell in c.cells]) for c in table.columns]
    lines = [[line for text in (head, *cells) for line in text.split("\n")]
             for head, cells in columns]  # fmt: skip
    least = [max(cell_len(w) for text in texts for w in text.split() or [""]) for texts in lines]
    most = [max(map(cell_len, texts)) for texts in lines]
    room = width - sum(least) - 3 * len(columns) - 1
    if room < 0:
        _print_paragraphs(console, columns, width)
        return
    missing = [m - n for m, n in zip(most, least, strict=True)]
    for column, word, extra in zip(table.columns, least, _divide(room, missing), strict=True):
        column.width = word + extra
    Console(width=width).print(table)


def plain(cell: object) -> str:
    """Return a cell's text without its style."""
    return cell.plain if isinstance(cell, Text) else str(cell)


def _divide(room: int, wanted: Sequence[int]) -> list[int]:
    """Divide the room: each column gets what it needs, or an equal share, the narrowest first."""
    shares = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    for place, k in enumerate(order):
        shares[k] = min(wanted[k], room // (len(wanted) - place))
        room -= shares[k]
    return shares


def _print_paragraphs(
    console: Console, columns: Sequence[tuple[str, Sequence[str]]], width: int
) -> None:
    labels = max(cell_len(head) for head, _ in columns) + 2
    for row in zip(*(cells for _, cells in columns), strict=True):
        for (head, _), text in zip(columns, row, strict=True):
            if not text:
                continue
            first, rest = f"{head:{labels}}", " " * labels
            if labels + max(map(cell_len, text.split())) > width:  # below its label
                console.print(head, markup=False, highlight=False, soft_wrap=True)
                first = rest = "  "
            console.print(textwrap.fill(
                text, width, initial_indent=first, subsequent_indent=rest,
                break_long_words=False, break_on_hyphens=False,
            ), markup=False, highlight=False, soft_wrap=True)  # fmt: skip
        console.print()
