"""Long-range tasks in a report: right answers against lag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...bench.memory.plan import SOLVED, Summary, rows, summaries
from ...bench.memory.tasks import TASKS
from ...bench.memory.trained_layer import HELD_OUT
from ...bench.run import BenchRun
from ..section import Figure, Section, Table
from .charts import alt, plot, tooltip


def section(runs: Sequence[BenchRun]) -> Section:
    """Return the tasks, and the success of each cell."""
    trained = [row for run in runs for row in rows(run.rows)]
    shares = summaries(trained)
    untested = sum(len(run.planned) for run in runs) - len(trained)
    intro = [
        "One small layer with a linear read-out, trained by Adam on fresh sequences, then asked "
        f"{HELD_OUT} that it has not seen. All have about as many parameters; lstm+1 starts with a "
        "forget bias of 1. What layers can learn here in so many steps is not all they can learn.",
        *(f"{task.id}: {task.statement} Guessing is right {task.guessing:.0%} of the time."
          for task in TASKS.values()),
    ]  # fmt: skip
    if untested:
        intro.append(f"Not tested: {untested} trainings that were planned.")
    figure = Figure(
        "memory-lag", "Right answers against lag",
        "Median over seeds, with the range of all; the dashed line is guessing.",
        "For each task, lines: the share of right answers against lag, one line a cell.",
        lambda: _chart(shares),
    )  # fmt: skip
    return Section("memory", "Long-range tasks", tuple(intro), (figure, _table(shares)))


def _table(shares: Sequence[Summary]) -> Table:
    return Table(
        f"Who learned it ({SOLVED:.0%} right or more)",
        ("task", "cell", "lag (steps)", "seeds", "learned by (%)", "95 % from (%)", "to (%)",
         "right, median (%)"),
        tuple(
            (s.task, s.cell, s.lag, s.seeds, 100 * s.solved, 100 * s.low, 100 * s.high,
             100 * s.median)
            for s in shares
        ),
    )  # fmt: skip


def _chart(shares: Sequence[Summary]) -> Any:
    values = [
        {"task": s.task, "cell": s.cell, "lag": s.lag, "median": s.median, "least": s.least,
         "most": s.most, "guessing": TASKS[s.task].guessing}
        for s in shares
    ]  # fmt: skip
    lags = sorted({s.lag for s in shares})
    lag = alt.X("lag:Q", title="lag (steps)", axis=alt.Axis(values=lags))
    lag = lag.scale(type="log", base=2, nice=False)
    colour = alt.Color("cell:N", title="cell", legend=alt.Legend(symbolOpacity=1))
    share = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(format="%")}
    base = plot(values)
    band = base.mark_area(opacity=0.15).encode(
        lag, alt.Y("least:Q", title="right answers", **share), alt.Y2("most:Q"),
        colour,
    )  # fmt: skip
    line = base.mark_line(point=True).encode(
        lag, alt.Y("median:Q", **share), colour,
        alt.StrokeDash("cell:N", legend=None), alt.Shape("cell:N", legend=None),
        tooltip=tooltip("task:N", "cell:N", "lag:Q", "median:Q", "least:Q", "most:Q"),
    )  # fmt: skip
    guess = base.mark_rule(strokeDash=[4, 4]).encode(alt.Y("mean(guessing):Q"))
    panel = alt.layer(band, line, guess).properties(width=230, height=220)
    return panel.facet(column=alt.Column("task:N", title=None)).resolve_scale(color="shared")
