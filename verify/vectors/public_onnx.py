"""Published vectors as node tests of ONNX: folders with ``model.onnx`` and ``test_data_set_0``.

A model consists of one RNN, LSTM or GRU, with weights among its inputs or inside. Models are
untrusted: they are parsed, checked for their single node, and never run.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.sequence import reverse
from ..cases.case import LARGEST_SIZE, Case
from ..conventions import Convention, formula
from ..conventions.parameter_map import ConventionMap
from ..subjects.framework import imported
from ..subjects.frameworks.onnx_operator import convention
from ..subjects.protocol import Inputs
from .audit import Allowed, Published, Unread

KINDS = {"RNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
OUTPUTS = ("y", "final h", "final c")
USUAL = {"rnn": ["Tanh"], "lstm": ["Sigmoid", "Tanh", "Tanh"], "gru": ["Sigmoid", "Tanh"]}
OWN = Allowed(atol=1e-7, rtol=1e-3)
"""The default tolerance of ONNX's runner."""

LARGEST = 2**24
"""Bytes of a model or an array: node tests are far smaller."""


def folders(root: Path) -> list[Path]:
    """Return the folders of node tests in a folder, or that folder itself."""
    inside = sorted(path.parent for path in root.glob("*/model.onnx"))
    return [root] if (root / "model.onnx").is_file() else inside


def read(folder: Path, allowed: Allowed | None) -> Iterator[Published]:
    """Yield the tests of one folder, one per data set; raise Unread if there are none."""
    onnx = imported("onnx", "onnx")
    model = _parsed(folder / "model.onnx", onnx.ModelProto())
    _check_node(folder.name, model)
    used = allowed_in(folder) if allowed is None else allowed
    inside = {tensor.name for tensor in model.graph.initializer}
    count = sum(i.name not in inside for i in model.graph.input)
    for data in sorted(folder.glob("test_data_set_*")):
        fed = _arrays(onnx, data, "input", count)
        outputs = _arrays(onnx, data, "output", len(model.graph.output))
        try:
            yield _published(onnx, folder.name, model, fed, outputs, used)
        except (ValueError, IndexError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, Unread):
                raise
            raise Unread(f"{folder.name}: its arrays have other shapes ({error})") from error


def installed(allowed: Allowed | None) -> Iterator[Published | Unread]:
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
        used = Allowed(case.atol, case.rtol) if allowed is None else allowed
        for inputs, outputs in case.data_sets:
            fed, wanted = ([_array(onnx, a) for a in side] for side in (inputs, outputs))
            try:
                yield _published(onnx, case.name, case.model, fed, wanted, used)
            except Unread as reason:
                yield reason


def _array(onnx: Any, value: Any) -> Floats:
    tensor = isinstance(value, onnx.TensorProto)
    return np.asarray(onnx.numpy_helper.to_array(value) if tensor else value)


def _check_node(name: str, model: Any) -> None:
    nodes = model.graph.node
    if len(nodes) != 1 or nodes[0].op_type not in KINDS:
        kinds = sorted({node.op_type for node in nodes})[:5]
        raise Unread(f"{name}: no model of one RNN, LSTM or GRU, but of {', '.join(kinds)}")


def _parsed(path: Path, message: Any) -> Any:
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise Unread(f"{path}: there is no such file, or it is larger than {LARGEST} bytes")
    try:
        message.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf has errors of its own
        raise Unread(f"{path}: not a file of ONNX ({error})") from error
    return message


def _arrays(onnx: Any, data: Path, part: str, count: int) -> list[Floats]:
    paths = [data / f"{part}_{k}.pb" for k in range(count)]
    tensors = [_parsed(path, onnx.TensorProto()) for path in paths]
    if any(tensor.external_data for tensor in tensors):
        raise Unread(f"{data}: arrays in other files are not read")
    return [np.asarray(onnx.numpy_helper.to_array(tensor)) for tensor in tensors]


