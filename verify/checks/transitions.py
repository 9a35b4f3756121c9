"""Long sequences, step by step, each step from the subject's own previous state.

A bound on a whole trajectory grows with its length, and so do rounding errors of chaotic dynamics.
Single steps from the subject's own state have neither problem; the state is read from its outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np
from hypothesis import strategies as st

from ...reference.arrays import Floats
from ...reference.forms import STEPS
from ...reference.parameters import Parameters
from ...reference.sequence import Unrolled, backpropagate, unroll
from ..cases.case import Case
from ..cases.strategies import SEEDS, integers
from ..numbers.arithmetic import HALVES
from ..numbers.bounded import Bounded
from ..numbers.ledger import Ledger
from ..numbers.quantised_layer import QuantisedCell
from ..subjects.called import SubjectUnderTest, layer_of, output_shape
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Inputs, Pulled, Result, Subject
from .check import Offers, SubjectCheck, reads_out
from .oracle import around, exact

SAMPLED = 6
"""Steps compared in one sequence, the first and the last among them."""

WINDOW = 4
"""Steps over which a cotangent is followed back."""

TILES = (32, 64, 100, 128, 256, 512, 1000)
"""Lengths at which kernels cut sequences; steps and windows across them are always compared."""


def long_cases(subject: Subject, dtype: str) -> st.SearchStrategy[Case]:
    """Draw one layer in one direction, up to 160 steps long and 48 units wide."""
    return st.builds(
        Case,
        T=integers(8, 160),
        B=st.integers(1, 3),
        D=st.integers(1, 5),
        H=st.integers(1, 48),
        bias=st.booleans() if subject.options.bias else st.just(True),
        scale=st.sampled_from(["unit", "large"]),
        dtype=st.just(dtype),
        seed=SEEDS,
    )


def forced_cases(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield cases longer and wider than all tiles, one of them chaotic."""
    yield Case(40, 2, 3, 5, dtype=dtype, seed=1)
    yield Case(1010, 2, 3, 4, dtype=dtype, seed=2)
    yield Case(133, 2, 3, 66, scale="large", dtype=dtype, seed=3)
    yield Case(36, 1, 4, 130, dtype=dtype, seed=4)


def not_long(case: Case) -> str:
    """Return the reason why a case is not suitable, "" if it is."""
    plain = case.layers == 1 and not (case.bidirectional or case.lengths or case.P)
    if plain and case.state and case.T > WINDOW:
        return ""
    return f"expected T > {WINDOW}, one layer in one direction, a state, no lengths, no projection"


def computes_step_by_step(subject: Offers) -> bool:
    """Return whether the layer computes step by step; chunks do not pass through its states."""
    return subject.options.program in ("", STEPS)


