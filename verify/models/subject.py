"""Nodes of files as subjects: cut out, with their own weights and attributes, run by a runtime.

Cases have the node's own widths, directions, layout and weights; inputs and states are drawn. In
the other widths of a diagnosis, weights are drawn, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import Cell
from ...reference.sequence import reverse
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.convention import Packed
from ..conventions.parameter_map import ConventionMap
from ..runs.exception_text import exception_text
from ..runs.verdict import OWN_EQUATIONS
from ..subjects.called import NotOffered, SubjectCrashed
from ..subjects.framework import OncePerParameters, optional_inputs
from ..subjects.frameworks import families
from ..subjects.frameworks.onnx_operator import LENGTHS, Operator
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import (
    Built,
    Cotangents,
    Inputs,
    OneCell,
    Pulled,
    Result,
    SubjectUnavailable,
)
from . import runtimes
from .activations import activations
from .content import Content
from .departures import Departure, departures
from .graph import LARGEST_ARRAY, Model, ModelError, import_onnx
from .inventory import inventory, read_model
from .nodes import DEFAULTS, Node, problem_of
from .operation import PARAMETERS, WITH_BETA, Operation
from .runtimes import RUNTIMES, PerShape, Run, Runtime
from .sources import SUFFIXES, layer_of_node, layers
from .tflite import single
from .tflite.activations import calls as calls_of_file
from .tflite.flatbuffer import File
from .tflite.operators import FusedNode
from .variants import cell_of

CHECKS = (
    "smoke", "forward", "batch-single", "batch-permutation", "repeat", "padding",
    "causality", "carry", "final", "transition",
)  # fmt: skip
"""Checks of nodes: those that work with fixed weights and without gradients."""

NORM = "layer_norm"
"""The name of the array of a layer norm's coefficients."""


@dataclass(frozen=True)
class Name:
    """The parts of ``[RUNTIME:]path/to/model.onnx[#NODE]``; ``node`` is "" for a whole file.

    Files of TensorFlow Lite are ``model.tflite``.
    """

    runtime: str
    path: Path
    node: str

    @classmethod
    def parse(cls, name: str) -> Name | None:
        """Return the parts of a subject's name; None if it names no model file."""
        suffix = next((s for s in SUFFIXES if name.endswith(s) or f"{s}#" in name), "")
        if not suffix:
            return None
        file, mark, node = name.partition(f"{suffix}#")
        file = f"{file}{suffix}" if mark else file
        runtime, colon, path = file.partition(":")
        has_runtime = colon and (runtime in RUNTIMES or runtime in families())
        usual = runtimes.default(suffix)
        return cls(runtime, Path(path), node) if has_runtime else cls(usual, Path(file), node)

    def __str__(self) -> str:
        usual = self.runtime == runtimes.default(self.path.suffix)
        runtime = "" if usual else f"{self.runtime}:"
        return f"{runtime}{self.path}" + (f"#{self.node}" if self.node else "")


def file_of(name: str) -> str:
    """Return the path of the model file in a subject's name; "" if there is none."""
    parts = Name.parse(name)
    return str(parts.path) if parts else ""


