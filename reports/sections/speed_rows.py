"""The figures of speed whose points are rows: ceilings, passes, errors, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...bench.speed.analysis import Row
from ...bench.speed.contender import BACKWARD, DATA, FORWARD, TRAINING
from ..section import Figure
from .speed_marks import TOOLTIP, cells, colour, kind, log, values

MOST_GROUPS = 5
"""Groups whose passes are shown."""


def roofline(found: Sequence[Row], ceilings: Mapping[str, float]) -> Figure | None:
    """Rows under what the machine can do at most: the speed of products, and of copies."""
    forward = [r for r in found if r.entry.of == FORWARD and r.gflops and r.intensity]
    peaks = _peaks(found, ceilings)
    bandwidth = ceilings.get("copy GB/s")
    if not (forward and peaks and bandwidth):
        return None

    def chart() -> Any:
        import altair as alt

        least = min(r.intensity or 1.0 for r in forward) / 2
        most = 2 * max([*(r.intensity or 1.0 for r in forward), max(peaks.values()) / bandwidth])
        roof = [
            {"x": x, "y": min(peak, x * bandwidth), "dtype": dtype}
            for dtype, peak in peaks.items()
            for x in (least, peak / bandwidth, most)
        ]
        x = alt.X("intensity:Q", title="operations for each byte, weights streamed (flop/byte)",
                  scale=log(alt))  # fmt: skip
        y = alt.Y("gflops:Q", title="speed (GFLOP/s)", scale=log(alt))
        named = cells(forward)
        records = [v | {"mark": named[v["cell"]]} for v in values(forward)]
        points = alt.Chart(alt.Data(values=records)).mark_point(filled=True, size=45)
        line = alt.Chart(alt.Data(values=roof)).mark_line(color="currentColor", strokeWidth=1.5)
        roofs = line.encode(alt.X("x:Q"), alt.Y("y:Q"), detail="dtype:N")
        ends = alt.Chart(alt.Data(values=[p for p in roof if p["x"] == most]))
        names = ends.mark_text(align="right", dy=-7).encode(
            alt.X("x:Q"), alt.Y("y:Q"), text="dtype:N"
        )
        shown = points.encode(
            x, y, colour(alt, forward), alt.Shape("mark:N", title=None), tooltip=TOOLTIP
        )
        return alt.layer(roofs, names, shown)

    return Figure(
        "speed-roofline",
        "Under the ceilings of this machine",
        "Each point is a forward pass. The roof was measured in the same session: the slope is the "
        "speed of a copy, the flat part the best speed of matrix products. Weights may stay in a "
        "cache between steps, so that points may lie above the slope.",
        "Forward passes as points, operations for each byte against speed, under the roof that "
        "copies and matrix products set.",
        chart,
    )


def _peaks(found: Sequence[Row], ceilings: Mapping[str, float]) -> dict[str, float]:
    """Return the best speed of matrix products by dtype, of a large one or of any group's."""
    best = {name.split()[1]: v for name, v in ceilings.items() if name.startswith("product")}
    for group in {row.group.id: row.group for row in found}.values():
        for of, seconds in group.ceiling.items():
            rate = group.work[of]["flop"] / seconds / 1e9
            best[group.dtype] = max(best.get(group.dtype, rate), rate)
    return best


def passes(found: Sequence[Row]) -> Figure | None:
    """Forward, gradients of data, gradients of weights, where they can be had apart."""
    records = [part for rows in _some(_apart(found)) for part in _stacked(rows)]
    if not records:
        return None

    def chart() -> Any:
        import altair as alt

        order = ["forward", "gradients of data", "gradients of weights"]
        x = alt.X("ms:Q", title="time of a call (ms)")
        y = alt.Y("contender:N", title=None, axis=alt.Axis(labelLimit=220))
        part = alt.Color("part:N", title=None, sort=order, scale=alt.Scale(domain=order))
        bars = alt.Chart().mark_bar().encode(x, y, part, alt.Order("place:O"),
                                             tooltip=["part:N", "ms:Q"])  # fmt: skip
        header = alt.Header(labelAngle=0, labelAnchor="start", labelOrient="top")
        faceted = bars.properties(width=420, height=alt.Step(22)).facet(
            row=alt.Row("group:N", title=None, header=header, sort=None),
            data=alt.Data(values=records),
        )
        return faceted.resolve_scale(x="independent", y="independent")

    return Figure(
        "speed-passes",
        "What a training step is made of",
        "Gradients of data are measured with parameters that want none; those of weights are the "
        "whole backward pass less that. The latter are one product over all steps, the others wait "
        "for the step before.",
        "Stacked bars of the time of forward pass, gradients of data and gradients of weights.",
        chart,
    )


