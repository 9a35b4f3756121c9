"""Nodes of model files, compared with their source layer and in the running graph."""

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
    departures = [departure.statement for departure in cast("Any", subject).departures]
    ledger.require("node", not departures, " ".join(departures))
    return ledger


IN_GRAPH = "in-graph"

FEW = 8
"""Runs of up to so many steps are compared as a whole, longer ones step by step."""


def in_graph(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare a node's results in the running graph with the equations, on its inputs there."""
    ledger, node = Ledger(), cast("Any", subject)
    if node.unseen:
        raise NotOffered(node.unseen)
    for inputs, result in node.calls_in_graph:
        steps, rows = inputs.x.shape[:2]
        call_case = replace(
            case, T=steps, B=rows, state=inputs.state is not None,
            lengths=inputs.lengths is not None,
        )  # fmt: skip
        if steps <= FEW or call_case.lengths or call_case.bidirectional:
            compare_outputs(
                ledger, subject, call_case, result, expected(subject, call_case, inputs)
            )
            continue
        zeros = tuple(np.zeros_like(final) for final in result.final)
        stated = replace(inputs, state=inputs.state or zeros)
        follow(ledger, subject, replace(call_case, state=True), stated, result)
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
