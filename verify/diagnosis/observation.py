"""What a layer does in an experiment: the calls that a check made of it, and what came back.

An experiment is a check on one case. Its calls can be made again of any other layer, so that what
the subject did can be compared with what a hypothesis would have done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.layouts import RAGGED
from ..checks import check_named
from ..checks.oracle import expected, expected_gradients, expected_jvp, state_names
from ..checks.quantities import by_name
from ..numbers.bounded import Bounded
from ..numbers.ledger import Mismatch
from ..subjects.called import (
    Call,
    NotOffered,
    SubjectCrashed,
    SubjectUnderTest,
    layer_of,
    under_test,
)
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Subject

MARGIN = 64.0
"""Other programs than the right one round differently: bounds are those of the right one, wider
by this. The gap between explanations that fit and others is many orders of magnitude, and is
shown."""

NEGLIGIBLE = 2.0**-20
"""Share of the largest number's roundoff that is not compared: subnormals may be flushed."""

BLIND = {"float64": 2.0**-20, "float32": 2.0**-8}
"""Numbers whose level is above this share of the largest say nothing, and are not compared."""

LARGER = 2.0**10
"""Numbers that are so many times the right ones are sums of other terms, and round as these do."""

OVERFLOW = {8: 1e150, 4: 1e18, 2: 1e3}
"""Numbers of so many bytes beyond which a sequence that grows has overflown."""

Key = tuple[int, int, str]
"""Which call, which pair of cotangents, which quantity."""


VALUES = "values"
"""In the place of a check: one call, with gradients where there are any."""

OUTPUTS = "outputs"
"""The same without gradients, for long sequences."""


@dataclass(frozen=True)
class Experiment:
    """A check, or ``VALUES``, and a case."""

    check: str
    case: Case

    def __str__(self) -> str:
        return f"{self.check} {self.case.to_json()}"


@dataclass
class Observation:
    """What the subject did in one experiment.

    ``calls`` in order; ``levels``, by key, how far a program that computes the same may be off,
    (nan where nothing can be said); ``right``: what the equations give; ``rounding``: the largest
    level of each quantity, also where masks are drawn; ``varying``: entries that
    differ from run to run; ``words``: how the check put a failure that is no number, "" if there
    is none; ``wrong``: whether the check failed.
    """

    experiment: Experiment
    calls: list[Call]
    words: str = ""
    wrong: bool = False
    levels: dict[Key, Floats] = field(default_factory=dict)
    right: dict[Key, Floats] = field(default_factory=dict)
    seen: dict[Key, Floats] = field(default_factory=dict)
    varying: dict[Key, Floats] = field(default_factory=dict)
    rounding: dict[Key, float] = field(default_factory=dict)

    def scale(self, key: Key) -> float:
        """Return the largest level of a quantity."""
        return float(np.nanmax(self.levels[key], initial=0.0))

    @cached_property
    def deviating(self) -> frozenset[Key]:
        """The numbers that are not those of the equations."""
        return frozenset(
            key for key, seen in self.seen.items()
            if not residual(seen, self.right[key], self.levels[key]) <= 1
        )  # fmt: skip


def observe(subject: Subject, experiment: Experiment) -> Observation:
    """Run a check on its case, and keep every call that it made."""
    tested = under_test(subject)
    wrong, words = run_check(tested, experiment)
    calls = list(_with_states(tested.calls))
    return of_calls(subject, Observation(experiment, calls, words, wrong))


def _with_states(calls: Sequence[Call]) -> Iterator[Call]:
    """Yield calls with the whole state from which they begin, be it kept or given in part.

    Layers that are compared are handed it: they need not keep one, nor fill one up.
    """
    ended: dict[int, Sequence[Floats]] = {}
    for call in calls:
        layer, inputs = call.layer, call.inputs
        state = None if inputs is None else inputs.state
        if inputs is not None and inputs.kept:
            state = tuple(ended.get(id(layer.built), ())) or None
        elif inputs is not None and state is not None and any(s is None for s in state):
            start = layer_of(layer.subject, layer.case).initial_state(inputs.x, layer.case.B)
            state = tuple(b if s is None else s for s, b in zip(state, start, strict=True))
        if call.results:
            ended[id(layer.built)] = call.results[-1].final
        if inputs is None or state is inputs.state:
            yield call
        else:
            case = replace(layer.case, state=True)
            stated = replace(inputs, state=state, kept=False)
            yield replace(call, layer=replace(layer, case=case), inputs=stated)


