"""Untrusted files of TensorFlow Lite, read by LiteRT's own schema."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ...subjects.frameworks.litert_model import IDENTIFIER, import_schema
from ..graph import LARGEST_ARRAY, MOST, ModelError, require_file

BROKEN = (struct.error, ValueError, IndexError, TypeError, AttributeError, OverflowError)
"""What LiteRT's classes raise when they read bytes that are no model."""

FLOATS = {"FLOAT32": np.float32, "FLOAT16": np.float16, "FLOAT64": np.float64}


def names_of(enumeration: str) -> dict[int, str]:
    """Return the names of an enumeration of the schema by their numbers."""
    members = vars(getattr(import_schema(), enumeration))
    return {value: name for name, value in members.items() if isinstance(value, int)}


@dataclass(frozen=True)
class Operator:
    """One operator of a graph: its name, the numbers of its tensors (-1: left out), its options."""

    graph: int
    number: int
    name: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any

    def input(self, place: int) -> int:
        """Return the tensor of an input; -1 if it is left out."""
        return self.inputs[place] if place < len(self.inputs) else -1


@dataclass
class File:
    """A file: its path, its bytes and its model, by the schema's classes."""

    path: Path
    data: bytes
    model: Any

    @cached_property
    def operators(self) -> list[list[Operator]]:
        """The operators of each graph, in their order."""
        kinds, codes = names_of("BuiltinOperator"), self.model.operatorCodes or []
        graphs: list[list[Operator]] = []
        for number, graph in enumerate(self.model.subgraphs):
            graphs.append([])
            tensors = len(graph.tensors or ())
            for ends in (graph.inputs, graph.outputs):
                if ends is not None and any(not 0 <= k < tensors for k in ends):
                    raise self.error(f"graph {number} has inputs or outputs that do not exist")
            for place, operator in enumerate(graph.operators or ()):
                if not 0 <= operator.opcodeIndex < len(codes):
                    raise self.error(f"operator {place} of graph {number} has no kind")
                code = codes[operator.opcodeIndex]
                kind = kinds.get(max(code.builtinCode, code.deprecatedBuiltinCode), "")
                custom = kind in ("CUSTOM", "")
                inputs, outputs = (
                    tuple(map(int, () if ends is None else ends))
                    for ends in (operator.inputs, operator.outputs)
                )
                if any(not -1 <= k < tensors for k in (*inputs, *outputs)):
                    raise self.error(f"operator {place} of graph {number} reads or writes tensors "
                                     "that do not exist")  # fmt: skip
                name = text(code.customCode) if custom else kind
                graphs[-1].append(
                    Operator(number, place, name, custom, inputs, outputs, operator.builtinOptions)
                )
        return graphs

    @cached_property
    def producers(self) -> dict[tuple[int, int], Operator]:
        """The operators by graph and output tensor."""
        return {(o.graph, k): o for graph in self.operators for o in graph for k in o.outputs}

    def error(self, reason: str) -> ModelError:
        """Return the error of a file that cannot be read."""
        return ModelError(f"{self.path}: {reason}")

    def tensor(self, graph: int, number: int) -> Any:
        """Return a tensor by the schema's class."""
        return self.model.subgraphs[graph].tensors[number]

    def name(self, graph: int, number: int) -> str:
        """Return a tensor's name."""
        return text(self.tensor(graph, number).name) or f"tensor {number}"

    def shape(self, graph: int, number: int) -> tuple[int, ...]:
        """Return a tensor's shape, -1 for an axis of any length."""
        tensor = self.tensor(graph, number)
        shape = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
        return tuple(map(int, () if shape is None else shape))

    def dtype(self, graph: int, number: int) -> str:
        """Return the name of a tensor's dtype, as the schema spells it."""
        return names_of("TensorType").get(self.tensor(graph, number).type, "an unknown dtype")

    def constant(self, graph: int, number: int) -> Floats | None:
        """Return a stored tensor of floats, also one of float16 that the graph widens.

        Returns None for a computed tensor; raises ModelError for a wrong number of bytes.
        """
        producer = self.producers.get((graph, number))
        if producer is not None:
            inner = (
                self.constant(graph, producer.input(0)) if producer.name == "DEQUANTIZE" else None
            )
            return None if inner is None or inner.dtype != np.float16 else inner.astype(np.float32)
        stored = self.stored(graph, number)
        dtype = FLOATS.get(self.dtype(graph, number))
        if stored is None or dtype is None:
            return None
        tensor = self.tensor(graph, number)
        shape = tuple(map(int, () if tensor.shape is None else tensor.shape))
        size = int(np.prod(shape, dtype=object))
        where = f"tensor {self.name(graph, number)!r}"
        if tensor.sparsity is not None:
            raise self.error(f"{where} is sparse: it is not read")
        if min(shape, default=0) < 0 or size > LARGEST_ARRAY:
            raise self.error(f"{where} has a shape of {list(shape)}")
        if len(stored) != size * np.dtype(dtype).itemsize:
            raise self.error(f"{where} has {len(stored)} bytes, for a shape of {list(shape)}")
        return np.frombuffer(stored, dtype).reshape(shape)

    def dequantised(self, graph: int, number: int) -> Floats | None:
        """Return the dequantised numbers of a stored tensor of 8 bits; None for any other."""
        tensor, raw = self.tensor(graph, number), self.stored(graph, number)
        kinds = {"INT8": np.int8, "UINT8": np.uint8}
        dtype, quantisation = kinds.get(self.dtype(graph, number)), tensor.quantization
        if raw is None or dtype is None or quantisation is None or quantisation.scale is None:
            return None
        shape = list(map(int, tensor.shape))
        scale, zero = (
            np.asarray(a, np.float64).reshape(-1)
            for a in (quantisation.scale, quantisation.zeroPoint)
        )
        axes = [1] * len(shape)
        if len(scale) > 1:
            axes[quantisation.quantizedDimension] = len(scale)
        integers = np.frombuffer(raw, dtype).reshape(shape).astype(np.float64)
        return ((integers - zero.reshape(axes)) * scale.reshape(axes)).astype(np.float32)

    def stored(self, graph: int, number: int) -> bytes | None:
        """Return the stored bytes of a tensor, or None."""
        index, buffers = self.tensor(graph, number).buffer, self.model.buffers or []
        where = f"tensor {self.name(graph, number)!r}"
        if not 0 <= index < len(buffers):
            raise self.error(f"{where} has no buffer {index}")
        buffer = buffers[index]
        if buffer.offset > 1:
            if buffer.offset + buffer.size > len(self.data):
                raise self.error(f"{where} lies outside of the file")
            return self.data[buffer.offset : buffer.offset + buffer.size]
        if buffer.data is None or not len(buffer.data):
            return None
        return bytes(np.asarray(buffer.data, np.uint8).tobytes())


