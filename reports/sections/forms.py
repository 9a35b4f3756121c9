"""Forms of linear recurrences in a report: errors beside bounds, against the length of chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...bench.forms.plan import Row, rows
from ...bench.run import BenchRun
from ..section import Cell, Figure, Section, Table
from .charts import alt, log, plot, tooltip

HEADINGS = ("cell", "form", "dtype", "error", "at C", "decay", "/ bound", "fails at")

HIGHEST = 1e8
"""The largest bound that is drawn."""


def section(runs: Sequence[BenchRun]) -> Section:
    """Return the errors of forms beside their bounds."""
    measured = [row for run in runs for row in rows(run.rows)]
    intro = (
        "A recurrence that is linear in its state is computed step by step, in chunks of C steps, "
        "or by a prefix scan. Each form is run in "
        f"{', '.join(dict.fromkeys(row.dtype for row in measured))} beside steps in float64, and "
        "on numbers that carry a bound of their rounding; chunk:1 is steps. Errors and bounds are "
        "in units of the largest value's last place (unit roundoff x value).",
        "chunk takes e^(c_i - c_j) of sums c of logarithms of decays, quotient e^(c_i) e^(-c_j): "
        "it overflows once C x decay exceeds the logarithm of the largest number (88.7 in float32 "
        "and bfloat16, 11.1 in float16). Both round c, which is larger the longer the chunk: "
        "their errors grow with C x decay, those of steps and of scans do not.",
    )
    figures = (
        Figure(
            "forms-share", "Error over bound, against the length of chunks",
            "The largest error in units of its own bound, over outputs and final states of all "
            "sequences; 1 is what a right layer may use. C of a scan is the length of the "
            "sequence. A cross: the result is no number, and the bound is infinite.",
            "Shares of bounds fall from about a tenth at C = 1 to a hundredth at C = 128. Lines of "
            "the quotient form with strong decays end where C times decay is 88.",
            lambda: _chart(measured, share=True),
        ),
        Figure(
            "forms-error", "Error and bound, against the length of chunks",
            "Circles: the largest error; dashed: the largest bound, both in units of last place. "
            "The bound of a delta rule that hardly decays grows with every correction, since it "
            "does not know that corrections shrink errors (beyond 1e8 it is not drawn); that of "
            "its scan, which multiplies the maps of steps, does.",
            "Errors grow from a few units to some hundred with the length of chunks; bounds rise "
            "above them by one to three powers of ten, and without limit where the quotient fails.",
            lambda: _chart(measured, share=False),
        ),
    )  # fmt: skip
    table = Table("Where each form is worst", HEADINGS, tuple(worst(measured)),
                  "error: the largest, in units of last place, and where; / bound: the "
                  "largest quotient of an error and its bound; fails at: the least C x decay at "
                  "which a result is no number.")  # fmt: skip
    return Section("forms", "Forms of linear recurrences", intro, (*figures, table))


def worst(measured: Sequence[Row]) -> Iterator[tuple[Cell, ...]]:
    """Yield, for every cell and form, the largest error and share, and the first failure."""
    kinds = dict.fromkeys((row.cell, row.form, row.dtype) for row in measured)
    for kind in kinds:
        of_kind = [(row, point) for row in measured for point in row.points
                   if (row.cell, row.form, row.dtype) == kind]  # fmt: skip
        finite = [(p.error, row.size, p.decay) for row, p in of_kind if p.error is not None]
        failed = [row.size * p.decay for row, p in of_kind if p.error is None]
        shares = [p.share for _, p in of_kind if p.share is not None]
        yield (*kind, *max(finite, default=(None, None, None)), max(shares, default=None),
               min(failed, default=None))  # fmt: skip


def _chart(measured: Sequence[Row], *, share: bool) -> Any:
    decays = sorted({p.decay for row in measured for p in row.points})
    titles = list(dict.fromkeys(row.title for row in measured))
    forms = list(dict.fromkeys(row.form for row in measured))
    values = [
        {"cell": row.title, "form": row.form, "C": row.size, "decay": f"{p.decay:g}",
         "error": p.error, "bound": p.bound, "share": p.share}
        for row in measured for p in row.points
    ]  # fmt: skip
    base = plot(values)
    steps = alt.X("C:Q", title="C (steps)", scale=alt.Scale(type="log", base=2, nice=False),
                  axis=alt.Axis(values=[2**k for k in range(0, 13, 2)], format="d"))  # fmt: skip
    colour = alt.Color("decay:N", title="decay", sort=[f"{d:g}" for d in decays])
    field, title = ("share", "error / bound") if share else ("error", "units of last place")
    ticks = alt.Axis(values=[10**k for k in range(-6, 9, 1 if share else 2)],
                     format="~g" if share else "~s")  # fmt: skip
    shown = alt.Y(f"{field}:Q", title=title, scale=log(), axis=ticks)
    about = tooltip("cell:N", "form:N", "C:Q", "decay:N", "error:Q", "bound:Q", "share:Q")
    valid = base.transform_filter(f"isValid(datum.{field}) && datum.{field} > 0")
    layers = [valid.mark_line(point=True, strokeWidth=1.5)
              .encode(steps, shown, colour, tooltip=about)]  # fmt: skip
    if not share:
        bounds = base.transform_filter(f"isValid(datum.bound) && datum.bound < {HIGHEST:g}")
        layers.append(bounds.mark_line(strokeDash=[4, 3], strokeWidth=1.2)
                      .encode(steps, alt.Y("bound:Q"), colour))  # fmt: skip
    for number, decay in enumerate(reversed(decays)):  # apart, since several fail at one C
        failed = base.transform_filter(f"!isValid(datum.error) && datum.decay == '{decay:g}'")
        layers.append(failed.mark_point(shape="cross", angle=45, size=50, filled=True, opacity=1)
                      .encode(steps, colour, alt.YValue(4 + 10 * number),
                              tooltip=about))  # fmt: skip
    panel = alt.layer(*layers).properties(width=170, height=150)
    return panel.facet(row=alt.Row("form:N", title=None, sort=forms),
                       column=alt.Column("cell:N", title=None, sort=titles))  # fmt: skip
