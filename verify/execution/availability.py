"""Which known subjects can be held here: their versions, or why not; asked for in processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby

from ..conventions import formula
from ..subjects import family, known, subjects
from .isolation import Isolated
from .tasks import Description, Named

TIMEOUT = 120.0
"""Seconds that importing one framework may take."""


def families() -> dict[str, list[str]]:
    """Return the names of all known subjects by family, each in order."""
    return {name: list(each) for name, each in groupby(sorted(known(), key=family), key=family)}


def plain() -> Iterator[Description]:
    """Yield every known subject as its adapter states it, without asking for its package.

    What another package registers is not imported, so its cells and dtypes are left open.
    """
    for name in (name for each in families().values() for name in each):
        if name in subjects():
            adapter = subjects()[name]
            yield Description(Named(name), adapter.cells, adapter.dtypes, adapter.options)
        else:
            yield Description(Named(name), dtypes=())


def asked(
    jobs: int, on_family: Callable[[str], None] = lambda name: None, timeout: float = TIMEOUT
) -> list[Description]:
    """Return every known subject with its version, or with the ``problem`` that keeps it away."""
    stated = {one.named.name: one for one in plain()}

    def ask(name: str) -> list[Description]:
        found = _describe([stated[one] for one in families()[name]], timeout)
        on_family(name)
        return found

    with ThreadPoolExecutor(jobs) as threads:
        return [one for each in threads.map(ask, families()) for one in each]


def _describe(stated: Sequence[Description], timeout: float) -> list[Description]:
    """Ask for one family in one process, so that its framework is imported once, and no other."""
    isolated = Isolated(memory=0)
    try:
        found = []
        for one in stated:
            told = isolated.describe(one.named, timeout)
            found.append(replace(one, problem=told.problem) if told.problem else told)
        return found
    finally:
        isolated.close()


def convention(name: str) -> str:
    """Return in one line by which convention a subject computes, "" if its adapter states none."""
    stated = getattr(subjects().get(name), "convention", None)
    return "" if stated is None else formula.summary(stated)
