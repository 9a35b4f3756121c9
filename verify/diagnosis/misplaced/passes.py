"""Parameters read from the wrong place: of another pass, of another array, or transposed.

A pass is one direction of one layer; arrays of passes have its ending, ``weight_ih_l1_reverse``.
All is expressed in the layer's own arrays, so that gradients go to the entries that were read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, permutations, product
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ....reference.cells import cell_named
from ...cases.case import Case
from ...subjects.protocol import Subject
from ..hypotheses import Hypothesis, Sources, base

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Pass:
    """A pass: its layer and its direction."""

    level: int
    backward: bool

    @classmethod
    def of(cls, name: str) -> Pass:
        """Return the pass of an array, by the ending of its name."""
        ending = name.rpartition("_l")[2]
        return cls(int(ending.partition("_")[0]), ending.endswith("_reverse"))

    @property
    def ending(self) -> str:
        """The ending of the names of its arrays."""
        return f"_l{self.level}{'_reverse' if self.backward else ''}"


def read_from(names: Sequence[str], where: Callable[[Pass, int], Pass | None]) -> Sources:
    """Return sources that read arrays from another pass, if its arrays have the same shape.

    ``where`` returns the pass that is read, by the array's pass and the number of layers; None for
    its own.
    """

    def sources(shapes: Shapes) -> dict[str, tuple[str, Floats]]:
        layers = 1 + max(Pass.of(name).level for name in shapes)
        moved = {}
        for name, shape in shapes.items():
            source_pass = where(Pass.of(name), layers) if base(name) in names else None
            source = f"{base(name)}{source_pass.ending}" if source_pass else name
            if source != name and shapes.get(source) == shape:
                moved[name] = (source, _all(shape))
        return moved

    return sources


def read_as(target: str, source: str, selected: Callable[[Pass], bool]) -> Sources:
    """Return sources that read one array in the place of another, if both have the same shape."""

    def sources(shapes: Shapes) -> dict[str, tuple[str, Floats]]:
        return {
            name: (source + name[len(target) :], _all(shape))
            for name, shape in shapes.items()
            if base(name) == target
            and selected(Pass.of(name))
            and shapes.get(source + name[len(target) :]) == shape
        }

    return sources


def _together(pairs: Sequence[tuple[str, str]]) -> Sources:
    """Return sources that read, in every pass, the second array of each pair for the first."""
    every = [read_as(target, source, lambda own: True) for target, source in pairs]
    return lambda shapes: {name: read for each in every for name, read in each(shapes).items()}


def laid(order: Sequence[int], a: Floats) -> Floats:
    """Return an array with its axes in another order."""
    return a.transpose(order)


def viewed(order: Sequence[int], a: Floats) -> Floats:
    """Return an array reshaped to another order of its axes and transposed back."""
    back = [order.index(k) for k in range(len(order))]
    return a.reshape([a.shape[k] for k in order]).transpose(back)


def transposed(blocks: Floats) -> Floats:
    """Return blocks, (gates, ...), each transposed if they are square."""
    return blocks.swapaxes(1, 2) if blocks.shape[1] == blocks.shape[2] else blocks


def blocks(names: Sequence[str], gates: int, moved: Callable[[Floats], Floats]) -> Sources:
    """Return sources that read weights as a function moves their blocks, (gates, ...).

    Weights have an axis of gates, or rows in the order of the gates.
    """

    def sources(shapes: Shapes) -> dict[str, tuple[str, Floats]]:
        places = {
            name: _all(shape).reshape(shape if len(shape) == 3 else (gates, -1, shape[-1]))
            for name, shape in shapes.items()
            if base(name) in names
            and (len(shape) == 3 or (len(shape) == 2 and not shape[0] % gates))
        }
        return {name: (name, moved(place).reshape(shapes[name])) for name, place in places.items()}

    return sources


def _all(shape: tuple[int, ...]) -> Floats:
    return np.arange(int(np.prod(shape))).reshape(shape)


@dataclass(frozen=True)
class Other:
    """A wrong pass: words, the remedy, a function that returns it, and the option it needs."""

    words: str
    fix: str
    where: Callable[[Pass, int], Pass | None]
    needs: str


OWN_DIRECTION, OWN_LAYER = "read each direction's own arrays", "read each layer's own arrays"

OTHERS = (
    Other("The backward direction reads {} of the forward direction.",
          "read the backward direction's own arrays, those that end in _reverse",
          lambda p, layers: Pass(p.level, False) if p.backward else None, "bidirectional"),
    Other("The forward direction reads {} of the backward direction.",
          "read the forward direction's own arrays, those that do not end in _reverse",
          lambda p, layers: None if p.backward else Pass(p.level, True), "bidirectional"),
    Other("Each direction reads {} of the other.", OWN_DIRECTION,
          lambda p, layers: Pass(p.level, not p.backward), "bidirectional"),
    Other("Every layer reads {} of the lowest layer, where the shapes are the same.", OWN_LAYER,
          lambda p, layers: Pass(0, p.backward) if p.level else None, "layers"),
    Other("Every layer above the second reads {} of the second.", OWN_LAYER,
          lambda p, layers: Pass(1, p.backward) if p.level > 1 else None, "layers"),
    Other("Every layer reads {} of the layer below it, where the shapes are the same.", OWN_LAYER,
          lambda p, layers: Pass(p.level - 1, p.backward) if p.level else None, "layers"),
    Other("Every layer reads {} of the layer above it, where the shapes are the same.", OWN_LAYER,
          lambda p, layers: Pass(p.level + 1, p.backward) if p.level + 1 < layers else None,
          "layers"),
    Other("Every layer reads {} of the last layer, where the shapes are the same.", OWN_LAYER,
          lambda p, layers: Pass(layers - 1, p.backward), "layers"),
    Other("The layers read {} in the reverse order of layers, where the shapes are the same.",
          OWN_LAYER, lambda p, layers: Pass(layers - 1 - p.level, p.backward), "layers"),
)  # fmt: skip

LEVELS: dict[str, tuple[Callable[[Pass], bool], tuple[str, ...]]] = {
    "": (lambda p: True, ()),
    " above the lowest layer": (lambda p: p.level > 0, ("layers",)),
    " in the lowest layer": (lambda p: p.level == 0, ("layers",)),
    " in the backward direction": (lambda p: p.backward, ("bidirectional",)),
    " in the forward direction": (lambda p: not p.backward, ("bidirectional",)),
}
"""The words for groups of passes, whether a pass belongs to them, and the options they need."""

ALWAYS = (" in the lowest layer", " in the forward direction")
"""The groups that exist without these options."""


def passes(subject: Subject, *, gradients: bool) -> Iterator[Hypothesis]:
    """Yield hypotheses that a layer reads its parameters from the wrong place.

    With ``gradients``: that it returns their gradients in the wrong place.
    """
    shapes = subject.parameter_map(Case(2, 2, 3, 4, dtype=subject.dtypes[0])).shapes()
    names = tuple(dict.fromkeys(map(base, shapes)))
    weights = tuple(n for n in names if len(shapes[f"{n}_l0"]) > 1)
    vectors = tuple(n for n in names if n not in weights)
    groups = {"all parameters": names, "the weights": weights, "the biases": vectors}
    groups |= {name: (name,) for name in names}
    offered = subject.options
    for wrong_pass in () if gradients else OTHERS:
        if getattr(offered, wrong_pass.needs):
            for words, group in groups.items():
                sources = read_from(group, wrong_pass.where)
                yield _hypothesis(
                    wrong_pass.words.format(words), wrong_pass.fix, sources, (wrong_pass.needs,)
                )
    if not (gradients or offered.missing(("layers", "bidirectional"))):
        yield from _directions_at_some_levels(groups)
    for (target, source), (where, (selected, needs)) in product(
        permutations(names, 2), LEVELS.items()
    ):
        so = f"{source} is read in the place of {target}{where}, where their shapes are equal."
        fix = f"read {target} itself: it is never read there"
        if gradients:
            so = (f"The gradient of {source} is returned in the place of that of {target}{where}, "
                  "where their shapes are equal.")  # fmt: skip
            fix = f"return the gradient of {target} itself"
        if gradients or not offered.missing(needs):
            needed = () if where in ALWAYS else needs
            yield _hypothesis(
                so, fix, read_as(target, source, selected), needed, returned=gradients
            )
    if not gradients:
        yield from _modules(names)
        yield from _exchanged(shapes, names)
    axes = ("gates", "inputs", "units")
    if len(shapes[f"{weights[0]}_l0"]) == 2:
        axes = ("gates", "units", "inputs")
    yield from _blocks(subject, weights, axes, returned=gradients)


def _directions_at_some_levels(groups: Mapping[str, tuple[str, ...]]) -> Iterator[Hypothesis]:
    """Yield that a direction reads parameters of the other in the lowest layer alone, or above."""
    of_directions = [other for other in OTHERS if other.needs == "bidirectional"]
    levels = {where: LEVELS[where] for where in (" above the lowest layer", " in the lowest layer")}
    for other, (words, group), (where, (selected, needs)) in product(
        of_directions, groups.items(), levels.items()
    ):

        def read(own: Pass, layers: int, other: Other = other, selected: Any = selected) -> Any:
            return other.where(own, layers) if selected(own) else None

        statement = f"{other.words.format(words).removesuffix('.')}{where}."
        yield _hypothesis(statement, other.fix, read_from(group, read), (other.needs, *needs))


def _modules(names: Sequence[str]) -> Iterator[Hypothesis]:
    """Yield that all parameters of one submodule are read in the place of another's."""
    members: dict[str, list[str]] = {}
    for name in names:
        module, _, member = name.rpartition(".")
        members.setdefault(module, []).append(member)
    for target, source in permutations(members, 2):
        if len(members[target]) > 1 and members[target] == members[source]:
            read = [(f"{target}.{m}", f"{source}.{m}") for m in members[target]]
            statement = f"{source} is called in the place of {target}."
            yield _hypothesis(statement, f"call {target}: it is never read there", _together(read))


