"""Published vectors as node tests of ONNX: folders with ``model.onnx`` and ``test_data_set_0``.

A model consists of one RNN, LSTM or GRU, with weights among its inputs or inside. Models are
untrusted: they are parsed, checked for their single node, and never run.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..models.graph import Model
from ..models.nodes import KINDS, SLOTS, nodes
from ..subjects.framework import imported
from .audit import NotAudited, PublishedTest, Tolerance
from .operators import published_test

RUNNERS = Tolerance(atol=1e-7, rtol=1e-3)
"""The tolerance of ONNX's own runner where a test names none (``onnx.backend.test.loader``)."""

LARGEST = 2**24
"""Bytes of a model or an array: node tests are far smaller."""


def folders(root: Path) -> list[Path]:
    """Return the folders of node tests in a folder, or that folder itself."""
    inside = sorted(path.parent for path in root.glob("*/model.onnx"))
    return [root] if (root / "model.onnx").is_file() else inside


def read(folder: Path, tolerance: Tolerance | None) -> Iterator[PublishedTest]:
    """Yield the tests of one folder, one per data set; raise NotAudited if there are none."""
    onnx = imported("onnx", "onnx")
    model = _parsed(folder / "model.onnx", onnx.ModelProto())
    _check_node(folder.name, model)
    used_tolerance = tolerance_in(folder) if tolerance is None else tolerance
    inside = {tensor.name for tensor in model.graph.initializer}
    count = sum(i.name not in inside for i in model.graph.input)
    for data in sorted(folder.glob("test_data_set_*")):
        arrays_fed = _arrays(onnx, data, "input", count)
        outputs = _arrays(onnx, data, "output", len(model.graph.output))
        try:
            yield _published_test(onnx, folder.name, model, arrays_fed, outputs, used_tolerance)
        except (ValueError, IndexError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, NotAudited):
                raise
            raise NotAudited(f"{folder.name}: its arrays have other shapes ({error})") from error


def installed(tolerance: Tolerance | None) -> Iterator[PublishedTest | NotAudited]:
    """Yield the node tests of these operators in the installed package of ONNX."""
    onnx = imported("onnx", "onnx")
    loader = imported("onnx.backend.test.loader", "onnx")
    with warnings.catch_warnings():  # the package computes all its tests to list them
        warnings.simplefilter("ignore")
        cases = loader.load_model_tests(kind="node")
    for case in cases:
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].op_type not in KINDS:
            continue
        used_tolerance = Tolerance(case.atol, case.rtol) if tolerance is None else tolerance
        for inputs, outputs in case.data_sets:
            arrays_fed, wanted = ([_array(onnx, a) for a in side] for side in (inputs, outputs))
            try:
                yield _published_test(
                    onnx, case.name, case.model, arrays_fed, wanted, used_tolerance
                )
            except NotAudited as reason:
                yield reason


def _array(onnx: Any, value: Any) -> Floats:
    tensor = isinstance(value, onnx.TensorProto)
    return np.asarray(onnx.numpy_helper.to_array(value) if tensor else value)


def _check_node(name: str, model: Any) -> None:
    nodes = model.graph.node
    if len(nodes) != 1 or nodes[0].op_type not in KINDS:
        kinds = sorted({node.op_type for node in nodes})[:5]
        raise NotAudited(f"{name}: no model of one RNN, LSTM or GRU, but of {', '.join(kinds)}")


def _parsed(path: Path, message: Any) -> Any:
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise NotAudited(f"{path}: there is no such file, or it is larger than {LARGEST} bytes")
    try:
        message.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf has errors of its own
        raise NotAudited(f"{path}: not a file of ONNX ({error})") from error
    return message


def _arrays(onnx: Any, data: Path, part: str, count: int) -> list[Floats]:
    paths = [data / f"{part}_{k}.pb" for k in range(count)]
    tensors = [_parsed(path, onnx.TensorProto()) for path in paths]
    if any(tensor.external_data for tensor in tensors):
        raise NotAudited(f"{data}: arrays in other files are not read")
    return [np.asarray(onnx.numpy_helper.to_array(tensor)) for tensor in tensors]


def _published_test(
    onnx: Any,
    name: str,
    model: Any,
    arrays_fed: Sequence[Floats],
    outputs: Sequence[Floats],
    tolerance: Tolerance,
) -> PublishedTest:
    """Return a test, with the arrays that are fed as if they were stored in the model."""
    stored = {tensor.name for tensor in model.graph.initializer}
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise NotAudited(f"{name}: arrays in other files are not read")
    complete = onnx.ModelProto()
    complete.CopyFrom(model)
    names = [i.name for i in model.graph.input if i.name not in stored]
    complete.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, n) for n, array in zip(names, arrays_fed, strict=True)
    )
    scope, proto = Model(Path(name), complete).main, model.graph.node[0]
    (node,) = nodes(scope)
    if "P" in node.weights and not np.any(node.weights["P"]):
        node = replace(node, weights={n: a for n, a in node.weights.items() if n != "P"})
    if not node.problem and not node.plain:
        kinds = ", ".join(map(str, node.of_direction))
        lacking = "clip: no cell of the reference clips" if node.clip else (
            f"activations {kinds}: no such cell in the reference"
        )  # fmt: skip
        raise NotAudited(f"{name}: {lacking}")
    values = {slot: scope.constant(n) for slot, n in zip(SLOTS, proto.input, strict=False)}
    arrays = {slot: array for slot, array in values.items() if array is not None}
    by_name = dict(zip((o.name for o in model.graph.output), outputs, strict=True))
    results = dict(zip(("Y", "Y_h", "Y_c"), proto.output, strict=False))
    expected = {slot: by_name[n] for slot, n in results.items() if n in by_name}
    return published_test(name, "ONNX", node, arrays, expected, tolerance)


def tolerance_in(folder: Path) -> Tolerance:
    """Return a test's tolerance from its ``data.json``, or else the runner's."""
    path = folder / "data.json"
    if not path.is_file() or path.stat().st_size > LARGEST:
        return RUNNERS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return Tolerance(
            float(settings.get("atol", RUNNERS.atol)), float(settings.get("rtol", RUNNERS.rtol))
        )
    except (ValueError, AttributeError, TypeError) as error:
        raise NotAudited(f"{path}: no tolerance ({error})") from error
