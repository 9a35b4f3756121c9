"""Right numbers in the wrong place: entries of another row, step, layer, direction or axis.

The hypotheses are generated: every way of moving entries along the axes of what goes into a layer
and comes out of it. Reading parameters of another pass is in ``passes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, permutations, product

import numpy as np

from ....reference.cell import State
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...cases.options import Options
from ...mutants import Change
from ...mutants.replaceable_layer import At, ReplaceableLayer
from ...numbers.tape import instead, plain, rearranged
from ...subjects.protocol import Cotangents, Inputs, Pulled, Result, Subject
from ..formulas.activations import OF_ROWS
from ..gradients.detached import ends
from ..hypotheses import Hypothesis
from .passes import ALWAYS, LEVELS, OTHERS, Pass
from .slots import biases, terms

Shift = Callable[[Array], Array]
"""Move entries of an array; its shape stays."""

Split = Callable[[ReplaceableLayer, Array], tuple[int, ...]]
"""The shape of an array with more axes than it has."""


@dataclass(frozen=True)
class Move:
    """A way of taking entries from other places, as a predicate in words; what to do instead."""

    name: str
    words: str
    fix: str
    function: Callable[[Array, ReplaceableLayer], Array]


@dataclass(frozen=True)
class Axis:
    """An axis of an array, in the plural and in the singular."""

    plural: str
    singular: str


STEPS, ROWS = Axis("steps", "step"), Axis("rows", "row")
FEATURES, UNITS = Axis("features", "feature"), Axis("units", "unit")
LAYERS, DIRECTIONS = Axis("layers", "layer"), Axis("directions", "direction")
PASSES = Axis("layers and directions", "layer or direction")


def named_axes(axes: Sequence[Axis]) -> str:
    """Return axes as a shape in words."""
    return f"({', '.join(axis.plural for axis in axes)})"


def permuted(
    axes: Sequence[Axis],
    split: Split,
    name: str,
    apart: int = -1,
) -> Iterator[Move]:
    """Yield every reshape in the place of a transposition.

    ``split`` is the shape with all axes; the axis ``apart`` and the next are one in the array
    itself, and orders in which they stay together are those of the array's own axes.
    """
    for order in permutations(range(len(axes))):
        together = (apart, apart + 1) in pairwise(order)
        if order == tuple(range(len(axes))) or together:
            continue
        other = [axes[k] for k in order]
        back = tuple(int(k) for k in np.argsort(order))

        def laid(a: Array, layer: ReplaceableLayer, order: tuple[int, ...] = order) -> Array:
            return a.reshape(split(layer, a)).transpose(order).reshape(a.shape)

        def viewed(
            a: Array,
            layer: ReplaceableLayer,
            order: tuple[int, ...] = order,
            back: tuple[int, ...] = back,
        ) -> Array:
            shape = split(layer, a)
            return a.reshape([shape[k] for k in order]).transpose(back).reshape(a.shape)

        mixed = " with ".join(axes[k].plural for k in range(len(axes)) if order[k] != k)
        fix = f"exchange the axes by a transposition (permute, swapaxes), not by a reshape: {mixed}"
        yield Move(
            f"{name} laid {order}",
            f"{{is}} laid out as {named_axes(other)} and reshaped to {named_axes(axes)}, "
            "not transposed to it",
            fix,
            laid,
        )
        yield Move(
            f"{name} viewed {order}",
            f"{{is}} reshaped to {named_axes(other)}, not transposed to it",
            fix,
            viewed,
        )


def along(axis: Axis, number: int, split: Split | None = None) -> Iterator[Move]:
    """Yield flips, shifts and repetitions along an axis; of the shape ``split``, if it is given."""

    def moved(function: Shift) -> Callable[[Array, ReplaceableLayer], Array]:
        def move(a: Array, layer: ReplaceableLayer) -> Array:
            whole = a.reshape(split(layer, a)) if split else a
            if whole.shape[number] == 0:
                return a
            front = np.moveaxis(whole, number, 0)
            return np.moveaxis(function(front), 0, number).reshape(a.shape)

        return move

    plural, one = axis.plural, axis.singular
    yield Move(
        f"{plural} reversed", f"{{is}} in the reverse order of the {plural}",
        f"leave the {plural} in their order", moved(lambda a: a[::-1]),
    )  # fmt: skip
    for sign, word in ((1, "previous"), (-1, "next")):
        fix = f"take each {one}'s own"
        yield Move(
            f"{plural} rolled {sign}",
            f"{{is}} taken from the {word} {one} (the {'first' if sign > 0 else 'last'} from the "
            f"{'last' if sign > 0 else 'first'})",
            fix, moved(lambda a, sign=sign: np.roll(a, sign, 0)),  # type: ignore[misc]
        )  # fmt: skip
        yield Move(
            f"{plural} shifted {sign}",
            f"{{is}} taken from the {word} {one} where there is one",
            fix, moved(lambda a, sign=sign: _shifted(a, sign)),  # type: ignore[misc]
        )  # fmt: skip
    for index, word in ((0, "first"), (-1, "last")):
        yield Move(
            f"{plural} all {word}", f"{{is}} that of the {word} {one} for all {plural}",
            f"take each {one}'s own",
            moved(lambda a, index=index: a[[index] * len(a)]),  # type: ignore[misc]
        )  # fmt: skip


def _shifted(a: Array, sign: int) -> Array:
    return np.concatenate([a[:1], a[:-1]]) if sign > 0 else np.concatenate([a[1:], a[-1:]])


def strides(name: str) -> Iterator[Move]:
    """Yield rows that are read from memory at the stride of something else."""
    sizes: dict[str, Callable[[ReplaceableLayer], int]] = {
        "the number of input features": lambda layer: layer.case.D,
        "the number of hidden units": lambda layer: layer.case.H,
        "the number of rows": lambda layer: layer.case.B,
        "the number of steps": lambda layer: layer.case.T,
        "one": lambda layer: 1,
    }
    for words, size in sizes.items():

        def move(
            a: Array, layer: ReplaceableLayer, size: Callable[[ReplaceableLayer], int] = size
        ) -> Array:
            width = a.shape[-1]
            place = np.arange(int(np.prod(a.shape[:-1])))[:, None] * size(layer) + np.arange(width)
            return a.reshape(-1)[place % max(a.size, 1)].reshape(a.shape)

        yield Move(
            f"{name} stride of {words}",
            f"{{is}} read from memory row after row at a stride of {words}, not of its own width",
            "step from row to row by the width of the array that is read",
            move,
        )


def by_direction(layer: ReplaceableLayer, a: Array) -> tuple[int, ...]:
    """Return the shape of states with an axis for layers and one for directions."""
    return (layer.case.layers, layer.case.directions, *a.shape[1:])


def halves(layer: ReplaceableLayer, a: Array) -> tuple[int, ...]:
    """Return the shape of outputs with an axis for directions."""
    return (*a.shape[:-1], layer.case.directions, a.shape[-1] // layer.case.directions)


def own_shape(layer: ReplaceableLayer, a: Array) -> tuple[int, ...]:
    """Return the array's own shape."""
    return tuple(a.shape)


