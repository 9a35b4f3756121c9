"""Which convention explains arrays alone: weights, inputs and outputs that some system returned.

There is no layer to ask, so one example has to do: every convention whose arrays have these shapes
is run over the input, first on plain numbers, then, where it is near, on numbers with bounds. What
one example cannot tell apart is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Sizes
from ..conventions import family
from ..conventions.comparison import IDENTIFIED
from ..conventions.convention import CHOICES, GATES, RECURRENT_BIAS, Convention
from ..numbers.arithmetic import ARITHMETICS
from ..numbers.bounded import Bounded
from ..numbers.ledger import in_bounds
from .candidates import Candidate, Role, distance, with_role
from .probe import Reading, Unreadable, readings

KEPT = 12
"""Candidates that are looked at with bounds; right ones are far ahead."""

OFFSETS = (0.0, 1.0)
"""What frameworks add to an LSTM's forget gate."""

NAMES = {
    "x": ("x", "input", "inputs"),
    "y": ("y", "output", "outputs", "out"),
    "initial h": ("h0", "initialh", "inith", "hinit", "hprev"),
    "initial c": ("c0", "initialc", "initc", "cinit", "cprev"),
    "final h": ("hn", "finalh", "yh", "hfinal", "hlast", "ht"),
    "final c": ("cn", "finalc", "yc", "cfinal", "clast", "ct"),
}
"""What arrays are called, in small letters and without signs."""


@dataclass(frozen=True)
class Example:
    """One run of one layer: x (T, B, D), y (T, B, width), states (B, width); None: not there.

    ``rows_first``: its arrays of steps had the axis of rows first.
    """

    parameters: Mapping[str, Array]
    x: Array
    y: Array | None
    state: tuple[Array, ...] | None
    final: tuple[Array | None, ...]
    dtype: str
    rows_first: bool = False

    @property
    def steps(self) -> int:
        """T."""
        return int(self.x.shape[0])

    @property
    def outputs(self) -> dict[str, Array]:
        """What was returned, by name."""
        named = {"y": self.y} | {f"final {s}": a for s, a in zip("hc", self.final, strict=False)}
        return {name: array for name, array in named.items() if array is not None}


@dataclass(frozen=True)
class Fit:
    """How far an example is from what a convention computes.

    ``residual`` is the largest difference, ``ratio`` the largest in units of its bound, ``bound``
    the largest bound: what rounding alone explains.
    """

    candidate: Candidate
    example: Example
    residual: float
    ratio: float
    bound: float

    @property
    def convention(self) -> Convention:
        """The whole convention, with the axis of its steps."""
        time = "second" if self.example.rows_first else "first"
        return replace(self.candidate.convention, time=time)


