"""The recurrent operators of a file of TensorFlow Lite, as nodes: weights, options, states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ....reference.arrays import Floats
from ...conventions.convention import Convention
from ...subjects.frameworks.onnx_operator import convention as convention_of
from ..content import ORDERS
from ..graph import LARGEST_ARRAY, ModelError
from ..nodes import GATES, KINDS, Node
from ..operation import FUSED_ACTIVATIONS, Activation, Fused, Operation
from .flatbuffer import File, Operator, names_of

QUANTISED = ("INT8", "UINT8", "INT4", "INT16", "INT32")
INSTEAD = (
    "check the float model that it was converted from, and LiteRT's integers with: gatewise verify "
    "'litert-quantised:*'"
)
"""The advice for a quantised node."""

OWN_ORDER = "ifgo"
"""The gates in the order of the operators' inputs, one array each."""


@dataclass(frozen=True)
class Places:
    """Numbers of an operator's inputs: the first of each array, by direction; states by name.

    W, R, B, P and ``norm`` have one input per gate from that number on.
    """

    W: tuple[int, ...]
    R: tuple[int, ...]
    B: tuple[int, ...]
    states: tuple[tuple[int, ...], ...]
    P: tuple[int, ...] = ()
    projection: tuple[int, ...] = ()
    norm: tuple[int, ...] = ()
    auxiliary: tuple[int, ...] = ()


LSTM = Places((1,), (5,), (12,), ((18, 19),), P=(9,), projection=(16,), norm=(20,))
RNN = Places((1,), (2,), (3,), ((4,),))
OPERATORS: Mapping[str, tuple[str, Places]] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ("LSTM", LSTM),
    "LSTM": ("LSTM", LSTM),
    "BIDIRECTIONAL_SEQUENCE_LSTM": ("LSTM", Places(
        (1, 18), (5, 22), (12, 29), ((35, 36), (37, 38)), P=(9, 26), projection=(16, 33),
        auxiliary=(39, *range(40, 48)))),
    "UNIDIRECTIONAL_SEQUENCE_RNN": ("RNN", RNN),
    "RNN": ("RNN", RNN),
    "BIDIRECTIONAL_SEQUENCE_RNN": ("RNN", Places(
        (1, 5), (2, 6), (3, 7), ((4,), (8,)), auxiliary=(9, 10, 11))),
}  # fmt: skip
"""The kind of each operator, and the numbers of its inputs."""

ONE_STEP = ("LSTM", "RNN")
"""Operators of one step: x is (B, D)."""

CONVERTERS_CLIP = 10.0
"""The clip of the cell state that TensorFlow's converter writes into every LSTM of Keras."""

ACTIVATIONS = {
    "TANH": Activation("Tanh"), "RELU": Activation("Relu"), "NONE": Activation("Affine", 1.0),
}  # fmt: skip
"""Activations that ONNX has, too."""


