"""Look at a layer from outside: ways to read its stored arrays, and steps that it makes.

Sizes are such that shapes tell as much as they can: D, H, P and their multiples all differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
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
"""More slices than this no bias has."""

COUNTS = {"rnn": (1,), "lstm": (4, 3), "gru": (3,)}
"""How many gates may be stored; an LSTM's f may be 1 - i."""


class Unreadable(ValueError):
    """The shapes of the stored arrays are none that a convention has; the message says which."""


@dataclass(frozen=True)
class Reading:
    """One way to read the stored arrays: which is what, and where the gates lie in W and U.

    ``W`` and ``U`` are the names of the arrays, several where every gate has its own, ``vectors``
    those of biases and peepholes, with the number of slices each holds.
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
        """The fields of a convention that say so."""
        below = "" if self.recurrent_layout == self.layout else self.recurrent_layout
        return {"layout": self.layout, "recurrent_layout": below, "projected": bool(self.R)}

    def letters(self, family: str) -> str:
        """Return the gates that are stored; an LSTM's f may be 1 - i."""
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
    """Return every way to read arrays of these shapes; Unreadable if there is none."""
    groups = _grouped(shapes, sizes)
    vectors = {g: n for g in groups if (n := _vector_count(g, shapes, sizes.H))}
    stacks = [group for group in vectors if len(shapes[group[0]]) > 1]
    for gates, matrices in product(COUNTS[family], range(len(stacks) + 1)):
        ways = [
            way
            for chosen in combinations(stacks, matrices)
            for way in _readings(
                gates, groups, {g: n for g, n in vectors.items() if g not in chosen}, shapes, sizes
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
    """Yield the readings in which these groups are vectors; few units make a matrix look so."""
    rest = [g for g in groups if g not in vectors]
    square = {(sizes.P, sizes.H), (sizes.H, sizes.P)}
    R = next((g for g in rest if len(g) == 1 and shapes[g[0]] in square), ())
    rest = [g for g in rest if g != R]
    made = partial(Reading, gates=gates, vectors=vectors, R=R[0] if R else "", sizes=sizes)
    joint = _packed("W", gates, "joint", below=True).shape(_shapes(sizes))
    if len(rest) == 1 and len(rest[0]) == 1 and shapes[rest[0][0]] == joint:
        yield made(rest[0], rest[0], "joint", "joint")
    if len(rest) != 2:
        return
    for W, U in (rest, rest[::-1]):
        for layout in _layouts("W", W, gates, shapes, sizes):
            for recurrent in _layouts("U", U, gates, shapes, sizes):
                yield made(W, U, layout, recurrent)


def _grouped(shapes: Mapping[str, tuple[int, ...]], sizes: Sizes) -> list[tuple[str, ...]]:
    """Return the arrays, those that hold one gate each together: weight_ih_i, weight_ih_f, ..."""
    widths = {sizes.D, sizes.H, sizes.projected}
    groups: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        stem, _, letter = name.removesuffix("_l0").rpartition("_")
        single = len(letter) == 1 and stem and sizes.H in shape and set(shape) <= widths
        groups.setdefault(f"{stem}_*" if single else name, []).append(name)
    return [tuple(names) for names in groups.values()]


def _vector_count(names: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]], H: int) -> int:
    """Return how many slices (H,) the arrays hold; 0 if they are no vectors."""
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
    """Yield the layouts that have these shapes; of those that are the same, the first."""
    seen: list[list[Floats]] = []
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
        if not any(all(map(np.array_equal, blocks, other)) for other in seen):
            seen.append(blocks)
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
    """Steps that a layer made: from x (N, D) and states before to states after, (N, width) each."""

    x: Floats
    before: tuple[Floats, ...]
    after: tuple[Floats, ...]


class Probe:
    """Runs a subject with arrays of our choice, and looks at single steps."""

    def __init__(self, subject: Subject, seed: int, *, state: bool = True) -> None:
        """Prepare for one step and for two; ``state``: from initial states, where it takes them."""
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
        """Draw every array: random, non-zero, such that gates are neither open nor shut."""
        return {
            name: self.case.normal(f"{round_} {name}", shape, 0.35 if len(shape) > 1 else 0.5)
            for name, shape in self.shapes.items()
        }

    def steps(self, named: Mapping[str, Floats], round_: str, *, both: bool = False) -> Steps:
        """Return the steps that the subject makes, the telling ones last.

        One from random states; without an initial state, or with ``both``, the next one too.
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
