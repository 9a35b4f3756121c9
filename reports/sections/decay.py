"""Gradient decay in a report: held to theory first, then how far back gradients reach."""

from __future__ import annotations

from collections.abc import Sequence

from ...bench.decay.rows import ClippingRow, CostRow, DecayRow, LayerRow, ValidationRow, of_kind
from ...bench.run import BenchRun
from ..section import Figure, Section, Table
from . import decay_figures as figures
from . import decay_tables as tables


def section(runs: Sequence[BenchRun]) -> Section:
    """Return what theory says, and norms, rates, exponents, products, dtypes and clipping."""
    rows = [row for run in runs for row in run.rows]
    laws: list[ValidationRow] = of_kind(rows, "validation")
    decays: list[DecayRow] = of_kind(rows, "decay")
    layers: list[LayerRow] = of_kind(rows, "layer")
    clips: list[ClippingRow] = of_kind(rows, "clipping")
    costs: list[CostRow] = of_kind(rows, "cost")
    unmeasured = [row for row in rows if row["status"] != "OK"]
    left = sum(len(run.untested) for run in runs)
    parts: list[Figure | Table] = []
    if decays:
        parts += _decay_parts(decays)
    if layers:
        parts += [tables.figure(layers), tables.table(layers)]
    if clips:
        parts += [figures.clipping(clips), tables.clipping(clips)]
    if laws:
        parts.append(tables.laws(laws))
    if costs:
        parts.append(tables.costs(costs))
    return Section(
        "decay", "Gradient decay", (*_told(laws, decays), *_left(unmeasured, left)), tuple(parts)
    )


def _decay_parts(decays: Sequence[DecayRow]) -> list[Figure | Table]:
    usual = figures.chosen(decays)
    parts: list[Figure | Table] = [figures.lags(usual), figures.states(usual)]
    if any(row.losses for row in usual):
        parts.append(tables.losses(usual))
    if biased := figures.by_bias(decays):
        parts.append(biased)
    if gained := figures.by_gain(decays):
        parts.append(gained)
    parts += [tables.rates(decays), tables.means(usual)]
    parts += [figures.spectra(usual), tables.spectra(decays)]
    if any(row.products for row in usual):
        parts.append(figures.products(usual))
    return parts


def _told(laws: Sequence[ValidationRow], decays: Sequence[DecayRow]) -> tuple[str, ...]:
    """Return what was measured, of what, and whether theory agrees."""
    paragraphs = []
    wrong = [row for row in laws if not row.passed]
    if laws:
        paragraphs.append(
            f"Of {len(laws)} laws, what is measured obeys {len(laws) - len(wrong)}."
            + "".join(f" IT DOES NOT OBEY: {row.statement}" for row in wrong)
        )
    if decays:
        first = decays[0]
        paragraphs += [
            "The loss is a random unit projection of the last hidden state; its gradient on the "
            f"states before is followed back over {first.steps} steps, for {first.seeds} seeds, "
            "each with weights, inputs and projection of its own. U ~ N(0, g²/H), "
            "W ~ N(0, 1/D), inputs N(0, 1); all biases are 0 but that of the gate that keeps the "
            "state, whose bias b keeps σ(b) of it. Where nothing else is said g = 1 and b = 1.",
            "Rates are slopes of ln ‖gradient‖ a step beyond the first fifth of the lags: means "
            "over seeds of logs, not logs of means, which the luckiest seed alone would decide. "
            "At rest means without input, in the zero state.",
        ]
    if any(row.cell.startswith("skip") for row in decays):
        paragraphs.append(
            "The gradients of Skip cells are straight-through estimates: what training uses, not "
            "derivatives of what the cells compute."
        )
    return tuple(paragraphs)


def _left(unmeasured: Sequence[dict[str, object]], left: int) -> tuple[str, ...]:
    paragraphs = [f"Not measured: {row['id']}: {row.get('message', '')}" for row in unmeasured]
    if left:
        paragraphs.append(f"Not tested: {left} pieces that were planned.")
    return tuple(paragraphs)