@dataclass(frozen=True)
class FusedNode(Node):
    """A recurrent operator of TensorFlow Lite, with weights in ONNX's layout, gates joined.

    ``weights`` may also have ``projection`` (directions, P, H) and ``norm`` (directions, gates x
    H); B is one bias. Coupled gates i = 1 - f are written as f = 1 - i: the file's arrays of f
    are those of i here, with the opposite sign. ``fused`` are the operator's options; ``arrays``
    are the file's by their numbers among the inputs of ``file_operator``.
    """

    fused: Fused = field(default_factory=Fused)
    merged: bool = True
    arrays: Mapping[int, Floats] = field(default_factory=dict, compare=False, repr=False)
    file_operator: Operator | None = field(default=None, compare=False, repr=False)
    reader: ClassVar[str] = "TensorFlow Lite"

    @property
    def gates(self) -> str:
        """Its gates in the order of its inputs."""
        return {"LSTM": "fco" if self.fused.coupled else "ifco", "RNN": "h"}.get(self.kind, "")

    @property
    def one_step(self) -> bool:
        """Whether it computes one step per call."""
        return self.operator in ONE_STEP

    @cached_property
    def convention(self) -> Convention:
        """The meaning of its parameters, without options that no convention has."""
        order = ORDERS["onnx"][self.family].replace("f" if self.fused.coupled else " ", "")
        fields: dict[str, Any] = {"bias": (order,), "coupled": self.fused.coupled}
        if self.plain and self.kind == "RNN":
            fields["candidate"] = self.fused.activation.lower()
        if self.fused.peepholes:
            fields["peepholes"] = "io" if self.fused.coupled else "iof"
        return convention_of(self.family, projected=self.fused.projected, **fields)

    @cached_property
    def plain(self) -> bool:
        """Whether the reference has its cell."""
        activation = self.fused.activation
        if self.kind == "RNN":
            return activation in ("TANH", "RELU")
        basic = Fused(peepholes=self.fused.peepholes, projected=self.fused.projected)
        return self.fused == basic and not (basic.peepholes and basic.projected)

    @property
    def operation(self) -> Operation | None:
        """Its function if the reference has no cell for it, else None."""
        return None if self.plain else Operation(self.family, self.kind, (), fused=self.fused)

    @property
    def more_facts(self) -> dict[str, str]:
        """Its clips and its layout; the clip of TensorFlow's converter counts as none."""
        cell = self.fused.cell_clip
        return {
            "clip": "0" if cell in (0, CONVERTERS_CLIP) else f"{cell:g} (of the cell state)",
            "cell_clip": f"{cell:g}",
            "proj_clip": f"{self.fused.projection_clip:g}",
            "time_major": "any" if self.one_step else str(not self.layout).lower(),
        }  # fmt: skip

    @property
    def begins_at_zero(self) -> bool:
        """True, because its variables are initially zeros."""
        return True

    @property
    def without_equations(self) -> bool:
        """False, because there are equations for all operators."""
        return False

    @property
    def words(self) -> str:
        """Its convention in a few words."""
        fused = self.fused
        parts = ["forward and reverse"] if self.directions == 2 else []
        parts.append("one step a call" if self.one_step else
                    "rows first" if self.layout else "steps first")  # fmt: skip
        parts += ["peepholes"] if fused.peepholes else []
        parts += [f"projection to {self.P}"] if fused.projected else []
        parts += ["layer norm"] if fused.normalised else []
        parts += ["i = 1 - f"] if fused.coupled else []
        parts += [fused.activation] if fused.activation != "TANH" else []
        parts += [f"cell clip {fused.cell_clip:g}"] if fused.cell_clip else []
        parts += [f"projection clip {fused.projection_clip:g}"] if fused.projection_clip else []
        return ", ".join(parts)


def operators(file: File) -> list[Node]:
    """Return the recurrent operators of all graphs; those that cannot be checked have a problem."""
    return [node for graph in file.operators for o in graph for node in _nodes(file, o)]


def _nodes(file: File, operator: Operator) -> Iterator[Node]:
    path = f"graph {operator.graph}/" if operator.graph else ""
    label = file.name(operator.graph, operator.outputs[0]) if operator.outputs else operator.name
    bare = FusedNode(
        label, operator.name, path, opset=0, operator=operator.name, file_operator=operator
    )
    if operator.custom:
        if any(kind in operator.name.upper() for kind in KINDS):
            problem = f"{operator.name} is a custom operator: it is not supported"
            yield replace(bare, problem=problem)
        return
    if operator.name not in OPERATORS:
        return
    kind, places = OPERATORS[operator.name]
    try:
        yield _node(file, operator, replace(bare, kind=kind), places)
    except ModelError as error:
        yield replace(bare, kind=kind, problem=str(error).removeprefix(f"{file.path}: "))


