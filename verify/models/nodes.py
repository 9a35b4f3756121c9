"""The recurrent nodes of a graph: their weights, attributes, states and conventions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import LARGEST_SIZE
from ..conventions.convention import Convention
from ..subjects.frameworks.onnx_operator import convention as convention_of
from .graph import LARGEST_ARRAY, OWN_DOMAINS, ModelError, Scope
from .operation import ACTIVATIONS, PARAMETERS, WITH_BETA, Activation, Operation

KINDS = ("RNN", "GRU", "LSTM")
SINCE = 7
"""The first opset with today's recurrent operators."""

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ORDER = {"RNN": "h", "GRU": "zrh", "LSTM": "iofc"}
"""The gates in ONNX's order, by ONNX's letters."""

SLOTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
DEFAULTS = {
    "RNN": (Activation("Tanh"),),
    "GRU": (Activation("Sigmoid"), Activation("Tanh")),
    "LSTM": (Activation("Sigmoid"), Activation("Tanh"), Activation("Tanh")),
}
"""The default activations of one direction."""

CONVENTION_NAMES = {Activation(name): name.lower() for name in ("Sigmoid", "Tanh", "Relu")}
"""The conventions' names of activations."""

FUNCTIONS = {
    "RNN": ("candidate",), "GRU": ("gate", "candidate"), "LSTM": ("gate", "candidate", "output"),
}  # fmt: skip
"""The conventions' fields that name the activations of one direction."""

PASSED_ON = frozenset((
    "Cast", "Expand", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose",
    "Unsqueeze", "Flatten",
))  # fmt: skip
"""Operators through which a value is followed to its source."""


@dataclass(frozen=True)
class Node:
    """A recurrent node of a file.

    ``name`` is unique in its file, ``path`` is the graph that holds it ("" for the main one).
    ``weights`` are its constant inputs W, R, B and P as stored, (directions, ...); ``stored`` are
    their names in the file. ``state`` and ``lengths`` are the sources of these inputs, "" if they
    are left out; ``fixed`` are constant states. ``steps`` is the number of steps that is fixed in
    the graph, or None. ``unrolled`` is a step that an exporter has unrolled, cut out of the graph;
    ``takes_new``: z is the share of the new state, as in no operator. ``problem`` is the reason
    why it cannot be checked, "" if it can. ``reader`` is the framework of its operator,
    ``operator`` the name in TensorFlow Lite.
    """

    name: str
    kind: str
    path: str = ""
    direction: str = "forward"
    layout: int = 0
    activations: tuple[Activation, ...] = ()
    clip: float = 0.0
    coupled: bool = False
    reset_after: bool = False
    takes_new: bool = False
    weights: Mapping[str, Floats] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    fixed: Mapping[str, Floats] = field(default_factory=dict)
    lengths: str = ""
    steps: int | None = None
    opset: int = SINCE
    problem: str = ""
    unrolled: Any = None
    place: tuple[Scope, Any] | None = field(default=None, compare=False, repr=False)
    reader: ClassVar[str] = "ONNX"
    operator: str = ""

    @property
    def gates(self) -> str:
        """Its gates in the order of its arrays, by its reader's letters."""
        return ORDER.get(self.kind, "")

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 2 if self.direction == "bidirectional" else 1

    @property
    def H(self) -> int:  # noqa: N802 - as in the equations
        """The number of its units."""
        return int(self.weights["R"].shape[1]) // GATES[self.kind]

    @property
    def D(self) -> int:  # noqa: N802
        """The width of its input."""
        return int(self.weights["W"].shape[2])

    @property
    def P(self) -> int:  # noqa: N802
        """The width of its projected state, 0 if it has none."""
        return int(self.weights["R"].shape[2]) if "projection" in self.weights else 0

    @property
    def dtype(self) -> str:
        """The dtype of its weights."""
        return self.weights["W"].dtype.name if "W" in self.weights else ""

    @property
    def family(self) -> str:
        """``rnn``, ``gru`` or ``lstm``."""
        return self.kind.lower()

    @property
    def states(self) -> tuple[str, ...]:
        """The names of its states."""
        return ("h", "c") if self.kind == "LSTM" else ("h",)

    @property
    def of_direction(self) -> tuple[Activation, ...]:
        """The activations of its (first) direction."""
        return self.activations[: len(DEFAULTS[self.kind])]

    @cached_property
    def convention(self) -> Convention:
        """The meaning of its parameters, with default activations if it cannot name them."""
        fields: dict[str, Any] = {}
        if self.plain:
            for name, activation in zip(FUNCTIONS[self.kind], self.of_direction, strict=True):
                fields[name] = CONVENTION_NAMES[activation]
        if self.kind == "GRU":
            fields["reset"] = "after" if self.reset_after else "before"
            fields["update"] = "take" if self.takes_new else "keep"
        if "P" in self.weights:
            fields["peepholes"] = "iof"
        return convention_of(self.family, coupled=self.coupled, **fields)

    @cached_property
    def plain(self) -> bool:
        """Whether the reference has its cell."""
        if self.clip or not {*self.activations} <= CONVENTION_NAMES.keys():
            return False
        functions = tuple(CONVENTION_NAMES[a] for a in self.of_direction)
        usual = {
            "RNN": (("tanh",), ("relu",)),
            "GRU": (("sigmoid", "tanh"),),
            "LSTM": (("sigmoid", "tanh", "tanh"), ("sigmoid", "sigmoid", "tanh")),
        }
        if (self.coupled or "P" in self.weights) and functions[1:2] == ("sigmoid",):
            return False
        return functions in usual[self.kind] and not (self.coupled and "P" in self.weights)

    @property
    def operation(self) -> Operation | None:
        """Its function if the reference has no cell for it, else None."""
        if self.plain:
            return None
        return Operation(str(self.convention.cell), self.kind, self.of_direction, self.clip)

    @property
    def more_facts(self) -> dict[str, str]:
        """Further facts that are compared with the layer that it was exported from."""
        return {}

    @property
    def begins_at_zero(self) -> bool:
        """Whether it may be called without a state."""
        return not self.state

    @property
    def without_equations(self) -> bool:
        """Whether there are no equations for it."""
        return self.convention.cell is None

    @property
    def words(self) -> str:
        """Its convention in a few words: direction, reset, unusual options."""
        parts = [self.direction] if self.direction != "forward" else []
        if self.layout:
            parts.append("rows first")
        if self.kind == "GRU":
            parts.append("reset after the product" if self.reset_after
                        else "reset before the product")  # fmt: skip
            parts += ["z takes the new state"] if self.takes_new else []
        if "P" in self.weights:
            parts.append("peepholes")
        if self.coupled:
            parts.append("f = 1 - i")
        if not self.plain or self.of_direction != DEFAULTS[self.kind]:
            parts.append(" ".join(map(str, self.activations)))
        if self.clip:
            parts.append(f"clip {self.clip:g}")
        return ", ".join(parts)


