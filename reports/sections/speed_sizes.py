"""The figures of speed against sizes: H, B and T, ratios over H and B, compilation over T."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...bench.speed.analysis import Row
from ...bench.speed.cliffs import edges
from ...bench.speed.contender import FORWARD, TRAINING
from ..section import Figure
from .speed_marks import TOOLTIP, colour, kind, log, values


def against_sizes(found: Sequence[Row]) -> Figure | None:
    """Microseconds a step against H, B and T, everything else fixed."""
    chosen = _of_most_contenders(found, TRAINING)
    panels = {size: _varied(chosen, size) for size in "HBT"}
    panels = {size: rows for size, rows in panels.items() if rows}
    if not panels:
        return None

    def chart() -> Any:
        import altair as alt

        shown = colour(alt, [r for rows in panels.values() for r in rows])
        return alt.hconcat(
            *(_panel(alt, size, rows, shown, n) for n, (size, rows) in enumerate(panels.items()))
        )

    cell, dtype = chosen[0].group.cell, chosen[0].group.dtype
    fixed = {
        size: ", ".join(f"{n} = {getattr(rows[0].shape, n)}" for n in "HBT" if n != size)
        for size, rows in panels.items()
    }
    said = "; ".join(f"against {size}: {rest}" for size, rest in fixed.items())
    return Figure(
        "speed-sizes",
        f"Time of a training step of {cell}, for each step in time",
        f"{dtype}; {said}. Bars are 95 % intervals of the median. Dashed lines are the widths at "
        "which PyTorch asks cuDNN for another algorithm.",
        f"Microseconds a step of {cell} against its sizes, one line for each contender, on "
        "logarithmic axes.",
        chart,
    )


def _panel(alt: Any, size: str, rows: Sequence[Row], shown: Any, number: int) -> Any:
    names = {"H": "units H", "B": "rows B", "T": "steps T"}
    ticks = sorted({getattr(r.shape, size) for r in rows})
    x = alt.X(f"{size}:Q", title=names[size], scale=log(alt),
              axis=alt.Axis(values=ticks, format="d"))  # fmt: skip
    y = alt.Y("us:Q", title="µs for each step in time" if number == 0 else None, scale=log(alt))
    base = alt.Chart(alt.Data(values=values(rows)))
    line = base.mark_line(point=True).encode(x, y, shown, tooltip=TOOLTIP)
    bars = base.mark_rule().encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), shown)
    layers = [line, bars]
    cell = rows[0].group.cell
    if size == "H" and any(kind(r).startswith("cudnn") for r in rows):
        at = [{"H": edge} for edge in edges(cell, backward=True) if ticks[0] <= edge <= ticks[-1]]
        rule = alt.Chart(alt.Data(values=at)).mark_rule(strokeDash=[4, 4])
        layers.append(rule.encode(alt.X("H:Q")))
    return alt.layer(*layers).properties(width=200, height=240)


def _of_most_contenders(found: Sequence[Row], of: str) -> list[Row]:
    """Return the timed rows of a pass of the cell and dtype that most contenders compute."""
    timed = [r for r in found if r.entry.of == of and r.entry.timing]
    timed = [r for r in timed if r.shape.layers == r.shape.directions == 1]
    if not timed:
        return []

    def variety(key: tuple[str, str]) -> tuple[int, int]:
        alike = [r for r in timed if (r.group.cell, r.group.dtype) == key]
        return len({kind(r) for r in alike}), len(alike)

    best = max(dict.fromkeys((r.group.cell, r.group.dtype) for r in timed), key=variety)
    return [r for r in timed if (r.group.cell, r.group.dtype) == best]


def _varied(found: Sequence[Row], size: str) -> list[Row]:
    """Return rows in which one size varies and the others are what gives most points."""

    def rest(row: Row) -> tuple[Any, ...]:
        s = row.shape
        return (*(getattr(s, n) for n in "HBT" if n != size), s.D == s.H or s.D)

    series: dict[tuple[Any, ...], list[Row]] = {}
    for row in found:
        series.setdefault(rest(row), []).append(row)
    varied = [rows for rows in series.values() if len({getattr(r.shape, size) for r in rows}) > 1]
    return max(varied, key=lambda rows: (len(rows), rest(rows[0])), default=[])


def heat(found: Sequence[Row]) -> Figure | None:
    """How many times as fast as the baseline, over H and B."""
    chosen = [r for r in _of_most_contenders(found, TRAINING) if r.comparison]
    steps = max((r.shape.T for r in chosen), default=0)
    chosen = [r for r in chosen if r.shape.T == steps]
    if not chosen:
        return None
    records: list[dict[str, Any]] = [
        {
            "kind": kind(r),
            "H": r.shape.H,
            "B": r.shape.B,
            "log": -math.log2(r.comparison.ratio),
            "said": f"{1 / r.comparison.ratio:.2g}{'' if _decided(r) else ' ?'}",
        }
        for r in chosen
        if r.comparison
    ]
    baseline = chosen[0].baseline

    def chart() -> Any:
        import altair as alt

        x = alt.X("H:O", title="units H", axis=alt.Axis(labelAngle=0))
        y = alt.Y("B:O", title="rows B", sort="descending")
        reach = max(1.0, *(abs(v["log"]) for v in records))
        scale = alt.Scale(scheme="blueorange", domain=[-reach, reach], reverse=True)
        base = alt.Chart().encode(x, y)
        squares = base.mark_rect().encode(
            alt.Color("log:Q", title="times as fast (log 2)", scale=scale)
        )
        dark = alt.expr.abs(alt.datum.log) > 0.6 * reach
        text = base.mark_text().encode(
            text="said:N",
            color=alt.when(dark).then(alt.value("white")).otherwise(alt.value("black")),
        )
        layered = alt.layer(squares, text).properties(width=110, height=110)
        panels = alt.Facet("kind:N", title=None)
        return layered.facet(panels, data=alt.Data(values=records), columns=4)

    return Figure(
        "speed-heat",
        f"A training step of {chosen[0].group.cell}: how many times as fast as {baseline}",
        f"T = {steps}, {chosen[0].group.dtype}. A question mark: no verdict, or a difference that "
        "is smaller than the noise of this session.",
        f"Ratios of speed to {baseline} over units and rows, one panel for each contender.",
        chart,
    )


def _decided(row: Row) -> bool:
    return row.comparison is not None and row.comparison.verdict != "AMBIGUOUS"


def compiling(found: Sequence[Row]) -> Figure | None:
    """The first call of what torch.compile compiles, against T."""
    compiled = [r for r in found if kind(r) == "torch-compile" and r.entry.first]
    records: list[dict[str, Any]] = [
        {
            "T": r.shape.T,
            "seconds": r.entry.first,
            "pass": r.entry.of,
            "contender": r.entry.subject,
        }
        for r in compiled
        if r.entry.of in (FORWARD, TRAINING)
    ]
    if len({v["T"] for v in records}) < 2:
        return None

    def chart() -> Any:
        import altair as alt

        ticks = sorted({v["T"] for v in records})
        base = alt.Chart(alt.Data(values=records)).mark_line(point=True)
        return base.encode(
            alt.X("T:Q", title="steps T", scale=log(alt), axis=alt.Axis(values=ticks, format="d")),
            alt.Y("seconds:Q", title="first call (s)"),
            alt.Color("contender:N", title=None),
            alt.StrokeDash("pass:N", title=None),
            tooltip=["contender:N", "pass:N", "T:Q", "seconds:Q"],
        )

    return Figure(
        "speed-compile",
        "What it takes to compile a loop",
        "torch.compile unrolls the loop over time: the first call compiles it, and takes longer "
        "with every step.",
        "Seconds of the first call of compiled loops against the number of steps.",
        chart,
    )
