"""The conventions that explain recorded arrays: weights, inputs and outputs of any system.

There is one example and no layer to run. Every convention whose arrays have these shapes is run
over the input, first on plain numbers, then, if it is near, on numbers with bounds. All conventions
that fit are reported, since one example may not distinguish them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..checks.oracle import expected_gradient
from ..checks.quantities import gradients_by_name
from ..conventions import family
from ..conventions.comparison import IDENTIFIED
from ..conventions.convention import CHOICES, RECURRENT_BIAS, Convention, functions
from ..conventions.family import Slices
from ..numbers.arithmetic import ARITHMETICS
from ..numbers.bounded import Bounded
from ..numbers.ledger import Comparison, Ledger
from ..subjects.called import under_test
from .candidates import Candidate, Role
from .example import Cotangents, Example
from .probe import Reading, Unreadable, readings
from .recorded import Recorded

KEPT = 12
"""The number of candidates that are compared with bounds; right ones are far ahead."""

OFFSETS = (0.0, 1.0)
"""The constants that frameworks add to an LSTM's forget gate."""

FAR = 0.1
"""A difference that no rounding explains, after which a candidate is dropped."""


@dataclass(frozen=True)
class Loss:
    """A possible loss of recorded gradients, in words, with its gradient by y."""

    words: str
    gradient: Callable[[Floats], Floats]


LOSSES = (
    Loss("the sum of the outputs", np.ones_like),
    Loss("the mean of the outputs", lambda y: np.full_like(y, 1 / y.size)),
    Loss("the sum of the squared outputs", lambda y: 2 * y),
    Loss("half the sum of the squared outputs", lambda y: y),
    Loss("the mean of the squared outputs", lambda y: 2 * y / np.asarray(y.size, y.dtype)),
)


@dataclass(frozen=True)
class Fit:
    """The comparison of an example with a convention; ``loss``: the loss of its gradients.

    ``unjudged`` says why gradients were not compared, "" if they were or there are none.
    """

    candidate: Candidate
    example: Example
    ledger: Ledger
    loss: str = ""
    unjudged: str = ""

    @property
    def worst(self) -> Comparison:
        """The comparison with the largest deviation in units of its bound."""
        return max(self.ledger.comparisons, key=lambda c: c.ratio)

    @property
    def ratio(self) -> float:
        """The largest difference in units of its bound."""
        return self.worst.ratio

    @property
    def residual(self) -> float:
        """The difference of the worst number."""
        return abs(self.worst.got - self.worst.expected)

    @property
    def bound(self) -> float:
        """The rounding bound of the worst number."""
        return self.worst.bound

    @property
    def off(self) -> int:
        """The count of numbers that rounding does not explain."""
        return sum(c.off for c in self.ledger.comparisons)

    @property
    def entries(self) -> int:
        """The count of compared numbers."""
        return sum(c.entries for c in self.ledger.comparisons)

    @property
    def outputs_fit(self) -> bool:
        """Whether the outputs are explained."""
        outputs = (c for c in self.ledger.comparisons if not c.quantity.startswith("gradient"))
        return all(c.ratio <= 1 for c in outputs)

    @property
    def convention(self) -> Convention:
        """The complete convention, with the axis of its steps."""
        time = "second" if self.example.rows_first else "first"
        return replace(self.candidate.convention, time=time)


@dataclass(frozen=True)
class Explanation:
    """The conventions that explain an example, and the nearest one.

    ``ranking`` holds all candidates with the example as each reads it, the nearest first;
    ``comparisons`` holds the comparisons with bounds.
    """

    fits: tuple[Fit, ...]
    nearest: Fit
    ranking: tuple[tuple[Candidate, Example], ...]
    comparisons: tuple[Fit, ...] = ()

    @property
    def tried(self) -> int:
        """The number of tried conventions."""
        return len(self.ranking)

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The fields in which the conventions that fit differ."""
        conventions = [fit.convention for fit in self.fits]
        names = (*IDENTIFIED, "time")
        return tuple(n for n in names if len({getattr(c, n) for c in conventions}) > 1)


def explain(cell: str, examples: Sequence[Example]) -> Explanation:
    """Return the conventions of a family that explain an example; Unreadable if no shapes fit.

    ``examples`` are the readings of the example, by the axis of the steps.
    """
    ranking, refusals = [], []
    for example in examples:
        try:
            distances = enumerate(_distances(cell, example))
            ranking += [(off, number, candidate, example) for number, (candidate, off) in distances]
        except Unreadable as refusal:  # other axes or parts may be those that are meant
            refusals.append(refusal)
    if not ranking and refusals:
        raise refusals[0]
    if not ranking:
        shapes = ", ".join(f"{n} {list(a.shape)}" for n, a in examples[0].parameters.items())
        raise Unreadable(f"no convention of the {cell} has these arrays: {shapes}")
    ranking.sort(key=lambda entry: entry[:2])
    comparisons = [compare(candidate, example) for _, _, candidate, example in ranking[:KEPT]]
    comparisons.sort(key=lambda fit: (not fit.outputs_fit, fit.ratio))
    candidates = tuple(entry[2:] for entry in ranking)
    fits = tuple(fit for fit in comparisons if fit.ratio <= 1)
    return Explanation(fits, comparisons[0], candidates, tuple(comparisons))


def _readings(cell: str, example: Example) -> list[Reading]:
    """Return all readings of the example's arrays."""
    shapes = {name: tuple(a.shape) for name, a in example.parameters.items()}
    return readings(cell, shapes, example.sizes)