@dataclass(frozen=True)
class Target:
    """Something that entries can be moved in: what it is called, and how a layer is changed.

    ``move`` takes a layer and a function of one of its arrays.
    """

    name: str
    phrase: str
    verb: str
    move: Callable[[ReplaceableLayer, Callable[[Array], Array]], None]
    part: str


def wrap(layer: ReplaceableLayer, part: str, function: Callable[..., object]) -> None:
    """Put a function in the place of a part; its first argument is the part as it was."""
    right = getattr(layer, part)
    setattr(layer, part, lambda *given: function(right, *given))


def _input(layer: ReplaceableLayer, function: Shift) -> None:
    def run(right: Callable[[Inputs], Result], inputs: Inputs) -> Result:
        return right(replace(inputs, x=rearranged(inputs.x, function)))

    wrap(layer, "run", run)


def _outputs(layer: ReplaceableLayer, function: Shift) -> None:
    def run(right: Callable[[Inputs], Result], inputs: Inputs) -> Result:
        result = right(inputs)
        return replace(result, y=rearranged(result.y, function))

    wrap(layer, "run", run)


def _of(states: State, which: int | None, function: Shift) -> State:
    return tuple(rearranged(s, function) if which in (None, k) else s for k, s in enumerate(states))


def _final(which: int | None) -> Callable[[ReplaceableLayer, Shift], None]:
    def move(layer: ReplaceableLayer, function: Shift) -> None:
        def run(right: Callable[[Inputs], Result], inputs: Inputs) -> Result:
            result = right(inputs)
            return replace(result, final=_of(result.final, which, function))

        wrap(layer, "run", run)

    return move


