"""Nodes of files as subjects: cut out, with their own weights and attributes, run by a runtime.

Cases have the node's own widths, directions, layout and weights; inputs and states are drawn. In
the other widths of a diagnosis, weights are drawn, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import Cell
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.convention import Packed
from ..conventions.parameter_map import ConventionMap
from ..runs.verdict import OWN_EQUATIONS
from ..runs.words import words
from ..subjects.frameworks import families
from ..subjects.frameworks.onnx_operator import LENGTHS, Operator
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import Built, Inputs, OneCell, Result, SubjectUnavailable
from . import runtimes
from .activations import activations
from .built import BuiltFused, BuiltNode, BuiltStep, turned
from .departures import Departure, departures
from .graph import Model, ModelError
from .inventory import inventory, opened
from .nodes import DEFAULTS, Node, problem_of
from .operation import Activation, Operation
from .runtimes import RUNTIMES, Runtime
from .sources import SUFFIXES, layers, of_node, packed, under, unpacked
from .tflite.activations import calls as calls_of_file
from .tflite.flatbuffer import File
from .tflite.operators import FusedNode
from .variants import cell_of

CHECKS = (
    "smoke", "forward", "batch-single", "batch-permutation", "repeat", "padding",
    "causality", "carry", "final", "transition",
)  # fmt: skip
"""Checks of nodes: those that work with fixed weights and without gradients."""

UNROLLED = "unrolled"
"""The buffer that marks a step which runs with its own weights alone."""

WEIGHT, OWN, SOURCE, CALL = "weight ", "own ", "source ", "call "
"""Prefixes of buffers: weights, layers of the file and of the source, calls in the graph."""

UNSEEN = "unseen"
"""The buffer with the reason why calls in the running graph are not available."""

REVERSE = "reverse"
"""The buffer that marks a node which begins at the end of its rows."""

NORM = "layer_norm"
"""The name of the array of a layer norm's coefficients."""

NUMBER = "number"
"""The buffer with the node's number among those of its file."""


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


