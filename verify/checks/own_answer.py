"""Expected results of a layer without equations: its own results of the plainest call.

The plainest call is a single call of a new layer in evaluation mode, with contiguous arrays; rows
of different lengths are called one by one. All other calls must give the same numbers up to
rounding.

Without equations the effect of rounding is measured. Each rounding is modelled as a relative change
of the numbers that a step reads, by at most the unit roundoff (a backward error: Higham 2002, sec.
1.5); the number of successive roundings of a step is at most that of its inputs plus a constant.
The effect on the results is measured with larger changes of random signs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from ...reference.functions import Array
from ..cases.case import Case
from ..numbers.arithmetic import ACTIVATION_UNITS
from ..numbers.bounded import Bounded
from ..numbers.ledger import Mismatch
from ..numbers.shaken import Shaken, plain
from ..subjects.called import SubjectUnderTest, layer_of, output_shape, state_shapes
from ..subjects.protocol import Cotangents, Inputs, Result, cotangents_of
from .quantities import GRADIENT, by_name, evaluated

DIRECTIONS = 4
"""Number of random changes of all inputs."""

BESIDE_SUMS = 32
"""Successive roundings of a step beside its longest sum: activations, products, normalisation."""

UNSTABLE = 2.0**-6
"""Relative change, by inputs changed by the root of roundoff, from which a result is rounding."""

Quantities: TypeAlias = dict[str, Array]
"""Outputs and gradients by name, float64; unknown numbers are NaN."""

SHARP, SHARP_ELSEWHERE = {"float64": 2.0**-25, "float32": 2.0**-12}, 0.2
"""The largest bounds that are sharp enough for all checks, as shares of the largest value.

