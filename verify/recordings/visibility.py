"""What recordings see: wrong layers, recorded and replayed, and those that no recording shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..checks import check_named
from ..mutants import Mutant, equivalences, mutant_subject, mutants
from ..numbers.ledger import Mismatch
from ..subjects.called import NotOffered, SubjectCrashed, under_test
from ..subjects.explicit import Explicit
from ..subjects.protocol import Subject
from .files import Claim, encoded, parse_trace
from .record import observed
from .replayed import Replayed
from .table import Choice, chosen
from .trace import Trace

ENDS = "it ends its process or never returns: the recording says so, which is not tried here"
ASIDE = "what it returns is right: it writes into arrays of the caller, which are not recorded"

UNSEEN: dict[str, str] = {
    "G12": ASIDE,
    "P02": ENDS,
    "P03": ENDS,
    "P04": ENDS,
    "P05": ENDS,
    "P10": ASIDE,
    "V01": ASIDE,
}
"""Mutants that recordings do not show, and why; a test holds this list to what is so."""


@dataclass(frozen=True)
class Sight:
    """One mutant of one cell in one dtype: by which recorded check it is seen, "" by none.

    ``wrong`` tells mutants from equivalent programs; ``expected`` is whether it should be seen: it
    is wrong, and ``UNSEEN`` does not say why not.
    """

    mutant: str
    cell: str
    dtype: str
    statement: str
    wrong: bool
    expected: bool
    seen_by: str
    tried: int

    @property
    def right(self) -> bool:
        """Whether it is as it should be."""
        return bool(self.seen_by) == self.expected


def sights(only: Callable[[Mutant], bool] = lambda mutant: True) -> Iterator[Sight]:
    """Record and replay every mutant and every equivalent program, until a check fails it."""
    for mutant in filter(only, (*mutants(), *equivalences())):
        for cell in mutant.cells:
            for dtype in mutant.dtypes:
                yield sight(mutant, cell, dtype)


def sight(mutant: Mutant, cell: str, dtype: str) -> Sight:
    """Record and replay one mutant."""
    subject = mutant_subject(mutant, cell)
    wrong = bool(mutant.killed_by)
    expected = wrong and mutant.id not in UNSEEN
    seen_by, tried = "", 0
    if not mutant.isolated:  # what ends the process cannot be tried in this one
        for check, case in _ordered(mutant, list(chosen(subject, dtype))):
            tried += 1
            if fails_replayed(subject, (check, case)):
                seen_by = check
                break
    return Sight(mutant.id, cell, dtype, mutant.statement, wrong, expected, seen_by, tried)


def _ordered(mutant: Mutant, choices: list[Choice]) -> list[Choice]:
    """Return the checks that should see it first."""
    return sorted(choices, key=lambda choice: choice[0] not in mutant.killed_by)


def fails_replayed(subject: Subject, choice: Choice) -> bool:
    """Record one case as a file would hold it, replay it, and return whether the check fails."""
    id, case = choice
    recording = replayed(subject, {choice: encoded(observed(subject, id, case))})
    layer, case = recording.recorded(id, case)
    try:
        return bool(check_named(id).run(under_test(layer), case).failed)
    except (Mismatch, SubjectCrashed):
        return True
    except NotOffered:
        return False


def replayed(subject: Subject, held: dict[Choice, bytes]) -> Replayed:
    """Return a recording of an explicit subject that stands in memory."""
    cell = subject.cells[0]
    base = Explicit(subject.name, Claim(cell), subject.options, subject.dtypes)

    def loaded(data: bytes) -> Trace:
        return parse_trace(Path(subject.name), data)

    traces = {(id, case.to_json()): partial(loaded, data) for (id, case), data in held.items()}
    return Replayed(subject.name, base, subject.options, subject.dtypes, subject.cells, "", traces)
