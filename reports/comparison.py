"""The changes from one run to another: statuses, errors, times, and the environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..bench.run import BenchRun
from ..bench.timing.comparison import AMBIGUOUS, SAME, SLOWER, decide
from ..bench.timing.significance import medians
from ..verify.runs import records
from ..verify.runs.records import RunFileError
from ..verify.runs.run import Run
from ..verify.runs.status import rank
from . import summary, words
from .section import Section, Table

WORSE, BETTER, CHANGED, NEW, GONE = "worse", "better", "changed", "new", "gone"

GROWTH, NOTABLE = 2.0, 0.01
"""The factor by which an error must grow to be reported, and its least share of the bound."""

FLOOR = 0.05
"""The relative difference of times that two runs of the same code may show: they ran at two
times, so their samples are not paired."""


@dataclass(frozen=True)
class Change:
    """One change between two runs; ``verdict`` is worse, better, changed, new or gone."""

    verdict: str
    kind: str
    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side; ``same`` counts what did not change, ``open`` what is undecided."""

    before: str
    after: str
    environment: tuple[tuple[str, str, str], ...]
    changes: tuple[Change, ...]
    same: int
    open: int

    @property
    def regressed(self) -> tuple[Change, ...]:
        """The changes for the worse."""
        return tuple(change for change in self.changes if change.verdict == WORSE)


def compare(a: Run | BenchRun, b: Run | BenchRun, names: tuple[str, str]) -> Comparison:
    """Compare two runs of one kind; raise ValueError for different kinds."""
    if isinstance(a, Run) and isinstance(b, Run):
        differences = list(_verdicts(a, b))
    elif isinstance(a, BenchRun) and isinstance(b, BenchRun) and a.kind == b.kind:
        differences = list(_rows(a, b))
    else:
        raise ValueError(f"{names[0]} and {names[1]} are runs of different kinds")
    changes = tuple(difference for difference in differences if isinstance(difference, Change))
    same, undecided = differences.count(SAME), differences.count(AMBIGUOUS)
    return Comparison(*names, tuple(_environment(a, b)), changes, same, undecided)


def between(run: Run | BenchRun, first: str, second: str) -> tuple[Run, Run]:
    """Return two subjects of a run as two runs; raise ValueError for an unknown one."""
    if not isinstance(run, Run):
        raise ValueError(f"a run of {run.kind} has no subjects; compare two runs of it")
    subjects = {planned.subject for planned in run.planned}
    if missing := {first, second} - subjects:
        raise ValueError(
            f"{sorted(missing)[0]} is not in the run; it has {', '.join(sorted(subjects))}"
        )
    return _only(run, first), _only(run, second)


def _only(run: Run, name: str) -> Run:
    return replace(
        run,
        planned=tuple(replace(p, subject="") for p in run.planned if p.subject == name),
        verdicts=tuple(replace(v, subject="") for v in run.verdicts if v.subject == name),
        diagnoses=(),
    )


def _environment(a: Run | BenchRun, b: Run | BenchRun) -> Iterator[tuple[str, str, str]]:
    sides = [
        {"source": run.source, "seed": str(run.seed), **run.machine, **run.versions}
        for run in (a, b)
    ]
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        before, after = (side.get(name, "") for side in sides)
        if before != after:
            yield name, before, after


def _verdicts(a: Run, b: Run) -> Iterator[Change | str]:
    """Yield the change of every check, ``SAME`` where there is none."""
    old, new = ({entry.planned: entry for entry in summary.entries(run)} for run in (a, b))
    for planned in dict.fromkeys([*old, *new]):
        what = f"{planned.subject} {planned.check} {planned.dtype}".strip()
        before, after = old.get(planned), new.get(planned)
        if before is None or after is None:
            entry = before or after
            assert entry is not None  # noqa: S101 - one of the two has it
            yield _new_or_gone(before is None, "check", what, entry.status)
        elif before.status != after.status:
            worse = rank(after.status) < rank(before.status)
            yield Change(WORSE if worse else BETTER, "check", what, before.status, after.status)
        else:
            yield _error(what, before.ratio, after.ratio)


def _error(what: str, before: float | None, after: float | None) -> Change | str:
    """Return a notable change of error/bound, which is no failure, else ``SAME``."""
    if before is None or after is None or max(before, after) < NOTABLE:
        return SAME
    low, high = sorted((before, after))
    if high <= GROWTH * low:
        return SAME
    sizes = [f"{words.shown(ratio)} of its bound" for ratio in (before, after)]
    return Change(CHANGED, "error", what, *sizes)


def _rows(a: BenchRun, b: BenchRun) -> Iterator[Change | str]:
    old, new = ({row["id"]: row for row in run.rows} for run in (a, b))
    for id in dict.fromkeys([*old, *new]):
        if id not in old or id not in new:
            row = old.get(id) or new[id]
            yield _new_or_gone(id not in old, "row", id, row["status"])
            continue
        before, after = old[id], new[id]
        for name in ("status", "verdict"):
            if before.get(name) != after.get(name):
                worse = name == "status" and before[name] == "OK"
                values = (str(before.get(name, "")), str(after.get(name, "")))
                yield Change(WORSE if worse else CHANGED, name, id, *values)
        yield from _times(id, samples(before), samples(after))


