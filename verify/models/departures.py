"""How a node departs from the layer that it was exported from: relations between their arrays.

Every block of the node, the weights of one gate, is looked for among all blocks of the source:
where it stands there, or what was done to it, says what went wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ml_dtypes
import numpy as np

from ...reference.arrays import Floats
from .sources import ORDERS, Layer

LETTERS = {"rnn": {"a": "h"}, "gru": {"z": "z", "r": "r", "n": "h"},
           "lstm": {"i": "i", "o": "o", "f": "f", "g": "c"}}  # fmt: skip
"""The letters that model files have for the gates."""

ARRAYS = {"W": "W", "U": "R", "p": "P", "r": "the projection", "s": "the layer norm"}
BLOCKS = {"p": 3, "r": 1}
"""How many blocks there are of an array that has not one a gate."""

DIRECTIONS = ("forward", "reverse")
LEVELS = 256
"""Different numbers of an array that was rounded to 8 bits, at most."""


@dataclass(frozen=True)
class Departure:
    """One way in which a node departs from its source: its kind, a sentence, what to do."""

    kind: str
    statement: str
    fix: str


class Place(NamedTuple):
    """Where a block stands: in which layer, direction and array, for which gate."""

    layer: int
    direction: int
    array: str
    gate: str


class Block(NamedTuple):
    """A block of the node: its direction, array and gate, and where or how it is in the source.

    ``relation`` is ``same`` for one that is found as it is, at ``place``.
    """

    direction: int
    array: str
    gate: str
    relation: str
    place: Place | None = None
    amount: float = 0.0

    @property
    def at_home(self) -> bool:
        """Whether it is the source's own block for the same gate, layers aside."""
        place = self.place
        return (
            self.relation == "same" and place is not None
            and (place.direction, place.array, place.gate)
            == (self.direction, self.array, self.gate)
        )  # fmt: skip


def expected(node: int, own: Sequence[Layer], source: Sequence[Layer]) -> list[int]:
    """Return which layers of the source a node of a file may be, by sizes, names and order.

    ``own`` are all nodes of the file. Names decide where they can, then the order, where there are
    as many; none where no layer has its sizes.
    """
    layer = own[node]
    alike = [k for k, each in enumerate(source) if each.signature == layer.signature]
    if len(alike) < 2:
        return alike
    scores = {k: _likeness(layer, source[k]) for k in alike}
    best = [k for k in alike if scores[k] == max(scores.values())]
    if len(best) == 1 and scores[best[0]]:
        return best
    same = [k for k, each in enumerate(own) if each.signature == layer.signature]
    return [alike[same.index(node)]] if len(same) == len(alike) else alike


def _likeness(node: Layer, layer: Layer) -> int:
    """Return how many of the last words of a layer's name stand in the node's names."""
    words = _words(layer.names[0] if layer.names else layer.name)
    most = 0
    for name in node.names:
        given = _words(name)
        for count in range(1, len(words) + 1):
            tail = words[-count:]
            if any(given[k : k + count] == tail for k in range(len(given))):
                most = max(most, count)
    return most


def _words(name: str) -> list[str]:
    parts = "".join(c if c.isalnum() or c == "_" else " " for c in name).split()
    return [p for p in parts if p not in ("weight_ih", "weight_hh", "LSTM", "GRU", "RNN")]


def departures(node: int, own: Sequence[Layer], source: Sequence[Layer]) -> list[Departure]:
    """Return how a node departs from the layer that it should be; none if it is that layer."""
    layer, candidates = own[node], expected(node, own, source)
    if not candidates:
        return [_other_sizes(layer, source)]
    home = min(candidates, key=lambda k: _distance(layer, source[k]))
    return list(_departures(layer, home, source))


def _distance(layer: Layer, other: Layer) -> float:
    """Return how far apart the weights of two layers of the same sizes are."""
    return sum(
        float(np.square(block.astype(np.float64) - theirs[name]).sum())
        for own, theirs in zip(layer.passes, other.passes, strict=True)
        for name, block in own.items()
        if name in theirs
    )


