"""What a layer without equations should return: what it returns itself, in the plainest way.

The plainest way is a layer made anew, in evaluation, that is called once, with arrays that lie
contiguous in memory, and for rows of different lengths once for each row alone. A check that asks
in another way must get the same numbers, rounded differently.

How far roundings may move them follows from no equations, so it is measured. Every rounding is
taken for a change of the numbers that a step reads, by the unit roundoff at most (a backward error:
Higham 2002, sec. 1.5), and a step has no more roundings in a row than it reads numbers, and a few.
What such changes do to the results is seen by making them, larger, with random signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
"""Random changes of all that is read."""

BESIDE_SUMS = 32
"""Roundings in a row of a step beside its longest sum: activations, products, a normalisation."""

UNSTABLE = 2.0**-6
"""The share by which a change of all that is read, by the root of roundoff, moves mere rounding."""

Named: TypeAlias = dict[str, Array]
"""Outputs and gradients by name, float64; what cannot be known is NaN."""


@dataclass(frozen=True)
class OwnAnswer:
    """Results of the plainest calls by name, and how far roundings may move them.

    ``moved`` is by how much they move, in units of the change, for each change of what is read;
    ``allowed`` is what roundings change, at most. ``flowing`` is the largest gradient or cotangent:
    a gradient is a sum of such terms, which may cancel, and their roundings do not. ``step`` is by
    how much all that is read was changed.
    """

    values: Named
    moved: Sequence[Named]
    allowed: float
    case: Case
    flowing: float = 0.0
    step: float = 0.0

    def __getitem__(self, name: str) -> Bounded:
        """Return a result; the bound is that of its entry that moves most."""
        value = self.values[name]
        most = max((_largest(moved[name]) for moved in self.moved), default=0.0)
        bound = self.allowed * (most + max(_largest(value), self._flowing(name)))
        bound += self.case.arithmetic.tiny  # what an operation may lose by underflow
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
        most = max((abs(float(np.sum(moved[name] * direction))) for moved in self.moved), default=0)
        cancelled = self._flowing(name) * float(np.sqrt(np.sum(direction**2)))  # signs are random
        terms = max(float(np.sum(np.abs(value * direction))), cancelled)
        bound = self.allowed * (most + terms)
        if self._is_rounding(name):
            bound = np.inf
        return float(np.sum(value * direction)), bound

    def _flowing(self, name: str) -> float:
        return self.flowing if name.startswith(GRADIENT) else 0.0

    def _is_rounding(self, name: str) -> bool:
        """Whether a gradient is what rounding leaves of terms that cancel: then nothing is known.

        It is nearly none beside the largest, and a small change of all moves it by far more.
        """
        largest = _largest(self.values[name])
        most = max((_largest(moved[name]) for moved in self.moved), default=0.0)
        tiny = largest + self.step * most <= self.step * self._flowing(name)
        return tiny and self.step * most > UNSTABLE * largest


def own_answer(
    subject: SubjectUnderTest, case: Case, inputs: Inputs, cotangents: Cotangents | None = None
) -> OwnAnswer:
    """Return outputs, with cotangents gradients too, and their bounds.

    Raises Mismatch where a layer that is made anew does not return the same numbers again.
    """
    if case.T == 0:
        return OwnAnswer(_without_steps(subject, case, inputs, cotangents), (), 0.0, case)

    def results(given: Inputs, pulled: Cotangents | None) -> Named:
        return _results(subject, case, given, pulled)

    again = results(inputs, cotangents)
    answer = _measured(subject, case, inputs, cotangents, results)
    for name, array in answer.values.items():
        if not np.array_equal(array, again[name], equal_nan=True):
            raise Mismatch(f"{name}: another number each time, from layers made anew")
    return answer


def narrowed(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    proven: Mapping[str, Bounded],
    cotangents: Cotangents | None = None,
) -> dict[str, Bounded]:
    """Return what a step of the user's own expects, with bounds that mean something.

    A proven bound stays. Where it is too wide, as of normalisations over many steps, it is the one
    that is measured here, of the step itself in float64.
    """
    share = SHARP.get(case.dtype, SHARP_ELSEWHERE)
    if case.T == 0 or all(_means_something(each, share) for each in proven.values()):
        return dict(proven)
    with subject.clock.timing("oracle"), np.errstate(all="ignore"):
        values = _by_step(subject, case, inputs, cotangents, np.asarray)

        def shaken(k: int) -> Named:
            number = partial(Shaken, rng=case.generator(f"rounding {k}"), share=_step(case))
            return _by_step(subject, case, inputs, cotangents, number)

        moved = _moved(case, values, shaken)
    allowed = case.arithmetic.gamma(_in_one_operation(subject, case))
    answer = OwnAnswer(values, moved, allowed, case)
    return {
        name: each if _means_something(each, share) else answer[name]
        for name, each in proven.items()
    }


SHARP, SHARP_ELSEWHERE = {"float64": 2.0**-25, "float32": 2.0**-12}, 0.2
"""The share of the largest value up to which a proven bound means something to every check."""


def _means_something(proven: Bounded, share: float) -> bool:
    if not proven.value.size:
        return True
    largest = np.max(np.abs(np.where(np.isfinite(proven.value), proven.value, 0)))
    return bool(np.median(proven.bound) <= share * largest)


def _by_step(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    cotangents: Cotangents | None,
    number: Callable[[Array], Any],
) -> Named:
    """Run the step in float64, or on numbers that are made of it, over all steps, and back."""

    def fine(array: Array) -> Any:
        return number(np.asarray(array, np.float64))

    layer, own = layer_of(subject, case), subject.parameter_map(case)
    return _plain_by_name(layer.cell.states, evaluated(layer, own, inputs, fine, cotangents))


def _step(case: Case) -> float:
    """Return by how much numbers are changed: far more than rounding does, and still little."""
    return float(np.sqrt(case.arithmetic.roundoff))


def _measured(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    cotangents: Cotangents | None,
    results: Callable[[Inputs, Cotangents | None], Named],
) -> OwnAnswer:
    """Return results, and by how much they move when all that is read is changed."""
    values, step = results(inputs, cotangents), _step(case)
    moved = _moved(case, values, lambda k: results(*_changed(case, inputs, cotangents, step, k)))
    allowed = case.arithmetic.gamma(_roundings(subject, case))
    flowing = [array for name, array in values.items() if name.startswith(GRADIENT)]
    if cotangents is not None:
        dy, dfinal = cotangents
        flowing += [np.asarray(d, np.float64) for d in (dy, *dfinal) if d is not None]
    return OwnAnswer(values, moved, allowed, case, max(map(_largest, flowing), default=0.0), step)


def _moved(case: Case, values: Named, changed: Callable[[int], Named]) -> list[Named]:
    """Return by how much results move with each change, in units of it."""
    return [
        {name: (array - values[name]) / _step(case) for name, array in changed(k).items()}
        for k in range(DIRECTIONS)
    ]


def _roundings(subject: SubjectUnderTest, case: Case) -> int:
    """Return how many roundings in a row there may be, forward and back."""
    layer = layer_of(subject, case)
    read = layer.cell.input_width(case.sizes) + sum(layer.cell.widths(case.sizes))
    return 2 * case.T * (read + BESIDE_SUMS) + case.B


def _in_one_operation(subject: SubjectUnderTest, case: Case) -> int:
    """Return how many roundings one operation may have, and four times: signs add up at worst.

    That is the longest sum, over an axis of any array, or what an activation may be off.
    """
    cell = layer_of(subject, case).cell
    axes = [n for shape in cell.shapes(case.sizes).values() for n in shape.full]
    longest = max(*axes, *cell.widths(case.sizes), cell.input_width(case.sizes), case.B)
    return 4 * (longest + ACTIVATION_UNITS)


def _changed(
    case: Case, inputs: Inputs, cotangents: Cotangents | None, step: float, k: int
) -> tuple[Inputs, Cotangents | None]:
    """Return all numbers that are read, forward and back, each changed by a share of it."""

    def changed(name: str, array: Array) -> Array:
        signs = case.generator(f"rounding {k} {name}").choice([-step, step], array.shape)
        return (array * (1 + signs)).astype(array.dtype)

    def each(name: str, arrays: Sequence[Array | None]) -> tuple[Array | None, ...]:
        return tuple(a if a is None else changed(f"{name} {n}", a) for n, a in enumerate(arrays))

    there = Inputs(
        {name: changed(name, array) for name, array in inputs.parameters.items()},
        changed("x", inputs.x),
        None if inputs.state is None
        else tuple(changed(f"state {k}", s) for k, s in enumerate(inputs.state)),
        inputs.lengths,
    )  # fmt: skip
    if cotangents is None:
        return there, None
    (dy,) = each("dy", cotangents[:1])
    return there, (dy, each("dfinal", cotangents[1]))


def _largest(array: Array) -> float:
    return float(np.max(np.abs(array), initial=0, where=~np.isnan(array)))


def _results(
    subject: SubjectUnderTest, case: Case, inputs: Inputs, cotangents: Cotangents | None
) -> Named:
    """Return what layers made anew return, by name, in float64."""
    if inputs.lengths is None:
        return _plain_by_name(*_once(subject, case, inputs, cotangents))
    named: Named = {}
    for b, steps in enumerate(inputs.lengths):
        for name, array in _row(subject, case, inputs, cotangents, b, int(steps)).items():
            _joined(named, name, array, b)
    return named


def _joined(named: Named, name: str, array: Array, b: int) -> None:
    """Add a row's share: parameters have the sum of all rows' gradients, all else one row each."""
    if b == 0:
        named[name] = array
    elif shared(name):
        named[name] = named[name] + array
    else:
        named[name] = np.concatenate([named[name], array], axis=1)


def shared(name: str) -> bool:
    """Whether all rows have one share in what has this name: a parameter's gradient."""
    others = ("gradient of x", "gradient of initial ")
    return name.startswith(GRADIENT) and not name.startswith(others)


