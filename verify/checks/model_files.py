"""A node of a model file beside what it was exported from, and beside what reached it there."""

from __future__ import annotations

from hypothesis import strategies as st

from ..cases.case import Case
from ..numbers.ledger import Ledger
from ..subjects.called import SubjectUnderTest
from .check import SubjectCheck
from .smoke import plain_case

SOURCE = "source"


def source(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare a node's weights, attributes and states with the layer it was exported from."""
    ledger = Ledger()
    departures = [each.statement for each in getattr(subject, "departures", ())]
    ledger.require("node", not departures, " ".join(departures))
    return ledger


CHECKS = (
    SubjectCheck(
        SOURCE,
        "The weights, attributes and initial states of a model file's node are those of the layer "
        "that it was exported from.",
        (),
        lambda subject, dtype: st.just(plain_case(subject, dtype)),
        source,
        concerned=lambda subject: SOURCE in subject.options.checks,
        share=0.1,
        shrinks=False,
    ),
)
