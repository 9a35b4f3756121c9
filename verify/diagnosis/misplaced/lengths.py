"""Rows that do not end at their lengths, and padding that is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from ....reference.cell import State
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ....reference.sequence import choose, only
from ...cases.options import Options
from ...mutants import mutants
from ...mutants.gradient import gives
from ...mutants.parts import masked, takes
from ...mutants.replaceable_layer import At, CarryPart, ReplaceableLayer, UnrollPart, WritePart
from ..hypotheses import NOTHING_WRONG, Hypothesis, of_mutant
from .moves import along, move_final, state_groups

Ends = Callable[[Array], Array]
"""A function from the rows' lengths to those at which they end."""

OTHERS: dict[str, tuple[Ends, str]] = {
    "one step before their length": (lambda k: k - 1, "a row runs while t < length"),
    "one step after their length": (lambda k: k + 1, "a row runs while t < length"),
    "at the length of row 0": (lambda k: 0 * k + k[:1], "index by each row's own length"),
    "at the length of the last row": (lambda k: 0 * k + k[-1:], "index by each row's own length"),
    "at the length of the shortest row": (
        lambda k: 0 * k + k.min(), "index by each row's own length"),
    "at the end of the padding": (lambda k: k + (1 << 30), "index by each row's own length"),
    "at the lengths in the reverse order of the rows": (
        lambda k: k[::-1], "keep the lengths in the order of the rows"),
    "at the lengths in falling order": (
        lambda k: np.sort(k)[::-1], "sort rows and lengths alike, or neither"),
    "at the lengths in rising order": (np.sort, "sort rows and lengths alike, or neither"),
}  # fmt: skip
"""Wrong ends of rows, with the remedies."""


def ends(family: str, offered: Options) -> Iterator[Hypothesis]:
    """Yield hypotheses of wrong ends, of states that run on, and of padding that is read."""
    if not offered.lengths:
        return
    q13, q17 = (of_mutant(m) for m in mutants() if m.id in ("Q13", "Q17"))
    dx_masked = Hypothesis((), (), (_dx_masked,))
    yield q17 + dx_masked
    elsewhere = [*_other_row_ends(family), *_rows_of_others(family)]
    if offered.bidirectional:
        elsewhere += _turned_otherwise()
    for reaching in (NOTHING_WRONG, q17, q17 + dx_masked, q13):
        yield from (replace(h + reaching, needs=("lengths",)) for h in elsewhere)


def _other_row_ends(family: str) -> Iterator[Hypothesis]:
    for (where, (lengths, fix)), zeros in product(OTHERS.items(), (False, True)):
        padding = " of zeros" if zeros else ""
        of_row = where.replace("their length", "a row's length")
        ways = [("rows end", f"Rows end {where}", partial(_other_lengths, lengths))]
        groups = state_groups(family)
        for state, which in groups.items():
            own = f"{state} is that" if which in [*groups.values()][1:] else "states are those"
            change = partial(_other_finals, lengths, which)
            ways.append((f"final {state}", f"The final {own} {of_row}", change))
        for name, words, change in ways:
            changes = (_read_zeros, change) if zeros else (change,)
            yield Hypothesis(
                (f"{name} {where}{padding}",), (f"{words}.",), changes, (fix,),
                ("padding", "final"),
            )  # fmt: skip
            if name == "rows end":
                yield Hypothesis(
                    (f"{name} {where}{padding}, outputs masked",),
                    (f"{words}, while their outputs are those up to the length.",),
                    (*changes, _outputs_masked), (fix,), ("padding", "final"),
                )  # fmt: skip
    yield Hypothesis(
        ("the state goes on through the padding",),
        ("The outputs stop at the end of a row, but its state goes on through the padding.",),
        (_goes_on,), ("hold h (and c) where t >= length, not y alone",), ("padding",),
    )  # fmt: skip

    yield from _states_of_ended_rows(family)
    for words_of_means, (seen, kept) in {
        "where()": (_active_rows, _active_rows), "a product": (_times, _times),
        "a product of the states alone": (lambda at, x: x, _times),
    }.items():  # fmt: skip
        yield Hypothesis(
            (f"ended rows are 0 by {words_of_means}",),
            ("The state of a row that has ended is set to 0, and so is its final state.",),
            (partial(_ended, seen, kept),),
            ("hold the state of a row that has ended: h = where(t < length, h_new, h_old)",),
            ("padding", "final"),
        )  # fmt: skip


def _states_of_ended_rows(family: str) -> Iterator[Hypothesis]:
    """Yield that one of two states of a row that has ended is not held, while the other is."""
    pairs = (("h", "c"), ("c", "h")) if family == "lstm" else ()
    for k, (state, other) in enumerate(pairs):
        for so, kept in {
            "goes on through the padding": lambda at, new, old, k: new[k],
            f"is replaced by {other}": lambda at, new, old, k: old[1 - k],
            "is the initial one": lambda at, new, old, k: at.start[k],
        }.items():
            yield Hypothesis(
                (f"{state} of ended rows {so}",),
                (f"Where a row has ended, its {state} {so}; its {other} is held.",),
                (partial(_held_otherwise, k, kept),),
                (f"hold {state} of a row that has ended as {other} is held",),
                ("padding", "final"),
            )  # fmt: skip


