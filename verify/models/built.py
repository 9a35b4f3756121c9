"""Nodes of files as callable layers: models of one node, run by a runtime."""

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
    """The part of a node's subject that its layer needs; ``operator`` is that of ONNX."""

    @property
    def node(self) -> Any:
        """The node of the file."""

    @property
    def runtime(self) -> Runtime:
        """The runtime of the node."""

    @property
    def arrays(self) -> Mapping[str, Floats]:
        """The arrays that the judge reads as buffers."""

    @property
    def weights(self) -> dict[str, Floats]:
        """Its weights by the convention's names."""

    @property
    def fixed(self) -> tuple[tuple[str, int | bool | str], ...]:
        """The fields that all of its cases share."""

    @property
    def operator(self) -> Operator:
        """The node as an operator."""


class WithoutGradients:
    """Methods that nodes of files do not offer; ``buffers`` are the subject's arrays."""

    def __init__(self, subject: Cut, case: Case) -> None:
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

    def buffers(self) -> dict[str, Floats]:
        """Return the node's weights, and the arrays that it is compared with."""
        return dict(self.subject.arrays)


class BuiltNode(WithoutGradients):
    """A node of ONNX as a model of its own."""

    def __init__(self, subject: Cut, case: Case) -> None:
        super().__init__(subject, case)
        onnx, operator = imported("onnx", "onnx"), subject.operator

        def make(inputs: Inputs) -> PerShape:
            model = operator.model(onnx, case, self._turned(inputs))
            if _of_file(subject, case):
                # The unused block of coupled gates holds ones, so that its use is noticed.
                original = not subject.node.coupled and _same(inputs.parameters, subject.weights)
                _restate(onnx, model.graph, subject.node, weights=original)
            return PerShape(subject.runtime, model.SerializeToString())

        self._program_for = OncePerParameters(make, optional_inputs)

    def forward(self, inputs: Inputs) -> Result:
        """Run it."""
        operator = self.subject.operator
        outputs = self._program_for(inputs)(operator.feeds(self.case, self._turned(inputs)))
        if len(outputs) != len(operator.outputs):
            raise SubjectCrashed(f"expected {len(operator.outputs)} outputs, got {len(outputs)}")
        result = operator.result(self.case, [np.asarray(a) for a in outputs])
        if not self._reverse:
            return result
        return replace(result, y=turned(result.y, inputs.lengths))

    @property
    def _reverse(self) -> bool:
        """Whether it begins at the last step; its rows are reversed for the equations."""
        return self.subject.node.direction == "reverse" and not self.case.bidirectional

    def _turned(self, inputs: Inputs) -> Inputs:
        return replace(inputs, x=turned(inputs.x, inputs.lengths)) if self._reverse else inputs


def _of_file(subject: Cut, case: Case) -> bool:
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

    def __init__(self, subject: Cut, case: Case) -> None:
        super().__init__(subject, case)
        self._step = PerShape(subject.runtime, subject.node.unrolled.model(subject.node.dtype))

    def forward(self, inputs: Inputs) -> Result:
        """Run it step by step."""
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
        outputs = np.stack(y) if y else np.zeros(shape, inputs.x.dtype)
        return Result(outputs, tuple(now[name][None] for name in states))

    def _stepped(self, arrays: Mapping[str, Floats]) -> list[Floats]:
        """Return the new states (B, H); if the file has one row, computed row by row."""
        shapes = self.subject.node.unrolled.shapes
        if not shapes:
            return [np.asarray(a) for a in self._step(arrays)]
        rows = [
            self._step({name: array[row].reshape(shapes[name]) for name, array in arrays.items()})
            for row in range(len(arrays["x"]))
        ]
        return [np.stack([np.ravel(a) for a in state]) for state in zip(*rows, strict=True)]


def turned(x: Floats, lengths: Floats | None) -> Floats:
    """Return x (T, B, ...) with each row reversed within its length."""
    if lengths is None:
        return x[::-1].copy()
    result = x.copy()
    for row, length in enumerate(lengths):
        result[:length, row] = x[:length, row][::-1]
    return result


class BuiltFused(WithoutGradients):
    """An operator of TensorFlow Lite as a model, one for each number of steps and rows."""

    def __init__(self, subject: Cut, case: Case) -> None:
        super().__init__(subject, case)
        self._program_for = OncePerParameters(self._run, lambda inputs: inputs.x.shape)

    def _run(self, inputs: Inputs) -> Run:
        subject = self.subject
        original = _of_file(subject, self.case) and _same(inputs.parameters, subject.weights)
        model = single.model(subject.node, self.case, inputs, original=original)
        return self.subject.runtime.loaded(model, {})

    def forward(self, inputs: Inputs) -> Result:
        """Run it; an operator of one step once for each step of x."""
        node, case = self.subject.node, self.case
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
