"""One gate's part of an array that is left out or added twice.

The reference has the sum of two biases; which of them is wrong shows in gradients and in the
layer's own arrays. Code that adds a product and its bias in one call may leave out both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from ....reference.arrays import Floats
from ...cases.case import Case
from ...conventions.parameter_map import ParameterMap
from ...subjects.protocol import Subject
from ..hypotheses import Hypothesis, base

WORDS = {
    0: ("is not read", "add it"),
    2: ("is added twice", "add it once"),
}
"""Factors of a gate's part, with words and remedies."""


def slots(parameters: ParameterMap, array: str) -> Mapping[str, Floats]:
    """Return a mask of each gate's entries in an array.

    The array is filled with distinct numbers, which are looked for in each gate's parameters.
    """
    nothing = {name: np.zeros(shape) for name, shape in parameters.shapes().items()}
    numbers = np.arange(1.0, nothing[array].size + 1).reshape(nothing[array].shape)
    masks: dict[str, Floats] = {}
    with_numbers = parameters.to_reference({**nothing, array: numbers})
    without = parameters.to_reference(nothing)
    for p, zeros in zip(with_numbers, without, strict=True):
        for name, shape in p.shapes.items():
            part = p[name] - zeros[name]
            for k, gate in enumerate(shape.gates or (name.rpartition("_h")[2],)):
                block = part[k] if shape.gates else part
                if block.any():
                    mask = np.isin(numbers, np.abs(block))
                    masks[gate] = masks.get(gate, np.zeros_like(mask)) | mask
    return masks


@dataclass(frozen=True)
class SlotFactor:
    """One gate's part of an array, in all passes, multiplied by a number."""

    array: str
    gate: str
    factor: float

    def __call__(self, parameters: ParameterMap) -> dict[str, Floats]:
        """Return the factors of all entries of the arrays of this name."""
        return {
            name: np.where(slots(parameters, name).get(self.gate, False), self.factor, 1.0)
            for name in parameters.shapes()
            if base(name) == self.array
        }


def biases(subject: Subject) -> Iterator[Hypothesis]:
    """Yield hypotheses that one gate's part of one array of biases is not read, or read twice."""
    parameters = subject.parameter_map(Case(2, 2, 3, 4, dtype=subject.dtypes[0]))
    names = [name for name in parameters.shapes() if name.startswith("b")]
    for name in names if len(names) > 1 else ():
        for gate in slots(parameters, name):
            for factor, (predicate, fix) in WORDS.items():
                owner = "candidate" if gate == "n" else f"gate {gate}"
                part = f"The part of {base(name)} that belongs to the {owner}"
                yield Hypothesis(
                    (f"{gate} of {base(name)} times {factor}",), (f"{part} {predicate}.",), (),
                    (f"{fix}: every gate has a part in every array of biases",), ("forward",),
                    factors=(SlotFactor(base(name), gate, factor),),
                )  # fmt: skip


def exchanged(subject: Subject) -> Iterator[Hypothesis]:
    """Yield that two gates' parts are exchanged in one of several arrays of biases alone."""
    parameters = subject.parameter_map(Case(2, 2, 3, 4, dtype=subject.dtypes[0]))
    names = [n for n, s in parameters.shapes().items() if n.startswith("b") and len(s) == 1]
    for name in names if len(names) > 1 else ():
        gates = sorted(slots(parameters, name).items(), key=lambda each: int(each[1].argmax()))
        for a, b in combinations(range(len(gates)), 2):
            one, other = gates[a][0], gates[b][0]
            yield Hypothesis(
                (f"{one} and {other} exchanged in {base(name)}",),
                (f"In {base(name)} alone, the parts of {one} and {other} are exchanged.",), (),
                (f"read {base(name)} in the order {' '.join(gate for gate, _ in gates)}",),
                ("forward",), sources=(partial(_blocks_exchanged, base(name), len(gates), a, b),),
            )  # fmt: skip


def _blocks_exchanged(
    array: str, count: int, a: int, b: int, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[str, Floats]]:
    """Return where the blocks of one array are read, two of which stand for each other."""
    moved = {}
    for name, shape in shapes.items():
        if base(name) == array:
            blocks = np.arange(shape[0]).reshape(count, -1)
            blocks[[a, b]] = blocks[[b, a]]
            moved[name] = (name, blocks.ravel())
    return moved


def terms(subject: Subject) -> Iterator[Hypothesis]:
    """Yield hypotheses that a gate lacks a product with the input or the state, or biases.

    A product may be missing alone or with its bias.
    """
    parameters = subject.parameter_map(Case(2, 2, 3, 4, dtype=subject.dtypes[0]))
    names = {role: arrays_of_role(parameters, role) for role in ("W", "U", "b")}
    biases = names["b"]
    paired = len(biases) > 1 and len(names["W"]) == len(names["U"]) == 1
    groups: dict[str, tuple[str, ...]] = {
        f"part of {name} is": (name,) for name in (*names["W"], *names["U"])
    }
    if paired:
        for name, bias in zip((*names["W"], *names["U"]), biases, strict=False):
            groups[f"parts of {name} and {bias} are"] = (name, bias)
        groups[f"parts of {' and '.join(biases)} are"] = tuple(biases)
    for words, arrays in groups.items():
        for gate in slots(parameters, f"{arrays[0]}_l0"):
            owner = {"g": "the candidate", "n": "the candidate", "a": "the state"}.get(
                gate, f"gate {gate}"
            )
            yield Hypothesis(
                (f"{gate} of {' and '.join(arrays)} not read",),
                (f"In the pre-activation of {owner}, its {words} not added.",), (),
                (f"add it: every gate sums {_sum(names)}",), ("influence", "forward"),
                factors=tuple(SlotFactor(array, gate, 0) for array in arrays),
            )  # fmt: skip


def _sum(names: Mapping[str, Sequence[str]]) -> str:
    """Return the terms of a gate's sum, by the names of the arrays."""
    products = [*(f"{w} x" for w in names["W"]), *(f"{u} h" for u in names["U"])]
    return ", ".join((*products, *names["b"]))


def arrays_of_role(parameters: ParameterMap, role: str) -> list[str]:
    """Return the names, without a pass, of arrays that hold the reference's W, U or b."""
    nothing = {name: np.zeros(shape) for name, shape in parameters.shapes().items()}
    names = []
    (without, *_) = parameters.to_reference(nothing)
    for name, zeros in nothing.items():
        (read, *_) = parameters.to_reference({**nothing, name: zeros + 1})
        if any(key[0] == role and (read[key] != without[key]).any() for key in read.shapes):
            names.append(base(name))
    return list(dict.fromkeys(names))