def _initial(which: int | None) -> Callable[[ReplaceableLayer, Shift], None]:
    def move(layer: ReplaceableLayer, function: Shift) -> None:
        def run(right: Callable[[Inputs], Result], inputs: Inputs) -> Result:
            given = inputs.state
            return right(replace(inputs, state=given and _of(given, which, function)))

        wrap(layer, "run", run)

    return move


def _of_cotangents(layer: ReplaceableLayer, function: Shift) -> None:
    def read(right: Callable[[Cotangents], Cotangents], given: Cotangents) -> Cotangents:
        dy, dfinal = right(given)
        return dy if dy is None else function(dy), dfinal

    wrap(layer, "read_cotangents", read)


def _of_final_cotangents(which: int | None) -> Callable[[ReplaceableLayer, Shift], None]:
    def move(layer: ReplaceableLayer, function: Shift) -> None:
        def read(right: Callable[[Cotangents], Cotangents], given: Cotangents) -> Cotangents:
            dy, dfinal = right(given)
            return dy, tuple(
                d if d is None or which not in (None, k) else function(d)
                for k, d in enumerate(dfinal)
            )

        wrap(layer, "read_cotangents", read)

    return move


def _input_gradient(layer: ReplaceableLayer, function: Shift) -> None:
    def give(right: Callable[..., Pulled], pulled: Pulled, given: Cotangents) -> Pulled:
        result = right(pulled, given)
        return replace(result, x=function(result.x))

    wrap(layer, "give_gradients", give)


def _initial_gradient(which: int | None) -> Callable[[ReplaceableLayer, Shift], None]:
    def move(layer: ReplaceableLayer, function: Shift) -> None:
        def give(right: Callable[..., Pulled], pulled: Pulled, given: Cotangents) -> Pulled:
            result = right(pulled, given)
            initial = tuple(
                function(d) if which in (None, k) else d for k, d in enumerate(result.initial)
            )
            return replace(result, initial=initial)

        wrap(layer, "give_gradients", give)

    return move


def targets(family: str) -> Iterator[tuple[Target, tuple[Move, ...]]]:
    """Yield everything that goes in and comes out, with the ways of moving entries of it."""
    x = (STEPS, ROWS, FEATURES)
    sequence = (
        *permuted(x, own_shape, "x"), *along(STEPS, 0), *along(ROWS, 1), *along(FEATURES, 2),
        *strides("x"),
    )  # fmt: skip
    y = (STEPS, ROWS, UNITS)
    outputs = (
        *permuted(y, own_shape, "y"), *along(DIRECTIONS, 2, halves),
        *permuted((*y[:2], DIRECTIONS, UNITS), halves, "halves of y", 2),
        *along(STEPS, 0), *along(ROWS, 1), *along(UNITS, 2), *strides("y"),
    )  # fmt: skip
    passes = (PASSES, ROWS, UNITS)
    states = (
        *permuted(passes, own_shape, "states"),
        *permuted((LAYERS, DIRECTIONS, *passes[1:]), by_direction, "states by direction", 0),
        *along(LAYERS, 0, by_direction), *along(DIRECTIONS, 1, by_direction), *along(PASSES, 0),
        *along(ROWS, 1), *along(UNITS, 2), *strides("states"),
    )  # fmt: skip
    yield Target("x", "The input x", "is", _input, "outputs"), sequence
    yield Target("y", "The outputs y", "are", _outputs, "outputs"), outputs
    several = [(None, "states")] if family == "lstm" else []
    kinds = [*several, (0, "hidden state"), *([(1, "cell state")] if several else [])]
    for which, words in kinds:
        verb = "is" if words.endswith("state") else "are"
        many = {
            "final": _final, "initial": _initial, "gradient of the final": _of_final_cotangents,
            "gradient of the initial": _initial_gradient,
        }  # fmt: skip
        for kind, move in many.items():
            part = "gradients" if kind.startswith("gradient") else "outputs"
            name = f"{kind} {words}"
            read = " that is read" if kind == "gradient of the final" else ""
            told = "is" if part == "gradients" else verb
            yield Target(name, f"The {name}{read}", told, move(which), part), states
    yield (
        Target("dy", "The gradient of the outputs that is read", "is", _of_cotangents, "gradients"),
        outputs,
    )
    yield Target("dx", "The gradient of x", "is", _input_gradient, "gradients"), sequence


