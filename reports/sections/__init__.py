"""The sections of bench runs: one file per kind, with a function ``section(runs)``."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from ...bench.run import BenchRun
from ...verify.runs.records import RunFileError
from ..section import Figure, Section, grouped

ORDER = ("evidence", "claims", "speed", "decay", "forms", "memory", "mutants")
"""The order of the kinds in a report."""


def sections(runs: Iterable[BenchRun]) -> tuple[Section, ...]:
    """Return the section of every kind of run; raise RunFileError for an unknown kind."""
    by_kind = grouped((run.kind, run) for run in runs)
    if unknown := sorted(by_kind.keys() - set(ORDER)):
        raise RunFileError(
            f"a run of an unknown kind: {unknown[0]!r:.40}; known: {', '.join(ORDER)}"
        )
    return tuple(_section(kind, by_kind[kind]) for kind in ORDER if kind in by_kind)


def _section(kind: str, runs: Sequence[BenchRun]) -> Section:
    with _fitting(kind):
        section: Section = importlib.import_module(f".{kind}", __package__).section(runs)
    parts = (
        replace(part, chart=_fitting(kind)(part.chart)) if isinstance(part, Figure) else part
        for part in section.parts
    )
    return replace(section, parts=tuple(parts))


@contextmanager
def _fitting(kind: str) -> Iterator[None]:
    """Turn errors of computing with inconsistent rows into RunFileError.

    Each field has been checked for its type; whether a time is positive, or a row that another
    row names exists, shows only in computing with it.
    """
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            yield
    except RunFileError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunFileError(
            f"the rows of {kind} do not fit together ({why:.200}); if nobody has changed the run, "
            "please report it: then gatewise is wrong"
        ) from error
