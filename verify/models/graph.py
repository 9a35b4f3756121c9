"""Untrusted files of ONNX: graphs inside graphs, functions, constants, external data.

Only constants are computed. All refusals are sentences.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..subjects.framework import imported

SUFFIX = ".onnx"
INSTALL = "onnx"

LARGEST_FILE = 2**31 - 1
"""Bytes of a file, the limit of Protocol Buffers."""

LARGEST_ARRAY = 2**27
"""Entries of a computed constant."""

DEEPEST = 32
"""Depth of graphs inside graphs, and of functions that call functions."""

MOST = 200_000
"""Nodes of all graphs, those of a function once for each call."""

LONGEST_CHAIN = 200
"""Length of a chain of operators that computes a constant."""

BROADCAST = frozenset(("Add", "Div", "Mul", "Pow", "Sub"))

FOLDED = BROADCAST | frozenset((
    "Cast", "Concat", "Constant", "ConstantOfShape", "DequantizeLinear", "Expand", "Flatten",
    "Gather", "Identity", "Neg", "QuantizeLinear", "ReduceL2", "ReduceSum", "Reshape", "Slice",
    "Split", "Sqrt", "Squeeze", "Transpose", "Unsqueeze",
))  # fmt: skip
"""Operators that exporters apply to weights: they rearrange, normalise or dequantise constants."""

SELECTED = ("Gather", "Slice")
"""Operators that select from a Shape the lengths of axes, some of which may be fixed."""

UNKNOWN = -(2**40)
"""Stands for the length of an axis that is not fixed."""

EVALUATED = 19
"""The first opset whose linear quantisation ONNX's evaluator has; earlier ones are equal."""

OWN_DOMAINS = ("", "ai.onnx")


class ModelError(ValueError):
    """An invalid or unsupported file or graph; the message gives the reason."""


def import_onnx() -> Any:
    """Return the package onnx; raise SubjectUnavailable with its installation if it is missing."""
    return imported("onnx", INSTALL)


@dataclass
class Model:
    """A file: its path and its model."""

    path: Path
    proto: Any

    @cached_property
    def functions(self) -> dict[tuple[str, str], Any]:
        """The local functions by domain and name."""
        return {(f.domain, f.name): f for f in self.proto.functions}

    @cached_property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        versions = [o.version for o in self.proto.opset_import if o.domain in OWN_DOMAINS]
        return int(versions[0]) if versions else 1

    @cached_property
    def main(self) -> Scope:
        """The main graph."""
        return Scope(self, self.proto.graph)

    def scopes(self) -> Iterator[Scope]:
        """Yield all graphs: the main one, and those inside nodes and functions, in their order."""
        count = 0
        waiting = [self.main]
        while waiting:
            scope = waiting.pop()
            count += len(scope.graph.node)
            if count > MOST:
                raise ModelError(f"{self.path}: more than {MOST} nodes")
            yield scope
            waiting += reversed(list(scope.inside()))


def require_file(path: Path) -> None:
    """Raise ModelError unless there is a file that is not too large."""
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file")
    if path.stat().st_size > LARGEST_FILE:
        raise ModelError(f"{path}: {path.stat().st_size} bytes; a model file has less than 2 GiB")


def read(path: Path) -> Model:
    """Return a file's model; raise ModelError with a reason if it is invalid."""
    onnx = import_onnx()
    require_file(path)
    try:
        proto = onnx.load_model(os.fspath(path), load_external_data=False)
    except Exception as error:  # a file of somebody else's may be anything
        raise ModelError(
            f"{path}: it is no model of ONNX, or a part of one ({_words(error)})"
        ) from error
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelError(f"{path}: it is no model of ONNX, or an empty one")
    return Model(path, _with_shapes(proto))


def _with_shapes(proto: Any) -> Any:
    """Return a model that states the shapes that follow from those of its inputs and weights."""
    inference, checker = imported("onnx.shape_inference", INSTALL), import_onnx().checker
    try:
        return inference.infer_shapes(proto)
    except (inference.InferenceError, checker.ValidationError, ValueError):
        return proto  # what does not fit together raises where it is read


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200].rstrip(": ")