def nodes(scope: Scope) -> Iterator[Node]:
    """Yield the recurrent nodes of one graph; those that cannot be checked have a ``problem``."""
    opset = scope.model.opset
    for number, proto in enumerate(scope.graph.node):
        if (proto.domain, proto.op_type) in scope.model.functions:
            continue  # its body is a graph of its own
        label = proto.name or f"{proto.op_type} {number}"
        label = "".join(c if c.isprintable() else "?" for c in label)
        if proto.domain not in OWN_DOMAINS:
            if any(kind in proto.op_type.upper() for kind in KINDS):
                problem = (
                    f"{proto.domain}.{proto.op_type} is no operator of ONNX: it is not supported"
                )
                yield Node(label, proto.op_type, scope.path, opset=opset, problem=problem)
        elif proto.op_type in KINDS:
            try:
                yield _node(scope, proto, label)
            except ModelError as error:
                problem = str(error).removeprefix(f"{scope.model.path}: ")
                yield Node(label, proto.op_type, scope.path, opset=opset, problem=problem)


def _node(scope: Scope, proto: Any, label: str) -> Node:
    kind, attributes = proto.op_type, scope.attributes(proto)
    node = Node(label, kind, scope.path, opset=scope.model.opset, place=(scope, proto))
    if node.opset < SINCE:
        raise ModelError(f"{kind} of opset {node.opset} is another operator than today's")
    inputs = dict(zip(SLOTS, proto.input, strict=False))
    inputs = {slot: name for slot, name in inputs.items() if name}
    weights: dict[str, Floats] = {}
    stored: dict[str, str] = {}
    for slot in ("W", "R", "B", "P"):
        if slot in inputs:
            value = scope.constant(inputs[slot])
            if value is None:
                raise ModelError(
                    f"its {slot}, {inputs[slot]!r}, is computed in the graph, or missing"
                )
            weights[slot], stored[slot] = value, source(scope, inputs[slot])
    direction = attributes.get("direction", "forward")
    node = replace(
        node, direction=direction, layout=attributes.get("layout", 0),
        clip=float(attributes.get("clip", 0.0)), coupled=bool(attributes.get("input_forget", 0)),
        reset_after=bool(attributes.get("linear_before_reset", 0)), weights=weights, stored=stored,
    )  # fmt: skip
    _require_shapes(node, attributes)
    fixed = {}
    for name in node.states:
        value = scope.constant(inputs.get(f"initial_{name}", ""))
        if value is not None:
            fixed[name] = value
    return replace(
        node, fixed=fixed, activations=_activations(node, attributes),
        state=_state(scope, inputs, fixed), steps=_steps(scope, inputs, node.layout),
        lengths=source(scope, inputs["sequence_lens"]) if "sequence_lens" in inputs else "",
    )  # fmt: skip


