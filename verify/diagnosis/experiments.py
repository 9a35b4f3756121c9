"""What a subject is asked beside the cases that failed: so that no explanation says too much.

A failing case says what is wrong; cases that pass say what is not. Together they must be done
justice by an explanation, and they must tell explanations apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..case import Case
from ..checks import check_named
from ..subjects.protocol import Subject
from .observing import VALUES, Experiment

PLAIN = Case(T=4, B=3, D=2, H=5)
"""Sizes that all differ, so that no axis can be taken for another."""


def basic(subject: Subject, dtype: str) -> Iterator[Experiment]:
    """Yield plain experiments: one layer; then depth, lengths, calls in a row, tangents."""
    offered = subject.options
    plain = replace(PLAIN, dtype=dtype, state=offered.state, P=2 if _projected(subject) else 0)
    yield Experiment(VALUES, plain)
    deep = replace(
        plain,
        B=4,
        seed=1,
        layers=2 if offered.layers else 1,
        bidirectional=offered.bidirectional,
        lengths=offered.lengths,
    )
    yield Experiment(VALUES, deep)
    yield Experiment("reweight", replace(plain, T=2, seed=2))
    if offered.jvp:
        yield Experiment("jvp", replace(plain, T=3, seed=16))


def thorough(subject: Subject, dtype: str) -> Iterator[Experiment]:
    """Yield more experiments, by which explanations that still agree may be told apart."""
    offered = subject.options
    plain = replace(PLAIN, dtype=dtype, state=offered.state, P=2 if _projected(subject) else 0)
    wanted = [
        Experiment(VALUES, replace(plain, H=7, D=3, seed=3)),
        Experiment(VALUES, replace(plain, T=3, B=3, seed=4)),
        Experiment(VALUES, replace(plain, D=5, H=5, seed=5)),
        Experiment(VALUES, replace(plain, state=False, seed=6)),
        Experiment(VALUES, replace(plain, lengths=True, seed=7)),
        Experiment(VALUES, replace(plain, bidirectional=True, seed=8)),
        Experiment(VALUES, replace(plain, layers=3, seed=9)),
        Experiment(VALUES, replace(plain, bias=False, seed=10)),
        Experiment(VALUES, replace(plain, scale="large", T=2, seed=11)),
        Experiment(VALUES, replace(plain, T=2, H=70, D=33, seed=12)),
        Experiment(VALUES, replace(plain, T=40, B=2, scale="tiny", seed=13)),
        Experiment(VALUES, replace(plain, T=130, B=1, H=3, scale="tiny", seed=14)),
        Experiment(VALUES, replace(plain, T=1010, B=1, H=3, scale="tiny", seed=15)),
    ]
    yield from (e for e in wanted if not offered.lacking(e.case))
    if not offered.missing(("dropout", "layers")):
        yield from (
            Experiment("dropout", case) for case in check_named("dropout").forced(subject, dtype)
        )


def _projected(subject: Subject) -> bool:
    return subject.cells[0] == "lstm-projected"