def _held_otherwise(
    k: int, kept: Callable[[At, State, State, int], Array], layer: ReplaceableLayer
) -> None:
    def carry(right: CarryPart, at: At, new: State, old: State) -> State:
        held = list(right(at, new, old))
        if at.active is not None:
            held[k] = choose(at.active, held[k], kept(at, new, old, k))
        return tuple(held)

    layer.wrap("carry", carry)


def _times(at: At, a: Array) -> Array:
    return a if at.active is None else a * at.active.astype(a.dtype)


def _active_rows(at: At, a: Array) -> Array:
    return only(at.active, a)


def _ended(
    seen: Callable[[At, Array], Array], kept: Callable[[At, Array], Array], layer: ReplaceableLayer
) -> None:
    layer.see = seen
    layer.carry = lambda at, new, old: tuple(kept(at, s) for s in new)
    if seen is not kept:
        layer.show = lambda at, new, old: kept(at, new[0])


def _rows_of_others(family: str) -> Iterator[Hypothesis]:
    for (words, which), move in product(state_groups(family).items(), along("row", 1)):
        verb = "are" if words == "states" else "is"
        yield Hypothesis(
            (f"final {words}: {move.name} with lengths",),
            (f"Where rows have different lengths, the final {words} {verb} {move.words}.",),
            (partial(_move_with_lengths, partial(move_final, which), move.function),),
            (move.fix,), ("final", "padding"),
        )  # fmt: skip


def _dx_masked(layer: ReplaceableLayer) -> None:
    gives(layer, lambda pulled: replace(pulled, x=masked(pulled.x, layer.inputs.lengths)))


def _outputs_masked(layer: ReplaceableLayer) -> None:
    def write(right: WritePart, y: Array, final: State, lengths: Array) -> tuple[Array, State]:
        own = layer.inputs.lengths
        return right(y if own is None else masked(y, own), final, lengths)

    layer.wrap("write", write)


def _clipped(layer: ReplaceableLayer, lengths: Array) -> Array:
    return np.clip(lengths, 0, layer.case.T)


def _other_lengths(function: Ends, layer: ReplaceableLayer) -> None:
    layer.wrap("read_lengths", lambda right, lengths: (
        None if lengths is None else _clipped(layer, function(np.asarray(right(lengths))))
    ))  # fmt: skip


def _other_finals(function: Ends, which: Sequence[int], layer: ReplaceableLayer) -> None:
    def unroll(right: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        y, final = right(at, p, x)
        if at.lengths is None:
            return y, final
        changed = _clipped(layer, function(np.asarray(at.lengths)))
        others = right(at._replace(lengths=changed), p, x)[1]
        return y, tuple(others[k] if k in which else s for k, s in enumerate(final))

    layer.wrap("unroll", unroll)


def _read_zeros(layer: ReplaceableLayer) -> None:
    """Let the layer read zeros in the padding, as after unpacking packed input."""
    takes(layer, lambda inputs: replace(inputs, x=masked(inputs.x, inputs.lengths)))


def _goes_on(layer: ReplaceableLayer) -> None:
    def write(right: WritePart, y: Array, final: State, none: None) -> tuple[Array, State]:
        return right(masked(y, layer.inputs.lengths), final, none)

    layer.read_lengths = lambda lengths: None
    layer.wrap("write", write)


def _move_with_lengths(
    move: Callable[[ReplaceableLayer, Callable[[Array], Array]], None],
    function: Callable[[Array, ReplaceableLayer], Array],
    layer: ReplaceableLayer,
) -> None:
    move(layer, lambda a: a if layer.inputs.lengths is None else function(a, layer))


# The backward direction of rows with padding.

ACTIVE: dict[str, Callable[[At, int], At]] = {
    "": lambda at, T: at,
    " without a mask": lambda at, T: at._replace(lengths=None),
    " with the mask turned, too": lambda at, T: at._replace(
        lengths=None, mask=np.arange(T)[:, None] >= T - np.asarray(at.lengths)),
}  # fmt: skip
"""The steps of a backward direction that reads padding first."""


def _turned_otherwise() -> Iterator[Hypothesis]:
    for ahead, back, (mask, active), zeroed in product(
        (True, False), (True, False), ACTIVE.items(), (False, True)
    ):
        if ahead and (back or mask):
            continue
        inward = "reads each row from its last step" if ahead else "reads padding before the rows"
        outward = "are turned back within each row" if back else "are turned back with the padding"
        yield Hypothesis(
            (f"backward direction {inward}, outputs {outward}{mask}{', masked' * zeroed}",),
            (f"The backward direction {inward}{mask}, and its outputs {outward}.",),
            (partial(_turned, ahead, back, active, zeroed),),
            ("turn each row within its length, on the way in and on the way out: step k is "
             "x[length - 1 - k]",), ("padding", "forward"),
        )  # fmt: skip


def _turned(
    ahead: bool,
    back: bool,
    active: Callable[[At, int], At],
    zeroed: bool,
    layer: ReplaceableLayer,
) -> None:
    turn = layer.turn

    def turn_back(direction: int, y: Array, lengths: Array | None) -> Array:
        y = turn(direction, y, lengths if back else None)
        return masked(y, lengths) if zeroed else y

    def unroll(right: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        backward_with_lengths = at.direction and at.lengths is not None
        return right(active(at, len(x)) if backward_with_lengths else at, p, x)

    layer.turn = lambda direction, x, lengths: turn(direction, x, lengths if ahead else None)
    layer.turn_back = turn_back
    layer.wrap("unroll", unroll)