def _other_sizes(layer: Layer, source: Sequence[Layer]) -> Departure:
    family, H, D, directions = layer.signature
    there = "; ".join(
        f"{each.name}: {f.upper()} of {h} units, {d} inputs, {n} direction{'s' * (n > 1)}"
        for each in source[:5]
        for f, h, d, n in [each.signature]
    )
    return Departure(
        "sizes",
        f"The source has no {family.upper()} of {H} units, {D} inputs and {directions} "
        f"direction{'s' * (directions > 1)}; it has {there}.",
        "compare with the model that the file was exported from",
    )


def _departures(layer: Layer, home: int, source: Sequence[Layer]) -> Iterator[Departure]:
    target = source[home]
    blocks = list(_blocks(layer, home, source))
    biases, moved = _of_biases(layer, home, source, blocks)
    yield from _of_facts(layer, target)
    yield from _of_places(layer, blocks, home, source)
    yield from _of_orders(layer, blocks, moved)
    yield from _of_relations(layer, blocks, target)
    yield from _of_missing(layer, target)
    yield from biases
    yield from _of_states(layer, target)


# Weights: every block is looked for.


def _blocks(layer: Layer, home: int, source: Sequence[Layer]) -> Iterator[Block]:
    """Yield every block of weights with its place in the source, or its relation to its own."""
    places = _index(source, _dtype(layer))
    for d, own in enumerate(layer.passes):
        for name, block in own.items():
            array, _, gate = name.partition("_")
            if array not in ARRAYS:
                continue
            right = Place(home, d, array, gate)
            there = places.get(_key(block), [])
            if there:
                place = min(there, key=lambda p: _far(p, right))
                yield Block(d, array, gate, "same", place)
                continue
            relation, amount = _relation(block, source[home].passes[d].get(name))
            yield Block(d, array, gate, relation, None, amount)


def _dtype(layer: Layer) -> np.dtype[np.generic]:
    dtype: np.dtype[np.generic] = next(iter(layer.passes[0].values())).dtype
    return dtype


def _key(block: Floats) -> tuple[tuple[int, ...], bytes]:
    return block.shape, np.ascontiguousarray(block).tobytes()


def _index(
    source: Sequence[Layer], dtype: np.dtype[np.generic]
) -> dict[tuple[tuple[int, ...], bytes], list[Place]]:
    places: dict[tuple[tuple[int, ...], bytes], list[Place]] = {}
    for k, layer in enumerate(source):
        for d, blocks in enumerate(layer.passes):
            for name, block in blocks.items():
                array, _, gate = name.partition("_")
                if array in ARRAYS:
                    key = _key(block.astype(dtype))
                    places.setdefault(key, []).append(Place(k, d, array, gate))
    return places


def _far(place: Place, right: Place) -> tuple[bool, ...]:
    return tuple(a != b for a, b in zip(place, right, strict=True))


RELATIONS: Mapping[str, Callable[[Floats], Floats]] = {
    "transposed": lambda block: block.T,
    "negated": lambda block: -block,
    "rounded to float16": lambda block: block.astype(np.float16),
    "rounded to bfloat16": lambda block: block.astype(ml_dtypes.bfloat16),
    "turned round": lambda block: block[::-1],
}
"""What may have been done to a block, and is seen exactly."""


def _relation(block: Floats, own: Floats | None) -> tuple[str, float]:
    """Return what was done to a source's block to give this one; ``other`` and how far, if none."""
    if own is None:
        return "added", 0.0
    for name, function in RELATIONS.items():
        if np.array_equal(function(own).astype(block.dtype), block):
            return name, 0.0
    if not block.any():
        return "zero", 0.0
    if _sorted_rows(block) == _sorted_rows(own.astype(block.dtype)):
        return "units in another order", 0.0
    return _measured(block.astype(np.float64), own.astype(np.float64))


def _measured(got: Floats, want: Floats) -> tuple[str, float]:
    """Return what was done to numbers that are no longer the source's; ``other`` if nothing is."""
    most, off = float(np.abs(want).max()), float(np.abs(got - want).max())
    if _on_grid(got, want):
        return "rounded to 8 bits", 0.0
    with np.errstate(all="ignore"):
        factor = float(np.median(got[want != 0] / want[want != 0]))
        mean = round(float(np.sum(got * want) / np.sum(want * want)), 1)
    if np.isfinite(factor) and np.allclose(got, factor * want, rtol=1e-6, atol=1e-7 * most):
        return "scaled", factor
    if mean and _on_grid(got, mean * want):
        return "rounded to 8 bits, and scaled", mean
    return "other", off


