"""The charts of the ledger: gradients against lag, and who learns to remember."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...bench.claims.evidence import Curve

DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 2])
LINES = 18
"""So many labels fit one above the other at the end of lines."""


def lines(curves: Sequence[Curve]) -> Callable[[], Any]:
    """Return a chart of log gradients against lag, every line with its name at its end."""

    def chart() -> Any:
        import altair as alt

        names = [curve.series for curve in curves]
        points = [point for curve in curves for point in _points(curve)]
        lag = alt.X("lag:Q", title="lag (steps)", axis=alt.Axis(tickCount=10))
        y = alt.Y("value:Q", title="share of the gradient left (log10)")
        colour = alt.Color("series:N", legend=None, sort=names)
        dashes = alt.Scale(domain=names, range=[DASHES[k % len(DASHES)] for k in range(len(names))])
        base = alt.Chart(alt.Data(values=points))
        line = base.mark_line().encode(
            lag, y, colour, alt.StrokeDash("series:N", legend=None, scale=dashes),
            tooltip=["series:N", "lag:Q", "value:Q"],
        )  # fmt: skip
        name = alt.Chart(alt.Data(values=_labels(curves))).mark_text(align="left", dx=6)
        labels = name.encode(lag, alt.Y("value:Q"), colour, alt.Text("series:N"))
        rule = alt.Chart(alt.Data(values=[{"lag": 20}])).mark_rule(strokeDash=[4, 4])
        layers = [line, labels, rule.encode(alt.X("lag:Q"))]
        if any(curve.low for curve in curves):
            band = base.mark_area(opacity=0.15)
            layers.insert(0, band.encode(lag, alt.Y("low:Q"), alt.Y2("high:Q"), colour))
        return alt.layer(*layers)

    return chart


def bars(curves: Sequence[Curve]) -> Callable[[], Any]:
    """Return a chart of shares: a group of bars for every lag, with intervals."""

    def chart() -> Any:
        import altair as alt

        names = [curve.series for curve in curves]
        points = [point for curve in curves for point in _points(curve)]
        base = alt.Chart(alt.Data(values=points))
        lag = alt.X("lag:O", title="lag (steps)", axis=alt.Axis(labelAngle=0))
        offset = alt.XOffset("series:N", sort=names)
        y = alt.Y("value:Q", title="runs that learn it", axis=alt.Axis(format="%"),
                  scale=alt.Scale(domain=[0, 1]))  # fmt: skip
        colour = alt.Color("series:N", title=None, sort=names)
        bar = base.mark_bar().encode(
            lag, y, colour, offset, tooltip=["series:N", "lag:Q", "value:Q", "low:Q", "high:Q"]
        )
        interval = base.mark_rule().encode(lag, alt.Y("low:Q"), alt.Y2("high:Q"), offset)
        return alt.layer(bar, interval)

    return chart


def _points(curve: Curve) -> Iterator[dict[str, Any]]:
    blank = (None,) * len(curve.x)
    for x, y, low, high in zip(
        curve.x, curve.y, curve.low or blank, curve.high or blank, strict=True
    ):
        yield {"series": curve.series, "lag": x, "value": y, "low": low, "high": high}


def _labels(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Return a label at the end of every line, moved down where the one above is too near."""
    values = [y for curve in curves for y in curve.y if y is not None]
    least = (max(values) - min(values)) / LINES
    ends = sorted(
        ((curve.y[-1], curve) for curve in curves if curve.y[-1] is not None),
        key=lambda end: -end[0],
    )
    labels, above = [], float("inf")
    for y, curve in ends:
        above = min(y, above - least)
        labels.append({"series": curve.series, "lag": curve.x[-1], "value": above})
    return labels
