"""Speed in a report: who is faster where, and how near the machine's ceilings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ...bench.run import BenchRun
from ...bench.speed import rows
from ...bench.speed.analysis import Row, analysed, geometric_mean
from ..section import Cell, Figure, Section, Table
from . import ladder
from . import speed_figures as figures

FIGURES = (figures.against_sizes, figures.heat, figures.passes, figures.errors, figures.memory,
           figures.compiling, ladder.figure)  # fmt: skip

VERDICTS = ("cell", "dtype", "pass", "contender", "against", "times as fast", "least", "most",
            "shapes", "FASTER", "SLOWER", "SAME", "AMBIGUOUS")  # fmt: skip
HEADINGS = ("cell", "shape", "dtype", "contender", "pass", "algorithm", "status", "error",
            "error/bound", "median (ms)", "95 % (ms)", "µs/step", "GFLOP/s", "recurrent GFLOP/s",
            "of ceiling (%)", "in turn (%)", "bound by", "d log t/d log B", "d log t/d log H",
            "peak (MB)", "of formula", "first call (s)", "times as fast")  # fmt: skip


def section(runs: Sequence[BenchRun]) -> Section:
    """Return the machine, the verdicts, the figures, every row, and who has no time."""
    analyses = [row for run in runs for row in analysed(run)]
    ceilings = _ceilings(runs)
    parts: list[Figure | Table] = []
    if verdicts := _verdicts(analyses):
        parts.append(verdicts)
    if roof := figures.roofline(analyses, ceilings):
        parts.append(roof)
    parts += [figure for draw in FIGURES if (figure := draw(analyses))]
    if rungs := ladder.table(analyses):
        parts.append(rungs)
    if timed := [row for row in analyses if row.entry.timing]:
        parts.append(Table("Every row", HEADINGS, tuple(map(_row, timed))))
    if missing := _missing(analyses):
        parts.append(missing)
    parts.append(_machine(ceilings))
    return Section("speed", "Speed", tuple(_told(runs, analyses)), tuple(parts))


def _told(runs: Sequence[BenchRun], analyses: Sequence[Row]) -> list[str]:
    counted = Counter(row.entry.status for row in analyses)
    said = ", ".join(f"{counted[status]} {status}" for status in rows.STATUSES if counted[status])
    floors = ", ".join(f"{100 * rows.floor(run):.1f} %" for run in runs)
    left = sum(len(run.untested) for run in runs)
    paragraphs = [
        f"{len(analyses)} rows: {said or 'none'}. A row has a time only after its outputs and "
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
    if left:
        paragraphs.append(f"{left} planned pieces have not been measured.")
    return paragraphs


def _ceilings(runs: Sequence[BenchRun]) -> dict[str, float]:
    """Return the ceilings of the runs by name; of several runs the highest."""
    limits: dict[str, float] = {}
    for run in runs:
        for name, value in rows.piece(run, rows.CEILINGS).get("ceilings", {}).items():
            best = min if name.startswith("empty") else max
            limits[name] = best(limits.get(name, value), float(value))
    return limits


def _verdicts(analyses: Sequence[Row]) -> Table | None:
    """Return geometric means of ratios, by cell, pass and contender."""
    series: dict[tuple[str, str, str, str, str], list[Row]] = {}
    for r in analyses:
        if r.comparison:
            key = (r.group.cell, r.group.dtype, r.entry.of, r.entry.subject, r.baseline)
            series.setdefault(key, []).append(r)
    if not series:
        return None
    lines: list[tuple[Cell, ...]] = []
    for key, alike in series.items():
        ratios = [1 / r.comparison.ratio for r in alike if r.comparison]
        counted = Counter(r.comparison.verdict for r in alike if r.comparison)
        mean = f"{geometric_mean(ratios):.2f}"
        lines.append((
            *key, mean, f"{min(ratios):.2f}", f"{max(ratios):.2f}", len(ratios),
            *(counted[verdict] for verdict in VERDICTS[-4:]),
        ))  # fmt: skip
    note = "Geometric means over shapes of ratios of speeds; those of each shape are below."
    return Table("Who is faster", VERDICTS, tuple(lines), note)


def _row(r: Row) -> tuple[Cell, ...]:
    entry, timing, gate = r.entry, r.entry.timing, r.entry.gate
    assert timing is not None  # noqa: S101
    assert gate is not None  # noqa: S101
    c = r.comparison
    return (
        r.group.cell,
        str(r.shape),
        r.group.dtype,
        entry.subject,
        entry.of,
        entry.algorithm,
        entry.status,
        f"{max(gate.outputs, gate.gradients or 0.0):.1e}",
        gate.ratio,
        1e3 * timing.median,
        f"{1e3 * timing.low:.3g} to {1e3 * timing.high:.3g}",
        r.us_per_step,
        r.gflops,
        r.recurrent_gflops,
        None if r.share is None else 100 * r.share,
        None if r.sequential is None else 100 * r.sequential,
        r.regime,
        r.by_rows,
        r.by_width,
        None if entry.peak is None else entry.peak / 1e6,
        r.memory,
        entry.first,
        f"{1 / c.ratio:.2f} ({1 / c.high:.2f} to {1 / c.low:.2f}) {c.verdict}" if c else "",
    )


def _missing(analyses: Sequence[Row]) -> Table | None:
    """Return who has no time, and why."""
    reasons: dict[tuple[str, str, str], list[Row]] = {}
    for r in analyses:
        if r.entry.timing is None:
            reasons.setdefault((r.entry.status, r.entry.subject, r.entry.message), []).append(r)
    if not reasons:
        return None
    lines = tuple(
        (status, subject, len(alike), ", ".join(dict.fromkeys(r.entry.of for r in alike)), message)
        for (status, subject, message), alike in reasons.items()
    )
    return Table("Without a time", ("status", "contender", "rows", "passes", "reason"), lines)


def _machine(ceilings: Mapping[str, float]) -> Table:
    lines = tuple((name, f"{value:.3g}") for name, value in ceilings.items())
    return Table("Ceilings of this machine, measured", ("what", "value"), lines)
