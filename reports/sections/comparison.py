"""A comparison in a report: the environment's differences first, then what is worse, then all."""

from __future__ import annotations

from ..comparison import BETTER, WORSE, Comparison
from ..section import Section, Table

ORDER = {WORSE: 0, BETTER: 2}


def section(found: Comparison, number: int = 1) -> Section:
    """Return what a comparison says."""
    told = (sentence(found),)
    return Section(f"comparison-{number}", f"{found.before} and {found.after}", told, tables(found))


def tables(found: Comparison) -> tuple[Table, ...]:
    """Return the environment's differences, if there are any, and the changes, if there are."""
    changes = sorted(found.changes, key=lambda change: ORDER.get(change.verdict, 1))
    parts = []
    if found.environment:
        parts.append(Table("The environments differ", ("what", found.before, found.after),
                           found.environment,
                           "Differences below may be theirs."))  # fmt: skip
    if changes:
        rows = tuple((c.verdict, c.kind, c.what, c.before, c.after) for c in changes)
        headings = ("it is", "in", "what", found.before, found.after)
        parts.append(Table("What changed", headings, rows))
    return tuple(parts)


def sentence(found: Comparison) -> str:
    """Return the comparison in one line."""
    worse = len(found.regressed)
    better = sum(change.verdict == BETTER for change in found.changes)
    other = len(found.changes) - worse - better
    open_ = f", {found.open} cannot be told" if found.open else ""
    if not found.changes:
        return f"Nothing changed: {found.same} the same{open_}."
    return (
        f"{worse} worse, {better} better, {other} changed otherwise, {found.same} the same{open_}."
    )
