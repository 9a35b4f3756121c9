"""The matrix of the field: the results of every framework's layers, now and before.

Every publication appends a line for each layer and dtype to a history:
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
from .markdown import plain, table
from .section import grouped

CONFORMS, DEVIATES, IN_PART, UNTESTED, NOT_OFFERED, FAILS = (
    "conforms", "known deviations", "in part", "not tested", "not supported", "fails"
)  # fmt: skip
MARKS = {
    FAILS: "✕", UNTESTED: "○", NOT_OFFERED: "–", IN_PART: "◌", DEVIATES: "≈", CONFORMS: "✓"
}  # fmt: skip
"""The mark of each standing, the worst first."""

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
"""The cells of each column of the matrix; the last column is for all others."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The results of one layer in one dtype, when its run was made.

    ``counts`` are its checks by status; ``deviations`` are the reasons of the failures that were
    declared; ``version`` is that of the layer's package.
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
        """One of ``MARKS``, from the counts."""
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
        """The subject and the dtype."""
        return self.subject, self.dtype


def standings(run: Run) -> Iterator[Standing]:
    """Yield the standing of each subject of a run in each of its dtypes."""
    rows = summary.entries(run)
    versions = {tally.name: tally.version for tally in tables.tallies(rows)}
    places = grouped(((row.planned.subject, row.planned.dtype), row) for row in rows)
    for (subject, dtype), entries in places.items():
        cells = Counter(row.verdict.cell for row in entries if row.verdict)
        deviations = [row for row in entries if row.status == KNOWN]
        yield Standing(
            created=run.created, gatewise=run.versions.get("gatewise", ""), source=run.source,
            subject=subject, version=versions[subject],
            cell=cells.most_common(1)[0][0] if cells else "", dtype=dtype,
            counts=dict(Counter(row.status for row in entries)),
            deviations=tuple(gap.reason for gap in summary.gaps(deviations, KNOWN)),
        )  # fmt: skip


def read(history: Path) -> tuple[Standing, ...]:
    """Return the lines of a history; raise RunFileError for any other file."""
    return tuple(records.typed(Standing, line, where) for where, line in records.lines(history))


def add(history: Path, folders: Iterable[Path]) -> int:
    """Append the new standings of runs to a history; return their number."""
    present = {(standing.created, standing.place) for standing in read(history)}
    number = 0
    for folder in folders:
        for standing in standings(run_files.read_checks(folder)):
            if (standing.created, standing.place) not in present:
                records.append(history, standing)
                number += 1
    return number


def complete(history: Sequence[Standing], subjects: Mapping[str, Subject]) -> tuple[Standing, ...]:
    """Return a history with all layers that have an adapter, untested ones added."""
    present = {standing.subject for standing in history}
    untested = (
        Standing(
            created="", gatewise="", source="", subject=name, version="", cell=subject.cells[0],
            dtype=dtype, counts={"not tested": 1},
        )
        for name, subject in subjects.items()
        if name not in present
        for dtype in subject.dtypes
    )  # fmt: skip
    return (*history, *untested)


def latest(history: Iterable[Standing]) -> tuple[Standing, ...]:
    """Return the last standing of every layer and dtype, by subject."""
    last: dict[tuple[str, str], Standing] = {}
    for standing in sorted(history, key=lambda standing: standing.created):
        last[standing.place] = standing
    return tuple(sorted(last.values(), key=lambda standing: standing.place))


def matrix(history: Iterable[Standing]) -> str:
    """Return the matrix in Markdown: frameworks down, cells across, a mark for each dtype."""
    places: dict[str, dict[str, list[Standing]]] = {}
    for standing in latest(history):
        columns = places.setdefault(family(standing.subject), {name: [] for name in COLUMNS})
        columns[next((name for name, cells in COLUMNS.items() if standing.cell in cells),
                "others")].append(standing)  # fmt: skip
    names = [name for name in COLUMNS if any(columns[name] for columns in places.values())]
    return table(["framework", *names], (
        [f"[{plain(name)}](field.md#{_anchor(name)})", *(_marks(columns[n]) for n in names)]
        for name, columns in places.items()
    ))  # fmt: skip


def legend() -> str:
    """Return what the marks of the matrix mean, as a list in Markdown."""
    lines = [f"* {_mark(name, name)}: {meaning}." for name, meaning in MEANINGS.items()]
    return "\n".join([*lines, "* Empty: no such layer, or gatewise has no adapter for it."])


