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

from ...reference.cell import Cell
from ...reference.functions import Array
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.convention import Packed
from ..conventions.parameter_map import ConventionMap
from ..runs.verdict import OWN_EQUATIONS
from ..runs.words import words
from ..subjects.frameworks import families
from ..subjects.frameworks.onnx_operator import LENGTHS, Operator
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import Built, Inputs, Result, SubjectUnavailable
from . import runtimes
from .activations import activations
from .built import BuiltFused, BuiltNode, BuiltStep, turned
from .departures import Departure, departures
from .graph import Model, ModelError
from .inventory import inventory, opened
from .nodes import DEFAULTS, Activation, Node, unheld
from .operation import Operation
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
"""What is held of a node: what can be asked of fixed weights, without gradients."""

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

NORM = "layer_norm"
"""The name of the array of a layer norm's coefficients."""

NUMBER = "number"
"""The name among the buffers of the node's place among those of its file."""


@dataclass(frozen=True)
class Name:
    """What ``[RUNTIME:]path/to/model.onnx[#NODE]`` says; ``node`` is "" where it names a file.

    Files of TensorFlow Lite are ``model.tflite``.
    """

    runtime: str
    path: Path
    node: str

    @classmethod
    def parse(cls, name: str) -> Name | None:
        """Return what a subject's name says; None if it names no model file."""
        suffix = next((s for s in SUFFIXES if name.endswith(s) or f"{s}#" in name), "")
        if not suffix:
            return None
        file, mark, node = name.partition(f"{suffix}#")
        file = f"{file}{suffix}" if mark else file
        runtime, colon, path = file.partition(":")
        known = colon and (runtime in RUNTIMES or runtime in families())
        usual = runtimes.default(suffix)
        return cls(runtime, Path(path), node) if known else cls(usual, Path(file), node)

    def __str__(self) -> str:
        usual = self.runtime == runtimes.default(self.path.suffix)
        runtime = "" if usual else f"{self.runtime}:"
        return f"{runtime}{self.path}" + (f"#{self.node}" if self.node else "")


def file_of(name: str) -> str:
    """Return the path of the model file that a subject's name has; "" if it has none."""
    said = Name.parse(name)
    return str(said.path) if said else ""


class NodeMap(ConventionMap):
    """The map of a node's convention; in its own shapes arrays are the file's, not drawn.

    ``cell`` is that of a node's own equations, whose parameters may be more than the convention's.
    """

    def __init__(
        self, convention: Any, case: Case, weights: Mapping[str, Array], cell: Cell | None = None
    ) -> None:
        """Take the weights by the convention's names."""
        super().__init__(convention, case)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "cell", cell)

    def draw(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return the file's array where it has this shape, else a drawn one."""
        own: Array | None = getattr(self, "weights").get(name)  # noqa: B009 - frozen
        if own is None or own.shape != shape:
            return super().draw(name, shape)
        return self.case.simplified(name, own.astype(np.float64))

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
        return self.node.operation

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
            lengths=bool(node.lengths), state=bool(node.state), default_state=node.begins_at_zero,
            gradient=False, batch_first=node.layout == 1, projection=bool(node.P),
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
        return cell_of(self.operation) if self.operation else None

    def parameter_map(self, case: Case) -> NodeMap:
        """Return the map of its convention, with its own weights."""
        return NodeMap(self.convention, case, self.weights, self.own_cell)

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
        if isinstance(self.node, FusedNode):
            return BuiltFused(self, case)
        return BuiltNode(self, case) if self.node.unrolled is None else BuiltStep(self, case)


TAKE_ALPHA = ("Affine", "Elu", "HardSigmoid", "LeakyRelu", "ScaledTanh", "ThresholdedRelu")
TAKE_BETA = ("Affine", "HardSigmoid", "ScaledTanh")


def fixed(node: Node) -> tuple[tuple[str, int | bool | str], ...]:
    """Return what every case of a node has: its widths, directions, biases and layout."""
    own: dict[str, int | bool | str] = {"D": node.D, "H": node.H}
    own |= {"bidirectional": node.directions == 2, "bias": "B" in node.weights}
    own |= {"P": node.P} if node.P else {}
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
        every = {"weight_ih": of["W"], "weight_hh": of["R"]}
        if "B" in of and len(of["B"]) == gates * H:
            every["bias"] = of["B"]
        elif "B" in of:
            every |= {"bias_ih": of["B"][: gates * H], "bias_hh": of["B"][gates * H :]}
        every |= {NORM: of["norm"]} if "norm" in of else {}
        if node.coupled:  # f = 1 - i leaves its block unused
            keep = np.r_[0 : 2 * H, 3 * H : 4 * H]
            every = {name: array[keep] for name, array in every.items()}
        if "P" in of:
            every["peephole"] = of["P"][: len(node.convention.peepholes) * H]
        if "projection" in of:
            every["weight_hr"] = of["projection"]
        named |= {f"{name}{suffix}": array for name, array in every.items()}
    return named


def node_named(name: str, against: str = "", inputs: str = "") -> NodeSubject:
    """Return the subject of a node of a file; UnknownSubject says why there is none."""
    said = Name.parse(name)
    if said is None:
        raise UnknownSubject(f"subject {name!r}: expected path/to/model.onnx#NODE")
    able = [r.name for r in RUNTIMES.values() if r.suffix == said.path.suffix]
    if said.runtime not in able:
        raise UnknownSubject(
            f"subject {name!r}: a runtime of {said.path.suffix} files is one of {', '.join(able)}"
        )
    try:
        model = opened(said.path)
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


def _with_calls(subject: NodeSubject, model: Model | File, inputs: Path) -> NodeSubject:
    """Return the subject with what reached it in the running graph, or why that cannot be had."""
    node = subject.node
    try:
        if isinstance(model, File):
            calls = calls_of_file(model, node, inputs)
        else:
            calls = activations(model, node, subject.runtime, inputs)
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
        own = call
        if not isinstance(model, File):
            own = _of_step(node, call) if node.unrolled else _of_call(subject, call)
        arrays |= {f"{CALL}{k} {name}": array for name, array in own.items()}
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
        x, y = turned(x, lengths), turned(y, lengths)
    named = {"x": x, "y": y}
    named |= {f"final {k}": a for k, a in enumerate(result.final)}
    if len(states) == len(node.states):
        named |= {f"state {k}": a for k, a in enumerate(states)}
    return named if lengths is None else {**named, "lengths": lengths}


@dataclass(frozen=True)
class Summary:
    """What is listed of a node: see ``Node``; ``problem`` says why it is not held, "" if it is.

    ``stored`` are the names of its weights in the file; ``operator`` is TensorFlow Lite's name of
    it, and ``opset`` 0 there; ``D`` and ``H`` are 0 where they are not
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
    operator: str = ""


def summaries(path: str) -> list[Summary]:
    """Return what there is to say of a file's nodes; UnknownSubject if it cannot be read."""
    try:
        every = inventory(opened(Path(path)))
    except ModelError as error:
        raise UnknownSubject(str(error)) from error
    return [_summary(node) for node in every]


def _summary(node: Node) -> Summary:
    whole = not node.problem
    return Summary(
        node.name, node.kind, node.path, node.D if whole else 0, node.H if whole else 0,
        node.direction, node.words if whole else "", tuple(map(str, node.activations)),
        node.gates, node.dtype, dict(node.stored), node.state, node.lengths,
        node.steps, node.opset, node.unrolled is not None, unheld(node), node.operator,
    )  # fmt: skip
