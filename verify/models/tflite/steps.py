"""Recurrent steps that were unrolled into products and activations of TensorFlow Lite.

A graph is translated to ONNX's operators, in which ``verify.models.steps`` recognises steps by
their algebra; recognised steps are cut out of the file and run by LiteRT. Exporters may multiply
the input of all steps at once; this product is translated to one of each step.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ...subjects.frameworks.litert_model import Writer
from ..graph import Model, ModelError, Scope, import_onnx
from ..nodes import Node
from ..steps import steps as steps_of
from .flatbuffer import File, Operator, names_of
from .operators import INSTEAD

PRODUCTS = {"FULLY_CONNECTED", "BATCH_MATMUL"}
GATES = {"LOGISTIC", "TANH", "RELU"}
SAME = {
    "ADD": "Add", "SUB": "Sub", "MUL": "Mul", "LOGISTIC": "Sigmoid", "TANH": "Tanh",
    "RELU": "Relu", "RESHAPE": "Reshape", "SQUEEZE": "Squeeze", "EXPAND_DIMS": "Unsqueeze",
    "TRANSPOSE": "Transpose", "CAST": "Cast", "GATHER": "Gather",
}  # fmt: skip
"""Operators that ONNX also has, with the same first inputs."""

READ = {
    "FULLY_CONNECTED": (2, 3), "BATCH_MATMUL": (2,), "ADD": (2,), "SUB": (2,), "MUL": (2,),
    "LOGISTIC": (1,), "TANH": (1,), "RELU": (1,), "SPLIT": (2,), "SPLIT_V": (3,), "SLICE": (3,),
    "STRIDED_SLICE": (4,),
}  # fmt: skip
"""Number of inputs of the operators that are translated."""

OPTIONS = {
    "FULLY_CONNECTED": "FullyConnectedOptionsT", "BATCH_MATMUL": "BatchMatMulOptionsT",
    "CONCATENATION": "ConcatenationOptionsT", "STRIDED_SLICE": "StridedSliceOptionsT",
    "UNPACK": "UnpackOptionsT",
}  # fmt: skip
"""The options of the operators that are translated."""

ROW_MOVES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE", "UNPACK", "SPLIT")
"""Operators that only choose or move rows, if the last axis keeps its width."""

LONGEST_CHAIN = 16
"""Longest chain of such operators."""

ACTIVATIONS = {"RELU": "Relu", "TANH": "Tanh"}
OTHER = "tflite"
"""The domain of operators that are not translated."""


@dataclass(frozen=True)
class Cut:
    """A step cut out of a file: its input tensors (x, h, c) and output tensors (h, c).

    ``before`` is the product with the input of all steps, if the step takes a row of it as x.
    """

    file: File
    graph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    before: Operator | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The file's shapes of its inputs and outputs if they have one row, else {}."""
        tensors = {**{f"new {n}": k for n, k in self.outputs.items()}, **self.inputs}
        shapes = {name: self.file.shape(self.graph, k) for name, k in tensors.items()}
        if self.before is not None:
            D = self.file.shape(self.graph, self.before.inputs[1])[1]
            shapes["x"] = (*shapes["x"][:-1], D)
        return shapes if all(set(shape[:-1]) <= {1} for shape in shapes.values()) else {}

    def model(self, dtype: str) -> bytes:
        """Return the step as a model with inputs x, h, c."""
        writer, file = Writer(), self.file
        names = {number: name for name, number in self.inputs.items()}
        names |= {self.inputs["x"]: "product"} if self.before else {}
        numbers: dict[int, int] = {-1: -1}

        def number(old: int) -> int:
            if old not in numbers:
                tensor = file.tensor(self.graph, old)
                stored = None if old in names else file.stored(self.graph, old)
                shape = tuple(map(int, () if tensor.shape is None else tensor.shape))
                array = None if stored is None else np.frombuffer(stored, np.uint8)
                kind = file.dtype(self.graph, old)
                name = names.get(old, f"tensor {old}")
                numbers[old] = writer.tensor(name, shape, array, dtype=kind)
            return numbers[old]

        model_inputs = [number(k) for k in self.inputs.values()]
        if self.before is not None:
            options = copy.copy(self.before.options)
            options.keepNumDims = True
            model_inputs[0] = x = writer.tensor("x", self.shapes["x"])
            inputs = [x, *(number(k) for k in self.before.inputs[1:])]
            product = number(self.inputs["x"])
            writer.operator(self.before.name, inputs, [product], options)
        for operator in self._operators():
            inputs, outputs = (
                [number(k) for k in tensors] for tensors in (operator.inputs, operator.outputs)
            )
            writer.operator(operator.name, inputs, outputs, operator.options)
        return writer.model(model_inputs, [number(k) for k in self.outputs.values()])

    def _operators(self) -> list[Operator]:
        """Return the operators between its inputs and outputs, in their order."""
        pending, needed = list(self.outputs.values()), set()
        while pending:
            number = pending.pop()
            producer = self.file.producers.get((self.graph, number))
            if number in self.inputs.values() or number < 0:
                continue
            if producer is None and self.file.stored(self.graph, number) is None:
                name = self.file.name(self.graph, number)
                raise ModelError(f"{name!r} is needed for the step, and is made elsewhere")
            if producer is not None and producer.number not in needed:
                needed.add(producer.number)
                pending += producer.inputs
        return [o for o in self.file.operators[self.graph] if o.number in needed]