def _row(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    cotangents: Cotangents | None,
    b: int,
    steps: int,
) -> Named:
    """Return the results of one row alone, without its padding, which is 0 in all results."""
    alone = replace(case, T=steps, B=1, lengths=False, zero_length=False, layout="time-first")
    state = None if inputs.state is None else tuple(s[:, b : b + 1] for s in inputs.state)
    given = Inputs(inputs.parameters, inputs.x[:steps, b : b + 1], state, None)
    pair = None
    if cotangents is not None:
        dy, dfinal = cotangents_of(lambda d: d[:, b : b + 1], cotangents)
        pair = None if dy is None else dy[:steps], dfinal
    if steps == 0:
        named = _without_steps(subject, alone, given, pair)
    else:
        named = _plain_by_name(*_once(subject, alone, given, pair))
    for name in named.keys() & {"y", "gradient of x"}:
        padded = np.zeros((case.T, *named[name].shape[1:]))
        padded[:steps] = named[name]
        named[name] = padded
    return named


def _once(
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


def _plain_by_name(states: Sequence[str], result: Result) -> Named:
    """Return results by name, without what bounds them."""
    named = by_name(states, result)
    return {name: np.asarray(plain(array), np.float64) for name, array in named.items()}


def _without_steps(
    subject: SubjectUnderTest, case: Case, inputs: Inputs, cotangents: Cotangents | None
) -> Named:
    """Return what no steps return: the state that was given, and its cotangent; NaN if none was."""
    layer = layer_of(subject, case)
    shapes = state_shapes(layer, case)
    named: Named = {"y": np.zeros((0, *output_shape(layer, case)[1:]))}
    states = inputs.state or tuple(np.full(shape, np.nan) for shape in shapes)
    named |= {f"final {s}": a for s, a in zip(layer.cell.states, states, strict=True)}
    if cotangents is not None:
        named |= {f"gradient of {n}": np.zeros(a.shape) for n, a in inputs.parameters.items()}
        named["gradient of x"] = np.zeros((0, *inputs.x.shape[1:]))
        if inputs.state is not None:
            named |= dict(_handed_on(layer.cell.states, cotangents[1], shapes))
    return {name: np.asarray(array, np.float64) for name, array in named.items()}


def _handed_on(
    states: Sequence[str], dfinal: Sequence[Array | None], shapes: Sequence[tuple[int, ...]]
) -> Iterator[tuple[str, Array]]:
    for name, d, shape in zip(states, dfinal, shapes, strict=True):
        yield f"gradient of initial {name}", np.zeros(shape) if d is None else d
