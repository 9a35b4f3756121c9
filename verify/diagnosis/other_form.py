"""Right layers that compute in another form than they declare, as in chunks or by a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...reference.forms import STEPS, form_named
from ...reference.gated_by_input import GatedByInput
from ..cases.case import Case
from ..cases.options import Options
from ..checks import check_named
from ..numbers.ledger import Mismatch
from ..runs.diagnosis import Explanation
from ..subjects.called import NotOffered, SubjectCrashed, cell_of, under_test
from ..subjects.protocol import Subject
from .discovery import Discovery
from .observation import Experiment
from .stand_in import StandIn

FORMS = (
    "steps", "chunk:4", "chunk:16", "chunk:64", "parallel", "scan", "quotient:16", "quotient:64",
)  # fmt: skip
"""The forms that are tried, those with the narrowest bounds first."""

WHOLE = {"transition": "forward", "gradient-window": "gradient"}
"""Checks of single steps, and the corresponding checks of a complete run."""

LONGEST = 150
"""The most steps of a run."""


@dataclass(frozen=True)
class InForm(StandIn):
    """A subject that is compared with another form."""

    form: str

    @property
    def options(self) -> Options:
        """The subject's options, with the form."""
        return replace(self.subject.options, program=self.form)


def in_another_form(subject: Subject, experiments: Sequence[Experiment]) -> Discovery:
    """Return the form within whose bounds all failed experiments are, if it is meaningful."""
    cell = cell_of(subject, experiments[0].case)
    if not isinstance(cell, GatedByInput):
        return Discovery()
    declared = subject.options.program or STEPS
    for form in FORMS:
        if form == declared or form_named(form).kind not in (STEPS, *cell.form_kinds):
            continue
        if all(_within_bounds(subject, form, e.check, e.case) for e in experiments):
            words = (
                f"It is right, and computes as {form} does: beyond the bound of {declared}, "
                f"and within that of {form}."
            )
            fix = f'say how it computes: form = "{form}" in the class, or --form {form}'
            explanation = Explanation((f"form {form}",), (words,), (fix,), variant=True)
            return Discovery([explanation], experiments=len(experiments))
    return Discovery()


def _within_bounds(subject: Subject, form: str, check: str, case: Case) -> bool:
    short = replace(case, T=min(case.T, LONGEST))
    try:
        ledger = check_named(WHOLE.get(check, check)).run(
            under_test(InForm(subject, form).as_subject), short
        )
    except (Mismatch, SubjectCrashed, NotOffered):
        return False
    return not ledger.failed and ledger.sharp
