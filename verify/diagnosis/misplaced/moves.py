"""Entries of another row, step, layer, direction or axis, in what goes in and what comes out.

The moves are generated: every way of moving entries along the axes of an array, and of taking a
reshape for a transposition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, permutations, product

import numpy as np

from ....reference.arrays import Floats
from ...cases.options import Options
from ...mutants.gradient import gives
from ...mutants.parts import pulls, pulls_outputs, returns, some, takes
from ...mutants.replaceable_layer import ReplaceableLayer
from ...numbers.tape import rearranged
from ..hypotheses import Hypothesis
from .passes import laid, viewed

Shift = Callable[[Floats], Floats]
"""Move entries of an array; its shape stays."""

Split = Callable[[ReplaceableLayer, Floats], tuple[int, ...]]
"""The shape of an array with more axes than it has."""

PLURALS = {"layer or direction": "layers and directions"}
"""Of axes whose plural has more than an s."""

STEP, ROW, FEATURE, UNIT = "step", "row", "feature", "unit"
LAYER, DIRECTION, PASS = "layer", "direction", "layer or direction"


@dataclass(frozen=True)
class Move:
    """A way of taking entries from other places, as a predicate in words; what to do instead."""

    name: str
    words: str
    fix: str
    function: Callable[[Floats, ReplaceableLayer], Floats]


def plural(axis: str) -> str:
    """Return what the entries along an axis are called."""
    return PLURALS.get(axis, f"{axis}s")


def named_axes(axes: Sequence[str]) -> str:
    """Return axes as a shape in words."""
    return f"({', '.join(map(plural, axes))})"


def own_shape(layer: ReplaceableLayer, a: Floats) -> tuple[int, ...]:
    """Return the array's own shape."""
    return tuple(a.shape)


def by_direction(layer: ReplaceableLayer, a: Floats) -> tuple[int, ...]:
    """Return the shape of states with an axis for layers and one for directions."""
    return (layer.case.layers, layer.case.directions, *a.shape[1:])


