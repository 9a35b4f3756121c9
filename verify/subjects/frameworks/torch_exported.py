"""Exports of torch's layers: programs of ``torch.export``, and ONNX files in ONNX Runtime.

Both have torch's parameters. ``torch-export`` is the program of ``torch.export.export``, which is
valid for the traced numbers of steps and rows alone; other numbers need another program.
``torch-onnx`` is the file of the TorchScript exporter (``dynamo=False``), for any number of steps
and rows.

The default exporter of torch 2.13 (``dynamo=True``) accepts a dynamic number of steps but writes
the traced one into a Reshape of the outputs: other numbers raise, or, if the sizes happen to
divide, put outputs in wrong places.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ..framework import (
    FrameworkSubject,
    OncePerParameters,
    Plain,
    from_layout,
    imported,
    optional_inputs,
    to_layout,
)
from ..protocol import Built, Inputs, Result, SubjectUnavailable
from ..torch_module import TorchModule, import_torch, one_thread
from ..torch_parameters import CONVENTIONS
from ..torch_subject import TorchLayer, depth_arguments
from .onnxruntime import import_runtime, session

FAMILIES = {"torch-export": ("torch",), "torch-onnx": ("torch", "onnx", "onnxruntime")}
INSTALL = "torch onnx onnxruntime"

LENGTHS = "lengths"


class ExportedLayer(TorchLayer):
    """A layer exported by ``torch.export``: its operators and its parameters."""

    def build(self, case: Case) -> TorchModule:
        """Return the layer; it is exported once for every shape of its input."""
        programs: dict[object, Any] = {}

        def call(
            torch: Any, module: Any, x: Any, state: Any, lengths: Floats | None
        ) -> tuple[Any, tuple[Any, ...]]:
            if x.shape[1 if case.layout == "batch-first" else 0] > LONGEST:
                raise NotImplementedError(f"programs of more than {LONGEST} steps take too long")
            arguments = (x,) if state is None else (x, state)
            key = x.shape, state is None
            if key not in programs:
                programs[key] = self._exported(torch, module, arguments)
            parameters = dict(module.named_parameters())
            y, *final = torch.func.functional_call(programs[key], parameters, arguments)
            return y, tuple(final[0]) if isinstance(final[0], tuple | list) else tuple(final)

        return TorchModule(self.module(import_torch(), case), case, call)

    def caller(self, case: Case) -> str:
        """Return "": scripts of failures call gatewise's adapter."""
        return ""

    def _exported(self, torch: Any, module: Any, arguments: Any) -> Any:
        """Return the program's module; SubjectUnavailable unless it runs the layer's operator."""
        program = torch.export.export(module, arguments)
        operators = [
            node.target.overloadpacket.__name__
            for node in program.graph.nodes
            if isinstance(node.target, torch._ops.OpOverload)
        ]
        if operators.count(OPERATORS[self.kind]) != 1:  # beside it are zeros, of states left out
            raise SubjectUnavailable(
                f"expected one operator {OPERATORS[self.kind]}, got {operators}"
            )
        return program.module()


LONGEST = 32
"""The most steps of an exported program: tracing takes some 8 ms for each, though all are one
operator."""

OPERATORS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_tanh"}


