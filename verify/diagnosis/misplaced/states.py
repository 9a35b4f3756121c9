"""Initial and final states: not read, those of others, or of another step; their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from ....reference.cell import State
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...cases.options import Options
from ...mutants import Change
from ...mutants.gradient import gives
from ...mutants.parts import returns, some, takes
from ...mutants.replaceable_layer import At, ReadStatePart, ReplaceableLayer, UnrollPart
from ...numbers.tape import instead, plain
from ...subjects.protocol import Inputs
from ..formulas.activations import OF_ROWS
from ..hypotheses import Hypothesis
from .moves import move_final, move_initial, state_groups
from .passes import ALWAYS, LEVELS, OTHERS, Other, Pass

Here = Callable[[Pass], bool]
"""Whether something is so in a pass."""


def states(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield initial states that are not read, and states in each other's place."""
    for where, (here, needs) in LEVELS.items():
        for words, which in _each(family) if not offered.missing(needs) else ():
            verb = "are" if len(which) > 1 else "is"
            there = " there" if where else ""
            yield Hypothesis(
                (f"initial {words} not read{where}",),
                (f"The initial {words} {verb} not read{where}: every call starts from zeros"
                 f"{there}.",),
                (_not_read(which, here),), (f"start from the initial {words} that {verb} given",),
                ("carry", "forward"),
            )  # fmt: skip
    orders = {
        "c and h in the place of h and c": (1, 0),
        "h in the place of c, too": (0, 0),
        "c in the place of h, too": (1, 1),
    }
    for (words, order), kind in product(orders.items(), ("initial", "final")):
        if family == "lstm":
            yield Hypothesis(
                (f"{kind} states {order}",), (f"The {kind} states are {words}.",),
                (_exchanged(kind, order),), (f"keep the {kind} states apart: h first, then c",),
                ("carry", "forward"),
            )  # fmt: skip


def _each(family: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the states that may be concerned, each by its name."""
    for words, which in state_groups(family).items():
        yield words.replace("states", "hidden state and cell state"), which


def _not_read(which: Sequence[int], here: Here) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        passes = product(range(layer.case.layers), (False, True)[: layer.case.directions])
        keep = np.array([not here(Pass(*each)) for each in passes])[:, None, None]

        def given(inputs: Inputs) -> Inputs:
            mask = keep.astype(inputs.x.dtype)
            return replace(
                inputs, state=inputs.state and some(inputs.state, which, lambda s: s * mask)
            )

        takes(layer, given)

    return change


def _exchanged(kind: str, order: tuple[int, int]) -> Change:
    """Return the change by which initial or final states stand in another order."""

    def ordered(states: State) -> State:
        return tuple(states[k] for k in order)

    if kind == "final":
        return lambda layer: returns(
            layer, lambda result: replace(result, final=ordered(result.final))
        )
    return lambda layer: takes(
        layer, lambda given: replace(given, state=given.state and ordered(given.state))
    )


def other_starts(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield states that start from a constant where none is given, or from one more than given."""
    for words, which in state_groups(family).items():
        verb = "start" if words == "states" else "starts"
        for value in STARTS if offered.default_state else ():
            yield Hypothesis(
                (f"{words} from {value:g}",),
                (f"Without an initial state, the {words} {verb} from {value:g} instead of 0.",),
                (partial(_starting, which, value, always=False),),
                ("start from zeros where no state is given",), ("none-is-zeros", "forward"),
            )  # fmt: skip
        for value in EPSILONS:
            yield Hypothesis(
                (f"initial {words} + {value:g}",),
                (f"{value:g} is added to the initial {words}, given or not.",),
                (partial(_starting, which, value, always=True),),
                ("start from the state that is given: mask what has no logarithm, and add "
                 "nothing",), ("forward",),
            )  # fmt: skip


STARTS = (1.0, -1.0, 0.5, 0.1, 0.01)
EPSILONS = tuple(10.0**-k for k in range(2, 13))
"""Constants that states may start from, and small ones that may be added to them."""


def _starting(which: Sequence[int], value: float, layer: ReplaceableLayer, *, always: bool) -> None:
    def started(right: ReadStatePart, state: State | None, x: Array) -> State:
        add = value if always or state is None else 0.0
        return some(right(state, x), which, lambda s: s + np.asarray(add, s.dtype))

    layer.wrap("read_state", started)


def without_gradient(family: str) -> Iterator[Hypothesis]:
    """Yield initial states whose gradient is 0."""

    def change(which: Sequence[int], layer: ReplaceableLayer) -> None:
        gives(layer, lambda pulled: replace(
            pulled, initial=some(pulled.initial, which, lambda d: 0 * d)))  # fmt: skip

    for words, which in _each(family):
        yield Hypothesis(
            (f"no gradient of the initial {words}",),
            (f"The gradient of the initial {words} is 0.",), (partial(change, which),),
            ("return the cotangent that is left after the first step: look for a detach",),
            ("gradient",),
        )  # fmt: skip


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
            (_from_pass(kind, other, here),),
            (f"keep the {kind} states of layers and directions apart: entry layer * directions + "
             "direction",),
            ("forward",),
            needs=options,
        )  # fmt: skip