@dataclass(frozen=True)
class Explanation:
    """The conventions that explain an example, and the nearest one where none does."""

    fits: tuple[Fit, ...]
    nearest: Fit
    tried: int

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The fields in which the conventions that fit differ."""
        conventions = [fit.convention for fit in self.fits]
        names = (*IDENTIFIED, "time")
        return tuple(n for n in names if len({getattr(c, n) for c in conventions}) > 1)


def roles(arrays: Mapping[str, Array], given: Mapping[str, str]) -> dict[str, str]:
    """Return which array plays which role; ``given`` says so by name and role.

    Unreadable if there is no input or no output, or if two arrays may be the same.
    """
    found = dict(given)
    for role, names in NAMES.items():
        named = [n for n in arrays if re.sub(r"[\W_]", "", n.lower()) in names]
        named = [n for n in named if n not in found.values()]
        if role in found or not named:
            continue
        if len(named) > 1:
            raise Unreadable(f"{' and '.join(named)} may both be {role}: say --role '{role}=NAME'")
        found[role] = named[0]
    for role, name in found.items():
        if role not in NAMES or name not in arrays:
            known = ", ".join(NAMES) if role not in NAMES else ", ".join(arrays)
            raise Unreadable(f"--role '{role}={name}': expected one of {known}")
    if "x" not in found:
        raise Unreadable(f"which is the input of {', '.join(arrays)}? say --role x=NAME")
    if not {"y", "final h"} & found.keys():
        raise Unreadable(f"which is the output of {', '.join(arrays)}? say --role y=NAME")
    return found


def examples(
    arrays: Mapping[str, Array], given: Mapping[str, str], cell: str, dtype: str | None = None
) -> list[Example]:
    """Return the example that arrays are, with either axis of x being that of the steps."""
    role = roles(arrays, given)
    named = {n: np.asarray(a) for n, a in arrays.items() if n not in role.values()}

    def taken(name: str) -> Array | None:
        return np.asarray(arrays[role[name]]) if name in role else None

    x, y = taken("x"), taken("y")
    assert x is not None  # noqa: S101 - roles has seen to it
    results = [a for a in (y, taken("final h"), taken("final c")) if a is not None]
    letters = "hc" if cell == "lstm" else "h"
    initial = [taken(f"initial {s}") for s in letters]
    flat = [None if s is None else _rows(s) for s in initial]
    if any(s is None for s in flat) and any(s is not None for s in flat):
        width = next(s for s in flat if s is not None)
        flat = [np.zeros_like(width) if s is None else s for s in flat]
    whole = tuple(s for s in flat if s is not None) or None
    finals = tuple(None if s is None else _rows(s) for s in (taken(f"final {k}") for k in letters))
    base = Example(
        named, _three(x), None if y is None else _three(y), whole, finals,
        dtype or _dtype([x, *results]),
    )  # fmt: skip
    turned = replace(
        base, x=base.x.swapaxes(0, 1), y=None if base.y is None else base.y.swapaxes(0, 1),
        rows_first=True,
    )  # fmt: skip
    fitting = [each for each in (base, turned) if _consistent(each)]
    if not fitting:
        shapes = ", ".join(f"{name} {list(np.shape(a))}" for name, a in arrays.items())
        raise Unreadable(f"no axis of the input can be that of the steps and rows: {shapes}")
    return fitting if x.ndim == 3 else fitting[:1]


def _three(array: Array) -> Array:
    """Return (T, B, width): a second axis of length 1 where there is none."""
    if array.ndim == 2:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] == 1:
        return array[:, 0]
    return array


def _rows(state: Array) -> Array:
    """Return a state as (B, width): leading axes of length 1 are those of layers, directions."""
    while state.ndim > 2:
        state = state[0] if state.shape[0] == 1 else state[:, 0]
    return state[None] if state.ndim == 1 else state


def _consistent(example: Example) -> bool:
    T, B = example.x.shape[:2]
    states = [s for s in (*(example.state or ()), *example.final) if s is not None]
    same = example.y is None or example.y.shape[:2] == (T, B)
    return same and all(s.shape[0] == B for s in states)


def _dtype(results: Sequence[Array]) -> str:
    """Return the coarsest dtype that holds every number of the results."""
    for name in ("float32", "float64"):
        if all(np.array_equal(a.astype(name).astype(np.float64), a) for a in results):
            return name
    return "float64"


def explain(cell: str, several: Sequence[Example]) -> Explanation:
    """Return which conventions of a family explain an example; Unreadable if shapes fit none."""
    tried, ranking = 0, []
    for example in several:
        for candidate in _candidates(cell, example):
            tried += 1
            ranking.append((_distance(candidate, example), tried, candidate, example))
    ranking.sort(key=lambda each: each[:2])
    looks = [_look(candidate, example) for _, _, candidate, example in ranking[:KEPT]]
    looks.sort(key=lambda fit: (fit.ratio > 1, fit.ratio))
    return Explanation(tuple(fit for fit in looks if fit.ratio <= 1), looks[0], tried)


def _candidates(cell: str, example: Example) -> Iterator[Candidate]:
    """Yield every convention whose arrays have the example's shapes."""
    width = next(a.shape[-1] for a in example.outputs.values())
    shapes = {name: tuple(a.shape) for name, a in example.parameters.items()}
    ways = readings(cell, shapes, Sizes(D=example.x.shape[-1], H=width))
    for reading in ways:
        letters = GATES[cell] if reading.gates == len(GATES[cell]) else "igo"
        for order in map("".join, permutations(letters)):
            for base in _functions(cell, order, reading):
                yield from _with_biases(Candidate(reading, base, {}))


