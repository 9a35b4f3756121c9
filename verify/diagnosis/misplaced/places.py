"""Right numbers in the wrong place, other than parameters of the wrong pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ....reference.cell import State
from ...cases.case import Case
from ...cases.options import Options
from ...mutants import Change
from ...mutants.parts import some, takes
from ...mutants.replaceable_layer import At, Part, ReplaceableLayer, RunPart, WritePart
from ...numbers.tape import rearranged
from ...subjects.protocol import Inputs, Result, Subject
from ..formulas.edits import names_of
from ..formulas.phrases import notation
from ..formulas.program import Statement, named, program_of, statement
from ..hypotheses import Hypothesis
from .kept import kept_arrays
from .lengths import ends
from .moves import DIRECTION, along, halves, move_y, moves, state_groups
from .slots import biases, exchanged, terms
from .states import (
    carried_over,
    ends_elsewhere,
    ends_of_outputs,
    other_starts,
    states,
    states_of_other_passes,
    states_of_other_rows,
    states_without_gradient,
)
from .units import units


def places(subject: Subject, *, gradients: bool) -> Iterator[Hypothesis]:
    """Yield hypotheses that right numbers stand in the wrong place.

    With ``gradients`` these are gradients alone; otherwise outputs and inputs.
    """
    family, offered = subject.cells[0].partition("-")[0], subject.options
    if gradients:
        yield from states_without_gradient(family)
    else:
        yield from states(family, offered)
        yield from states_of_other_passes(family, offered)
        yield from between(subject.cells[0], offered)
        yield from outputs(subject.cells[0])
        yield from ends_of_outputs()
        yield from ends_elsewhere(family, offered)
        yield from ends(family, offered)
        yield from biases(subject)
        yield from exchanged(subject)
        yield from terms(subject)
        yield from kept_arrays(subject)
        yield from units(family)
        yield from other_starts(family, offered)
        yield from carried_over(family, offered)
        yield from states_of_other_rows(family, offered)
        yield from sorted_rows(family, offered)
    yield from moves(family, offered, gradients=gradients)


def between(cell: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield mistakes between layers: x read again, residual connections, directions exchanged."""
    if offered.layers:
        yield Hypothesis(
            ("x in every layer",),
            ("Every layer reads x, where the shapes are the same, not the outputs of the layer "
             "below it.",),
            (_x_again,), ("give each layer the outputs of the one below it",), ("forward",),
            needs=("layers",),
        )  # fmt: skip
        for hypothesis in outputs(cell):
            said = hypothesis.statements[0]
            yield replace(
                hypothesis, ids=(f"{hypothesis.name} for the next layer",),
                statements=(f"On the way to the next layer, {said[0].lower()}{said[1:]}",),
                changes=(partial(_read_above, hypothesis.changes),), needs=("layers",),
                fixes=("give each layer the new h of the one below it",),
            )  # fmt: skip
        for first, last in product((True, False), (False, True)):
            suffix = ", and so are the outputs of the last layer" if last else ""
            layers = "every layer" if first else "every layer but the first"
            yield Hypothesis(
                (f"residual connections{', last' * last}{', not first' * (not first)}",),
                (f"In {layers} the input is added to the outputs that the next layer reads, where "
                 f"the shapes are the same: a residual connection{suffix}.",),
                (partial(_added, first, last),),
                ("give each layer the outputs of the one below it, and nothing else",),
                ("forward",), needs=("layers",),
            )  # fmt: skip
    if offered.missing(("bidirectional", "layers")):
        return
    for where in ("", " on the way to the next layer"):
        yield Hypothesis(
            (f"directions exchanged{where}",),
            ("The outputs of the backward direction stand before those of the forward "
             f"direction{where}.",),
            (partial(_directions_exchanged, not where),),
            ("put the forward direction's outputs first",), ("forward",), needs=("bidirectional",),
        )  # fmt: skip
    yield Hypothesis(
        ("backward outputs not turned back on the way to the next layer",),
        ("On the way to the next layer, the outputs of the backward direction stand in the order "
         "of computation, not in that of the input.",),
        (lambda layer: layer.wrap("drop", lambda right, y: _turned_half(layer, right(y))),),
        ("turn the backward direction's outputs back in time before the next layer reads them",),
        ("forward",), needs=("bidirectional", "layers"),
    )  # fmt: skip


def _turned_half(layer: ReplaceableLayer, y: Floats) -> Floats:
    half = layer.case.P or layer.case.H
    turned = layer.turn(1, y[:, :, half:], layer.inputs.lengths)
    return np.concatenate([y[:, :, :half], turned], axis=-1) if layer.case.bidirectional else y


def _input_of_call(layer: ReplaceableLayer) -> list[Floats]:
    """Return a list that holds the input of each call, and nothing else, when it begins."""
    held: list[Floats] = []

    def hold(inputs: Inputs) -> Inputs:
        held[:] = [inputs.x]
        return inputs

    takes(layer, hold)
    return held