@dataclass
class Scope:
    """A graph, or a function as called by one node, and the graph around it.

    ``path`` is its place in the file. ``arguments`` maps a function's inputs to names in the graph
    around it, ``call_attributes`` are the attributes of the call. ``within`` is the node whose
    ``attribute`` the graph is, or that calls the function.
    """

    model: Model
    graph: Any
    path: str = ""
    outer: Scope | None = None
    arguments: Mapping[str, str] | None = None
    call_attributes: Mapping[str, Any] = field(default_factory=dict)
    depth: int = 0
    within: Any = None
    attribute: str = ""

    @cached_property
    def producers(self) -> dict[str, Any]:
        """The nodes by the names of their outputs."""
        return {name: node for node in self.graph.node for name in node.output if name}

    @cached_property
    def initialisers(self) -> dict[str, Any]:
        """The stored tensors by name; a function has none."""
        return {t.name: t for t in getattr(self.graph, "initializer", ())}

    @cached_property
    def inputs(self) -> frozenset[str]:
        """The names of its inputs."""
        if self.arguments is not None:
            return frozenset(self.graph.input)
        return frozenset(i.name for i in self.graph.input) - self.initialisers.keys()

    @cached_property
    def shapes(self) -> dict[str, tuple[int | str, ...]]:
        """The stated shapes of values: numbers, names, "" for axes without either."""
        infos = [*self.graph.value_info, *getattr(self.graph, "output", ())]
        infos += [] if self.arguments is not None else self.graph.input
        return {
            info.name: tuple(
                d.dim_value if d.HasField("dim_value") else d.dim_param
                for d in info.type.tensor_type.shape.dim
            )
            for info in infos
            if hasattr(info, "type") and info.type.tensor_type.HasField("shape")
        }

    def inside(self) -> Iterator[Scope]:
        """Yield the graphs inside this one's nodes, and the functions that they call."""
        for number, node in enumerate(self.graph.node):
            label = node.name or f"{node.op_type} {number}"
            for attribute in node.attribute:
                graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
                for graph in graphs:
                    inner = self._below(graph, f"{self.path}{label}.{attribute.name}/")
                    inner.within, inner.attribute = node, attribute.name
                    yield inner
            function = self.model.functions.get((node.domain, node.op_type))
            if function is not None:
                inner = self._below(function, f"{self.path}{label}/")
                inner.within = node
                inner.arguments = dict(zip(function.input, node.input, strict=False))
                inner.call_attributes = {a.name: a for a in function.attribute_proto} | {
                    a.name: a for a in node.attribute
                }
                yield inner

    def _below(self, graph: Any, path: str) -> Scope:
        if self.depth >= DEEPEST:
            raise ModelError(
                f"{self.model.path}: more than {DEEPEST} graphs or functions inside each other, "
                "or a function that calls itself"
            )
        return Scope(self.model, graph, path, self, depth=self.depth + 1)

    def attributes(self, node: Any) -> dict[str, Any]:
        """Return a node's attributes by name, with those of a function's call filled in."""
        helper = import_onnx().helper
        values = {}
        for attribute in node.attribute:
            stated = attribute
            if attribute.ref_attr_name:
                if attribute.ref_attr_name not in self.call_attributes:
                    continue
                stated = self.call_attributes[attribute.ref_attr_name]
            value = helper.get_attribute_value(stated)
            if isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            elif isinstance(value, Sequence) and not isinstance(value, str):
                value = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]
            values[attribute.name] = value
        return values

    def home(self, name: str) -> tuple[Scope, str] | None:
        """Return the graph that computes or stores a value, and its name there, or None."""
        scope: Scope | None = self
        for _ in range(2 * DEEPEST):
            if scope is None or not name:
                return None
            if name in scope.initialisers or name in scope.producers:
                return scope, name
            if name in scope.inputs:
                if scope.arguments is None:
                    return scope, name
                name = scope.arguments.get(name, "")
            elif scope.arguments is not None:
                return None  # a function has access to its own inputs alone
            scope = scope.outer
        return None

    def without_identity(self, name: str) -> str:
        """Return the value that Identity nodes of this graph copy to a name, or the name itself."""
        for _ in range(LONGEST_CHAIN):
            node = self.producers.get(name)
            if node is None or node.op_type != "Identity" or not node.input:
                break
            name = node.input[0]
        return name

    def constant(self, name: str) -> Floats | None:
        """Return a value that is stored or computed from stored ones; None for any other."""
        return self._constant(name, frozenset())

    def _constant(self, name: str, above: frozenset[tuple[int, str]]) -> Floats | None:
        home = self.home(name)
        if home is None:
            return None
        scope, name = home
        key = (id(scope.graph), name)
        if key in above:
            raise ModelError(f"{self.model.path}: its graph goes round in a circle, at {name!r}")
        if len(above) > LONGEST_CHAIN:
            reason = f"a chain of more than {LONGEST_CHAIN} operators makes a constant"
            raise ModelError(f"{self.model.path}: {reason}")
        if name in scope.initialisers:
            return array_of(self.model, scope.initialisers[name])
        node = scope.producers.get(name)
        if node is None or node.op_type not in FOLDED or node.domain not in OWN_DOMAINS:
            return None
        values = []
        for operand in node.input:
            value = scope._constant(operand, above | {key}) if operand else None
            if value is None and node.op_type in SELECTED:
                value = scope._lengths_of_axes(operand)
            if operand and value is None:
                return None
            values.append(value)
        result = scope._folded(node, values, list(node.output).index(name))
        return None if result is not None and (result == UNKNOWN).any() else result

    def _lengths_of_axes(self, name: str) -> Floats | None:
        """Return the output of a Shape, UNKNOWN for axes of any length; None for other values."""
        home = self.home(name)
        node = home[0].producers.get(home[1]) if home else None
        if home is None or node is None or node.op_type != "Shape" or node.attribute:
            return None
        shape = home[0].shapes.get(node.input[0])
        if shape is None:
            return None
        return np.array([n if isinstance(n, int) and n else UNKNOWN for n in shape])

    def _folded(self, node: Any, operands: Sequence[Floats | None], which: int) -> Floats | None:
        """Return an operator's output for constant operands, by ONNX's own evaluator."""
        onnx, reference = import_onnx(), imported("onnx.reference", INSTALL)
        if node.op_type == "Constant":
            stored = [a.t for a in node.attribute if a.name == "value"]
            if stored:
                return array_of(self.model, stored[0])
        _require_small(self.model, node, operands)
        names = [f"in {k}" if value is not None else "" for k, value in enumerate(operands)]
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        copy.input.extend(names)
        copy.output.extend(f"out {k}" for k, _ in enumerate(node.output))
        unknown = onnx.TypeProto()
        graph = onnx.helper.make_graph(
            [copy],
            "constants",
            [onnx.helper.make_value_info(name, unknown) for name in names if name],
            [onnx.helper.make_value_info(f"out {which}", unknown)],
        )
        quantised = node.op_type in ("DequantizeLinear", "QuantizeLinear")
        least = EVALUATED if quantised else 1
        opset = onnx.helper.make_opsetid("", max(self.model.opset, least))
        try:
            evaluator = reference.ReferenceEvaluator(
                onnx.helper.make_model(graph, opset_imports=[opset])
            )
            feeds = {n: v for n, v in zip(names, operands, strict=True) if n}
            (value,) = evaluator.run([f"out {which}"], feeds)
        except Exception as error:  # of constants that do not fit together
            raise ModelError(
                f"{self.model.path}: {node.op_type} of constants, node {node.name!r}, cannot be "
                f"computed ({_words(error)})"
            ) from error
        return np.asarray(value)