def _on_grid(got: Floats, want: Floats) -> bool:
    """Whether numbers are others rounded to a grid of 8 bits: one of each row, or of all."""
    whole, off = (got.reshape(1, -1), np.abs(got - want).reshape(1, -1))
    rows = (got, np.abs(got - want)) if got.ndim > 1 and got.shape[-1] > 1 else (whole, off)
    for grid, error in ((whole, off), rows):
        steps = np.array([_step(row) for row in grid])
        if grid.size >= FEWEST and steps.all() and (error <= 0.51 * steps[:, None]).all():
            return True
    return False


NEARLY = 1e-3
"""Of a step, what rounding to 24 bits leaves between a number and a multiple."""

FEWEST = 4
"""Numbers that do not lie on one grid by chance."""


def _step(row: Floats) -> float:
    """Return the largest number of which all are multiples; 0 where 8 bits do not hold them."""
    steps = np.abs(row).max() / np.arange(1, LEVELS)
    with np.errstate(all="ignore"):
        multiples = row[:, None] / steps
        fits = (np.abs(multiples - np.rint(multiples)) < NEARLY).all(axis=0)
    return float(steps[np.argmax(fits)]) if fits.any() else 0.0


def _sorted_rows(block: Floats) -> list[bytes]:
    return sorted(row.tobytes() for row in block)


def _of_places(
    layer: Layer, blocks: Sequence[Block], home: int, source: Sequence[Layer]
) -> Iterator[Departure]:
    """Yield what blocks say that are the source's, and stand elsewhere there."""
    found = [b for b in blocks if b.place is not None]
    places = [b.place for b in found if b.place is not None]
    strange = [b for b in found if b.place is not None and b.place.layer != home]
    if strange:
        layers = dict.fromkeys(b.place.layer for b in strange if b.place is not None)
        names = " and ".join(source[k].name for k in layers)
        what = "the weights" if len(strange) == len(blocks) else _listed(layer, strange)
        yield Departure(
            "other-layer",
            f"It has {what} of {names}, where those of {source[home].name} belong.",
            f"write the weights of {source[home].name} into this node",
        )
    if any(p.direction != b.direction for b, p in zip(found, places, strict=True)):
        yield Departure(
            "directions",
            "The weights of its forward and its reverse direction are exchanged.",
            "put the forward direction first in W, R and B",
        )
    swapped = [b for b, p in zip(found, places, strict=True) if p.array != b.array]
    if swapped:
        yield Departure(
            "arrays", f"{_listed(layer, swapped)} is taken from another array of the source.",
            "W has the weights of the input, R those of the state",
        )  # fmt: skip


def _of_orders(
    layer: Layer, blocks: Sequence[Block], moved: Mapping[str, str]
) -> Iterator[Departure]:
    """Yield which arrays have their gates in another order; ``moved`` are those of the bias.

    A gate is moved if the source's gate of another name stands in its place.
    """
    reader = layer.facts.get("reader", "ONNX")
    letters, order = LETTERS[layer.family], ORDERS.get(reader, ORDERS["onnx"])[layer.family]
    by_array: dict[str, dict[str, str]] = {}
    for b in blocks:
        if b.place is not None and b.place.gate != b.gate:
            by_array.setdefault(ARRAYS[b.array], {})[b.gate] = b.place.gate
    if moved:
        by_array["B"] = dict(moved)
    orders: dict[str, list[str]] = {}
    for array, gates in by_array.items():
        stands = ", ".join(letters[gates.get(gate, gate)] for gate in order)
        orders.setdefault(stands, []).append(array)
    want = ", ".join(letters[gate] for gate in order)
    for stands, arrays in orders.items():
        yield Departure(
            "gate-order",
            f"The gates of {_and(arrays)} stand in the order {stands}; "
            f"{reader} reads them as {want}.",
            f"write the gates in the order {want}",
        )


