"""A node of a file as a subject: cut out, with its own weights and attributes, run by a runtime.

Cases have the node's own widths, directions and layout, and its own weights; inputs and states are
drawn. In other widths, which a diagnosis asks for, weights are drawn, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.functions import Array
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.parameter_map import ConventionMap
from ..runs.verdict import OWN_EQUATIONS
from ..runs.words import words
from ..subjects.called import NotOffered, SubjectCrashed
from ..subjects.framework import OncePerParameters, imported, what_is_given
from ..subjects.frameworks import families
from ..subjects.frameworks.onnx_operator import LENGTHS, Operator
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import Built, Cotangents, Inputs, Pulled, Result, SubjectUnavailable
from .activations import activations
from .departures import Departure, departures
from .equations import OperatorCell
from .graph import SUFFIX, Model, ModelError, read
from .inventory import inventory
from .nodes import DEFAULTS, ORDER, Activation, Node, unheld
from .operation import Operation
from .runtimes import DEFAULT, RUNTIMES, PerShape, Runtime
from .sources import layers, of_node, packed, under, unpacked

CHECKS = (
    "smoke", "forward", "batch-single", "batch-permutation", "repeat", "padding",
    "causality", "carry", "final", "transition",
)  # fmt: skip
"""What is held of a node: what can be asked of fixed weights, without gradients."""

MARK = f"{SUFFIX}#"


UNROLLED = "unrolled"
"""The name among the buffers that says that a step runs with its own weights alone."""

WEIGHT, OWN, SOURCE, CALL = "weight ", "own ", "source ", "call "
"""What stands before names among the buffers.

Of weights, of the file's layers and the source's, and of calls in the running graph.
"""

UNSEEN = "unseen"
"""The name among the buffers of the sentence that says why calls cannot be had."""

REVERSE = "reverse"
"""The name among the buffers that says that a node begins at the end of its rows."""

NUMBER = "number"
"""The name among the buffers of the node's place among those of its file."""


@dataclass(frozen=True)
class Name:
    """What ``[RUNTIME:]path/to/model.onnx[#NODE]`` says; ``node`` is "" where it names a file."""

    runtime: str
    path: Path
    node: str

    @classmethod
    def parse(cls, name: str) -> Name | None:
        """Return what a subject's name says; None if it names no model file."""
        file, mark, node = name.partition(MARK)
        if not mark and not name.endswith(SUFFIX):
            return None
        file = f"{file}{SUFFIX}" if mark else file
        runtime, colon, path = file.partition(":")
        known = colon and (runtime in RUNTIMES or runtime in families())
        return cls(runtime, Path(path), node) if known else cls(DEFAULT, Path(file), node)

    def __str__(self) -> str:
        runtime = "" if self.runtime == DEFAULT else f"{self.runtime}:"
        return f"{runtime}{self.path}" + (f"#{self.node}" if self.node else "")


def file_of(name: str) -> str:
    """Return the path of the model file that a subject's name has; "" if it has none."""
    said = Name.parse(name)
    return str(said.path) if said else ""


