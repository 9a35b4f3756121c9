"""Speed in a report: comparisons, and shares of the machine's ceilings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...bench.run import BenchRun
from ...bench.speed import rows
from ...bench.speed.analysis import Row, analysed, geometric_mean
from ...bench.timing.comparison import AMBIGUOUS, FASTER, SAME, SLOWER
from ..section import Cell, Figure, Section, Table, grouped
from . import ladder
from . import speed_figures as figures

FIGURES = (figures.against_sizes, figures.heat, figures.passes, figures.errors, figures.memory,
           figures.compiling, ladder.figure)  # fmt: skip


def section(runs: Sequence[BenchRun]) -> Section:
    """Return the verdicts, the figures, every row, the rows without a time, and the ceilings."""
    analyses = [row for run in runs for row in analysed(run)]
    ceilings = _ceilings(runs)
    parts: list[Figure | Table] = []
    drawn = (figures.roofline(analyses, ceilings), *(draw(analyses) for draw in FIGURES))
    parts += filter(None, (_verdicts(analyses), *drawn, ladder.table(analyses)))
    if timed := [row for row in analyses if row.entry.timing]:
        parts.append(Table.of("Every row", map(_row, timed)))
    if missing := _missing(analyses):
        parts.append(missing)
    limits = tuple((name, f"{value:.3g}") for name, value in ceilings.items())
    parts.append(Table("Ceilings of this machine, measured", ("what", "value"), limits))
    return Section("speed", "Speed", tuple(_intro(runs, analyses)), tuple(parts))


def _intro(runs: Sequence[BenchRun], analyses: Sequence[Row]) -> list[str]:
    counted = Counter(row.entry.status for row in analyses)
    counts = ", ".join(f"{counted[status]} {status}" for status in rows.STATUSES if counted[status])
    floors = ", ".join(f"{100 * rows.floor(run):.1f} %" for run in runs)
    untested = sum(len(run.untested) for run in runs)
    paragraphs = [
        f"{len(analyses)} rows: {counts or 'none'}. A row has a time only after its outputs and "
        "gradients were held to the float64 reference in its own shape, within bounds derived "
        "from the arithmetic; NOISY rows have one, with an interval wider than 1 %.",
        f"The session differs from itself by up to {floors} (A/A): nothing smaller is called a "
        "difference. Contenders of a shape took turns; verdicts are about ratios within a round, "
        "corrected for how many there are (Holm).",
        "GFLOP/s count all products, 2 G H (D + H) B T forward, as oneDNN does; the recurrent ones "
        "alone, 2 G H² B T, are what DeepBench counts. The ceiling is the time of the same "
        "products alone, measured beside: a layer that packs its weights once may beat it. In turn "
        "is the part of them that must wait for the step before.",
    ]
    if not any(row.entry.device for row in analyses):
        paragraphs.append("No GPU was measured: what is written for CUDA has not been run here.")
    if untested:
        paragraphs.append(f"{untested} planned pieces have not been measured.")
    return paragraphs


def _ceilings(runs: Sequence[BenchRun]) -> dict[str, float]:
    """Return the ceilings by name, the best of several runs."""
    limits: dict[str, float] = {}
    for run in runs:
        for name, value in rows.piece(run, rows.CEILINGS).get("ceilings", {}).items():
            best = min if name.startswith("empty") else max
            limits[name] = best(limits.get(name, value), float(value))
    return limits


def _verdicts(analyses: Sequence[Row]) -> Table | None:
    """Return the table of geometric means of ratios, by cell, pass and contender."""
    series = grouped(
        ((r.group.cell, r.group.dtype, r.entry.of, r.entry.subject, r.baseline), r)
        for r in analyses
        if r.comparison
    )
    if not series:
        return None
    lines: list[dict[str, Cell]] = []
    for key, alike in series.items():
        ratios = [1 / r.comparison.ratio for r in alike if r.comparison]
        counted = Counter(r.comparison.verdict for r in alike if r.comparison)
        lines.append({
            **dict(zip(("cell", "dtype", "pass", "contender", "against"), key, strict=True)),
            "times as fast": f"{geometric_mean(ratios):.2f}",
            "least": f"{min(ratios):.2f}", "most": f"{max(ratios):.2f}", "shapes": len(ratios),
            **{verdict: counted[verdict] for verdict in (FASTER, SLOWER, SAME, AMBIGUOUS)},
        })  # fmt: skip
    note = "Geometric means over shapes of ratios of speeds; those of each shape are below."
    return Table.of("Who is faster", lines, note)


def _row(r: Row) -> dict[str, Cell]:
    entry, timing, gate, c = r.entry, r.entry.timing, r.entry.gate, r.comparison
    assert timing is not None  # noqa: S101
    assert gate is not None  # noqa: S101
    return {
        "cell": r.group.cell,
        "shape": str(r.shape),
        "dtype": r.group.dtype,
        "contender": entry.subject,
        "pass": entry.of,
        "algorithm": entry.algorithm,
        "status": entry.status,
        "error": f"{max(gate.outputs, gate.gradients or 0.0):.1e}",
        "error/bound": gate.ratio,
        "median (ms)": 1e3 * timing.median,
        "95 % (ms)": f"{1e3 * timing.low:.3g} to {1e3 * timing.high:.3g}",
        "µs/step": r.us_per_step,
        "GFLOP/s": r.gflops,
        "recurrent GFLOP/s": r.recurrent_gflops,
        "of ceiling (%)": None if r.share is None else 100 * r.share,
        "in turn (%)": None if r.sequential is None else 100 * r.sequential,
        "bound by": r.regime,
        "d log t/d log B": r.by_rows,
        "d log t/d log H": r.by_width,
        "peak (MB)": None if entry.peak is None else entry.peak / 1e6,
        "of formula": r.memory,
        "first call (s)": entry.first,
        "times as fast": f"{ladder.times(c)} {c.verdict}" if c else "",
    }


def _missing(analyses: Sequence[Row]) -> Table | None:
    """Return the table of contenders without a time, and the reasons."""
    reasons = grouped(
        ((r.entry.status, r.entry.subject, r.entry.message), r)
        for r in analyses
        if r.entry.timing is None
    )
    if not reasons:
        return None
    return Table.of(
        "Without a time",
        (
            {
                "status": status,
                "contender": subject,
                "rows": len(alike),
                "passes": ", ".join(dict.fromkeys(r.entry.of for r in alike)),
                "reason": message,
            }
            for (status, subject, message), alike in reasons.items()
        ),
    )
