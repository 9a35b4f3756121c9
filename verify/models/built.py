"""A node of a file, ready to be called: a model of its own, run by a runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..subjects.called import NotOffered, SubjectCrashed
from ..subjects.framework import OncePerParameters, imported, optional_inputs
from ..subjects.frameworks.onnx_operator import Operator
from ..subjects.protocol import Cotangents, Inputs, Pulled, Result
from .nodes import Node
from .runtimes import PerShape, Run, Runtime
from .tflite import single


class Cut(Protocol):
    """A node as a subject, as far as what runs it sees it; ``operator`` is that of ONNX."""

    @property
    def node(self) -> Any:
        """The node of the file."""

    @property
    def runtime(self) -> Runtime:
        """What runs it."""

    @property
    def arrays(self) -> Mapping[str, Floats]:
        """What the judge asks for."""

    @property
    def weights(self) -> dict[str, Floats]:
        """Its weights by the convention's names."""

    @property
    def fixed(self) -> tuple[tuple[str, int | bool | str], ...]:
        """What all of its cases have."""

    @property
    def operator(self) -> Operator:
        """The operator that it is."""


class WithoutGradients:
    """What no node of a file has; ``buffers`` are its weights, and what it is compared with."""

    def __init__(self, subject: Cut, case: Case) -> None:
        self.subject, self.case = subject, case

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> Sequence[Pulled]:
        """Raise: it has none."""
        raise NotOffered("a runtime of files has no gradients")

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Raise: it has none."""
        raise NotOffered("a runtime of files has no forward mode")

    def train(self, training: bool) -> None:
        """Raise: it has one mode."""
        raise NotOffered("a runtime of files has one mode")

    def buffers(self) -> dict[str, Floats]:
        """Return the node's own weights, and what it is compared with."""
        return dict(self.subject.arrays)


class BuiltNode(WithoutGradients):
    """A node of ONNX as a model of its own."""

    def __init__(self, subject: Cut, case: Case) -> None:
        super().__init__(subject, case)
        onnx, operator = imported("onnx", "onnx"), subject.operator

        def make(inputs: Inputs) -> PerShape:
            model = operator.model(onnx, case, self._turned(inputs))
            if _of_file(subject, case):
                # Of coupled gates the block that is not used holds ones, to be noticed.
                own = not subject.node.coupled and _same(inputs.parameters, subject.weights)
                _restate(onnx, model.graph, subject.node, weights=own)
            return PerShape(subject.runtime, model.SerializeToString())

        self._made = OncePerParameters(make, optional_inputs)

    def forward(self, inputs: Inputs) -> Result:
        """Run it."""
        operator, given = self.subject.operator, self._turned(inputs)
        outputs = self._made(inputs)(operator.feeds(self.case, given))
        if len(outputs) != len(operator.outputs):
            raise SubjectCrashed(f"expected {len(operator.outputs)} outputs, got {len(outputs)}")
        result = operator.result(self.case, [np.asarray(a) for a in outputs])
        if not self._reverse:
            return result
        return replace(result, y=turned(result.y, inputs.lengths))

    @property
    def _reverse(self) -> bool:
        """Whether it begins at the end: the equations see its rows turned round."""
        return self.subject.node.direction == "reverse" and not self.case.bidirectional

    def _turned(self, inputs: Inputs) -> Inputs:
        return replace(inputs, x=turned(inputs.x, inputs.lengths)) if self._reverse else inputs


def _of_file(subject: Cut, case: Case) -> bool:
    """Whether a case has the node's own widths, directions and layout."""
    return all(getattr(case, name) == value for name, value in subject.fixed)


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


def _same(given: Mapping[str, Floats], own: Mapping[str, Floats]) -> bool:
    """Whether two sets of arrays are the same."""
    names = given.keys() == own.keys()
    return names and all(np.array_equal(given[name], array) for name, array in own.items())


class BuiltStep(BuiltNode):
    """A step that an exporter has unrolled, run once for every step of x, with its own weights."""

    def __init__(self, subject: Cut, case: Case) -> None:
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
            now = dict(
                zip(states, self._stepped({"x": np.ascontiguousarray(x), **now}), strict=True)
            )
            y.append(now["h"])
        shape = (0, inputs.x.shape[1], self.subject.node.H)
        whole = np.stack(y) if y else np.zeros(shape, inputs.x.dtype)
        return Result(whole, tuple(now[name][None] for name in states))

    def _stepped(self, given: Mapping[str, Floats]) -> list[Floats]:
        """Return the new states (B, H); row by row, in its own shapes, where a file has one row."""
        shapes = self.subject.node.unrolled.shapes
        if not shapes:
            return [np.asarray(a) for a in self._step(given)]
        rows = [
            self._step({name: array[row].reshape(shapes[name]) for name, array in given.items()})
            for row in range(len(given["x"]))
        ]
        return [np.stack([np.ravel(a) for a in each]) for each in zip(*rows, strict=True)]


def turned(x: Floats, lengths: Floats | None) -> Floats:
    """Return (T, B, ...) with every row turned round within its length."""
    if lengths is None:
        return x[::-1].copy()
    whole = x.copy()
    for row, length in enumerate(lengths):
        whole[:length, row] = x[:length, row][::-1]
    return whole


class BuiltFused(WithoutGradients):
    """An operator of TensorFlow Lite as a model of its own, one for every number of steps, rows."""

    def __init__(self, subject: Cut, case: Case) -> None:
        super().__init__(subject, case)
        self._made = OncePerParameters(self._run, lambda inputs: inputs.x.shape)

    def _run(self, inputs: Inputs) -> Run:
        subject = self.subject
        own = _of_file(subject, self.case) and _same(inputs.parameters, subject.weights)
        made = single.model(subject.node, self.case, inputs, own=own)
        return self.subject.runtime.loaded(made, {})

    def forward(self, inputs: Inputs) -> Result:
        """Run it; an operator of one step once for every step of x."""
        node, case = self.subject.node, self.case
        run = self._made(inputs)
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
