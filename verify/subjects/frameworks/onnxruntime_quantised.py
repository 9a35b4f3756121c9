"""ONNX Runtime's quantised LSTM and GRU, on its CPU execution provider.

``onnxruntime.quantization.quantize_dynamic`` converts an LSTM to ``DynamicQuantizeLSTM``: weights
of 8 bits, with one scale for each matrix or channel, and activations that the engine quantises,
with one range for the whole input and one for the hidden states of all rows in each step. The tool
always writes signed weights; ``LSTM-u8`` is the operator with unsigned ones and zero points,
written here. Rows that have ended run on inside, so their padding influences the range of the
others, and lengths are not offered.

``LSTM-qdq`` and ``GRU-qdq`` read weights and input through ``DequantizeLinear``, as static
quantisation writes it, and compute in float32.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..framework import imported
from ..protocol import SubjectUnavailable
from .onnx_operator import Operator, convention
from .onnxruntime import INSTALL, OPTIONS, RULES, OnnxRuntime

FAMILIES = {"onnxruntime-quantised": ("onnxruntime", "onnx")}

DYNAMIC = "DynamicQuantizeLSTM"
SCALE, ZERO = 2.0**-5, 128
"""The scale and the zero point of a QDQ graph's input; the scale is a power of 2."""


@dataclass(frozen=True)
class QuantisedOperator(OnnxRuntime):
    """A model of one recurrent operator after quantisation; ``quantised`` is its arithmetic."""

    quantised: str = field(kw_only=True)
    tool: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """The arguments of ``quantize_dynamic``; None for a QDQ graph."""
    unsigned: bool = field(default=False, kw_only=True)
    """Whether weights are unsigned, with zero points."""

    def model_to_run(self, onnx: Any, model: Any) -> Any:
        """Return the model after quantisation."""
        if self.tool is None:
            return _qdq(onnx, model)
        tools = imported("onnxruntime.quantization", INSTALL)
        weights = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
        arguments = {"weight_type": tools.QuantType.QInt8, "op_types_to_quantize": ["LSTM"]}
        logging.disable(logging.WARNING)  # it advises to optimise a model of one node first
        try:
            converted = _apply_in_memory(
                onnx, tools.quantize_dynamic, model, {**arguments, **self.tool}
            )
        finally:
            logging.disable(logging.NOTSET)
        return _unsigned(onnx, converted, weights) if self.unsigned else converted


def _apply_in_memory(onnx: Any, quantize: Any, model: Any, arguments: Mapping[str, Any]) -> Any:
    """Apply a tool that writes files to a model in memory."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        quantize(model, f"{folder}/quantised.onnx", **arguments)
        converted = onnx.load(f"{folder}/quantised.onnx")
    if [node.op_type for node in converted.graph.node] != [DYNAMIC]:
        raise SubjectUnavailable(f"the quantised model is not one {DYNAMIC}")
    return converted


def _unsigned(onnx: Any, model: Any, weights: Mapping[str, Any]) -> Any:
    """Replace signed weights by unsigned ones with zero points."""
    tensor, initializers = onnx.numpy_helper.from_array, model.graph.initializer
    for name in ("W", "R"):
        array = weights[name].swapaxes(1, 2)  # (directions, D, 4H)
        low, high = np.minimum(array.min(axis=(1, 2)), 0), np.maximum(array.max(axis=(1, 2)), 0)
        scale = (high - low) / np.float32(255)
        scale = np.where(scale == 0, np.float32(1), scale)
        zero = np.rint(-low / scale)
        levels = np.rint(array / scale[:, None, None]) + zero[:, None, None]
        new = {
            f"{name}_quantized": np.clip(levels, 0, 255).astype(np.uint8),
            f"{name}_scale": scale,
            f"{name}_zero_point": zero.astype(np.uint8),
        }
        for old in [w for w in initializers if w.name in new]:
            initializers.remove(old)
        initializers.extend(tensor(np.ascontiguousarray(value), key) for key, value in new.items())
    return model


def _qdq(onnx: Any, model: Any) -> Any:
    """Insert Q and DQ before the operator's input, and DQ between integers and its weights."""
    helper, tensor = onnx.helper, onnx.numpy_helper.from_array
    graph, (node,) = model.graph, model.graph.node
    before, integers = [], []
    for k, name in ((1, "W"), (2, "R")):
        (weights,) = (w for w in graph.initializer if w.name == name)
        array = onnx.numpy_helper.to_array(weights)
        scale = np.maximum(np.abs(array).max(axis=(1, 2)), np.float32(1e-30)) / np.float32(127)
        rounded = np.rint(array / scale[:, None, None]).astype(np.int8)
        graph.initializer.remove(weights)
        for part, value in (("integers", rounded), ("scale", scale.astype(np.float32)),
                            ("zero", np.zeros(len(scale), np.int8))):  # fmt: skip
            integers.append(tensor(value, f"{name} {part}"))
        operands = [f"{name} {part}" for part in ("integers", "scale", "zero")]
        before.append(helper.make_node("DequantizeLinear", operands, [f"{name} read"], axis=0))
        node.input[k] = f"{name} read"
    integers.append(tensor(np.asarray(SCALE, np.float32), "X scale"))
    integers.append(tensor(np.asarray(ZERO, np.uint8), "X zero"))
    grid = ["X scale", "X zero"]
    before.append(helper.make_node("QuantizeLinear", ["X", *grid], ["X integers"]))
    before.append(helper.make_node("DequantizeLinear", ["X integers", *grid], ["X read"]))
    node.input[0] = "X read"
    graph.initializer.extend(integers)
    nodes = [*before, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


CALL = "activations=8"
GIVEN = f"activations=8, range=given, operands=x, scales=x:{SCALE}:{ZERO}"
DYNAMIC_OPTIONS = replace(
    OPTIONS,
    lengths=False,
    reasons=(
        *OPTIONS.reasons,
        ("lengths", "rows that have ended go on inside, and are in the range of the others"),
    ),
)


def _subject(
    name: str, kind: str, quantised: str, tool: Mapping[str, Any] | None, *, unsigned: bool = False
) -> QuantisedOperator:
    attributes = {"linear_before_reset": 1} if kind == "GRU" else {}
    operator = Operator(kind, convention(kind.lower(), **RULES), attributes)
    return QuantisedOperator(
        f"onnxruntime-quantised:{name}",
        operator.convention,
        OPTIONS if tool is None else DYNAMIC_OPTIONS,
        ("float32",),
        operator=operator,
        quantised=quantised,
        tool=tool,
        unsigned=unsigned,
    )


SUBJECTS = (
    _subject("LSTM", "LSTM", f"weights=8, {CALL}", {}),
    _subject("LSTM-u8", "LSTM", f"weights=8, weight_zero=yes, {CALL}", {}, unsigned=True),
    _subject("LSTM-per-channel", "LSTM", f"weights=8, per=channel, {CALL}", {"per_channel": True}),
    _subject(
        "LSTM-per-channel-reduced",
        "LSTM",
        f"weights=8, per=channel, weight_levels=64, {CALL}",
        {"per_channel": True, "reduce_range": True},
    ),
    _subject("LSTM-qdq", "LSTM", f"weights=8, {GIVEN}", None),
    _subject("GRU-qdq", "GRU", f"weights=8, {GIVEN}", None),
)
