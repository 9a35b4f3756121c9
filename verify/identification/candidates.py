"""Conventions that may explain a layer's steps, ranked by their distance.

Biases and peepholes are 0 in the first round, which determines the order of the gates, the layouts
and the functions, for all orders at once along two axes. Then each array of vectors is determined
by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import groupby, permutations
from operator import itemgetter
from typing import TypeAlias

import numpy as np

from ...reference.functions import Array
from ..conventions import family
from ..conventions.convention import CHOICES, RECURRENT_BIAS, Convention, added, functions
from .probe import Reading, Steps

KEPT = 24
"""The number of candidates of a round that are compared with bounds; right ones are far ahead."""

RANKED = 1
"""The number of rows of H units for ranking."""


Ranking: TypeAlias = tuple[Array, Callable[[tuple[int, ...]], Convention]]
"""Residuals for every order of W and of U, and a function from an index to its convention."""


@dataclass(frozen=True)
class Role:
    """The role of an array of vectors, ``bias``, ``peephole`` or ``unused``, with its gates."""

    kind: str
    letters: str = ""
    seen: str = "new"


@dataclass(frozen=True)
class Candidate:
    """A convention without biases, with a reading of the arrays and the roles of vectors."""

    reading: Reading
    base: Convention
    roles: Mapping[tuple[str, ...], Role]

    @cached_property
    def convention(self) -> Convention:
        """The complete convention, with biases in the order of the arrays, without unused ones."""
        used = [r for r in self.roles.values() if r.kind == "bias"]
        c = replace(self.base, bias=tuple(r.letters for r in used))
        if self.peephole:
            c = replace(c, peepholes=self.peephole.letters, output_peephole=self.peephole.seen)
        return c

    @property
    def peephole(self) -> Role | None:
        """The role of the array of peepholes, None if there is none."""
        return next((r for r in self.roles.values() if r.kind == "peephole"), None)

    @property
    def names(self) -> dict[str, str]:
        """The layer's names of the convention's arrays, without the endings of passes."""
        kinds = {kind: [n for names, r in self.roles.items() if r.kind == kind for n in names]
                 for kind in ("bias", "peephole")}  # fmt: skip
        c, below = self.convention, self.reading.layout == "joint"
        stored = [*self.reading.W, *(() if below else self.reading.U)]
        stored += [*kinds["bias"], *kinds["peephole"], *filter(None, [self.reading.R])]
        layer_names = [name.removesuffix("_l0") for name in stored]
        return dict(zip((packed.name for packed in c.arrays()), layer_names, strict=True))

    @property
    def functions(self) -> tuple[str | bool, ...]:
        """The choices that determine a step as a function of its slices."""
        c, peephole = self.base, self.peephole
        seen = peephole.seen if peephole else c.output_peephole
        return (c.reset, c.update, c.gate, c.candidate, c.output, seen, c.coupled, c.projected)

    def slices(
        self, named: Mapping[str, Array], weights: tuple[list[Array], list[Array]] | None = None
    ) -> dict[str, Array]:
        """Return every slice by its name, with biases added up.

        ``weights`` are the blocks of W and U, if they were read before.
        """
        c, (W, U) = self.base, weights or self.reading.weights(named)
        slices = {f"W_{g}": W[k] for k, g in enumerate(c.order)}
        slices |= {f"U_{g}": U[k] for k, g in enumerate(c.recurrent_order or c.order)}
        if self.reading.R:
            slices["R"] = self.reading.projection(named)
        for names, role in self.roles.items():
            kind = "p" if role.kind == "peephole" else "b"
            slice_names = ["b_hn" if k == RECURRENT_BIAS else f"{kind}_{k}" for k in role.letters]
            added(slices, dict(zip(slice_names, self.reading.vector(names, named), strict=False)))
        for gate in c.letters:
            slices.setdefault(f"b_{gate}", 0.0)
        if c.forget_offset and not c.coupled:
            slices["b_f"] = slices["b_f"] + c.forget_offset
        return slices

    def after(self, named: Mapping[str, Array], x: Array, before: Sequence[Array]) -> Array:
        """Return the states after the steps, in the number system of the arguments."""
        return family.step(self.convention, self.slices(named), x, tuple(before))


def distance(got: Sequence[Array], want: Sequence[Array]) -> float:
    """Return the largest difference of any state; inf for nan."""
    worst = max(
        float(np.max(np.abs(np.asarray(g, dtype=float) - w)))
        for g, w in zip(got, want, strict=True)
    )
    return worst if np.isfinite(worst) else np.inf


def structures(
    cell_family: str, readings: Sequence[Reading], named: Mapping[str, Array], steps: Steps
) -> list[Candidate]:
    """Return the likeliest candidates for a layer whose vectors are all 0, the best first."""
    few = Steps(
        steps.x[-RANKED:].astype(float),
        tuple(s[-RANKED:].astype(float) for s in steps.before),
        tuple(s[-RANKED:].astype(float) for s in steps.after),
    )
    find = {"lstm": _lstms, "gru": _grus, "rnn": _rnns}[cell_family]
    plain = {name: np.asarray(array, dtype=float) for name, array in named.items()}
    results = [
        (reading, residuals, conventions)
        for reading in readings
        for residuals, conventions in find(reading, plain, few)
    ]
    stacked = np.stack([residuals for _, residuals, _ in results])
    stacked[np.isnan(stacked)] = np.inf
    flat, kept = stacked.ravel(), min(KEPT, stacked.size)
    near = np.flatnonzero(flat <= np.partition(flat, kept - 1)[kept - 1])  # ties, too
    candidates = []
    for k in near[np.argsort(flat[near], kind="stable")][:kept]:
        number, *where = (int(axis) for axis in np.unravel_index(k, stacked.shape))
        reading, _, conventions = results[number]
        base = replace(conventions(tuple(where)), **reading.fields)
        candidates.append(Candidate(reading, base, {}))
    return candidates


class _Sums:
    """The products of gates with x and with h, for every order of W (axis 0) and of U (axis 1)."""

    def __init__(
        self, letters: str, reading: Reading, named: Mapping[str, Array], steps: Steps
    ) -> None:
        W, U = reading.weights(named)
        self.letters, self.orders = letters, list(permutations(range(len(letters))))
        self.places = np.array(self.orders)  # for every order, the place of each letter
        self.xW = np.stack([steps.x @ block for block in W])
        self.hU = np.stack([steps.before[0] @ block for block in U])
        self.U = np.stack(U)

    @property
    def x(self) -> dict[str, Array]:
        """The products of each gate with x."""
        return {g: self.xW[self.places[:, k]][:, None] for k, g in enumerate(self.letters)}

    @property
    def h(self) -> dict[str, Array]:
        """The products of each gate with h."""
        return {g: self.hU[self.places[:, k]][None] for k, g in enumerate(self.letters)}

    def recurrent(self, letter: str) -> Array:
        """Return the block of U of a gate."""
        return self.U[self.places[:, self.letters.index(letter)]][None]

    def gates(self, function: Callable[[Array], Array]) -> dict[str, Array]:
        """Return a function of the sum of each gate.

        It is evaluated once for each pair of blocks: there are few, and many pairs of orders.
        """
        of_pairs = function(self.xW[:, None] + self.hU)
        return {
            g: of_pairs[self.places[:, None, k], self.places[:, k]]
            for k, g in enumerate(self.letters)
        }

    def at(self, base: Convention, offsets: Array, where: tuple[int, ...]) -> Convention:
        """Return the convention with the orders and the forget offset at an index."""
        upper, lower = (self._stored(self.orders[k]) for k in where)
        offset = float(offsets[where])
        recurrent = "" if lower == upper else lower
        return replace(base, order=upper, recurrent_order=recurrent, forget_offset=offset)

    def _stored(self, places: Sequence[int]) -> str:
        return "".join(g for _, g in sorted(zip(places, self.letters, strict=True)))


def _worst(got: Array, want: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.abs(got - want).max(axis=(-2, -1))


def _rnns(reading: Reading, named: Mapping[str, Array], steps: Steps) -> Iterator[Ranking]:
    sums = _Sums("a", reading, named, steps)
    for chosen in functions("rnn"):
        base = Convention("rnn", "a", **chosen)
        h = family.activation(base.candidate)(sums.x["a"] + sums.h["a"])
        yield _worst(h, steps.after[0]), partial(sums.at, base, np.zeros((1, 1)))


def _grus(reading: Reading, named: Mapping[str, Array], steps: Steps) -> Iterator[Ranking]:
    sums = _Sums("rzn", reading, named, steps)
    for chosen in functions("gru"):
        base = Convention("gru", "rzn", **chosen)
        h = family.gru(
            base, sums.x, sums.h, steps.before[0], None, lambda rh: rh @ sums.recurrent("n")
        )
        yield _worst(h, steps.after[0]), partial(sums.at, base, np.zeros(h.shape[:2]))


def _lstms(reading: Reading, named: Mapping[str, Array], steps: Steps) -> Iterator[Ranking]:
    letters = reading.letters("lstm")
    sums = _Sums(letters, reading, named, steps)
    of_gates = {
        name: sums.gates(family.activation(name))
        for name in ("identity", *CHOICES["gate"], *CHOICES["candidate"])
    }
    written_by = itemgetter("gate", "candidate")  # what determines the new c
    for (gate, candidate), alike in groupby(functions("lstm"), written_by):
        i, g, o = of_gates[gate]["i"], of_gates[candidate]["g"], of_gates[gate]["o"]
        offsets, f = np.zeros(i.shape[:2]), 1 - i
        if "f" in letters:
            offsets = _offsets(gate, i * g, of_gates["identity"]["f"], steps)
            f = family.activation(gate)(of_gates["identity"]["f"] + offsets[..., None, None])
        c = f * steps.before[1] + i * g
        off = _worst(c, steps.after[1])
        for chosen in alike:
            base = Convention("lstm", letters, coupled="f" not in letters, **chosen)
            h = o * family.activation(base.output)(c)
            h = h @ reading.projection(named) if reading.R else h
            yield np.maximum(_worst(h, steps.after[0]), off), partial(sums.at, base, offsets)


def _offsets(gate: str, written: Array, sums: Array, steps: Steps) -> Array:
    """Return the constant that f's sum lacks, for each candidate, by solving c' = f c + i g.

    ``written`` is i g, ``sums`` what f's activation, ``gate``, is applied to.
    """
    with np.errstate(all="ignore"):
        f = (steps.after[1] - written) / steps.before[1]
        if gate in family.SLOPES:
            needed = np.where((f > 0) & (f < 1), (f - 0.5) / family.SLOPES[gate], np.nan)
        else:
            needed = np.log(f / (1 - f))
        lacking = needed - sums
    lacking = np.where(np.isfinite(lacking), lacking, 0.0)
    return np.median(lacking, axis=(-2, -1))


def with_role(candidate: Candidate, names: tuple[str, ...], role: Role) -> Candidate:
    """Return the candidate with this role for one array of vectors."""
    return replace(candidate, roles={**candidate.roles, names: role})


def roles(candidate: Candidate, count: int) -> Iterator[Role]:
    """Yield the possible roles of an array of ``count`` slices (H,)."""
    c = candidate.base
    yield Role("unused")
    for letters in permutations(c.letters + c.recurrent_bias, min(count, 4)):
        yield Role("bias", "".join(letters))
    if c.family == "lstm":
        for letters in permutations("io" if c.coupled else "ifo", count):
            states = CHOICES["output_peephole"] if "o" in letters else ("new",)
            yield from (Role("peephole", "".join(letters), state) for state in states)


def ranked_roles(
    candidate: Candidate, names: tuple[str, ...], named: Mapping[str, Array], steps: Steps
) -> list[Candidate]:
    """Return the candidate with every role of an array, the best first; other arrays are 0."""
    count = candidate.reading.vectors[names]
    variants = [with_role(candidate, names, role) for role in roles(candidate, count)]
    return sorted(
        variants, key=lambda v: distance(v.after(named, steps.x, steps.before), steps.after)
    )
