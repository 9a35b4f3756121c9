"""Departures of a node from the layer that it was exported from.

Each block of the node (the weights of one gate) is searched among all blocks of the source. Its
place there, or its relation to the right block, shows the mistake of the export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ml_dtypes
import numpy as np

from ...reference.arrays import Floats
from .content import ORDERS, Layer

LETTERS = {"rnn": {"a": "h"}, "gru": {"z": "z", "r": "r", "n": "h"},
           "lstm": {"i": "i", "o": "o", "f": "f", "g": "c"}}  # fmt: skip
"""The gates' letters in model files."""

ARRAYS = {"W": "W", "U": "R", "p": "P", "r": "the projection", "s": "the layer norm"}
BLOCKS = {"p": 3, "r": 1}
"""Number of blocks of arrays that do not have one for each gate."""

DIRECTIONS = ("forward", "reverse")
LEVELS = 256
"""Largest number of distinct values of an array that was rounded to 8 bits."""


@dataclass(frozen=True)
class Departure:
    """One difference between a node and its source: its kind, a sentence, the fix."""

    kind: str
    statement: str
    fix: str


class Place(NamedTuple):
    """The place of a block: layer, direction, array and gate."""

    layer: int
    direction: int
    array: str
    gate: str


class Block(NamedTuple):
    """A block of the node: its direction, array and gate, and its relation to the source.

    ``relation`` is ``same`` for a block that the source holds unchanged, at ``place``.
    """

    direction: int
    array: str
    gate: str
    relation: str
    place: Place | None = None
    amount: float = 0.0

    @property
    def at_home(self) -> bool:
        """Whether it is the source's block for the same gate, whatever the layer."""
        place = self.place
        return (
            self.relation == "same" and place is not None
            and (place.direction, place.array, place.gate)
            == (self.direction, self.array, self.gate)
        )  # fmt: skip


def source_layers(node: int, file: Sequence[Layer], source: Sequence[Layer]) -> list[int]:
    """Return the layers of the source from which a node may have been exported.

    ``file`` are all nodes of the file. Layers of other sizes are excluded; then names decide, and
    after them the order, if the file has as many nodes of these sizes as the source.
    """
    layer = file[node]
    alike = [k for k, other in enumerate(source) if other.signature == layer.signature]
    if len(alike) < 2:
        return alike
    scores = {k: _likeness(layer, source[k]) for k in alike}
    best = [k for k in alike if scores[k] == max(scores.values())]
    if len(best) == 1 and scores[best[0]]:
        return best
    same = [k for k, other in enumerate(file) if other.signature == layer.signature]
    return [alike[same.index(node)]] if len(same) == len(alike) else alike


def _likeness(node: Layer, layer: Layer) -> int:
    """Return the number of last words of a layer's name that occur in the node's names."""
    words = _words(layer.names[0] if layer.names else layer.name)
    most = 0
    for name in node.names:
        name_words = _words(name)
        for count in range(1, len(words) + 1):
            tail = words[-count:]
            if any(name_words[k : k + count] == tail for k in range(len(name_words))):
                most = max(most, count)
    return most


def _words(name: str) -> list[str]:
    parts = "".join(c if c.isalnum() or c == "_" else " " for c in name).split()
    return [p for p in parts if p not in ("weight_ih", "weight_hh", "LSTM", "GRU", "RNN")]


def departures(node: int, file: Sequence[Layer], source: Sequence[Layer]) -> list[Departure]:
    """Return the departures of a node from its source layer."""
    layer, candidates = file[node], source_layers(node, file, source)
    if not candidates:
        return [_other_sizes(layer, source)]
    home = min(candidates, key=lambda k: _distance(layer, source[k]))
    return list(_departures(layer, home, source))


def _distance(layer: Layer, candidate: Layer) -> float:
    """Return the squared distance of the weights of two layers of the same sizes."""
    return sum(
        float(np.square(block.astype(np.float64) - theirs[name]).sum())
        for blocks, theirs in zip(layer.passes, candidate.passes, strict=True)
        for name, block in blocks.items()
        if name in theirs
    )