def unrolled(file: File) -> Iterator[Node]:
    """Yield nodes of the unrolled steps of all graphs of a file, and of gates without a step."""
    bodies = {
        o.options.bodySubgraphIndex: o
        for operators in file.operators
        for o in operators
        if o.name == "WHILE" and o.options is not None
    }
    for graph, operators in enumerate(file.operators):
        kinds = {o.name for o in operators}
        if not kinds & PRODUCTS or not kinds & GATES:
            continue
        translation = _Translation(file, graph)
        for node in steps_of(translation.scope(loop=graph in bodies)):
            yield translation.in_file(node)


@dataclass
class _Translation:
    """A graph in ONNX's operators, and the tensors of its values."""

    file: File
    graph: int
    nodes: list[Any] = field(default_factory=list)
    before: dict[str, Operator] = field(default_factory=dict)
    quantised: bool = False

    def __post_init__(self) -> None:
        """Name all tensors, with their numbers if names are not unique."""
        tensors = self.file.model.subgraphs[self.graph].tensors or []
        names = [self.file.name(self.graph, k) for k in range(len(tensors))]
        count = Counter(names)
        self.names = [n if count[n] == 1 else f"{n} ({k})" for k, n in enumerate(names)]
        self.numbers = {name: k for k, name in enumerate(self.names)}
        self.users: dict[int, list[Operator]] = defaultdict(list)
        for operator in self.file.operators[self.graph]:
            for k in operator.inputs:
                self.users[k].append(operator)

    def scope(self, *, loop: bool) -> Scope:
        """Return the graph; inputs of a ``loop`` are its outputs of the round before."""
        onnx = import_onnx()
        for operator in self.file.operators[self.graph]:
            self._translate(operator)
        number = onnx.TensorProto.FLOAT

        def values(which: Any) -> list[Any]:
            return [onnx.helper.make_tensor_value_info(
                        self.names[k], number, list(self.file.shape(self.graph, k)))
                    for k in map(int, () if which is None else which)]  # fmt: skip

        subgraph = self.file.model.subgraphs[self.graph]
        constants = [
            onnx.numpy_helper.from_array(value, name)
            for k, name in enumerate(self.names)
            if (self.graph, k) not in self.file.producers
            and (value := self._constant(k)) is not None
        ]
        inputs = set(map(int, () if subgraph.inputs is None else subgraph.inputs))
        graph = onnx.helper.make_graph(
            self.nodes, "graph", values(subgraph.inputs), values(subgraph.outputs), constants,
            value_info=values(k for k in range(len(self.names)) if k not in inputs),
        )  # fmt: skip
        proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
        path = f"graph {self.graph}/" if self.graph else ""
        within = onnx.helper.make_node("Scan", [], []) if loop else None
        return Scope(Model(self.file.path, proto), proto.graph, path, within=within)

    def _constant(self, number: int) -> Floats | None:
        """Return a stored tensor; None for a computed or invalid one."""
        try:
            value = self.file.constant(self.graph, number)
            if value is None:
                value = self.file.dequantised(self.graph, number)
                self.quantised |= value is not None
        except (ModelError, ValueError, IndexError, TypeError):
            return None
        return value

    def _integers(self, number: int) -> list[int] | None:
        """Return stored integers, such as axes; None if they are computed."""
        raw = self.file.stored(self.graph, number) if number >= 0 else None
        dtype = np.int64 if raw and self.file.dtype(self.graph, number) == "INT64" else np.int32
        complete = raw is not None and len(raw) % np.dtype(dtype).itemsize == 0
        return np.frombuffer(raw, dtype).tolist() if raw is not None and complete else None

    def _add(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self.nodes.append(import_onnx().helper.make_node(kind, inputs, outputs, **attributes))

    def _moved_tensor(self, operator: Operator) -> int:
        """Return the tensor whose rows an operator moves."""
        return operator.input(1 if operator.name == "SPLIT" else 0)

    def _rows(self, number: int) -> int:
        """Return the number of rows of a tensor, all axes but the last; 0 if unknown."""
        return max(0, int(np.prod(self.file.shape(self.graph, number)[:-1], dtype=object)))

    def _moves_rows(self, operator: Operator) -> bool:
        """Return whether an operator only chooses or moves rows."""
        if operator.name not in ROW_MOVES or not self._sound(operator):
            return False
        tensors = [self._moved_tensor(operator), *operator.outputs]
        if len({self.file.shape(self.graph, k)[-1:] for k in tensors if k >= 0}) != 1:
            return False
        options, last = operator.options, len(self.file.shape(self.graph, tensors[0])) - 1
        if operator.name == "UNPACK":
            return getattr(options, "axis", -1) not in (-1, last)
        if operator.name == "STRIDED_SLICE":
            steps = self._integers(operator.input(3)) or [0]
            others = options.ellipsisMask or options.newAxisMask or options.shrinkAxisMask >> last
            return not others and steps[-1] == 1
        return True

    def _product(self, number: int) -> Operator | None:
        """Return the product with the input of all steps whose rows a tensor holds, or None."""
        rows = self._rows(number)
        for _ in range(LONGEST_CHAIN):
            producer = self.file.producers.get((self.graph, number))
            if producer is None or not self._sound(producer):
                return None
            if producer.name == "FULLY_CONNECTED":
                return producer if self._rows(number) > rows and not self._fused(producer) else None
            if not self._moves_rows(producer):
                return None
            number = self._moved_tensor(producer)
        return None

    def _of_step(self, operator: Operator) -> bool:
        """Translate rows of a product with all steps to a product with one step's x, if they are.

        Returns whether the outputs of the operator, the last that moves rows, are such rows.
        """
        outputs = [k for k in operator.outputs if k >= 0]
        is_last_move = self._moves_rows(operator) and not any(
            self._moves_rows(user) for k in outputs for user in self.users[k]
        )
        products = [self._product(k) for k in outputs] if is_last_move else [None]
        if any(product is None for product in products):
            return False
        for k, product in zip(outputs, products, strict=True):
            assert product is not None  # noqa: S101 - for the type checker
            x = f"{self.names[product.inputs[0]]}, a step ({k})"
            self.before[x], self.numbers[x] = product, k
            inputs = [x, *("" if j < 0 else self.names[j] for j in product.inputs[1:])]
            self._add("Gemm", inputs, [self.names[k]], transB=1)
        return True

    def _fused(self, operator: Operator) -> str:
        """Return the name of an operator's fused activation, "" for none."""
        code = getattr(operator.options, "fusedActivationFunction", 0)
        return names_of("ActivationFunctionType").get(code, "UNKNOWN") if code else ""

    def _sound(self, operator: Operator) -> bool:
        """Return whether an operator has the inputs, outputs and options of its kind."""
        inputs, kind = [k for k in operator.inputs if k >= 0], operator.name
        several = kind in ("SPLIT", "SPLIT_V", "UNPACK")
        named = type(operator.options).__name__
        return (
            not operator.custom and bool(inputs) and operator.inputs[0] >= 0
            and len(inputs) in READ.get(kind, range(1, len(operator.inputs) + 1))
            and min(operator.outputs, default=-1) >= 0
            and (several or len(operator.outputs) == 1)
            and OPTIONS.get(kind, named) == named
        )  # fmt: skip

    def _translate(self, operator: Operator) -> None:
        """Add an operator in ONNX's terms, with a fused activation as a separate operator."""
        if self._sound(operator) and self._of_step(operator):
            return
        inputs = ["" if k < 0 else self.names[k] for k in operator.inputs]
        outputs = [self.names[k] for k in operator.outputs if k >= 0]
        kind, fused = operator.name, self._fused(operator)
        if not self._sound(operator) or (fused and fused not in ACTIVATIONS):
            self._add(kind or "CUSTOM", inputs, outputs, domain=OTHER)
            return
        linear = [f"{outputs[0]} before its activation"] if fused else outputs
        if not self._add_equivalent(operator, inputs, linear):
            self._add(kind, inputs, outputs, domain=OTHER)
        elif fused:
            self._add(ACTIVATIONS[fused], linear, outputs)

    def _add_equivalent(self, operator: Operator, inputs: list[str], outputs: list[str]) -> bool:
        """Add an operator in ONNX's terms; return whether there is one."""
        kind, options = operator.name, operator.options
        if kind == "FULLY_CONNECTED" and not options.weightsFormat:
            self._add("Gemm", inputs, outputs, transB=1)
        elif kind == "BATCH_MATMUL" and not options.adjX:
            self._add("Gemm", inputs[:2], outputs, transB=int(options.adjY))
        elif kind in ("SPLIT", "SPLIT_V"):
            x, axis = (1, 0) if kind == "SPLIT" else (0, 2)
            axes = self._integers(operator.input(axis))
            sizes = self._integers(operator.input(1)) if kind == "SPLIT_V" else None
            if not axes or (kind == "SPLIT_V" and (not sizes or min(sizes) < 0)):
                return False
            more = {"split": sizes} if sizes else {}
            self._add("Split", inputs[x : x + 1], outputs, axis=axes[0], **more)
        elif kind == "CONCATENATION":
            self._add("Concat", inputs, outputs, axis=options.axis)
        elif kind in ("STRIDED_SLICE", "SLICE"):
            self._slice(operator, inputs, outputs)
        elif kind in SAME:
            self._add(SAME[kind], inputs, outputs)
        else:
            return False
        return True

    def _slice(self, operator: Operator, inputs: list[str], outputs: list[str]) -> None:
        """Add a slice; with its range if it is one of columns."""
        columns = self._columns(operator)
        if columns is None:
            self._add("Slice", inputs[:1], outputs)
            return
        first, last = columns
        names = []
        for word, value in (("start", first), ("end", last), ("axis", -1)):
            names.append(f"{outputs[0]} {word}")
            stored = import_onnx().numpy_helper.from_array(np.array([value]))
            self._add("Constant", [], names[-1:], value=stored)
        self._add("Slice", [inputs[0], *names], outputs)

    def _columns(self, operator: Operator) -> tuple[int, int] | None:
        """Return the columns of the last axis that a slice of all rows takes; None for others."""
        begin, end, step = (self._integers(operator.input(k)) or [] for k in (1, 2, 3))
        x, masks = self.file.shape(self.graph, operator.inputs[0]), operator.options
        if not x or not len(begin) == len(end) == len(x):
            return None
        if operator.name == "SLICE":
            end = [n if size < 0 else k + size for k, size, n in zip(begin, end, x, strict=True)]
        elif masks.ellipsisMask or masks.newAxisMask or masks.shrinkAxisMask or set(step) != {1}:
            return None
        else:
            begin = [0 if masks.beginMask >> k & 1 else n for k, n in enumerate(begin)]
            end = [x[k] if masks.endMask >> k & 1 else n for k, n in enumerate(end)]
        all_rows = begin[:-1] == [0] * (len(x) - 1) and tuple(end[:-1]) == x[:-1]
        return (begin[-1], end[-1]) if all_rows else None

    def in_file(self, node: Node) -> Node:
        """Return a recognised step as a node of the file."""
        step = replace(node, opset=0, place=None)
        if node.unrolled is None:
            return step
        if self.quantised:
            return replace(step, unrolled=None, problem=f"its products are quantised: {INSTEAD}")
        cut = node.unrolled
        try:
            inputs, outputs = (
                {key: self.numbers[name] for key, name in values.items()}
                for values in (cut.inputs, cut.outputs)
            )
        except KeyError:
            problem = "not recognised: it ends inside of an operator with an activation"
            return replace(step, unrolled=None, problem=problem)
        before = self.before.get(cut.inputs["x"])
        if before is not None and not Cut(self.file, self.graph, inputs, outputs, before).shapes:
            problem = "not recognised: it takes several rows of a product with all steps"
            return replace(step, unrolled=None, problem=problem)
        if before is not None:  # the first step may be folded into constants
            step = replace(step, steps=sum(product is before for product in self.before.values()))
        return replace(step, unrolled=Cut(self.file, self.graph, inputs, outputs, before))
