"""A layer's writes into its arguments, as functions of them.

The calls of the check of purity are repeated, and the arguments compared afterwards. That results
were computed from a changed argument is a hypothesis, compared with all observations.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np

from ....reference.functions import Array
from ...cases.case import Case
from ...checks.calls import cotangents_by_name
from ...mutants import Change
from ...mutants.replaceable_layer import ReplaceableLayer, complex_inputs
from ...numbers.complex_step import STEP
from ...numbers.ledger import Mismatch
from ...runs.diagnosis import Explanation, Location
from ...runs.verdict import Verdict
from ...subjects.called import NotOffered, SubjectCrashed, under_test
from ...subjects.inputs import draw_cotangents, draw_inputs
from ...subjects.protocol import Cotangents, Inputs, Pulled, Result, Subject
from ..hypotheses import Guess, Hypothesis, hypotheses
from ..observation import plain_case
from .cause import Cause

REFUSED = re.compile(r"in-?place|read-only|readonly|modified by")
"""A pattern of exceptions that a write into a protected or needed array raises."""

MUST_BE_SEEN = ("purity", "gradient", "cotangents", "repeat", "strided")
"""Checks of which at least one fails if an argument is written into."""

EXACT = {"float64": 1e-12, "float32": 1e-5}
"""The largest relative difference of equal arrays."""

FORWARD, BACKWARD = "forward", "backward"

Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Writing:
    """The write of one pass into one argument, in words, and as a function of it if it is one.

    ``once``: the function is idempotent.
    """

    way: str
    name: str
    words: str
    function: Function | None = None
    once: bool = False

    @property
    def statement(self) -> str:
        """A sentence that describes the write."""
        return f"The {self.way} pass writes into {NAMES[self.name]}: {self.words}."


NAMES = {
    "x": "its input x",
    "state 0": "the initial h that it is given",
    "state 1": "the initial c that it is given",
    "dy": "the gradient of the outputs that it is given",
    "dfinal 0": "the gradient of the final h that it is given",
    "dfinal 1": "the gradient of the final c that it is given",
}


def written(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> list[Writing]:
    """Return a layer's writes into its arguments, if failures suggest any."""
    if not any(v.check in MUST_BE_SEEN or REFUSED.search(v.message) for v in failing):
        return []
    cases = [plain_case(subject, dtype)]
    cases += [replace(cases[0], state=False)] if subject.options.default_state else []
    purity_cases = [Case.from_json(v.case) for v in failing if v.check == "purity" and v.case]
    cases += purity_cases[:1]
    writings: dict[tuple[str, str], Writing] = {}
    for case in cases:
        for writing in () if subject.options.lacking(case) else _written(subject, case):
            writings.setdefault((writing.way, writing.name), writing)
    return list(writings.values())


def _written(subject: Subject, case: Case) -> Iterator[Writing]:
    try:
        called, inputs = under_test(subject).build(case), draw_inputs(subject, case)
        before = _arguments(inputs)
        result = called.attempt(lambda: called.built.forward(inputs))
    except (SubjectCrashed, NotOffered, Mismatch):
        return
    others = {f"the final {n}": s for n, s in zip("hc", result.final, strict=False)}
    others["the outputs"] = result.y
    ahead = [*_changes(FORWARD, before, _arguments(inputs), others)]
    yield from ahead
    if not subject.options.gradient:
        return
    inputs, cotangents = draw_inputs(subject, case), draw_cotangents(subject, case)
    before = _arguments(inputs) | cotangents_by_name(cotangents)
    try:
        (pulled,) = called.attempt(lambda: called.built.gradients(inputs, [cotangents]))
    except (SubjectCrashed, NotOffered, Mismatch):
        return
    others = {"the gradient of x": pulled.x}
    others |= {f"the gradient of the initial {n}": s
               for n, s in zip("hc", pulled.initial, strict=False)}  # fmt: skip
    others |= {f"the gradient of the final {n}": before[f"dfinal {k}"]
               for k, n in enumerate("hc") if f"dfinal {k}" in before}  # fmt: skip
    after = _arguments(inputs) | cotangents_by_name(cotangents)
    names = {w.name for w in ahead}
    yield from (w for w in _changes(BACKWARD, before, after, others) if w.name not in names)


def _arguments(inputs: Inputs) -> dict[str, Array]:
    return {name: np.array(a) for name, a in inputs.called_with.items()}


def _changes(
    way: str,
    before: Mapping[str, Array],
    after: Mapping[str, Array],
    others: Mapping[str, Array],
) -> Iterator[Writing]:
    for name, old in before.items():
        if not np.array_equal(old, after[name], equal_nan=True):
            yield _described(way, name, old, after[name], others)


