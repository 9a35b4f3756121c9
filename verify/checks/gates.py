"""Gates and units: saturated gates, bounds of states, the influence of every weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import Cell, Limit
from ...reference.layer import Layer, Output
from ...reference.parameters import Parameters, Sizes
from ..cases.case import Case
from ..cases.strategies import cases, varied
from ..conventions import NoHome
from ..numbers.ledger import Ledger
from ..numbers.quantisation import Quantisation
from ..subjects.called import Called, NotOffered, SubjectUnderTest, cell_of, layer_of
from ..subjects.inputs import draw_inputs
from ..subjects.protocol import Inputs, Result, Subject
from .check import SubjectCheck, catalogued, reads_out
from .oracle import agree, agree_outputs, around, expected

SATURATING = 60.0
"""A bias that makes σ 0 or 1 up to rounding, whatever ordinary weights add to it."""

FAR = 20
"""Factor on states that are not outputs: a cell state may be large, and must stay so."""

MARKS = Sizes(D=101, H=103, P=107)
"""Sizes by which the axes of a parameter are recognised."""

NOTICED = 1e-3
"""A change of the reference's outputs that no subject may miss altogether."""

CLEAR = 8
"""Units of roundoff that such a change has at least."""


def gate_limits(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Saturate gates by their biases, and compare states with the cell's limits."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    called = subject.build(case)
    for limit in layer_of(subject, case).cell.limits:
        _compare_limit(ledger, called, inputs, limit)
    return ledger


def _compare_limit(ledger: Ledger, called: Called, inputs: Inputs, limit: Limit) -> None:
    subject, case = called.subject, called.case
    k = layer_of(subject, case).cell.states.index(limit.state)
    (p,) = subject.parameter_map(case).to_reference(inputs.parameters)
    b = np.array(p["b"])
    for gates, sign in ((limit.opened, 1), (limit.shut, -1)):
        for gate in gates:
            b[p.shapes["b"].gates.index(gate)] += sign * SATURATING
    saturated = Parameters(p.shapes, {**p, "b": b})
    state = tuple(s if j == 0 else FAR * s for j, s in enumerate(inputs.state or ()))
    try:
        packed = subject.parameter_map(case).pack([saturated])
    except NoHome as problem:
        raise NotOffered("its gates have no biases by which they could be saturated") from problem
    saturated_inputs = replace(inputs, parameters=packed, state=state)
    want = expected(subject, case, saturated_inputs).final[k]
    got = called.forward(saturated_inputs).final[k]
    label = f"{limit.statement}: final {limit.state}"
    quantisation: Quantisation | None = getattr(subject, "quantisation", None)
    if quantisation and quantisation.stores(
        limit.state
    ):  # rounding, and saturation, reach the limit first
        ledger.compare(label, got, want)
        return
    if limit.becomes == "fresh":
        doubled = tuple(2 * s for s in saturated_inputs.state or ())
        agree(
            ledger,
            case,
            label,
            called.forward(replace(saturated_inputs, state=doubled)).final[k],
            got,
            want,
        )
        return
    limiting = np.zeros(got.shape) if limit.becomes == "zero" else state[k]
    distance = np.abs(want.value - limiting) + want.bound
    ledger.compare(label, got, around(case, limiting, distance))


def bounds(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare outputs with [-1, 1], or with the initial state's largest entry if it is larger."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    got = subject.build(case).forward(inputs)
    starts = [1.0] + [float(np.max(np.abs(s))) for s in (inputs.state or ())[:1]]
    rounding = 16 * case.arithmetic.roundoff * max(starts)
    for name, array in (("y", got.y), ("final h", got.final[0])):
        inside = np.clip(array, -max(starts), max(starts))
        ledger.compare(name, array, around(case, inside, np.full(array.shape, rounding)))
    return ledger


def unit_permutation(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Permute the hidden units in parameters and states; compare outputs in the same order."""
    ledger, originals = Ledger(), draw_inputs(subject, case)
    cell = cell_of(subject, case)
    order = np.roll(np.arange(case.H), 1)
    axes = _hidden_axes(subject, case)
    shows_units = cell.widths(_marked(cell))[0] == MARKS.H
    p = subject.parameter_map(case).to_reference(originals.parameters)
    inputs = replace(originals, parameters=subject.parameter_map(case).pack(p))
    permuted_inputs = replace(
        originals,
        parameters=subject.parameter_map(case).pack([_permuted(case, k, q, order, axes, shows_units)
                                       for k, q in enumerate(p)]),
        state=originals.state and _states_permuted(subject, case, originals.state, order),
    )  # fmt: skip
    want = expected(subject, case, inputs)
    called = subject.build(case)
    straight, permuted = called.forward(inputs), called.forward(permuted_inputs)
    units = np.concatenate([order + d * case.H for d in range(case.directions)])
    units = units if shows_units else np.arange(straight.y.shape[2])
    others = (
        Result(result.y[..., units], _states_permuted(subject, case, result.final, order))
        for result in (straight, want)
    )
    agree_outputs(ledger, subject, case, permuted, *others)
    return ledger


def _hidden_axes(subject: Subject, case: Case) -> dict[str, tuple[int, ...]]:
    """Return the axes of each parameter that run over hidden units."""
    cell = cell_of(subject, case)
    shapes = cell.shapes(_marked(cell))
    return {
        name: tuple(k for k, n in enumerate(shape.full) if n == MARKS.H)
        for name, shape in shapes.items()
    }


def _marked(cell: Cell) -> Sizes:
    return MARKS if "projected" in cell.traits else Sizes(MARKS.D, MARKS.H)


def _permuted(
    case: Case,
    k: int,
    p: Parameters,
    order: Floats,
    axes: dict[str, tuple[int, ...]],
    shows_units: bool,
) -> Parameters:
    arrays = dict(p)
    for name, over in axes.items():
        for axis in over:
            arrays[name] = np.take(arrays[name], order, axis=axis)
    if k >= case.directions and shows_units:  # an upper layer's input is the hidden units below
        below = np.concatenate([order + d * case.H for d in range(case.directions)])
        arrays["W"] = np.take(arrays["W"], below, axis=1)
    return Parameters(p.shapes, arrays)


def _states_permuted(
    subject: Subject, case: Case, states: Sequence[Any], order: Floats
) -> tuple[Any, ...]:
    cell = cell_of(subject, case)
    widths = cell.widths(_marked(cell))
    return tuple(s[:, :, order] if w == MARKS.H else s for s, w in zip(states, widths, strict=True))


def influence(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Change one block of parameters at a time; results must change if the reference's do."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    layer = layer_of(subject, case)
    called = subject.build(case)
    p = [q.map(np.asarray) for q in subject.parameter_map(case).to_reference(inputs.parameters)]
    before = called.forward(replace(inputs, parameters=subject.parameter_map(case).pack(p)))
    base = _float64_results(layer, p, inputs)
    noticed = max(NOTICED, CLEAR * case.arithmetic.roundoff)
    # A layer that ignores w may compute w + (v - w), whose rounding changes a little with w.
    unnoticed = min(NOTICED / 2, CLEAR * case.arithmetic.roundoff)
    for name, parameters in _blocks_changed(p):
        if _difference(_float64_results(layer, parameters, inputs), base) < noticed:
            continue
        try:
            packed = subject.parameter_map(case).pack(parameters)
        except NoHome:  # the layer has no array for this block, and claims none
            continue
        after = called.forward(replace(inputs, parameters=packed))
        changes = _difference(after, before) > unnoticed
        ledger.require(name, changes, "changing it changes nothing")
    return ledger


def _float64_results(layer: Layer, p: Sequence[Parameters], inputs: Inputs) -> Output[Any]:
    """Return the reference's results in float64."""

    def fine(array: Any) -> Floats:
        return np.asarray(array, dtype=np.float64)

    state = inputs.state and tuple(map(fine, inputs.state))
    return layer.forward([q.map(fine) for q in p], fine(inputs.x), state, inputs.lengths)


def _blocks_changed(p: Sequence[Parameters]) -> Iterator[tuple[str, list[Parameters]]]:
    for k, q in enumerate(p):
        for name, shape in q.shapes.items():
            for g in range(len(shape.gates)) or (0,):
                array = np.array(q[name])
                where = (g, ...) if shape.gates else (...,)
                array[where] = array[where] * 1.25 + 0.125  # so that a 0 changes, too
                changed = Parameters(q.shapes, {**q, name: array})
                label = f"{name}_{shape.gates[g]}" if shape.gates else name
                yield f"{label} of pass {k}", [*p[:k], changed, *p[k + 1 :]]


def _difference(first: Any, second: Any) -> float:
    pairs = [(first.y, second.y), *zip(first.final, second.final, strict=True)]
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)), initial=0)) for a, b in pairs)


