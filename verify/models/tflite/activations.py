"""What reaches an operator in the running graph of TensorFlow Lite, and what it makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....reference.functions import Array
from ..graph import ModelError
from ..sample import sample
from . import single
from .operators import OPERATORS, FusedNode


def calls(node: FusedNode, inputs: Path) -> list[dict[str, Array]]:
    """Return what an operator takes and makes in the one call of a model, in the equations' layout.

    x (T, B, D), y, ``state 0``, ..., ``final 0``, ...; ModelError says why there is nothing.
    """
    assert node.at is not None  # noqa: S101 - what is held was read from a file
    file, operator = node.at
    if operator.graph:
        raise ModelError("it stands in the graph of a loop or a branch, whose values are not kept")
    interpreter = single.interpreter(file.data, whole=True)
    details = {d["index"]: d for d in interpreter.get_input_details()}
    named = _by_name(interpreter, details)
    feeds = sample(inputs, {name: np.dtype(details[k]["dtype"]) for name, k in named.items()})
    for name, number in named.items():
        if tuple(details[number]["shape"]) != feeds[name].shape:
            interpreter.resize_tensor_input(number, feeds[name].shape)
    interpreter.allocate_tensors()
    for name, number in named.items():
        interpreter.set_tensor(number, feeds[name])
    states = [operator.input(k) for own in OPERATORS[operator.name][1].states for k in own]
    before = [np.array(interpreter.get_tensor(k)) for k in states]
    interpreter.invoke()

    def value(number: int) -> Array:
        try:
            return np.array(interpreter.get_tensor(number))
        except ValueError as error:
            raise ModelError("a delegate keeps its values to itself") from error

    x, y = value(operator.inputs[0]), np.concatenate([value(k) for k in operator.outputs], axis=-1)
    if node.one_step:
        x, y = x[None], y[None]
    elif node.layout:
        x, y = np.swapaxes(x, 0, 1), np.swapaxes(y, 0, 1)
    call = {"x": x, "y": y}
    count = len(node.states)
    for k, _ in enumerate(node.states):
        call[f"state {k}"] = np.stack(before[k::count])
        call[f"final {k}"] = np.stack([value(n) for n in states[k::count]])
    return [call]


def _by_name(interpreter: Any, details: Mapping[int, Any]) -> dict[str, int]:
    """Return the model's inputs by the names of its signature, or by those of their tensors."""
    signatures = interpreter.get_signature_list()
    if len(signatures) == 1:
        (key,) = signatures
        runner = interpreter.get_signature_runner(key)
        return {name: d["index"] for name, d in runner.get_input_details().items()}
    return {d["name"]: number for number, d in details.items()}