class NodeMap(ConventionMap):
    """The map of a node's convention; arrays of the file's shapes are the file's, not drawn.

    ``cell`` is that of a node's own equations, which may have additional parameters.
    """

    def __init__(
        self, convention: Any, case: Case, weights: Mapping[str, Floats], cell: Cell | None = None
    ) -> None:
        """Take the weights by the convention's names."""
        super().__init__(convention, case)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "cell", cell)

    def draw(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Return the file's array if it has this shape, else a drawn one."""
        stored: Floats | None = getattr(self, "weights").get(name)  # noqa: B009 - frozen
        if stored is None or stored.shape != shape:
            drawn: Floats = super().draw(name, shape)
            return drawn
        return self.case.simplified(name, stored.astype(np.float64))

    @property
    def _of_cell(self) -> Cell:
        cell: Cell | None = getattr(self, "cell")  # noqa: B009 - frozen
        return cell or super()._of_cell

    @property
    def _arrays(self) -> Sequence[Packed]:
        gates = self._of_cell.gates if "norm" in self._of_cell.shapes(self.case.sizes) else ()
        norm = tuple(f"norm_{gate}" for gate in self.convention.order if gate in gates)
        return (*super()._arrays, *([Packed(NORM, norm, "out-in")] if norm else []))


class Compared:
    """Further comparisons of a node, from the ``arrays`` of its process."""

    arrays: Mapping[str, Floats]

    @property
    def unrolled(self) -> bool:
        """Whether it is a step that an exporter has unrolled, which runs with its own weights."""
        return UNROLLED in self.arrays

    @property
    def reverse(self) -> bool:
        """Whether it begins at the end of its rows, which are reversed for the equations."""
        return REVERSE in self.arrays

    @cached_property
    def departures(self) -> list[Departure]:
        """The departures of the node from its source layer."""
        of_file, source = unpacked(self.arrays, OWN), unpacked(self.arrays, SOURCE)
        return departures(int(self.arrays[NUMBER]), of_file, source)

    @property
    def unseen(self) -> str:
        """The reason why its calls in the running graph are not available, "" if they are."""
        return self.arrays[UNSEEN].tobytes().decode() if UNSEEN in self.arrays else ""

    @property
    def calls_in_graph(self) -> Iterator[tuple[Inputs, Result]]:
        """The inputs and results of its calls in the running graph."""
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
class NodeSubject(Compared, OneCell):
    """A node of a file, and the runtime that runs it."""

    name: str
    node: Node
    runtime: Runtime
    arrays: Mapping[str, Floats] = field(default_factory=dict, compare=False)
    """Recorded calls and source layers, which the judge reads."""

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
        ids += ["source"] if NUMBER in self.arrays else []
        if any(name == UNSEEN or name.startswith(CALL) for name in self.arrays):
            ids.append("in-graph")
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
    def weights(self) -> dict[str, Floats]:
        """Its weights by the convention's names, ``weight_ih_l0``, ``bias_hh_l0_reverse``."""
        return under(self.arrays, WEIGHT)

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
        usual = tuple(map(Activation, DEFAULTS[node.kind]))
        stated = () if node.of_direction == usual else node.of_direction
        return Operator(
            node.kind, node.convention, attributes, tuple(a.name for a in stated),
            tuple(a.alpha for a in stated if a.name in TAKE_ALPHA),
            tuple(a.beta for a in stated if a.name in TAKE_BETA), node.opset,
        )  # fmt: skip

    def build(self, case: Case) -> Built:
        """Return the node as a model of its own."""
        if isinstance(self.node, FusedNode):
            return BuiltFused(self, case)
        return BuiltNode(self, case) if self.node.unrolled is None else BuiltStep(self, case)


TAKE_ALPHA = ("Affine", "Elu", "HardSigmoid", "LeakyRelu", "ScaledTanh", "ThresholdedRelu")
TAKE_BETA = ("Affine", "HardSigmoid", "ScaledTanh")


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
    able = [r.name for r in RUNTIMES.values() if r.suffix == parts.path.suffix]
    if parts.runtime not in able:
        raise UnknownSubject(
            f"subject {name!r}: a runtime of {parts.path.suffix} files is one of {', '.join(able)}"
        )
    try:
        model = opened(parts.path)
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
    arrays: dict[str, Floats] = {}
    if against:
        checked = [n for n in nodes if not problem_of(n)]
        arrays |= {NUMBER: np.array(checked.index(node))}
        arrays |= packed(list(map(of_node, checked)), OWN) | packed(layers(against), SOURCE)
    arrays |= {f"{WEIGHT}{n}": array for n, array in named_weights(node).items()}
    marks = {UNROLLED: node.unrolled is not None, REVERSE: node.direction == "reverse"}
    arrays |= {mark: np.array(1) for mark, present in marks.items() if present}
    subject = NodeSubject(name, node, RUNTIMES[parts.runtime], arrays)
    return _with_calls(subject, model, Path(inputs)) if inputs else subject


def _with_calls(subject: NodeSubject, model: Model | File, inputs: Path) -> NodeSubject:
    """Return the subject with its calls in the running graph, or the reason why there are none."""
    node = subject.node
    try:
        if isinstance(model, File):
            calls = calls_of_file(model, node, inputs)
        else:
            calls = activations(model, node, subject.runtime, inputs)
    except ModelError as error:
        reason = f"its own inputs are not available: {error}"
        return replace(subject, arrays={**subject.arrays, UNSEEN: _text(reason)})
    except (UnknownSubject, SubjectUnavailable):
        raise
    except Exception as error:
        reason = f"the whole model does not run: {words(error)}"
        return replace(subject, arrays={**subject.arrays, UNSEEN: _text(reason)})
    arrays = dict(subject.arrays)
    for k, call in enumerate(calls):
        arrays_of_call = call
        if not isinstance(model, File):
            arrays_of_call = _of_step(node, call) if node.unrolled else _of_call(subject, call)
        arrays |= {f"{CALL}{k} {name}": array for name, array in arrays_of_call.items()}
    return replace(subject, arrays=arrays)


def _text(text: str) -> Floats:
    return np.frombuffer(text.encode(), np.uint8)


def _of_step(node: Node, call: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return a call of an unrolled step as one of a layer, of one step."""
    named = {"x": call["x"][None], "y": call["new h"][None]}
    for k, state in enumerate(node.states):
        named |= {f"state {k}": call[state][None], f"final {k}": call[f"new {state}"][None]}
    return named


def _of_call(subject: NodeSubject, call: Mapping[str, Floats]) -> dict[str, Floats]:
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
        x, y = turned(x, lengths), turned(y, lengths)
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
        nodes = inventory(opened(Path(path)))
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