In float64 and float32 they are half the roundoff of the finest coarser arithmetic.
"""


@dataclass(frozen=True)
class OwnAnswer:
    """Results of the plainest calls by name, and the effect of rounding on them.

    ``slopes`` holds, for each random change of the inputs, the change of the results divided by
    ``step``, the relative change of the inputs; ``rounding`` is the largest relative change by
    roundings. ``largest_term`` is the largest gradient or cotangent: a gradient is a sum of such
    terms, which may cancel while their roundings do not.
    """

    values: Quantities
    slopes: Sequence[Quantities]
    rounding: float
    case: Case
    largest_term: float = 0.0
    step: float = 0.0

    def __getitem__(self, name: str) -> Bounded:
        """Return a result; its bound follows from the entry that changes most."""
        value = self.values[name]
        terms = max(_largest(value), self._largest_term(name))
        bound = self.rounding * (self._steepest(name) + terms)
        bound += self.case.arithmetic.tiny  # the loss of an operation by underflow
        if self._is_rounding(name):
            bound = np.inf
        bounds = np.where(np.isnan(value), np.inf, bound)
        return Bounded(np.nan_to_num(value), bounds, self.case.arithmetic)

    def bounded(self) -> dict[str, Bounded]:
        """Return all results by name."""
        return {name: self[name] for name in self.values}

    def along(self, name: str, direction: Array) -> tuple[float, float]:
        """Return the sum of a result times a direction, and its bound."""
        value = self.values[name]
        slopes = (abs(float(np.sum(slope[name] * direction))) for slope in self.slopes)
        length = float(np.sqrt(np.sum(direction**2)))
        cancelled = self._largest_term(name) * length  # signs are random
        terms = max(float(np.sum(np.abs(value * direction))), cancelled)
        bound = self.rounding * (max(slopes, default=0) + terms)
        if self._is_rounding(name):
            bound = np.inf
        return float(np.sum(value * direction)), bound

    def _steepest(self, name: str) -> float:
        """Return the largest slope of any entry of a result."""
        return max((_largest(slope[name]) for slope in self.slopes), default=0.0)

    def _largest_term(self, name: str) -> float:
        return self.largest_term if name.startswith(GRADIENT) else 0.0

    def _is_rounding(self, name: str) -> bool:
        """Return whether a gradient is the rounding of terms that cancel, hence unknown.

        It is tiny compared with the largest, and small changes of the inputs change it by more.
        """
        largest = _largest(self.values[name])
        change = self.step * self._steepest(name)
        tiny = largest + change <= self.step * self._largest_term(name)
        return tiny and change > UNSTABLE * largest


def own_answer(
    subject: SubjectUnderTest, case: Case, inputs: Inputs, cotangents: Cotangents | None = None
) -> OwnAnswer:
    """Return outputs and, with cotangents, gradients, and their bounds.

    Raises Mismatch if two new layers do not return the same numbers.
    """
    if case.T == 0:
        return OwnAnswer(_without_steps(subject, case, inputs, cotangents), (), 0.0, case)
    results = partial(_results, subject, case)
    repeated = results(inputs, cotangents)
    answer = _measured(subject, case, inputs, cotangents, results)
    for name, array in answer.values.items():
        if not np.array_equal(array, repeated[name], equal_nan=True):
            raise Mismatch(f"{name}: another number each time, from layers made anew")
    return answer


def narrowed(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    proven: Mapping[str, Bounded],
    cotangents: Cotangents | None = None,
) -> dict[str, Bounded]:
    """Return the expected results of a user's own step with useful bounds.

    Proven bounds are kept unless they are too wide, as of normalisations over many steps; those
    are replaced by bounds measured on the step itself in float64.
    """
    share = SHARP.get(case.dtype, SHARP_ELSEWHERE)
    if case.T == 0 or all(_is_sharp(bounded, share) for bounded in proven.values()):
        return dict(proven)
    with subject.clock.timing("oracle"), np.errstate(all="ignore"):
        values = _results_of_step(subject, case, inputs, cotangents, np.asarray)

        def shaken(k: int) -> Quantities:
            number = partial(Shaken, rng=case.generator(f"rounding {k}"), share=_input_change(case))
            return _results_of_step(subject, case, inputs, cotangents, number)

        slopes = _slopes(case, values, shaken)
    rounding = case.arithmetic.gamma(_in_one_operation(subject, case))
    answer = OwnAnswer(values, slopes, rounding, case)
    return {
        name: bounded if _is_sharp(bounded, share) else answer[name]
        for name, bounded in proven.items()
    }


def _is_sharp(proven: Bounded, share: float) -> bool:
    if not proven.value.size:
        return True
    largest = np.max(np.abs(np.where(np.isfinite(proven.value), proven.value, 0)))
    return bool(np.median(proven.bound) <= share * largest)


def _results_of_step(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    cotangents: Cotangents | None,
    number: Callable[[Array], Any],
) -> Quantities:
    """Run all steps forward and back on the numbers that ``number`` makes of float64 arrays."""

    def fine(array: Array) -> Any:
        return number(np.asarray(array, np.float64))

    layer, parameter_map = layer_of(subject, case), subject.parameter_map(case)
    result = evaluated(layer, parameter_map, inputs, fine, cotangents)
    return _plain_by_name(layer.cell.states, result)


def _input_change(case: Case) -> float:
    """Return the relative change of the inputs: small, but far larger than rounding."""
    return float(np.sqrt(case.arithmetic.roundoff))


def _measured(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    cotangents: Cotangents | None,
    results: Callable[[Inputs, Cotangents | None], Quantities],
) -> OwnAnswer:
    """Return results, and their changes when all inputs are changed."""
    values, step = results(inputs, cotangents), _input_change(case)
    slopes = _slopes(case, values, lambda k: results(*_changed(case, inputs, cotangents, step, k)))
    rounding = case.arithmetic.gamma(_roundings(subject, case))
    terms = [array for name, array in values.items() if name.startswith(GRADIENT)]
    if cotangents is not None:
        pair = (cotangents[0], *cotangents[1])
        terms += [np.asarray(d, np.float64) for d in pair if d is not None]
    return OwnAnswer(values, slopes, rounding, case, max(map(_largest, terms), default=0.0), step)


def _slopes(
    case: Case, values: Quantities, changed: Callable[[int], Quantities]
) -> list[Quantities]:
    """Return the change of the results by each change of the inputs, divided by it."""
    return [
        {name: (array - values[name]) / _input_change(case) for name, array in changed(k).items()}
        for k in range(DIRECTIONS)
    ]


def _roundings(subject: SubjectUnderTest, case: Case) -> int:
    """Return a bound on the number of successive roundings, forward and back."""
    layer = layer_of(subject, case)
    inputs_of_step = layer.cell.input_width(case.sizes) + sum(layer.cell.widths(case.sizes))
    return 2 * case.T * (inputs_of_step + BESIDE_SUMS) + case.B


def _in_one_operation(subject: SubjectUnderTest, case: Case) -> int:
    """Return four times the largest number of roundings of one operation: signs may add up.

    An operation is a sum along an axis of any array, or an activation.
    """
    cell = layer_of(subject, case).cell
    axes = [n for shape in cell.shapes(case.sizes).values() for n in shape.full]
    longest = max(*axes, *cell.widths(case.sizes), cell.input_width(case.sizes), case.B)
    return 4 * (longest + ACTIVATION_UNITS)


def _changed(
    case: Case, inputs: Inputs, cotangents: Cotangents | None, step: float, k: int
) -> tuple[Inputs, Cotangents | None]:
    """Return inputs and cotangents with random relative changes of size ``step``."""

    def changed(name: str, array: Array) -> Array:
        signs = case.generator(f"rounding {k} {name}").choice([-step, step], array.shape)
        return (array * (1 + signs)).astype(array.dtype)

    def all_changed(name: str, arrays: Sequence[Array | None]) -> tuple[Array | None, ...]:
        return tuple(a if a is None else changed(f"{name} {n}", a) for n, a in enumerate(arrays))

    named = {name: changed(name, array) for name, array in inputs.parameters.items()}
    state = inputs.state and all_changed("state", inputs.state)
    new = Inputs(named, changed("x", inputs.x), state, inputs.lengths)
    if cotangents is None:
        return new, None
    (dy,) = all_changed("dy", cotangents[:1])
    return new, (dy, all_changed("dfinal", cotangents[1]))


def _largest(array: Array) -> float:
    return float(np.max(np.abs(array), initial=0, where=~np.isnan(array)))


def _results(
    subject: SubjectUnderTest, case: Case, inputs: Inputs, cotangents: Cotangents | None
) -> Quantities:
    """Return the results of new layers by name, in float64."""
    if inputs.lengths is None:
        return _plain_by_name(*_results_of_call(subject, case, inputs, cotangents))
    named: Quantities = {}
    for b, steps in enumerate(inputs.lengths):
        for name, array in _row_results(subject, case, inputs, cotangents, b, int(steps)).items():
            _add_row(named, name, array, b)
    return named


def _add_row(named: Quantities, name: str, array: Array, b: int) -> None:
    """Add the results of one row: gradients of parameters are summed, all others concatenated."""
    if b == 0:
        named[name] = array
    elif shared(name):
        named[name] = named[name] + array
    else:
        named[name] = np.concatenate([named[name], array], axis=1)


def shared(name: str) -> bool:
    """Return whether a quantity is summed over rows: a parameter's gradient."""
    per_row = ("gradient of x", "gradient of initial ")
    return name.startswith(GRADIENT) and not name.startswith(per_row)