def _marks(standing: Sequence[Standing]) -> str:
    """Return the worst mark of several layers per dtype; dtypes with the same mark are joined."""
    of_dtypes = grouped((layer.dtype, layer.verdict) for layer in standing)
    alike = grouped(
        (next(name for name in MARKS if name in of_dtypes[dtype]), short)
        for dtype, short in SHORT.items()
        if dtype in of_dtypes
    )
    return "<br>".join(_mark(name, " ".join(shorts)) for name, shorts in alike.items())


def _mark(name: str, text: object) -> str:
    """Return a text after the mark of a standing, in its colour."""
    return f'<span class="standing {name.replace(" ", "-")}">{MARKS[name]} {text}</span>'


def _anchor(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def page(history: Sequence[Standing]) -> Iterator[str]:
    """Yield the page in Markdown: the matrix, what changed, and each framework's layers."""
    standings = latest(history)
    frameworks = {family(s.subject) for s in standings}
    dated = {s.subject for s in standings if s.created}
    yield "# The field\n"
    yield (
        f"{len(dated)} layers of {len({*map(family, dated)})} frameworks and packages, held to the "
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
        yield from _details(name, [s for s in standings if family(s.subject) == name])


def _details(name: str, standings: Sequence[Standing]) -> Iterator[str]:
    versions = ", ".join(dict.fromkeys(s.version for s in standings if s.version))
    yield f"### {name} {{#{_anchor(name)}}}\n"
    yield f"{plain(versions) or 'Not installed when it was held'}.\n"
    dtypes = [dtype for dtype in SHORT if any(s.dtype == dtype for s in standings)]
    by_place = {s.place: s for s in standings}
    rows = (
        [plain(subject), *(_count(by_place.get((subject, dtype))) for dtype in dtypes)]
        for subject in dict.fromkeys(s.subject for s in standings)
    )
    yield table(["layer", *dtypes], rows) + "\n"
    reasons = grouped((reason, s.subject) for s in standings for reason in s.deviations)
    yield "".join(
        f"* {plain(', '.join(dict.fromkeys(names)))}: {plain(why)}\n"
        for why, names in reasons.items()
    )


def _count(standing: Standing | None) -> str:
    if standing is None:
        return ""
    supported = sum(n for name, n in standing.counts.items() if name != "not supported")
    return _mark(standing.verdict, f"{standing.counts.get('passed', 0)} of {supported}")


def _changes(history: Sequence[Standing]) -> Iterator[str]:
    """Yield a line for each day of publication, and below it the standings that changed."""
    dated = sorted((s for s in history if s.created), key=lambda s: s.created)
    days = grouped((s.created[:10], s) for s in dated)
    old: dict[tuple[str, str], Standing] = {}
    entries: list[str] = []
    for day, published in days.items():
        new = {s.place: s for s in published}
        counts = Counter(s.verdict for s in new.values())
        words = ", ".join(_mark(name, counts[name]) for name in MARKS if counts[name])
        sources = dict.fromkeys(f"{s.gatewise} ({s.source[:7]})" for s in published)
        text = f"* **{day}**, gatewise {', '.join(sources)}: "
        text += f"{len({s for s, _ in new})} layers; layers × dtypes: {words}.\n"
        entries.append(text + "".join(f"    * {line}\n" for line in _differences(old, new)))
        old |= new
    yield "".join(reversed(entries))


def _differences(
    old_standings: Mapping[tuple[str, str], Standing], new: Mapping[tuple[str, str], Standing]
) -> Iterator[str]:
    """Yield the changed standings; layers and dtypes with the same change are joined."""
    alike: dict[str, list[str]] = {}
    for place, standing in new.items():
        old = old_standings.get(place)
        if old is not None and old.verdict != standing.verdict:
            change = " → ".join(_mark(name, name) for name in (old.verdict, standing.verdict))
            if old.version != standing.version:
                change += f" ({plain(old.version)} → {plain(standing.version)})"
            alike.setdefault(change, []).append(" ".join(place))
    for change, places in alike.items():
        yield f"{change}: {plain(', '.join(places))}"


if __name__ == "__main__":
    try:
        history, *runs = map(Path, sys.argv[1:])
        print(f"{add(history, runs)} lines added to {history}")
    except ValueError as error:  # a RunFileError is one
        sys.exit(f"{error}; usage: python -m gatewise.reports.field HISTORY RUN...")