def _and(names: Sequence[str]) -> str:
    """Return names as a list in words."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _of_relations(layer: Layer, blocks: Sequence[Block], target: Layer) -> Iterator[Departure]:
    """Yield what was done to blocks that are not the source's as they are."""
    groups: dict[str, list[Block]] = {}
    for block in blocks:
        if block.place is None:
            groups.setdefault(block.relation, []).append(block)
    for relation, members in groups.items():
        names = _listed(layer, members)
        kind, words = _SAID.get(relation, ("rounded", f"is {relation}"))
        if relation == "other":
            yield _other(layer, members, blocks, target)
            continue
        if relation == "scaled":
            words = f"is the source's times {members[0].amount:.6g}"
        if relation == "rounded to 8 bits, and scaled":
            words = f"is the source's times {members[0].amount:g}, rounded to 8 bits"
            kind = "scaled"
        if relation == "added":
            words = "stands in the file, and the source has none"
        fix = _FIXES.get(kind, f"write the source's own numbers as {names}")
        if {*names.replace(",", " and").split(" and ")} <= {*"WRBP"} and len(names) > 1:
            words = words.replace("is ", "are ", 1).replace("stands", "stand", 1)
        yield Departure(kind, f"{names} {words}.", fix)


def _of_missing(layer: Layer, target: Layer) -> Iterator[Departure]:
    """Yield what the source has, and the node has not at all."""
    for array, words in (("p", "peepholes"), ("r", "projection"), ("s", "layer norm")):
        there, wanted = (any(name.startswith(f"{array}_") for name in of.passes[0])
                         for of in (layer, target))  # fmt: skip
        if wanted and not there:
            yield Departure(
                "missing", f"The source has {words}, and the file has none.",
                f"write the source's {words} into the file",
            )  # fmt: skip


_SAID = {
    "transposed": ("transposed", "is the source's transposed"),
    "negated": ("negated", "is the source's with the other sign"),
    "zero": ("zeroed", "is 0, and the source's is not"),
    "turned round": ("turned", "is the source's with its units in the reverse order"),
    "units in another order": ("units", "is the source's with its units in another order"),
    "scaled": ("scaled", "is a multiple of the source's"),
    "other": ("other-weights", "differs"),
    "added": ("added", "is there"),
}
_FIXES = {
    "rounded": "export the weights in the source's own precision, or compare with the rounded ones",
    "transposed": "write W as (gates x units, inputs), R as (gates x units, units)",
}


def _other(
    layer: Layer, members: Sequence[Block], blocks: Sequence[Block], target: Layer
) -> Departure:
    """Return the departure of weights that are no relation of the source's."""
    off = max(b.amount for b in members)
    fix = f"export the file again from the weights of {target.name}"
    if len(members) == len(blocks):
        return Departure(
            "other-weights",
            f"Its weights are others than those of {target.name}: none of its {len(blocks)} "
            f"blocks is the source's, nor rounded, scaled or moved; the largest difference is "
            f"{off:.3g}. It was exported from another, perhaps older, state of the model.",
            fix,
        )
    return Departure(
        "changed", f"{_listed(layer, members)} differs from the source's by up to {off:.3g}.", fix
    )


def _listed(layer: Layer, blocks: Sequence[Block]) -> str:
    """Name blocks: whole arrays by their letter, others with their gate."""
    letters, total = LETTERS[layer.family], len(ORDERS["onnx"][layer.family])
    by_array: dict[tuple[int, str], list[str]] = {}
    for b in blocks:
        by_array.setdefault((b.direction, b.array), []).append(letters.get(b.gate, b.gate))
    said = []
    for (d, array), gates in by_array.items():
        whole = len(gates) == BLOCKS.get(array, total)
        name = ARRAYS.get(array, array)
        name = name if whole else " and ".join(f"{name}_{gate}" for gate in gates)
        said.append(name + (f" of the {DIRECTIONS[d]} direction" if len(layer.passes) > 1 else ""))
    return " and ".join(said)


# Biases: where two are added up, only their sum means anything.