def _row_results(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    cotangents: Cotangents | None,
    b: int,
    steps: int,
) -> Quantities:
    """Return the results of one row alone; they are 0 in its padding."""
    alone = replace(case, T=steps, B=1, lengths=False, zero_length=False, layout="time-first")
    state = None if inputs.state is None else tuple(s[:, b : b + 1] for s in inputs.state)
    row_inputs = Inputs(inputs.parameters, inputs.x[:steps, b : b + 1], state, None)
    pair = None
    if cotangents is not None:
        dy, dfinal = cotangents_of(lambda d: d[:, b : b + 1], cotangents)
        pair = None if dy is None else dy[:steps], dfinal
    if steps == 0:
        named = _without_steps(subject, alone, row_inputs, pair)
    else:
        named = _plain_by_name(*_results_of_call(subject, alone, row_inputs, pair))
    for name in named.keys() & {"y", "gradient of x"}:
        padded = np.zeros((case.T, *named[name].shape[1:]))
        padded[:steps] = named[name]
        named[name] = padded
    return named


def _results_of_call(
    subject: SubjectUnderTest, case: Case, inputs: Inputs, cotangents: Cotangents | None
) -> tuple[tuple[str, ...], Result]:
    called = subject.build(case)
    if subject.options.dropout:
        called.train(False)
    plain = inputs.map(np.ascontiguousarray)
    names = layer_of(subject, case).cell.states
    if cotangents is None:
        return names, called.forward(plain)
    return names, called.gradient(plain, cotangents_of(np.ascontiguousarray, cotangents))


def _plain_by_name(states: Sequence[str], result: Result) -> Quantities:
    """Return results by name, without their bounds."""
    named = by_name(states, result)
    return {name: np.asarray(plain(array), np.float64) for name, array in named.items()}


def _without_steps(
    subject: SubjectUnderTest, case: Case, inputs: Inputs, cotangents: Cotangents | None
) -> Quantities:
    """Return the results of no steps: the initial state and its cotangent; NaN without a state."""
    layer = layer_of(subject, case)
    shapes = state_shapes(layer, case)
    named: Quantities = {"y": np.zeros((0, *output_shape(layer, case)[1:]))}
    states = inputs.state or tuple(np.full(shape, np.nan) for shape in shapes)
    named |= {f"final {s}": a for s, a in zip(layer.cell.states, states, strict=True)}
    if cotangents is not None:
        named |= {f"gradient of {n}": np.zeros(a.shape) for n, a in inputs.parameters.items()}
        named["gradient of x"] = np.zeros((0, *inputs.x.shape[1:]))
        if inputs.state is not None:
            ends = zip(layer.cell.states, cotangents[1], shapes, strict=True)
            named |= {
                f"gradient of initial {name}": np.zeros(shape) if d is None else d
                for name, d, shape in ends
            }
    return {name: np.asarray(array, np.float64) for name, array in named.items()}
