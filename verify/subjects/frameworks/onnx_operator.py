"""ONNX models of one node: an RNN, LSTM or GRU, built from arrays by a convention's names.

ONNX packs i, o, f, c for an LSTM and z, r, h for a GRU, with two biases; the GRU's second one is
reset with the product if ``linear_before_reset`` is 1. Arrays have a leading axis of directions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ...cases.case import Case
from ...conventions import Convention
from ...conventions.file_layout import Stored
from ..framework import by_pass
from ..protocol import Inputs, Result

OPSET, IR_VERSION = 14, 8
"""The first opset whose recurrent operators have ``layout``, which all engines support."""

LENGTHS = "sequence_lens"


def convention(family: str, **others: Any) -> Convention:
    """Return the convention of an operator; ``others`` replaces ONNX's defaults."""
    order = {"rnn": "a", "lstm": "iofg", "gru": "zrn"}[family]
    if others.get("coupled"):
        order = order.replace("f", "")
    states = ("h", "c") if family == "lstm" else ("h",)
    after = family == "gru" and others.get("reset") != "before"
    bias = (order, order.replace("n", "m") if after else order)
    defaults: dict[str, Any] = dict(
        order=order, bias=bias, time="first", states=states, merge="axis"
    )  # fmt: skip
    return Convention(family, **{**defaults, **others})


@dataclass(frozen=True)
class Operator:
    """One recurrent operator: its ONNX name, its convention and its attributes.

    ``activations`` are those of one direction, ``alpha`` and ``beta`` their parameters.
    """

    kind: str
    convention: Convention
    attributes: Mapping[str, int | float | str] = field(default_factory=dict)
    activations: tuple[str, ...] = ()
    alpha: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()
    opset: int = OPSET

    def model(self, onnx: Any, case: Case, inputs: Inputs) -> Any:
        """Return a model of this node with its parameters, for any T and B."""
        helper, number = onnx.helper, getattr(onnx.TensorProto, _TYPES[case.dtype])
        weights = self.weights(case, inputs.parameters)
        feeds = self.feeds(case, inputs)
        node = self.node(onnx, case, weights.keys() | feeds.keys(), self.outputs)
        types = {LENGTHS: onnx.TensorProto.INT32}
        graph = helper.make_graph(
            [node],
            self.kind,
            [
                helper.make_tensor_value_info(name, types.get(name, number), [None] * array.ndim)
                for name, array in feeds.items()
            ],
            [helper.make_tensor_value_info(name, number, None) for name in self.outputs],
            [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)

    def node(self, onnx: Any, case: Case, inputs: Collection[str], outputs: list[str]) -> Any:
        """Return the node with the named inputs; an output may be ""."""
        names = self._names(inputs)
        return onnx.helper.make_node(self.kind, names, outputs, **self._attributes(case))

    @property
    def stored(self) -> Stored:
        """The names of its inputs, under which a model's file holds the arrays.

        Coupled gates have the convention's names: a model has a block for f that is not used.
        """
        if self.convention.coupled:
            return Stored()
        names = {"weight_ih": "W", "weight_hh": "R", "bias_ih": "B", "bias_hh": "B"}
        peephole = {"peephole": "P"} if self.convention.peepholes else {}
        return Stored(tuple({**names, **peephole}.items()), joined="concatenated", axis=True)

    @property
    def outputs(self) -> list[str]:
        """The names of its outputs: of all steps, and the final states."""
        return ["Y", *(f"Y_{state}" for state in self.convention.states)]

    def weights(self, case: Case, parameters: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return its inputs W, R, B and P, if it has them, with an entry for each direction."""
        passes = [self._with_all_gates(arrays) for arrays in by_pass(case, parameters)]
        weights = {
            "W": np.stack([arrays["weight_ih"] for arrays in passes]),
            "R": np.stack([arrays["weight_hh"] for arrays in passes]),
        }
        if case.bias:
            both = [np.concatenate([arrays["bias_ih"], arrays["bias_hh"]]) for arrays in passes]
            weights["B"] = np.stack(both)
        if self.convention.peepholes:
            weights["P"] = np.stack([arrays["peephole"] for arrays in passes])
        return weights

    def feeds(self, case: Case, inputs: Inputs) -> dict[str, Floats]:
        """Return the inputs of a call: x, and lengths and initial states if there are any."""
        named = zip(self.convention.states, inputs.state or (), strict=False)
        feeds = {"X": inputs.x} | {f"initial_{name}": state for name, state in named}
        if case.layout == "batch-first":
            feeds = {name: np.swapaxes(array, 0, 1) for name, array in feeds.items()}
        if inputs.lengths is not None:
            feeds[LENGTHS] = inputs.lengths.astype(np.int32)
        return feeds

    def result(self, case: Case, outputs: list[Floats]) -> Result:
        """Return the outputs, directions side by side, and the final states."""
        y, *final = outputs
        if case.layout == "batch-first":  # (B, T, directions, H) and (B, directions, H)
            y, final = np.moveaxis(y, 0, 2), [np.swapaxes(state, 0, 1) for state in final]
        steps, directions, rows, width = y.shape
        y = np.moveaxis(y, 1, 2).reshape(steps, rows, directions * width)
        return Result(y, tuple(final))

    def _names(self, inputs: Collection[str]) -> list[str]:
        """Return the node's inputs in their order, with "" for omitted ones."""
        order = ["X", "W", "R", "B", LENGTHS, *(f"initial_{s}" for s in self.convention.states)]
        order += ["P"] if self.convention.peepholes else []
        return [name if name in inputs else "" for name in order]

    def _attributes(self, case: Case) -> dict[str, Any]:
        attributes: dict[str, Any] = {"hidden_size": case.H, **self.attributes}
        if case.bidirectional:
            attributes["direction"] = "bidirectional"
        if case.layout == "batch-first":
            attributes["layout"] = 1
        if self.activations:
            attributes["activations"] = list(self.activations) * case.directions
        for name, numbers in (("alpha", self.alpha), ("beta", self.beta)):
            if numbers:
                attributes[f"activation_{name}"] = list(numbers) * case.directions
        return attributes

    def _with_all_gates(self, arrays: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the arrays of one pass, with a block for f where f = 1 - i leaves it unused.

        The block holds ones, so an engine that ignores ``input_forget`` computes wrong numbers.
        """
        if not self.convention.coupled:
            return arrays
        return {name: _with_forget_gate(array) for name, array in arrays.items()}


def _with_forget_gate(array: Floats) -> Floats:
    i, o, g = np.split(array, 3)
    return np.concatenate([i, o, np.ones_like(i), g])


_TYPES = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "FLOAT16", "bfloat16": "BFLOAT16"}
