"""Models of one recurrent operator in LiteRT's file format, from arrays, and how one is run.

They are built with the classes of the file's schema that ai-edge-litert brings along
(``schema_py_generated``); parameters are constants of the model, states are its variable tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....reference.functions import Array
from ..framework import imported

INSTALL = "ai-edge-litert"

ABSENT = -1
"""The index of an optional input that is left out."""


@dataclass(frozen=True)
class Grid:
    """By what integers of a tensor are multiplied, and the integer that stands for 0."""

    scale: float
    zero: int = 0


class Model:
    """A graph of one operator while it is built; tensors are named by their index in it."""

    def __init__(self) -> None:
        """Begin without tensors."""
        self.schema = imported("ai_edge_litert.schema_py_generated", INSTALL)
        self.buffers: list[Any] = [self.schema.BufferT()]  # the first one is empty, by convention
        self.tensors: list[Any] = []

    def tensor(
        self, shape: Sequence[int], dtype: str, grid: Grid | None = None, *, variable: bool = False
    ) -> int:
        """Add a tensor of ``float32``, ``int8``, ``int16`` or ``int32``; return its index."""
        made = self.schema.TensorT()
        made.name = f"tensor {len(self.tensors)}"
        made.shape, made.buffer, made.isVariable = list(shape), 0, variable
        made.type = getattr(self.schema.TensorType, dtype.upper())
        if grid is not None:
            made.quantization = self.schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [grid.scale], [grid.zero]
        self.tensors.append(made)
        return len(self.tensors) - 1

    def constant(self, array: Array, grid: Grid | None = None) -> int:
        """Add a tensor that holds these numbers; return its index."""
        index = self.tensor(array.shape, str(array.dtype), grid)
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.buffers.append(buffer)
        self.tensors[index].buffer = len(self.buffers) - 1
        return index

    def finished(
        self,
        operator: str,
        options: Mapping[str, Any],
        inputs: Sequence[int],
        output: int,
        intermediates: Sequence[int] = (),
    ) -> bytes:
        """Return the file of ``operator``, UnidirectionalSequenceLSTM for instance."""
        schema, flatbuffers = self.schema, imported("flatbuffers", INSTALL)
        node, graph, model = schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
        node.inputs, node.outputs, node.opcodeIndex = list(inputs), [output], 0
        node.intermediates = list(intermediates)
        node.builtinOptionsType = getattr(schema.BuiltinOptions, f"{operator}Options")
        node.builtinOptions = getattr(schema, f"{operator}OptionsT")()
        for name, value in {"timeMajor": True, **options}.items():
            setattr(node.builtinOptions, name, value)
        code = schema.OperatorCodeT()
        code.version, name = 1, CODES[operator]
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        graph.tensors, graph.operators = self.tensors, [node]
        graph.inputs, graph.outputs = [inputs[0]], [output]
        model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
        model.buffers = self.buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


CODES = {
    "UnidirectionalSequenceLSTM": "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "SequenceRNN": "UNIDIRECTIONAL_SEQUENCE_RNN",
}
"""The operators by the name of their options."""


class Program:
    """A model with its interpreter: on one thread, by LiteRT's own kernels alone."""

    def __init__(self, model: bytes, states: Sequence[int]) -> None:
        """Read the file; ``states`` are the indices of its variable tensors."""
        runtime = imported("ai_edge_litert.interpreter", INSTALL)
        self.interpreter = runtime.Interpreter(
            model_content=model,
            num_threads=1,
            experimental_op_resolver_type=runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self.interpreter.allocate_tensors()
        self.states = states
        (self.x,) = (each["index"] for each in self.interpreter.get_input_details())
        (self.y,) = (each["index"] for each in self.interpreter.get_output_details())

    def run(self, x: Array, state: Sequence[Array]) -> tuple[Array, list[Array]]:
        """Return outputs and final states of input and initial states, as the tensors hold them."""
        for index, array in zip((self.x, *self.states), (x, *state), strict=True):
            self.interpreter.set_tensor(index, np.ascontiguousarray(array))
        self.interpreter.invoke()
        y, *final = (self.interpreter.get_tensor(k).copy() for k in (self.y, *self.states))
        return y, final