def text(name: Any) -> str:
    """Return a printable name from a file."""
    decoded = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name or "")
    return "".join(c if c.isprintable() else "?" for c in decoded)[:200]


def read(path: Path) -> File:
    """Return a file's model; raise ModelError with a reason if it is invalid."""
    require_file(path)
    data = path.read_bytes()
    none = f"{path}: it is no model of TensorFlow Lite, or a part of one"
    if data[4:8] != IDENTIFIER:
        raise ModelError(none)
    schema = import_schema()
    try:
        _require_few(path, schema.Model.GetRootAs(data, 0))
        model = schema.ModelT.InitFromPackedBuf(data, 0)
    except ModelError:
        raise
    except BROKEN as error:
        raise ModelError(f"{none} ({type(error).__name__})") from error
    except MemoryError as error:
        raise ModelError(f"{path}: it does not fit into memory") from error
    if not model.subgraphs or any(graph is None for graph in model.subgraphs):
        raise ModelError(f"{path}: it is no model of TensorFlow Lite, or an empty one")
    return File(path, data, model)


def _require_few(path: Path, model: Any) -> None:
    """Raise ModelError for a file that claims too many operators and tensors."""
    counts = [model.SubgraphsLength(), model.BuffersLength(), model.OperatorCodesLength()]
    if max(counts) <= MOST:
        graphs = (model.Subgraphs(k) for k in range(model.SubgraphsLength()))
        counts += [n for g in graphs for n in (g.TensorsLength(), g.OperatorsLength())]
    if sum(counts) > MOST:
        raise ModelError(f"{path}: more than {MOST} operators and tensors")
