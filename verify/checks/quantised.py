"""Quantised layers on numbers that exercise one part of their arithmetic each.

Random numbers rarely meet a tie, an end of a range or an accumulator's limit, and random channels
have nearly equal scales. Each check here constructs the numbers of a small case so that the results
depend on one part of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..cases.strategies import one_layer
from ..conventions.rounded_map import RoundedMap
from ..numbers.ledger import Ledger
from ..numbers.quantisation import Quantisation
from ..subjects.called import NotOffered, SubjectUnderTest
from ..subjects.inputs import draw_inputs
from ..subjects.protocol import Inputs, Subject
from .check import SubjectCheck
from .oracle import compare_outputs, expected

FRACTION = 2.0**-7
"""A scale that is exact in every arithmetic, so that ties are exact, too."""

WIDE = 10.0
"""A weight whose products leave the range of fixed point while they are added, and return."""

MANY = 2200
"""Weights of one sign whose sum leaves 16 bits, even in eight parts: 2200 times 127 by 8."""

Construction = Callable[[Quantisation, Case, Inputs, Parameters], tuple[Inputs, Parameters]]
"""A function that changes the drawn inputs and parameters for one check."""


def compare_constructed(construct: Construction, subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare a run on numbers that were constructed for one part of an arithmetic."""
    ledger, original = Ledger(), draw_inputs(subject, case)
    quantisation: Quantisation = getattr(subject, "quantisation")  # noqa: B009 - by concerned
    layout = subject.parameter_map(case)
    layout = layout.inner if isinstance(layout, RoundedMap) else layout  # of unrounded weights
    (p,) = layout.to_reference(original.parameters)
    inputs, p = construct(quantisation, case, original, p)
    inputs = replace(inputs, parameters=layout.pack([p]))
    inputs = inputs.map(lambda a: np.asarray(a, case.number_type))
    want = expected(subject, case, inputs)
    compare_outputs(ledger, subject, case, subject.build(case).forward(inputs), want)
    return ledger


