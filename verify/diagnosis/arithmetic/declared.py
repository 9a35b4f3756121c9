"""The arithmetic of a quantised layer that deviates from its declaration.

Each alternative differs from the declaration in one respect, or in how weights are grouped, stored
and rounded. The layer computes by the one with which it agrees wherever no integer is ambiguous.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np

from ...cases.case import Case
from ...checks.oracle import compare_outputs, expected
from ...conventions.weight_grid import GROUPS
from ...numbers.ledger import Ledger, Mismatch
from ...numbers.quantisation import (
    OVERFLOWS,
    RANGES,
    ROUNDINGS,
    SUMS,
    FixedPoint,
    Quantisation,
    QuantisationError,
)
from ...runs.diagnosis import Explanation
from ...runs.verdict import Verdict
from ...subjects.called import under_test
from ...subjects.inputs import draw_inputs
from ...subjects.protocol import Inputs, Result, Subject
from ...subjects.quantised import Quantised
from ..discovery import Discovery
from ..observation import deep_case, plain_case

BITS = (8, 4, 7, 6, 5, 3, 2, 16)
"""The numbers of bits that are tried for weights and activations."""

LARGEST = 20_000
"""The largest size of a failing case for alternatives, in steps times rows times units."""

FAILING = 3
"""The most failing cases for alternatives, beside plain ones."""

SHARE = 2.0**-9
"""The share of a case's numbers below which its bounds distinguish alternatives."""

WORDS = {
    "weights": "weights of {} bits", "weight_levels": "the largest weight divided by {}",
    "activations": "activations of {} bits", "activation_levels": "{} levels of activations",
    "fixed": "fixed point {}", "states": "states in fixed point {}", "scales": "scales {}",
    "rounding": "rounding {}", "overflow": "numbers that are too large {}",
    "initial": "initial states {}", "range": "activations with a range for each {}",
    "gates": "gates of pre-activations {}", "rescaling": "integers rescaled with rounding {}",
    "zero_added": "zero points added {} rounding",
    "matrices": "weights of {} on a grid", "operands": "activations of {} quantised",
}  # fmt: skip
YES = {
    "weight_zero": ("weights without a zero point", "weights with a zero point"),
    "activation_zero": ("activations without a zero point", "activations with a zero point"),
    "products": ("sums of products rounded once", "each product rounded"),
}
SUMMED = {
    "exact": "exact sums of products",
    "pairs": "sums of pairs of products that saturate at 16 bits, as VPMADDUBSW's do on a "
    "processor without VNNI",
}
ROUNDED = {
    "even": "to the nearest, ties to even", "away": "to the nearest, ties away from 0",
    "up": "to the nearest, ties up", "down": "down", "zero": "toward 0",
}  # fmt: skip


@dataclass(frozen=True)
class _Run:
    """One call of the layer, with which alternatives are compared."""

    case: Case
    inputs: Inputs
    result: Result

    def agrees(self, subject: Subject) -> tuple[bool, bool]:
        """Return whether an alternative agrees, and whether its bounds are sharp."""
        tested, ledger = under_test(subject), Ledger(share=SHARE)
        want = expected(tested, self.case, self.inputs)
        compare_outputs(ledger, tested, self.case, self.result, want)
        return not ledger.failed, ledger.sharp


def other_arithmetic(subject: Quantised, dtype: str, failing: Sequence[Verdict]) -> Discovery:
    """Return the other arithmetic in which a layer is right, as a discovery."""
    declared = subject.quantisation
    try:
        runs = list(_runs(subject.as_subject, dtype, failing))
    except (Mismatch, RuntimeError):
        return Discovery()
    if all(run.agrees(subject.subject)[0] for run in runs):
        return Discovery([_not_rounded(declared)], experiments=len(runs))
    way = _agreeing(subject.subject, runs, alternatives(declared))
    return Discovery([_explanation(declared, way)] if way else [], experiments=len(runs))


def fixed_point_of(subject: Subject, dtype: str, form: FixedPoint) -> Quantisation | None:
    """Return the rounding, overflow and initial states of a layer in a fixed-point format."""
    ways = (
        Quantisation(fixed=str(form), rounding=rounding, initial=initial, overflow=overflow)
        for overflow, initial, rounding in product(OVERFLOWS, ("rounded", "given"), ROUNDINGS)
    )
    try:
        return _agreeing(subject, list(_runs(subject, dtype, ())), ways)
    except (Mismatch, RuntimeError, QuantisationError):  # formats of more bits are not declared
        return None


