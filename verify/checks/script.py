"""Programs that show a failure without gatewise: the subject, NumPy and the numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..numbers.ledger import Comparison
from ..subjects.called import Call
from ..subjects.protocol import Inputs, Subject
from .check import SubjectCheck
from .oracle import state_names
from .quantities import by_name

LARGEST = 20_000
"""Numbers in a script; larger cases have no script."""


def write_script(
    subject: Subject,
    check: SubjectCheck,
    case: Case,
    failed: Sequence[Comparison],
    message: str,
    calls: Sequence[Call],
) -> str:
    """Return the program, or "" if the subject offers no plain call or the case is large."""
    caller = subject.caller(case)
    if not caller or not calls or any(call.tangents is not None for call in calls):
        return ""  # no script calls forward mode
    numbers = Numbers()
    train = "train({}, {})" if "\ndef train(" in caller else "{}.train({})"
    body = [*_calls(calls, numbers, train), *_ending(subject, case, failed, message, calls)]
    if numbers.count > LARGEST:
        return ""
    heading = f'"""{check.statement}\n\n{subject.name}, {case.dtype}: {message}\n"""'
    arrays = [f"{name} = {text}" for name, text in numbers.named.values()]
    lines = [heading, "import numpy as np", "from numpy import inf, nan", caller, *arrays, *body]
    return "\n".join(lines) + "\n"


@dataclass
class Numbers:
    """Arrays by content; equal arrays are written once, under one name."""

    named: dict[Any, tuple[str, str]] = field(default_factory=dict)
    count: int = 0

    def __call__(self, array: Floats | None) -> str:
        """Return the name of an array in the script."""
        if array is None:
            return "None"
        array = np.asarray(array)
        key = (array.shape, str(array.dtype), array.tobytes())
        if key not in self.named:
            self.count += array.size
            name = "float32" if array.dtype.name == "bfloat16" else array.dtype  # the same numbers
            text = f'np.array({array.tolist()}, dtype="{name}")'
            if array.size == 0:
                text = f'np.zeros({array.shape}, dtype="{name}")'
            self.named[key] = (f"array_{len(self.named) + 1}", text)
        return self.named[key][0]


def _calls(calls: Sequence[Call], numbers: Numbers, train: str) -> Iterator[str]:
    """Yield the code of all calls; ``train`` is the template that switches the mode."""
    layers: dict[int, str] = {}
    for number, call in enumerate(calls, start=1):
        built = id(call.layer.built)
        if built not in layers:
            layers[built] = f"layer_{len(layers) + 1}"
            yield f"{layers[built]} = make()"
        layer = layers[built]
        if call.inputs is None:
            yield train.format(layer, call.training)
            continue
        arguments = ", ".join(_arguments(call.inputs, numbers))
        for k, (dy, dfinal) in enumerate(call.cotangents or [(None, ())], start=1):
            gradient = ""
            if call.cotangents is not None:
                ends = ", ".join(numbers(d) for d in dfinal)
                gradient = f", dy={numbers(dy)}, dfinal=({ends},)"
            yield f"result_{number}_{k} = call({layer}, {arguments}{gradient})"


def _arguments(inputs: Inputs, numbers: Numbers) -> Iterator[str]:
    named = ", ".join(f'"{name}": {numbers(array)}' for name, array in inputs.parameters.items())
    yield f"{{{named}}}"
    yield numbers(inputs.x)
    if inputs.state is None:
        yield "None"
    else:
        yield f"({', '.join(map(numbers, inputs.state))},)"
    if inputs.lengths is not None:
        yield f"lengths={numbers(inputs.lengths)}"
    if inputs.kept:
        yield "kept=True"
    if inputs.rows is not None:
        yield f"rows={inputs.rows}"


def _ending(
    subject: Subject, case: Case, failed: Sequence[Comparison], message: str, calls: Sequence[Call]
) -> Iterator[str]:
    place = _occurrence(state_names(subject, case), failed[0], calls) if failed else None
    if place is None:
        yield from _without_numbers(state_names(subject, case), message, calls)
        return
    (number, k), quantity, index = place
    worst = failed[0]
    yield f"got = result_{number}_{k}[{quantity!r}][{', '.join(map(str, index))}]"
    yield f"expected, bound = {worst.expected!r}, {worst.bound!r}"
    yield f'print(f"{quantity}{list(index)} = {{got}}, expected {{expected}} ± {{bound:.2g}}")'
    yield "assert abs(got - expected) <= bound"


RETURNED = r"(?:.*: )?([^:]+): expected (dtype|shape) (.*), got (.*)"
"""The message of a check about a wrong dtype or shape."""


def _without_numbers(states: Sequence[str], message: str, calls: Sequence[Call]) -> Iterator[str]:
    """Yield an ending for a failure other than a number beyond its bound."""
    returned = re.fullmatch(RETURNED, message)
    number = len(calls)
    if returned and calls[-1].results and returned[1] in by_name(states, calls[-1].results[-1]):
        name, attribute, expected, _ = returned.groups()
        yield f"got = str(result_{number}_{len(calls[-1].results)}[{name!r}].{attribute})"
        yield f'print(f"{name}: expected {attribute} {expected}, got {{got}}")'
        yield f"assert got == {expected!r}"
        return
    yield f"print({message!r})"
    if "in training is explained by none" in message and (calls[-1].results[-1].y == 0).any():
        yield f"dropped = (result_{number}_1['y'] == 0).mean()"
        yield 'print(f"{dropped:.0%} of the outputs of the last layer are 0 in training")'
        yield "assert dropped == 0, 'dropout acts on more than the outputs between layers'"


def _occurrence(
    states: Sequence[str], worst: Comparison, calls: Sequence[Call]
) -> tuple[tuple[int, int], str, tuple[int, ...]] | None:
    """Return the call (from 1) and result that hold the worst number, its name and index."""
    quantity = worst.quantity.rpartition(": ")[2]
    for number in range(len(calls), 0, -1):
        for k, result in enumerate(calls[number - 1].results, start=1):
            array = by_name(states, result).get(quantity)
            if array is None or array.ndim != len(worst.where):
                continue
            if all(0 <= i < n for i, n in zip(worst.where, array.shape, strict=True)):
                entry = float(array[worst.where])
                if entry == worst.got or (np.isnan(entry) and np.isnan(worst.got)):
                    return (number, k), quantity, worst.where
    return None