@dataclass(frozen=True)
class NodeMap(ConventionMap):
    """The map of a node's convention; arrays of the file's shapes are the file's, not drawn.

    ``weights`` have the convention's names; ``cell`` is that of a node's own equations, which may
    have additional parameters.
    """

    weights: Mapping[str, Floats] = field(default_factory=dict)
    cell: Cell | None = None

    def draw(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Return the file's array if it has this shape, else a drawn one."""
        stored = self.weights.get(name)
        if stored is None or stored.shape != shape:
            drawn: Floats = super().draw(name, shape)
            return drawn
        return self.case.simplified(name, stored.astype(np.float64))

    @property
    def _of_cell(self) -> Cell:
        return self.cell or super()._of_cell

    @property
    def _arrays(self) -> Sequence[Packed]:
        gates = self._of_cell.gates if "norm" in self._of_cell.shapes(self.case.sizes) else ()
        norm = tuple(f"norm_{gate}" for gate in self.convention.order if gate in gates)
        return (*super()._arrays, *([Packed(NORM, norm, "out-in")] if norm else []))


class ComparedNode:
    """A node with what it is compared with beside its equations, all from its ``content``.

    That is read by the process that reads the file, and is data for the judge.
    """

    content: Content

    @property
    def unrolled(self) -> bool:
        """Whether it is a step that an exporter has unrolled, which runs with its own weights."""
        return self.content.unrolled

    @property
    def reverse(self) -> bool:
        """Whether it begins at the end of its rows, which are reversed for the equations."""
        return self.content.reverse

    @cached_property
    def departures(self) -> list[Departure]:
        """The departures of the node from its source layer."""
        return departures(self.content.number, self.content.file, self.content.source)

    @property
    def unseen(self) -> str:
        """The reason why its calls in the running graph are not available, "" if they are."""
        return self.content.unseen

    @property
    def calls_in_graph(self) -> Iterator[tuple[Inputs, Result]]:
        """The inputs and results of its calls in the running graph."""
        for named in self.content.calls:
            states, final = ([named[n] for n in sorted(named) if n.startswith(part)]
                             for part in ("state ", "final "))  # fmt: skip
            lengths = named.get("lengths")
            inputs = Inputs(self.content.weights, named["x"], tuple(states) or None, lengths)
            yield inputs, Result(named["y"], tuple(final))


@dataclass(frozen=True)
class NodeSubject(ComparedNode, OneCell):
    """A node of a file, and the runtime that runs it."""

    name: str
    node: Node
    runtime: Runtime
    content: Content = field(compare=False)

    @property
    def operation(self) -> Operation | None:
        """Its function if the reference has no cell for it, else None."""
        return self.node.operation

    @property
    def convention(self) -> Any:
        """The meaning of its parameters."""
        return replace(self.node.convention, padding="zeros", empty_row="zeros")

    @property
    def cells(self) -> tuple[str, ...]:
        """The reference's cell, or the operator itself."""
        return (f"{OWN_EQUATIONS}{self.node.kind}" if self.operation else self.convention.cell,)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtype of its weights."""
        return (self.node.dtype,)

    @property
    def options(self) -> Options:
        """The options of its node: directions, biases, lengths, states."""
        node = self.node
        reason = "the node of the file has none"
        return Options(
            layers=False, bidirectional=node.directions == 2, bias="B" not in node.weights,
            lengths=bool(node.lengths), state=bool(node.state), default_state=node.begins_at_zero,
            gradient=False, batch_first=node.layout == 1, projection=bool(node.P),
            reasons=(("gradient", "a runtime of files"), ("lengths", reason), ("state", reason),
                     ("default_state", "the node of the file is given one")),
        )  # fmt: skip

    @property
    def fixed(self) -> tuple[tuple[str, int | bool | str], ...]:
        """The fields that all of its cases share."""
        return fixed(self.node)

    @property
    def held_to(self) -> tuple[str, ...]:
        """The ids of the checks that apply to it."""
        node = self.node
        single = node.directions == 1
        needs = {"padding": node.lengths, "carry": node.state and single, "causality": single,
                 "transition": node.state and single}  # fmt: skip
        ids = [check for check in CHECKS if needs.get(check, True)]
        ids += ["source"] if self.content.source else []
        ids += ["in-graph"] if self.content.calls or self.content.unseen else []
        return tuple(ids)

    def version(self) -> str:
        """Return the runtime's name and version; raise SubjectUnavailable if it is missing."""
        return self.runtime.version()

    @property
    def own_cell(self) -> Any:
        """The operator's own equations if the reference has none, else None."""
        return cell_of(self.operation) if self.operation else None

    def parameter_map(self, case: Case) -> NodeMap:
        """Return the map of its convention, with its own weights."""
        return NodeMap(self.convention, case, self.weights, self.own_cell)

    @property
    def weights(self) -> Mapping[str, Floats]:
        """Its weights by the convention's names, ``weight_ih_l0``, ``bias_hh_l0_reverse``."""
        return self.content.weights

    @property
    def operator(self) -> Operator:
        """The node as an operator of ONNX."""
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
        stated = () if node.of_direction == DEFAULTS[node.kind] else node.of_direction
        return Operator(
            node.kind, node.convention, attributes, tuple(a.name for a in stated),
            tuple(a.alpha for a in stated if a.name in PARAMETERS),
            tuple(a.beta for a in stated if a.name in WITH_BETA), node.opset,
        )  # fmt: skip

    def build(self, case: Case) -> Built:
        """Return the node as a model of its own."""
        if isinstance(self.node, FusedNode):
            return BuiltFused(self, self.node, case)
        return BuiltNode(self, case) if self.node.unrolled is None else BuiltStep(self, case)


# Nodes as callable layers: models of one node, run by a runtime.


class WithoutGradients:
    """Methods that nodes of files do not offer."""

    def __init__(self, subject: NodeSubject, case: Case) -> None:
        self.subject, self.case = subject, case

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> Sequence[Pulled]:
        """Raise NotOffered."""
        raise NotOffered("a runtime of files has no gradients")

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Raise NotOffered."""
        raise NotOffered("a runtime of files has no forward mode")

    def train(self, training: bool) -> None:
        """Raise NotOffered."""
        raise NotOffered("a runtime of files has one mode")


class BuiltNode(WithoutGradients):
    """A node of ONNX as a model of its own."""

    def __init__(self, subject: NodeSubject, case: Case) -> None:
        super().__init__(subject, case)
        onnx, operator = import_onnx(), subject.operator

        def make(inputs: Inputs) -> PerShape:
            model = operator.model(onnx, case, self.__reversed(inputs))
            if _has_own_sizes(subject, case):
                # The unused block of coupled gates holds ones, so that its use is noticed.
                original = not subject.node.coupled and _same(inputs.parameters, subject.weights)
                _restate(onnx, model.graph, subject.node, weights=original)
            return PerShape(subject.runtime, model.SerializeToString())

        self._program_for = OncePerParameters(make, optional_inputs)

    def forward(self, inputs: Inputs) -> Result:
        """Run it."""
        operator = self.subject.operator
        outputs = self._program_for(inputs)(operator.feeds(self.case, self.__reversed(inputs)))
        if len(outputs) != len(operator.outputs):
            raise SubjectCrashed(f"expected {len(operator.outputs)} outputs, got {len(outputs)}")
        result = operator.result(self.case, [np.asarray(a) for a in outputs])
        if not self._reverse:
            return result
        return replace(result, y=_reversed(result.y, inputs.lengths))

    @property
    def _reverse(self) -> bool:
        """Whether it begins at the last step; its rows are reversed for the equations."""
        return self.subject.node.direction == "reverse" and not self.case.bidirectional

    def __reversed(self, inputs: Inputs) -> Inputs:
        return replace(inputs, x=_reversed(inputs.x, inputs.lengths)) if self._reverse else inputs


def _has_own_sizes(subject: NodeSubject, case: Case) -> bool:
    """Return whether a case has the node's own widths, directions and layout."""
    return all(getattr(case, name) == value for name, value in subject.fixed)


def _restate(onnx: Any, graph: Any, node: Node, *, weights: bool) -> None:
    """Set the node of a graph to the file's attributes, and with ``weights`` to its weights."""
    if node.place is None:
        return
    scope, proto = node.place
    (target,) = graph.node
    del target.attribute[:]
    for name, value in scope.attributes(proto).items():
        target.attribute.append(onnx.helper.make_attribute(name, value))
    for tensor in graph.initializer if weights else ():
        if tensor.name in node.weights:
            tensor.CopyFrom(onnx.numpy_helper.from_array(node.weights[tensor.name], tensor.name))


def _same(first: Mapping[str, Floats], second: Mapping[str, Floats]) -> bool:
    """Return whether two sets of arrays are equal."""
    names = first.keys() == second.keys()
    return names and all(np.array_equal(first[name], array) for name, array in second.items())


class BuiltStep(BuiltNode):
    """A step that an exporter has unrolled, run once for each step of x, with its own weights."""

    def __init__(self, subject: NodeSubject, case: Case) -> None:
        super().__init__(subject, case)
        self._step = PerShape(subject.runtime, subject.node.unrolled.model(subject.node.dtype))

    def forward(self, inputs: Inputs) -> Result:
        """Run it step by step."""
        if not _same(inputs.parameters, self.subject.weights):
            raise NotOffered("its weights are in its products: it runs with its own alone")
        states = self.subject.node.states
        assert inputs.state is not None  # noqa: S101 - the node is given one
        state = {name: s[0] for name, s in zip(states, inputs.state, strict=True)}
        y = []
        for x in inputs.x:
            new = self._new_states({"x": np.ascontiguousarray(x), **state})
            state = dict(zip(states, new, strict=True))
            y.append(state["h"])
        shape = (0, inputs.x.shape[1], self.subject.node.H)
        outputs = np.stack(y) if y else np.zeros(shape, inputs.x.dtype)
        return Result(outputs, tuple(state[name][None] for name in states))

    def _new_states(self, arrays: Mapping[str, Floats]) -> list[Floats]:
        """Return the new states (B, H); if the file has one row, computed row by row."""
        shapes = self.subject.node.unrolled.shapes
        if not shapes:
            return [np.asarray(a) for a in self._step(arrays)]
        rows = [
            self._step({name: array[row].reshape(shapes[name]) for name, array in arrays.items()})
            for row in range(len(arrays["x"]))
        ]
        return [np.stack([np.ravel(a) for a in state]) for state in zip(*rows, strict=True)]


class BuiltFused(WithoutGradients):
    """An operator of TensorFlow Lite as a model, one for each number of steps and rows."""

    def __init__(self, subject: NodeSubject, node: FusedNode, case: Case) -> None:
        super().__init__(subject, case)
        self.node = node
        self._program_for = OncePerParameters(self._run, lambda inputs: inputs.x.shape)

    def _run(self, inputs: Inputs) -> Run:
        subject = self.subject
        original = _has_own_sizes(subject, self.case) and _same(inputs.parameters, subject.weights)
        model = single.model(self.node, self.case, inputs, original=original)
        return self.subject.runtime.loaded(model, {})

    def forward(self, inputs: Inputs) -> Result:
        """Run it; an operator of one step once for each step of x."""
        node, case = self.node, self.case
        run = self._program_for(inputs)
        if not node.one_step:
            return single.result(node, case, run(single.feeds(node, case, inputs)))
        y, state = [], inputs.state
        for x in inputs.x:
            step = single.result(
                node, case, run(single.feeds(node, case, replace(inputs, x=x, state=state)))
            )
            state = step.final
            y.append(step.y)
        return Result(np.stack(y), state or ())


def _reversed(x: Floats, lengths: Floats | None) -> Floats:
    """Return x (T, B, ...) with each row reversed within its length."""
    return np.ascontiguousarray(reverse(x, lengths))


# The nodes of files, by their names.


def fixed(node: Node) -> tuple[tuple[str, int | bool | str], ...]:
    """Return the fields that all cases of a node share: widths, directions, biases and layout."""
    fields: dict[str, int | bool | str] = {"D": node.D, "H": node.H}
    fields |= {"bidirectional": node.directions == 2, "bias": "B" in node.weights}
    fields |= {"P": node.P} if node.P else {}
    return (*fields.items(), *((("layout", "batch-first"),) if node.layout else ()))


def own_case(node: Node) -> Case:
    """Return the smallest case in a node's own widths."""
    fields: dict[str, Any] = dict(fixed(node))
    return Case(**{"T": 1, "B": 1, "dtype": node.dtype, "state": bool(node.state), **fields})


def named_weights(node: Node) -> dict[str, Floats]:
    """Return a node's weights of all directions by its convention's names."""
    gates, H = len(node.weights["W"][0]) // node.H, node.H
    named: dict[str, Floats] = {}
    for k in range(node.directions):
        suffix = "_l0_reverse" if k else "_l0"
        slots = {slot: array[k] for slot, array in node.weights.items()}
        arrays = {"weight_ih": slots["W"], "weight_hh": slots["R"]}
        if "B" in slots and len(slots["B"]) == gates * H:
            arrays["bias"] = slots["B"]
        elif "B" in slots:
            arrays |= {"bias_ih": slots["B"][: gates * H], "bias_hh": slots["B"][gates * H :]}
        arrays |= {NORM: slots["norm"]} if "norm" in slots else {}
        if node.coupled:  # f = 1 - i leaves its block unused
            keep = np.r_[0 : 2 * H, 3 * H : 4 * H]
            arrays = {name: array[keep] for name, array in arrays.items()}
        if "P" in slots:
            arrays["peephole"] = slots["P"][: len(node.convention.peepholes) * H]
        if "projection" in slots:
            arrays["weight_hr"] = slots["projection"]
        named |= {f"{name}{suffix}": array for name, array in arrays.items()}
    return named


def node_named(name: str, against: str = "", inputs: str = "") -> NodeSubject:
    """Return the subject of a node of a file; raise UnknownSubject if there is none."""
    parts = Name.parse(name)
    if parts is None:
        raise UnknownSubject(f"subject {name!r}: expected path/to/model.onnx#NODE")
    suffix = parts.path.suffix
    offered = [r.name for r in RUNTIMES.values() if r.suffix == suffix]
    if parts.runtime not in offered:
        raise UnknownSubject(
            f"subject {name!r}: a runtime of {suffix} files is one of {', '.join(offered)}"
        )
    try:
        model = read_model(parts.path)
        nodes = inventory(model)
    except ModelError as error:
        raise UnknownSubject(str(error)) from error
    node = next((n for n in nodes if n.name == parts.node), None)
    if node is None:
        raise UnknownSubject(
            f"{parts.path}: there is no recurrent node {parts.node!r}; there are "
            f"{', '.join(n.name for n in nodes[:20]) or 'none'}"
        )
    if problem := problem_of(node):
        raise SubjectUnavailable(f"{node.name}: {problem}")
    content = Content(
        named_weights(node), unrolled=node.unrolled is not None,
        reverse=node.direction == "reverse",
    )  # fmt: skip
    if against:
        checked = [n for n in nodes if not problem_of(n)]
        file, source = tuple(map(layer_of_node, checked)), tuple(layers(against))
        if sum(layer.size for layer in (*file, *source)) > LARGEST_ARRAY // 4:
            raise UnknownSubject(f"more than {LARGEST_ARRAY // 4} numbers in recurrent layers")
        content = replace(content, number=checked.index(node), file=file, source=source)
    subject = NodeSubject(name, node, RUNTIMES[parts.runtime], content)
    if not inputs:
        return subject
    return replace(subject, content=_with_calls(subject, model, Path(inputs)))


def _with_calls(subject: NodeSubject, model: Model | File, inputs: Path) -> Content:
    """Return a node's content with its calls in the running graph, or why there are none."""
    node, content = subject.node, subject.content
    try:
        if isinstance(model, File):
            return replace(content, calls=tuple(calls_of_file(model, node, inputs)))
        calls = activations(model, node, subject.runtime, inputs)
    except ModelError as error:
        return replace(content, unseen=f"its own inputs are not available: {error}")
    except (UnknownSubject, SubjectUnavailable):
        raise
    except Exception as error:
        return replace(content, unseen=f"the whole model does not run: {exception_text(error)}")
    layer_calls = (
        _call_of_step(node, call) if node.unrolled else _call_of_node(subject, call)
        for call in calls
    )
    return replace(content, calls=tuple(layer_calls))


def _call_of_step(node: Node, call: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return a call of an unrolled step as one of a layer, of one step."""
    named = {"x": call["x"][None], "y": call["new h"][None]}
    for k, state in enumerate(node.states):
        named |= {f"state {k}": call[state][None], f"final {k}": call[f"new {state}"][None]}
    return named


def _call_of_node(subject: NodeSubject, call: Mapping[str, Floats]) -> dict[str, Floats]:
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
        x, y = _reversed(x, lengths), _reversed(y, lengths)
    named = {"x": x, "y": y}
    named |= {f"final {k}": a for k, a in enumerate(result.final)}
    if len(states) == len(node.states):
        named |= {f"state {k}": a for k, a in enumerate(states)}
    return named if lengths is None else {**named, "lengths": lengths}


@dataclass(frozen=True)
class Summary:
    """The listed properties of a node, see ``Node``; ``problem`` is "" for one that is checked.

    ``stored`` are the names of its weights in the file; ``operator`` is the name in TensorFlow
    Lite, where ``opset`` is 0; ``D`` and ``H`` are 0 if they are unknown.
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
    operator: str = ""


def summaries(path: str) -> list[Summary]:
    """Return the summaries of a file's nodes; raise UnknownSubject if it is invalid."""
    try:
        nodes = inventory(read_model(Path(path)))
    except ModelError as error:
        raise UnknownSubject(str(error)) from error
    return [_summary(node) for node in nodes]


def _summary(node: Node) -> Summary:
    valid = not node.problem
    return Summary(
        node.name, node.kind, node.path, node.D if valid else 0, node.H if valid else 0,
        node.direction, node.words if valid else "", tuple(map(str, node.activations)),
        node.gates, node.dtype, dict(node.stored), node.state, node.lengths,
        node.steps, node.opset, node.unrolled is not None, problem_of(node), node.operator,
    )  # fmt: skip
