"""The known subjects that can run here, by installed packages, or by imports in processes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from itertools import chain, groupby

from ..conventions import formula
from ..subjects import adapter, family, known, loader
from ..subjects.frameworks import families as adapted
from .isolation import Isolated
from .tasks import Description, Named

TIMEOUT = 120.0
"""The time limit, in seconds, for importing one framework."""


def families(*wanted: str) -> dict[str, list[str]]:
    """Return the sorted names of known subjects by family, of these families or of all."""
    names = sorted(known(*wanted), key=family)
    return {name: list(members) for name, members in groupby(names, key=family)}


def stated(*wanted: str) -> Iterator[Description]:
    """Yield the known subjects as their adapters state them, without importing their packages.

    Subjects that other packages register are not imported, so their cells and dtypes are unknown.
    """
    for name in chain.from_iterable(families(*wanted).values()):
        if subject := adapter(name):
            yield Description(Named(name), subject.cells, subject.dtypes, subject.options)
        else:
            yield Description(Named(name), dtypes=())


def installed(*wanted: str) -> Iterator[Description]:
    """Yield the known subjects with the versions of installed packages, without importing them.

    A package may still not run here, for instance without the device that it needs.
    """
    distributions = metadata.packages_distributions()
    for subject in stated(*wanted):
        name = subject.named.name
        if family(name) not in adapted():
            source = loader.registered()[name].dist
            yield replace(subject, version=f"{source.name} {source.version}" if source else "")
            continue
        packages = adapted()[family(name)].packages
        missing = [package for package in packages if not importlib.util.find_spec(package)]
        if missing:
            pip = adapted()[family(name)].install
            problem = f"{missing[0]} is not installed; install it with: pip install {pip}"
            yield replace(subject, problem=problem)
        else:
            versions = (_version(package, distributions) for package in packages)
            yield replace(subject, version=", ".join(versions))


def _version(package: str, distributions: Mapping[str, Sequence[str]]) -> str:
    """Return a package's name with the version of its distribution, if there is one."""
    origins = distributions.get(package, ())
    return f"{package} {metadata.version(origins[0])}" if origins else package


def probed(
    *wanted: str,
    jobs: int,
    on_family: Callable[[str], None] = lambda name: None,
    timeout: float = TIMEOUT,
) -> list[Description]:
    """Return the known subjects with their versions, or with the ``problem`` of importing them.

    Each family's packages are imported in a process of their own.
    """
    descriptions = {subject.named.name: subject for subject in stated(*wanted)}
    members = families(*wanted)

    def probe(name: str) -> list[Description]:
        answers = _probe([descriptions[subject] for subject in members[name]], timeout)
        on_family(name)
        return answers

    with ThreadPoolExecutor(jobs) as threads:
        return [*chain.from_iterable(threads.map(probe, members))]


def _probe(descriptions: Sequence[Description], timeout: float) -> list[Description]:
    """Import one family in one process, which imports its framework once."""
    isolated = Isolated(memory=0, option="")
    try:
        answers = []
        for subject in descriptions:
            answer = isolated.describe(subject.named, timeout)
            answers.append(replace(subject, problem=answer.problem) if answer.problem else answer)
        return answers
    finally:
        isolated.close()


def convention(name: str) -> str:
    """Return a subject's convention in one line, "" if its adapter states none."""
    stated_convention = getattr(adapter(name), "convention", None)
    return "" if stated_convention is None else formula.summary(stated_convention)
