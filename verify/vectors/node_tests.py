"""Vectors as node tests of ONNX: a model of one operator, its inputs and outputs, a tolerance.

A folder ``test_CELL_K`` has ``model.onnx``, ``test_data_set_0/input_K.pb`` and ``output_K.pb``, and
``data.json`` with ``rtol`` and ``atol``, which ONNX's loader reads. They are the narrowest that no
correct implementation exceeds; ``bound_K.pb`` has the bound of each number. Y is left out if rows
end early, because ONNX does not specify outputs after their ends.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..numbers.bounded import OWN_ROUNDING
from ..subjects.framework import imported
from ..subjects.frameworks.onnx_operator import IR_VERSION, LENGTHS, OPSET, Operator
from ..subjects.frameworks.onnxruntime import OnnxRuntime
from .selection import Selection
from .vector import Vector, mistakes

CONVENTION = "onnx"
DTYPES = {"float32": "FLOAT", "float64": "DOUBLE"}
INDEX = "node_tests.json"
LOST = "no node test shows it: Y is left out where rows end early, or the tolerance hides it"
RELATIVE = (0.0, *(10.0**-k for k in range(8, 2, -1)))
"""Candidates for ``rtol``; each determines the smallest ``atol``."""


@dataclass(frozen=True)
class Expected:
    """An output of a file, and the bound of each number around the written one."""

    name: str
    value: Floats
    bound: Floats


@dataclass(frozen=True)
class NodeTest:
    """One test: its name, and the tolerance with which it misses the fewest mistakes.

    ``missed`` are the mistakes that its bounds catch and no such tolerance does.
    """

    name: str
    comment: str
    rtol: float
    atol: float
    catches: tuple[str, ...]
    missed: tuple[str, ...]


def write(folder: Path, selection: Selection) -> tuple[NodeTest, ...]:
    """Write the tests of a selection in ONNX's convention into a folder, and an index of them."""
    adapter = selection.adapter
    assert isinstance(adapter, OnnxRuntime)  # noqa: S101
    tests = []
    for number, vector in enumerate(selection.vectors, 1):
        name = f"test_{selection.cell.replace('-', '_')}_{selection.dtype}_{number}"
        tests.append(_write(folder / name, name, vector, adapter.operator))
    lost = selection.catches.difference(*(test.catches for test in tests))
    index = {
        "cell": selection.cell,
        "dtype": selection.dtype,
        "not_caught": dict.fromkeys(sorted(lost), LOST),
        "tests": [asdict(test) for test in tests],
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return tuple(tests)


def _write(folder: Path, name: str, vector: Vector, operator: Operator) -> NodeTest:
    onnx = imported("onnx", "onnx")
    data = folder / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    inputs = operator.weights(vector.case, vector.inputs.parameters)
    inputs |= operator.feeds(vector.case, vector.inputs)
    outputs = _outputs(vector, operator)
    model = _model(onnx, name, vector, operator, inputs, outputs)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    order = [i.name for i in model.graph.input]
    files = {f"input_{k}": (n, inputs[n]) for k, n in enumerate(order)}
    files |= {f"output_{k}": (output.name, output.value) for k, output in enumerate(outputs)}
    files |= {f"bound_{k}": (output.name, output.bound) for k, output in enumerate(outputs)}
    for file, (tensor, array) in files.items():
        onnx.save_tensor(onnx.numpy_helper.from_array(array, tensor), data / f"{file}.pb")
    rtol, atol, catches, missed = _tolerance(vector, operator, outputs)
    tolerance = json.dumps({"rtol": rtol, "atol": atol})
    (folder / "data.json").write_text(tolerance + "\n", encoding="utf-8")
    return NodeTest(name, vector.reason, rtol, atol, catches, missed)


def _model(
    onnx: Any,
    name: str,
    vector: Vector,
    operator: Operator,
    inputs: Mapping[str, Floats],
    outputs: Sequence[Expected],
) -> Any:
    """Return a model of one node, with weights among its inputs, like ONNX's own node tests."""
    helper, number = onnx.helper, getattr(onnx.TensorProto, DTYPES[vector.case.dtype])
    shapes = {output.name: output.value.shape for output in outputs}
    slots = [name if name in shapes else "" for name in operator.outputs]
    node = operator.node(onnx, vector.case, inputs.keys(), slots)
    types = {LENGTHS: onnx.TensorProto.INT32}
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info(n, types.get(n, number), inputs[n].shape)
         for n in node.input if n],
        [helper.make_tensor_value_info(n, number, shape) for n, shape in shapes.items()],
    )  # fmt: skip
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def _outputs(vector: Vector, operator: Operator) -> list[Expected]:
    """Return the outputs in ONNX's shapes; rounding to the dtype widens their bounds."""
    outputs = []
    for name, (value, bound) in zip(operator.outputs, _as_onnx(vector), strict=True):
        if name == operator.outputs[0] and vector.case.lengths:
            continue
        rounded = value.astype(vector.case.number_type)
        widened = (bound + np.abs(rounded.astype(np.float64) - value)) * OWN_ROUNDING
        outputs.append(Expected(name, rounded, widened))
    return outputs