def forward_transitions(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare sampled steps of one long run with one step of the reference."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    follow(ledger, subject, case, inputs, subject.build(case).forward(inputs))
    return ledger


def follow(
    ledger: Ledger, subject: SubjectUnderTest, case: Case, inputs: Inputs, run: Result
) -> None:
    """Compare sampled steps of a run with one step of the reference each."""
    for t in _sampled(case, run):
        before = _state_before(subject, case, inputs, run, t)
        if before is None:
            continue
        _, step = _window(subject, case, inputs, before, t, t + 1)
        ledger.compare("y", run.y[t : t + 1], step.y, first=t)
        if t == case.T - 1:
            names = layer_of(subject, case).cell.states
            for name, got, want in zip(names, run.final, step.final, strict=True):
                ledger.compare(f"final {name}", got[0], want)


def gradient_windows(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare the gradients of a few inputs for a cotangent on one output at a time.

    With a cotangent on y[t] alone, the gradient of x[t - 3] ... x[t] depends only on the state
    before these steps, and the gradients of all later inputs are 0.
    """
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    ends = _window_ends(case)
    nothing = tuple(np.zeros_like(d) for d in draw_cotangents(subject, case)[1])
    shape = output_shape(layer_of(subject, case), case)[1:]
    cotangents = [(_at(case, t, shape), nothing) for t in ends]
    runs = subject.build(case).gradients(inputs, cotangents)
    for t, (dy, _), run in zip(ends, cotangents, runs, strict=True):
        label, after = f"cotangent on y[{t}]: gradient of x", run.x[t + 1 :]
        ledger.compare(label, after, exact(case, np.zeros(after.shape)), first=t + 1)
        start = t + 1 - WINDOW
        before = _state_before(subject, case, inputs, run, start)
        if before is None:
            continue
        p, window = _window(subject, case, inputs, before, start, t + 1)
        pulled = tuple(exact(case, d[0]) for d in nothing)
        cell = layer_of(subject, case).cell
        with subject.clock.timing("oracle"):
            _, dx, _ = backpropagate(cell, p, window, exact(case, dy[start : t + 1]), pulled)
        ledger.compare(label, run.x[start : t + 1], dx, first=start)
    return ledger


def _at(case: Case, t: int, shape: tuple[int, ...]) -> Floats:
    """Return a cotangent on y (T, B, H) that is 0 except at step t."""
    dy = np.zeros((case.T, *shape), case.number_type)
    dy[t] = case.normal(f"dy {t}", shape)
    return dy


def _state_before(
    subject: SubjectUnderTest, case: Case, inputs: Inputs, run: Result, t: int
) -> tuple[Bounded, ...] | None:
    """Return the state of the run before step t; None after an overflow.

    States that the outputs do not show (an LSTM's c) are read from a run of the first t steps
    alone, in the same mode. It may round differently, so it is used only if its outputs are the
    same bits; otherwise the equations are solved for the state, with a bound.
    """
    if t == 0:
        return tuple(exact(case, s[0]) for s in inputs.state or ())
    if not np.isfinite(run.y[:t]).all():
        return None
    if len(run.final) > 1 or reads_out(subject):
        prefix = _prefix(subject, case, inputs, run, t)
        if np.array_equal(prefix.y, run.y[:t]):
            return tuple(_returned(case, s[0]) for s in prefix.final)
    p = _parameters(subject, case, inputs)
    earlier = run.y[t - 2] if t > 1 else (inputs.state or ())[0][0]
    arrays = (exact(case, array) for array in (inputs.x[t - 1], earlier, run.y[t - 1]))
    state = layer_of(subject, case).cell.state_from_outputs(p, *arrays)
    return cast("tuple[Bounded, ...] | None", state)


def _returned(case: Case, state: Floats) -> Bounded:
    """Return a returned state; in halves it may be one rounding from the layer's own."""
    if case.dtype not in HALVES:
        return exact(case, state)
    return around(case, state, case.arithmetic.roundoff * np.abs(state.astype(np.float64)))


def _prefix(subject: SubjectUnderTest, case: Case, inputs: Inputs, run: Result, t: int) -> Result:
    case, first = replace(case, T=t), Inputs(inputs.parameters, inputs.x[:t], inputs.state, None)
    if not isinstance(run, Pulled):
        return subject.build(case).forward(first)
    nothing = np.zeros_like(run.y[:t]), tuple(np.zeros_like(s) for s in run.final)
    return subject.build(case).gradient(first, nothing)


def _sampled(case: Case, run: Result) -> list[int]:
    """Return the first step, the last, some between, and the first that is not finite."""
    random_steps = case.generator("sampled steps").integers(1, case.T, SAMPLED - 2)
    odd = np.flatnonzero(~np.isfinite(run.y).all(axis=(1, 2)))[:1]
    across = [tile for tile in TILES if tile < case.T]
    return sorted({0, *across, *(int(t) for t in (*random_steps, *odd)), case.T - 1})


def _window_ends(case: Case) -> list[int]:
    """Return the first window's end, the last, one in between, and one across the last tile."""
    random_end = int(case.generator("window").integers(WINDOW, case.T))
    across = [tile + 1 for tile in TILES if tile + 1 < case.T]
    return sorted({WINDOW - 1, random_end, case.T - 1, *across[-1:]})


def _parameters(subject: Subject, case: Case, inputs: Inputs) -> Parameters:
    named = {name: exact(case, array) for name, array in inputs.parameters.items()}
    (p,) = subject.parameter_map(case).to_reference(named)
    return p


def _window(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    before: tuple[Bounded, ...],
    start: int,
    stop: int,
) -> tuple[Parameters, Unrolled[Bounded]]:
    """Run the reference over steps start ... stop - 1, from the subject's state before them."""
    p = _parameters(subject, case, inputs)
    cell = layer_of(subject, case).cell
    with subject.clock.timing("oracle"):
        x: Bounded = exact(case, inputs.x)
        if isinstance(cell, QuantisedCell):  # a range may be that of the whole call
            x = cell.read_input(x)
        return p, unroll(cell, p, x[start:stop], before)


CHECKS = (
    SubjectCheck(
        "transition",
        "In a long sequence, every sampled step follows the equations from the state that the "
        "layer itself was in.",
        forward_transitions,
        cases=long_cases,
        needs=("equations", "state"),
        forced=forced_cases,
        share=0.25,
        refuses=not_long,
        concerned=computes_step_by_step,
        whole_runs=False,
    ),
    SubjectCheck(
        "gradient-window",
        "In a long sequence, the cotangent of an output reaches the inputs of the steps before "
        "it as the equations say, across the tiles of kernels too, and no later input.",
        gradient_windows,
        cases=long_cases,
        equations=("bptt.backpropagate",),
        needs=("equations", "state", "gradient"),
        forced=forced_cases,
        share=0.25,
        refuses=not_long,
        concerned=computes_step_by_step,
        whole_runs=False,
    ),
)
