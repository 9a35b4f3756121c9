"""The inputs and outputs of an operator in the running graph of TensorFlow Lite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ..graph import ModelError
from ..nodes import Node
from ..sample import sample
from . import single
from .flatbuffer import File
from .operators import OPERATORS, FusedNode


def calls(file: File, node: Node, inputs: Path) -> list[dict[str, Floats]]:
    """Return a node's inputs and outputs in one call of a model, in the equations' layout.

    They are x (T, B, D), y, ``state 0``, ..., ``final 0``, ... Raises ModelError if there are none.
    """
    cut, operator = node.unrolled, node.file_operator if isinstance(node, FusedNode) else None
    graph = operator.graph if operator is not None else cut.graph
    if graph:
        raise ModelError("it stands in the graph of a loop or a branch, whose values are not kept")
    if operator is None and cut.before is not None:
        raise ModelError("its input is multiplied outside of the step, for all steps at once")
    interpreter = _ready(file, inputs)
    initial = {}
    if operator is not None:  # the variables change in the call
        states = [
            operator.input(k) for places in OPERATORS[operator.name][1].states for k in places
        ]
        initial = {k: np.array(interpreter.get_tensor(k)) for k in states}
    interpreter.invoke()

    def value(number: int) -> Floats:
        return np.array(interpreter.get_tensor(number))

    if operator is None:
        before, after = (
            {n: (a := value(k)).reshape(1, -1, a.shape[-1]) for n, k in tensors.items()}
            for tensors in (cut.inputs, cut.outputs)
        )
        call = {"x": before["x"], "y": after["h"]}
        for k, name in enumerate(node.states):
            call |= {f"state {k}": before[name], f"final {k}": after[name]}
        return [call]
    x, y = value(operator.inputs[0]), np.concatenate([value(k) for k in operator.outputs], axis=-1)
    if x.ndim == 2:  # one step
        x, y = x[None], y[None]
    elif node.layout:
        x, y = np.swapaxes(x, 0, 1), np.swapaxes(y, 0, 1)
    call, count = {"x": x, "y": y}, len(node.states)
    for k, _ in enumerate(node.states):
        call[f"state {k}"] = np.stack([initial[n] for n in states[k::count]])
        call[f"final {k}"] = np.stack([value(n) for n in states[k::count]])
    return [call]


def _ready(file: File, inputs: Path) -> Any:
    """Return an interpreter that keeps all tensors, with the inputs of a file of arrays."""
    interpreter = single.interpreter(file.data, keep_tensors=True)
    details = {d["index"]: d for d in interpreter.get_input_details()}
    named = _by_name(interpreter, details)
    feeds = sample(inputs, {name: np.dtype(details[k]["dtype"]) for name, k in named.items()})
    for name, number in named.items():
        if tuple(details[number]["shape"]) != feeds[name].shape:
            interpreter.resize_tensor_input(number, feeds[name].shape)
    interpreter.allocate_tensors()
    for name, number in named.items():
        interpreter.set_tensor(number, feeds[name])
    return interpreter


def _by_name(interpreter: Any, details: Mapping[int, Any]) -> dict[str, int]:
    """Return the model's inputs by the names of its signature, or by those of their tensors."""
    signatures = interpreter.get_signature_list()
    if len(signatures) == 1:
        (key,) = signatures
        runner = interpreter.get_signature_runner(key)
        return {name: d["index"] for name, d in runner.get_input_details().items()}
    return {d["name"]: number for number, d in details.items()}