def moved(target: Target, move: Move, *, batch_first: bool = False) -> Hypothesis:
    """Return the hypothesis that entries of a target are moved, always or if batch-first."""

    def change(layer: ReplaceableLayer) -> None:
        if batch_first and layer.case.layout != "batch-first":
            return
        target.move(layer, lambda a: move.function(a, layer))

    words = move.words.replace("{is}", target.verb)
    when = "With batch-first input, t" if batch_first else "T"
    statement = f"{when}{target.phrase[1:]} {words}."
    return Hypothesis(
        (f"{target.name}: {move.name}{' if batch-first' if batch_first else ''}",),
        (statement,), (change,), (move.fix,),
        ("gradient" if target.part == "gradients" else "forward",),
    )  # fmt: skip


def places(subject: Subject, *, gradients: bool) -> Iterator[Hypothesis]:
    """Yield every way in which right numbers may stand in the wrong place.

    With ``gradients``: gradients alone; without: outputs, and what they are computed from.
    """
    family = subject.cells[0].partition("-")[0]
    offered = subject.options
    part = "gradients" if gradients else "outputs"
    known = [pair for pair in targets(family) if pair[0].part == part]
    if gradients:
        yield from _no_gradient(("hidden", "cell") if family == "lstm" else ("hidden",))
    else:
        yield from states(family, offered)
        yield from of_other_passes(offered)
        yield from between(offered)
        yield from steps(family, offered)
        yield from ends(offered)
        yield from biases(subject)
        yield from terms(subject)
        yield from carried_over(family, offered)
        yield from starts_of_other_rows(family, offered)
        yield from sorted_rows(offered)
    for target, every in known:
        moves = [m for m in every if offered.bidirectional or not m.name.startswith("halves")]
        yield from (moved(target, move) for move in moves)
        if offered.batch_first:
            yield from (moved(target, move, batch_first=True) for move in moves
                        if "(1, 0, 2)" in move.name)  # fmt: skip
    if not gradients:
        yield from _both(known, offered)


def _both(
    known: Sequence[tuple[Target, tuple[Move, ...]]], offered: Options
) -> Iterator[Hypothesis]:
    """Yield what goes in and what comes out, both with two axes mixed or an axis reversed."""
    by_name = {target.name: (target, moves) for target, moves in known}
    whole = "states" if "final states" in by_name else "hidden state"
    for first, second in (("x", "y"), (f"initial {whole}", f"final {whole}")):
        (one, mine), (other, others) = by_name[first], by_name[second]
        for a, b in product(mine, others):
            mixed = all("(1, 0, 2)" in m.name for m in (a, b))
            if mixed or (a.name == b.name and "reversed" in a.name):
                yield moved(one, a) + moved(other, b)
                if offered.batch_first:
                    both = moved(one, a, batch_first=True), moved(other, b, batch_first=True)
                    yield both[0] + both[1]


# Initial and final states.