def _require_small(model: Model, node: Any, operands: Sequence[Floats | None]) -> None:
    """Raise ModelError if an operator would make a large array of small ones."""
    sizes = [0 if value is None else value.size for value in operands]
    entries = sum(sizes)
    shape = {"ConstantOfShape": 0, "Expand": 1}.get(node.op_type)
    if shape is not None and len(operands) > shape and operands[shape] is not None:
        entries = int(np.prod(np.abs(np.asarray(operands[shape])).astype(object)))
    if node.op_type == "Gather" and len(sizes) > 1:
        entries = sizes[0] * max(sizes[1], 1)
    if node.op_type in BROADCAST:
        with contextlib.suppress(ValueError):  # which do not fit together: the operator says so
            shapes = [value.shape for value in operands if value is not None]
            entries = int(np.prod(np.broadcast_shapes(*shapes), dtype=object))
    if entries > LARGEST_ARRAY:
        raise ModelError(
            f"{model.path}: {node.op_type}, node {node.name!r}, makes a constant of {entries} "
            f"entries; at most {LARGEST_ARRAY} are read"
        )


def array_of(model: Model, tensor: Any) -> Floats:
    """Return a stored tensor, in its own dtype; raise ModelError if it is invalid."""
    onnx = import_onnx()
    name = tensor.name or "a constant"
    if min(tensor.dims, default=0) < 0:
        raise ModelError(f"{model.path}: tensor {name!r} has a shape of {list(tensor.dims)}")
    try:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            inline = onnx.TensorProto()
            inline.CopyFrom(tensor)
            del inline.external_data[:]
            inline.data_location = onnx.TensorProto.DEFAULT
            inline.raw_data = _external(model, tensor)
            tensor = inline
        array: Floats = onnx.numpy_helper.to_array(tensor)
    except ModelError:
        raise
    except Exception as error:  # wrong numbers of bytes, unknown dtypes
        raise ModelError(
            f"{model.path}: tensor {name!r} cannot be read ({_words(error)})"
        ) from error
    return array


def _external(model: Model, tensor: Any) -> bytes:
    """Return the bytes of external data, which must lie in the model's folder."""
    stated = {entry.key: entry.value for entry in tensor.external_data}
    location, folder = stated.get("location", ""), model.path.resolve().parent
    where = f"{model.path}: tensor {tensor.name!r}: external data"
    path = (folder / location).resolve()
    if not location or Path(location).is_absolute() or not path.is_relative_to(folder):
        raise ModelError(f"{where} outside of the model's folder, {location!r}")
    if not path.is_file():
        raise ModelError(f"{where}: there is no file {location!r} beside the model")
    onnx = import_onnx()
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        size = int(np.prod([int(d) for d in tensor.dims], dtype=object)) * dtype.itemsize
        offset, length = int(stated.get("offset", 0)), int(stated.get("length", size))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{where} of an invalid place or dtype ({error})") from error
    if length != size or offset < 0:
        shape = list(tensor.dims)
        raise ModelError(f"{where} of {length} bytes from {offset} on, for a shape of {shape}")
    if offset + length > path.stat().st_size:
        raise ModelError(f"{where}: {location!r} ends before it")
    with path.open("rb") as stream:
        stream.seek(offset)
        return bytes(stream.read(length))