def halves(layer: ReplaceableLayer, a: Floats) -> tuple[int, ...]:
    """Return the shape of outputs with an axis for directions."""
    return (*a.shape[:-1], layer.case.directions, a.shape[-1] // layer.case.directions)


def _split(split: Split, function: Shift, a: Floats, layer: ReplaceableLayer) -> Floats:
    """Move entries of an array that has the shape of a split."""
    return function(a.reshape(split(layer, a))).reshape(a.shape)


def permuted(axes: Sequence[str], split: Split, name: str, apart: int = -1) -> Iterator[Move]:
    """Yield every reshape in the place of a transposition.

    ``split`` is the shape with all axes; the axis ``apart`` and the next are one in the array
    itself, and orders in which they stay together are those of the array's own axes.
    """
    for order in list(permutations(range(len(axes))))[1:]:
        if (apart, apart + 1) in pairwise(order):
            continue
        other, own = named_axes([axes[k] for k in order]), named_axes(axes)
        mixed = " with ".join(plural(axes[k]) for k in range(len(axes)) if order[k] != k)
        fix = f"exchange the axes by a transposition (permute, swapaxes), not by a reshape: {mixed}"
        for way, function, words in (
            ("laid", laid, f"laid out as {other} and reshaped to {own}, not transposed to it"),
            ("viewed", viewed, f"reshaped to {other}, not transposed to it"),
        ):
            move = partial(_split, split, partial(function, order))
            yield Move(f"{name} {way} {order}", words, fix, move)


def along(axis: str, number: int, split: Split = own_shape) -> Iterator[Move]:
    """Yield flips, shifts and repetitions along an axis of an array of the shape ``split``."""
    many = plural(axis)
    ways: tuple[tuple[str, str, Shift], ...] = (
        ("reversed", f"in the reverse order of the {many}", lambda k: k[::-1]),
        ("rolled 1", f"taken from the previous {axis} (the first from the last)",
         lambda k: np.roll(k, 1)),
        ("shifted 1", f"taken from the previous {axis} where there is one",
         lambda k: np.maximum(k - 1, 0)),
        ("rolled -1", f"taken from the next {axis} (the last from the first)",
         lambda k: np.roll(k, -1)),
        ("shifted -1", f"taken from the next {axis} where there is one",
         lambda k: np.minimum(k + 1, len(k) - 1)),
        ("all first", f"that of the first {axis} for all {many}", lambda k: 0 * k),
        ("all last", f"that of the last {axis} for all {many}", lambda k: 0 * k + len(k) - 1),
    )  # fmt: skip
    for name, words, index in ways:
        fix = (
            f"leave the {many} in their order" if name == "reversed" else f"take each {axis}'s own"
        )
        move = partial(_split, split, partial(_taken, number, index))
        yield Move(f"{many} {name}", words, fix, move)


def delayed() -> Iterator[Move]:
    """Yield what stands one step late or early, with 0 at the end that is left open."""
    for by, words in (
        (1, "the previous step (0 at the first)"),
        (-1, "the next step (0 at the last)"),
    ):

        def move(a: Floats, layer: ReplaceableLayer, by: int = by) -> Floats:
            moved = np.roll(a, by, axis=0)
            moved[slice(by) if by > 0 else slice(by, None)] = 0
            return moved

        yield Move(f"steps delayed {by}", f"taken from {words}", "take each step's own", move)


def _taken(axis: int, index: Shift, a: Floats) -> Floats:
    return np.take(a, index(np.arange(a.shape[axis])), axis)


SIZES: dict[str, Callable[[ReplaceableLayer], int]] = {
    "the number of input features": lambda layer: layer.case.D,
    "the number of hidden units": lambda layer: layer.case.H,
    "the number of rows": lambda layer: layer.case.B,
    "the number of steps": lambda layer: layer.case.T,
    "one": lambda layer: 1,
}
"""What a stride may be taken for."""


def strides(name: str) -> Iterator[Move]:
    """Yield rows that are read from memory at the stride of something else."""
    for words, size in SIZES.items():
        yield Move(
            f"{name} stride of {words}",
            f"read from memory row after row at a stride of {words}, not of its own width",
            "step from row to row by the width of the array that is read",
            partial(_strided, size),
        )


def _strided(size: Callable[[ReplaceableLayer], int], a: Floats, layer: ReplaceableLayer) -> Floats:
    width = a.shape[-1]
    place = np.arange(int(np.prod(a.shape[:-1])))[:, None] * size(layer) + np.arange(width)
    return a.reshape(-1)[place % max(a.size, 1)].reshape(a.shape)


@dataclass(frozen=True)
class Target:
    """Something that entries can be moved in: what it is called, and how a layer is changed.

    ``move`` takes a layer and a function of one of its arrays.
    """

    name: str
    phrase: str
    verb: str
    move: Callable[[ReplaceableLayer, Shift], None]
    gradient: bool = False


def state_groups(family: str) -> dict[str, tuple[int, ...]]:
    """Return the numbers of the states that may be concerned, by their name; all first."""
    if family != "lstm":
        return {"hidden state": (0,)}
    return {"states": (0, 1), "hidden state": (0,), "cell state": (1,)}


def move_x(layer: ReplaceableLayer, function: Shift) -> None:
    """Let a layer read moved inputs."""
    takes(layer, lambda given: replace(given, x=rearranged(given.x, function)))


def move_y(layer: ReplaceableLayer, function: Shift) -> None:
    """Let a layer return moved outputs."""
    returns(layer, lambda result: replace(result, y=rearranged(result.y, function)))


def move_initial(which: Sequence[int], layer: ReplaceableLayer, function: Shift) -> None:
    """Let a layer read moved initial states."""
    move = partial(rearranged, function=function)
    takes(layer, lambda given: replace(
        given, state=given.state and some(given.state, which, move)))  # fmt: skip


def move_final(which: Sequence[int], layer: ReplaceableLayer, function: Shift) -> None:
    """Let a layer return moved final states."""
    move = partial(rearranged, function=function)
    returns(layer, lambda result: replace(result, final=some(result.final, which, move)))


def _move_dfinal(which: Sequence[int], layer: ReplaceableLayer, function: Shift) -> None:
    pulls(layer, lambda given: (given[0], some(given[1], which, function)))


def _move_dinitial(which: Sequence[int], layer: ReplaceableLayer, function: Shift) -> None:
    gives(layer, lambda pulled: replace(pulled, initial=some(pulled.initial, which, function)))


def _move_dx(layer: ReplaceableLayer, function: Shift) -> None:
    gives(layer, lambda pulled: replace(pulled, x=function(pulled.x)))


def targets(family: str) -> Iterator[tuple[Target, tuple[Move, ...]]]:
    """Yield everything that goes in and comes out, with the ways of moving entries of it."""
    x, y, passes = (STEP, ROW, FEATURE), (STEP, ROW, UNIT), (PASS, ROW, UNIT)
    sequence = (
        *permuted(x, own_shape, "x"), *along(STEP, 0), *delayed(), *along(ROW, 1),
        *along(FEATURE, 2), *strides("x"),
    )  # fmt: skip
    outputs = (
        *permuted(y, own_shape, "y"), *along(DIRECTION, 2, halves),
        *permuted((*y[:2], DIRECTION, UNIT), halves, "halves of y", 2),
        *along(STEP, 0), *delayed(), *along(ROW, 1), *along(UNIT, 2), *strides("y"),
    )  # fmt: skip
    states = (
        *permuted(passes, own_shape, "states"),
        *permuted((LAYER, DIRECTION, *passes[1:]), by_direction, "states by direction", 0),
        *along(LAYER, 0, by_direction), *along(DIRECTION, 1, by_direction), *along(PASS, 0),
        *along(ROW, 1), *along(UNIT, 2), *strides("states"),
    )  # fmt: skip
    yield Target("x", "The input x", "is", move_x), sequence
    yield Target("y", "The outputs y", "are", move_y), outputs
    for words, which in state_groups(family).items():
        verb = "are" if words == "states" else "is"
        for name, read, told, move, gradient in (
            (f"final {words}", "", verb, move_final, False),
            (f"initial {words}", "", verb, move_initial, False),
            (f"gradient of the final {words}", " that is read", "is", _move_dfinal, True),
            (f"gradient of the initial {words}", "", "is", _move_dinitial, True),
        ):
            yield Target(name, f"The {name}{read}", told, partial(move, which), gradient), states
    yield (
        Target("dy", "The gradient of the outputs that is read", "is", pulls_outputs, True),
        outputs,
    )
    yield Target("dx", "The gradient of x", "is", _move_dx, True), sequence


def moved(target: Target, move: Move, *, batch_first: bool = False) -> Hypothesis:
    """Return the hypothesis that entries of a target are moved, always or if batch-first."""

    def change(layer: ReplaceableLayer) -> None:
        if not batch_first or layer.case.layout == "batch-first":
            target.move(layer, lambda a: move.function(a, layer))

    when = "With batch-first input, t" if batch_first else "T"
    return Hypothesis(
        (f"{target.name}: {move.name}{' if batch-first' if batch_first else ''}",),
        (f"{when}{target.phrase[1:]} {target.verb} {move.words}.",), (change,), (move.fix,),
        ("gradient" if target.gradient else "forward",),
    )  # fmt: skip


def moves(family: str, offered: Options, *, gradients: bool) -> Iterator[Hypothesis]:
    """Yield every move of one target, and of what goes in and what comes out together."""
    known = [(each, every) for each, every in targets(family) if each.gradient is gradients]
    for target, every in known:
        possible = [m for m in every if offered.bidirectional or not m.name.startswith("halves")]
        yield from (moved(target, move) for move in possible)
        if offered.batch_first:
            yield from (moved(target, move, batch_first=True) for move in filter(_mixes, possible))
    if not gradients:
        yield from _on_both_ends(known, offered)


def _mixes(move: Move) -> bool:
    """Whether a move takes the first two axes for each other."""
    return "(1, 0, 2)" in move.name


def _on_both_ends(
    known: Sequence[tuple[Target, tuple[Move, ...]]], offered: Options
) -> Iterator[Hypothesis]:
    """Yield what goes in and what comes out, both with two axes mixed or an axis reversed."""
    by_name = {target.name: (target, every) for target, every in known}
    whole = "states" if "final states" in by_name else "hidden state"
    for first, second in (("x", "y"), (f"initial {whole}", f"final {whole}")):
        (one, mine), (other, others) = by_name[first], by_name[second]
        for a, b in product(mine, others):
            if (_mixes(a) and _mixes(b)) or (a.name == b.name and "reversed" in a.name):
                for when in (False, True) if offered.batch_first else (False,):
                    yield moved(one, a, batch_first=when) + moved(other, b, batch_first=when)
