"""Readings of a layer's stored arrays, and single steps of the layer.

D, H, P and their multiples all differ, so that shapes distinguish arrays as far as possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.parameters import Shape, Sizes
from ..cases.case import Case
from ..conventions.convention import CELLS, GATES, LAYOUTS, Packed
from ..subjects.called import Called, under_test
from ..subjects.protocol import Inputs, Subject

SIZES = Sizes(D=11, H=6)
PROJECTED = Sizes(D=11, H=6, P=5)
ROWS = 4
VECTORS = 4
"""The most slices of a bias."""

MOST_ARRAYS, LONGEST_NAME = 64, 200
"""More or longer names are those of no layer, and are not compared with each other."""

COUNTS = {"rnn": (1,), "lstm": (4, 3), "gru": (3,)}
"""The possible numbers of stored gates; an LSTM's f may be 1 - i."""


class Unreadable(ValueError):
    """No convention has arrays of these shapes; the message names them."""


@dataclass(frozen=True)
class Reading:
    """A reading of the stored arrays: their roles, and the layout of the gates in W and U.

    ``W`` and ``U`` are the names of the arrays, several if every gate has its own, ``vectors``
    those of biases and peepholes, with the number of slices in each.
    """

    W: tuple[str, ...]
    U: tuple[str, ...]
    layout: str
    recurrent_layout: str
    gates: int
    vectors: Mapping[tuple[str, ...], int]
    R: str = ""
    sizes: Sizes = SIZES

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a convention that express the reading."""
        below = "" if self.recurrent_layout == self.layout else self.recurrent_layout
        return {"layout": self.layout, "recurrent_layout": below, "projected": bool(self.R)}

    def letters(self, family: str) -> str:
        """Return the stored gates; an LSTM's f may be 1 - i."""
        return GATES[family] if self.gates == len(GATES[family]) else "igo"

    def weights(self, named: Mapping[str, Floats]) -> tuple[list[Floats], list[Floats]]:
        """Return the blocks (D, H) of W and (H, H) of U, in stored order."""
        if self.layout == "joint":
            packed = _packed("W", self.gates, "joint", below=True)
            blocks = list(packed.split(named[self.W[0]], _shapes(self.sizes)).values())
            return blocks[: self.gates], blocks[self.gates :]
        return (
            _blocks("W", self.W, self.layout, self.gates, named, self.sizes),
            _blocks("U", self.U, self.recurrent_layout, self.gates, named, self.sizes),
        )

    def vector(self, names: tuple[str, ...], named: Mapping[str, Floats]) -> list[Floats]:
        """Return the slices (H,) of a bias or a peephole array, in stored order."""
        if len(names) > 1:
            return [named[name] for name in names]
        array, count = named[names[0]], self.vectors[names]
        if len(array.shape) > 1:
            return [array[k] for k in range(count)]
        if self.layout == "interleaved":
            return [array[k::count] for k in range(count)]
        H = self.sizes.H
        return [array[k * H : (k + 1) * H] for k in range(count)]

    def projection(self, named: Mapping[str, Floats]) -> Floats:
        """Return R (H, P)."""
        array = named[self.R]
        return array if array.shape[0] == self.sizes.H else array.T


def readings(family: str, shapes: Mapping[str, tuple[int, ...]], sizes: Sizes) -> list[Reading]:
    """Return all readings of arrays of these shapes; Unreadable if there is none."""
    for gates in COUNTS[family]:
        groups = _grouped(shapes, sizes, gates)
        vectors = {g: n for g in groups if (n := _vector_count(g, shapes, sizes.H))}
        stacks = [group for group in vectors if len(shapes[group[0]]) > 1]
        for matrices in range(len(stacks) + 1):
            ways = [
                way
                for chosen in combinations(stacks, matrices)
                for way in _readings(
                    gates,
                    groups,
                    {g: n for g, n in vectors.items() if g not in chosen},
                    shapes,
                    sizes,
                )
            ]
            if ways:
                return ways
    listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
    raise Unreadable(f"its arrays are none that a convention of the {family} has: {listed}")


