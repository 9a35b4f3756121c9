"""One gate's part of one array of biases, where there are two of them: left out, or added twice.

The reference has the sum of two biases; which of them is off shows in gradients, and in the layer's
own arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ....reference.functions import Array
from ...cases.case import Case
from ...conventions.parameter_map import ParameterMap
from ...subjects.protocol import Subject
from ..hypotheses import Hypothesis, base

WORDS = {
    0: ("is not read", "add it"),
    2: ("is added twice", "add it once"),
}
"""By what a gate's part is multiplied: what that is in words, and what to do."""


def slots(parameters: ParameterMap, array: str) -> Mapping[str, Array]:
    """Return where each gate has its entries in an array: a mask of the array's shape."""
    nothing = {name: np.zeros(shape) for name, shape in parameters.shapes().items()}
    numbers = np.arange(1.0, nothing[array].size + 1).reshape(nothing[array].shape)
    masks: dict[str, Array] = {}
    without = parameters.to_reference(nothing)
    for own, none in zip(
        parameters.to_reference({**nothing, array: numbers}), without, strict=True
    ):
        for name, shape in own.shapes.items():
            for k, gate in enumerate(shape.gates or (name.rpartition("_h")[2],)):
                block = (own[name] - none[name])[k] if shape.gates else own[name] - none[name]
                if block.any():
                    mask = np.isin(numbers, np.abs(block))
                    masks[gate] = masks.get(gate, np.zeros_like(mask)) | mask
    return masks


@dataclass(frozen=True)
class SlotFactor:
    """One gate's part of an array, in all passes, multiplied by a number."""

    array: str
    gate: str
    by: float

    def __call__(self, parameters: ParameterMap) -> dict[str, Array]:
        """Return the factors of all entries of the arrays of this name."""
        return {
            name: np.where(slots(parameters, name)[self.gate], self.by, 1.0)
            for name in parameters.shapes()
            if base(name) == self.array
        }


def biases(subject: Subject) -> Iterator[Hypothesis]:
    """Yield that one gate's part of one of several arrays of biases is not read, or read twice."""
    parameters = subject.parameter_map(Case(2, 2, 3, 4, dtype=subject.dtypes[0]))
    names = [name for name in parameters.shapes() if name.startswith("b")]
    for name in names if len(names) > 1 else ():
        for gate in slots(parameters, name):
            for by, (so, fix) in WORDS.items():
                whose = f"The part of {base(name)} that belongs to the gate {gate}"
                if gate == "n":
                    whose = f"The part of {base(name)} that belongs to the candidate"
                yield Hypothesis(
                    (f"{gate} of {base(name)} times {by}",), (f"{whose} {so}.",), (),
                    (f"{fix}: every gate has a part in every array of biases",), ("forward",),
                    factors=(SlotFactor(base(name), gate, by),),
                )  # fmt: skip
