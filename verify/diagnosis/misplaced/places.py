"""Right numbers in the wrong place: everything of the folder but what parameters are read for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from ....reference.cell import State
from ....reference.functions import Array
from ...cases.options import Options
from ...mutants.parts import some, takes
from ...mutants.replaceable_layer import ReplaceableLayer, RunPart, WritePart
from ...numbers.tape import rearranged
from ...subjects.protocol import Inputs, Result, Subject
from ..formulas.edits import names_of
from ..formulas.phrases import shown
from ..formulas.program import Statement, named, program_of, statement
from ..hypotheses import Hypothesis
from .lengths import ends
from .moves import DIRECTION, along, halves, move_y, moves, state_groups
from .slots import biases, exchanged, terms
from .states import (
    carried_over,
    ends_elsewhere,
    of_other_passes,
    of_other_rows,
    other_starts,
    states,
    without_gradient,
)
from .units import units


def places(subject: Subject, *, gradients: bool) -> Iterator[Hypothesis]:
    """Yield every way in which right numbers may stand in the wrong place.

    With ``gradients``: gradients alone; without: outputs, and what they are computed from.
    """
    family, offered = subject.cells[0].partition("-")[0], subject.options
    if gradients:
        yield from without_gradient(family)
    else:
        yield from states(family, offered)
        yield from of_other_passes(offered)
        yield from between(offered)
        yield from outputs(subject.cells[0])
        yield from ends_elsewhere(family, offered)
        yield from ends(family, offered)
        yield from biases(subject)
        yield from exchanged(subject)
        yield from terms(subject)
        yield from units(family)
        yield from other_starts(family, offered)
        yield from carried_over(family, offered)
        yield from of_other_rows(family, offered)
        yield from sorted_rows(family, offered)
    yield from moves(family, offered, gradients=gradients)


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
        for first, last in product((True, False), (False, True)):
            there = ", and so are the outputs of the last layer" if last else ""
            of = "every layer" if first else "every layer but the first"
            yield Hypothesis(
                (f"residual connections{', last' * last}{', not first' * (not first)}",),
                (f"In {of} the input is added to the outputs that the next layer reads, where the "
                 f"shapes are the same: a residual connection{there}.",),
                (partial(_added, first, last),),
                ("give each layer the outputs of the one below it, and nothing else",),
                ("forward",), needs=("layers",),
            )  # fmt: skip
    for where in ("", " on the way to the next layer"):
        if not offered.missing(("bidirectional", "layers")):
            yield Hypothesis(
                (f"directions exchanged{where}",),
                ("The outputs of the backward direction stand before those of the forward "
                 f"direction{where}.",),
                (partial(_directions_exchanged, not where),),
                ("put the forward direction's outputs first",), ("forward",),
                needs=("bidirectional",),
            )  # fmt: skip

    if not offered.missing(("bidirectional", "layers")):
        yield Hypothesis(
            ("backward outputs not turned back on the way to the next layer",),
            ("On the way to the next layer, the outputs of the backward direction stand in the "
             "order of computation, not in that of the input.",),
            (lambda layer: layer.wrap("drop", lambda right, y: _turned_half(layer, right(y))),),
            ("turn the backward direction's outputs back in time before the next layer reads "
             "them",), ("forward",), needs=("bidirectional", "layers"),
        )  # fmt: skip


def _turned_half(layer: ReplaceableLayer, y: Array) -> Array:
    half = layer.case.H if layer.case.P is None or not layer.case.P else layer.case.P
    turned = layer.turn(1, y[:, :, half:], layer.given.lengths)
    return np.concatenate([y[:, :, :half], turned], axis=-1) if layer.case.bidirectional else y


def _x_again(layer: ReplaceableLayer) -> None:
    given: list[Array] = []

    def kept(inputs: Inputs) -> Inputs:
        given[:] = [inputs.x]
        return inputs

    def drop(right: Callable[[Array], Array], y: Array) -> Array:
        return right(given[0] if given[0].shape == y.shape else y)

    takes(layer, kept)
    layer.wrap("drop", drop)


def _added(first: bool, last: bool, layer: ReplaceableLayer) -> None:
    below: list[Array] = []

    def given(inputs: Inputs) -> Inputs:
        below[:] = [inputs.x]
        return inputs

    def added(y: Array) -> Array:
        there = below[-1].shape == y.shape and (first or len(below) > 1)
        below.append(y + below[-1] if there else y)
        return below[-1]

    def drop(right: Callable[[Array], Array], y: Array) -> Array:
        return right(added(y))

    def write(right: WritePart, y: Array, final: State, lengths: Array) -> tuple[Array, State]:
        return right(added(y) if last else y, final, lengths)

    takes(layer, given)
    layer.wrap("drop", drop)
    layer.wrap("write", write)


def _directions_exchanged(at_the_end: bool, layer: ReplaceableLayer) -> None:
    """Exchange the directions between layers, and in the outputs."""
    reversal = next(along(DIRECTION, 2, halves))

    def exchange(a: Array) -> Array:
        return reversal.function(a, layer)

    layer.wrap("drop", lambda right, y: rearranged(right(y), exchange))
    if at_the_end:
        move_y(layer, exchange)


def outputs(cell: str) -> Iterator[Hypothesis]:
    """Yield outputs that are the state before the step, another state, or another value."""
    yield Hypothesis(
        ("y before the step",),
        ("The output of each step is the hidden state before it, not after it.",),
        (lambda layer: layer.wrap("show", lambda right, at, new, old: right(at, old, old)),),
        ("append h to the outputs after it is updated",), ("forward",),
    )  # fmt: skip
    if program := program_of(cell):
        shapes = names_of(cell).shapes
        values = [s.target for s in program.forward if shapes.get(s.target) == shapes["h_new"]]
        values += [f"{f}({n})" for n in ("h_new", "c_new") for f in ("tanh", "sigmoid", "relu")
                   if n in values]  # fmt: skip
        for value in (v for v in values if v not in ("h_new", "c_new")):
            yield Hypothesis(
                (f"y is {value}",),
                (f"The outputs are {shown(value)}, not the states h_t that the steps carry.",),
                (partial(_shows, statement(f"y = {value}")),),
                ("append h_t to the outputs",), ("final", "forward"),
            )  # fmt: skip
    if cell.startswith("lstm"):
        yield Hypothesis(
            ("y is c",),
            ("The outputs are the cell states, not the hidden states.",),
            (lambda layer: layer.wrap(
                "show", lambda right, at, new, old: right(at, new[::-1], old[::-1])),),
            ("append h to the outputs, not c",), ("forward",),
        )  # fmt: skip


def _shows(value: Statement, layer: ReplaceableLayer) -> None:
    if program := program_of(layer.cell.name):
        layer.output = lambda at, p, x, state, new: value.evaluated(
            program.step(named(p), x, state)[1]
        )


ORDERS: dict[str, Callable[[Array], Array]] = {
    "falling": lambda lengths: np.argsort(-lengths, kind="stable"),
    "rising": lambda lengths: np.argsort(lengths, kind="stable"),
    "falling, ties reversed": lambda lengths: np.argsort(lengths, kind="stable")[::-1],
}
"""In which rows may be sorted by their lengths."""

OF_RESULTS = {
    "left": ("{} left in the order of the lengths",
             "put the rows of {} back: index with the inverse permutation, argsort(order)"),
    "twice": ("{} put back by the permutation itself, not by its inverse",
              "put the rows of {} back with argsort(order), not with order"),
}  # fmt: skip
OF_START = {
    "left": ("the initial states are not sorted with the rows",
             "sort the initial states with the rows: s[:, order]"),
    "twice": ("the initial states are sorted by the inverse permutation",
              "sort the initial states by the same permutation as x"),
}  # fmt: skip
"""What goes wrong, and what to do instead."""


def sorted_rows(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield what is left in the order of the lengths, or put back wrongly."""
    ways = ("", "left", "twice")
    for (how, order), y, final, start, (state, which) in product(
        ORDERS.items(), ways, ways, ways, state_groups(family).items()
    ):
        alone = len(which) == 1 and family == "lstm"
        if not offered.lengths or not (y or final or start) or (alone and (y or start)):
            continue
        said = []
        results = {"the outputs": y, f"the final {state}": final}
        for way, (sentence, fix) in OF_RESULTS.items():
            if hit := " and ".join(name for name, mine in results.items() if mine == way):
                verb = "are" if "outputs" in hit or state == "states" else "is"
                said.append((sentence.format(f"{hit} {verb}"), fix.format(hit)))
        said += [OF_START[start]] if start else []
        words, fixes = zip(*said, strict=True)
        yield Hypothesis(
            (f"rows by {how} length: y {y or 'right'}, final {state} {final or 'right'}, "
             f"initial {start or 'right'}",),
            (f"Rows are sorted by {how.partition(',')[0]} length, and {'; '.join(words)}.",),
            (partial(_sorted, order, y, (final, which), start),), fixes, ("lengths", "forward"),
        )  # fmt: skip


def _sorted(
    order: Callable[[Array], Array],
    y: str,
    final: tuple[str, Sequence[int]],
    start: str,
    layer: ReplaceableLayer,
) -> None:
    def run(right: RunPart, inputs: Inputs) -> Result:
        if inputs.lengths is None:
            return right(inputs)
        falling = order(np.asarray(inputs.lengths))
        back = np.argsort(falling)
        index = {"": np.arange(len(back)), "left": falling, "twice": falling[falling]}
        # Initial states are seen from the rows as they came, not as they are sorted.
        taken = {"": index[""], "left": back, "twice": back[back]}[start]
        given = inputs.state and tuple(s[:, taken] for s in inputs.state)
        result = right(replace(inputs, state=given))
        way, which = final
        return Result(result.y[:, index[y]], some(result.final, which, lambda s: s[:, index[way]]))

    layer.wrap("run", run)