def _agreeing(
    subject: Subject, runs: Sequence[_Run], ways: Iterable[Quantisation]
) -> Quantisation | None:
    """Return the first arithmetic in which all runs are right, most within sharp bounds."""
    for way in ways:
        read, sharp = Quantised(subject, way).as_subject, 0
        for run in runs:
            agrees, telling = run.agrees(read)
            if not agrees:
                break
            sharp += telling
        else:
            if sharp > len(runs) // 2:
                return way
    return None


def _runs(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> Iterator[_Run]:
    plain = plain_case(subject, dtype, T=1, B=4, D=3, H=5, seed=41)
    deep = replace(deep_case(subject, plain), T=2, B=3, lengths=False, seed=42)
    failing_cases = [Case.from_json(v.case) for v in failing if v.case]
    small = [c for c in failing_cases if max(c.T, 1) * c.B * c.H <= LARGEST][:FAILING]
    for case in (plain, deep, replace(plain, seed=43), *small):
        inputs = draw_inputs(subject, case)
        yield _Run(case, inputs, under_test(subject).build(case).forward(inputs))


DEPENDENT = ("batch-single", "carry", "causality")
"""Checks that fail if all rows and steps of a call share one range."""


def explain_call(subject: Quantised, dtype: str, failing: Sequence[Verdict]) -> Discovery:
    """Return the explanation by a range of the complete call, if nothing else is wrong."""
    q = subject.quantisation
    if not (q.activations and q.range == "call" and {v.check for v in failing} <= {*DEPENDENT}):
        return Discovery()
    if not all(run.agrees(subject.as_subject)[0] for run in _runs(subject.as_subject, dtype, ())):
        return Discovery()  # another mistake
    case = plain_case(subject.as_subject, dtype, T=4, B=4, D=3, H=5, seed=44)
    inputs, tested = draw_inputs(subject.as_subject, case), under_test(subject.as_subject)
    together = tested.build(case).forward(inputs).y
    moved = 0.0
    for b in range(case.B):
        some = slice(b, b + 1)
        state = inputs.state and tuple(s[:, some] for s in inputs.state)
        row = replace(inputs, x=inputs.x[:, some], state=state)
        alone = tested.build(replace(case, B=1)).forward(row).y
        moved = max(moved, float(np.abs(alone - together[:, some]).max()))
    explanation = Explanation(
        ("range of the call",),
        ("Activations are quantised with one range for all rows, and all steps, of a call: a row's "
         "outputs depend on the other rows, and a step's on later steps. In that arithmetic its "
         f"equations are right; a row moves by up to {moved:.1e} when three others join it.",),
        ("give each row a range of its own, or scales that are given; or accept what follows from "
         "it, with --deviations",),
    )  # fmt: skip
    return Discovery([explanation], experiments=case.B + 1)


def alternatives(declared: Quantisation) -> Iterator[Quantisation]:
    """Yield alternatives to the declared arithmetic, the nearest first."""
    for change in _changes(declared):
        try:
            alternative = replace(declared, **change)
        except QuantisationError:
            continue
        if alternative != declared:
            yield alternative


def _changes(q: Quantisation) -> Iterator[dict[str, Any]]:
    yield from ({"rounding": name} for name in ROUNDINGS)
    if q.weights:
        yield from ({"per": name} for name in GROUPS)
        yield {"weight_zero": not q.weight_zero, "weight_levels": 0.0}
        half = 2.0 ** (q.weights - 1)
        most = (half - 1, half - 0.5, half, half / 2, 2 * half - 1, 2 * half)
        yield from ({"weight_levels": levels} for levels in most)
        yield from ({"matrices": letters} for letters in ("xh", "x", "h"))
        for bits, group, zero in product(BITS, GROUPS, (False, True)):
            yield {"weights": bits, "per": group, "weight_zero": zero, "weight_levels": 0.0}
    if q.activations:
        yield from ({"range": name} for name in RANGES)
        yield from ({"sums": name} for name in SUMS)
        yield {"activation_zero": not q.activation_zero}
        yield {"zero_added": "after" if q.zero_added == "before" else "before"}
        yield from ({"operands": letters} for letters in ("xh", "x", "h"))
        yield from ({"activation_levels": 2**bits - 1} for bits in BITS)
        yield from ({"activations": bits, "activation_levels": 0} for bits in BITS)
        yield from ({"scales": scales} for scales in _scales(q))
        if q.weights or q.states:
            yield {"activations": 0}
    if q.fixed:
        yield {"overflow": "wrap" if q.overflow == "saturate" else "saturate"}
        yield {"products": not q.products}
        yield {"initial": "given" if q.initial == "rounded" else "rounded"}
        yield from ({"fixed": str(form)} for form in _formats(FixedPoint.parse(q.fixed)))
    if q.gates:
        yield {"rescaling": "once" if q.rescaling == "twice" else "twice"}
        yield from ({"gates": str(form)} for form in _formats(q.gate_format))
        yield {"gates": ""}
    for name, form in q.state_formats.items():
        rest = [f"{other}:{f}" for other, f in q.state_formats.items() if other != name]
        yield {"overflow": "wrap" if q.overflow == "saturate" else "saturate"}
        for other in _formats(form):
            yield {"states": "+".join([*rest, f"{name}:{other}"])}
        yield {"states": "+".join(rest)}
    if q.weights and (q.activations or q.states):
        yield {"weights": 0}


def _formats(form: FixedPoint) -> Iterator[FixedPoint]:
    """Yield formats with another binary point, and with other numbers of bits."""
    for moved in (1, -1, 2, -2):
        yield FixedPoint(form.bits, form.integer_bits + moved)
    for bits in (8, 12, 16, 18, 24, 32):
        yield FixedPoint(bits, form.integer_bits)
        yield FixedPoint(bits, bits - (form.bits - form.integer_bits))


def _scales(q: Quantisation) -> Iterator[str]:
    """Yield the declared scales without zero points, and exchanged."""
    scales = q.given_scales
    yield "+".join(f"{name}:{scale!r}" for name, (scale, _) in scales.items())
    names = [*scales]
    for one, other in zip(names, reversed(names), strict=True):
        scale, zero = scales[other]
        rest = [f"{n}:{scales[n][0]!r}:{scales[n][1]}" for n in names if n != one]
        yield "+".join([f"{one}:{scale!r}:{zero}", *rest])


def _explanation(declared: Quantisation, other: Quantisation) -> Explanation:
    different = [f.name for f in fields(declared)
                 if getattr(declared, f.name) != getattr(other, f.name)]  # fmt: skip
    does, says = (_words(q, different) for q in (other, declared))
    return Explanation(
        ("another arithmetic",),
        (f"It computes otherwise than declared: {does}, not {says}. In that arithmetic its "
         "equations are right.",),
        (f"do as declared ({says}), or declare what it does: {other.text}",),
    )  # fmt: skip


def _not_rounded(declared: Quantisation) -> Explanation:
    return Explanation(
        ("another arithmetic",),
        (f"It rounds nothing: declared are {declared.words}. In the arithmetic of its dtype its "
         "equations are right.",),
        ("quantise as declared, or declare nothing",),
    )  # fmt: skip


def _words(q: Quantisation, names: Sequence[str]) -> str:
    phrases = []
    for name in names:
        value = getattr(q, name)
        if name == "per":
            phrases.append(GROUPS[value][0])
        elif name in YES:
            phrases.append(YES[name][value])
        elif name == "sums":
            phrases.append(SUMMED[value])
        elif name == "rounding":
            phrases.append(f"rounding {ROUNDED[value]}")
        elif name == "weight_levels":
            phrases.append(WORDS[name].format(f"{q.levels:g}"))
        elif name == "activation_levels" and not value:
            phrases.append(WORDS[name].format(2**q.activations - 1))
        elif name == "gates" and not value:
            phrases.append("gates computed in floating point")
        elif name in ("weights", "activations", "states") and not value:
            phrases.append(f"{name} that are not rounded")
        elif name in WORDS:
            text = " and ".join(value) if name in ("matrices", "operands") else value
            phrases.append(WORDS[name].format(text))
    return " and ".join(phrases)


def is_rounded(explanation: Explanation) -> bool:
    """Whether an explanation says that only the rounding of weights deviates."""
    return explanation.ids == ("rounded weights",)


def relative_to_declaration(explanation: Explanation, declared: Quantisation) -> Explanation:
    """Return an explanation by rounded weights as a deviation from the declaration."""
    grid = explanation.statements[0].removeprefix("It is right for weights rounded to ")
    return replace(
        explanation,
        ids=("another arithmetic",),
        statements=(f"Its weights are rounded to {grid} Declared are {declared.words}.",),
        fixes=("round weights as declared, or declare what it does",),
        variant=False,
    )
