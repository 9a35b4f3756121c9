"""Models in LiteRT's file format, written from arrays, and their interpreter.

They are built with the classes of the file's schema in ai-edge-litert (``schema_py_generated``);
parameters are constants of the model, states are its variable tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ..framework import imported

INSTALL = "ai-edge-litert"

IDENTIFIER = b"TFL3"
"""The bytes 4 to 7 of a file."""

VERSION = 3
"""The version of the schema."""

ABSENT = -1
"""The index of an omitted optional input."""


@dataclass(frozen=True)
class Grid:
    """The scale of a tensor's integers, and the integer that stands for 0."""

    scale: float
    zero: int = 0


def import_schema() -> Any:
    """Return the module of the schema's classes; SubjectUnavailable says how to install it."""
    return imported("ai_edge_litert.schema_py_generated", INSTALL)


@dataclass
class Writer:
    """A model of one graph that can be written to a file; tensors are referred to by number."""

    def __post_init__(self) -> None:
        """Begin an empty model."""
        self.schema = import_schema()
        self.graph = self.schema.SubGraphT(tensors=[], operators=[], inputs=[], outputs=[])
        self.buffers = [self.schema.BufferT()]
        self.codes: dict[str, int] = {}

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        array: Floats | None = None,
        *,
        variable: bool = False,
        dtype: str = "FLOAT32",
        grid: Grid | None = None,
    ) -> int:
        """Add a tensor, stored if there is an array, by the schema's dtype; return its number."""
        buffer = 0
        if array is not None:
            raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
            self.buffers.append(self.schema.BufferT(data=raw))
            buffer = len(self.buffers) - 1
        tensor = self.schema.TensorT(
            shape=list(shape), type=getattr(self.schema.TensorType, dtype), buffer=buffer,
            name=name, isVariable=variable,
        )  # fmt: skip
        if grid is not None:
            tensor.quantization = self.schema.QuantizationParametersT(
                scale=[grid.scale], zeroPoint=[grid.zero]
            )
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, array: Floats, grid: Grid | None = None) -> int:
        """Add a constant tensor; return its number."""
        name, dtype = f"array {len(self.graph.tensors)}", str(array.dtype).upper()
        return self.tensor(name, array.shape, array, dtype=dtype, grid=grid)

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Any = None,
        intermediates: Sequence[int] = (),
    ) -> None:
        """Add an operator by the schema's name."""
        kind = type(options).__name__.removesuffix("T") if options is not None else "NONE"
        self.graph.operators.append(self.schema.OperatorT(
            opcodeIndex=self.codes.setdefault(name, len(self.codes)), inputs=list(inputs),
            outputs=list(outputs), intermediates=list(intermediates), builtinOptions=options,
            builtinOptionsType=getattr(self.schema.BuiltinOptions, kind),
        ))  # fmt: skip

    def model(self, inputs: list[int], outputs: list[int]) -> bytes:
        """Return the bytes of the file."""
        flatbuffers = imported("flatbuffers", INSTALL)
        self.graph.inputs, self.graph.outputs = inputs, outputs
        model = self.schema.ModelT(
            version=VERSION, operatorCodes=list(self._codes()), subgraphs=[self.graph],
            buffers=self.buffers,
        )  # fmt: skip
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())

    def _codes(self) -> Iterator[Any]:
        for name in self.codes:
            number = getattr(self.schema.BuiltinOperator, name)
            yield self.schema.OperatorCodeT(
                builtinCode=number, deprecatedBuiltinCode=min(number, 127), version=1
            )


class Program:
    """A model with its interpreter: on one thread, with LiteRT's own kernels alone."""

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
        (self.x,) = (detail["index"] for detail in self.interpreter.get_input_details())
        (self.y,) = (detail["index"] for detail in self.interpreter.get_output_details())

    def run(self, x: Floats, state: Sequence[Floats]) -> tuple[Floats, list[Floats]]:
        """Run the model; return outputs and final states in the tensors' dtypes."""
        for index, array in zip((self.x, *self.states), (x, *state), strict=True):
            self.interpreter.set_tensor(index, np.ascontiguousarray(array))
        self.interpreter.invoke()
        y, *final = (self.interpreter.get_tensor(k).copy() for k in (self.y, *self.states))
        return y, final