def _functions(cell: str, order: str, reading: Reading) -> Iterator[Convention]:
    fields = {
        "rnn": ("candidate",),
        "gru": ("reset", "update", "gate", "candidate"),
        "lstm": ("gate", "candidate", "output"),
    }[cell]
    recurrent = "" if reading.recurrent_layout == reading.layout else reading.recurrent_layout
    offsets = OFFSETS if cell == "lstm" and "f" in order else OFFSETS[:1]
    for values in product(*(CHOICES[name] for name in fields)):
        chosen: dict[str, Any] = dict(zip(fields, values, strict=True))
        for offset in offsets:
            yield Convention(
                cell, order, layout=reading.layout, recurrent_layout=recurrent,
                forget_offset=offset, coupled=cell == "lstm" and "f" not in order,
                projected=bool(reading.R), **chosen,
            )  # fmt: skip


def _with_biases(candidate: Candidate) -> Iterator[Candidate]:
    """Yield a candidate with its vectors as biases in the order of the gates.

    A GRU whose reset acts after the product has b_hn in the last of them, or in one of its own.
    """
    base, vectors = candidate.base, candidate.reading.vectors
    orders = permutations(vectors) if base.recurrent_bias else [tuple(vectors)]
    for order in orders:
        held = candidate
        for number, names in enumerate(order):
            letters = base.order
            if vectors[names] == 1 and base.recurrent_bias:
                letters = RECURRENT_BIAS
            elif number and base.recurrent_bias:
                letters = letters.replace("n", RECURRENT_BIAS)
            if vectors[names] != len(letters):
                break
            held = with_role(held, names, Role("bias", letters))
        else:
            yield held


def _start(candidate: Candidate, example: Example) -> tuple[Array, ...]:
    if example.state is not None:
        return example.state
    width = next(a.shape[-1] for a in example.outputs.values())
    count = 2 if candidate.base.family == "lstm" else 1
    return (np.zeros((example.x.shape[1], width), example.x.dtype),) * count


def _distance(candidate: Candidate, example: Example) -> float:
    """Return how far plain numbers are off; after the first step, if that is already far."""
    slices = candidate.slices({n: a.astype(float) for n, a in example.parameters.items()})
    state = tuple(s.astype(float) for s in _start(candidate, example))
    worst = 0.0
    with np.errstate(all="ignore"):
        for t in range(example.steps):
            state = family.step(candidate.convention, slices, example.x[t].astype(float), state)
            if example.y is not None:
                worst = max(worst, distance([state[0]], [example.y[t]]))
            if worst > FAR:
                return worst
        ends = [(s, e) for s, e in zip(state, example.final, strict=False) if e is not None]
        return max([worst, *(distance([s], [e]) for s, e in ends)])


FAR = 0.1
"""A difference that no rounding explains: later steps need not be looked at."""


def _look(candidate: Candidate, example: Example) -> Fit:
    """Return how far an example is from a convention, in units of its bounds."""
    arithmetic = ARITHMETICS[example.dtype]
    exact = {n: Bounded.exact(a, arithmetic) for n, a in example.parameters.items()}
    slices = candidate.slices(exact)
    state = tuple(Bounded.exact(s, arithmetic) for s in _start(candidate, example))
    pairs: list[tuple[Array, Bounded]] = []
    for t in range(example.steps):
        x = Bounded.exact(example.x[t], arithmetic)
        state = family.step(candidate.convention, slices, x, state)
        if example.y is not None:
            pairs.append((example.y[t], state[0]))
    pairs += [(e, s) for s, e in zip(state, example.final, strict=False) if e is not None]
    return Fit(
        candidate,
        example,
        max(distance([want.value], [got]) for got, want in pairs),
        max(float(np.max(in_bounds(got.astype(float), want.value, want.bound)))
            for got, want in pairs),
        max(float(np.max(want.bound)) for _, want in pairs),
    )  # fmt: skip