def _readings(
    gates: int,
    groups: list[tuple[str, ...]],
    vectors: Mapping[tuple[str, ...], int],
    shapes: Mapping[str, tuple[int, ...]],
    sizes: Sizes,
) -> Iterator[Reading]:
    """Yield the readings with these groups as vectors, as which small matrices may appear."""
    rest = [g for g in groups if g not in vectors]
    square = {(sizes.P, sizes.H), (sizes.H, sizes.P)}
    R = next((g for g in rest if len(g) == 1 and shapes[g[0]] in square), ())
    rest = [g for g in rest if g != R]
    reading = partial(Reading, gates=gates, vectors=vectors, R=R[0] if R else "", sizes=sizes)
    joint = _packed("W", gates, "joint", below=True).shape(_shapes(sizes))
    if len(rest) == 1 and len(rest[0]) == 1 and shapes[rest[0][0]] == joint:
        yield reading(rest[0], rest[0], "joint", "joint")
    if len(rest) != 2:
        return
    for W, U in (rest, rest[::-1]):
        for layout in _layouts("W", W, gates, shapes, sizes):
            for recurrent in _layouts("U", U, gates, shapes, sizes):
                yield reading(W, U, layout, recurrent)


def _grouped(
    shapes: Mapping[str, tuple[int, ...]], sizes: Sizes, gates: int
) -> list[tuple[str, ...]]:
    """Group the arrays that hold one gate each, by names that differ in one place alone.

    Such names are weight_ih_i, weight_ih_f, ..., or Wz, Wr, Wh, or reset.W, update.W, new.W. Within
    each group the gates stand in the same order.
    """
    widths = {sizes.D, sizes.H, sizes.projected}
    single = [n for n, shape in shapes.items() if sizes.H in shape and set(shape) <= widths]
    words: dict[tuple[tuple[int, ...], str, str], dict[str, str]] = {}
    few = (
        gates > 1 and len(single) <= MOST_ARRAYS and max(map(len, single), default=0) < LONGEST_NAME
    )
    for name in single if few else ():
        bare = name.removesuffix("_l0")
        for start, end in combinations(range(len(bare) + 1), 2):
            key = shapes[name], bare[:start], bare[end:]
            words.setdefault(key, {})[name] = bare[start:end]
    rest, groups, order = dict.fromkeys(shapes), list[tuple[str, ...]](), list[str]()
    alike = sorted(words.items(), key=lambda e: (len(e[1]) != gates, -len(e[0][1] + e[0][2])))
    for (shape, *stem), members in alike:
        several = len(members) == gates or (len(shape) == 1 and 2 <= len(members) <= VECTORS)
        if not (several and members.keys() <= rest.keys() and any(stem)):
            continue
        order = order or [*members.values()]
        known = sorted(members.values()) == sorted(order)
        by_gate = sorted(members, key=lambda n: order.index(members[n])) if known else members
        groups.append(tuple(by_gate))
        rest = {n: None for n in rest if n not in members}
    return [*((n,) for n in rest), *groups]


