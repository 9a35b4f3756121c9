"""Long sequences, step by step, each step from the subject's own previous state.

A bound on a whole trajectory blows up with its length, and so do honest errors when the dynamics
are chaotic. One step from where the subject itself was has neither trouble; where it was is read
off the subject's own outputs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from ...reference.cell import State
from ..arithmetic import ARITHMETICS
from ..bounded import Bounded
from ..cases import Case
from ..check import Ledger
from ..oracle import draw_inputs, layer_of, run
from ..subjects.protocol import Inputs, Result, Subject
from .subject_check import SubjectCheck

SAMPLED = 6
"""Steps looked at in one sequence, the last among them."""


def long_cases(subject: Subject, dtype: str) -> st.SearchStrategy[Case]:
    """Draw one layer in one direction, up to 160 steps long and 48 units wide."""
    return st.builds(
        Case,
        T=st.integers(8, 160),
        B=st.integers(1, 3),
        D=st.integers(1, 5),
        H=st.integers(1, 48),
        bias=st.booleans() if subject.options.bias else st.just(True),
        scale=st.sampled_from(["unit", "large"]),
        dtype=st.just(dtype),
        seed=st.integers(0, 2**16 - 1),
    )


def not_long(case: Case) -> str:
    """Say why a case is none of those drawn here."""
    plain = case.layers == 1 and not (case.bidirectional or case.lengths or case.P)
    if plain and case.state and case.T >= 2:
        return ""
    return "expected T >= 2, one layer in one direction, a state, no lengths, no projection"


def forward_transitions(subject: Subject, case: Case) -> Ledger:
    """Compare sampled steps of one long run with one step of the reference."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    whole = run(subject, case, inputs)
    for t in _sampled(case):
        before = _state_before(subject, case, inputs, whole, t)
        if before is None or not all(np.isfinite(s).all() for s in before):
            continue  # unknown, or overflowed in an earlier step
        new = _step(subject, case, inputs, t, before)
        ledger.compare(f"y[{t}]", whole.y[t], new[0])
        if t == case.T - 1:
            names = layer_of(subject, case).cell.states
            for name, got, want in zip(names, whole.final, new, strict=True):
                ledger.compare(f"final {name}", got[0], want)
    return ledger


def _state_before(
    subject: Subject, case: Case, inputs: Inputs, whole: Result, t: int
) -> State | None:
    """Return the state in which the whole run was before step t; None if it cannot be known.

    What the outputs do not show (an LSTM's c) is asked for by running the first t steps alone.
    Such a run may round differently, so its answer counts only if its outputs are the same bits.
    """
    if len(whole.final) == 1:
        return (whole.y[t - 1],)
    first = Inputs(inputs.parameters, inputs.x[:t], inputs.state, None)
    prefix = run(subject, replace(case, T=t), first)
    if not np.array_equal(prefix.y, whole.y[:t]):
        return None
    return tuple(s[0] for s in prefix.final)


def _sampled(case: Case) -> list[int]:
    drawn = case.generator("sampled steps").integers(1, case.T, SAMPLED - 1)
    return sorted({*(int(t) for t in drawn), case.T - 1})


def _step(subject: Subject, case: Case, inputs: Inputs, t: int, state: State) -> State:
    arithmetic = ARITHMETICS[case.dtype]
    exact = {name: Bounded.exact(a, arithmetic) for name, a in inputs.parameters.items()}
    (p,) = subject.to_reference(case, exact)
    x = Bounded.exact(inputs.x[t], arithmetic)
    new, _ = layer_of(subject, case).cell.step(
        p, x, tuple(Bounded.exact(s, arithmetic) for s in state)
    )
    return new


CHECKS = (
    SubjectCheck(
        "transition",
        "In a long sequence, every sampled step is one step of the equations from the state "
        "that the subject itself was in.",
        (),
        long_cases,
        forward_transitions,
        not_long,
    ),
)
