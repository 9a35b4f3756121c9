"""Tasks x cells x lags x seeds: the trainings of a run, and their rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import product
from statistics import median
from typing import Any

from ..run import OK, Piece, Plan, RunFileError, UnsupportedError, from_json
from ..timing.significance import wilson
from .tasks import TASKS
from .trained_layer import GATES, Effort, Trained, train

KIND = "memory"
LAGS, SEEDS = (8, 24, 64), 3
FULL_LAGS, FULL_SEEDS = (4, 8, 16, 32, 64, 128, 256), 10
SOLVED = 0.9
"""The share of right answers from which a task counts as learned."""


@dataclass(frozen=True, kw_only=True)
class Row(Trained):
    """One training; ``success`` is the share of right answers to held-out rows."""

    id: str
    status: str
    task: str
    cell: str
    lag: int
    seed: int


@dataclass(frozen=True)
class Summary:
    """All seeds of a task, cell and lag: the share that solved it, with Wilson's 95 % interval."""

    task: str
    cell: str
    lag: int
    seeds: int
    solved: float
    low: float
    high: float
    median: float
    least: float
    most: float


def plan(
    *,
    seed: int = 0,
    tasks: Sequence[str] = (),
    cells: Sequence[str] = (),
    lags: Sequence[int] = (),
    seeds: int | None = None,
    updates: int = Effort.updates,
    parameters: int = Effort.parameters,
    full: bool = False,
) -> Plan:
    """Return the plan; raise ValueError for an unknown task or cell."""
    settings: dict[str, Any] = {
        "tasks": list(tasks or TASKS), "cells": list(cells or GATES),
        "lags": list(lags or (FULL_LAGS if full else LAGS)),
        "seeds": seeds or (FULL_SEEDS if full else SEEDS),
        "updates": updates, "parameters": parameters,
    }  # fmt: skip
    _require("task", tasks, TASKS)
    _require("cell", cells, GATES)
    if odd := [lag for lag in lags if lag < 2]:
        raise ValueError(f"lag {odd[0]}: expected at least 2 steps")
    effort = Effort(parameters=parameters, updates=updates)
    numbers = range(seed, seed + settings["seeds"])
    kinds = product(settings["tasks"], settings["lags"], settings["cells"], numbers)
    pieces = [_piece(*kind, effort) for kind in kinds]
    return Plan(KIND, seed, settings, pieces)


def rows(values: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the trainings of a run; raise RunFileError for an invalid row."""
    trainings = [from_json(Row, row) for row in values if row["status"] == OK]
    for training in trainings:
        if training.task not in TASKS:
            raise RunFileError(f"row {training.id}: task: expected one of {', '.join(TASKS)}")
    return trainings


def summaries(trainings: Iterable[Row]) -> list[Summary]:
    """Return the summary of all seeds of each task, cell and lag."""
    grouped: dict[tuple[str, str, int], list[float]] = {}
    for row in trainings:
        grouped.setdefault((row.task, row.cell, row.lag), []).append(row.success)
    results = []
    for key, shares in grouped.items():
        solved, n = sum(share >= SOLVED for share in shares), len(shares)
        results.append(
            Summary(
                *key, n, solved / n, *wilson(solved, n), median(shares), min(shares), max(shares)
            )
        )
    return results


def _piece(task: str, lag: int, cell: str, seed: int, effort: Effort) -> Piece:
    labels = dict(task=task, cell=cell, lag=lag, seed=seed)

    def measure() -> Mapping[str, Any]:
        if find_spec("torch") is None:
            raise UnsupportedError("torch is not installed: pip install 'gatewise[torch]'")
        return {**labels, **asdict(train(TASKS[task], cell, lag, seed, effort))}

    return Piece(f"{task} {cell} lag {lag} seed {seed}", measure)


def _require(kind: str, names: Sequence[str], allowed: Iterable[str]) -> None:
    if odd := [name for name in names if name not in allowed]:
        raise ValueError(f"{kind} {odd[0]!r}: expected {', '.join(allowed)}")
