"""Figures of what a decay bench varies: forget bias and gain, with what theory has for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...bench.decay import closed_forms
from ...bench.decay.rows import DecayRow
from ..section import Figure
from .decay_choice import varied

POINTS = 60
"""Of a curve of theory."""


def by_bias(rows: Sequence[DecayRow]) -> Figure | None:
    """Return half-lives against forget bias, with the formula's curve; None if none was varied."""
    found = varied(rows, lambda r: r.forget_bias, lambda r: (r.gain, r.hidden))
    if not found:
        return None
    left = [
        f"{row.cell} at b = {row.forget_bias:g}"
        for of_cell in found.values() for row in of_cell if row.sense != "vanishes"
    ]  # fmt: skip
    return Figure(
        "decay-bias", "How long the gradient lasts, by forget bias",
        "Steps in which it halves: measured, with the 95 % interval over seeds, on all paths and "
        "on the direct one (mean over units), beside ln 2 / ln(1 + e^−b). Inputs move the gates, "
        "and the mean of ln f is below the ln of the mean; other paths add to the direct one."
        + (f" Without half-life, as it does not vanish: {', '.join(left)}." if left else ""),
        "Half-lives grow with the bias along the formula's curve; with all paths they are longer.",
        lambda: _by_bias(found),
    )  # fmt: skip


def by_gain(rows: Sequence[DecayRow]) -> Figure | None:
    """Return rates against gain, with thresholds; None if it was not varied."""
    found = varied(rows, lambda r: r.gain, lambda r: (r.forget_bias, r.hidden))
    if not found:
        return None
    return Figure(
        "decay-gain", "When gradients explode, by gain",
        "Slope of ln ‖gradient‖ a step: driven by inputs (circles, with the 95 % interval over "
        "seeds), and at rest in the zero state (squares), beside theory for H → ∞ (line) and the "
        "gain from which it explodes there (dashed). Inputs drive gates and tanh away from their "
        "steepest point, and so put it off.",
        "Rates rise with the gain; at rest they cross 0 at the predicted threshold, driven later.",
        lambda: _by_gain(found),
    )  # fmt: skip


def _by_bias(found: dict[str, list[DecayRow]]) -> Any:
    import altair as alt

    rows = [row for of_cell in found.values() for row in of_cell]
    values = [value for row in rows for value in _half_lives(row)]
    least, most = (f(row.forget_bias for row in rows if row.forget_bias is not None)
                   for f in (min, max))  # fmt: skip
    formula = [
        {"b": b, "steps": closed_forms.half_life(b)} for b in _between(least - 0.3, most + 0.3)
    ]
    bias = alt.X("b:Q", title="forget bias b", scale=alt.Scale(nice=False))
    ticks = [k * 10**power for power in range(-1, 5) for k in (1, 2, 5)]
    steps = alt.Y("steps:Q", title="half-life (steps)", axis=alt.Axis(values=ticks, format="~g"),
                  scale=alt.Scale(type="log", nice=False, padding=12))  # fmt: skip
    curve = alt.Chart(alt.Data(values=formula)).mark_line(color="currentColor", strokeWidth=1.5)
    end = alt.Chart(alt.Data(values=formula[-1:])).mark_text(
        align="right", dx=-16, dy=-2, fontSize=12, text="ln 2 / ln(1 + exp(−b))"
    )
    base = alt.Chart(alt.Data(values=values))
    colour = alt.Color("cell:N", title="cell", sort=list(found))
    points = base.mark_point(size=70, strokeWidth=2, opacity=1).encode(
        bias, steps, colour, alt.Shape("path:N", title="measured on"),
        tooltip=["cell:N", "path:N", "b:Q", "steps:Q", "low:Q", "high:Q"],
    )  # fmt: skip
    bars = base.mark_rule(strokeWidth=1.5).encode(bias, alt.Y("low:Q"), alt.Y2("high:Q"), colour)
    return alt.layer(
        curve.encode(bias, steps), end.encode(bias, steps), bars, points
    ).properties(width=440, height=320)  # fmt: skip


def _half_lives(row: DecayRow) -> list[dict[str, Any]]:
    rate, found = row.rate, []
    if row.sense == "vanishes" and row.half_life and rate.low and rate.high:
        found.append({
            "cell": row.cell, "path": "all paths", "b": row.forget_bias, "steps": row.half_life,
            "low": math.log(2) / -rate.low, "high": math.log(2) / -rate.high,
        })  # fmt: skip
    if row.direct is not None and row.direct < 0:
        steps = math.log(2) / -row.direct
        found.append({
            "cell": row.cell, "path": "direct path", "b": row.forget_bias, "steps": steps,
            "low": steps, "high": steps,
        })  # fmt: skip
    return found


def _by_gain(found: dict[str, list[DecayRow]]) -> Any:
    import altair as alt

    rows = [row for of_cell in found.values() for row in of_cell]
    points = [
        {"cell": row.cell, "g": row.gain, "what": what, "rate": rate.value,
         "low": rate.low if rate.low is not None else rate.value,
         "high": rate.high if rate.high is not None else rate.value}
        for row in rows
        for what, rate in (("driven", row.rate), ("at rest", row.rest))
        if rate is not None and rate.value is not None
    ]  # fmt: skip
    theory = [
        {"cell": name, "g": g, "rate": value}
        for name, of_cell in found.items()
        for g in _between(of_cell[0].gain, of_cell[-1].gain)
        if g > 0
        and (value := closed_forms.rate_at_rest(name, g, of_cell[0].forget_bias)) is not None
    ]
    crossings = [
        {"cell": name, "threshold": of_cell[0].threshold}
        for name, of_cell in found.items()
        if of_cell[0].threshold is not None
    ]
    # One table for all layers, so that they can be drawn in panels: each layer takes its own rows.
    values = [*points, *theory, *crossings, *({"cell": name, "zero": 0} for name in found)]
    base, gain = alt.Chart(alt.Data(values=values)), alt.X("g:Q", title="gain g")
    kinds = ["driven", "at rest"]
    colour = alt.Color("what:N", title=None, sort=kinds, legend=alt.Legend(orient="top"))
    measured = base.transform_filter("isValid(datum.what)")
    layers = [
        base.transform_filter("isValid(datum.zero)").mark_rule(strokeWidth=1).encode(y="zero:Q"),
        base.transform_filter("isValid(datum.threshold)")
        .mark_rule(strokeDash=[5, 4], strokeWidth=1.2)
        .encode(x="threshold:Q"),
        base.transform_filter("!isValid(datum.what) && isValid(datum.g)")
        .mark_line(color="currentColor", strokeWidth=1.2)
        .encode(gain, alt.Y("rate:Q", title="rate (1/step)")),
        measured.mark_rule(strokeWidth=1.5).encode(
            gain, alt.Y("low:Q"), alt.Y2("high:Q"), colour
        ),
        measured.mark_point(filled=True, size=55, opacity=1).encode(
            gain, alt.Y("rate:Q"), colour, alt.Shape("what:N", sort=kinds, legend=None),
            tooltip=["cell:N", "what:N", "g:Q", "rate:Q", "low:Q", "high:Q"],
        ),
    ]  # fmt: skip
    panel = alt.layer(*layers).properties(width=180, height=210)
    return panel.facet(alt.Facet("cell:N", title=None, sort=list(found)), columns=3)


def _between(least: float, most: float) -> list[float]:
    return [least + (most - least) * k / (POINTS - 1) for k in range(POINTS)]