def _of_biases(
    layer: Layer, home: int, source: Sequence[Layer], blocks: Sequence[Block]
) -> tuple[list[Departure], dict[str, str]]:
    """Return how biases depart, and which gates' biases stand in which gates' places.

    They are seen through what was found of the weights: where all of those are another layer's, or
    none is the source's, biases say nothing more.
    """
    elsewhere = any(b.place is not None and b.place.layer != home for b in blocks)
    if elsewhere or all(b.relation == "other" for b in blocks):
        return [], {}
    exchanged = any(b.place is not None and b.place.direction != b.direction for b in blocks)
    said: dict[tuple[str, str, str], list[str]] = {}
    moved: dict[str, str] = {}
    letters = LETTERS[layer.family]
    for d, own in enumerate(layer.passes):
        theirs = source[home].passes[1 - d if exchanged and len(layer.passes) > 1 else d]
        for gate, kind, words, fix in _bias(layer, own, theirs):
            if kind == MOVED:
                moved[gate] = words
                continue
            where = f" of the {DIRECTIONS[d]} direction" if len(layer.passes) > 1 else ""
            said.setdefault((kind, words + where, fix), []).append(letters[gate])
    departures = []
    for (kind, words, fix), gates in said.items():
        every = len(gates) == len(letters)
        of = "all gates" if every else f"gate {_and(gates)}"
        departures.append(Departure(kind, f"{words.format(of)}.", fix))
    return departures, moved


MOVED = "moved"
"""In the place of a kind: the bias is that of the gate whose letter follows."""


@dataclass(frozen=True)
class _Bias:
    """The biases of one gate: of the input and of the state, the node's and the source's."""

    b: Floats
    c: Floats
    source_b: Floats
    source_c: Floats

    @property
    def whole(self) -> Floats:
        """The node's, added up."""
        return self.b + self.c

    @property
    def source(self) -> Floats:
        """The source's, added up."""
        return self.source_b + self.source_c

    def near(self, got: Floats, want: Floats) -> bool:
        """Whether two are the same but for the rounding of a sum in float32."""
        parts = (self.b, self.c, self.source_b, self.source_c)
        size = np.sum([np.abs(part) for part in parts], axis=0) + np.abs(want)
        return bool((np.abs(got - want) <= 4 * np.finfo(np.float32).eps * size).all())


def _bias(
    layer: Layer, own: Mapping[str, Floats], theirs: Mapping[str, Floats]
) -> Iterator[tuple[str, str, str, str]]:
    """Yield (gate, kind, words with a place for the gates, fix) for every bias that is off."""
    order = ORDERS["onnx"][layer.family]
    zero = np.zeros(len(own[f"W_{order[0]}"]))

    def read(of: Mapping[str, Floats], name: str) -> Floats:
        array: Floats = np.asarray(of.get(name, zero), np.float64)
        return array

    biases = {
        g: _Bias(read(own, f"b_{g}"), read(own, f"c_{g}"),
                 read(theirs, f"b_{g}"), read(theirs, f"c_{g}"))
        for g in order
    }  # fmt: skip
    for gate, bias in biases.items():
        apart = gate == "n" and layer.facts.get("reset") == "after"
        said = _halves(bias) if apart else None
        if said is None and not bias.near(bias.whole, bias.source):
            others = {g: other.source for g, other in biases.items() if g != gate}
            said = _off(bias, others)
        if said is not None:
            yield gate, *said


def _halves(bias: _Bias) -> tuple[str, str, str] | None:
    """Say how the two halves of a bias differ whose sum is right: the reset is between them."""
    b, c, near = bias.b, bias.c, bias.near
    if near(b, bias.source_b) and near(c, bias.source_c):
        return None
    if near(b, bias.source_c) and near(c, bias.source_b):
        return ("bias-halves", "The two halves of the bias of {} are exchanged",
                "the input's bias stands first in B, the state's after it")  # fmt: skip
    if near(bias.whole, bias.source):
        return ("bias-halves", "The two biases of {} are mixed, and the reset acts on one alone",
                "keep the state's bias in the second half of B")  # fmt: skip
    return None


