"""Parameters read from the wrong place: of another pass, one array for another, transposed.

A pass is one direction of one layer; arrays of passes have its ending, ``weight_ih_l1_reverse``.
Everything is put in terms of the layer's own arrays, so that gradients go where they were read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from ....reference.cells import cell_named
from ....reference.functions import Array
from ...cases.case import Case
from ...subjects.protocol import Subject
from ..hypotheses import Hypothesis, Sources, base

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Pass:
    """Which layer and which direction."""

    level: int
    backward: bool

    @classmethod
    def of(cls, name: str) -> Pass:
        """Return the pass that an array belongs to, by its name's ending."""
        ending = name.rpartition("_l")[2]
        return cls(int(ending.partition("_")[0]), ending.endswith("_reverse"))

    @property
    def ending(self) -> str:
        """The ending of its arrays' names."""
        return f"_l{self.level}{'_reverse' if self.backward else ''}"


def read_from(names: Sequence[str], where: Callable[[Pass, int], Pass | None]) -> Sources:
    """Return that some arrays are read from another pass, where it has one of that shape.

    ``where`` is the pass that is read, given its own and the number of layers; None: its own.
    """

    def sources(shapes: Shapes) -> dict[str, tuple[str, Array]]:
        layers = 1 + max(Pass.of(name).level for name in shapes)
        moved = {}
        for name, shape in shapes.items():
            other = where(Pass.of(name), layers) if base(name) in names else None
            source = f"{base(name)}{other.ending}" if other else name
            if source != name and shapes.get(source) == shape:
                moved[name] = (source, _all(shape))
        return moved

    return sources


def read_as(target: str, source: str, here: Callable[[Pass], bool]) -> Sources:
    """Return that one array is read in the place of another, where both have the same shape."""

    def sources(shapes: Shapes) -> dict[str, tuple[str, Array]]:
        return {
            name: (source + name[len(target) :], _all(shape))
            for name, shape in shapes.items()
            if base(name) == target
            and here(Pass.of(name))
            and shapes.get(source + name[len(target) :]) == shape
        }

    return sources