def ties(q: Quantisation, case: Case, inputs: Inputs, p: Parameters) -> tuple[Inputs, Parameters]:
    """Put numbers halfway between two integers, with scales that are powers of two."""
    if q.format is not None:
        step = q.format.step

        def halfway(a: Array) -> Array:
            return (np.floor(a / step) + 0.5) * step

        return _with(inputs, halfway), p.map(halfway)
    levels = q.activation_levels or 2**q.activations - 1

    def halfway_operand(letter: str, a: Array) -> Array:
        if not q.activations or letter not in q.operands:
            return a
        if q.range == "given":
            scale, _ = q.given_scales[letter]
            return (np.floor(a / scale) + 0.5) * scale
        half = (levels + 1) // 2
        low, high = (-half, levels - half) if q.activation_zero else (-(levels // 2), levels // 2)
        a = np.clip((np.floor(a / FRACTION) + 0.5) * FRACTION, low * FRACTION, high * FRACTION)
        a[..., 0], a[..., 1] = low * FRACTION, high * FRACTION
        return a

    state = None
    if inputs.state is not None:
        state = (halfway_operand("h", inputs.state[0]), *inputs.state[1:])
    inputs = replace(inputs, x=halfway_operand("x", np.array(inputs.x)), state=state)
    if not q.weights or q.gradient != "straight" or q.per in ("input", "column"):
        return inputs, p
    low, high = (-q.levels, q.levels)
    if q.weight_zero:
        half = (q.levels + 1) // 2
        low, high = -half, q.levels - half

    def weights(a: Array) -> Array:
        a = np.clip((np.floor(a / FRACTION) + 0.5) * FRACTION, low * FRACTION, high * FRACTION)
        a[:, 0], a[:, 1] = low * FRACTION, high * FRACTION
        return a

    return inputs, _weights(p, lambda a: weights(np.array(a)))


def sums(q: Quantisation, case: Case, inputs: Inputs, p: Parameters) -> tuple[Inputs, Parameters]:
    """Make sums of large products of one sign, then of the other, with moderate results.

    In sums of many products the input has both signs instead of the weights, so that the sum of the
    weights, which a zero point is multiplied with, is large, too.
    """
    rng = case.generator("sums")
    second_sign = -1.0 if case.D < MANY else 1.0

    def opposed(a: Array) -> Array:
        size = WIDE if q.fixed else 1.5 / a.shape[1]
        half = np.arange(a.shape[1]) < a.shape[1] // 2
        sign = rng.choice([-1.0, 1.0], (len(a), 1, 1))
        signs = sign * np.where(half, 1.0, second_sign)[None, :, None]
        return signs * size * (1 - 0.02 * rng.random(a.shape))

    def large_first(a: Array) -> Array:
        half = np.arange(a.shape[-1]) < a.shape[-1] // 2
        second = (0.5 if not q.fixed else 0.98) * -second_sign
        return np.where(half, 1.0, second) - 0.02 * rng.random(a.shape)

    return _with(inputs, large_first), _weights(p, opposed)


def one_sided(
    q: Quantisation, case: Case, inputs: Inputs, p: Parameters
) -> tuple[Inputs, Parameters]:
    """Make all numbers of one sign, so that the zero point is at an end of the range."""
    sign = 1.0 if case.seed % 2 else -1.0
    return _with(inputs, lambda a: sign * (0.5 + np.abs(a))), p


def channels(
    q: Quantisation, case: Case, inputs: Inputs, p: Parameters
) -> tuple[Inputs, Parameters]:
    """Give each unit, gate and input weights of a different size."""

    def sized(a: Array) -> Array:
        gates, inputs, units = (np.arange(n) for n in a.shape)
        size = 2.0 ** (-(gates % 3)[:, None, None] - (inputs % 2)[:, None] - 2 * (units % 3))
        return a * size * 4

    return inputs, _weights(p, sized)


def rows(q: Quantisation, case: Case, inputs: Inputs, p: Parameters) -> tuple[Inputs, Parameters]:
    """Give each row numbers of a different size."""
    size = 4.0 ** -np.arange(case.B)[:, None]  # powers of 2: nothing else is rounded by it
    return _with(inputs, lambda a: a * size), p


def ends(q: Quantisation, case: Case, inputs: Inputs, p: Parameters) -> tuple[Inputs, Parameters]:
    """Begin with states at the ends of their format's range, and beyond."""
    form = q.format or next(iter(q.state_formats.values()), None)
    if form is None or inputs.state is None:
        raise NotOffered("it stores no state in fixed point")
    most = form.ends[1] * form.step
    rng = case.generator("ends")
    state = tuple(
        s if name == "h" else rng.choice([-1, 1], s.shape) * most * (0.4 + rng.random(s.shape))
        for name, s in zip(("h", "c"), inputs.state, strict=False)
    )
    return replace(inputs, state=state), p


def _with(inputs: Inputs, function: Callable[[Array], Array]) -> Inputs:
    """Return the inputs with ``function`` applied to the operands of products, x and h."""
    state = inputs.state and (function(inputs.state[0]), *inputs.state[1:])
    return replace(inputs, x=function(inputs.x), state=state)


def _weights(p: Parameters, function: Callable[[Array], Array]) -> Parameters:
    arrays: dict[str, Any] = {n: function(a) if n in ("W", "U") else a for n, a in p.items()}
    return Parameters(p.shapes, arrays)


def _small(subject: Subject, dtype: str) -> st.SearchStrategy[Case]:
    """Draw a step or two, wide enough for sums of several pairs."""
    return one_layer(subject, dtype, T=(1, 2), B=(2, 3), D=(7, 9), H=(6, 9))


def _many(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield a step with many products, except for fixed point, whose range they would leave."""
    if not getattr(subject, "quantisation").fixed:  # noqa: B009 - by concerned
        yield Case(1, 2, MANY, 2, state=subject.options.state, dtype=dtype, seed=1)


def _check(id: str, statement: str, construct: Construction, *, many: bool = False) -> SubjectCheck:
    return SubjectCheck(
        id, statement, partial(compare_constructed, construct), cases=_small,
        concerned=lambda subject: subject.options.quantised,
        needs=("equations", "quantised"), share=0.3, shrinks=False,
        forced=_many if many else lambda subject, dtype: (),
    )  # fmt: skip


CHECKS = (
    _check("tie-rounding", "What stands halfway between two integers is rounded as declared.",
           ties),
    _check("saturation", "Sums that are large on the way and moderate at the end are exact: no "
           "accumulator saturates or wraps.", sums, many=True),
    _check("zero-point", "Outputs are those of the declared arithmetic, too, when all numbers that "
           "are rounded have one sign: the zero point is then an end of the range.", one_sided),
    _check("channel-scale", "Weights of very different sizes have the scales that are declared: of "
           "the matrix, the channel, or another group.", channels),
    _check("row-scale", "Rows of very different sizes have the ranges that are declared: of the "
           "call, or of each row.", rows),
    _check("state-scale", "States at the ends of their format are stored by its scale, and "
           "saturate or wrap as declared.", ends),
)  # fmt: skip