def _described(way: str, name: str, old: Array, new: Array, others: Mapping[str, Array]) -> Writing:
    """Return the first description that fits a change of an array."""
    exact = EXACT[old.dtype.name] * max(1.0, float(np.abs(old).max()), float(np.abs(new).max()))

    def same(wanted: Array) -> bool:
        return wanted.shape == new.shape and bool(np.abs(wanted - new).max(initial=0) <= exact)

    for words, function in _functions(old, new):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if same(function(old)):
                return Writing(way, name, words, function, once=same(function(new)))
    for result, array in others.items():
        if same(array):
            return Writing(way, name, f"it overwrites it with {result}")
        for step, when in ((0, "first"), (-1, "last")):
            added = np.array(old)
            if array.shape[1:] == added.shape[1:] and added.ndim == 3 and name == "dy":
                added[step] += array[0]
                if same(added):
                    return Writing(way, name, f"it adds {result} to that of the {when} step")
    steps = np.flatnonzero((old != new).reshape(len(old), -1).any(axis=1))
    where = f" at step {steps[0]} alone" if len(steps) == 1 < len(old) else ""
    return Writing(way, name, f"it changes it{where}")


AXES = {
    "over everything": None,
    "over the features": (2,),
    "over the steps": (0,),
    "over the rows": (1,),
    "over steps and rows": (0, 1),
}


def _functions(old: Array, new: Array) -> Iterator[tuple[str, Function]]:
    """Yield functions of an array with their words; their constants are measured."""
    yield "it sets it to 0", np.zeros_like
    matrix = np.stack([old.ravel(), np.ones(old.size)], axis=1).astype(np.float64)
    slope, offset = np.linalg.lstsq(matrix, new.ravel().astype(np.float64), rcond=None)[0]
    slope, offset = (_plain(float(v), old.dtype.name) for v in (slope, offset))
    few = all(v == float(f"{v:.4g}") for v in (slope, offset))
    times = f"multiplies it by {slope:.6g}" if slope != 1 else ""
    plus = f"{'adds' if offset > 0 else 'subtracts'} {abs(offset):.6g}" if offset else ""
    affine = f"it {' and '.join(filter(None, (times, plus)))}"
    if few:
        yield affine, lambda a: slope * a + offset
    for over, axes in AXES.items():
        yield from _normalised(over, axes)
    low, high = float(new.min()), float(new.max())
    low = -np.inf if low == old.min() else low
    high = np.inf if high == old.max() else high
    yield f"it clips it to the range from {low:g} to {high:g}", lambda a: np.clip(a, low, high)
    for axis, words in enumerate(("steps", "rows", "features or units")):
        yield f"it reverses the order of its {words}", partial(np.flip, axis=axis)
    yield "it takes tanh of it", np.tanh
    yield "it takes its absolute value", np.abs
    yield "it takes the sigmoid of it", lambda a: 1 / (1 + np.exp(-a))
    yield affine, lambda a: slope * a + offset


def _normalised(over: str, axes: tuple[int, ...] | None) -> Iterator[tuple[str, Function]]:
    """Yield normalisations: of the mean, the deviation, the norm or the largest value."""

    def deviation(a: Array, ddof: int = 0) -> Array:
        return a.std(axis=axes, ddof=ddof, keepdims=True)

    def centred(a: Array) -> Array:
        return a - a.mean(axis=axes, keepdims=True)

    def standardised(a: Array, ddof: int, epsilon: float) -> Array:
        return centred(a) / (deviation(a, ddof) + epsilon)

    yield f"it subtracts its mean {over}", centred
    for ddof, epsilon in product((0, 1), (0.0, 1e-5, 1e-8, 1e-6)):
        words = f"it standardises it {over}: minus the mean, divided by the standard deviation"
        yield words, partial(standardised, ddof=ddof, epsilon=epsilon)
    yield f"it divides it by its standard deviation {over}", lambda a: a / deviation(a)
    yield (
        f"it divides it by its largest absolute value {over}",
        lambda a: a / np.abs(a).max(axis=axes, keepdims=True),
    )
    yield (
        f"it divides it by its norm {over}",
        lambda a: a / np.sqrt((a * a).sum(axis=axes, keepdims=True)),
    )


def _plain(number: float, dtype: str) -> float:
    """Round a number to few digits, if it is close to such a number."""
    near = 1e-10 if dtype == "float64" else 1e-4
    plain = 0.0 if abs(number) <= near else float(f"{number:.4g}")
    return plain if abs(plain - number) <= near * max(1.0, abs(plain)) else number


