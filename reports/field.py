"""The matrix of the field: how every layer of every framework stands, and how it stood before.

What is published adds a line for each layer and dtype to a history, which is only ever added to:
``python -m gatewise.reports.field HISTORY RUN...``. The site's main page is made from it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..verify.runs import records
from ..verify.runs import run as run_files
from ..verify.runs.deviations import KNOWN
from ..verify.runs.run import Run
from ..verify.runs.status import STATUSES, Outcome
from ..verify.subjects import family
from ..verify.subjects.protocol import Subject
from . import summary, tables
from .markdown import plain
from .section import grouped

CONFORMS, DEVIATES, IN_PART, UNTESTED, NOT_OFFERED, FAILS = (
    "conforms", "known deviations", "in part", "not tested", "not supported", "fails"
)  # fmt: skip
MARKS = {
    FAILS: "✕", UNTESTED: "○", NOT_OFFERED: "–", IN_PART: "◌", DEVIATES: "≈", CONFORMS: "✓"
}  # fmt: skip
"""What each standing looks like; the worst first."""

MEANINGS = {
    CONFORMS: "every check that the layer supports passes",
    DEVIATES: "the others pass, and these failures are declared, each with a reason",
    IN_PART: "nothing fails, and some checks were blind or could not be run",
    NOT_OFFERED: "the layer does not compute in this dtype",
    UNTESTED: "nothing was compared",
    FAILS: "a check fails, and nobody has declared that",
}

SHORT = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}
COLUMNS = {
    "RNN": ("rnn", "rnn-relu"),
    "GRU": ("gru",),
    "GRU, reset before": ("gru-takes-new", "gru-keeps-old"),
    "LSTM": ("lstm",),
    "LSTM, variants": (
        "lstm-peephole", "lstm-coupled", "lstm-projected", "lstm-sigmoid-candidate",
    ),
    "others": (),
}  # fmt: skip
"""The cells that share a column of the matrix; the last is for all that no other names."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one layer stood in one dtype, when its run was made.

    ``counts`` are its checks by status; ``deviations`` are reasons of those that failed as
    declared; ``version`` is what the layer's own package says.
    """

    created: str
    gatewise: str
    source: str
    subject: str
    version: str
    cell: str
    dtype: str
    counts: dict[str, int]
    deviations: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """One of ``MARKS``: what the counts come to."""
        present = [STATUSES[name] for name, count in self.counts.items() if count]
        outcomes = {status.outcome for status in present}
        if Outcome.WRONG in outcomes:
            return FAILS
        if not any(status.compared for status in present):
            return UNTESTED if Outcome.OPEN in outcomes else NOT_OFFERED
        if Outcome.OPEN in outcomes:
            return IN_PART
        return DEVIATES if self.counts.get(KNOWN) else CONFORMS

    @property
    def place(self) -> tuple[str, str]:
        """What it is about."""
        return self.subject, self.dtype


def standings(run: Run) -> Iterator[Standing]:
    """Yield how each subject of a run stands in each of its dtypes."""
    rows = summary.entries(run)
    versions = {each.name: each.version for each in tables.tallies(rows)}
    places = grouped(((row.planned.subject, row.planned.dtype), row) for row in rows)
    for (subject, dtype), own in places.items():
        cells = Counter(row.verdict.cell for row in own if row.verdict)
        known = [row for row in own if row.status == KNOWN]
        yield Standing(
            created=run.created, gatewise=run.versions.get("gatewise", ""), source=run.source,
            subject=subject, version=versions[subject],
            cell=cells.most_common(1)[0][0] if cells else "", dtype=dtype,
            counts=dict(Counter(row.status for row in own)),
            deviations=tuple(gap.reason for gap in summary.gaps(known, KNOWN)),
        )  # fmt: skip


def read(history: Path) -> tuple[Standing, ...]:
    """Return the lines of a history; RunFileError if it is none."""
    return tuple(records.typed(Standing, line, where) for where, line in records.lines(history))


def add(history: Path, folders: Iterable[Path]) -> int:
    """Add the standings of runs to a history, but for those that it has; return how many."""
    there = {(each.created, each.place) for each in read(history)}
    number = 0
    for folder in folders:
        for standing in standings(run_files.read_checks(folder)):
            if (standing.created, standing.place) not in there:
                records.append(history, standing)
                number += 1
    return number


def complete(history: Sequence[Standing], subjects: Mapping[str, Subject]) -> tuple[Standing, ...]:
    """Return a history with every layer that there is an adapter for: those never held untested."""
    held = {each.subject for each in history}
    untested = (
        Standing(
            created="", gatewise="", source="", subject=name, version="", cell=subject.cells[0],
            dtype=dtype, counts={"not tested": 1},
        )
        for name, subject in subjects.items()
        if name not in held
        for dtype in subject.dtypes
    )  # fmt: skip
    return (*history, *untested)


def latest(history: Iterable[Standing]) -> tuple[Standing, ...]:
    """Return the last standing of every layer and dtype, by subject."""
    last: dict[tuple[str, str], Standing] = {}
    for each in sorted(history, key=lambda each: each.created):
        last[each.place] = each
    return tuple(sorted(last.values(), key=lambda each: each.place))


def matrix(history: Iterable[Standing]) -> str:
    """Return the matrix in Markdown: frameworks down, cells across, a mark for each dtype."""
    places: dict[str, dict[str, list[Standing]]] = {}
    for each in latest(history):
        of = places.setdefault(family(each.subject), {name: [] for name in COLUMNS})
        of[next((name for name, cells in COLUMNS.items() if each.cell in cells),
                "others")].append(each)  # fmt: skip
    there = [name for name in COLUMNS if any(of[name] for of in places.values())]
    lines = [f"| framework | {' | '.join(there)} |", "|---" * (1 + len(there)) + "|"]
    lines += [
        f"| [{plain(name)}](field.md#{_anchor(name)}) | "
        f"{' | '.join(_marks(of[column]) for column in there)} |"
        for name, of in places.items()
    ]
    return "\n".join(lines)


def legend() -> str:
    """Return what the marks of the matrix mean, as a list in Markdown."""
    lines = [f"* {_shown(name, name)}: {what}." for name, what in MEANINGS.items()]
    return "\n".join([*lines, "* Empty: no such layer, or gatewise has no adapter for it."])


def _marks(standing: Sequence[Standing]) -> str:
    """Return the worst of several layers in each dtype, dtypes that stand alike together."""
    alike: dict[str, list[str]] = {}
    for dtype, short in SHORT.items():
        own = {each.verdict for each in standing if each.dtype == dtype}
        if own:
            alike.setdefault(next(name for name in MARKS if name in own), []).append(short)
    return "<br>".join(_shown(name, " ".join(shorts)) for name, shorts in alike.items())


def _shown(name: str, text: object) -> str:
    """Return a text with the mark of a standing before it, in its colour."""
    return f'<span class="standing {name.replace(" ", "-")}">{MARKS[name]} {text}</span>'


def _anchor(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def page(history: Sequence[Standing]) -> Iterator[str]:
    """Yield the page in Markdown: the matrix, what changed, and each framework's layers."""
    last = latest(history)
    frameworks = {family(each.subject) for each in last}
    held = {each.subject for each in last if each.created}
    yield "# The field\n"
    yield (
        f"{len(held)} layers of {len({*map(family, held)})} frameworks and packages, held to the "
        "equations in every dtype that they compute in. `nox -s publish` makes this page.\n"
    )
    yield matrix(history) + "\n"
    yield legend() + "\n"
    yield "## What was published, and what changed\n"
    yield from _changes(history)
    yield "## Layer by layer\n"
    yield (
        "Versions are those of the packages; numbers are checks, passed of those that the layer "
        "supports. [Findings](findings.md) has a script for each deviation, "
        "[Conventions](reference/conventions.md) what each layer's parameters mean.\n"
    )
    for name in sorted(frameworks):
        yield from _details(name, [each for each in last if family(each.subject) == name])