def _off(bias: _Bias, others: Mapping[str, Floats]) -> tuple[str, str, str]:
    """Say how a bias differs whose sum is not the source's."""
    got = bias.whole
    for part, there in (("", 0 * got), ("of the state ", bias.source_b),
                        ("of the input ", bias.source_c)):  # fmt: skip
        if bias.near(got, there):
            return ("bias-dropped", f"The bias {part}of {{}} is missing in the file",
                    "write both biases, or their sum, into B")  # fmt: skip
    for name, other in others.items():
        if bias.near(got, other):
            return MOVED, name, ""
    for name in ("float16", "bfloat16"):
        kind = RELATIONS[f"rounded to {name}"]
        rounded = [kind(a).astype(np.float64) for a in (bias.source_b, bias.source_c)]
        if bias.near(got, rounded[0] + rounded[1]) or bias.near(
            got, kind(bias.source).astype(float)
        ):
            return "rounded", f"The bias of {{}} is rounded to {name}", _FIXES["rounded"]
    off = got - bias.source
    if np.ptp(off) <= 1e-6 * max(1.0, float(np.abs(off).max())):
        return ("bias-offset", f"The bias of {{}} is the source's and {off[0]:+.6g}",
                "write the source's bias as it is")  # fmt: skip
    words = f"The bias of {{}} differs from the source's by up to {np.abs(off).max():.3g}"
    return "bias-changed", words, "write the source's bias as it is"


# What is no array.


def _of_facts(layer: Layer, target: Layer) -> Iterator[Departure]:
    """Yield attributes that say something else than the source."""
    both = {n: (v, target.facts[n]) for n, v in layer.facts.items() if n in target.facts}
    differing = {n: pair for n, pair in both.items() if pair[0] != pair[1]}
    if "reset" in differing:
        got, want = differing["reset"]
        yield Departure(
            "reset",
            f"Its reset acts {got} the product with R_h (linear_before_reset = "
            f"{int(got == 'after')}), the source's {want} it.",
            f"set linear_before_reset = {int(want == 'after')}",
        )
    if "activations" in differing:
        got, want = differing["activations"]
        yield Departure(
            "activations", f"Its activations are {got}, the source's {want}.",
            f"set activations to {want}",
        )  # fmt: skip
    if "direction" in differing:
        got, want = differing["direction"]
        yield Departure(
            "direction", f"Its direction is {got}, the source's {want}.",
            f"set direction = {want}",
        )  # fmt: skip
    if "clip" in differing:
        got, want = differing["clip"]
        yield Departure(
            "clip", f"It clips at {got}, and the source "
            + ("does not." if want == "0" else f"at {want}."),
            "remove clip" if want == "0" else f"set clip = {want}",
        )  # fmt: skip
    for name in ("cell_clip", "proj_clip"):
        if name in differing and "clip" not in differing:
            got, want = differing[name]
            yield Departure(
                "clip", f"Its {name} is {got}, the source's {want}.", f"set {name} = {want}"
            )
    if "time_major" in differing and "any" not in differing["time_major"]:
        got, want = differing["time_major"]
        yield Departure(
            "time_major", f"time_major is {got}, and the source's {want}: steps are read as rows.",
            f"set time_major = {want}",
        )  # fmt: skip
    if "coupled" in differing:
        got, want = differing["coupled"]
        yield Departure(
            "coupled", "Its gates are coupled, f = 1 - i, and the source has both."
            if got == "yes" else "The source's gates are coupled, f = 1 - i, the node has both.",
            "write the weights of both gates" if got == "yes" else "write the weights of one alone",
        )  # fmt: skip
    if "steps" in differing and differing["steps"][1] == "any" and differing["steps"][0] != "1":
        got = differing["steps"][0]
        yield Departure(
            "steps", f"It takes {got} steps, fixed at export; the source takes any number.",
            "export with the axis of the steps dynamic",
        )  # fmt: skip


def _of_states(layer: Layer, target: Layer) -> Iterator[Departure]:
    """Yield initial states that are fixed in the file, and not in the source."""
    changed = [
        name for name, array in layer.fixed.items()
        if name not in target.fixed or not np.array_equal(
            np.ravel(target.fixed[name]).astype(np.float64), np.ravel(array).astype(np.float64))
    ]  # fmt: skip
    if changed:
        names = " and ".join(f"initial_{name}" for name in changed)
        verb = "are" if len(changed) > 1 else "is"
        yield Departure(
            "state", f"{names} {verb} fixed in the file, as numbers that are not 0: every call "
            "begins there.", "make the initial state an input of the model",
        )  # fmt: skip