def _apart(found: Sequence[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    """Return, by group and contender, the rows by pass, where data has been had alone."""
    by: dict[tuple[str, str], dict[str, Row]] = {}
    for row in found:
        if row.entry.timing:
            by.setdefault((row.group.id, row.entry.subject), {})[row.entry.of] = row
    needed = {FORWARD, BACKWARD, DATA}
    return {key: rows for key, rows in by.items() if needed <= rows.keys()}


def _some(apart: Mapping[tuple[str, str], dict[str, Row]]) -> list[dict[str, Row]]:
    """Return those of at most so many groups, spread over how long they take."""
    longest: dict[str, float] = {}
    for (group, _), of in apart.items():
        longest[group] = max(longest.get(group, 0.0), of[BACKWARD].seconds or 0.0)
    order = sorted(longest, key=lambda group: longest[group])
    step = max(1, -(-len(order) // MOST_GROUPS))
    chosen = order[::-1][::step]
    return [rows for group in chosen for (own, _), rows in apart.items() if own == group]


def _stacked(rows: Mapping[str, Row]) -> list[dict[str, Any]]:
    ahead, data, back = (1e3 * (rows[of].seconds or 0.0) for of in (FORWARD, DATA, BACKWARD))
    parts = {
        "forward": ahead,
        "gradients of data": data,
        "gradients of weights": max(back - data, 0.0),
    }
    about = {"contender": rows[FORWARD].entry.subject, "group": rows[FORWARD].group.id}
    return [
        {**about, "part": name, "ms": ms, "place": place}
        for place, (name, ms) in enumerate(parts.items())
    ]


def errors(found: Sequence[Row]) -> Figure | None:
    """The error with which a row was let through, against its time."""
    records = [
        v | {"error": error}
        for v, r in zip(values(found), [r for r in found if r.entry.timing], strict=True)
        if r.entry.gate and (error := max(r.entry.gate.outputs, r.entry.gate.gradients or 0.0)) > 0
    ]
    if not records:
        return None

    def chart() -> Any:
        import altair as alt

        base = alt.Chart(alt.Data(values=records)).mark_point(filled=True, size=45, opacity=0.8)
        return base.encode(
            alt.X("us:Q", title="µs for each step in time", scale=log(alt)),
            alt.Y("error:Q", title="largest relative error", scale=log(alt),
                  axis=alt.Axis(format=".0e")),
            colour(alt, found),
            alt.Shape("pass:N", title=None),
            tooltip=[*TOOLTIP, "error:Q"],
        )  # fmt: skip

    return Figure(
        "speed-errors",
        "Error and time",
        "Every row was held to the float64 reference in its own shape before it was timed; what "
        "did not stay within its derived bound has no time. Gradients through a ReLU stand out: "
        "on which side of 0 a sum falls is decided by its rounding.",
        "Relative error against time a step, a point for each row.",
        chart,
    )


def memory(found: Sequence[Row]) -> Figure | None:
    """Peak memory against the least that a pass must hold."""
    records: list[dict[str, Any]] = [
        {
            "kind": kind(r),
            "contender": r.entry.subject,
            "pass": r.entry.of,
            "shape": str(r.shape),
            "peak": r.entry.peak / 1e6,
            "least": r.group.work[r.entry.of]["held_bytes"] / 1e6,
        }
        for r in found
        if r.entry.peak and r.entry.timing and r.entry.of in (FORWARD, TRAINING)
    ]
    if not records:
        return None

    def chart() -> Any:
        import altair as alt

        ends = [f(v["least"] for v in records) for f in (min, max)]
        diagonal = alt.Chart(alt.Data(values=[{"x": e} for e in ends])).mark_line(
            color="currentColor", strokeDash=[4, 4], strokeWidth=1
        )
        points = alt.Chart(alt.Data(values=records)).mark_point(filled=True, size=45, opacity=0.8)
        shown = points.encode(
            alt.X("least:Q", title="what must be held (MB)", scale=log(alt)),
            alt.Y("peak:Q", title="peak of a call (MB)", scale=log(alt)),
            colour(alt, found),
            alt.Shape("pass:N", title=None),
            tooltip=["contender:N", "pass:N", "shape:N", "peak:Q", "least:Q"],
        )
        return alt.layer(diagonal.encode(alt.X("x:Q"), alt.Y("x:Q")), shown)

    return Figure(
        "speed-memory",
        "Memory, and what the formula says",
        "What must be held: forward the results; in training what is kept for the gradients (words "
        "of bench cost) and the gradients. The peak is what the library's allocator handed out "
        "during one call. Dashed: as much as must be.",
        "Peak memory of calls against the least that they must hold, on logarithmic axes.",
        chart,
    )