def _other_sizes(layer: Layer, source: Sequence[Layer]) -> Departure:
    family, H, D, directions = layer.signature
    present = "; ".join(
        f"{candidate.name}: {f.upper()} of {h} units, {d} inputs, {n} direction{'s' * (n > 1)}"
        for candidate in source[:5]
        for f, h, d, n in [candidate.signature]
    )
    return Departure(
        "sizes",
        f"The source has no {family.upper()} of {H} units, {D} inputs and {directions} "
        f"direction{'s' * (directions > 1)}; it has {present}.",
        "compare with the model that the file was exported from",
    )


def _departures(layer: Layer, home: int, source: Sequence[Layer]) -> Iterator[Departure]:
    target = source[home]
    blocks = list(_blocks(layer, home, source))
    biases, moved = _bias_departures(layer, home, source, blocks)
    yield from _attribute_departures(layer, target)
    yield from _place_departures(layer, blocks, home, source)
    yield from _order_departures(layer, blocks, moved)
    yield from _relation_departures(layer, blocks, target)
    yield from _missing_arrays(layer, target)
    yield from biases
    yield from _state_departures(layer, target)


# Weights: each block is searched in the source.


def _blocks(layer: Layer, home: int, source: Sequence[Layer]) -> Iterator[Block]:
    """Yield each block of weights with its place in the source, or its relation to it."""
    places = _index(source, _dtype(layer))
    for d, blocks in enumerate(layer.passes):
        for name, block in blocks.items():
            array, _, gate = name.partition("_")
            if array not in ARRAYS:
                continue
            target = Place(home, d, array, gate)
            equal = places.get(_key(block), [])
            if equal:
                place = min(equal, key=lambda p: _differences(p, target))
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


def _differences(place: Place, target: Place) -> tuple[bool, ...]:
    return tuple(a != b for a, b in zip(place, target, strict=True))


RELATIONS: Mapping[str, Callable[[Floats], Floats]] = {
    "transposed": lambda block: block.T,
    "negated": lambda block: -block,
    "rounded to float16": lambda block: block.astype(np.float16),
    "rounded to bfloat16": lambda block: block.astype(ml_dtypes.bfloat16),
    "turned round": lambda block: block[::-1],
}
"""Changes of a block that are recognised exactly."""


def _relation(block: Floats, original: Floats | None) -> tuple[str, float]:
    """Return the change of a source's block to this one; ``other`` and the distance if unknown."""
    if original is None:
        return "added", 0.0
    for name, function in RELATIONS.items():
        if np.array_equal(function(original).astype(block.dtype), block):
            return name, 0.0
    if not block.any():
        return "zero", 0.0
    if _sorted_rows(block) == _sorted_rows(original.astype(block.dtype)):
        return "units in another order", 0.0
    return _measured(block.astype(np.float64), original.astype(np.float64))


def _measured(got: Floats, want: Floats) -> tuple[str, float]:
    """Return the change of the source's numbers to these; ``other`` if unknown."""
    most, largest_error = float(np.abs(want).max()), float(np.abs(got - want).max())
    if _on_grid(got, want):
        return "rounded to 8 bits", 0.0
    with np.errstate(all="ignore"):
        factor = float(np.median(got[want != 0] / want[want != 0]))
        mean = round(float(np.sum(got * want) / np.sum(want * want)), 1)
    if np.isfinite(factor) and np.allclose(got, factor * want, rtol=1e-6, atol=1e-7 * most):
        return "scaled", factor
    if mean and _on_grid(got, mean * want):
        return "rounded to 8 bits, and scaled", mean
    return "other", largest_error


def _on_grid(got: Floats, want: Floats) -> bool:
    """Return whether numbers are ``want`` rounded to a grid of 8 bits of each row, or of all."""
    flat, errors = (got.reshape(1, -1), np.abs(got - want).reshape(1, -1))
    rows = (got, np.abs(got - want)) if got.ndim > 1 and got.shape[-1] > 1 else (flat, errors)
    for grid, error in ((flat, errors), rows):
        steps = np.array([_step(row) for row in grid])
        if grid.size >= FEWEST and steps.all() and (error <= 0.51 * steps[:, None]).all():
            return True
    return False


NEARLY = 1e-3
"""Largest distance of a multiple rounded to 24 bits from the multiple, in steps."""

FEWEST = 4
"""Fewest numbers that do not lie on one grid by chance."""


