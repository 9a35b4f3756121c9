"""Repeated calls: they overwrite no arrays, keep no state, and give the same results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.strategies import cases
from ..numbers.ledger import Ledger
from ..subjects.called import SubjectUnderTest
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Cotangents, Inputs, Result, Subject
from .against_reference import BACK, DEPTH
from .check import SubjectCheck
from .oracle import (
    around,
    compare_call,
    compare_gradients,
    expected_gradient,
    expected_gradients,
    expected_jvp,
    state_names,
)
from .quantities import by_name, gradients_by_name


def purity(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare arguments after a call, and results after a later call, with copies."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    called = subject.build(case)
    before = _snapshot(inputs)
    result = called.attempt(lambda: called.built.forward(inputs))
    copies = {
        name: np.array(array) for name, array in by_name(state_names(subject, case), result).items()
    }
    _unchanged(ledger, before, _snapshot(inputs), "forward wrote into")
    if subject.options.gradient:
        cotangents = draw_cotangents(subject, case)
        before_gradient = _snapshot(inputs) | cotangents_by_name(cotangents)
        called.attempt(lambda: called.built.gradients(inputs, [cotangents]))
        now = {**_snapshot(inputs), **cotangents_by_name(cotangents, copy=False)}
        _unchanged(ledger, before_gradient, now, "the gradient wrote into")
    other_inputs = draw_inputs(subject, replace(case, seed=case.seed + 1))
    called.forward(other_inputs)
    later = by_name(state_names(subject, case), result)
    _unchanged(ledger, copies, later, "a later call changed an earlier result,")
    return ledger


def _from_a_state(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield a case with an initial state, which code that updates its state in place spoils."""
    case = Case(T=2, B=2, D=3, H=2, P=1 if subject.cells[0] == "lstm-projected" else 0, dtype=dtype)
    if not subject.options.lacking(case):
        yield case


def _snapshot(inputs: Inputs) -> dict[str, Floats]:
    lengths = {} if inputs.lengths is None else {"lengths": inputs.lengths}
    return {
        name: np.array(array) for name, array in ({"x": inputs.x} | inputs.leaves | lengths).items()
    }


def cotangents_by_name(cotangents: Cotangents, *, copy: bool = True) -> dict[str, Floats]:
    """Return cotangents by name, ``dy``, ``dfinal 0``, ..., without those of None."""
    dy, dfinal = cotangents
    named = {"dy": dy, **{f"dfinal {k}": d for k, d in enumerate(dfinal)}}
    return {k: np.array(d) if copy else d for k, d in named.items() if d is not None}


def _unchanged(
    ledger: Ledger, before: dict[str, Floats], after: dict[str, Floats], otherwise: str
) -> None:
    for name, array in before.items():
        same = np.array_equal(array, after[name], equal_nan=True)
        ledger.require(name, same, f"{otherwise} {name}")


