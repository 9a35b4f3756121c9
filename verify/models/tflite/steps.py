"""Recurrent steps that were unrolled into products and activations of TensorFlow Lite.

A graph is restated in ONNX's operators, in which ``verify.models.steps`` recognises steps by their
algebra; what is recognised is cut out of the file itself, and run by LiteRT. A product with the
input of all steps at once, which exporters put before the steps, is restated as one of each step.
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
"""Operators that ONNX has, too, with the same first inputs."""

READ = {
    "FULLY_CONNECTED": (2, 3), "BATCH_MATMUL": (2,), "ADD": (2,), "SUB": (2,), "MUL": (2,),
    "LOGISTIC": (1,), "TANH": (1,), "RELU": (1,), "SPLIT": (2,), "SPLIT_V": (3,), "SLICE": (3,),
    "STRIDED_SLICE": (4,),
}  # fmt: skip
"""How many inputs an operator has whose meaning is read."""

OPTIONS = {
    "FULLY_CONNECTED": "FullyConnectedOptionsT", "BATCH_MATMUL": "BatchMatMulOptionsT",
    "CONCATENATION": "ConcatenationOptionsT", "STRIDED_SLICE": "StridedSliceOptionsT",
    "UNPACK": "UnpackOptionsT",
}  # fmt: skip
"""Whose options are read."""

MOVED = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE", "UNPACK", "SPLIT")
"""Operators that only choose or move rows, where the last axis stays as wide as it was."""

LONGEST = 16
"""Such operators one after the other."""

ACTIVATIONS = {"RELU": "Relu", "TANH": "Tanh"}
OTHER = "tflite"
"""The domain of what is not restated."""


@dataclass(frozen=True)
class Cut:
    """A step cut out of a file: the tensors that it takes (x, h, c) and makes (h, c).

    ``before`` is the product with the input of all steps, of which the step takes a row, not x.
    """

    file: File
    graph: int
    taken: Mapping[str, int]
    made: Mapping[str, int]
    before: Operator | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes that the file has of what it takes and makes, of one row; {} for several."""
        every = {**{f"new {n}": k for n, k in self.made.items()}, **self.taken}
        shapes = {name: self.file.shape(self.graph, k) for name, k in every.items()}
        if self.before is not None:
            D = self.file.shape(self.graph, self.before.inputs[1])[1]
            shapes["x"] = (*shapes["x"][:-1], D)
        return shapes if all(set(shape[:-1]) <= {1} for shape in shapes.values()) else {}

    def model(self, dtype: str) -> bytes:
        """Return the step as a model of its own, with inputs x, h, c."""
        writer, file = Writer(), self.file
        names = {number: name for name, number in self.taken.items()}
        names |= {self.taken["x"]: "product"} if self.before else {}
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
        if self.before is not None:
            options = copy.copy(self.before.options)
            options.keepNumDims = True
            given[0] = x = writer.tensor("x", self.shapes["x"])
            inputs = [x, *(number(k) for k in self.before.inputs[1:])]
            made = number(self.taken["x"])
            writer.operator(self.before.name, inputs, [made], options)
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
    before: dict[str, Operator] = field(default_factory=dict)
    quantised: bool = False

    def __post_init__(self) -> None:
        """Name every tensor, by its number where names are not unique."""
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

    def _constant(self, number: int) -> Floats | None:
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
        dtype = np.int64 if raw and self.file.dtype(self.graph, number) == "INT64" else np.int32
        whole = raw is not None and len(raw) % np.dtype(dtype).itemsize == 0
        return np.frombuffer(raw, dtype).tolist() if raw is not None and whole else None

    def _add(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self.nodes.append(import_onnx().helper.make_node(kind, inputs, outputs, **attributes))

    def _inside(self, operator: Operator) -> int:
        """Return the tensor whose rows an operator moves."""
        return operator.input(1 if operator.name == "SPLIT" else 0)

    def _rows(self, number: int) -> int:
        """Return how many rows a tensor has, all axes but the last; 0 where that is not known."""
        return max(0, int(np.prod(self.file.shape(self.graph, number)[:-1], dtype=object)))

    def _moves_rows(self, operator: Operator) -> bool:
        """Whether an operator only chooses or moves rows."""
        if operator.name not in MOVED or not self._sound(operator):
            return False
        every = [self._inside(operator), *operator.outputs]
        if len({self.file.shape(self.graph, k)[-1:] for k in every if k >= 0}) != 1:
            return False
        options, last = operator.options, len(self.file.shape(self.graph, every[0])) - 1
        if operator.name == "UNPACK":
            return getattr(options, "axis", -1) not in (-1, last)
        if operator.name == "STRIDED_SLICE":
            steps = self._integers(operator.input(3)) or [0]
            others = options.ellipsisMask or options.newAxisMask or options.shrinkAxisMask >> last
            return not others and steps[-1] == 1
        return True

    def _product(self, number: int) -> Operator | None:
        """Return the product with the input of all steps of which a tensor has some rows."""
        rows = self._rows(number)
        for _ in range(LONGEST):
            made = self.file.producers.get((self.graph, number))
            if made is None or not self._sound(made):
                return None
            if made.name == "FULLY_CONNECTED":
                return made if self._rows(number) > rows and not self._fused(made) else None
            if not self._moves_rows(made):
                return None
            number = self._inside(made)
        return None

    def _of_step(self, operator: Operator) -> bool:
        """Restate rows of a product with all steps as one with x of a step; return whether it is.

        They are those of the last operator that moves rows, whose outputs are read by others.
        """
        made = [k for k in operator.outputs if k >= 0]
        moved = self._moves_rows(operator) and not any(
            self._moves_rows(user) for k in made for user in self.users[k]
        )
        products = [self._product(k) for k in made] if moved else [None]
        if any(product is None for product in products):
            return False
        for k, product in zip(made, products, strict=True):
            assert product is not None  # noqa: S101 - for the type checker
            x = f"{self.names[product.inputs[0]]}, a step ({k})"
            self.before[x], self.numbers[x] = product, k
            given = [x, *("" if j < 0 else self.names[j] for j in product.inputs[1:])]
            self._add("Gemm", given, [self.names[k]], transB=1)
        return True

    def _fused(self, operator: Operator) -> str:
        """Return the name of an operator's fused activation, "" for none."""
        code = getattr(operator.options, "fusedActivationFunction", 0)
        return names_of("ActivationFunctionType").get(code, "UNKNOWN") if code else ""

    def _sound(self, operator: Operator) -> bool:
        """Whether an operator has the inputs, outputs and options of its kind."""
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

    def _restate(self, operator: Operator) -> None:
        """Add a graph's operator, its fused activation as one of its own."""
        if self._sound(operator) and self._of_step(operator):
            return
        inputs = ["" if k < 0 else self.names[k] for k in operator.inputs]
        outputs = [self.names[k] for k in operator.outputs if k >= 0]
        kind, fused = operator.name, self._fused(operator)
        if not self._sound(operator) or (fused and fused not in ACTIVATIONS):
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
        """Return which columns of the last axis a slice takes, of all rows; None for another."""
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
        whole = begin[:-1] == [0] * (len(x) - 1) and tuple(end[:-1]) == x[:-1]
        return (begin[-1], end[-1]) if whole else None

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
        before = self.before.get(cut.taken["x"])
        if before is not None and not Cut(self.file, self.graph, taken, made, before).shapes:
            problem = "not recognised: it takes several rows of a product with all steps"
            return replace(own, unrolled=None, problem=problem)
        if before is not None:  # the first step may be folded into constants
            own = replace(own, steps=sum(each is before for each in self.before.values()))
        return replace(own, unrolled=Cut(self.file, self.graph, taken, made, before))
