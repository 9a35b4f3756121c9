"""Recurrent steps that were unrolled into products and activations of TensorFlow Lite.

A graph is restated in ONNX's operators, in which ``verify.models.steps`` recognises steps by their
algebra; what is recognised is cut out of the file itself, and run by LiteRT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ....reference.functions import Array
from ..graph import Model, ModelError, Scope, import_onnx
from ..nodes import Node
from ..steps import steps as steps_of
from .flatbuffer import File, Operator, Writer, names_of
from .operators import INSTEAD

PRODUCTS = {"FULLY_CONNECTED", "BATCH_MATMUL"}
GATES = {"LOGISTIC", "TANH", "RELU"}
SAME = {
    "ADD": "Add", "SUB": "Sub", "MUL": "Mul", "LOGISTIC": "Sigmoid", "TANH": "Tanh",
    "RELU": "Relu", "RESHAPE": "Reshape", "SQUEEZE": "Squeeze", "EXPAND_DIMS": "Unsqueeze",
    "TRANSPOSE": "Transpose", "CAST": "Cast", "GATHER": "Gather",
}  # fmt: skip
"""Operators that ONNX has, too, with the same first inputs."""

ACTIVATIONS = {"RELU": "Relu", "TANH": "Tanh"}
OTHER = "tflite"
"""The domain of what is not restated."""


@dataclass(frozen=True)
class Cut:
    """A step cut out of a file: the tensors that it takes (x, h, c) and makes (h, c)."""

    file: File
    graph: int
    taken: Mapping[str, int]
    made: Mapping[str, int]

    def model(self, dtype: str) -> bytes:
        """Return the step as a model of its own, with inputs x, h, c of (B, width)."""
        writer, file = Writer(), self.file
        names = {number: name for name, number in self.taken.items()}
        numbers: dict[int, int] = {-1: -1}

        def number(old: int) -> int:
            if old not in numbers:
                given = file.tensor(self.graph, old)
                stored = None if old in names else file.stored(self.graph, old)
                shape = tuple(map(int, () if given.shape is None else given.shape))
                array = None if stored is None else np.frombuffer(stored, np.uint8)
                kind = file.dtype(self.graph, old)
                name = names.get(old, f"tensor {old}")
                numbers[old] = writer.tensor(name, shape, array, dtype=kind)
            return numbers[old]

        given = [number(each) for each in self.taken.values()]
        for operator in self._operators():
            inputs, outputs = ([number(k) for k in own]
                               for own in (operator.inputs, operator.outputs))  # fmt: skip
            writer.operator(operator.name, inputs, outputs, operator.options)
        return writer.model(given, [number(each) for each in self.made.values()])

    def _operators(self) -> list[Operator]:
        """Return the operators between what it takes and what it makes, in their order."""
        wanted, needed = list(self.made.values()), set()
        while wanted:
            number = wanted.pop()
            made = self.file.producers.get((self.graph, number))
            if number in self.taken.values() or number < 0:
                continue
            if made is None and self.file.stored(self.graph, number) is None:
                name = self.file.name(self.graph, number)
                raise ModelError(f"{name!r} is needed for the step, and is made elsewhere")
            if made is not None and made.number not in needed:
                needed.add(made.number)
                wanted += made.inputs
        return [o for o in self.file.operators[self.graph] if o.number in needed]


def unrolled(file: File) -> Iterator[Node]:
    """Yield the unrolled steps of all graphs of a file, and gates that make none."""
    bodies = {
        o.options.bodySubgraphIndex: o
        for own in file.operators for o in own if o.name == "WHILE" and o.options is not None
    }  # fmt: skip
    for graph, own in enumerate(file.operators):
        kinds = {each.name for each in own}
        if not kinds & PRODUCTS or not kinds & GATES:
            continue
        restated = _Restated(file, graph)
        for node in steps_of(restated.scope(loop=graph in bodies)):
            yield restated.held(node)


@dataclass
class _Restated:
    """A graph in ONNX's operators, and which tensors its values are."""

    file: File
    graph: int
    nodes: list[Any] = field(default_factory=list)
    quantised: bool = False

    def __post_init__(self) -> None:
        """Name every tensor, by its number where names are not unique."""
        tensors = self.file.model.subgraphs[self.graph].tensors or []
        names = [self.file.name(self.graph, k) for k in range(len(tensors))]
        count = Counter(names)
        self.names = [n if count[n] == 1 else f"{n} ({k})" for k, n in enumerate(names)]
        self.numbers = {name: k for k, name in enumerate(self.names)}

    def scope(self, *, loop: bool) -> Scope:
        """Return the graph; of a ``loop``, whose inputs are its outputs of the round before."""
        onnx = import_onnx()
        for operator in self.file.operators[self.graph]:
            self._restate(operator)
        number = onnx.TensorProto.FLOAT

        def values(which: Any) -> list[Any]:
            return [onnx.helper.make_tensor_value_info(
                        self.names[k], number, list(self.file.shape(self.graph, k)))
                    for k in map(int, () if which is None else which)]  # fmt: skip

        own = self.file.model.subgraphs[self.graph]
        constants = [
            onnx.numpy_helper.from_array(value, name)
            for k, name in enumerate(self.names)
            if (self.graph, k) not in self.file.producers
            and (value := self._constant(k)) is not None
        ]
        given = set(map(int, () if own.inputs is None else own.inputs))
        graph = onnx.helper.make_graph(
            self.nodes, "graph", values(own.inputs), values(own.outputs), constants,
            value_info=values(k for k in range(len(self.names)) if k not in given),
        )  # fmt: skip
        proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
        path = f"graph {self.graph}/" if self.graph else ""
        within = onnx.helper.make_node("Scan", [], []) if loop else None
        return Scope(Model(self.file.path, proto), proto.graph, path, within=within)

    def _constant(self, number: int) -> Array | None:
        """Return a stored tensor; None for one that is none, or cannot be read."""
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
        wide = self.file.dtype(self.graph, number) == "INT64" if number >= 0 else False
        return None if raw is None else np.frombuffer(raw, np.int64 if wide else np.int32).tolist()

    def _add(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self.nodes.append(import_onnx().helper.make_node(kind, inputs, outputs, **attributes))

    def _restate(self, operator: Operator) -> None:
        """Add a graph's operator, its fused activation as one of its own."""
        inputs = ["" if k < 0 else self.names[k] for k in operator.inputs]
        outputs = [self.names[k] for k in operator.outputs if k >= 0]
        kind, options = operator.name, operator.options
        code = getattr(options, "fusedActivationFunction", 0)
        fused = names_of("ActivationFunctionType").get(code, "") if code else ""
        if operator.custom or not outputs or (fused and fused not in ACTIVATIONS):
            self._add(kind or "CUSTOM", inputs, outputs, domain=OTHER)
            return
        made = [f"{outputs[0]} before its activation"] if fused else outputs
        if not self._known(operator, inputs, made):
            self._add(kind, inputs, outputs, domain=OTHER)
        elif fused:
            self._add(ACTIVATIONS[fused], made, outputs)

    def _known(self, operator: Operator, inputs: list[str], outputs: list[str]) -> bool:
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
        elif kind == "STRIDED_SLICE":
            self._slice(operator, inputs, outputs)
        elif kind in SAME:
            self._add(SAME[kind], inputs, outputs)
        else:
            return False
        return True

    def _slice(self, operator: Operator, inputs: list[str], outputs: list[str]) -> None:
        """Add a slice; with its range if it is one of columns."""
        start, end, step = (self._integers(operator.input(k)) for k in (1, 2, 3))
        masks, x = operator.options, self.file.shape(self.graph, operator.inputs[0])
        others = masks.ellipsisMask or masks.newAxisMask or masks.shrinkAxisMask
        rows = masks.beginMask & 1 and masks.endMask & 1
        if others or not rows or len(x) != 2 or not start or not end or step != [1, 1]:
            self._add("Slice", inputs[:1], outputs)
            return
        first = 0 if masks.beginMask & 2 else start[1]
        last = x[1] if masks.endMask & 2 else end[1]
        names = []
        for word, value in (("start", first), ("end", last), ("axis", 1)):
            names.append(f"{outputs[0]} {word}")
            stored = import_onnx().numpy_helper.from_array(np.array([value]))
            self._add("Constant", [], names[-1:], value=stored)
        self._add("Slice", [inputs[0], *names], outputs)

    def held(self, node: Node) -> Node:
        """Return a step that was recognised as one of the file."""
        own = replace(node, opset=0, place=None)
        if node.unrolled is None:
            return own
        if self.quantised:
            return replace(own, unrolled=None, problem=f"its products are quantised: {INSTEAD}")
        cut = node.unrolled
        try:
            taken, made = ({key: self.numbers[name] for key, name in values.items()}
                           for values in (cut.taken, cut.made))  # fmt: skip
        except KeyError:
            problem = "not recognised: it ends inside of an operator with an activation"
            return replace(own, unrolled=None, problem=problem)
        return replace(own, unrolled=Cut(self.file, self.graph, taken, made))
