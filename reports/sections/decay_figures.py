"""Figures of a decay bench: norms against lag, spectra, products, clipping."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from ...bench.decay.rows import ClippingRow, DecayRow
from ..section import Figure
from .decay_choice import family

LOG10 = 1 / math.log(10)
SMALLEST = {"float16": -24, "float32": -149, "float64": -1074}
"""Powers of two of the smallest numbers above 0."""

LARGEST = {"float16": 16, "float32": 128, "float64": 1024}
"""Powers of two that are just too large."""

NORM = "norm of the gradient (log10)"

TOP = 10
"""Orders of magnitude above 1 that are shown of what should vanish."""


def lags(rows: Sequence[DecayRow]) -> Figure:
    """Return norms against lag of one cell of each kind, with bands, dtypes and the bound."""
    shown = family(rows)
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
        "steeply: " + _fastest(shown),
        lambda: _lags(shown),
    )  # fmt: skip


def states(rows: Sequence[DecayRow]) -> Figure:
    """Return norms against lag on each state, a panel for each cell."""
    return Figure(
        "decay-states", "The same for every cell, state by state",
        "Medians over seeds with bands from 10 % to 90 %. Gradients on h, on c and, in Skip "
        "cells, on ũ fall at the same rate, as they feed each other.",
        "A panel for each cell; in each the lines of its states lie close together.",
        lambda: _states(rows),
    )  # fmt: skip


def spectra(rows: Sequence[DecayRow]) -> Figure:
    """Return the Lyapunov exponents of one cell of each kind."""
    shown = [row for row in family(rows) if row.spectrum]
    return Figure(
        "decay-spectra", "Lyapunov exponents of the whole state",
        "All exponents, from the first to the last, against their place among them; in brackets "
        "by how much their sum misses the mean of ln |det J|. Above 0 gradients explode.",
        "Falling curves; the first exponents lie below 0, those of gated cells closest to it.",
        lambda: _spectra(shown),
    )  # fmt: skip


def products(rows: Sequence[DecayRow]) -> Figure:
    """Return the singular values of products of Jacobians over several lags."""
    shown = [row for row in family(rows) if row.products][:4]
    return Figure(
        "decay-products", "Singular values of ∂s_T/∂s_{T−k}",
        "All singular values of the product of k Jacobians of the whole state, of the first seed, "
        "far below what float64 could hold. A gradient keeps only the directions of the first.",
        "Curves for lags 1, 10 and 100: the longer the lag, the lower and steeper.",
        lambda: _products(shown),
    )  # fmt: skip


def clipping(rows: Sequence[ClippingRow]) -> Figure:
    """Return exploding gradients with and without clipping."""
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
    import altair as alt

    values = [value for row in shown for value in _curve(row, "joint")]
    least = min((v["low"] for v in values if v["low"] is not None), default=-1.0)
    bottom = min(10 * math.floor(least / 10), -10)
    scale = alt.Scale(domain=[bottom, TOP], nice=False)
    names = [row.cell for row in shown]
    lag = alt.X("lag:Q", title="lag k (steps)", scale=alt.Scale(nice=False))
    base = alt.Chart(alt.Data(values=values))
    colour = alt.Color("cell:N", sort=names, legend=None)
    norm = alt.Y("median:Q", title=NORM, scale=scale, axis=alt.Axis(tickCount=8))
    band = base.mark_area(opacity=0.16, clip=True).encode(
        lag, alt.Y("low:Q", scale=scale), alt.Y2("high:Q"), colour
    )
    line = base.mark_line(clip=True).encode(
        lag, norm, colour, alt.StrokeDash("cell:N", sort=names, legend=None),
        tooltip=["cell:N", "lag:Q", "low:Q", "median:Q", "high:Q"],
    )  # fmt: skip
    ends = alt.Chart(alt.Data(values=_apart(values, (TOP - bottom) / 22)))
    labels = ends.mark_text(align="left", dx=6, fontSize=12).encode(
        lag, alt.Y("median:Q", scale=scale), colour, text="cell:N"
    )
    layers = [band, line, labels, *_dtypes(SMALLEST, (bottom, TOP), scale)]
    if drawn := [value for row in shown for value in _bound(row)]:
        bound = alt.Chart(alt.Data(values=drawn)).mark_line(
            strokeDash=[6, 4], color="currentColor", strokeWidth=1.2, clip=True
        )
        layers.append(bound.encode(lag, alt.Y("median:Q", scale=scale)))
    return alt.layer(*layers).properties(width=520, height=380)


def _states(rows: Sequence[DecayRow]) -> Any:
    import altair as alt

    values = [v for row in rows for name in row.bands if name != "joint" for v in _curve(row, name)]
    base = alt.Chart(alt.Data(values=values))
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
    names = [row.cell for row in rows]
    return panel.facet(alt.Facet("cell:N", title=None, sort=names), columns=4)


def _spectra(shown: Sequence[DecayRow]) -> Any:
    import altair as alt

    values = [
        {"cell": name, "place": (k + 0.5) / len(exponents), "exponent": value}
        for row, name, exponents in _residuals(shown)
        for k, value in enumerate(exponents)
        if value is not None
    ]
    names = [name for _, name, _ in _residuals(shown)]
    cell = {"sort": names, "title": "cell (residual of the sum rule)"}
    legend = alt.Legend(labelLimit=320)
    line = alt.Chart(alt.Data(values=values)).mark_line(point=alt.OverlayMarkDef(size=14))
    zero = alt.Chart(alt.Data(values=[{"exponent": 0}])).mark_rule(strokeWidth=1)
    return alt.layer(
        line.encode(
            alt.X("place:Q", title="place among all exponents", axis=alt.Axis(format="%")),
            alt.Y("exponent:Q", title="exponent λ (1/step)"),
            alt.Color("cell:N", legend=legend, **cell),
            alt.StrokeDash("cell:N", legend=None, sort=names),
            tooltip=["cell:N", "place:Q", "exponent:Q"],
        ),
        zero.encode(y="exponent:Q"),
    ).properties(width=420, height=320)


def _residuals(shown: Sequence[DecayRow]) -> Iterator[tuple[DecayRow, str, Sequence[float | None]]]:
    for row in shown:
        if found := row.spectrum:
            missed = found.unsummed if found.residual is None else f"{found.residual:.0e}"
            yield row, f"{row.cell} ({missed})".replace("e-0", "e-"), found.exponents


def _products(shown: Sequence[DecayRow]) -> Any:
    import altair as alt

    values = [
        {"cell": row.cell, "lag": str(product.lag), "place": k + 1, "size": value * LOG10}
        for row in shown
        for product in row.products
        for k, value in enumerate(product.log_sigma)
        if value is not None
    ]
    lags = sorted({value["lag"] for value in values}, key=lambda lag: int(str(lag)))
    line = alt.Chart(alt.Data(values=values)).mark_line(point=alt.OverlayMarkDef(size=10))
    panel = line.encode(
        alt.X("place:Q", title="number of the singular value"),
        alt.Y("size:Q", title="singular value (log10)"),
        alt.Color("lag:N", title="lag k (steps)", sort=lags),
        alt.StrokeDash("lag:N", legend=None, sort=lags),
        tooltip=["cell:N", "lag:N", "place:Q", "size:Q"],
    ).properties(width=230, height=170)
    names = [row.cell for row in shown]
    return panel.facet(alt.Facet("cell:N", title=None, sort=names), columns=2).resolve_scale(
        x="independent"
    )


def _clipping(rows: Sequence[ClippingRow]) -> Any:
    import altair as alt

    curves = {
        "state, not clipped": "carried",
        "state, clipped at every step": "carried_clipped",
        "parameters, not clipped": "gradient",
        "parameters, clipped once by norm": "by_norm",
    }
    values = [
        {"cell": f"{row.cell}, g = {row.gain:g}", "what": what, "lag": lag, "norm": value * LOG10}
        for row in rows
        for what, name in curves.items()
        for lag, value in zip(row.lags, getattr(row, name), strict=True)
        if value is not None
    ]
    what = {"sort": list(curves), "title": "gradient of the"}
    legend = alt.Legend(orient="top", columns=2, labelLimit=320)
    base = alt.Chart(alt.Data(values=values))
    line = base.mark_line().encode(
        alt.X("lag:Q", title="lag (steps)"),
        alt.Y("norm:Q", title=NORM),
        alt.Color("what:N", legend=legend, **what),
        alt.StrokeDash("what:N", legend=None, sort=list(curves)),
        tooltip=["what:N", "lag:Q", "norm:Q"],
    )
    end = base.mark_rule(strokeDash=[2, 3], strokeWidth=1).encode(
        alt.YDatum(LARGEST["float32"] * math.log10(2))
    )
    panel = alt.layer(line, end).properties(width=170, height=200)
    return panel.facet(alt.Facet("cell:N", title=None), columns=3)


def _curve(row: DecayRow, state: str) -> Iterator[dict[str, Any]]:
    """Yield the points of a curve in powers of ten; those of a gradient of zero are left out."""
    band = row.bands[state]
    for lag, low, median, high in zip(row.lags, band.low, band.median, band.high, strict=True):
        if low is not None and median is not None and high is not None:
            yield {"cell": row.cell, "state": state, "lag": lag, "low": low * LOG10,
                   "median": median * LOG10, "high": high * LOG10}  # fmt: skip


def _bound(row: DecayRow) -> Iterator[dict[str, float]]:
    if row.bound is not None:
        for lag in row.lags:
            yield {"lag": lag, "median": lag * row.bound * LOG10}


def _apart(values: Sequence[dict[str, Any]], least: float) -> list[dict[str, Any]]:
    """Return the last point of every curve, moved so that no two lie closer than ``least``."""
    ends = sorted({v["cell"]: dict(v) for v in values}.values(), key=lambda v: -v["median"])
    for above, below in pairwise(ends):
        below["median"] = min(below["median"], above["median"] - least)
    return ends


def _dtypes(powers: dict[str, int], span: tuple[float, float], scale: Any) -> list[Any]:
    """Return a dotted line, with its name, where each dtype ends, of those that are in the span."""
    import altair as alt

    values = [
        {"name": f"{name} ends", "size": power * math.log10(2)}
        for name, power in powers.items()
        if span[0] < power * math.log10(2) < span[1]
    ]
    base = alt.Chart(alt.Data(values=values)).encode(alt.Y("size:Q", scale=scale))
    rule = base.mark_rule(strokeDash=[2, 3], strokeWidth=1)
    text = base.mark_text(align="left", baseline="bottom", dx=5, dy=-2, fontSize=11)
    return [rule, text.encode(alt.XDatum(0), text="name:N")] if values else []


def _fastest(shown: Sequence[DecayRow]) -> str:
    said = [f"{row.cell} {row.rate.value:.3f}" for row in shown if row.rate.value is not None]
    return "slopes of ln a step: " + ", ".join(said) + "."