def _exchanged(shapes: Shapes, names: Sequence[str]) -> Iterator[Hypothesis]:
    """Yield that two arrays of one shape are exchanged, or the two rows of one."""
    for one, other in combinations(names, 2):
        if shapes[f"{one}_l0"] == shapes[f"{other}_l0"]:
            yield _hypothesis(
                f"{one} and {other} are exchanged.", f"read {one} and {other} each for itself",
                _together([(one, other), (other, one)]),
            )  # fmt: skip
    for name in (n for n in names if shapes[f"{n}_l0"][0] == 2):
        yield _hypothesis(
            f"The two rows of {name} are exchanged.", f"read the rows of {name} in their order",
            partial(_rows_exchanged, name),
        )  # fmt: skip


def _rows_exchanged(array: str, shapes: Shapes) -> dict[str, tuple[str, Floats]]:
    return {n: (n, _all(shape)[::-1]) for n, shape in shapes.items() if base(n) == array}


def _blocks(
    subject: Subject, weights: Sequence[str], axes: Sequence[str], *, returned: bool
) -> Iterator[Hypothesis]:
    """Yield hypotheses that blocks of weights are transposed, or reshaped instead."""
    gates = len(cell_named(subject.cells[0]).gates)
    groups = {"The weights are": tuple(weights)} | {f"{name} is": (name,) for name in weights}
    if returned:
        groups = {"The gradients of the weights are": tuple(weights)}
        groups |= {f"The gradient of {name} is": (name,) for name in weights}
    ways: list[tuple[str, str, Callable[[Floats], Floats]]] = [(
        "transposed, gate by gate, where the blocks are square",
        f"leave {'out one transposition' if returned else 'the blocks as they are stored'}",
        transposed,
    )]  # fmt: skip
    fix = "transpose the weights, do not reshape them; gates stand one after another"
    for order in list(permutations(range(3)))[1:]:
        wrong = ", ".join(axes[k] for k in order)
        predicate = f"laid out as ({wrong}) and reshaped to ({', '.join(axes)})"
        ways.append((predicate, fix, partial(laid, order)))
        predicate = f"reshaped to ({wrong}), not transposed to it"
        ways.append((predicate, fix, partial(viewed, order)))
    for (words, group), (predicate, fix, move) in product(groups.items(), ways):
        sources = blocks(group, gates, move)
        yield _hypothesis(f"{words} {predicate}.", fix, sources, returned=returned)


def _hypothesis(
    statement: str,
    fix: str,
    sources: Sources,
    needs: tuple[str, ...] = (),
    *,
    returned: bool = False,
) -> Hypothesis:
    return Hypothesis(
        (statement.rstrip("."),), (statement,), (), (fix,),
        ("gradient" if returned else "forward",),
        sources=() if returned else (sources,), returns=(sources,) if returned else (),
        needs=needs,
    )  # fmt: skip
