"""The inputs and outputs of a node in the running graph.

Its values become outputs of its graph, and of each If, Loop, Scan and function around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from .graph import Model, ModelError, Scope, array_of, import_onnx
from .nodes import SLOTS, Node
from .runtimes import PerShape, Runtime
from .sample import sample

MARK = "gatewise "
"""Beginning of the names of values that are added to a graph."""

CALLS = 4
"""Calls of a node in a loop that are compared."""

BRANCHES = ("then_branch", "else_branch")


def activations(
    model: Model, node: Node, runtime: Runtime, inputs: Path
) -> list[dict[str, Floats]]:
    """Return the values of a node's inputs and outputs by their slots, for each of its calls.

    Slots are X, sequence_lens, initial_h, initial_c, and Y, Y_h, Y_c; of an unrolled step x, h, c
    and new h, new c. Raises ModelError if there are none, UnknownSubject if ``inputs`` are
    invalid. The model is changed.
    """
    if node.unrolled is not None:
        scope = node.unrolled.scope
        values = {**node.unrolled.inputs}
        values |= {f"new {name}": value for name, value in node.unrolled.outputs.items()}
    else:
        assert node.place is not None  # noqa: S101 - nodes with weights have a graph
        scope, proto = node.place
        values = _values(node, proto)
    feeds = _feeds(model, inputs)
    for graph in model.scopes():
        _inline_external_data(graph)
    output_names, loops = _as_outputs(scope, list(values.values()), np.dtype(node.dtype), node)
    names = [output.name for output in model.proto.graph.output]
    outputs = PerShape(runtime, model.proto.SerializeToString())(feeds)
    arrays = [np.asarray(outputs[names.index(name)]) for name in output_names]
    if any(array.size == 0 for array in arrays):
        raise ModelError("the branch in which it stands was not taken, or it had no steps")
    return list(_calls(dict(zip(values, arrays, strict=True)), loops))


def _values(node: Node, proto: Any) -> dict[str, str]:
    """Return the values of a node by their slots; unused outputs are named."""
    inputs = dict(zip(SLOTS, proto.input, strict=False))
    values = {
        slot: name for slot, name in inputs.items() if name and slot not in ("W", "R", "B", "P")
    }
    slots = ["Y", *(f"Y_{state}" for state in node.states)]
    outputs = [*proto.output, *[""] * len(slots)][: len(slots)]
    for k, slot in enumerate(slots):
        values[slot] = outputs[k] or f"{MARK}{node.name} {slot}"
    del proto.output[:]
    proto.output.extend(values[slot] for slot in slots)
    return values


def _as_outputs(
    scope: Scope, values: Sequence[str], dtype: np.dtype[Any], node: Node
) -> tuple[list[str], int]:
    """Make values of a graph outputs of the main one; return their names and number of loops."""
    onnx = import_onnx()
    number = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    kinds = [number if name != _lengths_value(node) else onnx.TensorProto.INT32 for name in values]
    loops, depth = 0, 0
    while True:
        names = [f"{MARK}{depth} {k}" for k, _ in enumerate(values)]
        for value, name in zip(values, names, strict=True):
            scope.graph.node.append(onnx.helper.make_node("Identity", [value], [name]))
        outputs = names if scope.arguments is not None else [
            onnx.helper.make_tensor_value_info(name, kind, None)
            for name, kind in zip(names, kinds, strict=True)
        ]  # fmt: skip
        before = len(scope.graph.output)
        scope.graph.output.extend(outputs)
        if scope.outer is None:
            return names, loops
        container = scope.within
        above = [f"{name} of {container.op_type}" for name in names]
        if scope.arguments is not None:
            _fill_calls(scope.model, container, before, above)
        elif container.op_type == "If":
            _fill_other_branch(container, scope, above, kinds)
        elif container.op_type in ("Loop", "Scan"):
            loops += 1
        else:
            raise ModelError(f"it stands inside of {container.op_type}, which shows no values")
        if scope.arguments is None:
            container.output.extend(above)
        scope, values, depth = scope.outer, above, depth + 1


def _fill_calls(model: Model, call: Any, before: int, names: Sequence[str]) -> None:
    """Add these outputs to a call of a function, and as many to all its other calls.

    ``before`` is the number of outputs that the function had.
    """
    count = before + len(names)
    calls = [n for scope in model.scopes() for n in scope.graph.node
             if (n.domain, n.op_type) == (call.domain, call.op_type)]  # fmt: skip
    for k, other_call in enumerate(calls):
        outputs = [f"{MARK}{k} {place} unread" for place in range(count)]
        if other_call is call:
            outputs[before:] = names
        other_call.output.extend(outputs[len(other_call.output) :])


def _lengths_value(node: Node) -> str:
    """Return the value that holds the lengths of a node's rows; "" if there is none."""
    if node.place is None:
        return ""
    return str(dict(zip(SLOTS, node.place[1].input, strict=False)).get("sequence_lens", ""))


def _fill_other_branch(
    container: Any, scope: Scope, names: Sequence[str], kinds: Sequence[int]
) -> None:
    """Add as many empty outputs to the other branch of an If."""
    onnx = import_onnx()
    for attribute in container.attribute:
        if attribute.name not in BRANCHES or attribute.name == scope.attribute:
            continue
        for name, kind in zip(names, kinds, strict=True):
            empty = onnx.helper.make_tensor(f"{name} empty", kind, [0], [])
            output = f"{name} else"
            attribute.g.node.append(onnx.helper.make_node("Constant", [], [output], value=empty))
            attribute.g.output.append(onnx.helper.make_tensor_value_info(output, kind, None))


def _inline_external_data(scope: Scope) -> None:
    """Copy external data into the graph, because a runtime gets a single file."""
    onnx = import_onnx()
    for tensor in getattr(scope.graph, "initializer", ()):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            array = array_of(scope.model, tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def _feeds(model: Model, path: Path) -> dict[str, Floats]:
    """Return the inputs of a model from a file; raise UnknownSubject if they do not match."""
    dtype_of = import_onnx().helper.tensor_dtype_to_np_dtype
    stored = {tensor.name for tensor in model.proto.graph.initializer}
    inputs = [i for i in model.proto.graph.input if i.name not in stored]
    return sample(path, {i.name: np.dtype(dtype_of(i.type.tensor_type.elem_type)) for i in inputs})


def _calls(values: Mapping[str, Floats], loops: int) -> Iterator[dict[str, Floats]]:
    """Yield the values of each call; loops stack those of their rounds."""
    if not loops:
        yield dict(values)
        return
    stacked = {n: a.reshape(-1, *a.shape[loops:]) for n, a in values.items()}
    for k in range(min(CALLS, *(len(a) for a in stacked.values()))):
        yield {name: array[k] for name, array in stacked.items()}