WHERES: dict[str, tuple[Callable[[int, int], bool], tuple[str, ...]]] = {
    "": (lambda level, direction: True, ()),
    " above the lowest layer": (lambda level, direction: level > 0, ("layers",)),
    " in the backward direction": (lambda level, direction: direction > 0, ("bidirectional",)),
    " in the lowest layer": (lambda level, direction: level == 0, ("layers",)),
    " in the forward direction": (lambda level, direction: direction == 0, ("bidirectional",)),
}
"""Where something is so, whether a level and direction are there, and the options it is about."""


def states(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield initial states that are not read, and states in each other's place."""
    names = ("hidden", "cell") if family == "lstm" else ("hidden",)
    kinds = [tuple(range(len(names))), *([(0,), (1,)] if len(names) > 1 else [])]
    for where, (here, needs) in WHERES.items():
        for kind in kinds if not offered.missing(needs) else ():
            words = " and ".join(f"{names[k]} state" for k in kind)
            yield _not_read(words, where, kind, here)
    if len(names) > 1:
        yield from _exchanged()


def of_other_passes(offered: Options) -> Iterator[Hypothesis]:
    """Yield initial and final states that are those of another layer or direction."""
    for kind, other, (where, (here, needs)) in product(
        ("initial", "final"), OTHERS, LEVELS.items()
    ):
        options = (other.needs, *(() if where in ALWAYS else needs))
        if offered.missing((other.needs, *needs)):
            continue
        words = other.words.format(f"the {kind} states").replace(
            ", where the shapes are the same", where
        )
        words = words if where in words else f"{words.removesuffix('.')}{where}."
        yield Hypothesis(
            (f"{kind} states: {words}",),
            (words if kind == "initial" else words.replace(" reads ", " returns "),),
            (_from_pass(kind, other.where, here),),
            (f"keep the {kind} states of layers and directions apart: entry layer * directions + "
             "direction",),
            ("forward",),
            needs=options,
        )  # fmt: skip


def starts_of_other_rows(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield rows that start from the state of another row, or of all of them.

    Gradients go where the state came from, or by hand to each row's own.
    """
    kinds: dict[str, tuple[int, ...]] = {"hidden state": (0,)}
    if family == "lstm":
        kinds = {"states": (0, 1), "hidden state": (0,), "cell state": (1,)}
    for (words, which), (function, (rows, said)), followed in product(
        kinds.items(), OF_ROWS.items() if offered.state else (), (True, False)
    ):
        own = "" if followed else "; its gradient is returned as if each row had its own"
        verb = "are" if words == "states" else "is"
        told = said.replace("that of", "those of") if words == "states" else said
        yield Hypothesis(
            (f"initial {words} by {function}{'' if followed else ', gradients apart'}",),
            (f"The initial {words} that {verb} read {verb} {told.rstrip(',')}{own}.",),
            (_started(rows, which, followed=followed),),
            ("start every row from its own state: s[:, k] for row k",),
            ("batch-permutation", "batch-single", "forward"),
        )  # fmt: skip


def _started(rows: Callable[[Array], Array], which: tuple[int, ...], *, followed: bool) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        def taken(s: Array) -> Array:
            return rows(s) if followed else instead(s, rows(plain(s)))

        def run(right: Callable[[Inputs], Result], inputs: Inputs) -> Result:
            state = inputs.state and tuple(
                taken(s) if k in which else s for k, s in enumerate(inputs.state)
            )
            return right(replace(inputs, state=state))

        wrap(layer, "run", run)

    return change


def carried_over(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield passes that start from where the one before them ended, in a loop without a reset."""
    kinds: dict[str, tuple[int, ...]] = {"hidden state": (0,)}
    if family == "lstm":
        kinds = {"states": (0, 1), "hidden state": (0,), "cell state": (1,)}
    ways = {
        "The backward direction starts from the forward direction's final {}": (
            lambda at: at.direction > 0, ("bidirectional",)),
        "Every layer above the lowest starts from the final {} of the layer below it": (
            lambda at: at.level > 0, ("layers",)),
        "Every layer and direction starts from the final {} of the one before it": (
            lambda at: True, ("layers", "bidirectional")),
    }  # fmt: skip
    for (words, (here, needs)), (names, which), given in product(
        ways.items(), kinds.items(), (True, False)
    ):
        if offered.missing(needs) or not (given or offered.default_state):
            continue
        always = " instead of its own initial state" if given else ", where no state is given"
        statement = f"{words.format(names)}{always}."
        yield Hypothesis(
            (statement.rstrip("."),), (statement,), (_carried(here, which, given=given),),
            ("start every layer and direction from its own initial state, layer * directions + "
             "direction, or from zeros",), ("direction", "forward"), needs=needs[:1],
        )  # fmt: skip


def _carried(here: Callable[[At], bool], which: tuple[int, ...], *, given: bool) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        ends: dict[tuple[int, int], State] = {}

        def unroll(
            right: Callable[..., tuple[Array, State]], at: At, p: Parameters, x: Array
        ) -> tuple[Array, State]:
            last = layer.case.directions - 1
            before = (at.level, 0) if at.direction else (at.level - 1, at.direction or last)
            if here(at) and before in ends and (given or layer.given.state is None):
                start = tuple(ends[before][k] if k in which else s for k, s in enumerate(at.start))
                at = replace(at, start=start)
            y, final = right(at, p, x)
            ends[at.level, at.direction] = final
            return y, final

        def run(right: Callable[[Inputs], Result], inputs: Inputs) -> Result:
            ends.clear()
            return right(inputs)

        wrap(layer, "unroll", unroll)
        wrap(layer, "run", run)

    return change


def _from_pass(
    kind: str, where: Callable[[Pass, int], Pass | None], here: Callable[[Pass], bool]
) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        layers, directions = layer.case.layers, layer.case.directions
        index = []
        for level, direction in product(range(layers), range(directions)):
            own = Pass(level, bool(direction))
            other = (where(own, layers) if here(own) else None) or own
            there = other.level < layers and other.backward < directions
            taken = other if there else own
            index.append(taken.level * directions + taken.backward)
        move = _initial(None) if kind == "initial" else _final(None)
        move(layer, lambda a: a[index])

    return change


def _not_read(
    words: str, where: str, kind: tuple[int, ...], here: Callable[[int, int], bool]
) -> Hypothesis:
    def change(layer: ReplaceableLayer) -> None:
        def run(right: Callable[[Inputs], Result], inputs: Inputs) -> Result:
            if inputs.state is None:
                return right(inputs)
            passes = product(range(layer.case.layers), range(layer.case.directions))
            keep = np.array([not here(*each) for each in passes], inputs.x.dtype)[:, None, None]
            given = tuple(s * keep if k in kind else s for k, s in enumerate(inputs.state))
            return right(replace(inputs, state=given))

        wrap(layer, "run", run)

    verb = "are" if len(kind) > 1 else "is"
    return Hypothesis(
        (f"initial {words} not read{where}",),
        (f"The initial {words} {verb} not read{where}: every call starts from zeros there."
         if where else f"The initial {words} {verb} not read: every call starts from zeros.",),
        (change,),
        (f"start from the initial {words} that {verb} given",),
        ("carry", "forward"),
    )  # fmt: skip


def _exchanged() -> Iterator[Hypothesis]:
    """Yield the initial and final states of an LSTM in each other's place."""
    orders = {
        "c and h in the place of h and c": (1, 0),
        "h in the place of c, too": (0, 0),
        "c in the place of h, too": (1, 1),
    }
    for words, order in orders.items():
        for kind in ("initial", "final"):

            def change(
                layer: ReplaceableLayer, kind: str = kind, order: tuple[int, int] = order
            ) -> None:
                def run(right: Callable[[Inputs], Result], inputs: Inputs) -> Result:
                    if kind == "initial" and inputs.state is not None:
                        given = tuple(inputs.state[k] for k in order)
                        return right(replace(inputs, state=given))
                    result = right(inputs)
                    if kind == "final":
                        return replace(result, final=tuple(result.final[k] for k in order))
                    return result

                wrap(layer, "run", run)

            yield Hypothesis(
                (f"{kind} states {order}",), (f"The {kind} states are {words}.",), (change,),
                (f"keep the {kind} states apart: h first, then c",), ("carry", "forward"),
            )  # fmt: skip


def _no_gradient(names: Sequence[str]) -> Iterator[Hypothesis]:
    kinds = [tuple(range(len(names))), *([(0,), (1,)] if len(names) > 1 else [])]
    for kind in kinds:
        words = " and ".join(f"{names[k]} state" for k in kind)

        def change(layer: ReplaceableLayer, kind: tuple[int, ...] = kind) -> None:
            def give(right: Callable[..., Pulled], pulled: Pulled, given: Cotangents) -> Pulled:
                result = right(pulled, given)
                initial = (0 * d if k in kind else d for k, d in enumerate(result.initial))
                return replace(result, initial=tuple(initial))

            wrap(layer, "give_gradients", give)

        yield Hypothesis(
            (f"no gradient of the initial {words}",),
            (f"The gradient of the initial {words} is 0.",), (change,),
            ("return the cotangent that is left after the first step: look for a detach",),
            ("gradient",),
        )  # fmt: skip


# What one layer hands to the next.


def between(offered: Options) -> Iterator[Hypothesis]:
    """Yield what goes wrong between layers: x again, directions side by side in another order."""
    if offered.layers:
        yield Hypothesis(
            ("x in every layer",),
            ("Every layer reads x, where the shapes are the same, not the outputs of the layer "
             "below it.",),
            (_x_again,), ("give each layer the outputs of the one below it",), ("forward",),
            needs=("layers",),
        )  # fmt: skip
    exchange = next(m.function for m in along(DIRECTIONS, 2, halves) if "reversed" in m.name)
    wheres = {"": (True, True), " on the way to the next layer": (True, False)}
    for where, (inside, outside) in wheres.items():

        def change(layer: ReplaceableLayer, inside: bool = inside, outside: bool = outside) -> None:
            def drop(right: Callable[[Array], Array], y: Array) -> Array:
                return rearranged(right(y), lambda a: exchange(a, layer))

            if inside:
                wrap(layer, "drop", drop)
            if outside:
                _outputs(layer, lambda a: exchange(a, layer))

        if not offered.missing(("bidirectional", "layers")):
            yield Hypothesis(
                (f"directions exchanged{where}",),
                ("The outputs of the backward direction stand before those of the forward "
                 f"direction{where}.",),
                (change,), ("put the forward direction's outputs first",), ("forward",),
                needs=("bidirectional",),
            )  # fmt: skip


def _x_again(layer: ReplaceableLayer) -> None:
    given: list[Array] = []

    def run(right: Callable[[Inputs], Result], inputs: Inputs) -> Result:
        given[:] = [inputs.x]
        return right(inputs)

    def drop(right: Callable[[Array], Array], y: Array) -> Array:
        return right(given[0] if given[0].shape == y.shape else y)

    wrap(layer, "run", run)
    wrap(layer, "drop", drop)


# Steps: what is shown and kept, before or after.


def steps(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield outputs and final states of another step, or of another state."""
    yield Hypothesis(
        ("y before the step",),
        ("The output of each step is the hidden state before it, not after it.",),
        (lambda layer: wrap(layer, "show", lambda right, at, new, old: right(at, old, old)),),
        ("append h to the outputs after it is updated",), ("forward",),
    )  # fmt: skip
    if family == "lstm":
        yield Hypothesis(
            ("y is c",),
            ("The outputs are the cell states, not the hidden states.",),
            (lambda layer: wrap(layer, "show", lambda right, at, new, old:
                                right(at, new[::-1], old[::-1])),),
            ("append h to the outputs, not c",), ("forward",),
        )  # fmt: skip
    kinds = {"final states": None, "final hidden state": 0}
    if family == "lstm":
        kinds["final cell state"] = 1
    else:
        del kinds["final states"]
    whens = {"after the first step": 1, "before the last step": -2, "before the first step": 0}
    for (words, which), (where, (here, needs)), (when, index) in product(
        kinds.items(), WHERES.items(), whens.items()
    ):
        if offered.missing(needs):
            continue
        verb = "are those" if words.endswith("states") else "is that"
        yield Hypothesis(
            (f"{words} {when}{where}",),
            (f"The {words} {verb} {when}{where}, not after the last.",),
            (_ends_at(which, here, index),),
            ("return the state after the last step that each direction computes",),
            ("final", "forward"),
        )  # fmt: skip


def _ends_at(which: int | None, here: Callable[[int, int], bool], index: int) -> Change:
    """Return the change by which the final state of a pass is that of another step."""

    def change(layer: ReplaceableLayer) -> None:
        def unroll(
            right: Callable[..., tuple[Array, State]], at: At, p: Parameters, x: Array
        ) -> tuple[Array, State]:
            y, final = right(at, p, x)
            count = len(x)
            if not here(at.level, at.direction) or count == 0:
                return y, final
            lengths = np.full(x.shape[1], count) if at.lengths is None else at.lengths
            wanted = np.minimum(index, lengths) if index >= 0 else np.maximum(lengths - 1, 0)
            _, other = right(replace(at, lengths=wanted), p, x)
            return y, tuple(
                o if which in (None, k) else s
                for k, (s, o) in enumerate(zip(final, other, strict=True))
            )

        wrap(layer, "unroll", unroll)

    return change


# Rows in the order of their lengths.


def sorted_rows(offered: Options) -> Iterator[Hypothesis]:
    """Yield what is left in the order of the lengths, or put back wrongly."""
    if not offered.lengths:
        return
    orders: dict[str, Callable[[Array], Array]] = {
        "falling": lambda lengths: np.argsort(-lengths, kind="stable"),
        "rising": lambda lengths: np.argsort(lengths, kind="stable"),
        "falling, ties reversed": lambda lengths: np.argsort(lengths, kind="stable")[::-1],
    }
    of_results = {
        "left": ("{} left in the order of the lengths",
                 "put the rows of {} back: index with the inverse permutation, argsort(order)"),
        "twice": ("{} put back by the permutation itself, not by its inverse",
                  "put the rows of {} back with argsort(order), not with order"),
    }  # fmt: skip
    of_start = {
        "left": ("the initial states are not sorted with the rows",
                 "sort the initial states with the rows: s[:, order]"),
        "twice": ("the initial states are sorted by the inverse permutation",
                  "sort the initial states by the same permutation as x"),
    }  # fmt: skip
    ways = ("", "left", "twice")
    for (how, order), y, final, start in product(orders.items(), ways, ways, ways):
        if not (y or final or start):
            continue
        words, fixes = [], []
        results = {"the outputs": y, "the final states": final}
        for way, (sentence, fix) in of_results.items():
            hit = " and ".join(name for name, mine in results.items() if mine == way)
            if hit:
                words.append(sentence.format(f"{hit} are"))
                fixes.append(fix.format(hit))
        if start:
            words.append(of_start[start][0])
            fixes.append(of_start[start][1])
        yield Hypothesis(
            (f"rows by {how} length: y {y or 'right'}, final {final or 'right'}, "
             f"initial {start or 'right'}",),
            (f"Rows are sorted by {how.partition(',')[0]} length, and {'; '.join(words)}.",),
            (_sorted(order, y, final, start),), tuple(fixes), ("lengths", "forward"),
        )  # fmt: skip


def _sorted(order: Callable[[Array], Array], y: str, final: str, start: str) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        def run(right: Callable[[Inputs], Result], inputs: Inputs) -> Result:
            if inputs.lengths is None:
                return right(inputs)
            falling = order(np.asarray(inputs.lengths))
            back = np.argsort(falling)
            index = {"": np.arange(len(back)), "left": falling, "twice": falling[falling]}
            given = inputs.state
            if given is not None:  # seen from the rows as they came, not as they are sorted
                taken = {"": index[""], "left": back, "twice": back[back]}[start]
                given = tuple(s[:, taken] for s in given)
            result = right(replace(inputs, state=given))
            ends = tuple(s[:, index[final]] for s in result.final)
            return Result(result.y[:, index[y]], ends)

        wrap(layer, "run", run)

    return change
