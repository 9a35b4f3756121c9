"""Recurrent steps that an exporter has unrolled into products, activations, Mul and Add.

A step is recognised by its algebra, not by names. The activation of a sum and the product that it
enters identify a gate, and the columns of the matrices in the sum are its weights. Gates that make
no known step are reported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ...reference.arrays import Floats
from .content import ORDERS
from .graph import OWN_DOMAINS, ModelError, Scope, import_onnx
from .nodes import DEFAULTS, Node, source
from .operation import Activation

LEAST = 2
"""Products in the sum of a gate: of the input and of the state."""


@dataclass(frozen=True)
class Linear:
    """A sum of products with constant matrices and constants; ``products``: value to (in, out)."""

    products: Mapping[str, Floats] = field(default_factory=dict)
    bias: Floats | float = 0.0

    def plus(self, addend: Linear) -> Linear:
        """Return the sum."""
        products = dict(self.products)
        for name, matrix in addend.products.items():
            products[name] = products[name] + matrix if name in products else matrix
        return Linear(products, self.bias + addend.bias)

    def columns(self, part: slice) -> Linear:
        """Return some of its columns."""
        cut = {name: matrix[:, part] for name, matrix in self.products.items()}
        return Linear(cut, self.bias if isinstance(self.bias, float) else self.bias[part])

    @property
    def width(self) -> int:
        """The number of its columns; 0 without products."""
        return next((matrix.shape[1] for matrix in self.products.values()), 0)


@dataclass(frozen=True)
class Step:
    """One step: its kind, the gates' sums, its inputs and outputs, its last node.

    With a gate ``m``, the reset of a GRU acts after the product, whose sum it is.
    """

    kind: str
    gates: Mapping[str, Linear]
    state: Mapping[str, str]
    new: Mapping[str, str]
    last: Any
    takes_new: bool = False
    candidate: str = "Tanh"


@dataclass(frozen=True)
class Cut:
    """A step cut out of a graph: its input values (x, h, c) and output values (h, c).

    It takes any number of rows, so ``shapes`` is empty.
    """

    scope: Scope
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    shapes: ClassVar[dict[str, tuple[int, ...]]] = {}

    def model(self, dtype: str) -> bytes:
        """Return the step as a model with inputs x, h, c of (B, width)."""
        onnx = import_onnx()
        names = {value: name for name, value in self.inputs.items()}
        originals, constants = self._nodes(frozenset(names))
        number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        nodes = []
        for node in originals:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            for k, name in enumerate(node.input):
                copy.input[k] = names.get(name, name)
            nodes.append(copy)

        def value(name: str) -> Any:
            return onnx.helper.make_tensor_value_info(name, number, [None, None])

        graph = onnx.helper.make_graph(
            nodes, "step", [value(name) for name in self.inputs],
            [value(name) for name in self.outputs.values()],
            [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
        )  # fmt: skip
        opset = onnx.helper.make_opsetid("", self.scope.model.opset)
        version = min(self.scope.model.proto.ir_version or 8, 10)
        model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=version)
        return bytes(model.SerializeToString())

    def _nodes(self, inputs: frozenset[str]) -> tuple[list[Any], dict[str, Floats]]:
        """Return the nodes between its inputs and outputs, and their constants."""
        scope, pending, needed = self.scope, list(self.outputs.values()), set()
        constants: dict[str, Floats] = {}
        while pending:
            name = pending.pop()
            if not name or name in inputs or name in constants:
                continue
            value = scope.constant(name)
            node = scope.producers.get(name)
            if value is not None:
                constants[name] = value
            elif node is None:
                raise ModelError(f"{name!r} is needed for the step, and is made elsewhere")
            elif id(node) not in needed:
                needed.add(id(node))
                pending += node.input
        return [node for node in scope.graph.node if id(node) in needed], constants


@dataclass
class Algebra:
    """The values of one graph as sums, products and gates."""

    scope: Scope
    _linears: dict[str, Linear | None] = field(default_factory=dict)

    @cached_property
    def users(self) -> dict[str, list[Any]]:
        """The nodes that read a value."""
        users = defaultdict(list)
        for node in self.scope.graph.node:
            for name in node.input:
                users[name].append(node)
        return users

    def constant(self, name: str) -> Floats | None:
        """Return a constant value; None for any other, and for an invalid one."""
        try:
            return self.scope.constant(name)
        except ModelError:
            return None

    def made_by(self, name: str, *kinds: str) -> Any | None:
        """Return the node that computes a value if it is of one of these kinds, else None."""
        node = self.scope.producers.get(self.scope.without_identity(name))
        mine = node is not None and node.domain in OWN_DOMAINS and node.op_type in kinds
        return node if mine else None

    def linear(self, name: str, depth: int = 0) -> Linear | None:
        """Return a value as a sum of products with constants; None if it is not one."""
        if name not in self._linears:
            self._linears[name] = None  # a circle is no sum
            with suppress(ValueError):  # nor are arrays that do not fit together
                self._linears[name] = self._linear(name, depth) if depth < 64 else None
        return self._linears[name]

    def _linear(self, name: str, depth: int) -> Linear | None:
        node = self.made_by(name, "Gemm", "MatMul", "Add", "Split", "Slice")
        if node is None:
            return self._constant(name)
        attributes = self.scope.attributes(node)
        if node.op_type in ("Gemm", "MatMul"):
            return self._product(node, attributes, depth)
        if node.op_type == "Add":
            parts = [self.linear(operand, depth + 1) for operand in node.input]
            return parts[0].plus(parts[1]) if parts[0] and parts[1] else None
        full = self.linear(node.input[0], depth + 1)
        part = self._part(node, attributes, name, full) if full and full.width else None
        return full.columns(part) if full and part else None

    def _constant(self, name: str) -> Linear | None:
        value = self.constant(name)
        if value is None or value.dtype.kind != "f" or value.size != max(value.shape, default=1):
            return None
        flat = value.reshape(-1)
        return Linear(bias=flat if flat.size > 1 else float(flat[0]))

    def _product(self, node: Any, attributes: Mapping[str, Any], depth: int) -> Linear | None:
        matrix = self.constant(node.input[1])
        if matrix is None or matrix.ndim != 2 or matrix.dtype.kind != "f":
            return None
        if attributes.get("transA"):
            return None
        matrix = matrix.T if attributes.get("transB") else matrix
        alpha = matrix.dtype.type(attributes.get("alpha", 1.0))
        product = self._operand(node.input[0], matrix if alpha == 1 else alpha * matrix)
        if product is None or len(node.input) < 3 or not node.input[2]:
            return product
        added = self.linear(node.input[2], depth + 1)
        return product.plus(added) if added and attributes.get("beta", 1.0) == 1 else None

    def _operand(self, name: str, matrix: Floats) -> Linear | None:
        """Return a product; one with concatenated values becomes a product with each."""
        concatenation = self.made_by(name, "Concat")
        if concatenation is None or self.scope.attributes(concatenation).get("axis") not in (1, -1):
            return Linear({name: matrix})
        widths = [(self.scope.shapes.get(value) or ("",))[-1] for value in concatenation.input]
        stated = [w for w in widths if isinstance(w, int) and w > 0]
        if len(stated) == len(widths) - 1:
            rest = matrix.shape[0] - sum(stated)
            widths = [w if isinstance(w, int) and w > 0 else rest for w in widths]
        ends = np.cumsum([w if isinstance(w, int) else 0 for w in widths])
        if len(stated) < len(widths) - 1 or ends[-1] != matrix.shape[0]:
            return None
        starts = [0, *ends[:-1]]
        rows = zip(concatenation.input, starts, ends, strict=True)
        return Linear({value: matrix[a:b] for value, a, b in rows})

    def _part(
        self, node: Any, attributes: Mapping[str, Any], name: str, full: Linear
    ) -> slice | None:
        """Return the columns of a Split or a Slice; None if they are unknown."""
        if node.op_type == "Split":
            if attributes.get("axis", 0) not in (1, -1):
                return None
            count, which = len(node.output), list(node.output).index(name)
            stored = self.constant(node.input[1]) if len(node.input) > 1 else None
            sizes = attributes.get("split") if stored is None else stored.tolist()
            sizes = sizes or [full.width // count] * count
            start = sum(sizes[:which])
            return slice(start, start + sizes[which])
        values = [self.constant(operand) for operand in node.input[1:]]
        if len(values) < 3 or any(v is None or v.size != 1 for v in values):
            return None
        start, end, axis, step = (
            int(v.reshape(-1)[0]) for v in (*values, np.array(1))[:4] if v is not None
        )
        if axis not in (1, -1) or step != 1:
            return None
        return slice(*slice(start, end).indices(full.width))

    def gate(self, name: str, *kinds: str) -> Linear | None:
        """Return the sum whose activation of one of these kinds is a value, or None.

        Several gates may have been activated together, and then split.
        """
        node = self.made_by(name, *kinds, "Split", "Slice")
        if node is None:
            return None
        if node.op_type in kinds:
            inside = self.linear(node.input[0])
            return inside if inside is not None and inside.products else None
        together = self.gate(node.input[0], *kinds)
        part = self._part(node, self.scope.attributes(node), name, together) if together else None
        return together.columns(part) if together and part else None

    # The patterns: an LSTM's cell state, a GRU's state, an RNN's.

    def steps(self) -> Iterator[Step]:
        """Yield all steps of an LSTM, GRU or RNN."""
        for node in self.scope.graph.node:
            if node.op_type == "Add":
                yield from self._lstm(node)
                yield from self._gru(node)
        yield from self._rnns()

    def _lstm(self, node: Any) -> Iterator[Step]:
        """Yield steps of c' = f * c + i * g and h' = o * tanh(c')."""
        for forgetting, writing in self._products(node):
            for f, c in _both(forgetting):
                for i, g in _both(writing):
                    sums = {"f": self.gate(f, "Sigmoid"), "i": self.gate(i, "Sigmoid"),
                            "g": self.gate(g, "Tanh")}  # fmt: skip
                    if None in sums.values() or self.gate(c, "Tanh", "Sigmoid"):
                        continue
                    for o, product in self._shown(node.output[0]):
                        gates = {n: s for n, s in {**sums, "o": o}.items() if s is not None}
                        new = {"h": product.output[0], "c": node.output[0]}
                        yield Step("LSTM", gates, {"c": c}, new, product)

    def _products(self, node: Any) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
        """Yield the factors of the two products that a node adds, in both orders."""
        first, second = (self.made_by(operand, "Mul") for operand in node.input)
        if first is not None and second is not None:
            yield first.input, second.input
            yield second.input, first.input

    def _shown(self, c: str) -> Iterator[tuple[Linear, Any]]:
        """Yield the output gate, and the node of o * tanh(c)."""
        for tanh in self.users[c]:
            if tanh.op_type != "Tanh":
                continue
            for product in self.users[tanh.output[0]]:
                if product.op_type != "Mul":
                    continue
                for o, t in _both(product.input):
                    gate = self.gate(o, "Sigmoid")
                    if t == tanh.output[0] and gate is not None:
                        yield gate, product

    def _gru(self, node: Any) -> Iterator[Step]:
        """Yield steps of z * (h - n) + n, or z * h + (1 - z) * n, or with z and 1 - z exchanged."""
        for a, b in _both(node.input):
            yield from self._around(node, a, b)
        for first, second in self._products(node):
            for z, first_state in _both(first):
                for rest, second_state in _both(second):
                    if self.gate(z, "Sigmoid") is None or self._complement(rest) != z:
                        continue
                    yield from self._blended(node, z, first_state, second_state, takes_new=False)
                    yield from self._blended(node, z, second_state, first_state, takes_new=True)

    def _around(self, node: Any, product: str, base: str) -> Iterator[Step]:
        """Yield steps of z * (far - base) + base."""
        factor = self.made_by(product, "Mul")
        for z, difference in _both(factor.input) if factor is not None else ():
            minus = self.made_by(difference, "Sub")
            if minus is None or self.gate(z, "Sigmoid") is None or minus.input[1] != base:
                continue
            far = minus.input[0]
            yield from self._blended(node, z, far, base, takes_new=False)
            yield from self._blended(node, z, base, far, takes_new=True)

    def _complement(self, name: str) -> str:
        """Return z of 1 - z; "" of anything else."""
        minus = self.made_by(name, "Sub")
        ones = self.constant(minus.input[0]) if minus is not None else None
        return (
            minus.input[1] if minus is not None and ones is not None and (ones == 1).all() else ""
        )

    def _blended(self, node: Any, z: str, h: str, n: str, *, takes_new: bool) -> Iterator[Step]:
        tanh = self.made_by(n, "Tanh")
        update = self.gate(z, "Sigmoid")
        if tanh is None or update is None or h not in update.products:
            return
        candidate_sum = self.linear(tanh.input[0])
        if (
            candidate_sum is not None and len(candidate_sum.products) == LEAST
        ):  # the reset acts before the product
            for name in candidate_sum.products:
                r = self._reset(name, h)
                if r is not None:
                    products = {h if k == name else k: m for k, m in candidate_sum.products.items()}
                    gates = {"z": update, "r": r, "n": Linear(products, candidate_sum.bias)}
                    yield Step("GRU", gates, {"h": h}, {"h": node.output[0]}, node, takes_new)
        added = self.made_by(tanh.input[0], "Add")
        for product, x in _both(added.input) if added is not None else ():
            factor, of_x = self.made_by(product, "Mul"), self.linear(x)
            for gate, of_h in _both(factor.input) if factor is not None and of_x else ():
                reset, m = self.gate(gate, "Sigmoid"), self.linear(of_h)
                if reset and m and of_x and list(m.products) == [h]:
                    gates = {"z": update, "r": reset, "n": of_x, "m": m}
                    yield Step("GRU", gates, {"h": h}, {"h": node.output[0]}, node, takes_new)

    def _reset(self, name: str, h: str) -> Linear | None:
        """Return the gate r of r * h."""
        factor = self.made_by(name, "Mul")
        for r, operand in _both(factor.input) if factor is not None else ():
            if operand == h:
                return self.gate(r, "Sigmoid")
        return None

    def _rnns(self) -> Iterator[Step]:
        """Yield steps of φ(x W + h U + b) where h is the output of such a step with the same U."""
        sums = {}
        for node in self.scope.graph.node:
            if node.op_type in ("Tanh", "Relu"):
                inside = self.gate(node.output[0], node.op_type)
                if inside is not None and len(inside.products) == LEAST:
                    sums[node.output[0]] = node, inside
        for name, (node, inside) in sums.items():
            for h, matrix in inside.products.items():
                before = sums.get(h)
                if (
                    before
                    and before[0].op_type == node.op_type
                    and any(np.array_equal(matrix, m) for m in before[1].products.values())
                ):
                    gates = {"a": inside}
                    yield Step("RNN", gates, {"h": h}, {"h": name}, node, candidate=node.op_type)


def _both(pair: Sequence[str]) -> tuple[tuple[str, str], tuple[str, str]]:
    return (pair[0], pair[1]), (pair[1], pair[0])


def steps(scope: Scope) -> Iterator[Node]:
    """Yield one node for the unrolled steps of each layer; or for gates that make no step."""
    kinds = {node.op_type for node in scope.graph.node}
    if not kinds & {"Gemm", "MatMul"} or not kinds & {"Tanh", "Sigmoid", "Relu"}:
        return
    algebra = Algebra(scope)
    all_steps = list(algebra.steps())
    layers: dict[tuple[object, ...], list[Node]] = {}
    outputs = {step.new["h"] for step in all_steps}
    for step in all_steps:
        node = _node(algebra, step, outputs)
        weights = tuple(a.tobytes() for a in node.weights.values())
        layers.setdefault((node.kind, weights or node.name), []).append(node)
    for same in layers.values():
        yield replace(same[0], steps=len(same))
    if not all_steps and (gates := _gates(algebra)):
        yield Node(gates[0], "step", scope.path, problem=(
            f"not recognised: {len(gates)} gates, Sigmoid of a sum of two products, that make no "
            "step of an LSTM or GRU"))  # fmt: skip


def _gates(algebra: Algebra) -> list[str]:
    """Return the names of likely gates: factors that are sigmoids of two products."""
    names = []
    for node in algebra.scope.graph.node:
        if node.op_type != "Sigmoid" or not node.output:
            continue
        inside = algebra.gate(node.output[0], "Sigmoid")
        users = algebra.users[node.output[0]]
        parts = [o for user in users if user.op_type in ("Split", "Slice") for o in user.output]
        users = [*users, *(user for part in parts for user in algebra.users[part])]
        used = any(user.op_type == "Mul" for user in users)
        if inside is not None and len(inside.products) == LEAST and used:
            names.append(node.name or node.output[0])
    return names


def _node(algebra: Algebra, step: Step, outputs: set[str]) -> Node:
    """Return a step as a node with its weights in ONNX's layout."""
    scope = algebra.scope
    label = step.last.name or step.last.output[0]
    bare = Node(label, step.kind, scope.path, opset=scope.model.opset)
    h = step.state.get("h") or _state_of(scope, step, outputs)
    names = {name for gate, s in step.gates.items() if gate != "m" for name in s.products}
    if not h or len(names) != LEAST:
        problem = "not recognised: which of its products is that of the state cannot be told"
        return replace(bare, problem=problem)
    (x,) = names - {h}
    order = ORDERS["onnx"][bare.family]
    m = step.gates.get("m")
    of_h = {g: (m if m and g == "n" else step.gates[g]) for g in order}
    W = [step.gates[g].products.get(x) for g in order]
    R = [of_h[g].products.get(h) for g in order]
    shapes = (
        {None if a is None else a.shape for a in W},
        {None if a is None else a.shape for a in R},
    )
    H = 0 if R[0] is None else R[0].shape[1]
    if any(len(s) > 1 or None in s for s in shapes) or R[0] is None or R[0].shape != (H, H):
        return replace(bare, problem="not recognised: its gates have different widths")
    dtype = R[0].dtype
    b = [np.broadcast_to(np.asarray(step.gates[g].bias, dtype), (H,)) for g in order]
    c = [np.zeros(H, dtype) if not (m and g == "n") else
         np.broadcast_to(np.asarray(m.bias, dtype), (H,)) for g in order]  # fmt: skip
    weights = {
        "W": np.concatenate([a.T for a in W if a is not None])[None],
        "R": np.concatenate([a.T for a in R if a is not None])[None],
        "B": np.concatenate([*b, *c])[None],
    }
    state = {"h": h, **step.state}
    usual = DEFAULTS[step.kind]
    activations = (Activation(step.candidate),) if step.kind == "RNN" else usual
    return replace(
        bare, weights=weights, activations=activations,
        reset_after=m is not None, takes_new=step.takes_new,
        stored={"W": f"product with {x}", "R": f"product with {h}"},
        state=", ".join(f"{n}: {source(scope, v)}" for n, v in state.items()),
        unrolled=Cut(scope, {"x": x, **state}, step.new),
    )  # fmt: skip


def _state_of(scope: Scope, step: Step, outputs: set[str]) -> str:
    """Return the one of an LSTM's two operands that is h, "" if that is unknown.

    It is carried by the loop around the graph, or an earlier output, or of c's origin or width.
    """
    names = list(step.gates["i"].products)
    matrices = step.gates["i"].products
    carried = [name for name in names if name == _carried(scope, step.new["h"])]
    earlier = [name for name in names if name in outputs]
    origin = source(scope, step.state["c"])
    alike = [name for name in names if source(scope, name) == origin]
    square = [name for name in names if matrices[name].shape[0] == matrices[name].shape[1]]
    stated = [name for name in names if scope.home(name)]  # x of a step may be a restated one
    criteria = (carried, earlier, stated, alike, square)
    return next((matches[0] for matches in criteria if len(matches) == 1), "")


def _carried(scope: Scope, new: str) -> str:
    """Return the input of a loop's body that holds ``new`` of the round before; "" if none."""
    kind = scope.within.op_type if scope.within is not None else ""
    inputs = [i.name for i in scope.graph.input] if kind in ("Loop", "Scan") else []
    outputs = [o.name for o in scope.graph.output] if inputs else []
    if kind == "Loop":  # its first inputs are the round and the condition, its first output that
        inputs, outputs = inputs[2:], outputs[1:]
    for before, after in zip(inputs, outputs, strict=False):
        if scope.without_identity(after) == new:
            return str(before)
    return ""