@dataclass(frozen=True)
class OnnxLayer(FrameworkSubject):
    """A layer, ``kind`` of torch.nn, as torch writes it to a file, run by ONNX Runtime."""

    kind: str = field(kw_only=True)

    def version(self) -> str:
        imported("onnx", INSTALL)
        return f"torch {import_torch().__version__}, onnxruntime {import_runtime().__version__}"

    def build(self, case: Case) -> Built:
        """Return the layer; it writes a file for every set of parameters."""
        torch = import_torch()
        options = depth_arguments(case) | {"bias": case.bias}
        layer = getattr(torch.nn, self.kind)(case.D, case.H, **options)

        def make(inputs: Inputs) -> Any:
            module = _callable(torch, layer, packs=inputs.lengths is not None)
            with one_thread(torch), torch.no_grad():
                for name, parameter in layer.named_parameters():
                    parameter.copy_(torch.from_numpy(inputs.parameters[name]))
                return self._session(torch, module, case, self._feeds(case, inputs))

        session_for = OncePerParameters(make, optional_inputs)

        def run(inputs: Inputs) -> Result:
            y, *final = session_for(inputs).run(None, self._feeds(case, inputs))
            return Result(from_layout(case, y), tuple(final))

        return Plain(run)

    def _session(self, torch: Any, module: Any, case: Case, feeds: Mapping[str, Floats]) -> Any:
        """Write the file; SubjectUnavailable unless it has one operator for each layer."""
        file = io.BytesIO()
        rows = 0 if case.layout == "batch-first" else 1
        torch.onnx.export(
            module,
            tuple(torch.from_numpy(array) for array in feeds.values()),
            file,
            dynamo=False,
            input_names=list(feeds),
            dynamic_axes={
                "x": {rows: "B", 1 - rows: "T"},
                LENGTHS: {0: "B"},
                "h": {1: "B"},
                "c": {1: "B"},
            },
        )
        nodes = imported("onnx", INSTALL).load_from_string(file.getvalue()).graph.node
        if [node.op_type for node in nodes].count(self.kind) != case.layers:
            raise SubjectUnavailable(f"expected {case.layers} {self.kind} operators in the file")
        return session(file.getvalue())

    def _feeds(self, case: Case, inputs: Inputs) -> dict[str, Floats]:
        """Return the inputs of the file: x, and lengths and states if there are any."""
        feeds = {"x": to_layout(case, inputs.x)} | (
            {} if inputs.lengths is None else {LENGTHS: inputs.lengths}
        )
        feeds |= dict(zip(self.convention.states, inputs.state or (), strict=False))
        return {name: np.ascontiguousarray(array) for name, array in feeds.items()}


def _callable(torch: Any, layer: Any, *, packs: bool) -> Any:
    """Return a module that calls the layer with (x, states) or, packed, (x, lengths, states)."""
    rnn, first = torch.nn.utils.rnn, layer.batch_first

    class Wrapper(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Any, *others: Any) -> Any:
            sequence, states = x, others
            if packs:
                lengths, states = others[0], others[1:]
                sequence = rnn.pack_padded_sequence(
                    x, lengths, batch_first=first, enforce_sorted=False
                )
            state = () if not states else states if len(states) > 1 else states[0]
            y, final = self.layer(sequence, *([state] if states else []))
            if packs:
                steps = x.shape[int(first)]
                y, _ = rnn.pad_packed_sequence(y, batch_first=first, total_length=steps)
            return y, *(final if isinstance(final, tuple) else (final,))

    return Wrapper().eval()


_EXPORT = Options(
    lengths=False,
    batch_first=True,
    unbatched=True,
    reasons=(("lengths", "torch.export takes no packed sequences"),),
)
_ONNX = Options(
    gradient=False,
    batch_first=True,
    reasons=(
        ("gradient", "an inference engine"),
        ("projection", "the exporter refuses it"),
        ("zero_length", "torch does not pack them"),
        ("unbatched", "the file is written for rows"),
    ),
)


def _exported(kind: str, options: Options) -> ExportedLayer:
    return ExportedLayer(f"torch-export:{kind}", CONVENTIONS[kind.lower()], options, kind=kind)


def _onnx(kind: str, order: str, recurrent_bias: str) -> OnnxLayer:
    states = ("h", "c") if kind == "LSTM" else ("h",)
    bias = (order, recurrent_bias)
    convention = Convention(
        kind.lower(),
        order,
        bias,
        time="first",
        states=states,
        padding="zeros",
        empty_row="error",
        merge="concatenated",
    )
    return OnnxLayer(f"torch-onnx:{kind}", convention, _ONNX, ("float32",), kind=kind)


SUBJECTS = (
    _exported("RNN", _EXPORT),
    _exported("LSTM", replace(_EXPORT, projection=True)),
    _exported("GRU", _EXPORT),
    _onnx("RNN", "a", "a"),
    _onnx("LSTM", "ifgo", "ifgo"),
    _onnx("GRU", "rzn", "rzm"),
)