def _require_shapes(node: Node, attributes: Mapping[str, Any]) -> None:
    """Raise ModelError for invalid attributes or weights."""
    if node.direction not in ("forward", "reverse", "bidirectional"):
        raise ModelError(f"its direction is {node.direction!r:.40}")
    if node.layout not in (0, 1):
        raise ModelError(f"its layout is {node.layout}")
    numbers = (node.clip, *(n for a in node.activations for n in (a.alpha, a.beta)))
    if node.clip < 0 or not np.isfinite(numbers).all():
        raise ModelError("its clip is negative, or its clip, alpha or beta not finite")
    if missing := {"W", "R"} - node.weights.keys():
        raise ModelError(f"it has no {' and no '.join(sorted(missing))}")
    dtypes = sorted({a.dtype.name for a in node.weights.values()})
    if len(dtypes) > 1 or dtypes[0] not in ("float16", "bfloat16", "float32", "float64"):
        raise ModelError(f"its weights are of {' and '.join(dtypes)}")
    gates, shapes = GATES[node.kind], {slot: a.shape for slot, a in node.weights.items()}
    H = int(attributes.get("hidden_size", shapes["R"][-1] if shapes["R"] else 0))
    D = shapes["W"][-1] if shapes["W"] else 0
    n = node.directions
    expected = {"W": (n, gates * H, D), "R": (n, gates * H, H), "B": (n, 2 * gates * H),
              "P": (n, 3 * H)}  # fmt: skip
    for slot, shape in shapes.items():
        if shape != expected[slot] or 0 in shape:
            raise ModelError(f"its {slot} is {list(shape)}; {list(expected[slot])} would be "
                             f"{n} x {gates} gates of {H} units")  # fmt: skip
    if sum(a.size for a in node.weights.values()) > LARGEST_ARRAY // 4:
        raise ModelError(f"its weights have more than {LARGEST_ARRAY // 4} entries")
    for slot, array in node.weights.items():
        if not np.isfinite(array.astype(np.float64)).all():
            raise ModelError(f"its {slot} has entries that are not finite")


def _activations(node: Node, attributes: Mapping[str, Any]) -> tuple[Activation, ...]:
    """Return the activations of all directions, with their numbers or the defaults."""
    usual = DEFAULTS[node.kind]
    names = attributes.get("activations") or [a.name for a in usual] * node.directions
    if len(names) != len(usual) * node.directions:
        raise ModelError(f"it has {len(names)} activations, not {len(usual) * node.directions}")
    spellings = {name.lower(): name for name in ACTIVATIONS}
    numbers = {key: list(attributes.get(f"activation_{key}") or ()) for key in ("alpha", "beta")}
    activations = []
    for name in names:
        if name.lower() not in spellings:
            raise ModelError(f"its activation {name!r:.40} is not one of ONNX")
        spelt = spellings[name.lower()]
        alpha, beta = PARAMETERS.get(spelt, (0.0, 0.0))
        if spelt in PARAMETERS:  # others consume no numbers
            alpha = numbers["alpha"].pop(0) if numbers["alpha"] else alpha
            if spelt in WITH_BETA:
                beta = numbers["beta"].pop(0) if numbers["beta"] else beta
        activations.append(Activation(spelt, float(alpha), float(beta)))
    half = len(usual)
    if activations[:half] != activations[-half:]:
        raise ModelError("its two directions have different activations: split it into two nodes")
    return tuple(activations)


def source(scope: Scope, name: str) -> str:
    """Return the source of a value: its stored tensor, input, or operator."""
    visited = set()
    while True:
        home = scope.home(name)
        if home is None or (id(home[0].graph), home[1]) in visited:
            return name
        scope, name = home
        visited.add((id(scope.graph), name))
        node = scope.producers.get(name)
        if name in scope.initialisers or (node is not None and node.op_type == "Constant"):
            return name
        if node is None:
            return f"input {name}"
        inputs = [operand for operand in node.input if operand]
        if node.op_type not in (*PASSED_ON, "Concat") or not inputs:
            return f"{node.op_type} {node.name}".strip()
        name = inputs[0]


def _state(scope: Scope, inputs: Mapping[str, str], fixed: Mapping[str, Floats]) -> str:
    """Return the sources of the initial states; "" if they are left out."""
    sources = {}
    for slot in ("initial_h", "initial_c"):
        if slot not in inputs:
            continue
        value = fixed.get(slot[-1])
        if value is None:
            sources[slot[-1]] = source(scope, inputs[slot])
        else:
            sources[slot[-1]] = "fixed: numbers" if np.any(value) else "fixed: zeros"
    if len(set(sources.values())) == 1:
        return next(iter(sources.values()))
    return ", ".join(f"{name}: {text}" for name, text in sources.items())


def _steps(scope: Scope, inputs: Mapping[str, str], layout: int) -> int | None:
    """Return the number of steps that the graph states for x, or None."""
    home = scope.home(inputs.get("X", ""))
    shape: Sequence[int | str] = home[0].shapes.get(home[1], ()) if home else ()
    if len(shape) != 3:
        return None
    steps = shape[1 if layout else 0]
    return steps if isinstance(steps, int) and steps > 0 else None


def problem_of(node: Node) -> str:
    """Return the reason why a node cannot be checked, "" if it can."""
    if node.problem:
        return node.problem
    if max(node.D, node.H) > LARGEST_SIZE:
        return f"{max(node.D, node.H)} units; at most {LARGEST_SIZE} are supported"
    if node.without_equations:
        return "there are no equations for input_forget with peepholes"
    return ""
