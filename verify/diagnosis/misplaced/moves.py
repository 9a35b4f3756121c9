"""Misplaced entries of inputs and outputs, along rows, steps, layers, directions or units.

The moves are generated: all flips, shifts and repetitions along the axes of an array, and all
confusions of a reshape with a transposition.
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
from ...mutants.parts import pulls, pulls_outputs, returns, some, takes, takes_states
from ...mutants.replaceable_layer import ReplaceableLayer
from ...numbers.tape import rearranged
from ..hypotheses import Hypothesis
from .passes import laid, viewed

Shift = Callable[[Floats], Floats]
"""A function that moves entries of an array and keeps its shape."""

Split = Callable[[ReplaceableLayer, Floats], tuple[int, ...]]
"""A function that returns the shape of an array with some axes split."""

PLURALS = {"layer or direction": "layers and directions"}
"""The irregular plurals of axes."""

STEP, ROW, FEATURE, UNIT = "step", "row", "feature", "unit"
LAYER, DIRECTION, PASS = "layer", "direction", "layer or direction"


@dataclass(frozen=True)
class Move:
    """A move of entries, with a predicate in words and the remedy."""

    name: str
    words: str
    fix: str
    function: Callable[[Floats, ReplaceableLayer], Floats]


def plural(axis: str) -> str:
    """Return the plural of an axis."""
    return PLURALS.get(axis, f"{axis}s")


def named_axes(axes: Sequence[str]) -> str:
    """Return axes as a shape in words: "(steps, rows, units)"."""
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
    """Move entries of an array in its split shape."""
    return function(a.reshape(split(layer, a))).reshape(a.shape)


def permuted(axes: Sequence[str], split: Split, name: str, apart: int = -1) -> Iterator[Move]:
    """Yield all confusions of a reshape with a transposition.

    ``split`` returns the shape with all axes; the axis ``apart`` and the next are one axis of the
    array, so orders in which they stay together are left out.
    """
    for order in list(permutations(range(len(axes))))[1:]:
        if (apart, apart + 1) in pairwise(order):
            continue
        wrong, right = named_axes([axes[k] for k in order]), named_axes(axes)
        mixed = " with ".join(plural(axes[k]) for k in range(len(axes)) if order[k] != k)
        fix = f"exchange the axes by a transposition (permute, swapaxes), not by a reshape: {mixed}"
        for way, function, words in (
            ("laid", laid, f"laid out as {wrong} and reshaped to {right}, not transposed to it"),
            ("viewed", viewed, f"reshaped to {wrong}, not transposed to it"),
        ):
            move = partial(_split, split, partial(function, order))
            yield Move(f"{name} {way} {order}", words, fix, move)


def along(axis: str, number: int, split: Split = own_shape) -> Iterator[Move]:
    """Yield flips, shifts and repetitions along an axis of an array in its split shape."""
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
    """Yield delays by a step, late or early, with 0 at the open end."""
    for shift, words in (
        (1, "the previous step (0 at the first)"),
        (-1, "the next step (0 at the last)"),
    ):

        def move(a: Floats, layer: ReplaceableLayer, shift: int = shift) -> Floats:
            moved = np.roll(a, shift, axis=0)
            moved[slice(shift) if shift > 0 else slice(shift, None)] = 0
            return moved

        yield Move(f"steps delayed {shift}", f"taken from {words}", "take each step's own", move)


def _taken(axis: int, index: Shift, a: Floats) -> Floats:
    return np.take(a, index(np.arange(a.shape[axis])), axis)


SIZES: dict[str, Callable[[ReplaceableLayer], int]] = {
    "the number of input features": lambda layer: layer.case.D,
    "the number of hidden units": lambda layer: layer.case.H,
    "the number of rows": lambda layer: layer.case.B,
    "the number of steps": lambda layer: layer.case.T,
    "one": lambda layer: 1,
}
"""Sizes that a wrong stride may have."""


def strides(name: str) -> Iterator[Move]:
    """Yield readings of rows from memory with a wrong stride."""
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
    """An array in which entries can be moved, with the change of a layer that moves them.

    ``move`` takes a layer and a function of one of its arrays.
    """

    name: str
    phrase: str
    verb: str
    move: Callable[[ReplaceableLayer, Shift], None]
    gradient: bool = False


def state_groups(family: str) -> dict[str, tuple[int, ...]]:
    """Return groups of states, all first: their indices by their name."""
    if family != "lstm":
        return {"hidden state": (0,)}
    return {"states": (0, 1), "hidden state": (0,), "cell state": (1,)}


def move_x(layer: ReplaceableLayer, function: Shift) -> None:
    """Let a layer read moved inputs."""
    takes(layer, lambda inputs: replace(inputs, x=rearranged(inputs.x, function)))


def move_y(layer: ReplaceableLayer, function: Shift) -> None:
    """Let a layer return moved outputs."""
    returns(layer, lambda result: replace(result, y=rearranged(result.y, function)))


def move_initial(which: Sequence[int], layer: ReplaceableLayer, function: Shift) -> None:
    """Let a layer read moved initial states."""
    takes_states(layer, which, partial(rearranged, function=function))


def _move_inner(layer: ReplaceableLayer, function: Shift) -> None:
    """Let every layer above the lowest read moved outputs of the one below it."""
    layer.wrap("drop", lambda right, y: rearranged(right(y), function))


def move_final(which: Sequence[int], layer: ReplaceableLayer, function: Shift) -> None:
    """Let a layer return moved final states."""
    move = partial(rearranged, function=function)
    returns(layer, lambda result: replace(result, final=some(result.final, which, move)))


def _move_dfinal(which: Sequence[int], layer: ReplaceableLayer, function: Shift) -> None:
    pulls(layer, lambda pair: (pair[0], some(pair[1], which, function)))


def move_dinitial(which: Sequence[int], layer: ReplaceableLayer, function: Shift) -> None:
    """Let a layer return moved gradients of the initial states."""
    gives(layer, lambda pulled: replace(pulled, initial=some(pulled.initial, which, function)))


def _move_dx(layer: ReplaceableLayer, function: Shift) -> None:
    gives(layer, lambda pulled: replace(pulled, x=function(pulled.x)))


def targets(family: str) -> Iterator[tuple[Target, tuple[Move, ...]]]:
    """Yield all inputs, outputs and their gradients, with the moves of their entries."""
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
    yield Target("inner", "The input of every layer above the lowest", "is", _move_inner), sequence
    yield Target("y", "The outputs y", "are", move_y), outputs
    for words, which in state_groups(family).items():
        verb = "are" if words == "states" else "is"
        for name, read, verb_of_target, move, gradient in (
            (f"final {words}", "", verb, move_final, False),
            (f"initial {words}", "", verb, move_initial, False),
            (f"gradient of the final {words}", " that is read", "is", _move_dfinal, True),
            (f"gradient of the initial {words}", "", "is", move_dinitial, True),
        ):
            phrase = f"The {name}{read}"
            yield Target(name, phrase, verb_of_target, partial(move, which), gradient), states
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
        needs=("layout",) if batch_first else (),
    )  # fmt: skip


def moves(family: str, offered: Options, *, gradients: bool) -> Iterator[Hypothesis]:
    """Yield every move of one target, and moves of inputs and outputs together."""
    selected = [pair for pair in targets(family) if pair[0].gradient is gradients]
    if not offered.layers:
        selected = [pair for pair in selected if pair[0].name != "inner"]
    for target, all_moves in selected:
        possible = list(all_moves)
        if not offered.bidirectional:
            possible = [m for m in all_moves if not m.name.startswith("halves")]
        yield from (moved(target, move) for move in possible)
        if offered.batch_first:
            yield from (moved(target, move, batch_first=True) for move in filter(_mixes, possible))
    if not gradients:
        yield from _on_both_ends(selected, offered)


def _mixes(move: Move) -> bool:
    """Whether a move confuses the first two axes."""
    return "(1, 0, 2)" in move.name


def _on_both_ends(
    selected: Sequence[tuple[Target, tuple[Move, ...]]], offered: Options
) -> Iterator[Hypothesis]:
    """Yield moves of inputs and outputs together, both with axes mixed or an axis reversed."""
    by_name = {target.name: (target, target_moves) for target, target_moves in selected}
    states = "states" if "final states" in by_name else "hidden state"
    for first, second in (("x", "y"), (f"initial {states}", f"final {states}")):
        (source, source_moves), (result, result_moves) = by_name[first], by_name[second]
        for a, b in product(source_moves, result_moves):
            if (_mixes(a) and _mixes(b)) or (a.name == b.name and "reversed" in a.name):
                for when in (False, True) if offered.batch_first else (False,):
                    yield moved(source, a, batch_first=when) + moved(result, b, batch_first=when)