IDS = "writes"
"""The prefix of the ids of writes."""


def cause(
    subject: Subject, dtype: str, writings: Sequence[Writing], failing: Sequence[Verdict]
) -> Cause | None:
    """Return the writes as a cause of the failures that they explain.

    A mistake of the catalogue with the same writes takes their place.
    """
    if not writings:
        return None
    verdicts = tuple(v for v in failing if v.check == "purity" or REFUSED.search(v.message))
    explanation = Explanation(_ids(writings), _statements(writings), (FIX,))
    for hypothesis in hypotheses(subject, dtype):
        if hypothesis.killed_by[:1] == ("purity",):
            others = written(Guess(subject, hypothesis).as_subject, dtype, failing)
            if others and _statements(others) == _statements(writings):
                explanation = hypothesis.explanation
    return Cause(explanation, verdicts, Location("calls"))


def refused(cause: Cause) -> bool:
    """Whether a cause is an exception due to a write into an array."""
    return all(REFUSED.search(text) for text in cause.explanation.statements)


FIX = "copy an argument before writing into it: x = x * s, not x *= s"


def _ids(writings: Sequence[Writing]) -> tuple[str, ...]:
    return tuple(f"{IDS} {w.way} {w.name}" for w in writings)


def _statements(writings: Sequence[Writing]) -> tuple[str, ...]:
    return tuple(w.statement for w in writings)


def hypotheses_of(writings: Sequence[Writing], *, jvp: bool) -> Iterator[Hypothesis]:
    """Yield hypotheses that results are computed from changed arguments, by number of writes."""
    functions = {w.name: w.function for w in writings if w.name in ("x", "state 0", "state 1")}
    if not functions or any(f is None for f in functions.values()):
        return
    by_name = {name: f for name, f in functions.items() if f is not None}
    once = all(w.once for w in writings if w.name in by_name)
    for ahead, first, more in product((0, 1), (0, 1, 2, 3), (0, 1, 2)):
        if once and (max(first, more) > 1 or (first and more)):
            continue
        if (ahead, first, more) != (0, 0, 0):
            for pushes in (False, True) if jvp and ahead else (False,):
                yield Hypothesis(
                    _ids(writings), _statements(writings),
                    (_change(by_name, ahead, first, more, pushes=pushes),),
                    (FIX,), ("purity", "forward"),
                )  # fmt: skip


def _change(
    functions: Mapping[str, Function], ahead: int, first: int, more: int, *, pushes: bool
) -> Change:
    """Return a change: outputs follow ``ahead`` writes, gradients ``first``, plus ``more`` each."""

    def written(name: str, a: Array) -> Array:
        return functions[name](a).astype(a.dtype, copy=False) if name in functions else a

    def applied(inputs: Inputs, times: int) -> Inputs:
        for _ in range(times):
            states = enumerate(inputs.state or ())
            state = inputs.state and tuple(written(f"state {k}", s) for k, s in states)
            inputs = replace(inputs, x=written("x", inputs.x), state=state)
        return inputs

    def change(layer: ReplaceableLayer) -> None:
        def gradients(
            right: Callable[..., list[Pulled]], inputs: Inputs, cotangents: Sequence[Cotangents]
        ) -> list[Pulled]:
            outputs = layer.forward(inputs)
            results = []
            for number, pair in enumerate(cotangents):
                (pulled,) = right(applied(inputs, first + number * more), [pair])
                results.append(replace(pulled, y=outputs.y, final=outputs.final))
            return results

        def pushed(inputs: Inputs, tangents: Inputs) -> Inputs:
            """Return tangents of changed arguments: forward mode follows writes under no_grad."""
            moved = applied(complex_inputs(inputs, tangents), ahead)
            state = moved.state and tuple(s.imag / STEP for s in moved.state)
            x, old = moved.x.imag / STEP, tangents.state or ()
            state = state and tuple(s.astype(t.dtype) for s, t in zip(state, old, strict=True))
            return replace(tangents, x=x.astype(tangents.x.dtype), state=state)

        def jvp(right: Callable[..., Result], inputs: Inputs, tangents: Inputs) -> Result:
            return right(applied(inputs, ahead), pushed(inputs, tangents) if pushes else tangents)

        layer.wrap("jvp", jvp)
        layer.wrap("forward", lambda right, inputs: right(applied(inputs, ahead)))
        layer.wrap("gradients", gradients)

    return change