def _new_or_gone(new: bool, kind: str, what: str, status: str) -> Change:
    return Change(NEW, kind, what, "", status) if new else Change(GONE, kind, what, status, "")


def samples(row: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    """Return all samples (seconds) of a row, by the path of their field."""
    series: dict[str, Sequence[float]] = {}
    for name, value in row.items():
        if name == "samples" and isinstance(value, list) and value:
            series[""] = value
        elif isinstance(value, dict):
            series |= {f"{name} {inner}".strip(): times for inner, times in samples(value).items()}
    return series


def _times(
    id: str, old: Mapping[str, Sequence[float]], new: Mapping[str, Sequence[float]]
) -> Iterator[Change | str]:
    if not old and not new:
        yield SAME
    for name in old.keys() & new.keys():
        ratio, low, high = ratio_of_medians(new[name], old[name])
        verdict = decide(low, high, 0.0, FLOOR)
        if verdict in (SAME, AMBIGUOUS):
            yield verdict
            continue
        before, after = (f"{1e3 * np.median(side[name]):.4g} ms" for side in (old, new))
        change = f"{after}, {ratio:.3g} times as long ({low:.3g} to {high:.3g})"
        what = f"{id} {name}".strip()
        yield Change(WORSE if verdict == SLOWER else BETTER, verdict, what, before, change)


def ratio_of_medians(
    times: Sequence[float], reference: Sequence[float], seed: int = 0
) -> tuple[float, float, float]:
    """Return median(one)/median(other) with its 95 % interval, by a block bootstrap of each."""
    rng = np.random.default_rng(seed)
    logs = [np.log(medians(side, rng)) for side in (times, reference)]
    low, high = np.exp(np.quantile(logs[0] - logs[1], [0.025, 0.975]))
    return float(np.median(times) / np.median(reference)), float(low), float(high)


ORDER = {WORSE: 0, BETTER: 2}


def section(comparison: Comparison, number: int = 1) -> Section:
    """Return a comparison as a section of a report."""
    title = f"{comparison.before} and {comparison.after}"
    return Section(f"comparison-{number}", title, (sentence(comparison),), tables(comparison))


def tables(comparison: Comparison) -> tuple[Table, ...]:
    """Return the tables of the environments' differences and of the changes, unless empty."""
    changes = sorted(comparison.changes, key=lambda change: ORDER.get(change.verdict, 1))
    parts = []
    if comparison.environment:
        parts.append(Table("The environments differ", ("what", comparison.before, comparison.after),
                           comparison.environment,
                           "Differences below may be theirs."))  # fmt: skip
    if changes:
        rows = tuple((c.verdict, c.kind, c.what, c.before, c.after) for c in changes)
        headings = ("it is", "in", "what", comparison.before, comparison.after)
        parts.append(Table("What changed", headings, rows))
    return tuple(parts)


def sentence(comparison: Comparison) -> str:
    """Return the comparison in one line."""
    worse = len(comparison.regressed)
    better = sum(change.verdict == BETTER for change in comparison.changes)
    otherwise = len(comparison.changes) - worse - better
    undecided = f", {comparison.open} cannot be told" if comparison.open else ""
    if not comparison.changes:
        return f"Nothing changed: {comparison.same} the same{undecided}."
    rest = f"{otherwise} changed otherwise, {comparison.same} the same{undecided}"
    return f"{worse} worse, {better} better, {rest}."


# pytest-benchmark's JSON, read as a run: one row per benchmark, with its samples.


def read_benchmarks(path: Path) -> BenchRun:
    """Read a file of ``pytest --benchmark-json``; raise RunFileError for any other."""
    value = records.parsed(path, records.text(path))
    rows = tuple(_benchmark(path, b) for b in records.field(path, value, "benchmarks", list))
    about = records.field(path, value, "machine_info", dict)
    return BenchRun(
        schema="",
        kind="pytest-benchmark",
        command=f"pytest --benchmark-json={path.name}",
        created=records.field(path, value, "datetime", str),
        seed=0,
        versions={"python": str(about.get("python_version", ""))},
        machine={name: str(about.get(name, "")) for name in ("system", "release", "processor")},
        source=str(value.get("commit_info", {}).get("id", "")),
        settings={},
        planned=tuple(row["id"] for row in rows),
        rows=rows,
    )


def _benchmark(path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RunFileError(f"{path}: benchmarks: expected objects, got {value!r:.60}")
    stats = records.field(path, value, "stats", dict)
    data = stats.get("data") or [records.field(path, stats, "median", float)]
    if not all(type(time) in (int, float) and 0 < time < float("inf") for time in data):
        raise RunFileError(f"{path}: stats.data: expected times in seconds")
    return {"id": records.field(path, value, "fullname", str), "status": "OK", "samples": data}
