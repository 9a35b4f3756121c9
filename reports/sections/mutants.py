"""The kill matrix in a report: the planted errors, and the checks that catch them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ...bench.run import BenchRun
from ...bench.scores.kill_matrix import Row, rows
from ..section import Figure, Section, Table
from .charts import alt, plot, tooltip


def section(runs: Sequence[BenchRun]) -> Section:
    """Return the number of planted errors that were caught, by which checks, and the others."""
    decided = [row for run in runs for row in rows(run.rows)]
    untested = sum(len(run.untested) for run in runs)
    planted, same = ([r for r in decided if bool(r.expected) is wrong] for wrong in (True, False))
    intro = [
        f"{_caught(runs, planted, same)}. Most wrong layers are modelled on a real defect. The "
        "checks that should see it are tried first, and after the first that does no others, "
        "unless the run was a full one."
    ]
    if untested:
        intro.append(f"Not tested: {untested} that were planned.")
    wrong = [row for row in decided if not row.right]
    parts: list[Figure | Table] = []
    if wrong:
        parts.append(_table("What the checks get wrong", wrong))
    if planted:
        parts.append(Figure(
            "mutants-checks", "Which check sees what",
            "How many wrong layers each check was the first to fail.",
            "Bars: the number of wrong layers that each check was the first to fail.",
            lambda: _chart(planted),
        ))  # fmt: skip
    parts.append(_table("All of them", decided))
    return Section("mutants", "Planted errors", tuple(intro), tuple(parts))


def _caught(runs: Sequence[BenchRun], planted: Sequence[Row], same: Sequence[Row]) -> str:
    parts = []
    if planted:
        parts.append(f"{sum(r.right for r in planted)} of {len(planted)} wrong layers fail a check"
                    f"{_budget(runs, wrong=True)}")  # fmt: skip
    if same:
        parts.append(f"{sum(r.right for r in same)} of {len(same)} right ones, which compute the "
                    f"same otherwise, fail none{_budget(runs, wrong=False)}")  # fmt: skip
    return ", ".join(parts) or "Nothing was decided"


def _budget(runs: Sequence[BenchRun], *, wrong: bool) -> str:
    """Return the budget of the checks of wrong layers, or of right ones, in brackets."""
    budgets = dict.fromkeys(
        str(run.settings.get("budget", "")) for run in runs
        if any(bool(row.expected) is wrong for row in rows(run.rows))
    )  # fmt: skip
    return f" (budget: {' and '.join(budgets)})" if any(budgets) else ""


def _table(title: str, listed: Sequence[Row]) -> Table:
    return Table(
        title,
        ("layer", "dtype", "what is wrong with it", "verdict", "by", "cases", "seconds", "as in"),
        tuple(
            (row.name, row.dtype, row.statement, row.verdict,
             ", ".join(row.killed_by), row.cases or None, row.seconds, row.models)
            for row in listed
        ),
    )  # fmt: skip


def _chart(planted: Sequence[Row]) -> Any:
    count = Counter(row.killed_by[0] for row in planted if row.killed_by)
    values = [{"check": check, "layers": number} for check, number in count.most_common()]
    bars = plot(values).mark_bar()
    return bars.encode(
        alt.X("layers:Q", title="wrong layers", axis=alt.Axis(tickMinStep=1, format="d")),
        alt.Y("check:N", title="check", sort="-x"),
        tooltip=tooltip("check:N", "layers:Q"),
    ).properties(height={"step": 18})
