"""How far back the gradients of layers reach: their own, beside those of the equations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...bench.decay.rows import LayerRow
from ..section import Figure, Table
from .decay_figures import LOG10, NORM

EQUATIONS = "equations, float64"


def figure(rows: Sequence[LayerRow]) -> Figure:
    """Return what layers themselves compute, against what the equations say."""
    return Figure(
        "decay-layers", "The gradient on the input k steps before, as layers compute it",
        "Medians over seeds, a panel for each layer. Broad and grey: the equations in float64, on "
        "the same numbers as the first dtype. A line ends where the gradient has become 0.",
        "In each panel the lines of the dtypes follow the broad one until their arithmetic ends.",
        lambda: _layers(rows),
    )  # fmt: skip


def table(rows: Sequence[LayerRow]) -> Table:
    """Return how far back the gradients of layers reach, and what ran, where that is known."""
    known = any(row.ran for row in rows)
    return Table(
        "How far back the gradients of layers reach",
        ("layer", "dtype", "H", "seeds", "rate of the equations (1/step)",
         "off by half from lag (steps)", "0 from lag (steps)", *(["what ran"] if known else [])),
        tuple(
            (row.subject, row.dtype, row.hidden, row.seeds, row.rate.value,
             *(f"> {row.lags[-1]}" if lag is None else lag for lag in (row.wrong, row.zero)),
             *([row.ran] if known else []))
            for row in rows
        ),
        "A random unit cotangent on the last output, pulled back by the layer itself, unscaled; "
        "the equations in float64 on the same numbers. Lags are medians over seeds.",
    )  # fmt: skip


def _layers(rows: Sequence[LayerRow]) -> Any:
    import altair as alt

    firsts = {row.subject: row for row in reversed(rows)}
    drawn = [(row.subject, row.dtype, row.lags, row.curve) for row in rows]
    drawn += [(row.subject, EQUATIONS, row.lags, row.right) for row in firsts.values()]
    values = [
        {"layer": layer, "by": by, "lag": lag, "norm": norm * LOG10}
        for layer, by, lags, curve in drawn
        for lag, norm in zip(lags, curve.median, strict=True)
        if norm is not None
    ]
    names = list(dict.fromkeys(row.dtype for row in rows))
    data = alt.Chart(alt.Data(values=values))
    lag = alt.X("lag:Q", title="lag k (steps)", axis=alt.Axis(tickCount=4))
    norm = alt.Y("norm:Q", title=NORM)
    equations = data.transform_filter(alt.datum.by == EQUATIONS).mark_line(
        strokeWidth=7, opacity=0.25, color="currentColor"
    )
    line = data.transform_filter(alt.datum.by != EQUATIONS).mark_line(strokeWidth=1.6).encode(
        lag, norm,
        alt.Color("by:N", scale=alt.Scale(domain=names), title=None,
                  legend=alt.Legend(orient="top")),
        tooltip=["layer:N", "by:N", "lag:Q", "norm:Q"],
    )  # fmt: skip
    panel = alt.layer(equations.encode(lag, norm), line).properties(width=250, height=190)
    order = list(dict.fromkeys(row.subject for row in rows))
    return panel.facet(alt.Facet("layer:N", title=None, sort=order), columns=2)
