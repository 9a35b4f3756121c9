"""The mutants that recordings show: each is recorded and replayed."""

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
from .record import trace_of
from .replayed import Replayed
from .table import Choice, cases_to_record
from .trace import Trace

ENDS_PROCESS = "it ends its process or never returns, which is recorded, but not tried here"
WRITES_ASIDE = "its results are right; it writes into arrays of the caller, which are not recorded"

UNSEEN: dict[str, str] = {
    "G12": WRITES_ASIDE,
    "P02": ENDS_PROCESS,
    "P03": ENDS_PROCESS,
    "P04": ENDS_PROCESS,
    "P05": ENDS_PROCESS,
    "P10": WRITES_ASIDE,
    "V01": WRITES_ASIDE,
}
"""Mutants that recordings do not show, with the reasons; a test verifies this list."""


@dataclass(frozen=True)
class Visibility:
    """One mutant of one cell in one dtype, and the recorded check that catches it, "" if none.

    ``wrong`` distinguishes mutants from equivalent programs; ``expected``: it should be caught,
    because it is wrong and not in ``UNSEEN``.
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
        """Whether the result is the expected one."""
        return bool(self.seen_by) == self.expected


def visibilities(is_chosen: Callable[[Mutant], bool]) -> Iterator[Visibility]:
    """Record and replay the chosen mutants and equivalent programs, until a check fails."""
    for mutant in filter(is_chosen, (*mutants(), *equivalences())):
        for cell in mutant.cells:
            for dtype in mutant.dtypes:
                yield visibility_of(mutant, cell, dtype)


def visibility_of(mutant: Mutant, cell: str, dtype: str) -> Visibility:
    """Record and replay one mutant."""
    subject = mutant_subject(mutant, cell)
    wrong = bool(mutant.killed_by)
    expected = wrong and mutant.id not in UNSEEN
    seen_by, tried = "", 0
    if not mutant.isolated:  # it would end this process
        for check, case in _ordered(mutant, list(cases_to_record(subject, dtype))):
            tried += 1
            if fails_replayed(subject, (check, case)):
                seen_by = check
                break
    return Visibility(mutant.id, cell, dtype, mutant.statement, wrong, expected, seen_by, tried)


def _ordered(mutant: Mutant, choices: list[Choice]) -> list[Choice]:
    """Return the choices with those checks first that should catch it."""
    return sorted(choices, key=lambda choice: choice[0] not in mutant.killed_by)


def fails_replayed(subject: Subject, choice: Choice) -> bool:
    """Record one case to bytes, replay it, and return whether the check fails."""
    id, case = choice
    recording = recording_in_memory(subject, {choice: encoded(trace_of(subject, id, case))})
    layer, case = recording.recorded(id, case)
    try:
        return bool(check_named(id).run(under_test(layer), case).failed)
    except (Mismatch, SubjectCrashed):
        return True
    except NotOffered:
        return False


def recording_in_memory(subject: Subject, files: dict[Choice, bytes]) -> Replayed:
    """Return a recording of an explicit subject from bytes in memory."""
    cell = subject.cells[0]
    base = Explicit(subject.name, Claim(cell), subject.options, subject.dtypes)

    def loaded(data: bytes) -> Trace:
        return parse_trace(Path(subject.name), data)

    traces = {(id, case.to_json()): partial(loaded, data) for (id, case), data in files.items()}
    return Replayed(subject.name, base, subject.options, subject.dtypes, subject.cells, "", traces)
