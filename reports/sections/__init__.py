"""One file for each kind of bench run: ``section(runs)`` returns what the report tells of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence

from ...bench.run import BenchRun
from ...verify.reading import RunFileError
from ..section import Section

ORDER = ("claims", "speed", "ladder", "decay", "memory", "mutants")
"""As they stand in a report."""


def sections(runs: Iterable[BenchRun]) -> tuple[Section, ...]:
    """Return a section for every kind of run there is; RunFileError for an unknown kind."""
    by_kind: dict[str, list[BenchRun]] = {}
    for run in runs:
        by_kind.setdefault(run.kind, []).append(run)
    if odd := sorted(by_kind.keys() - set(ORDER)):
        raise RunFileError(f"a run of an unknown kind: {odd[0]!r:.40}; known: {', '.join(ORDER)}")
    return tuple(_section(kind, by_kind[kind]) for kind in ORDER if kind in by_kind)


def _section(kind: str, runs: Sequence[BenchRun]) -> Section:
    found: Section = importlib.import_module(f".{kind}", __package__).section(runs)
    return found