def _details(name: str, own: Sequence[Standing]) -> Iterator[str]:
    versions = ", ".join(dict.fromkeys(each.version for each in own if each.version))
    yield f"### {name} {{#{_anchor(name)}}}\n"
    yield f"{plain(versions) or 'Not installed when it was held'}.\n"
    dtypes = [dtype for dtype in SHORT if any(each.dtype == dtype for each in own)]
    by_subject: dict[str, dict[str, Standing]] = {}
    for each in own:
        by_subject.setdefault(each.subject, {})[each.dtype] = each
    lines = [f"| layer | {' | '.join(dtypes)} |", "|---" * (1 + len(dtypes)) + "|"]
    lines += [
        f"| {plain(subject)} | {' | '.join(_counted(of.get(dtype)) for dtype in dtypes)} |"
        for subject, of in by_subject.items()
    ]
    yield "\n".join(lines) + "\n"
    reasons: dict[str, dict[str, None]] = {}
    for each in own:
        for reason in each.deviations:
            reasons.setdefault(reason, {})[each.subject] = None
    yield "".join(f"* {plain(', '.join(of))}: {plain(why)}\n" for why, of in reasons.items())


def _counted(standing: Standing | None) -> str:
    if standing is None:
        return ""
    supported = sum(n for name, n in standing.counts.items() if name != "not supported")
    return _shown(standing.verdict, f"{standing.counts.get('passed', 0)} of {supported}")


def _changes(history: Sequence[Standing]) -> Iterator[str]:
    """Yield a line for each day of publication, and below it every standing that changed."""
    held = sorted((each for each in history if each.created), key=lambda each: each.created)
    days = grouped((each.created[:10], each) for each in held)
    before: dict[tuple[str, str], Standing] = {}
    entries: list[str] = []
    for day, published in days.items():
        now = {each.place: each for each in published}
        counts = Counter(each.verdict for each in now.values())
        words = ", ".join(_shown(name, counts[name]) for name in MARKS if counts[name])
        sources = dict.fromkeys(f"{each.gatewise} ({each.source[:7]})" for each in published)
        text = f"* **{day}**, gatewise {', '.join(sources)}: "
        text += f"{len({s for s, _ in now})} layers; layers × dtypes: {words}.\n"
        entries.append(text + "".join(f"    * {line}\n" for line in _differences(before, now)))
        before |= now
    yield "".join(reversed(entries))


def _differences(
    before: Mapping[tuple[str, str], Standing], now: Mapping[tuple[str, str], Standing]
) -> Iterator[str]:
    """Yield what stands otherwise than before, layers and dtypes with the same change together."""
    alike: dict[str, list[str]] = {}
    for place, each in now.items():
        old = before.get(place)
        if old is not None and old.verdict != each.verdict:
            change = " → ".join(_shown(name, name) for name in (old.verdict, each.verdict))
            if old.version != each.version:
                change += f" ({plain(old.version)} → {plain(each.version)})"
            alike.setdefault(change, []).append(" ".join(place))
    for change, places in alike.items():
        yield f"{change}: {plain(', '.join(places))}"


if __name__ == "__main__":
    try:
        history, *runs = map(Path, sys.argv[1:])
        print(f"{add(history, runs)} lines added to {history}")
    except ValueError as error:  # a RunFileError is one
        sys.exit(f"{error}; usage: python -m gatewise.reports.field HISTORY RUN...")