def rearranged_blocks(
    names: Sequence[str], gates: int, order: tuple[int, ...], *, viewed: bool
) -> Sources:
    """Return that blocks of weights are read as if their axes stood in another order.

    Weights have an axis of gates, or their rows stand gate after gate.
    """
    back = tuple(int(k) for k in np.argsort(order))

    def sources(shapes: Shapes) -> dict[str, tuple[str, Array]]:
        moved = {}
        for name, shape in shapes.items():
            if base(name) not in names or len(shape) < 2:
                continue
            split = shape if len(shape) == 3 else (gates, shape[0] // gates, shape[1])
            if len(shape) == 2 and shape[0] % gates:
                continue
            places: Array = np.arange(int(np.prod(shape)))
            if viewed:
                places = places.reshape([split[k] for k in order]).transpose(back)
            else:
                places = places.reshape(split).transpose(order)
            moved[name] = (name, places.reshape(shape))
        return moved

    return sources


def square_blocks_transposed(names: Sequence[str], gates: int) -> Sources:
    """Return that each gate's block is transposed, where it is square."""

    def sources(shapes: Shapes) -> dict[str, tuple[str, Array]]:
        moved = {}
        for name, shape in shapes.items():
            if base(name) not in names or len(shape) < 2:
                continue
            places = np.arange(int(np.prod(shape)))
            blocks = places.reshape(shape if len(shape) == 3 else (gates, -1, shape[1]))
            if blocks.shape[1] == blocks.shape[2]:
                moved[name] = (name, blocks.swapaxes(1, 2).reshape(shape))
        return moved

    return sources


def _all(shape: tuple[int, ...]) -> Array:
    return np.arange(int(np.prod(shape))).reshape(shape)


@dataclass(frozen=True)
class Other:
    """Another pass in the place of the right one: in words, what to do, which one."""

    words: str
    fix: str
    where: Callable[[Pass, int], Pass | None]
    needs: str


def _forward(own: Pass, layers: int) -> Pass | None:
    return Pass(own.level, backward=False) if own.backward else None


def _backward(own: Pass, layers: int) -> Pass | None:
    return None if own.backward else Pass(own.level, backward=True)


def _other_direction(own: Pass, layers: int) -> Pass | None:
    return Pass(own.level, not own.backward)


def _lowest(own: Pass, layers: int) -> Pass | None:
    return Pass(0, own.backward) if own.level else None


def _second(own: Pass, layers: int) -> Pass | None:
    return Pass(1, own.backward) if own.level > 1 else None


def _below(own: Pass, layers: int) -> Pass | None:
    return Pass(own.level - 1, own.backward) if own.level else None


def _above(own: Pass, layers: int) -> Pass | None:
    return Pass(own.level + 1, own.backward) if own.level + 1 < layers else None


def _top(own: Pass, layers: int) -> Pass | None:
    return Pass(layers - 1, own.backward)


def _from_the_top(own: Pass, layers: int) -> Pass | None:
    return Pass(layers - 1 - own.level, own.backward)


OTHERS = (
    Other("The backward direction reads {} of the forward direction.",
          "read the backward direction's own arrays, those that end in _reverse",
          _forward, "bidirectional"),
    Other("The forward direction reads {} of the backward direction.",
          "read the forward direction's own arrays, those that do not end in _reverse",
          _backward, "bidirectional"),
    Other("Each direction reads {} of the other.",
          "read each direction's own arrays", _other_direction, "bidirectional"),
    Other("Every layer reads {} of the lowest layer, where the shapes are the same.",
          "read each layer's own arrays", _lowest, "layers"),
    Other("Every layer above the second reads {} of the second.",
          "read each layer's own arrays", _second, "layers"),
    Other("Every layer reads {} of the layer below it, where the shapes are the same.",
          "read each layer's own arrays", _below, "layers"),
    Other("Every layer reads {} of the layer above it, where the shapes are the same.",
          "read each layer's own arrays", _above, "layers"),
    Other("Every layer reads {} of the last layer, where the shapes are the same.",
          "read each layer's own arrays", _top, "layers"),
    Other("The layers read {} in the reverse order of layers, where the shapes are the same.",
          "read each layer's own arrays", _from_the_top, "layers"),
)  # fmt: skip

LEVELS: dict[str, tuple[Callable[[Pass], bool], tuple[str, ...]]] = {
    "": (lambda own: True, ()),
    " in every layer above the lowest": (lambda own: own.level > 0, ("layers",)),
    " in the lowest layer": (lambda own: own.level == 0, ("layers",)),
    " in the backward direction": (lambda own: own.backward, ("bidirectional",)),
    " in the forward direction": (lambda own: not own.backward, ("bidirectional",)),
}
"""Where something is so, whether a pass is there, and the options that the words are about."""

ALWAYS = (" in the lowest layer", " in the forward direction")
"""Of those, which are there without options."""


def passes(subject: Subject, *, gradients: bool) -> Iterator[Hypothesis]:
    """Yield every way in which a layer may read its parameters from the wrong place.

    With ``gradients``: may return their gradients misplaced.
    """
    names = tuple(dict.fromkeys(map(base, subject.parameter_map(_case(subject)).shapes())))
    shapes = subject.parameter_map(_case(subject)).shapes()
    weights = tuple(n for n in names if len(shapes[f"{n}_l0"]) > 1)
    vectors = tuple(n for n in names if n not in weights)
    groups = {"all parameters": names, "the weights": weights, "the biases": vectors}
    groups |= {name: (name,) for name in names}
    offered = subject.options
    if gradients:
        yield from _gradients(names)
        yield from _blocks(subject, weights, returned=True)
        return
    for other in OTHERS:
        if getattr(offered, other.needs):
            for words, group in groups.items():
                yield _hypothesis(other.words.format(words), other.fix,
                                  read_from(group, other.where), needs=(other.needs,))  # fmt: skip
    for (target, source), (where, (here, needs)) in product(permutations(names, 2), LEVELS.items()):
        if not offered.missing(needs):
            yield _hypothesis(
                f"{source} is read in the place of {target}{where}, where their shapes are equal.",
                f"read {target} itself: it is never read there",
                read_as(target, source, here), needs=() if where in ALWAYS else needs,
            )  # fmt: skip
    yield from _blocks(subject, weights, returned=False)


def _blocks(subject: Subject, weights: Sequence[str], *, returned: bool) -> Iterator[Hypothesis]:
    gates = len(cell_named(subject.cells[0]).gates)
    groups = {"The weights are": tuple(weights)} | {f"{name} is": (name,) for name in weights}
    axes = ("gates", "inputs", "units")
    if len(subject.parameter_map(_case(subject)).shapes()[f"{weights[0]}_l0"]) == 2:
        axes = ("gates", "units", "inputs")
    for words, group in groups.items():
        told = words
        if returned:
            plural = words.endswith("are")
            told = "The gradients of the weights are" if plural else f"The gradient of {words}"
        yield _hypothesis(
            f"{told} transposed, gate by gate, where the blocks are square.",
            f"leave {'out one transposition' if returned else 'the blocks as they are stored'}",
            square_blocks_transposed(group, gates), returned=returned,
        )  # fmt: skip
        for order, viewed in product(list(permutations(range(3)))[1:], (False, True)):
            other = ", ".join(axes[k] for k in order)
            how = f"laid out as ({other}) and reshaped to ({', '.join(axes)})"
            if viewed:
                how = f"reshaped to ({other}), not transposed to it"
            yield _hypothesis(
                f"{told} {how}.",
                "transpose the weights, do not reshape them; gates stand one after another",
                rearranged_blocks(group, gates, order, viewed=viewed), returned=returned,
            )  # fmt: skip


def _gradients(names: Sequence[str]) -> Iterator[Hypothesis]:
    """Yield gradients that are returned for another array."""
    for (target, source), (where, (here, needs)) in product(permutations(names, 2), LEVELS.items()):
        yield _hypothesis(
            f"The gradient of {source} is returned in the place of that of {target}{where}, where "
            "their shapes are equal.",
            f"return the gradient of {target} itself",
            read_as(target, source, here), returned=True,
            needs=() if where in ALWAYS else needs,
        )  # fmt: skip


def _case(subject: Subject) -> Case:
    return Case(2, 2, 3, 4, dtype=subject.dtypes[0])


def _hypothesis(
    statement: str,
    fix: str,
    sources: Sources,
    *,
    returned: bool = False,
    needs: tuple[str, ...] = (),
) -> Hypothesis:
    return Hypothesis(
        (statement.rstrip("."),), (statement,), (), (fix,),
        ("gradient" if returned else "forward",),
        sources=() if returned else (sources,), returns=(sources,) if returned else (),
        needs=needs,
    )  # fmt: skip