CHECKS = (
    SubjectCheck(
        "gate-limits",
        "A gate that is fully open or shut keeps, clears, hides or forgets (C01, C13, C18, C19).",
        gate_limits,
        cases=partial(cases, scales=("unit",), state=True, lengths=False, depth=False, bias=True),
        needs=("state",),
        concerned=lambda subject: bool((cell := catalogued(subject)) and cell.limits),
        share=0.3,
        refuses=lambda case: (
            ""
            if case.bias and case.state and case.layers == 1 and not case.bidirectional
            else "expected one layer, one direction, a bias and a state"
        ),
    ),
    SubjectCheck(
        "bounds",
        "Hidden states stay in [-1, 1], or within the initial state where that lies beyond.",
        bounds,
        cases=partial(cases, scales=("unit", "large"), P=0),
        concerned=lambda subject: bool((cell := catalogued(subject)) and "bounded" in cell.traits),
        share=0.3,
        refuses=lambda case: "expected no projection" if case.P else "",
    ),
    SubjectCheck(
        "unit-permutation",
        "Permuting the hidden units in parameters and states permutes the outputs in the same way.",
        unit_permutation,
        concerned=lambda subject: catalogued(subject) is not None and not reads_out(subject),
        share=0.3,
        forced=varied,
    ),
    SubjectCheck(
        "influence",
        "The weights and biases of every gate influence the result.",
        influence,
        cases=partial(cases, scales=("unit",), bias=True),
        needs=("equations",),
        concerned=lambda subject: not reads_out(subject),
        share=0.1,
        refuses=lambda case: "" if case.bias else "expected a bias",
    ),
)