def _candidates(cell: str, reading: Reading) -> Iterator[Candidate]:
    """Yield every convention that fits a reading."""
    for order in map("".join, permutations(reading.letters(cell))):
        for base in _functions(cell, order, reading):
            yield from _with_vectors(Candidate(reading, base, {}))


def _functions(cell: str, order: str, reading: Reading) -> Iterator[Convention]:
    coupled = cell == "lstm" and "f" not in order
    offsets = OFFSETS if cell == "lstm" and not coupled else OFFSETS[:1]
    for chosen, offset in product(functions(cell), offsets):
        yield Convention(
            cell, order, forget_offset=offset, coupled=coupled, **reading.fields, **chosen
        )


def _with_vectors(candidate: Candidate) -> Iterator[Candidate]:
    """Yield a candidate with its vectors as biases in the order of the gates, or as peepholes.

    A GRU that resets after the product has b_hn in its last bias, or in an array of its own.
    """
    base, vectors = candidate.base, candidate.reading.vectors
    for order in permutations(vectors) if base.recurrent_bias else [tuple(vectors)]:
        choices = [list(_roles(candidate, names, k)) for k, names in enumerate(order)]
        for roles in product(*choices):
            kinds = [role.kind for role in roles]
            # No convention has more biases, or more peepholes.
            if kinds.count("bias") <= 2 and kinds.count("peephole") <= 1:
                yield Candidate(candidate.reading, base, dict(zip(order, roles, strict=True)))


def _roles(candidate: Candidate, names: tuple[str, ...], number: int) -> Iterator[Role]:
    """Yield the possible roles of an array of vectors after ``number`` biases."""
    base, count = candidate.base, candidate.reading.vectors[names]
    letters = base.order
    if count == 1 and base.recurrent_bias:
        letters = RECURRENT_BIAS
    elif number and base.recurrent_bias:
        letters = letters.replace("n", RECURRENT_BIAS)
    if count == len(letters):
        yield Role("bias", letters)
    gates = "io" if base.coupled else "ifo"
    if base.family == "lstm" and count == len(gates):
        for order, state in product(permutations(gates), CHOICES["output_peephole"]):
            yield Role("peephole", "".join(order), state)


def _start(candidate: Candidate, example: Example) -> tuple[Floats, ...]:
    if example.state is not None:
        return example.state
    sizes = example.sizes
    widths = (sizes.projected, sizes.H) if candidate.base.family == "lstm" else (sizes.projected,)
    return tuple(np.zeros((example.rows, width), example.x.dtype) for width in widths)


def _distances(cell: str, example: Example) -> Iterator[tuple[Candidate, float]]:
    """Yield every candidate with its deviation in plain numbers.

    Candidates whose steps differ in their numbers alone are run at once: there are thousands.
    """
    named = {n: a.astype(float) for n, a in example.parameters.items()}
    for reading in _readings(cell, example):
        candidates, weights = list(_candidates(cell, reading)), reading.weights(named)
        alike = defaultdict[Any, list[tuple[int, Slices]]](list)
        for number, candidate in enumerate(candidates):
            slices = candidate.slices(named, weights)
            arrays = frozenset(n for n, a in slices.items() if isinstance(a, np.ndarray))
            alike[candidate.functions, arrays].append((number, slices))
        distances = np.zeros(len(candidates))
        for members in alike.values():
            numbers, several = zip(*members, strict=True)
            stacked = {name: _stacked([s[name] for s in several]) for name in several[0]}
            first = candidates[numbers[0]]
            distances[[*numbers]] = _deviations(first, stacked, len(numbers), example)
        yield from zip(candidates, distances.tolist(), strict=True)


def _stacked(arrays: Sequence[Floats]) -> Floats:
    """Stack numbers, (H,) or (D, H) of several candidates to broadcast against rows (B, H)."""
    stacked = np.stack([np.asarray(a) for a in arrays])
    return stacked.reshape(len(arrays), *(1,) * (3 - stacked.ndim), *stacked.shape[1:])


