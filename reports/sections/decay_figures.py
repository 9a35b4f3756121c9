"""Figures of a decay bench: norms against lag, spectra, products, clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from ...bench.decay import closed_forms
from ...bench.decay.rows import ClippingRow, DecayRow
from ..section import Figure
from .charts import alt, panels, plot, tooltip

LOG10 = 1 / math.log(10)
SMALLEST = {"float16": -24, "float32": -149, "float64": -1074}
"""The binary exponents of the smallest numbers above 0."""

LARGEST = {"float16": 16, "float32": 128, "float64": 1024}
"""The binary exponents of the first numbers that overflow."""

NORM = "norm of the gradient (log10)"

TOP = 10
"""The orders of magnitude above 1 on the axis of vanishing gradients."""


def lags(rows: Sequence[DecayRow]) -> Figure:
    """Return the figure of norms against lag, for one cell of each kind."""
    shown = family(rows)
    slopes = [f"{row.cell} {row.rate.value:.3f}" for row in shown if row.rate.value is not None]
    over = [row.bound_excess for row in shown if row.bound_excess is not None]
    bound = (
        " Dashed: the bound (γ ‖U‖₂)^k of the plain RNN, which "
        + ("no draw exceeds at any lag." if max(over) <= 0 else "IS EXCEEDED.")
        if over else ""
    )  # fmt: skip
    return Figure(
        "decay-lag", "The gradient on the state k steps before the loss",
        "Median over seeds of its norm on all states together, with the band from 10 % to 90 %. "
        "Dotted: the smallest number above 0 of an arithmetic." + bound,
        "On a logarithmic axis the norms fall along straight lines, those of the plain RNN most "
        f"steeply: slopes of ln a step: {', '.join(slopes)}.",
        lambda: _lags(shown),
    )  # fmt: skip


def states(rows: Sequence[DecayRow]) -> Figure:
    """Return the figure of norms against lag per state, a panel for each cell."""
    return Figure(
        "decay-states", "The same for every cell, state by state",
        "Medians over seeds with bands from 10 % to 90 %. Gradients on h, on c and, in Skip "
        "cells, on ũ fall at the same rate, as they feed each other.",
        "A panel for each cell; in each the lines of its states lie close together.",
        lambda: _states(rows),
    )  # fmt: skip


def spectra(rows: Sequence[DecayRow]) -> Figure:
    """Return the figure of Lyapunov exponents, for one cell of each kind."""
    shown = [row for row in family(rows) if row.spectrum]
    return Figure(
        "decay-spectra", "Lyapunov exponents of the whole state",
        "All exponents, from the first to the last, against their place among them; in brackets "
        "by how much their sum misses the mean of ln |det J|. Above 0 gradients explode.",
        "Falling curves; the first exponents lie below 0, those of gated cells closest to it.",
        lambda: _spectra(shown),
    )  # fmt: skip


def products(rows: Sequence[DecayRow]) -> Figure:
    """Return the figure of singular values of products of Jacobians over several lags."""
    shown = [row for row in family(rows) if row.products][:4]
    return Figure(
        "decay-products", "Singular values of ∂s_T/∂s_{T−k}",
        "All singular values of the product of k Jacobians of the whole state, of the first seed, "
        "far below what float64 could hold. A gradient keeps only the directions of the first.",
        "Curves for lags 1, 10 and 100: the longer the lag, the lower and steeper.",
        lambda: _products(shown),
    )  # fmt: skip


def clipping(rows: Sequence[ClippingRow]) -> Figure:
    """Return the figure of exploding gradients with and without clipping."""
    return Figure(
        "decay-clipping", "Exploding gradients, with and without clipping",
        "Medians over the same seeds; threshold 1. Solid, and short dashes: not clipped. The "
        "cotangent on the state grows until float32 ends (dotted) unless it is clipped at "
        "every step; the parameters' gradient is limited when it is clipped once at the end, "
        "while it is finite.",
        "Without clipping norms rise along straight lines; with clipping they stay at 1 or below.",
        lambda: _clipping(rows),
    )  # fmt: skip


def _lags(shown: Sequence[DecayRow]) -> Any:
    values = [value for row in shown for value in _curve(row, "joint")]
    least = min((v["low"] for v in values if v["low"] is not None), default=-1.0)
    bottom = min(10 * math.floor(least / 10), -10)
    scale = alt.Scale(domain=[bottom, TOP], nice=False)
    names = [row.cell for row in shown]
    lag = alt.X("lag:Q", title="lag k (steps)", scale=alt.Scale(nice=False))
    base = plot(values)
    colour = alt.Color("cell:N", sort=names, legend=None)
    norm = alt.Y("median:Q", title=NORM, scale=scale, axis=alt.Axis(tickCount=8))
    band = base.mark_area(opacity=0.16, clip=True).encode(
        lag, alt.Y("low:Q", scale=scale), alt.Y2("high:Q"), colour
    )
    line = base.mark_line(clip=True).encode(
        lag, norm, colour, alt.StrokeDash("cell:N", sort=names, legend=None),
        tooltip=tooltip("cell:N", "lag:Q", "low:Q", "median:Q", "high:Q"),
    )  # fmt: skip
    ends = plot(_spread(values, (TOP - bottom) / 22))
    labels = ends.mark_text(align="left", dx=6, fontSize=12).encode(
        lag, alt.Y("median:Q", scale=scale), colour, alt.Text("cell:N")
    )
    layers = [band, line, labels, *_dtypes(SMALLEST, (bottom, TOP), scale)]
    if bounds := [{"lag": lag, "median": lag * row.bound * LOG10}
                  for row in shown if row.bound is not None for lag in row.lags]:  # fmt: skip
        bound = plot(bounds).mark_line(
            strokeDash=[6, 4], color="currentColor", strokeWidth=1.2, clip=True
        )
        layers.append(bound.encode(lag, alt.Y("median:Q", scale=scale)))
    return alt.layer(*layers).properties(width=520, height=380)


def _states(rows: Sequence[DecayRow]) -> Any:
    values = [v for row in rows for name in row.bands if name != "joint" for v in _curve(row, name)]
    base = plot(values)
    lag = alt.X("lag:Q", title="lag (steps)", axis=alt.Axis(tickCount=3))
    state = {"sort": ["h", "c"], "title": "gradient on"}
    colour = alt.Color("state:N", legend=alt.Legend(orient="top", symbolOpacity=1), **state)
    band = base.mark_area(opacity=0.15).encode(
        lag, alt.Y("low:Q", title="norm (log10)"), alt.Y2("high:Q"), colour
    )
    line = base.mark_line(strokeWidth=1.6).encode(
        lag, alt.Y("median:Q"), colour, alt.StrokeDash("state:N", legend=None, **state)
    )
    panel = alt.layer(band, line).properties(width=128, height=96)
    return panels(panel, "cell:N", 4, [row.cell for row in rows])


def _spectra(shown: Sequence[DecayRow]) -> Any:
    named = {f"{row.cell} ({row.spectrum.missed})".replace("e-0", "e-"): row.spectrum
             for row in shown if row.spectrum}  # fmt: skip
    values = [
        {"cell": name, "place": (k + 0.5) / len(spectrum.exponents), "exponent": value}
        for name, spectrum in named.items()
        for k, value in enumerate(spectrum.exponents)
        if value is not None
    ]
    cell = {"sort": list(named), "title": "cell (residual of the sum rule)"}
    legend = alt.Legend(labelLimit=320)
    line = plot(values).mark_line(point=alt.OverlayMarkDef(size=14))
    zero = plot([{"exponent": 0}]).mark_rule(strokeWidth=1)
    return alt.layer(
        line.encode(
            alt.X("place:Q", title="place among all exponents", axis=alt.Axis(format="%")),
            alt.Y("exponent:Q", title="exponent λ (1/step)"),
            alt.Color("cell:N", legend=legend, **cell),
            alt.StrokeDash("cell:N", legend=None, sort=list(named)),
            tooltip=tooltip("cell:N", "place:Q", "exponent:Q"),
        ),
        zero.encode(alt.Y("exponent:Q")),
    ).properties(width=420, height=320)


def _products(shown: Sequence[DecayRow]) -> Any:
    values = [
        {"cell": row.cell, "lag": str(product.lag), "place": k + 1, "size": value * LOG10}
        for row in shown
        for product in row.products
        for k, value in enumerate(product.log_sigma)
        if value is not None
    ]
    lags = sorted({value["lag"] for value in values}, key=lambda lag: int(str(lag)))
    line = plot(values).mark_line(point=alt.OverlayMarkDef(size=10))
    panel = line.encode(
        alt.X("place:Q", title="number of the singular value"),
        alt.Y("size:Q", title="singular value (log10)"),
        alt.Color("lag:N", title="lag k (steps)", sort=lags),
        alt.StrokeDash("lag:N", legend=None, sort=lags),
        tooltip=tooltip("cell:N", "lag:N", "place:Q", "size:Q"),
    ).properties(width=230, height=170)
    return panels(panel, "cell:N", 2, [row.cell for row in shown]).resolve_scale(x="independent")


def _clipping(rows: Sequence[ClippingRow]) -> Any:
    curves = {
        "state, not clipped": "carried",
        "state, clipped at every step": "carried_clipped",
        "parameters, not clipped": "gradient",
        "parameters, clipped once by norm": "by_norm",
    }
    values = [
        {"cell": f"{row.cell}, g = {row.gain:g}", "what": curve, "lag": lag, "norm": value * LOG10}
        for row in rows
        for curve, name in curves.items()
        for lag, value in zip(row.lags, getattr(row, name), strict=True)
        if value is not None
    ]
    curve = {"sort": list(curves), "title": "gradient of the"}
    legend = alt.Legend(orient="top", columns=2, labelLimit=320)
    base = plot(values)
    line = base.mark_line().encode(
        alt.X("lag:Q", title="lag (steps)"),
        alt.Y("norm:Q", title=NORM),
        alt.Color("what:N", legend=legend, **curve),
        alt.StrokeDash("what:N", legend=None, sort=list(curves)),
        tooltip=tooltip("what:N", "lag:Q", "norm:Q"),
    )
    end = base.mark_rule(strokeDash=[2, 3], strokeWidth=1).encode(
        alt.YDatum(LARGEST["float32"] * math.log10(2))
    )
    panel = alt.layer(line, end).properties(width=170, height=200)
    return panels(panel, "cell:N", 3)


def _curve(row: DecayRow, state: str) -> Iterator[dict[str, Any]]:
    """Yield the points of a curve as decimal logs, without those of zero gradients."""
    band = row.bands[state]
    for lag, low, median, high in zip(row.lags, band.low, band.median, band.high, strict=True):
        if low is not None and median is not None and high is not None:
            yield {"cell": row.cell, "state": state, "lag": lag, "low": low * LOG10,
                   "median": median * LOG10, "high": high * LOG10}  # fmt: skip


def _spread(values: Sequence[dict[str, Any]], least: float) -> list[dict[str, Any]]:
    """Return the last point of every curve, moved apart to a distance of ``least``."""
    ends = sorted({v["cell"]: dict(v) for v in values}.values(), key=lambda v: -v["median"])
    for above, below in pairwise(ends):
        below["median"] = min(below["median"], above["median"] - least)
    return ends


def _dtypes(powers: dict[str, int], span: tuple[float, float], scale: Any) -> list[Any]:
    """Return labelled dotted lines at the limits of the dtypes within the span."""
    values = [
        {"name": f"{name} ends", "size": power * math.log10(2)}
        for name, power in powers.items()
        if span[0] < power * math.log10(2) < span[1]
    ]
    base = plot(values).encode(alt.Y("size:Q", scale=scale))
    rule = base.mark_rule(strokeDash=[2, 3], strokeWidth=1)
    text = base.mark_text(align="left", baseline="bottom", dx=5, dy=-2, fontSize=11)
    return [rule, text.encode(alt.XDatum(0), alt.Text("name:N"))] if values else []


# The rows of a decay bench that a figure shows.


Key = TypeVar("Key")

FAMILY = ("rnn", "lstm", "lstm-peephole", "gru", "lstm-phased", "skip-lstm")
"""One cell of each kind in the documents: there are not enough colours for all cells."""


def chosen(rows: Sequence[DecayRow]) -> list[DecayRow]:
    """Return the row of the usual setting of every cell, which is its first in the run.

    The cells of ``FAMILY`` come first, in its order.
    """
    usual: dict[str, DecayRow] = {}
    for row in rows:
        usual.setdefault(row.cell, row)
    return sorted(usual.values(), key=lambda r: (*FAMILY, r.cell).index(r.cell))


def family(rows: Sequence[DecayRow]) -> list[DecayRow]:
    """Return the rows of ``FAMILY``, or the first six if there are fewer than two."""
    members = [row for row in rows if row.cell in FAMILY]
    return members if len(members) > 1 else list(rows)[: len(FAMILY)]


def varied(
    rows: Sequence[DecayRow], value: Callable[[DecayRow], Any], rest: Callable[[DecayRow], Any]
) -> dict[str, list[DecayRow]]:
    """Return, by cell, rows that differ from the usual one in ``value`` alone, in its order.

    Cells with fewer than two such rows are left out.
    """
    by_cell = {}
    for usual in chosen(rows):
        same = [r for r in rows if r.cell == usual.cell and rest(r) == rest(usual)]
        distinct = {value(r): r for r in reversed(same) if value(r) is not None}
        if len(distinct) > 1:
            by_cell[usual.cell] = [distinct[key] for key in sorted(distinct)]
    return by_cell


# Figures of the varied settings, forget bias and gain, beside theory.


POINTS = 60
"""The number of points of a theoretical curve."""

MANY = 8
"""The most cells in one panel; of more, each has its own."""


def by_bias(rows: Sequence[DecayRow]) -> Figure | None:
    """Return half-lives against forget bias, beside the formula; None if it was not varied."""
    by_cell = varied(rows, lambda r: r.forget_bias, lambda r: (r.gain, r.hidden))
    if not by_cell:
        return None
    lasting = [
        f"{row.cell} at b = {row.forget_bias:g}"
        for of_cell in by_cell.values() for row in of_cell if row.sense != "vanishes"
    ]  # fmt: skip
    return Figure(
        "decay-bias", "How long the gradient lasts, by forget bias",
        "Steps in which it halves: measured, with the 95 % interval over seeds, on all paths and "
        "on the direct one (mean over units), beside ln 2 / ln(1 + e^−b). Inputs move the gates, "
        "and the mean of ln f is below the ln of the mean; other paths add to the direct one."
        + (f" Without half-life, as it does not vanish: {', '.join(lasting)}." if lasting else ""),
        "Half-lives grow with the bias along the formula's curve; with all paths they are longer.",
        lambda: _by_bias(by_cell),
    )  # fmt: skip


def by_gain(rows: Sequence[DecayRow]) -> Figure | None:
    """Return rates against gain, with thresholds; None if it was not varied."""
    by_cell = varied(rows, lambda r: r.gain, lambda r: (r.forget_bias, r.hidden))
    if not by_cell:
        return None
    return Figure(
        "decay-gain", "When gradients explode, by gain",
        "Slope of ln ‖gradient‖ a step: driven by inputs (circles, with the 95 % interval over "
        "seeds), and at rest in the zero state (squares), beside theory for H → ∞ (line) and the "
        "gain from which it explodes there (dashed). Inputs drive gates and tanh away from their "
        "steepest point, and so put it off.",
        "Rates rise with the gain; at rest they cross 0 at the predicted threshold, driven later.",
        lambda: _by_gain(by_cell),
    )  # fmt: skip


def _by_bias(by_cell: dict[str, list[DecayRow]]) -> Any:
    rows = [row for of_cell in by_cell.values() for row in of_cell]
    values = [value for row in rows for value in _half_lives(row)]
    least, most = (f(row.forget_bias for row in rows if row.forget_bias is not None)
                   for f in (min, max))  # fmt: skip
    # One table for all layers, so that they can be drawn in panels: each layer takes its own rows.
    base = plot([
        *values,
        *({"cell": name, "b": b, "formula": closed_forms.half_life(b)}
          for name in by_cell for b in _between(least - 0.3, most + 0.3)),
    ])  # fmt: skip
    many = len(by_cell) > MANY
    bias = alt.X("b:Q", title="forget bias b", scale=alt.Scale(nice=False))
    ticks = [k * 10**power for power in range(-1, 5) for k in ((1,) if many else (1, 2, 5))]
    steps = alt.Y("steps:Q", title="half-life (steps)", axis=alt.Axis(values=ticks, format="~g"),
                  scale=alt.Scale(type="log", nice=False, padding=12))  # fmt: skip
    curve = base.transform_filter("isValid(datum.formula)").mark_line(
        color="currentColor", strokeWidth=1.5
    )
    drawn = [curve.encode(bias, alt.Y("formula:Q"), alt.Detail("cell:N"))]
    colour = alt.Color("cell:N", title="cell", sort=list(by_cell))
    path = alt.Shape("path:N", title="measured on")
    if many:
        colour = alt.Color("path:N", title="measured on", legend=alt.Legend(orient="top"))
        path = alt.Shape("path:N", legend=None)
    else:
        end = plot([{"b": most + 0.3, "steps": closed_forms.half_life(most + 0.3)}]).mark_text(
            align="right", dx=-16, dy=-2, fontSize=12, text="ln 2 / ln(1 + exp(−b))"
        )
        drawn.append(end.encode(bias, steps))
    base = base.transform_filter("isValid(datum.steps)")
    points = base.mark_point(size=70, strokeWidth=2, opacity=1).encode(
        bias, steps, colour, path,
        tooltip=tooltip("cell:N", "path:N", "b:Q", "steps:Q", "low:Q", "high:Q"),
    )  # fmt: skip
    bars = base.mark_rule(strokeWidth=1.5).encode(bias, alt.Y("low:Q"), alt.Y2("high:Q"), colour)
    chart = alt.layer(*drawn, bars, points)
    if many:
        return panels(chart.properties(width=128, height=96), "cell:N", 4, list(by_cell))
    return chart.properties(width=440, height=320)


def _half_lives(row: DecayRow) -> Iterator[dict[str, Any]]:
    rate, paths = row.rate, {}
    if row.sense == "vanishes" and row.half_life and rate.low and rate.high:
        interval = math.log(2) / -rate.low, math.log(2) / -rate.high
        paths["all paths"] = row.half_life, *interval
    if row.direct is not None and row.direct < 0:
        paths["direct path"] = (math.log(2) / -row.direct,) * 3
    for path, (steps, low, high) in paths.items():
        yield {"cell": row.cell, "path": path, "b": row.forget_bias, "steps": steps, "low": low,
               "high": high}  # fmt: skip


def _by_gain(by_cell: dict[str, list[DecayRow]]) -> Any:
    rows = [row for of_cell in by_cell.values() for row in of_cell]
    points = [
        {"cell": row.cell, "g": row.gain, "what": kind, "rate": rate.value,
         "low": rate.low if rate.low is not None else rate.value,
         "high": rate.high if rate.high is not None else rate.value}
        for row in rows
        for kind, rate in (("driven", row.rate), ("at rest", row.rest))
        if rate is not None and rate.value is not None
    ]  # fmt: skip
    theory = [
        {"cell": name, "g": g, "rate": value}
        for name, of_cell in by_cell.items()
        for g in _between(of_cell[0].gain, of_cell[-1].gain)
        if g > 0
        and (value := closed_forms.rate_at_rest(name, g, of_cell[0].forget_bias)) is not None
    ]
    crossings = [
        {"cell": name, "threshold": of_cell[0].threshold}
        for name, of_cell in by_cell.items()
        if of_cell[0].threshold is not None
    ]
    # One table for all layers, so that they can be drawn in panels: each layer takes its own rows.
    values = [*points, *theory, *crossings, *({"cell": name, "zero": 0} for name in by_cell)]
    base, gain = plot(values), alt.X("g:Q", title="gain g")
    kinds = ["driven", "at rest"]
    colour = alt.Color("what:N", title=None, sort=kinds, legend=alt.Legend(orient="top"))
    measured = base.transform_filter("isValid(datum.what)")
    layers = [
        base.transform_filter("isValid(datum.zero)").mark_rule(strokeWidth=1).encode(alt.Y("zero:Q")),
        base.transform_filter("isValid(datum.threshold)")
        .mark_rule(strokeDash=[5, 4], strokeWidth=1.2)
        .encode(alt.X("threshold:Q")),
        base.transform_filter("!isValid(datum.what) && isValid(datum.g)")
        .mark_line(color="currentColor", strokeWidth=1.2)
        .encode(gain, alt.Y("rate:Q", title="rate (1/step)")),
        measured.mark_rule(strokeWidth=1.5).encode(
            gain, alt.Y("low:Q"), alt.Y2("high:Q"), colour
        ),
        measured.mark_point(filled=True, size=55, opacity=1).encode(
            gain, alt.Y("rate:Q"), colour, alt.Shape("what:N", sort=kinds, legend=None),
            tooltip=tooltip("cell:N", "what:N", "g:Q", "rate:Q", "low:Q", "high:Q"),
        ),
    ]  # fmt: skip
    return panels(alt.layer(*layers).properties(width=180, height=210), "cell:N", 3, list(by_cell))


def _between(least: float, most: float) -> list[float]:
    return [least + (most - least) * k / (POINTS - 1) for k in range(POINTS)]