def _step(row: Floats) -> float:
    """Return the largest number of which all are multiples; 0 if 8 bits do not hold them."""
    steps = np.abs(row).max() / np.arange(1, LEVELS)
    with np.errstate(all="ignore"):
        multiples = row[:, None] / steps
        fits = (np.abs(multiples - np.rint(multiples)) < NEARLY).all(axis=0)
    return float(steps[np.argmax(fits)]) if fits.any() else 0.0


def _sorted_rows(block: Floats) -> list[bytes]:
    return sorted(row.tobytes() for row in block)


def _place_departures(
    layer: Layer, blocks: Sequence[Block], home: int, source: Sequence[Layer]
) -> Iterator[Departure]:
    """Yield departures of blocks that the source holds in another place."""
    placed = [(b, b.place) for b in blocks if b.place is not None]
    elsewhere = {b: place.layer for b, place in placed if place.layer != home}
    if elsewhere:
        names = " and ".join(source[k].name for k in dict.fromkeys(elsewhere.values()))
        all_blocks = len(elsewhere) == len(blocks)
        weights = "the weights" if all_blocks else _listed(layer, [*elsewhere])
        yield Departure(
            "other-layer",
            f"It has {weights} of {names}, where those of {source[home].name} belong.",
            f"write the weights of {source[home].name} into this node",
        )
    if any(place.direction != b.direction for b, place in placed):
        yield Departure(
            "directions",
            "The weights of its forward and its reverse direction are exchanged.",
            "put the forward direction first in W, R and B",
        )
    swapped = [b for b, place in placed if place.array != b.array]
    if swapped:
        yield Departure(
            "arrays", f"{_listed(layer, swapped)} is taken from another array of the source.",
            "W has the weights of the input, R those of the state",
        )  # fmt: skip


def _order_departures(
    layer: Layer, blocks: Sequence[Block], moved: Mapping[str, str]
) -> Iterator[Departure]:
    """Yield departures of arrays with their gates in another order; ``moved`` are the bias's.

    A gate is moved if a gate of another name in the source has its numbers.
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
    """Return names as a list, such as ``W, R and B``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _relation_departures(
    layer: Layer, blocks: Sequence[Block], target: Layer
) -> Iterator[Departure]:
    """Yield departures of changed blocks."""
    groups: dict[str, list[Block]] = {}
    for block in blocks:
        if block.place is None:
            groups.setdefault(block.relation, []).append(block)
    for relation, members in groups.items():
        names = _listed(layer, members)
        kind, words = _WORDS.get(relation, ("rounded", f"is {relation}"))
        if relation == "other":
            yield _unrelated(layer, members, blocks, target)
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


def _missing_arrays(layer: Layer, target: Layer) -> Iterator[Departure]:
    """Yield arrays that the source has and the node lacks."""
    for array, words in (("p", "peepholes"), ("r", "projection"), ("s", "layer norm")):
        in_node, in_source = (
            any(name.startswith(f"{array}_") for name in side.passes[0]) for side in (layer, target)
        )
        if in_source and not in_node:
            yield Departure(
                "missing", f"The source has {words}, and the file has none.",
                f"write the source's {words} into the file",
            )  # fmt: skip