def of_calls(subject: Subject, seen: Observation) -> Observation:
    """Enter what calls returned, and what they should have, into an observation."""
    experiment, calls = seen.experiment, seen.calls
    masked = masked_calls(calls)
    states = state_names(subject, experiment.case)
    for number, call in enumerate(calls):
        for k, (result, want) in enumerate(zip(call.results, _wanted(call), strict=False)):
            wanted = by_name(states, want)
            for name, array in by_name(states, result).items():
                if name not in wanted or np.asarray(array).dtype.kind not in "fiuV":
                    continue  # objects and complex numbers; V: bfloat16
                key, bounded = (number, k, name), wanted[name]
                seen.seen[key], seen.right[key] = np.asarray(array), bounded.value
                level = _level(experiment.case, bounded, np.asarray(array))
                seen.rounding[key] = float(np.nanmax(level, initial=0.0))
                seen.levels[key] = np.full(level.shape, np.nan) if number in masked else level
    return seen


def masked_calls(calls: Sequence[Call]) -> set[int]:
    """Return the calls in which dropout masks are drawn: no two layers agree on those."""
    masked, training = set(), {}
    for number, call in enumerate(calls):
        layer = id(call.layer.built)
        if call.inputs is None:
            training[layer] = call.training
        elif call.layer.case.dropout and training.get(layer, True):
            masked.add(number)
    return masked


def run_check(subject: SubjectUnderTest, experiment: Experiment) -> tuple[bool, str]:
    """Return whether the check fails, and how it puts it if that is no matter of numbers."""
    wrong, words = _run_check(subject, experiment)
    if not experiment.case.dropout:
        return wrong, words
    shown = (r.y for k in masked_calls(subject.calls) for r in subject.calls[k].results)
    return wrong, f"{words}; outputs of 0" if any((y == 0).any() for y in shown) else words


def _run_check(subject: SubjectUnderTest, experiment: Experiment) -> tuple[bool, str]:
    try:
        if experiment.check in (VALUES, OUTPUTS):
            _call(subject, experiment.case, gradient=experiment.check == VALUES)
            return False, ""
        ledger = check_named(experiment.check).run(subject, experiment.case)
    except (Mismatch, SubjectCrashed, NotOffered) as said:
        return True, without_numbers(str(said))
    if experiment.case.dropout:  # masks differ, and so do numbers; say at least which are off
        return bool(ledger.failed), " ".join(sorted({c.quantity for c in ledger.failed}))
    return bool(ledger.failed), ""


def _call(subject: SubjectUnderTest, case: Case, *, gradient: bool) -> None:
    called, inputs = subject.build(case), draw_inputs(subject, case)
    if gradient and subject.options.gradient:
        dy, dfinal = draw_cotangents(subject, case)
        nothing = tuple(None for _ in dfinal)
        only = [
            tuple(d if k == j else None for k, d in enumerate(dfinal)) for j in range(len(dfinal))
        ]
        called.gradients(inputs, [(dy, dfinal), (dy, nothing), *((None, ends) for ends in only)])
    else:
        called.forward(inputs)


def without_numbers(text: str) -> str:
    """Return a sentence without what differs from case to case."""
    return re.sub(r"\([^)]*line \d+[^)]*\)|(?<!\w)[-+]?(\d[\d.e+-]*|nan|inf)", "#", text)


def _wanted(call: Call) -> Iterator[object]:
    """Yield what the equations give for a call, Bounded."""
    subject, case = call.layer.subject, call.layer.case
    if call.inputs is None:
        return
    if call.tangents is not None:
        yield expected_jvp(subject, case, call.inputs, call.tangents)
    elif call.cotangents is None:
        yield expected(subject, case, call.inputs)
    else:
        yield from expected_gradients(subject, case, call.inputs, call.cotangents)


