"""A node of a model file beside what it was exported from, and beside what reached it there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
from hypothesis import strategies as st

from ..cases.case import Case
from ..numbers.ledger import Ledger
from ..subjects.called import NotOffered, SubjectUnderTest
from .check import SubjectCheck
from .oracle import compare_outputs, expected
from .smoke import plain_case
from .transitions import follow

SOURCE = "source"


def source(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare a node's weights, attributes and states with the layer it was exported from."""
    ledger = Ledger()
    departures = [each.statement for each in cast("Any", subject).departures]
    ledger.require("node", not departures, " ".join(departures))
    return ledger


IN_GRAPH = "in-graph"

FEW = 8
"""Steps of a run that is compared as a whole; of more, steps are followed one by one."""


def in_graph(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare what a node made of what reached it in the running graph with the equations."""
    ledger, node = Ledger(), cast("Any", subject)
    if node.unseen:
        raise NotOffered(node.unseen)
    for inputs, result in node.calls_in_graph:
        steps, rows = inputs.x.shape[:2]
        own = replace(
            case, T=steps, B=rows, state=inputs.state is not None,
            lengths=inputs.lengths is not None,
        )  # fmt: skip
        if steps <= FEW or own.lengths or own.bidirectional:
            compare_outputs(ledger, subject, own, result, expected(subject, own, inputs))
            continue
        zeros = tuple(np.zeros_like(final) for final in result.final)
        given = replace(inputs, state=inputs.state or zeros)
        follow(ledger, subject, replace(own, state=True), given, result)
    return ledger


CHECKS = (
    SubjectCheck(
        IN_GRAPH,
        "In the running graph, a model file's node makes of what reaches it what the equations "
        "say.",
        in_graph,
        cases=lambda subject, dtype: st.just(plain_case(subject, dtype)),
        concerned=lambda subject: IN_GRAPH in getattr(subject, "held_to", ()),
        share=0.1,
        shrinks=False,
    ),
    SubjectCheck(
        SOURCE,
        "The weights, attributes and initial states of a model file's node are those of the layer "
        "that it was exported from.",
        source,
        cases=lambda subject, dtype: st.just(plain_case(subject, dtype)),
        concerned=lambda subject: SOURCE in getattr(subject, "held_to", ()),
        share=0.1,
        shrinks=False,
    ),
)