def _as_onnx(vector: Vector) -> Iterator[tuple[Floats, Floats]]:
    """Yield Y (T, directions, B, H) and the final states, values and bounds."""
    for name in ("y", *(f"final {state}" for state in vector.states)):
        want = vector.expected[name]
        yield shaped(name, want.value, vector), shaped(name, np.asarray(want.bound), vector)


def shaped(name: str, array: Floats, vector: Vector) -> Floats:
    """Return y (T, B, directions H) as (T, directions, B, H), and states unchanged."""
    if name != "y":
        return array
    case = vector.case
    return np.moveaxis(array.reshape(case.T, case.B, case.directions, case.H), 2, 1)


def _tolerance(
    vector: Vector, operator: Operator, outputs: Sequence[Expected]
) -> tuple[float, float, tuple[str, ...], tuple[str, ...]]:
    """Return rtol and atol, the mistakes that they catch, and those that only bounds catch."""
    names = dict(zip(("y", *(f"final {s}" for s in vector.states)), operator.outputs, strict=True))
    results = {
        m.id: {names[n]: shaped(n, a, vector) for n, a in m.got.items()}
        for m in mistakes(vector.setting) if m.id in vector.catches
    }  # fmt: skip

    def caught(rtol: float, atol: float, *, bounds: bool = False) -> set[str]:
        return {
            id for id, got in results.items()
            if any(
                _deviates(e, got.get(e.name), e.bound if bounds else atol, rtol) for e in outputs
            )
        }  # fmt: skip

    pairs = [(rtol, max(_absolute(output, rtol) for output in outputs)) for rtol in RELATIVE]
    rtol, atol = max(pairs, key=lambda pair: len(caught(*pair)))
    catches = caught(rtol, atol)
    missed = caught(0.0, 0.0, bounds=True) - catches
    return rtol, atol, tuple(sorted(catches)), tuple(sorted(missed))


def _absolute(output: Expected, rtol: float) -> float:
    """Return the smallest sufficient atol for a given rtol, rounded up."""
    least = float(
        np.max(output.bound - rtol * np.abs(output.value.astype(np.float64)), initial=0.0)
    )
    digits = 10.0 ** (math.floor(math.log10(least)) - 2) if least > 0 else 1.0
    return float(f"{math.ceil(least / digits) * digits:.3g}")


def _deviates(output: Expected, got: Floats | None, absolute: Floats | float, rtol: float) -> bool:
    """Return whether an output is missing, misshapen, or has a number beyond the tolerance."""
    if got is None or got.shape != output.value.shape:
        return True
    value = output.value.astype(np.float64)
    return not bool(np.all(np.abs(got - value) <= absolute + rtol * np.abs(value)))
