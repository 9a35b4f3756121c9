"""The ladder in the section on speed: an LSTM made faster, rung by rung."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...bench.speed.analysis import Row
from ...bench.speed.contender import PASSES
from ...bench.speed.ladder import RUNGS
from ...bench.timing.comparison import Comparison
from ..section import Figure, Table
from .charts import alt, plot, tooltip

PLACES = {rung.name: place for place, rung in enumerate(RUNGS)}


def table(analyses: Sequence[Row]) -> Table | None:
    """Return the table of each rung's gain over the one below, and of the counts of a call."""
    rungs = _rungs(analyses)
    if not rungs:
        return None
    return Table.of(
        "The ladder", map(_row, rungs),
        "Six ways to compute the same LSTM in NumPy, each with one thing changed, in the order of "
        "Appleyard, Kocisky & Blunsom (2016, arXiv:1604.01946). Verdicts are about the ratio to "
        "the next lower rung that has a time. Counts do not depend on the machine: matrix "
        "products, calls of NumPy, arrays that were allocated for results, bytes written to them, "
        "and bytes in use when a forward pass has returned.",
    )  # fmt: skip


def _rungs(analyses: Sequence[Row]) -> list[Row]:
    """Return the timed rungs by dtype, shape and pass, the lowest first."""
    rungs = [r for r in analyses if r.entry.subject in PLACES and r.entry.timing]
    return sorted(rungs, key=lambda r: (r.group.dtype, r.shape, PASSES.index(r.entry.of),
                                        PLACES[r.entry.subject]))  # fmt: skip


def _row(r: Row) -> dict[str, str]:
    counts, steps = r.entry.counts or {}, r.shape.T

    def per_step(name: str) -> str:
        return f"{counts.get(name, 0) / steps:.3g}"

    def millions(name: str) -> str:
        return f"{counts.get(name, 0) / 1e6:.3g}"

    return {
        "shape": f"{r.shape} {r.group.dtype}", "pass": r.entry.of, "rung": _name(r),
        "µs/step": f"{r.us_per_step:.3g}", "times as fast as below": times(r.gain),
        "verdict": r.gain.verdict if r.gain else "",
        "times as fast as the baseline": times(r.comparison),
        "products/step": per_step("products"), "Mflop": millions("flop"),
        "calls/step": per_step("calls"), "arrays/step": per_step("made"),
        "written (MB)": millions("written"), "kept (MB)": millions("kept"),
        "what is new": RUNGS[PLACES[r.entry.subject]].change,
    }  # fmt: skip


def _name(r: Row) -> str:
    return f"{PLACES[r.entry.subject] + 1} {r.entry.subject.partition(':')[2]}"


def times(c: Comparison | None) -> str:
    """Return a speedup with its interval, "" without a comparison."""
    return f"{1 / c.ratio:.2f} ({1 / c.high:.2f} to {1 / c.low:.2f})" if c else ""


def figure(analyses: Sequence[Row]) -> Figure | None:
    """Return the figure of each rung's speed over that of the first."""
    rungs = [r for r in _rungs(analyses) if r.comparison or r.entry.subject == RUNGS[0].name]
    rungs = [r for r in rungs if r.baseline in ("", RUNGS[0].name)]
    if len(rungs) < 2:
        return None
    records = [
        {
            "rung": _name(r), "shape": f"{r.shape} {r.group.dtype}", "pass": r.entry.of,
            "speedup": 1 / c.ratio if (c := r.comparison) else 1.0,
            "least": 1 / c.high if c else 1.0, "most": 1 / c.low if c else 1.0,
        }
        for r in rungs
    ]  # fmt: skip
    ends = {(v["shape"], v["pass"]): f"{v['shape']} {v['pass']}: {v['speedup']:.2f} times"
            for v in records}  # fmt: skip
    return Figure(
        "speed-ladder", "Speed over the first rung",
        "Medians of ratios within rounds, with 95 % intervals; the dashed line is the first rung.",
        f"From the first rung to the last: {'; '.join(ends.values())}.",
        lambda: _chart(records),
    )  # fmt: skip


def _chart(records: Sequence[dict[str, Any]]) -> Any:
    base = plot(records)
    colour = alt.Color("shape:N", title=None, legend=alt.Legend(orient="top", columns=3))
    speed = alt.Y("speedup:Q", title="times as fast as the first rung", scale=alt.Scale(zero=False))
    x = alt.X("rung:N", title=None, axis=alt.Axis(labelAngle=-40))
    line = base.mark_line(point=True).encode(
        x,
        speed,
        colour,
        tooltip=tooltip("shape:N", "rung:N", "pass:N", "speedup:Q", "least:Q", "most:Q"),
    )
    interval = base.mark_rule(strokeWidth=2).encode(x, alt.Y("least:Q"), alt.Y2("most:Q"), colour)
    unity = base.mark_rule(strokeDash=[4, 4]).encode(alt.YDatum(1))
    panel = alt.layer(unity, interval, line).properties(width=220, height=250)
    return panel.facet(column=alt.Column("pass:N", title=None, sort=list(PASSES)))