def _read_above(changes: Sequence[Change], layer: ReplaceableLayer) -> None:
    """Change the outputs of all layers but the last."""
    right = {part: getattr(layer, part) for part in ("output", "show")}
    for change in changes:
        change(layer)
    for part, own in right.items():
        setattr(layer, part, partial(_below_the_last, layer.case, getattr(layer, part), own))


def _below_the_last(case: Case, changed: Part, own: Part, at: At, *given: Any) -> Any:
    return (changed if at.level < case.layers - 1 else own)(at, *given)


def _x_again(layer: ReplaceableLayer) -> None:
    held = _input_of_call(layer)
    layer.wrap("drop", lambda right, y: right(held[0] if held[0].shape == y.shape else y))


def _added(first: bool, last: bool, layer: ReplaceableLayer) -> None:
    below = _input_of_call(layer)

    def added(y: Floats) -> Floats:
        same_shape = below[-1].shape == y.shape and (first or len(below) > 1)
        below.append(y + below[-1] if same_shape else y)
        return below[-1]

    def write(right: WritePart, y: Floats, final: State, lengths: Floats) -> tuple[Floats, State]:
        return right(added(y) if last else y, final, lengths)

    layer.wrap("drop", lambda right, y: right(added(y)))
    layer.wrap("write", write)


def _directions_exchanged(at_the_end: bool, layer: ReplaceableLayer) -> None:
    """Exchange the directions between layers, and in the outputs."""
    reversal = next(along(DIRECTION, 2, halves))

    def exchange(a: Floats) -> Floats:
        return reversal.function(a, layer)

    layer.wrap("drop", lambda right, y: rearranged(right(y), exchange))
    if at_the_end:
        move_y(layer, exchange)


def outputs(cell: str) -> Iterator[Hypothesis]:
    """Yield hypotheses that outputs are the state before the step, or another state or value."""
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
                (f"The outputs are {notation(value)}, not the states h_t that the steps carry.",),
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


ORDERS: dict[str, Callable[[Floats], Floats]] = {
    "falling": lambda lengths: np.argsort(-lengths, kind="stable"),
    "rising": lambda lengths: np.argsort(lengths, kind="stable"),
    "falling, ties reversed": lambda lengths: np.argsort(lengths, kind="stable")[::-1],
}
"""The orders in which rows may be sorted by their lengths."""

OF_RESULTS = {
    "left": ("{} left in the order of the lengths",
             "put the rows of {} back: index with the inverse permutation, argsort(order)"),
    "twice": ("{} put back by the permutation itself, not by its inverse",
              "put the rows of {} back with argsort(order), not with order"),
    "again": ("{} put back once more than they were sorted",
              "put the rows of {} back once: they are in the order of the input already"),
}  # fmt: skip
OF_START = {
    "left": ("the initial states are not sorted with the rows",
             "sort the initial states with the rows: s[:, order]"),
    "twice": ("the initial states are sorted by the inverse permutation",
              "sort the initial states by the same permutation as x"),
}  # fmt: skip
"""The words for mistakes of sorted initial states, with the remedies."""


def sorted_rows(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield hypotheses that results stay in the order of the lengths, or are put back wrongly."""
    results_ways, start_ways = ("", *OF_RESULTS), ("", *OF_START)
    for (order_words, order), y, final, start, (state, which) in product(
        ORDERS.items(), results_ways, results_ways, start_ways, state_groups(family).items()
    ):
        alone = len(which) == 1 and family == "lstm"
        if not offered.lengths or not (y or final or start) or (alone and (y or start)):
            continue
        sentences = []
        results = {"the outputs": y, f"the final {state}": final}
        for way, (sentence, fix) in OF_RESULTS.items():
            if hit := " and ".join(name for name, actual in results.items() if actual == way):
                verb = "are" if "outputs" in hit or state == "states" else "is"
                sentences.append((sentence.format(f"{hit} {verb}"), fix.format(hit)))
        sentences += [OF_START[start]] if start else []
        words, fixes = zip(*sentences, strict=True)
        yield Hypothesis(
            (f"rows by {order_words} length: y {y or 'right'}, final {state} {final or 'right'}, "
             f"initial {start or 'right'}",),
            (f"Rows are sorted by {order_words.partition(',')[0]} length, and "
             f"{'; '.join(words)}.",),
            (partial(_sorted, order, y, (final, which), start),), fixes, ("lengths", "forward"),
        )  # fmt: skip


def _sorted(
    order: Callable[[Floats], Floats],
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
        index["again"] = back
        # Initial states are indexed by the rows in their original order.
        start_index = {"": index[""], "left": back, "twice": back[back]}[start]
        start_states = inputs.state and tuple(s[:, start_index] for s in inputs.state)
        result = right(replace(inputs, state=start_states))
        way, which = final
        return Result(result.y[:, index[y]], some(result.final, which, lambda s: s[:, index[way]]))

    layer.wrap("run", run)