def _node(file: File, operator: Operator, bare: FusedNode, places: Places) -> FusedNode:
    options, directions = operator.options, len(places.W)
    required = ("fusedActivationFunction", *(() if bare.one_step else ("timeMajor",)))
    if not all(hasattr(options, name) for name in required):
        raise ModelError("it has no options, or those of another operator")
    if getattr(options, "kernelType", 0):
        raise ModelError("it is an LSTM with all weights in one array: convert the model anew")
    if getattr(options, "diagonalRecurrentTensors", False):
        raise ModelError("its recurrent weights are diagonals: it is not supported")
    if any(operator.input(k) >= 0 for k in places.auxiliary):
        raise ModelError("it has an auxiliary input: it is not supported")
    passes = [_Pass(file, operator, bare.kind, places, d) for d in range(directions)]
    _require_floats(file, operator, passes)
    weights: dict[str, Floats] = {}
    for slot in ("W", "R", "B", "P", "projection", "norm"):
        arrays = [a for p in passes if (a := p.array(slot)) is not None]
        if len(arrays) == directions:
            if len({a.shape for a in arrays}) > 1:
                raise ModelError(f"the {slot} of its two directions are of different shapes")
            weights[slot] = np.stack(arrays)
        elif arrays or slot in ("W", "R", "B"):
            raise ModelError(f"it has no {slot}" + (" in one direction" if directions == 2 else ""))
    activation = names_of("ActivationFunctionType").get(options.fusedActivationFunction, "unknown")
    if activation not in FUSED_ACTIVATIONS:
        raise ModelError(f"its activation is {activation}")
    fused = Fused(
        activation, "P" in weights, "projection" in weights, "norm" in weights,
        passes[0].coupled, *(max(0.0, float(getattr(options, name, 0.0)))
                             for name in ("cellClip", "projClip")),
    )  # fmt: skip
    if {p.coupled for p in passes} == {True, False}:
        raise ModelError("its two directions are different: i = 1 - f in one alone")
    usual = (Activation("Sigmoid"),) if bare.kind == "LSTM" else ()
    of_cell = ACTIVATIONS.get(activation, Activation(activation))
    node = replace(
        bare, weights=weights, fused=fused,
        direction="bidirectional" if directions == 2 else "forward",
        layout=0 if bare.one_step or options.timeMajor else 1, coupled=fused.coupled,
        activations=(*usual, *([of_cell] * (2 if usual else 1))),
        merged=bool(getattr(options, "mergeOutputs", True)),
        stored=passes[0].stored, arrays=_arrays(file, operator, passes),
    )  # fmt: skip
    _require_shapes(node)
    return _with_states(file, operator, node, places)


@dataclass
class _Pass:
    """One direction of an operator: its arrays by slots, gates joined in the order of nodes."""

    file: File
    operator: Operator
    kind: str
    places: Places
    direction: int

    @property
    def coupled(self) -> bool:
        """Whether there is no separate input gate: i = 1 - f."""
        return self.kind == "LSTM" and self.operator.input(self.places.W[self.direction]) < 0

    @property
    def tensors(self) -> dict[str, dict[str, int]]:
        """The tensors of each array by gate, -1 for those that are left out."""
        gates = OWN_ORDER if self.kind == "LSTM" else "a"
        result = {}
        for slot in ("W", "R", "B", "P", "projection", "norm"):
            firsts = getattr(self.places, slot)
            if firsts:
                letters = {"P": "ifo", "projection": "h"}.get(slot, gates)
                first = firsts[self.direction]
                result[slot] = {g: self.operator.input(first + k) for k, g in enumerate(letters)}
        return result

    @property
    def stored(self) -> dict[str, str]:
        """The name of the first tensor of each array."""
        graph = self.operator.graph
        names = {}
        for slot, gates in self.tensors.items():
            present = [k for k in gates.values() if k >= 0]
            if present:
                more = f" and {len(present) - 1} more" if len(present) > 1 else ""
                names[slot] = f"{self.file.name(graph, present[0])}{more}"
        return names

    def array(self, slot: str) -> Floats | None:
        """Return an array, (gates x H, ...); None if it is left out."""
        gates = dict(self.tensors.get(slot, {}))
        if self.coupled and slot in ("W", "R", "B", "P", "norm") and gates:
            if gates["i"] >= 0:
                raise ModelError(f"it has no weights of i, and a {slot} of it")
            gates["i"] = gates["f"]
        missing = [gate for gate, tensor in gates.items() if tensor < 0]
        if len(missing) == len(gates):
            return None
        if missing:
            raise ModelError(f"its {slot} has no array for gate {missing[0].replace('g', 'c')}")
        letters = "h" if slot == "projection" else ORDERS["onnx"][self.kind.lower()]
        blocks = []
        for gate in (letter for letter in letters if letter in gates):
            name = self.file.name(self.operator.graph, gates[gate])
            block = self.file.constant(self.operator.graph, gates[gate])
            if block is None:
                raise ModelError(f"its {slot}, {name!r}, is computed in the graph, or missing")
            if not np.isfinite(block).all():
                raise ModelError(f"its {slot} has entries that are not finite")
            turned = self.coupled and gate == "i" and slot != "norm"
            blocks.append(-block if turned else block)
        if len({b.shape for b in blocks}) > 1:
            raise ModelError(f"the gates of its {slot} have different shapes")
        if sum(b.size for b in blocks) > LARGEST_ARRAY // 4:
            raise ModelError(f"its weights have more than {LARGEST_ARRAY // 4} entries")
        return np.concatenate(blocks)