class NodeMap(ConventionMap):
    """The map of a node's convention; in its own shapes arrays are the file's, not drawn."""

    def __init__(self, convention: Any, case: Case, weights: Mapping[str, Array]) -> None:
        """Take the weights by the convention's names."""
        super().__init__(convention, case)
        object.__setattr__(self, "weights", weights)

    def draw(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return the file's array where it has this shape, else a drawn one."""
        own: Array | None = getattr(self, "weights").get(name)  # noqa: B009 - frozen
        if own is None or own.shape != shape:
            return super().draw(name, shape)
        return self.case.simplified(name, own.astype(np.float64))


class Compared:
    """What a node is compared with beside its equations, by the ``arrays`` of its process."""

    arrays: Mapping[str, Array]

    @property
    def unrolled(self) -> bool:
        """Whether it is a step that an exporter has unrolled, which runs with its own weights."""
        return UNROLLED in self.arrays

    @property
    def reverse(self) -> bool:
        """Whether it begins at the end of its rows, which the equations see turned round."""
        return REVERSE in self.arrays

    @cached_property
    def departures(self) -> list[Departure]:
        """How the node departs from what it is compared with."""
        own, source = unpacked(self.arrays, OWN), unpacked(self.arrays, SOURCE)
        return departures(int(self.arrays[NUMBER]), own, source)

    @property
    def unseen(self) -> str:
        """Why what reaches the node in the running graph cannot be had, "" if it can."""
        return self.arrays[UNSEEN].tobytes().decode() if UNSEEN in self.arrays else ""

    @property
    def calls_in_graph(self) -> Iterator[tuple[Inputs, Result]]:
        """What reached the node in the running graph, and what it made of it."""
        weights = under(self.arrays, WEIGHT)
        for k in count():
            named = under(self.arrays, f"{CALL}{k} ")
            if not named:
                return
            states, final = ([named[n] for n in sorted(named) if n.startswith(part)]
                             for part in ("state ", "final "))  # fmt: skip
            inputs = Inputs(weights, named["x"], tuple(states) or None, named.get("lengths"))
            yield inputs, Result(named["y"], tuple(final))


@dataclass(frozen=True)
class NodeSubject(Compared):
    """A node of a file, and the runtime that runs it."""

    name: str
    node: Node
    runtime: Runtime
    arrays: Mapping[str, Array] = field(default_factory=dict, compare=False)
    """What was recorded, and the source that it is compared with: the judge asks for them."""

    @property
    def operation(self) -> Operation | None:
        """What it computes, where no cell of the reference does."""
        node = self.node
        if node.plain:
            return None
        activations = tuple((a.name, a.alpha, a.beta) for a in node.of_direction)
        return Operation(str(node.convention.cell), node.kind, activations, node.clip)

    @property
    def convention(self) -> Any:
        """What its parameters mean."""
        return replace(self.node.convention, padding="zeros", empty_row="zeros")

    @property
    def cells(self) -> tuple[str, ...]:
        """The reference's cell, or the operator itself."""
        return (f"{OWN_EQUATIONS}{self.node.kind}" if self.operation else self.convention.cell,)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """That of its weights."""
        return (self.node.dtype,)

    @property
    def options(self) -> Options:
        """What its node has: directions, biases, lengths, states."""
        node = self.node
        reason = "the node of the file has none"
        return Options(
            layers=False, bidirectional=node.directions == 2, bias="B" not in node.weights,
            lengths=bool(node.lengths), state=bool(node.state), default_state=not node.state,
            gradient=False, batch_first=node.layout == 1,
            reasons=(("gradient", "a runtime of files"), ("lengths", reason), ("state", reason),
                     ("default_state", "the node of the file is given one")),
        )  # fmt: skip

    @property
    def fixed(self) -> tuple[tuple[str, int | bool | str], ...]:
        """What all of its cases have."""
        return fixed(self.node)

    @property
    def held_to(self) -> tuple[str, ...]:
        """The checks that mean anything for it."""
        node = self.node
        single = node.directions == 1
        needs = {"padding": node.lengths, "carry": node.state and single, "causality": single,
                 "transition": node.state and single}  # fmt: skip
        held = [check for check in CHECKS if needs.get(check, True)]
        held += ["source"] if NUMBER in self.arrays else []
        if any(name == UNSEEN or name.startswith(CALL) for name in self.arrays):
            held.append("in-graph")
        return tuple(held)

    def version(self) -> str:
        """Return the runtime's name and version; SubjectUnavailable if it is not there."""
        return self.runtime.version()

    def cell(self, case: Case) -> str:
        """Return its cell."""
        return self.cells[0]

    @property
    def own_cell(self) -> Any:
        """The operator's own equations, where the reference has none."""
        return OperatorCell(self.operation) if self.operation else None

    def parameter_map(self, case: Case) -> NodeMap:
        """Return the map of its convention, with its own weights."""
        return NodeMap(self.convention, case, self.weights)

    def caller(self, case: Case) -> str:
        """Return nothing: scripts of failures call it by gatewise."""
        return ""

    @property
    def weights(self) -> dict[str, Array]:
        """Its weights by the convention's names, ``weight_ih_l0``, ``bias_hh_l0_reverse``."""
        return under(self.arrays, WEIGHT)

    @property
    def operator(self) -> Operator:
        """The operator of ONNX that it is."""
        node = self.node
        attributes: dict[str, Any] = {}
        if node.reset_after:
            attributes["linear_before_reset"] = 1
        if node.coupled:
            attributes["input_forget"] = 1
        if node.clip:
            attributes["clip"] = node.clip
        if node.direction == "reverse":
            attributes["direction"] = "reverse"
        usual = tuple(map(Activation, DEFAULTS[node.kind]))
        stated = () if node.of_direction == usual else node.of_direction
        return Operator(
            node.kind, node.convention, attributes, tuple(a.name for a in stated),
            tuple(a.alpha for a in stated if a.name in TAKE_ALPHA),
            tuple(a.beta for a in stated if a.name in TAKE_BETA), node.opset,
        )  # fmt: skip

    def build(self, case: Case) -> Built:
        """Return the node as a model of its own."""
        return BuiltNode(self, case) if self.node.unrolled is None else BuiltStep(self, case)


TAKE_ALPHA = ("Affine", "Elu", "HardSigmoid", "LeakyRelu", "ScaledTanh", "ThresholdedRelu")
TAKE_BETA = ("Affine", "HardSigmoid", "ScaledTanh")


class BuiltNode:
    """A node, ready to be called; ``buffers`` are its weights, and what it is compared with."""

    def __init__(self, subject: NodeSubject, case: Case) -> None:
        self.subject, self.case = subject, case
        onnx, operator = imported("onnx", "onnx"), subject.operator

        def make(inputs: Inputs) -> PerShape:
            model = operator.model(onnx, case, self._turned(inputs))
            if fixed(subject.node) == tuple((n, getattr(case, n)) for n, _ in fixed(subject.node)):
                # Of coupled gates the block that is not used holds ones, to be noticed.
                own = not subject.node.coupled and _same(inputs.parameters, subject.weights)
                _restate(onnx, model.graph, subject.node, weights=own)
            return PerShape(subject.runtime, model.SerializeToString())

        self._made = OncePerParameters(make, what_is_given)

    def forward(self, inputs: Inputs) -> Result:
        """Run it."""
        operator, turned = self.subject.operator, self._turned(inputs)
        outputs = self._made(inputs)(operator.feeds(self.case, turned))
        if len(outputs) != len(operator.outputs):
            raise SubjectCrashed(f"expected {len(operator.outputs)} outputs, got {len(outputs)}")
        result = operator.result(self.case, [np.asarray(a) for a in outputs])
        if not self._reverse:
            return result
        return replace(result, y=_turned(result.y, inputs.lengths))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> Sequence[Pulled]:
        """Raise: it has none."""
        raise NotOffered("a runtime of files has no gradients")

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Raise: it has none."""
        raise NotOffered("a runtime of files has no forward mode")

    def train(self, training: bool) -> None:
        """Raise: it has one mode."""
        raise NotOffered("a runtime of files has one mode")

    def buffers(self) -> dict[str, Array]:
        """Return the node's own weights, and what it is compared with."""
        return dict(self.subject.arrays)

    @property
    def _reverse(self) -> bool:
        """Whether it begins at the end: the equations see its rows turned round."""
        return self.subject.node.direction == "reverse" and not self.case.bidirectional

    def _turned(self, inputs: Inputs) -> Inputs:
        return replace(inputs, x=_turned(inputs.x, inputs.lengths)) if self._reverse else inputs


def _restate(onnx: Any, graph: Any, node: Node, *, weights: bool) -> None:
    """Give the node of a graph the file's own attributes, and weights, as they stand there."""
    if node.place is None:
        return
    scope, proto = node.place
    (made,) = graph.node
    del made.attribute[:]
    for name, value in scope.attributes(proto).items():
        made.attribute.append(onnx.helper.make_attribute(name, value))
    for tensor in graph.initializer if weights else ():
        if tensor.name in node.weights:
            own = onnx.numpy_helper.from_array(node.weights[tensor.name], tensor.name)
            tensor.CopyFrom(own)


def _same(given: Mapping[str, Array], own: Mapping[str, Array]) -> bool:
    """Whether two sets of arrays are the same."""
    names = given.keys() == own.keys()
    return names and all(np.array_equal(given[name], array) for name, array in own.items())


class BuiltStep(BuiltNode):
    """A step that an exporter has unrolled, run once for every step of x, with its own weights."""

    def __init__(self, subject: NodeSubject, case: Case) -> None:
        super().__init__(subject, case)
        self._step = PerShape(subject.runtime, subject.node.unrolled.model(subject.node.dtype))

    def forward(self, inputs: Inputs) -> Result:
        """Run it, step after step."""
        if not _same(inputs.parameters, self.subject.weights):
            raise NotOffered("its weights are in its products: it runs with its own alone")
        states = self.subject.node.states
        assert inputs.state is not None  # noqa: S101 - the node is given one
        now = {name: s[0] for name, s in zip(states, inputs.state, strict=True)}
        y = []
        for x in inputs.x:
            new = self._step({"x": np.ascontiguousarray(x), **now})
            now = {name: np.asarray(a) for name, a in zip(states, new, strict=True)}
            y.append(now["h"])
        shape = (0, inputs.x.shape[1], self.subject.node.H)
        whole = np.stack(y) if y else np.zeros(shape, inputs.x.dtype)
        return Result(whole, tuple(now[name][None] for name in states))


def _turned(x: Array, lengths: Array | None) -> Array:
    """Return (T, B, ...) with every row turned round within its length."""
    if lengths is None:
        return x[::-1].copy()
    turned = x.copy()
    for row, length in enumerate(lengths):
        turned[:length, row] = x[:length, row][::-1]
    return turned


def fixed(node: Node) -> tuple[tuple[str, int | bool | str], ...]:
    """Return what every case of a node has: its widths, directions, biases and layout."""
    own: dict[str, int | bool | str] = {"D": node.D, "H": node.H}
    own |= {"bidirectional": node.directions == 2, "bias": "B" in node.weights}
    return (*own.items(), *((("layout", "batch-first"),) if node.layout else ()))


def own_case(node: Node) -> Case:
    """Return a smallest case in a node's own widths."""
    own: dict[str, Any] = dict(fixed(node))
    return Case(**{"T": 1, "B": 1, "dtype": node.dtype, "state": bool(node.state), **own})


def named_weights(node: Node) -> dict[str, Array]:
    """Return a node's weights by its convention's names, those of every direction."""
    gates, H = len(node.weights["W"][0]) // node.H, node.H
    named: dict[str, Array] = {}
    for k in range(node.directions):
        suffix = "_l0_reverse" if k else "_l0"
        of = {slot: array[k] for slot, array in node.weights.items()}
        bias = of.get("B", np.zeros(2 * gates * H, of["W"].dtype))
        every = {"weight_ih": of["W"], "weight_hh": of["R"],
                 "bias_ih": bias[: gates * H], "bias_hh": bias[gates * H :]}  # fmt: skip
        if node.coupled:  # f = 1 - i leaves its block unused
            keep = np.r_[0 : 2 * H, 3 * H : 4 * H]
            every = {name: array[keep] for name, array in every.items()}
        if "B" not in of:
            every = {name: a for name, a in every.items() if not name.startswith("bias")}
        if "P" in of:
            every["peephole"] = of["P"]
        named |= {f"{name}{suffix}": array for name, array in every.items()}
    return named


def node_named(name: str, against: str = "", inputs: str = "") -> NodeSubject:
    """Return the subject of a node of a file; UnknownSubject says why there is none."""
    said = Name.parse(name)
    if said is None:
        raise UnknownSubject(f"subject {name!r}: expected path/to/model{SUFFIX}#NODE")
    if said.runtime not in RUNTIMES:
        raise UnknownSubject(
            f"subject {name!r}: a runtime of files is one of {', '.join(RUNTIMES)}"
        )
    try:
        model = read(said.path)
        every = inventory(model)
    except ModelError as error:
        raise UnknownSubject(str(error)) from error
    node = next((each for each in every if each.name == said.node), None)
    if node is None:
        raise UnknownSubject(
            f"{said.path}: there is no recurrent node {said.node!r}; there are "
            f"{', '.join(each.name for each in every[:20]) or 'none'}"
        )
    if problem := unheld(node):
        raise SubjectUnavailable(f"{node.name}: {problem}")
    arrays: dict[str, Array] = {}
    if against:
        own = [each for each in every if not unheld(each)]
        arrays |= {NUMBER: np.array(own.index(node))}
        arrays |= packed(list(map(of_node, own)), OWN) | packed(layers(against), SOURCE)
    arrays |= {f"{WEIGHT}{n}": array for n, array in named_weights(node).items()}
    marks = {UNROLLED: node.unrolled is not None, REVERSE: node.direction == "reverse"}
    arrays |= {mark: np.array(1) for mark, there in marks.items() if there}
    subject = NodeSubject(name, node, RUNTIMES[said.runtime], arrays)
    return _with_calls(subject, model, Path(inputs)) if inputs else subject


def _with_calls(subject: NodeSubject, model: Model, inputs: Path) -> NodeSubject:
    """Return the subject with what reached it in the running graph, or why that cannot be had."""
    try:
        calls = activations(model, subject.node, subject.runtime, inputs)
    except ModelError as error:
        said = f"its own inputs cannot be had: {error}"
        return replace(subject, arrays={**subject.arrays, UNSEEN: _text(said)})
    except (UnknownSubject, SubjectUnavailable):
        raise
    except Exception as error:
        said = f"the whole model does not run: {words(error)}"
        return replace(subject, arrays={**subject.arrays, UNSEEN: _text(said)})
    arrays = dict(subject.arrays)
    for k, call in enumerate(calls):
        named = _of_step(subject.node, call) if subject.node.unrolled else _of_call(subject, call)
        arrays |= {f"{CALL}{k} {name}": array for name, array in named.items()}
    return replace(subject, arrays=arrays)


def _text(said: str) -> Array:
    return np.frombuffer(said.encode(), np.uint8)


def _of_step(node: Node, call: Mapping[str, Array]) -> dict[str, Array]:
    """Return a call of an unrolled step as one of a layer, of one step."""
    named = {"x": call["x"][None], "y": call["new h"][None]}
    for k, state in enumerate(node.states):
        named |= {f"state {k}": call[state][None], f"final {k}": call[f"new {state}"][None]}
    return named


def _of_call(subject: NodeSubject, call: Mapping[str, Array]) -> dict[str, Array]:
    """Return a call of a node in the layout of the equations, (T, B, D)."""
    node, operator = subject.node, subject.operator
    lengths = call.get(LENGTHS)
    outputs = [call["Y"], *(call[f"Y_{state}"] for state in node.states)]
    result = operator.result(own_case(node), outputs)
    x, states = call["X"], [call[f"initial_{s}"] for s in node.states if f"initial_{s}" in call]
    if node.layout:
        x, states = np.swapaxes(x, 0, 1), [np.swapaxes(s, 0, 1) for s in states]
    y = result.y
    if node.direction == "reverse":
        x, y = _turned(x, lengths), _turned(y, lengths)
    named = {"x": x, "y": y}
    named |= {f"final {k}": a for k, a in enumerate(result.final)}
    if len(states) == len(node.states):
        named |= {f"state {k}": a for k, a in enumerate(states)}
    return named if lengths is None else {**named, "lengths": lengths}


@dataclass(frozen=True)
class Summary:
    """What is listed of a node: see ``Node``; ``problem`` says why it is not held, "" if it is.

    ``stored`` are the names of its weights in the file; ``D`` and ``H`` are 0 where they are not
    known.
    """

    name: str
    kind: str
    path: str
    D: int
    H: int
    direction: str
    convention: str
    activations: tuple[str, ...]
    gates: str
    dtype: str
    stored: dict[str, str]
    state: str
    lengths: str
    steps: int | None
    opset: int
    unrolled: bool
    problem: str


def summaries(path: str) -> list[Summary]:
    """Return what there is to say of a file's nodes; UnknownSubject if it cannot be read."""
    try:
        every = inventory(read(Path(path)))
    except ModelError as error:
        raise UnknownSubject(str(error)) from error
    return [_summary(node) for node in every]


def _summary(node: Node) -> Summary:
    whole = not node.problem
    return Summary(
        node.name, node.kind, node.path, node.D if whole else 0, node.H if whole else 0,
        node.direction, node.words if whole else "", tuple(map(str, node.activations)),
        ORDER.get(node.kind, ""), node.dtype, dict(node.stored), node.state, node.lengths,
        node.steps, node.opset, node.unrolled is not None, unheld(node),
    )  # fmt: skip