def repeat(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare the bits of repeated calls, with calls of other shapes in between."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    called = subject.build(case)
    first = called.forward(inputs)
    second = called.forward(inputs)
    _require_fresh_state(ledger, subject, case, inputs, first, second)
    _same_bits(ledger, subject, case, second, first, "called again")
    for T, B in ((case.T + 3, case.B + 2), (max(case.T - 1, 1), max(case.B - 1, 1))):
        between = replace(case, T=T, B=B, seed=case.seed + 1, zero_length=False)
        replace(called, case=between).forward(draw_inputs(subject, between))
    _same_bits(ledger, subject, case, called.forward(inputs), first, "after other shapes")
    if subject.options.gradient:
        cotangents = draw_cotangents(subject, case)
        pulled = called.gradient(inputs, cotangents)
        pulled_again = called.gradient(inputs, cotangents)
        _same_bits(ledger, subject, case, pulled_again, pulled, "called again")
    return ledger


def _require_fresh_state(
    ledger: Ledger,
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    first: Result,
    second: Result,
) -> None:
    """Refuse a second call without a state that begins where the first one ended."""
    if case.state or not subject.options.state or np.array_equal(first.y, second.y):
        return
    following = replace(inputs, state=first.final)
    continued = subject.build(replace(case, state=True)).forward(following)
    ledger.require(
        "called again", not np.array_equal(continued.y, second.y),
        "a call without a state goes on where the last one ended, "
        + ("although it was reset" if subject.options.kept_state else
           "with nothing that says stateful = True"),
    )  # fmt: skip


def _same_bits(
    ledger: Ledger, subject: Subject, case: Case, got: Result, first: Result, when: str
) -> None:
    names = by_name(state_names(subject, case), first)
    for name, array in by_name(state_names(subject, case), got).items():
        same = np.array_equal(array, names[name], equal_nan=True)
        ledger.require(f"{when}: {name}", same, "not the same bits as before")


def reweight(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Call one layer with two sets of parameters: results are those of the second set."""
    ledger, first = Ledger(), draw_inputs(subject, case)
    parameters = draw_inputs(subject, replace(case, seed=case.seed + 1)).parameters
    second = replace(first, parameters=parameters)
    called = subject.build(case)
    called.forward(first)
    cotangents = draw_cotangents(subject, case)
    if subject.options.gradient:
        called.gradient(first, cotangents)
    compare_call(ledger, called, second, cotangents)
    return ledger


def backward_twice(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Pull the same cotangents back twice through one run, with others in between."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    cotangents = draw_cotangents(subject, case)
    others = draw_cotangents(subject, replace(case, seed=case.seed + 1))
    want = expected_gradient(subject, case, inputs, cotangents)
    pulled = subject.build(case).gradients(inputs, [cotangents, others, cotangents])
    compare_gradients(ledger, subject, case, pulled[0], want)
    compare_gradients(ledger, subject, case, pulled[2], want, prefix="the second time: ")
    return ledger


def vjp_linearity(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Pull back cotangents on y, on the final states, and on both: the gradients add up."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    dy, dfinal = draw_cotangents(subject, case)
    pairs: list[Cotangents] = [
        (4 * dy, tuple(np.zeros_like(d) for d in dfinal)),
        (np.zeros_like(dy), dfinal),
        (dy, dfinal),
    ]
    wants = expected_gradients(subject, case, inputs, pairs)
    called, states = subject.build(case), state_names(subject, case)
    first, second, together = (
        gradients_by_name(states, called.gradient(inputs, pair)) for pair in pairs
    )
    bounds = [gradients_by_name(states, want) for want in wants]
    for name, got in together.items():
        summed = first[name].astype(np.float64) / 4 + second[name]
        allowed = bounds[0][name].bound / 4 + bounds[1][name].bound + bounds[2][name].bound
        ledger.compare(name, got, around(case, summed, allowed))
    return ledger


def forward_mode(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare forward-mode derivatives, along tangents of all inputs, with the reference."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    tangents = draw_inputs(subject, replace(case, seed=case.seed + 1))
    tangents = replace(tangents, lengths=inputs.lengths)
    want = expected_jvp(subject, case, inputs, tangents)
    got = subject.build(case).jvp(inputs, tangents)
    states = state_names(subject, case)
    derivatives = by_name(states, got)
    for name, tangent in by_name(states, want).items():
        ledger.compare(f"derivative of {name}", derivatives[name], tangent)
    return ledger


def strided(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Pass strided input and states, and a cotangent that is one row, broadcast."""
    ledger, contiguous = Ledger(), draw_inputs(subject, case)
    inputs = replace(
        contiguous,
        x=_gapped(contiguous.x),
        state=contiguous.state and tuple(map(_transposed, contiguous.state)),
    )
    before = _snapshot(inputs)
    dy, dfinal = draw_cotangents(subject, case)
    ends = tuple(_transposed(d) for d in dfinal)
    called = subject.build(case)
    compare_call(ledger, called, inputs, (_gapped(dy), ends), prefix="strided cotangents: ")
    if subject.options.gradient:
        broadcast = np.broadcast_to(dy[:1, :1], dy.shape), ends
        compare_call(ledger, called, inputs, broadcast, prefix="a broadcast cotangent: ")
    _unchanged(ledger, before, _snapshot(inputs), "the call wrote into strided")
    return ledger


def _gapped(array: Floats) -> Floats:
    """Return the same numbers with gaps of one number in memory."""
    spread = np.full((*array.shape[:-1], 2 * array.shape[-1]), 1e3, array.dtype)
    spread[..., ::2] = array
    return spread[..., ::2]


def _transposed(array: Floats) -> Floats:
    """Return the same numbers with the last two axes exchanged in memory."""
    return np.ascontiguousarray(array.swapaxes(-1, -2)).swapaxes(-1, -2)


CHECKS = (
    SubjectCheck(
        "purity",
        "A call changes neither its arguments nor the results of earlier calls.",
        purity,
        forced=_from_a_state,
        share=0.2,
    ),
    SubjectCheck(
        "repeat",
        "Repeating a call gives the same bits, whatever was called in between.",
        repeat,
        share=0.2,
    ),
    SubjectCheck(
        "reweight",
        "When parameters change between two calls, the second call uses the new ones.",
        reweight,
        equations=BACK,
        share=0.2,
    ),
    SubjectCheck(
        "backward-twice",
        "Pulling cotangents back through one run twice gives the same gradients twice.",
        backward_twice,
        equations=BACK,
        needs=("gradient",),
        share=0.2,
    ),
    SubjectCheck(
        "vjp-linearity",
        "The gradient of a sum of outputs is the sum of their gradients.",
        vjp_linearity,
        equations=("bptt.backpropagate",),
        needs=("gradient",),
        share=0.2,
    ),
    SubjectCheck(
        "jvp",
        "Forward-mode derivatives are those of the equations, hence adjoint to the gradients.",
        forward_mode,
        cases=partial(cases, lengths=False),
        equations=DEPTH,
        needs=("equations", "jvp"),
        share=0.2,
        refuses=lambda case: "expected no lengths" if case.lengths else "",
    ),
    SubjectCheck(
        "strided",
        "Input, states and cotangents that are strided or broadcast give the same result as "
        "contiguous ones.",
        strided,
        equations=BACK,
        share=0.2,
    ),
)