def _arrays(file: File, operator: Operator, passes: Sequence[_Pass]) -> dict[int, Floats]:
    """Return the arrays of all directions by their numbers among the inputs."""
    tensors = {k for p in passes for gates in p.tensors.values() for k in gates.values()}
    places = {place: k for place, k in enumerate(operator.inputs) if k in tensors - {-1}}
    arrays = {place: file.constant(operator.graph, k) for place, k in places.items()}
    return {place: array for place, array in arrays.items() if array is not None}


def _require_floats(file: File, operator: Operator, passes: Sequence[_Pass]) -> None:
    """Raise ModelError, with advice, for an operator of quantised weights."""
    tensors = [k for p in passes for gates in p.tensors.values() for k in gates.values()]
    producers = {k: file.producers.get((operator.graph, k)) for k in tensors if k >= 0}
    dtypes = {
        file.dtype(operator.graph, o.input(0) if o and o.name == "DEQUANTIZE" else k)
        for k, o in producers.items()
    }
    if few := sorted(dtypes & set(QUANTISED)):
        x = file.dtype(operator.graph, operator.input(0))
        kind = "weights alone are" if x == "FLOAT32" else "weights and activations are"
        raise ModelError(f"it is quantised ({', '.join(few)}; its {kind}): {INSTEAD}")
    if dtypes - {"FLOAT32", "FLOAT16"}:
        raise ModelError(f"its weights are of {' and '.join(sorted(dtypes))}")


def _require_shapes(node: FusedNode) -> None:
    """Raise ModelError if weights do not fit together."""
    gates, shapes = GATES[node.kind], {slot: a.shape[1:] for slot, a in node.weights.items()}
    for slot, axes in (("W", 2), ("R", 2), ("B", 1)):
        if len(shapes[slot]) != axes or 0 in shapes[slot]:
            raise ModelError(f"its {slot} is {list(shapes[slot])}")
    H, D, P = shapes["R"][0] // gates, shapes["W"][1], shapes["R"][1]
    expected = {"W": (gates * H, D), "R": (gates * H, P), "B": (gates * H,), "P": (3 * H,),
              "projection": (P, H), "norm": (gates * H,)}  # fmt: skip
    if "projection" not in shapes and P != H:
        raise ModelError(f"its R reads {P} units, of {H}, and it has no projection")
    for slot, shape in shapes.items():
        if shape != expected[slot]:
            raise ModelError(f"its {slot} is {list(shape)}; {list(expected[slot])} would be "
                             f"{gates} gates of {H} units")  # fmt: skip


def _with_states(file: File, operator: Operator, node: FusedNode, places: Places) -> FusedNode:
    """Return a node with the source of its states; raise ModelError if they do not fit."""
    graph = operator.graph
    if any(operator.input(p + 1) >= 0 for p in places.projection):
        raise ModelError("its projection has a bias: it is not supported")
    x = file.shape(graph, operator.input(0)) if operator.input(0) >= 0 else ()
    axes = 2 if node.one_step else 3
    if len(x) != axes or x[-1] not in (node.D, -1):
        raise ModelError(f"its input is {list(x)}, and its weights read {node.D} numbers")
    rows = x[0] if node.one_step or node.layout else x[1]
    names = []
    for states in places.states:
        for place, width in zip(states, (node.P or node.H, node.H), strict=False):
            number = operator.input(place)
            if number < 0:
                raise ModelError("it has no state")
            name, shape = file.name(graph, number), file.shape(graph, number)
            names.append(name)
            if not file.tensor(graph, number).isVariable:
                reason = "is fixed in the file" if file.constant(graph, number) is not None \
                    else "is computed in the graph"  # fmt: skip
                raise ModelError(f"its state {name!r} {reason}, and no variable: it is never kept, "
                                 "and LiteRT refuses it")  # fmt: skip
            if len(shape) != 2 or shape[1] not in (width, -1):
                raise ModelError(f"its state {name!r} is {list(shape)}, of {width} units")
            if -1 not in (rows, shape[0]) and rows != shape[0]:
                major = "true" if not node.layout else "false"
                raise ModelError(
                    f"with time_major = {major} its input {list(x)} has {rows} rows, and its state "
                    f"{name!r} has {shape[0]}: the flag or the state is wrong"
                )
    return replace(
        node, state="a variable of the model: zeros at first, then kept from call to call"
    )