def _deviations(candidate: Candidate, slices: Slices, count: int, example: Example) -> Floats:
    """Return the deviations of ``count`` candidates, which are dropped once they exceed FAR."""
    start = _start(candidate, example)
    state = tuple(np.repeat(s[None].astype(float), count, axis=0) for s in start)
    worst, near, ends = np.zeros(count), np.arange(count), [*state]
    with np.errstate(all="ignore"):
        for t, live in enumerate(example.shown[: example.steps, :, None]):
            state = family.step(candidate.convention, slices, example.x[t].astype(float), state)
            ends = [np.where(live, s, e) for s, e in zip(state, ends, strict=True)]
            if example.y is None:
                continue
            off = _largest(np.where(live, state[0] - example.y[t], 0))
            worst[near] = np.maximum(worst[near], off)
            if not (still_near := worst[near] <= FAR).all():
                near, slices = near[still_near], {name: a[still_near] for name, a in slices.items()}
                state, ends = tuple(s[still_near] for s in state), [e[still_near] for e in ends]
        for end, recorded in zip(ends, example.final, strict=False):
            if recorded is not None:
                worst[near] = np.maximum(worst[near], _largest(end - recorded))
    return worst


def _largest(differences: Floats) -> Floats:
    """Return the largest difference of each candidate, inf for nan."""
    worst = np.abs(differences).max(axis=(1, 2), initial=0.0)
    return np.where(np.isfinite(worst), worst, np.inf)


def compare(candidate: Candidate, example: Example, arithmetic: str = "") -> Fit:
    """Compare an example with a convention, in units of bounds.

    ``arithmetic`` is that of the bounds, by default that of the example's dtype.
    """
    ledger = Ledger()
    for name, got, want in compared(candidate, example, arithmetic or example.dtype):
        ledger.compare(name, got, want)
    if not example.gradients:
        return Fit(candidate, example, ledger)
    if candidate.convention.cell is None:
        return Fit(candidate, example, ledger, unjudged="the reference has no cell for it")
    if any(c.ratio > 1 for c in ledger.comparisons):
        return Fit(candidate, example, ledger, unjudged="the outputs are not explained")
    comparisons = [(words, _gradients(candidate, example, d)) for words, d in _losses(example)]
    loss, best = min(comparisons, key=lambda pair: _unexplained(pair[1]))
    return Fit(candidate, example, Ledger([*ledger.comparisons, *best.comparisons]), loss)


def _unexplained(ledger: Ledger) -> tuple[int, int]:
    """Return the number of arrays, and of numbers, that a ledger does not explain."""
    return len(ledger.failed), sum(c.off for c in ledger.comparisons)


def compared(
    candidate: Candidate, example: Example, arithmetic: str
) -> Iterator[tuple[str, Floats, Bounded]]:
    """Yield every result of an example, with the convention's, up to the ends of rows.

    If the results are printed with few places, all other numbers may be, too.
    """
    kind, unit = ARITHMETICS[arithmetic], example.unit

    def bounded(array: Floats) -> Bounded:
        return Bounded(array, unit, kind)

    slices = candidate.slices({n: bounded(a) for n, a in example.parameters.items()})
    states = [tuple(map(bounded, _start(candidate, example)))]
    for t in range(example.steps):
        x = bounded(example.x[t])
        states.append(family.step(candidate.convention, slices, x, states[-1]))
    shown = example.shown[..., None]
    if example.y is not None and example.steps:
        value = np.stack([s[0].value for s in states[1:]])
        bound = np.stack([s[0].bound for s in states[1:]])
        yield "y", example.y * shown, Bounded(value * shown, (bound + unit) * shown, kind)
    ends, rows = example.shown.sum(axis=0), np.arange(example.rows)
    for k, (letter, got) in enumerate(zip("hc", example.final, strict=False)):
        if got is not None:
            value = np.stack([s[k].value for s in states])[ends, rows]
            bound = np.stack([s[k].bound for s in states])[ends, rows]
            yield f"final {letter}", got[None], Bounded(value[None], bound[None] + unit, kind)


def _losses(example: Example) -> Iterator[tuple[str, Cotangents]]:
    """Yield the possible losses of the gradients, with their gradients by the results."""
    nothing: tuple[Floats | None, ...] = (None,) * len(example.final)
    if example.cotangents is not None:
        yield "", example.cotangents
        return
    for loss in LOSSES:
        if example.y is not None:
            dy = loss.gradient(example.y) * example.shown[..., None]
            yield loss.words, (dy.astype(example.y.dtype), nothing)
        elif example.final[0] is not None:
            words = loss.words.replace("outputs", "final h")
            yield words, (None, (loss.gradient(example.final[0]), *nothing[1:]))


def with_loss(example: Example, loss: str = "") -> Example:
    """Return the example with the cotangents of a loss, by default the first.

    An example without gradients is returned unchanged.
    """
    if not example.gradients:
        return example
    losses = dict(_losses(example))
    return replace(example, cotangents=losses.get(loss, next(iter(losses.values()))))


def _gradients(candidate: Candidate, example: Example, cotangents: Cotangents) -> Ledger:
    """Compare the gradients with those of the reference, for cotangents on the results."""
    recorded = Recorded(candidate, replace(example, cotangents=cotangents))
    tested, inputs = under_test(recorded), recorded.inputs
    want = expected_gradient(tested, recorded.case, inputs, recorded.cotangents)
    expected, ledger = gradients_by_name(recorded.states, want), Ledger()
    for name, array in recorded.gradients.items():
        ledger.compare(name, array, expected[name])
    return ledger