def _level(case: Case, right: Bounded, seen: Floats) -> Floats:
    """Return, entry by entry, how far off another program may be; nan: too far to say anything.

    A wrong layer's numbers may be larger than the right ones by orders of magnitude; to those
    the right ones' relative accuracy applies.
    """
    value, bound = right.value, right.bound
    if seen.shape != value.shape:
        seen = value
    with np.errstate(all="ignore"):
        finite = np.isfinite(value) & np.isfinite(bound)
        sizes = np.maximum(np.abs(value), np.where(np.isfinite(seen), np.abs(seen), 0.0))
        scale = float(np.max(sizes, where=finite, initial=0.0))
        relative = bound[finite & (value != 0)] / np.abs(value[finite & (value != 0)])
        near = np.maximum(bound, np.median(bound[finite]) if finite.any() else np.nan)
        accuracy = np.median(relative) if relative.size else np.finfo(case.dtype).eps
        near = np.maximum(near, accuracy * sizes)
        if scale > LARGER * float(np.max(np.abs(value), where=finite, initial=0.0)):
            near = np.maximum(near, accuracy * scale)
        level = MARGIN * near + NEGLIGIBLE * np.finfo(case.dtype).eps * scale
    if scale == 0:  # what is exactly 0 may be nearly 0 in another program
        level = np.maximum(level, MARGIN * np.finfo(case.dtype).eps)
        scale = 1.0
    return np.where(finite & (level <= BLIND[case.dtype] * scale), level, np.nan)


def residual(seen: Floats, predicted: Floats, level: Floats) -> float:
    """Return the largest difference in units of the level, where there is one; inf for shapes."""
    if seen.shape != predicted.shape:
        return float("inf")
    if level.shape != seen.shape:  # both have the same wrong shape
        level = np.full(seen.shape, np.nanmax(level, initial=0.0))
    with np.errstate(all="ignore"):
        off = np.abs(seen.astype(np.float64) - predicted.astype(np.float64)) / level
        if np.isfinite(off).all():  # as nearly always
            return float(np.max(off, initial=0.0))
        overflown = np.abs(seen[np.isfinite(seen)]).max(initial=0) > OVERFLOW[seen.dtype.itemsize]
        alike = overflown | (np.isnan(seen) == np.isnan(predicted))  # inf or inf - inf: by rounding
        both = ~np.isfinite(seen) & ~np.isfinite(predicted) & alike
        off = np.where(np.isnan(level) & np.isfinite(seen), 0.0, np.where(both, 0.0, off))
        off = np.where(np.isfinite(off), off, np.inf)
    return float(np.max(off, initial=0.0))


DISTINCT = Case(T=4, B=3, D=2, H=5)
"""Sizes that all differ, so that no axis can be taken for another."""


def plain_case(subject: Subject, dtype: str, **sizes: Any) -> Case:
    """Return a case of one layer, from a state and with a projection where the subject has them."""
    P = sizes.pop("P", 2) if subject.cells[0] == "lstm-projected" else 0
    return replace(DISTINCT, dtype=dtype, **{"state": subject.options.state, **sizes, "P": P})


def deep_case(subject: Subject, plain: Case, **sizes: Any) -> Case:
    """Return a case with layers, directions and lengths where the subject offers them."""
    offered = subject.options
    return replace(
        plain, layers=2 if offered.layers else 1, bidirectional=offered.bidirectional,
        lengths=offered.lengths, **sizes,
    )  # fmt: skip


def basic(subject: Subject, dtype: str) -> Iterator[Experiment]:
    """Yield plain experiments: one layer; then depth, lengths, calls in a row, tangents.

    A failing case says what is wrong; cases that pass say what is not, so that no explanation
    says too much.
    """
    offered, plain = subject.options, plain_case(subject, dtype)
    yield Experiment(VALUES, plain)
    yield Experiment(VALUES, deep_case(subject, plain, B=4, seed=1))
    yield Experiment("reweight", replace(plain, T=2, seed=2))
    if offered.jvp:
        yield Experiment("jvp", replace(plain, T=3, seed=16))


def thorough(subject: Subject, dtype: str) -> Iterator[Experiment]:
    """Yield more experiments, by which explanations that still agree may be told apart."""
    offered, plain = subject.options, plain_case(subject, dtype)
    wanted = [
        Experiment(VALUES, replace(plain, H=7, D=3, seed=3)),
        Experiment(VALUES, replace(plain, T=3, B=3, seed=4)),
        Experiment(VALUES, replace(plain, D=5, H=5, seed=5)),
        Experiment(VALUES, replace(plain, D=5, H=5, layers=2, seed=17)),
        Experiment(VALUES, replace(plain, state=False, seed=6)),
        Experiment(VALUES, replace(plain, lengths=True, seed=7)),
        *(
            Experiment(VALUES, replace(plain, lengths=True, layout=name, B=5, T=7, seed=18))
            for name in RAGGED
        ),
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
