"""The batch axis: rows know nothing of each other; where the axis stands makes no difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from ...reference.functions import Array
from ..cases.case import Case
from ..cases.strategies import cases, coinciding, varied
from ..numbers.ledger import Ledger
from ..subjects.called import SubjectUnderTest, layer_of
from ..subjects.inputs import draw_inputs
from ..subjects.protocol import Inputs, Subject
from .against_reference import BACK, both
from .check import SubjectCheck
from .oracle import agree, expected


def batch_single(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare every row of a batch with that row alone, without its padding."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    want = expected(subject, case, inputs)
    together = subject.build(case).forward(inputs)
    for b in range(case.B):
        steps = case.T if inputs.lengths is None else int(inputs.lengths[b])
        if steps == 0:
            continue
        row = _rows(inputs, [b], steps)
        alone = replace(case, B=1, T=steps, lengths=False, zero_length=False)
        single = subject.build(alone).forward(row)
        what = f"row {b} alone"
        agree(ledger, case, f"{what}: y", single.y[:, 0], together.y[:steps, b], want.y[:steps, b])
        names = layer_of(subject, case).cell.states
        triples = zip(single.final, together.final, want.final, strict=True)
        for name, (got, other, w) in zip(names, triples, strict=True):
            agree(ledger, case, f"{what}: final {name}", got[:, 0], other[:, b], w[:, b])
    return ledger


def batch_permutation(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Put the rows in another order, one that is not its own inverse."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    want = expected(subject, case, inputs)
    order = np.roll(np.arange(case.B), 1)
    called = subject.build(case)
    straight = called.forward(inputs)
    moved = called.forward(_rows(inputs, order, case.T))
    agree(ledger, case, "y", moved.y, straight.y[:, order], want.y[:, order])
    names = layer_of(subject, case).cell.states
    triples = zip(moved.final, straight.final, want.final, strict=True)
    for name, (got, other, w) in zip(names, triples, strict=True):
        agree(ledger, case, f"final {name}", got, other[:, order], w[:, order])
    return ledger


def _rows(inputs: Inputs, rows: Sequence[int] | Array, steps: int) -> Inputs:
    alone = len(rows) == 1
    return Inputs(
        inputs.parameters,
        np.ascontiguousarray(inputs.x[:steps, rows]),
        None if inputs.state is None
        else tuple(np.ascontiguousarray(s[:, rows]) for s in inputs.state),
        None if inputs.lengths is None or alone else inputs.lengths[rows],
    )  # fmt: skip


def _laid_out(subject: Subject, dtype: str, layout: str) -> st.SearchStrategy[Case]:
    """Draw cases of one layout, sizes that coincide among them."""
    drawn = cases(subject.options, dtype, lengths=False if layout == "unbatched" else None)
    same = st.sampled_from(list(coinciding(subject.options, dtype)))
    sizes = {"B": 1} if layout == "unbatched" else {}
    return st.one_of(drawn, same).map(lambda case: replace(case, layout=layout, **sizes))  # type: ignore[arg-type]


def _transposed(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield cases in which a reshape is no transposition: B > 2, T mod B neither 0 nor 1.

    The third layer is the first whose parameters may be mistaken for those of another above x.
    """
    offered = subject.options
    plain = Case(5, 3, 4, 6, state=offered.state, dtype=dtype, layout="batch-first")
    yield plain
    if offered.layers or offered.bidirectional:
        yield replace(plain, layers=3 if offered.layers else 1, bidirectional=offered.bidirectional)


CHECKS = (
    SubjectCheck(
        "batch-single",
        "Each row of a batch gives the same result as that row alone, without padding.",
        (),
        lambda subject, dtype: cases(subject.options, dtype),
        batch_single,
        share=0.3,
        forced=lambda subject, dtype: varied(subject.options, dtype),
    ),
    SubjectCheck(
        "batch-permutation",
        "Rows in another order give the same results in that order.",
        (),
        lambda subject, dtype: cases(subject.options, dtype).map(
            lambda case: replace(case, B=max(case.B, 3))
        ),
        batch_permutation,
        share=0.3,
        refuses=lambda case: "" if case.B > 2 else "expected B > 2",
    ),
    SubjectCheck(
        "batch-first",
        "With the batch axis first, values and gradients are the same; states keep their axes.",
        BACK,
        lambda subject, dtype: _laid_out(subject, dtype, "batch-first"),
        both,
        needs=("batch_first",),
        share=0.3,
        forced=_transposed,
        refuses=lambda case: "" if case.layout == "batch-first" else "expected batch-first",
    ),
    SubjectCheck(
        "unbatched",
        "Without a batch axis, values and gradients are those of a batch of one.",
        BACK,
        lambda subject, dtype: _laid_out(subject, dtype, "unbatched"),
        both,
        needs=("unbatched",),
        share=0.2,
        refuses=lambda case: "" if case.layout == "unbatched" else "expected unbatched input",
    ),
)
