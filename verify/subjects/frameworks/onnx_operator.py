"""Models of one node: an RNN, LSTM or GRU of ONNX, from arrays under a convention's names.

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
"""The first opset whose recurrent operators have ``layout``; engines have known it for years."""

LENGTHS = "sequence_lens"


def convention(family: str, **others: Any) -> Convention:
    """Return the convention of an operator; ``others`` are what differs from ONNX's defaults."""
    order = {"rnn": "a", "lstm": "iofg", "gru": "zrn"}[family]
    if others.get("coupled"):
        order = order.replace("f", "")
    states = ("h", "c") if family == "lstm" else ("h",)
    after = family == "gru" and others.get("reset") != "before"
    bias = (order, order.replace("n", "m") if after else order)
    given: dict[str, Any] = dict(
        order=order, bias=bias, time="first", states=states, merge="axis"
    )  # fmt: skip
    return Convention(family, **{**given, **others})


@dataclass(frozen=True)
class Operator:
    """One recurrent operator: its ONNX name, its attributes, and what its parameters mean.

    ``activations`` are those of one direction, ``alpha`` and ``beta`` the numbers of those that
    take any.
    """

    kind: str
    convention: Convention
    attributes: Mapping[str, int | float | str] = field(default_factory=dict)
    activations: tuple[str, ...] = ()
    alpha: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()
    opset: int = OPSET

    def model(self, onnx: Any, case: Case, inputs: Inputs) -> Any:
        """Return a model of this one node, with the parameters inside; it takes any T and B."""
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

    def node(self, onnx: Any, case: Case, given: Collection[str], outputs: list[str]) -> Any:
        """Return the node, with those of its inputs that are given; an output may be ""."""
        names = self._names(given)
        return onnx.helper.make_node(self.kind, names, outputs, **self._set(case))

    @property
    def stored(self) -> Stored:
        """Return the names of its inputs, which are what a model's file holds.

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
        """Return its inputs W, R, B and P, those that it has, one entry a direction."""
        passes = [self._whole(one) for one in by_pass(case, parameters)]
        weights = {
            "W": np.stack([one["weight_ih"] for one in passes]),
            "R": np.stack([one["weight_hh"] for one in passes]),
        }
        if case.bias:
            both = [np.concatenate([one["bias_ih"], one["bias_hh"]]) for one in passes]
            weights["B"] = np.stack(both)
        if self.convention.peepholes:
            weights["P"] = np.stack([one["peephole"] for one in passes])
        return weights

    def feeds(self, case: Case, inputs: Inputs) -> dict[str, Floats]:
        """Return what a call is given: x, and lengths and initial states if there are any."""
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

    def _names(self, given: Collection[str]) -> list[str]:
        """Return the node's inputs in their order; "" for those that are left out."""
        order = ["X", "W", "R", "B", LENGTHS, *(f"initial_{s}" for s in self.convention.states)]
        order += ["P"] if self.convention.peepholes else []
        return [name if name in given else "" for name in order]

    def _set(self, case: Case) -> dict[str, Any]:
        chosen: dict[str, Any] = {"hidden_size": case.H, **self.attributes}
        if case.bidirectional:
            chosen["direction"] = "bidirectional"
        if case.layout == "batch-first":
            chosen["layout"] = 1
        if self.activations:
            chosen["activations"] = list(self.activations) * case.directions
        for name, numbers in (("alpha", self.alpha), ("beta", self.beta)):
            if numbers:
                chosen[f"activation_{name}"] = list(numbers) * case.directions
        return chosen

    def _whole(self, arrays: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the arrays of one pass with a block for f where f = 1 - i leaves it unused.

        The block holds ones: an engine that ignores ``input_forget`` reads them, and it shows.
        """
        if not self.convention.coupled:
            return arrays
        return {name: _with_forget_gate(array) for name, array in arrays.items()}


def _with_forget_gate(array: Floats) -> Floats:
    i, o, g = np.split(array, 3)
    return np.concatenate([i, o, np.ones_like(i), g])


_TYPES = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "FLOAT16", "bfloat16": "BFLOAT16"}