def _vector_count(names: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]], H: int) -> int:
    """Return the number of slices (H,) in the arrays; 0 if they are no vectors."""
    shape = shapes[names[0]]
    if len(shape) == 1 and shape[0] % H == 0:
        return len(names) * (shape[0] // H)
    stacked = len(names) == 1 and len(shape) == 2 and shape[1] == H and shape[0] <= VECTORS
    return shape[0] if stacked else 0


def _layouts(
    kind: str,
    names: tuple[str, ...],
    gates: int,
    shapes: Mapping[str, tuple[int, ...]],
    sizes: Sizes,
) -> Iterator[str]:
    """Yield the layouts with these shapes, without equivalent ones."""
    distinct: list[list[Floats]] = []
    for layout in LAYOUTS:
        separate = layout.startswith("separate")
        if layout == "joint" or len(names) != (gates if separate and gates > 1 else 1):
            continue
        packed = _packed(kind, 1 if separate else gates, layout)
        if any(shapes[name] != packed.shape(_shapes(sizes)) for name in names):
            continue
        count = int(np.prod(shapes[names[0]]))
        numbers = {name: np.arange(count).reshape(shapes[name]) + count * k
                   for k, name in enumerate(names)}  # fmt: skip
        blocks = _blocks(kind, names, layout, gates, numbers, sizes)
        if not any(
            all(map(np.array_equal, blocks, blocks_of_layout)) for blocks_of_layout in distinct
        ):
            distinct.append(blocks)
            yield layout


def _blocks(
    kind: str,
    names: tuple[str, ...],
    layout: str,
    gates: int,
    named: Mapping[str, Floats],
    sizes: Sizes,
) -> list[Floats]:
    count = 1 if layout.startswith("separate") else gates
    packed = _packed(kind, count, layout)
    return [block for name in names for block in packed.split(named[name], _shapes(sizes)).values()]


def _packed(kind: str, gates: int, layout: str, *, below: bool = False) -> Packed:
    lower = tuple(f"U_{k}" for k in range(gates)) if below else ()
    return Packed("", tuple(f"{kind}_{k}" for k in range(gates)), layout, below=lower)


def _shapes(sizes: Sizes) -> dict[str, Shape]:
    return {"W": Shape((), (sizes.D, sizes.H)), "U": Shape((), (sizes.projected, sizes.H))}


@dataclass(frozen=True)
class Steps:
    """Steps of a layer: x (N, D), and the states before and after, (N, width) each."""

    x: Floats
    before: tuple[Floats, ...]
    after: tuple[Floats, ...]


class Probe:
    """A subject that is run on chosen arrays for single steps."""

    def __init__(self, subject: Subject, seed: int, *, state: bool = True) -> None:
        """Set the cases of one and of two steps; ``state``: with initial states, if offered."""
        options = subject.options
        cell = subject.cells[0]
        self.sizes = PROJECTED if "projected" in cell else SIZES
        self.family = next((f for f in GATES if cell.partition("-")[0] == f), "")
        if not self.family or cell not in CELLS.values():
            raise Unreadable(
                f"its cell ({cell}) has no conventions: they describe RNN, LSTM and GRU layers"
            )
        dtype = "float64" if "float64" in subject.dtypes else subject.dtypes[0]
        self.case = Case(1, ROWS, self.sizes.D, self.sizes.H, self.sizes.P or 0, dtype=dtype,
                         state=state and options.state, seed=seed)  # fmt: skip
        self.two = replace(self.case, T=2)
        self.shapes = dict(subject.parameter_map(self.case).shapes())
        self._subject = under_test(subject)
        self._built: dict[int, Called] = {}

    def draw(self, round_: str) -> dict[str, Floats]:
        """Draw every array, so that gates are neither open nor shut."""
        return {
            name: self.case.normal(f"{round_} {name}", shape, 0.35 if len(shape) > 1 else 0.5)
            for name, shape in self.shapes.items()
        }

    def steps(self, named: Mapping[str, Floats], round_: str, *, both: bool = False) -> Steps:
        """Return steps of the subject, the most informative last.

        These are one from random states and, without an initial state or with ``both``, the next.
        """
        x = self.case.normal(f"{round_} x", (2, ROWS, self.sizes.D))
        state = None
        if self.case.state:
            widths = [self.sizes.projected, self.sizes.H][: 2 if self.family == "lstm" else 1]
            state = tuple(
                self.case.normal(f"{round_} state {k}", (1, ROWS, width), 0.7)
                for k, width in enumerate(widths)
            )
        ends = [self._run(1, Inputs(named, x[:1], state, None))]
        if both or state is None:
            ends.append(self._run(2, Inputs(named, x, state, None)))
        start = tuple(np.zeros_like(s) for s in ends[0]) if state is None else \
            tuple(s[0] for s in state)  # fmt: skip
        starts = [start, *ends][: len(ends)]
        return Steps(
            np.concatenate(list(x[: len(ends)])),
            tuple(np.concatenate(arrays) for arrays in zip(*starts, strict=True)),
            tuple(np.concatenate(arrays) for arrays in zip(*ends, strict=True)),
        )

    def _run(self, steps: int, inputs: Inputs) -> tuple[Floats, ...]:
        """Return the final states (B, width); the first is the last output."""
        if steps not in self._built:
            self._built[steps] = self._subject.build(self.case if steps == 1 else self.two)
        result = self._built[steps].forward(inputs)
        return tuple(s[0] for s in result.final)
