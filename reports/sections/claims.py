"""The ledger of claims in a report: verdicts, evidence and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...bench.claims.ledger import FALSE, HOLDS, HOLDS_WHEN, NOT_TESTED, VERDICTS, Curve, Row, rows
from ...bench.run import BenchRun
from ...reference.documents import TITLES
from ..section import Figure, Section, Table, grouped
from .charts import alt, plot, tooltip

CHIPS = {HOLDS: "✓ holds", HOLDS_WHEN: "◐ holds when", FALSE: "✗ false as printed",
         NOT_TESTED: "– not tested"}  # fmt: skip
"""A sign and words for each verdict, never colour alone."""

ROLES = {"says": "the claim says", "when": "it holds when", "instead": "what is true",
         "ground": "needed to judge"}  # fmt: skip


def section(runs: Sequence[BenchRun]) -> Section:
    """Return the ledger; if several runs judged a claim, the last one counts."""
    ledger = {row.id: row for run in runs for row in rows(run.rows)}
    judged = [ledger[id] for id in sorted(ledger)]
    untested = [id for run in runs for id in run.untested if id not in ledger]
    claims = [row for row in judged if row.id.startswith("C")]
    printed = [row for row in judged if not row.id.startswith("C")]
    parts: list[Figure | Table] = [
        _ledger("Claims", claims),
        _ledger("Printed numbers, listings and dates", printed),
        _reasons(judged),
        *_figures(judged),
        _findings(claims),
        _numbers(claims),
    ]
    shown = tuple(part for part in parts if isinstance(part, Figure) or part.rows)
    return Section("claims", "What the documents claim", _intro(judged, untested), shown)


def _intro(judged: Sequence[Row], untested: Sequence[str]) -> tuple[str, ...]:
    counts = {v: sum(row.verdict == v for row in judged) for v in VERDICTS}
    summary = ", ".join(f"{count} {CHIPS[v]}" for v, count in counts.items() if count)
    documents = "; ".join(f"{id}: {title}" for id, title in TITLES.items())
    intro = [
        f"{len(judged)} claims and printed numbers of five lecture documents, judged: {summary}.",
        "No verdict is written down. Each claim is measured, and says of the numbers what would "
        "have to be so; the verdict follows. A law (a bound, an identity) is false as printed if "
        "one case goes against it. A claim that leaves something open (which weights, which "
        "biases, what is held fixed) holds when that is given. A possibility needs one case.",
        documents + ".",
    ]
    if untested:
        intro.append(f"Planned and not tested: {', '.join(untested)}.")
    return tuple(intro)


def _ledger(title: str, judged: Sequence[Row]) -> Table:
    return Table(
        title, ("id", "verdict", "claim", "in"),
        tuple(
            (row.id, CHIPS[row.verdict], row.statement, ", ".join(row.documents))
            for row in judged
        ),
    )  # fmt: skip


def _reasons(judged: Sequence[Row]) -> Table:
    """Return the table of conditions and counterexamples."""
    reasons = (
        (row.id, kind, text)
        for row in judged
        for kind, text in (
            ("when" if row.judged else "why not", row.condition),
            ("against", row.counterexample),
            ("error", row.message),
        )
    )
    cells = tuple(reason for reason in reasons if reason[2])
    return Table("When they hold, and what speaks against them", ("id", "which", "text"), cells)


def _findings(judged: Sequence[Row]) -> Table:
    return Table(
        "What the verdicts follow from", ("id", "role", "predicate", "so?"),
        tuple(
            (row.id, ROLES[finding.role], finding.text, "yes" if finding.holds else "no")
            for row in judged
            for finding in row.findings
        ),
        note="Each is computed from the numbers below. What is true instead does not touch the "
        "verdict.",
    )  # fmt: skip


def _numbers(judged: Sequence[Row]) -> Table:
    return Table(
        "What was measured", ("id", "quantity", "value", "unit"),
        tuple(
            (row.id, number.name, number.note if number.value is None else number.value,
             number.unit)
            for row in judged
            for number in row.numbers
        ),
    )  # fmt: skip


def _figures(judged: Sequence[Row]) -> list[Figure]:
    """Return the figures that have curves."""
    curves = grouped((curve.figure, curve) for row in judged for curve in row.curves)
    drawn = (("mitigation", MITIGATION, lines), ("twenty", TWENTY, lines),
             ("remembering", REMEMBERING, bars))  # fmt: skip
    return [
        Figure(f"claims-{name}", *texts, chart(curves[name]))
        for name, texts, chart in drawn
        if name in curves
    ]


MITIGATION = (
    "C14: what is left of a gradient, with and without gates",
    "PyTorch's initialisation, H = 64; one draw, the median of its rows. b is the bias of the gate "
    "that keeps the old state. With a bias of 0 gates hardly help.",
    "Log gradient against lag: nearly straight lines. The RNN's falls fastest, with LSTM and GRU "
    "of bias 0 close to it; the larger the bias, the flatter the line.",
)
TWENTY = (
    "C24: twenty words back in a plain RNN",
    "Median of 80 rows with the range of 8 in 10; the dashed rule is at lag 20.",
    "Log gradient against lag for several initialisations: most have lost over 99 % by lag 20, "
    "large weights and orthogonal ones with small inputs have not.",
)
REMEMBERING = (
    "C15: who learns to remember",
    "Share of runs that learn to recall a sign after so many steps, with 95 % intervals (Wilson).",
    "All learn the shortest lag; the longest is learned only by an LSTM and a GRU whose keeping "
    "gate starts open.",
)
"""Title, caption and description of each figure."""


# The charts of the ledger: gradients against lag, and success on recall.


DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 2])
LINES = 18
"""The number of labels that fit one above the other at the ends of lines."""


def lines(curves: Sequence[Curve]) -> Callable[[], Any]:
    """Return a chart of log gradients against lag, each line with its name at its end."""

    def chart() -> Any:
        names = [curve.series for curve in curves]
        lag = alt.X("lag:Q", title="lag (steps)", axis=alt.Axis(tickCount=10))
        y = alt.Y("value:Q", title="share of the gradient left (log10)")
        colour = alt.Color("series:N", legend=None, sort=names)
        dashes = alt.Scale(domain=names, range=[DASHES[k % len(DASHES)] for k in range(len(names))])
        base = plot(point for curve in curves for point in _points(curve))
        line = base.mark_line().encode(
            lag, y, colour, alt.StrokeDash("series:N", legend=None, scale=dashes),
            tooltip=tooltip("series:N", "lag:Q", "value:Q"),
        )  # fmt: skip
        name = plot(_labels(curves)).mark_text(align="left", dx=6)
        labels = name.encode(lag, alt.Y("value:Q"), colour, alt.Text("series:N"))
        rule = plot([{"lag": 20}]).mark_rule(strokeDash=[4, 4])
        layers = [line, labels, rule.encode(alt.X("lag:Q"))]
        if any(curve.low for curve in curves):
            band = base.mark_area(opacity=0.15)
            layers.insert(0, band.encode(lag, alt.Y("low:Q"), alt.Y2("high:Q"), colour))
        return alt.layer(*layers)

    return chart


def bars(curves: Sequence[Curve]) -> Callable[[], Any]:
    """Return a chart of shares: a group of bars for every lag, with intervals."""

    def chart() -> Any:
        names = [curve.series for curve in curves]
        base = plot(point for curve in curves for point in _points(curve))
        lag = alt.X("lag:O", title="lag (steps)", axis=alt.Axis(labelAngle=0))
        offset = alt.XOffset("series:N", sort=names)
        y = alt.Y("value:Q", title="runs that learn it", axis=alt.Axis(format="%"),
                  scale=alt.Scale(domain=[0, 1]))  # fmt: skip
        colour = alt.Color("series:N", title=None, sort=names)
        bar = base.mark_bar().encode(
            lag,
            y,
            colour,
            offset,
            tooltip=tooltip("series:N", "lag:Q", "value:Q", "low:Q", "high:Q"),
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
    """Return a label for the end of every line, moved down if the one above is too near."""
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