def _from_pass(kind: str, other: Other, here: Here) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        layers, directions = layer.case.layers, layer.case.directions
        index = []
        for level, direction in product(range(layers), range(directions)):
            own = Pass(level, bool(direction))
            read = (other.where(own, layers) if here(own) else None) or own
            taken = read if read.level < layers and read.backward < directions else own
            index.append(taken.level * directions + taken.backward)
        move = move_initial if kind == "initial" else move_final
        move((0, 1), layer, lambda a: a[index])

    return change


def of_other_rows(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield rows that start from the state of another row, or of all of them.

    Gradients go where the state came from, or by hand to each row's own.
    """
    for (words, which), (function, (rows, said)), followed in product(
        state_groups(family).items(), OF_ROWS.items() if offered.state else (), (True, False)
    ):
        own = "" if followed else "; its gradient is returned as if each row had its own"
        verb = "are" if words == "states" else "is"
        told = said.replace("that of", "those of") if words == "states" else said
        yield Hypothesis(
            (f"initial {words} by {function}{'' if followed else ', gradients apart'}",),
            (f"The initial {words} that {verb} read {verb} {told.rstrip(',')}{own}.",),
            (partial(_started, rows, which, followed),),
            ("start every row from its own state: s[:, k] for row k",),
            ("batch-permutation", "batch-single", "forward"),
        )  # fmt: skip


def _started(
    rows: Callable[[Array], Array], which: Sequence[int], followed: bool, layer: ReplaceableLayer
) -> None:
    def taken(s: Array) -> Array:
        return rows(s) if followed else instead(s, rows(plain(s)))

    takes(layer, lambda given: replace(
        given, state=given.state and some(given.state, which, taken)))  # fmt: skip


def carried_over(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield passes that start from where the one before them ended, in a loop without a reset."""
    ways: dict[str, tuple[Callable[[At], bool], tuple[str, ...]]] = {
        "The backward direction starts from the forward direction's final {}": (
            lambda at: at.direction > 0, ("bidirectional",)),
        "Every layer above the lowest starts from the final {} of the layer below it": (
            lambda at: at.level > 0, ("layers",)),
        "Every layer and direction starts from the final {} of the one before it": (
            lambda at: True, ("layers", "bidirectional")),
    }  # fmt: skip
    for (words, (here, needs)), (names, which), given in product(
        ways.items(), state_groups(family).items(), (True, False)
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


def _carried(here: Callable[[At], bool], which: Sequence[int], *, given: bool) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        ends: dict[tuple[int, int], State] = {}

        def unroll(right: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
            last = layer.case.directions - 1
            before = (at.level, 0) if at.direction else (at.level - 1, at.direction or last)
            if here(at) and before in ends and (given or layer.given.state is None):
                start = tuple(ends[before][k] if k in which else s for k, s in enumerate(at.start))
                at = replace(at, start=start)
            y, final = right(at, p, x)
            ends[at.level, at.direction] = final
            return y, final

        def begun(inputs: Inputs) -> Inputs:
            ends.clear()
            return inputs

        layer.wrap("unroll", unroll)
        takes(layer, begun)

    return change


def ends_elsewhere(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield final states that are those of another step."""
    whens = {"after the first step": 1, "before the last step": -2, "before the first step": 0}
    for (state, which), (where, (here, needs)), (when, index) in product(
        state_groups(family).items(), LEVELS.items(), whens.items()
    ):
        if offered.missing(needs):
            continue
        verb = "are those" if state == "states" else "is that"
        yield Hypothesis(
            (f"final {state} {when}{where}",),
            (f"The final {state} {verb} {when}{where}, not after the last.",),
            (partial(_ends_at, which, here, index),),
            ("return the state after the last step that each direction computes",),
            ("final", "forward"),
        )  # fmt: skip


def _ends_at(which: Sequence[int], here: Here, index: int, layer: ReplaceableLayer) -> None:
    """Let the final state of a pass be that of another step."""

    def unroll(right: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        y, final = right(at, p, x)
        count = len(x)
        if not here(Pass(at.level, bool(at.direction))) or count == 0:
            return y, final
        lengths = np.full(x.shape[1], count) if at.lengths is None else at.lengths
        wanted = np.minimum(index, lengths) if index >= 0 else np.maximum(lengths - 1, 0)
        _, other = right(replace(at, lengths=wanted), p, x)
        states = enumerate(zip(final, other, strict=True))
        return y, tuple(o if k in which else s for k, (s, o) in states)

    layer.wrap("unroll", unroll)
