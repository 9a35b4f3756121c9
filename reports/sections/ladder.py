"""The ladder in a report: how an LSTM is made fast, rung by rung."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...bench.ladder.analysis import Step, analysed, rows, times_as_fast
from ...bench.ladder.measuring import FORWARD, PASSES, TRAINING, Row
from ...bench.ladder.rungs import RUNGS
from ...bench.run import BenchRun
from ...bench.timing import FASTER, SLOWER
from ..section import Cell, Figure, Section, Table

TIMES = ("size", "pass", "rung", "median (µs/step)", "95 % (µs/step)", "times as fast as below",
         "95 %", "verdict", "times as fast as the first", "95 % of that", "samples",
         "interrupted (%)", "status")  # fmt: skip
COUNTS = ("size", "pass", "rung", "products", "products (Mflop)", "calls of NumPy",
          "arrays made", "written to them (MB)", "peak (MB)", "kept for the way back (MB)",
          "error/bound", "from the rung below, in bounds")  # fmt: skip

ABOUT_TIMES = (
    "Verdicts are about the ratio to the rung below, corrected for how many there are (Holm); no "
    "difference below the noise floor is called one. Interrupted are samples in which other "
    "programs had the processor; what they took is left out."
)
ABOUT_COUNTS = (
    "These do not depend on the machine. Arrays made are results for which NumPy allocated memory."
)


def section(runs: Sequence[BenchRun]) -> Section:
    """Return the story, times and gains as figures, and every number."""
    found = rows(runs)
    steps = analysed(found)
    parts: list[Figure | Table] = [Table("The rungs", ("", "name", "what is new"), _rungs())]
    if steps:
        parts += [_times(steps), _gains(steps)]
        parts.append(Table("Times", TIMES, tuple(_time(s) for s in steps), ABOUT_TIMES))
        parts.append(Table("Counts of one call", COUNTS, tuple(map(_count, steps)), ABOUT_COUNTS))
    if wrong := tuple(_wrong(found)):
        parts.append(Table("Without a time", ("size", "rung", "status", "why"), wrong))
    return Section("ladder", "How an LSTM is made fast", tuple(_told(runs, found, steps)),
                   tuple(parts))  # fmt: skip


def _told(runs: Sequence[BenchRun], found: Sequence[Row], steps: Sequence[Step]) -> Iterator[str]:
    yield (
        "Six ways to compute the same LSTM in NumPy, each with one thing changed, in the order of "
        "Appleyard, Kocisky & Blunsom (2016, arXiv:1604.01946). Each was first proven equal to the "
        "reference and to the one before, within bounds derived from the arithmetic; then all took "
        "turns on one thread. All do the same products: what changes is how many calls they are, "
        "what is written where, and what waits until the end."
    )
    for row in found:
        yield from _story(row, [s for s in steps if s.size == row.size])
    left = sum(len(run.untested) for run in runs)
    if left:
        yield f"Not measured: {left} sizes that were planned."


def _story(row: Row, steps: Sequence[Step]) -> Iterator[str]:
    """Say in a few sentences what happened at a size."""
    tops = {s.of: s for s in steps}  # the last of each pass
    gained = [s for s in steps if s.of == TRAINING and s.gain]
    if not gained:
        return
    best = min(gained, key=_ratio)
    ends = " and ".join(f"{s.speed_up[0]:.1f} times in {_named(of)}" for of, s in tops.items())
    said = (
        f"{row.size}: {ends} from the first rung to the last. The largest single gain in training "
        f"is “{best.rung.name}”, {1 / _ratio(best):.2f} times."
    )
    if lost := [s for s in steps if s.gain and s.gain.verdict == SLOWER]:
        names = "; ".join(
            f"“{s.rung.name}” takes {_ratio(s):.2f} times as long as the rung below in "
            f"{_named(s.of)}" for s in lost
        )  # fmt: skip
        said += f" Not every step helps: {names}."
    if not any(s.gain and s.gain.verdict == FASTER for s in gained):
        said += " On this machine no single step could be told from noise."
    yield said


def _named(of: str) -> str:
    return "the forward pass" if of == FORWARD else "training"


def _ratio(step: Step) -> float:
    return step.gain.ratio if step.gain else 1.0


def _rungs() -> tuple[tuple[Cell, ...], ...]:
    return tuple((k, rung.name, rung.change) for k, rung in enumerate(RUNGS, 1))


def _time(s: Step) -> tuple[Cell, ...]:
    median, low, high = s.microseconds
    gain, first = times_as_fast(s.gain) if s.gain else None, s.speed_up
    return (
        str(s.size), s.of, s.rung.name, median, f"{low:.3g} to {high:.3g}",
        gain[0] if gain else None, f"{gain[1]:.2f} to {gain[2]:.2f}" if gain else "",
        s.gain.verdict if s.gain else "", first[0], f"{first[1]:.2f} to {first[2]:.2f}",
        s.timing.n, 100 * s.timing.interrupted, s.timing.status,
    )  # fmt: skip


def _count(s: Step) -> tuple[Cell, ...]:
    c, proof = s.counts, s.rung.proof
    return (
        str(s.size), s.of, s.rung.name, c.products, c.flop / 1e6, c.calls, c.made, c.written / 1e6,
        c.peak / 1e6, c.kept / 1e6, proof.error if proof else None,
        proof.from_below if proof else None,
    )  # fmt: skip


def _wrong(found: Sequence[Row]) -> Iterator[tuple[Cell, ...]]:
    for row in found:
        for rung in row.rungs:
            if rung.message:
                yield str(row.size), rung.name, rung.status, rung.message


def _times(steps: Sequence[Step]) -> Figure:
    return Figure(
        "ladder-times", "Time of a step, rung by rung",
        "Medians with 95 % intervals, most of which are narrower than the mark. Training is "
        "forward and backward.",
        _from_to(steps, {id(s): f"{s.microseconds[0]:.3g} µs" for s in steps}),
        lambda: _times_chart(steps),
    )  # fmt: skip


def _gains(steps: Sequence[Step]) -> Figure:
    return Figure(
        "ladder-gains", "Speed over the first rung",
        "Medians of ratios within rounds, with 95 % intervals; the dashed line is the first rung.",
        _from_to(steps, {id(s): f"{s.speed_up[0]:.2f}" for s in steps}),
        lambda: _gains_chart(steps),
    )  # fmt: skip


def _from_to(steps: Sequence[Step], values: Mapping[int, str]) -> str:
    """Say in words where every line starts and ends."""
    lines: dict[str, list[str]] = {}
    for s in steps:
        lines.setdefault(f"{s.size} {s.of}", []).append(values[id(s)])
    return "; ".join(f"{line}: from {v[0]} to {v[-1]}" for line, v in lines.items()) + "."


def _values(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [
        {
            "rung": s.rung.name, "size": str(s.size), "pass": s.of,
            "us": s.microseconds[0], "low": s.microseconds[1], "high": s.microseconds[2],
            "speedup": s.speed_up[0], "least": s.speed_up[1], "most": s.speed_up[2],
            "calls": s.counts.calls / s.size.T, "verdict": s.gain.verdict if s.gain else "",
        }
        for s in steps
    ]  # fmt: skip


def _rung_axis(alt: Any) -> Any:
    names = [rung.name for rung in RUNGS]
    return alt.X("rung:N", title=None, sort=names, axis=alt.Axis(labelAngle=-40))


def _times_chart(steps: Sequence[Step]) -> Any:
    import altair as alt

    sizes = list(dict.fromkeys(str(s.size) for s in steps))
    base = alt.Chart(alt.Data(values=_values(steps)))
    colour = alt.Color("pass:N", title=None, sort=list(PASSES), legend=alt.Legend(orient="top"))
    time = alt.Y("us:Q", title="µs per step", scale=alt.Scale(zero=True))
    x = _rung_axis(alt)
    line = base.mark_line(point=alt.OverlayMarkDef(size=36)).encode(
        x, time, colour, alt.StrokeDash("pass:N", sort=list(PASSES), legend=None),
        tooltip=["size:N", "rung:N", "pass:N", "us:Q", "low:Q", "high:Q", "calls:Q", "verdict:N"],
    )  # fmt: skip
    interval = base.mark_rule(strokeWidth=2).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), colour)
    panel = alt.layer(interval, line).properties(width=155, height=220)
    panels = panel.facet(alt.Facet("size:N", title=None, sort=sizes), columns=3)
    return panels.resolve_scale(y="independent")


def _gains_chart(steps: Sequence[Step]) -> Any:
    import altair as alt

    sizes = list(dict.fromkeys(str(s.size) for s in steps))
    base = alt.Chart(alt.Data(values=_values(steps)))
    colour = alt.Color("size:N", title=None, sort=sizes,
                       legend=alt.Legend(orient="top", columns=3))  # fmt: skip
    speed = alt.Y("speedup:Q", title="times as fast as the first rung", scale=alt.Scale(zero=False))
    x = _rung_axis(alt)
    line = base.mark_line().encode(x, speed, colour)
    mark = base.mark_point(filled=True, size=44).encode(
        x, speed, colour, alt.Shape("size:N", sort=sizes, legend=None),
        tooltip=["size:N", "rung:N", "pass:N", "speedup:Q", "least:Q", "most:Q"],
    )  # fmt: skip
    interval = base.mark_rule(strokeWidth=2).encode(x, alt.Y("least:Q"), alt.Y2("most:Q"), colour)
    one = base.mark_rule(strokeDash=[4, 4]).encode(y=alt.datum(1))
    panel = alt.layer(one, interval, line, mark).properties(width=260, height=250)
    return panel.facet(column=alt.Column("pass:N", title=None, sort=list(PASSES)))
