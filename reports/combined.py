"""Several runs in one report: verdicts and plans one after the other, no header lost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..verify.runs.run import Run
from ..verify.runs.verdict import Planned

_MARK = re.compile(r" \(run \d+\)$")


@dataclass(frozen=True)
class Header:
    """What stands above a report: that of one run, or what all of them have."""

    created: str
    budget: str
    seed: str
    gatewise: str


def header(runs: Sequence[Run]) -> Header:
    """Return what the runs say of themselves; where they differ, every answer."""
    return Header(
        created([run.created for run in runs]),
        _each(run.budget for run in runs),
        _each(str(run.seed) for run in runs),
        _each(run.versions.get("gatewise", "of unknown version") for run in runs),
    )


def created(times: Sequence[str]) -> str:
    """Return when runs were made."""
    if len(times) == 1:
        return times[0]
    first, last = min(times), max(times)
    return f"{len(times)} runs, {first if first == last else f'{first} to {last}'}"


def together(runs: Sequence[Run]) -> Run:
    """Return one run with the plans and verdicts of all.

    A subject that several runs are about appears once for each, as ``NAME (run 2)``: the same name
    may stand for another version or another backend there.
    """
    times = Counter(name for run in runs for name in {*_subjects(run)})
    several = {name for name, count in times.items() if count > 1}
    if not several and len(runs) == 1:
        return runs[0]
    marked = [_marked(run, f" (run {number})", several) for number, run in enumerate(runs, 1)]
    return replace(
        runs[0],
        planned=tuple(planned for run in marked for planned in run.planned),
        verdicts=tuple(verdict for run in marked for verdict in run.verdicts),
        diagnoses=tuple(found for run in marked for found in run.diagnoses),
    )


def own_name(subject: str) -> str:
    """Return a subject's name without the mark of its run."""
    return _MARK.sub("", subject)


def _marked(run: Run, mark: str, several: set[str]) -> Run:
    def name(subject: str) -> str:
        return subject + mark if subject in several else subject

    return replace(
        run,
        planned=tuple(Planned(name(p.subject), p.check, p.dtype) for p in run.planned),
        verdicts=tuple(replace(v, subject=name(v.subject)) for v in run.verdicts),
        diagnoses=tuple(replace(d, subject=name(d.subject)) for d in run.diagnoses),
    )


def _subjects(run: Run) -> Iterable[str]:
    yield from (planned.subject for planned in run.planned)
    yield from (verdict.subject for verdict in run.verdicts)


def _each(answers: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(answers))
