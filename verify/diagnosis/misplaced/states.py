"""Wrong initial and final states: not read, of another pass, row or step; their gradients."""

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
from ...mutants.parts import returns, some, takes, takes_states
from ...mutants.replaceable_layer import At, ReadStatePart, ReplaceableLayer, UnrollPart
from ...numbers.tape import instead, plain
from ...subjects.protocol import Inputs
from ..formulas.activations import OF_ROWS
from ..hypotheses import Hypothesis
from .moves import move_dinitial, move_final, move_initial, state_groups
from .passes import ALWAYS, LEVELS, OTHERS, Other, Pass

PassPredicate = Callable[[Pass], bool]
"""Whether a pass is selected."""


def states(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield hypotheses that initial states are not read, or states exchanged."""
    for where, (selected, needs) in LEVELS.items():
        for words, which in _groups(family) if not offered.missing(needs) else ():
            verb = "are" if len(which) > 1 else "is"
            suffix = " there" if where else ""
            yield Hypothesis(
                (f"initial {words} not read{where}",),
                (f"The initial {words} {verb} not read{where}: every call starts from zeros"
                 f"{suffix}.",),
                (_not_read(which, selected),),
                (f"start from the initial {words} that {verb} given",),
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


def _groups(family: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield groups of states with their names."""
    for words, which in state_groups(family).items():
        yield words.replace("states", "hidden state and cell state"), which


def _not_read(which: Sequence[int], selected: PassPredicate) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        passes = product(range(layer.case.layers), (False, True)[: layer.case.directions])
        keep = np.array([not selected(Pass(*place)) for place in passes], layer.case.number_type)
        takes_states(layer, which, lambda s: s * keep[:, None, None])

    return change


def _exchanged(kind: str, order: tuple[int, int]) -> Change:
    """Return the change that reorders initial or final states."""

    def ordered(states: State) -> State:
        return tuple(states[k] for k in order)

    if kind == "final":
        return lambda layer: returns(
            layer, lambda result: replace(result, final=ordered(result.final))
        )
    return lambda layer: takes(
        layer, lambda inputs: replace(inputs, state=inputs.state and ordered(inputs.state))
    )


def other_starts(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield hypotheses that states start from a constant, or that a constant is added to them."""
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


def states_without_gradient(family: str) -> Iterator[Hypothesis]:
    """Yield hypotheses that the gradient of an initial state is 0."""
    for words, which in _groups(family):
        yield Hypothesis(
            (f"no gradient of the initial {words}",),
            (f"The gradient of the initial {words} is 0.",),
            (partial(move_dinitial, which, function=lambda d: 0 * d),),
            ("return the cotangent that is left after the first step: look for a detach",),
            ("gradient",),
        )  # fmt: skip


def states_of_other_passes(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield hypotheses that initial or final states are those of another layer or direction."""
    for (name, which), kind, wrong_pass, (where, (selected, needs)) in product(
        state_groups(family).items(), ("initial", "final"), OTHERS, LEVELS.items()
    ):
        options = (wrong_pass.needs, *(() if where in ALWAYS else needs))
        if offered.missing((wrong_pass.needs, *needs)):
            continue
        words = wrong_pass.words.format(f"the {kind} {name}").replace(
            ", where the shapes are the same", where
        )
        words = words if where in words else f"{words.removesuffix('.')}{where}."
        yield Hypothesis(
            (f"{kind} {name}: {words}",),
            (words if kind == "initial" else words.replace(" reads ", " returns "),),
            (_from_pass(kind, which, wrong_pass, selected),),
            (f"keep the {kind} states of layers and directions apart: entry layer * directions + "
             "direction",),
            ("forward",),
            needs=options,
        )  # fmt: skip


def _from_pass(
    kind: str, which: Sequence[int], wrong_pass: Other, selected: PassPredicate
) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        layers, directions = layer.case.layers, layer.case.directions
        index = []
        for level, direction in product(range(layers), range(directions)):
            right = Pass(level, bool(direction))
            read = (wrong_pass.where(right, layers) if selected(right) else None) or right
            source = read if read.level < layers and read.backward < directions else right
            index.append(source.level * directions + source.backward)
        move = move_initial if kind == "initial" else move_final
        move(which, layer, lambda a: a[index])

    return change


def states_of_other_rows(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield hypotheses that rows start from the state of another row, or of all rows.

    Gradients go to the state that was read, or to the row's own.
    """
    for (words, which), (function, (rows, phrase)), followed in product(
        state_groups(family).items(), OF_ROWS.items() if offered.state else (), (True, False)
    ):
        clause = "" if followed else "; its gradient is returned as if each row had its own"
        verb = "are" if words == "states" else "is"
        plural_phrase = phrase.replace("that of", "those of") if words == "states" else phrase
        yield Hypothesis(
            (f"initial {words} by {function}{'' if followed else ', gradients apart'}",),
            (f"The initial {words} that {verb} read {verb} {plural_phrase.rstrip(',')}{clause}.",),
            (partial(_start_from, rows, which, followed),),
            ("start every row from its own state: s[:, k] for row k",),
            ("batch-permutation", "batch-single", "forward"),
        )  # fmt: skip


def _start_from(
    rows: Callable[[Array], Array], which: Sequence[int], followed: bool, layer: ReplaceableLayer
) -> None:
    def read(s: Array) -> Array:
        return rows(s) if followed else instead(s, rows(plain(s)))

    takes_states(layer, which, read)


def carried_over(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield hypotheses that passes start from the final state of the pass before them."""
    ways: dict[str, tuple[Callable[[At], bool], tuple[str, ...]]] = {
        "The backward direction starts from the forward direction's final {}": (
            lambda at: at.direction > 0, ("bidirectional",)),
        "Every layer above the lowest starts from the final {} of the layer below it": (
            lambda at: at.level > 0, ("layers",)),
        "Every layer and direction starts from the final {} of the one before it": (
            lambda at: True, ("layers", "bidirectional")),
    }  # fmt: skip
    for (words, (selected, needs)), (names, which), with_state in product(
        ways.items(), state_groups(family).items(), (True, False)
    ):
        if offered.missing(needs) or not (with_state or offered.default_state):
            continue
        always = " instead of its own initial state" if with_state else ", where no state is given"
        statement = f"{words.format(names)}{always}."
        yield Hypothesis(
            (statement.rstrip("."),), (statement,),
            (_carried(selected, which, with_state=with_state),),
            ("start every layer and direction from its own initial state, layer * directions + "
             "direction, or from zeros",), ("direction", "forward"), needs=needs[:1],
        )  # fmt: skip


def _carried(selected: Callable[[At], bool], which: Sequence[int], *, with_state: bool) -> Change:
    def change(layer: ReplaceableLayer) -> None:
        ends: dict[tuple[int, int], State] = {}

        def unroll(right: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
            last = layer.case.directions - 1
            before = (at.level, 0) if at.direction else (at.level - 1, at.direction or last)
            if selected(at) and before in ends and (with_state or layer.inputs.state is None):
                start = tuple(ends[before][k] if k in which else s for k, s in enumerate(at.start))
                at = at._replace(start=start)
            y, final = right(at, p, x)
            ends[at.level, at.direction] = final
            return y, final

        def forget_ends(inputs: Inputs) -> Inputs:
            ends.clear()
            return inputs

        layer.wrap("unroll", unroll)
        takes(layer, forget_ends)

    return change


def ends_elsewhere(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield hypotheses that final states are those of another step."""
    indices = {"after the first step": 1, "before the last step": -2, "before the first step": 0}
    for (state, which), (where, (selected, needs)), (when, index) in product(
        state_groups(family).items(), LEVELS.items(), indices.items()
    ):
        if offered.missing(needs):
            continue
        verb = "are those" if state == "states" else "is that"
        yield Hypothesis(
            (f"final {state} {when}{where}",),
            (f"The final {state} {verb} {when}{where}, not after the last.",),
            (partial(_ends_at, which, selected, index),),
            ("return the state after the last step that each direction computes",),
            ("final", "forward"),
        )  # fmt: skip


def _ends_at(
    which: Sequence[int], selected: PassPredicate, index: int, layer: ReplaceableLayer
) -> None:
    """Let a layer return the state of another step as the final state of a pass."""

    def unroll(right: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        y, final = right(at, p, x)
        count = len(x)
        if not selected(Pass(at.level, bool(at.direction))) or count == 0:
            return y, final
        lengths = np.full(x.shape[1], count) if at.lengths is None else at.lengths
        wanted = np.minimum(index, lengths) if index >= 0 else np.maximum(lengths - 1, 0)
        _, other_states = right(at._replace(lengths=wanted), p, x)
        states = enumerate(zip(final, other_states, strict=True))
        return y, tuple(o if k in which else s for k, (s, o) in states)

    layer.wrap("unroll", unroll)


def ends_of_outputs() -> Iterator[Hypothesis]:
    """Yield hypotheses that the final hidden state is looked up in the outputs."""
    for words, index in {"the last": -1, "the first": 0}.items():
        yield Hypothesis(
            (f"final h is {words} output",),
            (f"The final hidden state is y[{index}], {words} output in the order of the input, "
             "also in the backward direction and in rows that are shorter.",),
            (partial(_ends_in_outputs, index),),
            ("return the state after the last step that each direction computes in each row",),
            ("final", "forward"),
        )  # fmt: skip


def _ends_in_outputs(index: int, layer: ReplaceableLayer) -> None:
    def unroll(right: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        y, final = right(at, p, x)
        if len(x) == 0:
            return y, final
        return y, (layer.turn_back(at.direction, y, at.lengths)[index], *final[1:])

    layer.wrap("unroll", unroll)
