"""Published sums of cuDNN's results: printed, computed, and the mistakes that they reject."""

from __future__ import annotations

from collections.abc import Sequence

from ...bench.evidence.plan import (
    PUBLISHED,
    LayerRow,
    MutantRow,
    layer_rows,
    mutant_rows,
    publication,
)
from ...bench.run import BenchRun
from ..section import Section, Table


def section(runs: Sequence[BenchRun]) -> Section:
    """Return the sums; if several runs computed a layer, the last one counts."""
    layers = {row.id: row for run in runs for row in layer_rows(run.rows)}
    mistakes = {row.id: row for run in runs for row in mutant_rows(run.rows)}
    untested = [id for run in runs for id in run.untested if id not in layers | mistakes]
    parts = [_sources(runs), _sums([*layers.values()])]
    if mistakes:
        parts += [_counts([*layers.values()], [*mistakes.values()]), _matrix([*mistakes.values()])]
    title = "What cuDNN returned, as it was published"
    return Section("evidence", title, _intro([*layers.values()], untested), tuple(parts))


def _intro(layers: Sequence[LayerRow], untested: Sequence[str]) -> tuple[str, ...]:
    sums = sum(len(row.sums) for row in layers)
    beyond = [f"{row.group}, {row.cell}: {name}" for row in layers for name in row.beyond]
    intro = [
        f"{len(beyond)} of {sums} published sums are beyond their bounds: {'; '.join(beyond)}."
        if beyond else f"All {sums} published sums are within their derived bounds.",
        "Programs that ran cuDNN on a GPU printed the sum of all elements of each result, for "
        "constant inputs: NVIDIA's RNN sample for one direction, a test of soumith/cudnn.torch for "
        "two. The equations give the same sums; they may differ by what float32 can round, in any "
        "order of summation, and by half a unit of the last printed digit.",
        "A sum says less than a comparison of all elements. With constant weights it cannot show "
        "an order of the gates i, f and o, nor a transposed matrix. No cuDNN ran for this report.",
    ]  # fmt: skip
    if untested:
        intro.append(f"Planned and not tested: {', '.join(untested)}.")
    return tuple(intro)


def _sources(runs: Sequence[BenchRun]) -> Table:
    """Return the sources of the sums: publications, or the path of a user's own."""
    others = [str(path) for run in runs if (path := run.settings.get("path"))]
    groups = publication(PUBLISHED).groups if len(others) < len(runs) else ()
    rows = [
        (group.name, field, text)
        for group in groups
        for field, text in (("source", group.source), ("device", group.device),
                           ("parameters", group.weights), ("its tolerance", group.their_tolerance))
    ]  # fmt: skip
    rows += [("the user's own", "source", path) for path in others]
    return Table("Where the sums come from", ("group", "what", "as published"), tuple(rows))


def _sums(layers: Sequence[LayerRow]) -> Table:
    rows = tuple(
        (row.group, row.cell, s.quantity, s.printed, f"{s.value:.7E}", f"{s.allowed:.1E}", s.ratio)
        for row in layers
        for s in row.sums
    )
    headings = ("group", "cell", "sum of", "printed", "by the equations", "allowed",
                "difference / allowed")  # fmt: skip
    return Table("Published sums", headings, rows, "Beyond 1 a sum refutes the equations.")


def _counts(layers: Sequence[LayerRow], mistakes: Sequence[MutantRow]) -> Table:
    rows = tuple(
        (layer.group, layer.cell, s.quantity, sum(s.quantity in m.rejected_by for m in tried))
        for layer in layers
        if (tried := [m for m in mistakes if (m.group, m.cell) == (layer.group, layer.cell)])
        for s in layer.sums
    )
    return Table("How many known mistakes each sum rejects", ("group", "cell", "sum of", "rejects"),
                 rows)  # fmt: skip


def _matrix(mistakes: Sequence[MutantRow]) -> Table:
    rows = tuple(
        (m.mutant, m.cell, m.group, m.statement,
         "it raises" if m.raised else ", ".join(m.rejected_by) or "no sum")
        for m in sorted(mistakes, key=lambda m: (m.mutant, m.cell, m.group))
    )  # fmt: skip
    headings = ("id", "cell", "group", "mistake", "rejected by")
    return Table("Which sums reject which known mistakes", headings, rows)