_WORDS = {
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


def _unrelated(
    layer: Layer, members: Sequence[Block], blocks: Sequence[Block], target: Layer
) -> Departure:
    """Return the departure of weights that are unrelated to the source's."""
    largest = max(b.amount for b in members)
    fix = f"export the file again from the weights of {target.name}"
    if len(members) == len(blocks):
        return Departure(
            "other-weights",
            f"Its weights are others than those of {target.name}: none of its {len(blocks)} "
            f"blocks is the source's, nor rounded, scaled or moved; the largest difference is "
            f"{largest:.3g}. It was exported from another, perhaps older, state of the model.",
            fix,
        )
    return Departure(
        "changed",
        f"{_listed(layer, members)} differs from the source's by up to {largest:.3g}.",
        fix,
    )


def _listed(layer: Layer, blocks: Sequence[Block]) -> str:
    """Return the names of blocks: whole arrays by their letter, others with their gates."""
    letters, total = LETTERS[layer.family], len(ORDERS["onnx"][layer.family])
    by_array: dict[tuple[int, str], list[str]] = {}
    for b in blocks:
        by_array.setdefault((b.direction, b.array), []).append(letters.get(b.gate, b.gate))
    names = []
    for (d, array), gates in by_array.items():
        complete = len(gates) == BLOCKS.get(array, total)
        name = ARRAYS.get(array, array)
        name = name if complete else " and ".join(f"{name}_{gate}" for gate in gates)
        names.append(name + (f" of the {DIRECTIONS[d]} direction" if len(layer.passes) > 1 else ""))
    return " and ".join(names)


# Biases: of two that are added up, only the sum is compared.


def _bias_departures(
    layer: Layer, home: int, source: Sequence[Layer], blocks: Sequence[Block]
) -> tuple[list[Departure], dict[str, str]]:
    """Return departures of biases, and the gates whose biases are those of other gates.

    Biases are not compared if weights are those of another layer, or all unrelated to the source.
    """
    elsewhere = any(b.place is not None and b.place.layer != home for b in blocks)
    if elsewhere or all(b.relation == "other" for b in blocks):
        return [], {}
    exchanged = any(b.place is not None and b.place.direction != b.direction for b in blocks)
    gates_by_departure: dict[tuple[str, str, str], list[str]] = {}
    moved: dict[str, str] = {}
    letters = LETTERS[layer.family]
    for d, biases in enumerate(layer.passes):
        theirs = source[home].passes[1 - d if exchanged and len(layer.passes) > 1 else d]
        for gate, kind, words, fix in _bias(layer, biases, theirs):
            if kind == MOVED:
                moved[gate] = words
                continue
            where = f" of the {DIRECTIONS[d]} direction" if len(layer.passes) > 1 else ""
            gates_by_departure.setdefault((kind, words + where, fix), []).append(letters[gate])
    departures = []
    for (kind, words, fix), gates in gates_by_departure.items():
        place = "all gates" if len(gates) == len(letters) else f"gate {_and(gates)}"
        departures.append(Departure(kind, f"{words.format(place)}.", fix))
    return departures, moved


MOVED = "moved"
"""The kind of a bias that is that of another gate, whose letter follows."""


@dataclass(frozen=True)
class _Bias:
    """The biases of one gate: of the input and of the state, the node's and the source's."""

    b: Floats
    c: Floats
    source_b: Floats
    source_c: Floats

    @property
    def total(self) -> Floats:
        """The sum of the node's two."""
        return self.b + self.c

    @property
    def source(self) -> Floats:
        """The sum of the source's two."""
        return self.source_b + self.source_c

    def near(self, got: Floats, want: Floats) -> bool:
        """Return whether two biases are equal up to the rounding of a sum in float32."""
        parts = (self.b, self.c, self.source_b, self.source_c)
        size = np.sum([np.abs(part) for part in parts], axis=0) + np.abs(want)
        return bool((np.abs(got - want) <= 4 * np.finfo(np.float32).eps * size).all())


def _bias(
    layer: Layer, blocks: Mapping[str, Floats], theirs: Mapping[str, Floats]
) -> Iterator[tuple[str, str, str, str]]:
    """Yield (gate, kind, words with a place for the gates, fix) for each wrong bias."""
    order = ORDERS["onnx"][layer.family]
    zero = np.zeros(len(blocks[f"W_{order[0]}"]))

    def read(arrays: Mapping[str, Floats], name: str) -> Floats:
        array: Floats = np.asarray(arrays.get(name, zero), np.float64)
        return array

    biases = {
        g: _Bias(read(blocks, f"b_{g}"), read(blocks, f"c_{g}"),
                 read(theirs, f"b_{g}"), read(theirs, f"c_{g}"))
        for g in order
    }  # fmt: skip
    for gate, bias in biases.items():
        apart = gate == "n" and layer.facts.get("reset") == "after"
        departure = _mixed_halves(bias) if apart else None
        if departure is None and not bias.near(bias.total, bias.source):
            others = {g: b.source for g, b in biases.items() if g != gate}
            departure = _changed_sum(bias, others)
        if departure is not None:
            yield gate, *departure


def _mixed_halves(bias: _Bias) -> tuple[str, str, str] | None:
    """Return how two biases differ that must not be mixed, because the reset acts on one."""
    b, c, near = bias.b, bias.c, bias.near
    if near(b, bias.source_b) and near(c, bias.source_c):
        return None
    if near(b, bias.source_c) and near(c, bias.source_b):
        return ("bias-halves", "The two halves of the bias of {} are exchanged",
                "the input's bias stands first in B, the state's after it")  # fmt: skip
    if near(bias.total, bias.source):
        return ("bias-halves", "The two biases of {} are mixed, and the reset acts on one alone",
                "keep the state's bias in the second half of B")  # fmt: skip
    return None


def _changed_sum(bias: _Bias, others: Mapping[str, Floats]) -> tuple[str, str, str]:
    """Return how a bias with another sum differs from the source's."""
    got = bias.total
    for part, remaining in (("", 0 * got), ("of the state ", bias.source_b),
                        ("of the input ", bias.source_c)):  # fmt: skip
        if bias.near(got, remaining):
            return ("bias-dropped", f"The bias {part}of {{}} is missing in the file",
                    "write both biases, or their sum, into B")  # fmt: skip
    for name, source in others.items():
        if bias.near(got, source):
            return MOVED, name, ""
    for name in ("float16", "bfloat16"):
        kind = RELATIONS[f"rounded to {name}"]
        rounded = [kind(a).astype(np.float64) for a in (bias.source_b, bias.source_c)]
        if bias.near(got, rounded[0] + rounded[1]) or bias.near(
            got, kind(bias.source).astype(float)
        ):
            return "rounded", f"The bias of {{}} is rounded to {name}", _FIXES["rounded"]
    difference = got - bias.source
    if np.ptp(difference) <= 1e-6 * max(1.0, float(np.abs(difference).max())):
        return ("bias-offset", f"The bias of {{}} is the source's and {difference[0]:+.6g}",
                "write the source's bias as it is")  # fmt: skip
    words = f"The bias of {{}} differs from the source's by up to {np.abs(difference).max():.3g}"
    return "bias-changed", words, "write the source's bias as it is"


# Attributes and states.

PARTS_OF_CLIP = ("cell_clip", "proj_clip")

FACTS: tuple[tuple[str, Callable[[str, str], bool], str, str], ...] = (
    ("reset", lambda got, want: want == "after",
     "Its reset acts {} the product with R_h (linear_before_reset = 0), the source's {} it.",
     "set linear_before_reset = 1"),
    ("reset", lambda got, want: want == "before",
     "Its reset acts {} the product with R_h (linear_before_reset = 1), the source's {} it.",
     "set linear_before_reset = 0"),
    ("activations", lambda got, want: True,
     "Its activations are {}, the source's {}.", "set activations to {1}"),
    ("direction", lambda got, want: True,
     "Its direction is {}, the source's {}.", "set direction = {1}"),
    ("clip", lambda got, want: want == "0",
     "It clips at {}, and the source does not.", "remove clip"),
    ("clip", lambda got, want: want != "0",
     "It clips at {}, and the source at {}.", "set clip = {1}"),
    ("cell_clip", lambda got, want: True,
     "Its cell_clip is {}, the source's {}.", "set cell_clip = {1}"),
    ("proj_clip", lambda got, want: True,
     "Its proj_clip is {}, the source's {}.", "set proj_clip = {1}"),
    ("time_major", lambda got, want: "any" not in (got, want),
     "time_major is {}, and the source's {}: steps are read as rows.", "set time_major = {1}"),
    ("coupled", lambda got, want: got == "yes",
     "Its gates are coupled, f = 1 - i, and the source has both.",
     "write the weights of both gates"),
    ("coupled", lambda got, want: got != "yes",
     "The source's gates are coupled, f = 1 - i, the node has both.",
     "write the weights of one alone"),
    ("steps", lambda got, want: want == "any" and got != "1",
     "It takes {} steps, fixed at export; the source takes any number.",
     "export with the axis of the steps dynamic"),
)  # fmt: skip
"""Attributes that are compared: a name, whether two values matter, the statement, the fix."""


def _attribute_departures(layer: Layer, target: Layer) -> Iterator[Departure]:
    """Yield attributes that differ from the source's."""
    both = {n: (v, target.facts[n]) for n, v in layer.facts.items() if n in target.facts}
    differing = {n: pair for n, pair in both.items() if pair[0] != pair[1]}
    for name, concerns, statement, fix in FACTS:
        if name not in differing or (name in PARTS_OF_CLIP and "clip" in differing):
            continue
        got, want = differing[name]
        if concerns(got, want):
            kind = "clip" if name in PARTS_OF_CLIP else name
            yield Departure(kind, statement.format(got, want), fix.format(got, want))


def _state_departures(layer: Layer, target: Layer) -> Iterator[Departure]:
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
