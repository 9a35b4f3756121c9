"""The figures of speed: ceilings, passes, errors, memory, sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...bench.speed.analysis import Row
from ...bench.speed.contender import BACKWARD, DATA, FORWARD, TRAINING
from ...bench.timing.comparison import AMBIGUOUS
from ...verify.subjects import family
from ..section import Figure, grouped
from .charts import alt, log, plot, tooltip

MOST_GROUPS = 5
"""The most groups whose passes are shown."""


def roofline(analyses: Sequence[Row], ceilings: Mapping[str, float]) -> Figure | None:
    """Return the figure of rows below the machine's ceilings: products and copies."""
    forward = [r for r in analyses if r.entry.of == FORWARD and r.gflops and r.intensity]
    peaks = _peaks(analyses, ceilings)
    bandwidth = ceilings.get("copy GB/s")
    if not (forward and peaks and bandwidth):
        return None

    def chart() -> Any:
        least = min(r.intensity or 1.0 for r in forward) / 2
        most = 2 * max([*(r.intensity or 1.0 for r in forward), max(peaks.values()) / bandwidth])
        roof = [
            {"x": x, "y": min(peak, x * bandwidth), "dtype": dtype}
            for dtype, peak in peaks.items()
            for x in (least, peak / bandwidth, most)
        ]
        x = alt.X("intensity:Q", title="operations for each byte, weights streamed (flop/byte)",
                  scale=log())  # fmt: skip
        y = alt.Y("gflops:Q", title="speed (GFLOP/s)", scale=log())
        named = cells(forward)
        records = [v | {"mark": named[v["cell"]]} for v in values(forward)]
        points = plot(records).mark_point(filled=True, size=45)
        line = plot(roof).mark_line(color="currentColor", strokeWidth=1.5)
        roofs = line.encode(alt.X("x:Q"), alt.Y("y:Q"), alt.Detail("dtype:N"))
        ends = plot([p for p in roof if p["x"] == most])
        names = ends.mark_text(align="right", dy=-7).encode(
            alt.X("x:Q"), alt.Y("y:Q"), alt.Text("dtype:N")
        )
        shown = points.encode(
            x, y, colour(forward), alt.Shape("mark:N", title=None), tooltip=tooltip(*TOOLTIP)
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


def _peaks(analyses: Sequence[Row], ceilings: Mapping[str, float]) -> dict[str, float]:
    """Return the best speed of matrix products by dtype, over all sizes."""
    best = {name.split()[1]: v for name, v in ceilings.items() if name.startswith("product")}
    for group in {row.group.id: row.group for row in analyses}.values():
        for phase, seconds in group.ceiling.items():
            rate = group.work[phase]["flop"] / seconds / 1e9
            best[group.dtype] = max(best.get(group.dtype, rate), rate)
    return best


def passes(analyses: Sequence[Row]) -> Figure | None:
    """Return the figure of the passes: forward, gradients of data, gradients of weights."""
    records = [part for rows in _some(_rows_by_pass(analyses)) for part in _stack(rows)]
    if not records:
        return None

    def chart() -> Any:
        order = ["forward", "gradients of data", "gradients of weights"]
        x = alt.X("ms:Q", title="time of a call (ms)")
        y = alt.Y("contender:N", title=None, axis=alt.Axis(labelLimit=220))
        part = alt.Color("part:N", title=None, sort=order, scale=alt.Scale(domain=order))
        bars = alt.Chart().mark_bar().encode(x, y, part, alt.Order("place:O"),
                                             tooltip=tooltip("part:N", "ms:Q"))  # fmt: skip
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


def _rows_by_pass(analyses: Sequence[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    """Return, by group and contender, the rows by pass, if the gradient of data was timed alone."""
    timed = grouped(((r.group.id, r.entry.subject), r) for r in analyses if r.entry.timing)
    by_pass = {key: {row.entry.of: row for row in rows} for key, rows in timed.items()}
    return {key: rows for key, rows in by_pass.items() if rows.keys() >= {FORWARD, BACKWARD, DATA}}


def _some(passes: Mapping[tuple[str, str], dict[str, Row]]) -> list[dict[str, Row]]:
    """Return the rows of at most ``MOST_GROUPS`` groups, spread over their times."""
    longest: dict[str, float] = {}
    for (group, _), rows_by_pass in passes.items():
        longest[group] = max(longest.get(group, 0.0), rows_by_pass[BACKWARD].seconds or 0.0)
    order = sorted(longest, key=lambda group: longest[group])
    step = max(1, -(-len(order) // MOST_GROUPS))
    chosen = order[::-1][::step]
    return [rows for group in chosen for (id, _), rows in passes.items() if id == group]


def _stack(rows: Mapping[str, Row]) -> list[dict[str, Any]]:
    ahead, data, full = (1e3 * (rows[name].seconds or 0.0) for name in (FORWARD, DATA, BACKWARD))
    parts = {
        "forward": ahead,
        "gradients of data": data,
        "gradients of weights": max(full - data, 0.0),
    }
    about = {"contender": rows[FORWARD].entry.subject, "group": rows[FORWARD].group.id}
    return [
        {**about, "part": name, "ms": ms, "place": place}
        for place, (name, ms) in enumerate(parts.items())
    ]


def errors(analyses: Sequence[Row]) -> Figure | None:
    """Return the figure of errors against times."""
    records = [
        v | {"error": error}
        for v, r in zip(values(analyses), [r for r in analyses if r.entry.timing], strict=True)
        if r.entry.gate and (error := max(r.entry.gate.outputs, r.entry.gate.gradients or 0.0)) > 0
    ]
    if not records:
        return None

    def chart() -> Any:
        base = plot(records).mark_point(filled=True, size=45, opacity=0.8)
        return base.encode(
            alt.X("us:Q", title="µs for each step in time", scale=log()),
            alt.Y("error:Q", title="largest relative error", scale=log(),
                  axis=alt.Axis(format=".0e")),
            colour(analyses),
            alt.Shape("pass:N", title=None),
            tooltip=tooltip(*TOOLTIP, "error:Q"),
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


def memory(analyses: Sequence[Row]) -> Figure | None:
    """Return the figure of peak memory against the least that a pass needs."""
    records: list[dict[str, Any]] = [
        {
            "kind": kind(r),
            "contender": r.entry.subject,
            "pass": r.entry.of,
            "shape": str(r.shape),
            "peak": r.entry.peak / 1e6,
            "least": r.group.work[r.entry.of]["held_bytes"] / 1e6,
        }
        for r in analyses
        if r.entry.peak and r.entry.timing and r.entry.of in (FORWARD, TRAINING)
    ]
    if not records:
        return None

    def chart() -> Any:
        ends = [f(v["least"] for v in records) for f in (min, max)]
        diagonal = plot([{"x": e} for e in ends]).mark_line(
            color="currentColor", strokeDash=[4, 4], strokeWidth=1
        )
        points = plot(records).mark_point(filled=True, size=45, opacity=0.8)
        shown = points.encode(
            alt.X("least:Q", title="what must be held (MB)", scale=log()),
            alt.Y("peak:Q", title="peak of a call (MB)", scale=log()),
            colour(analyses),
            alt.Shape("pass:N", title=None),
            tooltip=tooltip("contender:N", "pass:N", "shape:N", "peak:Q", "least:Q"),
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


# Shared by the figures: names and colours of contenders, records, axes.


KINDS = ("numpy", "numpy-fast", "torch-native", "torch-onednn", "torch cells", "torch-compile",
         "cudnn", "cudnn-graph", "torch-cuda")  # fmt: skip
"""The order of the families' colours; others follow."""


def kind(row: Row) -> str:
    """Return the name of a contender in figures, the same for all cells."""
    name = row.entry.subject
    framework = family(name)
    if framework == "ladder":
        return name
    return "torch cells" if framework == "torch" and name.endswith("Cell") else framework


def colour(analyses: Iterable[Row]) -> Any:
    """Return the colour channel of the contenders in ``analyses``."""
    kinds = {kind(row) for row in analyses}
    order = [name for name in KINDS if name in kinds] + sorted(kinds - set(KINDS))
    return alt.Color("kind:N", title=None, sort=order, scale=alt.Scale(domain=order))


def values(analyses: Iterable[Row]) -> list[dict[str, Any]]:
    """Return rows as records, in the units of the axes."""
    return [
        {
            "kind": kind(r),
            "contender": r.entry.subject,
            "cell": r.group.cell,
            "dtype": r.group.dtype,
            "pass": r.entry.of,
            "shape": str(r.shape),
            "T": r.shape.T,
            "B": r.shape.B,
            "H": r.shape.H,
            "us": r.us_per_step,
            "low": 1e6 * r.entry.timing.low / r.shape.T,
            "high": 1e6 * r.entry.timing.high / r.shape.T,
            "gflops": r.gflops,
            "intensity": r.intensity,
            "share": r.share,
            "status": r.entry.status,
        }
        for r in analyses
        if r.entry.timing
    ]


def cells(analyses: Iterable[Row]) -> dict[str, str]:
    """Return each cell's name in the legend of shapes; cells of one contender are "other cells"."""
    kinds = grouped((row.group.cell, kind(row)) for row in analyses)
    often = [cell for cell in kinds if len({*kinds[cell]}) > 1][:MOST_SHAPES]
    return {cell: cell if cell in often else "other cells" for cell in kinds}


MOST_SHAPES = 6
"""The most marks that a reader can tell apart."""

TOOLTIP = ["contender:N", "cell:N", "pass:N", "shape:N", "us:Q", "gflops:Q", "status:N"]


# The figures of speed against sizes: H, B and T, ratios over H and B, compilation over T.


def against_sizes(analyses: Sequence[Row]) -> Figure | None:
    """Return the figure of microseconds per step against H, B and T, all else fixed."""
    chosen = _of_most_rows(analyses)
    panels = {size: _longest_series(chosen, size) for size in "HBT"}
    panels = {size: rows for size, rows in panels.items() if rows}
    if not panels:
        return None

    def chart() -> Any:
        shown = colour([r for rows in panels.values() for r in rows])
        return alt.hconcat(
            *(_panel(size, rows, shown, n) for n, (size, rows) in enumerate(panels.items()))
        )

    cell, dtype = chosen[0].group.cell, chosen[0].group.dtype
    fixed = {
        size: ", ".join(f"{n} = {getattr(rows[0].shape, n)}" for n in "HBT" if n != size)
        for size, rows in panels.items()
    }
    others = "; ".join(f"against {size}: {rest}" for size, rest in fixed.items())
    return Figure(
        "speed-sizes",
        f"Time of a training step of {cell}, for each step in time",
        f"{dtype}; {others}. Bars are 95 % intervals of the median. Dashed lines are the widths at "
        "which PyTorch asks cuDNN for another algorithm.",
        f"Microseconds a step of {cell} against its sizes, one line for each contender, on "
        "logarithmic axes.",
        chart,
    )


def _panel(size: str, rows: Sequence[Row], shown: Any, number: int) -> Any:
    names = {"H": "units H", "B": "rows B", "T": "steps T"}
    ticks = sorted({getattr(r.shape, size) for r in rows})
    x = alt.X(f"{size}:Q", title=names[size], scale=log(),
              axis=alt.Axis(values=ticks, format="d"))  # fmt: skip
    y = alt.Y("us:Q", title="µs for each step in time" if number == 0 else None, scale=log())
    base = plot(values(rows))
    line = base.mark_line(point=True).encode(x, y, shown, tooltip=tooltip(*TOOLTIP))
    bars = base.mark_rule().encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), shown)
    layers = [line, bars]
    cell = rows[0].group.cell
    if size == "H" and any(kind(r).startswith("cudnn") for r in rows):
        at = [{"H": edge} for edge in edges(cell, backward=True) if ticks[0] <= edge <= ticks[-1]]
        rule = plot(at).mark_rule(strokeDash=[4, 4])
        layers.append(rule.encode(alt.X("H:Q")))
    return alt.layer(*layers).properties(width=200, height=240)


SMALL = {"rnn": (384, 256), "lstm": (192, 128), "gru": (192, 128)}
"""The widest H of cuDNN's small persistent kernels, forward and backward (PyTorch's RNN.cpp)."""

PERSISTENT_WIDTH = 1024
"""The widest H of its persistent kernels, which take float16 alone."""


def edges(cell: str, *, backward: bool = False) -> tuple[int, ...]:
    """Return the widths H beyond which PyTorch asks cuDNN for another algorithm."""
    kind = cell.partition("-")[0]
    return (SMALL[kind][backward], PERSISTENT_WIDTH) if kind in SMALL else ()


def _of_most_rows(analyses: Sequence[Row]) -> list[Row]:
    """Return the timed rows of training, for the cell and dtype with the most rows.

    A run of the ladder beside others has many contenders, at one shape.
    """
    timed = [r for r in analyses if r.entry.of == TRAINING and r.entry.timing]
    timed = [r for r in timed if r.shape.layers == r.shape.directions == 1]
    if not timed:
        return []

    def variety(key: tuple[str, str]) -> tuple[int, int]:
        alike = [r for r in timed if (r.group.cell, r.group.dtype) == key]
        return len(alike), len({kind(r) for r in alike})

    best = max(dict.fromkeys((r.group.cell, r.group.dtype) for r in timed), key=variety)
    return [r for r in timed if (r.group.cell, r.group.dtype) == best]


def _longest_series(analyses: Sequence[Row], size: str) -> list[Row]:
    """Return the longest series of rows in which only one size varies."""

    def rest(row: Row) -> tuple[Any, ...]:
        s = row.shape
        return (*(getattr(s, n) for n in "HBT" if n != size), s.D == s.H or s.D)

    series = grouped((rest(row), row) for row in analyses)
    varied = [rows for rows in series.values() if len({getattr(r.shape, size) for r in rows}) > 1]
    return max(varied, key=lambda rows: (len(rows), rest(rows[0])), default=[])


def heat(analyses: Sequence[Row]) -> Figure | None:
    """Return the figure of speedups over the baseline, over H and B."""
    chosen = [r for r in _of_most_rows(analyses) if r.comparison]
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
            "said": f"{1 / r.comparison.ratio:.2g}" + " ?" * (r.comparison.verdict == AMBIGUOUS),
        }
        for r in chosen
        if r.comparison
    ]
    baseline = chosen[0].baseline

    def chart() -> Any:
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
            alt.Text("said:N"),
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


def compiling(analyses: Sequence[Row]) -> Figure | None:
    """Return the figure of the first call of compiled layers against T."""
    compiled = [r for r in analyses if kind(r) == "torch-compile" and r.entry.first]
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
        ticks = sorted({v["T"] for v in records})
        base = plot(records).mark_line(point=True)
        return base.encode(
            alt.X("T:Q", title="steps T", scale=log(), axis=alt.Axis(values=ticks, format="d")),
            alt.Y("seconds:Q", title="first call (s)"),
            alt.Color("contender:N", title=None),
            alt.StrokeDash("pass:N", title=None),
            tooltip=tooltip("contender:N", "pass:N", "T:Q", "seconds:Q"),
        )

    return Figure(
        "speed-compile",
        "What it takes to compile a loop",
        "torch.compile unrolls the loop over time: the first call compiles it, and takes longer "
        "with every step.",
        "Seconds of the first call of compiled loops against the number of steps.",
        chart,
    )