def _published(
    onnx: Any,
    name: str,
    model: Any,
    inputs_fed: Sequence[Floats],
    outputs: Sequence[Floats],
    allowed: Allowed,
) -> Published:
    """Return a test with time as the first axis, in forward order."""
    node = model.graph.node[0]
    family = KINDS[node.op_type]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    arrays, expected = _by_role(onnx, name, model.graph, inputs_fed, outputs)
    rows_first = bool(attributes.get("layout", 0))
    direction = _text(attributes.get("direction", b"forward"))
    both, backward = direction == "bidirectional", direction == "reverse"
    _check(name, family, attributes, 1 + both)
    if "X" not in arrays or "W" not in arrays or "R" not in arrays:
        raise Unread(f"{name}: X, W or R is not given")
    x = np.swapaxes(arrays["X"], 0, 1) if rows_first else arrays["X"]
    lengths = arrays.get("sequence_lens")
    full = lengths is None or bool(np.all(lengths == x.shape[0]))
    ends = np.full(x.shape[1], x.shape[0]) if full else np.asarray(lengths)
    c = _convention(family, attributes, arrays)
    H = arrays["R"].shape[-1]
    if not x.size or max((*x.shape, H)) > LARGEST_SIZE or np.any(ends > x.shape[0]):
        raise Unread(f"{name}: arrays of these shapes are not read")
    states = [arrays.get(f"initial_{s}") for s in c.states]
    state = None
    if any(s is not None for s in states):
        zero = np.zeros((1 + both, x.shape[1], H), x.dtype)
        state = tuple(zero if s is None else _passes_first(s, rows_first) for s in states)
    case = Case(
        x.shape[0], x.shape[1], x.shape[2], H, bidirectional=both, bias="B" in arrays,
        lengths=not full, state=state is not None, dtype=x.dtype.name,
    )  # fmt: skip
    parameter_map = ConventionMap(c, case)
    result = {n: _expected(n, a, case, rows_first) for n, a in expected.items() if a.size}
    if backward:
        x = np.asarray(reverse(x, ends))
        result = {n: np.asarray(reverse(a, ends)) if n == "y" else a for n, a in result.items()}
    inputs = Inputs(_parameters(c, arrays), x, state, None if full else ends)
    shapes = {n: np.shape(a) for n, a in inputs.parameters.items()}
    if c.cell is None or shapes != dict(parameter_map.shapes()):
        raise Unread(f"{name}: its weights have other shapes than ONNX says")
    words = formula.summary(c) + (", backwards" if backward else "")
    return Published(name, c.cell, case, parameter_map, inputs, result, allowed, words)


def _by_role(
    onnx: Any,
    name: str,
    graph: Any,
    input_arrays: Sequence[Floats],
    output_arrays: Sequence[Floats],
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return the node's inputs, fed or inside the model, and its expected outputs, by role."""
    if any(tensor.external_data for tensor in graph.initializer):
        raise Unread(f"{name}: arrays in other files are not read")
    node = graph.node[0]
    values = {t.name: np.asarray(onnx.numpy_helper.to_array(t)) for t in graph.initializer}
    names = [i.name for i in graph.input if i.name not in values]
    values |= dict(zip(names, input_arrays, strict=True))
    outputs = dict(zip((o.name for o in graph.output), output_arrays, strict=True))
    inputs = {role: values[n] for role, n in zip(INPUTS, node.input, strict=False) if n in values}
    expected = {r: outputs[n] for r, n in zip(OUTPUTS, node.output, strict=False) if n in outputs}
    return inputs, expected


def _check(name: str, family: str, attributes: Mapping[str, Any], passes: int) -> None:
    """Raise Unread for attributes that no cell of the reference has."""
    kinds = [_text(a) for a in attributes.get("activations", ())]
    if kinds and kinds != USUAL[family] * passes:
        raise Unread(f"{name}: activations {', '.join(kinds)}: no such cell in the reference")
    if attributes.get("clip"):
        raise Unread(f"{name}: clip: no cell of the reference clips")
    if attributes.get("input_forget"):
        raise Unread(f"{name}: input_forget: its block for f is not read")


def _convention(
    family: str, attributes: Mapping[str, Any], arrays: Mapping[str, Floats]
) -> Convention:
    others: dict[str, Any] = {}
    if family == "gru" and not attributes.get("linear_before_reset", 0):
        others["reset"] = "before"
    if family == "lstm" and np.any(arrays.get("P", 0)):
        others["peepholes"] = "iof"
    return convention(family, **others)


def _parameters(c: Convention, arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the arrays of all directions by the convention's names."""
    named = {}
    for place, suffix in zip(range(len(arrays["W"])), ("_l0", "_l0_reverse"), strict=False):
        named[f"weight_ih{suffix}"] = arrays["W"][place]
        named[f"weight_hh{suffix}"] = arrays["R"][place]
        if "B" in arrays:
            halves = np.split(arrays["B"][place], 2)
            named |= dict(zip((f"bias_ih{suffix}", f"bias_hh{suffix}"), halves, strict=True))
        if c.peepholes:
            named[f"peephole{suffix}"] = arrays["P"][place]
    return named


def _expected(name: str, array: Floats, case: Case, rows_first: bool) -> Floats:
    """Return an output in the equations' layout: y (T, B, width), states (directions, B, H)."""
    wide = np.asarray(array, np.float64)
    if name != "y":
        return _passes_first(wide, rows_first)
    if rows_first:  # (B, T, directions, H)
        wide = np.moveaxis(wide, 0, 2)
    return np.moveaxis(wide, 1, 2).reshape(case.T, case.B, case.directions * case.H)


def _passes_first(state: Floats, rows_first: bool) -> Floats:
    return np.swapaxes(state, 0, 1) if rows_first else state


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def allowed_in(folder: Path) -> Allowed:
    """Return a test's tolerance from its ``data.json``, or else the runner's."""
    path = folder / "data.json"
    if not path.is_file() or path.stat().st_size > LARGEST:
        return OWN
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return Allowed(float(settings.get("atol", OWN.atol)), float(settings.get("rtol", OWN.rtol)))
    except (ValueError, AttributeError, TypeError) as error:
        raise Unread(f"{path}: no tolerance ({error})") from error
