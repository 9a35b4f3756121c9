"""ncnn's ``RNN``, ``LSTM`` and ``GRU`` layers, on the CPU, in float32.

ncnn runs one sequence, so the adapter loops over the rows of a batch. It reads networks from two
files, so for every call the adapter writes those of one layer into a temporary directory. Rows are
copied: ``ncnn.Mat`` ignores the strides of an array, and would read other numbers.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ...conventions.file_layout import Stored
from ..framework import FrameworkSubject, Plain, by_pass, imported
from ..protocol import Built, Inputs, Result, SubjectUnavailable

FAMILIES = {"ncnn": ("ncnn",)}
INSTALL = "ncnn"

REDUCED = (
    "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage",
    "use_bf16_packed", "use_int8_inference", "use_vulkan_compute",
)  # fmt: skip
"""Options of a network that may compute in another arithmetic than float32."""

VERSION_OF_FILES = 7767517
"""The first line of a network's file."""

UNENCODED = np.zeros(1, np.uint32)
"""The header of weights in plain float32."""


@dataclass(frozen=True)
class NcnnLayer(FrameworkSubject):
    """A recurrent layer of ncnn."""

    kind: str = ""

    def version(self) -> str:
        return f"ncnn {imported('ncnn', INSTALL).__version__}, CPU, float32 storage and arithmetic"

    @property
    def stored(self) -> Stored:
        """The names in ncnn's table of operators; its files hold the arrays without names."""
        names = (("weight_ih", "weight_xc"), ("bias", "bias_c"), ("weight_hh", "weight_hc"))
        arrays = (*names, ("weight_hr", "weight_hr"))
        return Stored(tuple((a, f"{name}_data") for a, name in arrays), axis=True)

    def build(self, case: Case) -> Built:
        """Return a layer that builds a network for each call, and runs it row by row."""
        ncnn = imported("ncnn", INSTALL)

        def run(inputs: Inputs) -> Result:
            net = self._net(ncnn, case, inputs)
            states = inputs.state or ()
            rows = [
                self._row(ncnn, net, inputs.x[:, b], [s[:, b] for s in states])
                for b in range(inputs.x.shape[1])
            ]
            y, *final = (np.stack(parts, axis=1) for parts in zip(*rows, strict=True))
            return Result(y, tuple(final))

        return Plain(run)

    def _net(self, ncnn: Any, case: Case, inputs: Inputs) -> Any:
        """Return the network, with initial states as inputs if there are any."""
        net = ncnn.Net()
        for name in REDUCED:
            setattr(net.opt, name, False)
        net.opt.num_threads = 1
        with tempfile.TemporaryDirectory() as folder:
            graph, weights = Path(folder, "layer.param"), Path(folder, "layer.bin")
            graph.write_text(self._graph(case, with_states=inputs.state is not None))
            weights.write_bytes(_weights(case, inputs))
            if net.load_param(str(graph)) or net.load_model(str(weights)):
                raise RuntimeError(f"ncnn refused the network of {self.kind}")
        for name in REDUCED:
            if getattr(net.opt, name):
                raise SubjectUnavailable(f"ncnn: {name} could not be switched off")
        return net

    def _graph(self, case: Case, *, with_states: bool) -> str:
        """Return the network's text: inputs, and the layer with its sizes and direction."""
        states = self.convention.states
        bottoms = ["x", *(f"{s}0" for s in states if with_states)]
        tops = ["y", *states]
        size = case.D * case.H * len(self.convention.order) * case.directions
        inputs = [f"Input {name} 0 1 {name}" for name in bottoms]
        layer = (
            f"{self.kind} layer {len(bottoms)} {len(tops)} {' '.join(bottoms + tops)} "
            f"0={case.P or case.H} 1={size} 2={2 if case.bidirectional else 0} 3={case.H}"
        )
        counts = f"{len(bottoms) + 1} {len(bottoms) + len(tops)}"
        return "\n".join([str(VERSION_OF_FILES), counts, *inputs, layer, ""])

    def _row(self, ncnn: Any, net: Any, x: Floats, states: list[Floats]) -> list[Floats]:
        """Run one row: x (T, D) and states (directions, H)."""
        extractor = net.create_extractor()
        extractor.set_light_mode(False)
        names = self.convention.states
        arrays = [np.ascontiguousarray(array) for array in (x, *states)]
        for name, array in zip(["x", *(f"{s}0" for s in names)], arrays, strict=False):
            extractor.input(name, ncnn.Mat(array))
        outputs = []
        for name in ("y", *names):
            code, mat = extractor.extract(name)
            if code:
                raise RuntimeError(f"ncnn returned {code} for {name}")
            outputs.append(np.array(mat))
        return outputs


def _weights(case: Case, inputs: Inputs) -> bytes:
    """Return the file of weights: W, bias, U and the projection, each of all directions."""
    passes = by_pass(case, inputs.parameters)
    parts = []
    for name in ("weight_ih", "bias", "weight_hh", *(["weight_hr"] if case.P else [])):
        stacked = np.stack([p[name] for p in passes]).astype(np.float32)
        parts += [UNENCODED.tobytes(), stacked.tobytes()]
    return b"".join(parts)


_OPTIONS = Options(
    layers=False,
    bias=False,
    lengths=False,
    gradient=False,
    reasons=(("bias", "the layers always have one"), ("gradient", "ncnn is for inference")),
)
_RNN = Convention("rnn", "a", ("a",), states=("h",), merge="concatenated")
_LSTM = Convention("lstm", "ifog", ("ifog",), states=("h", "c"), merge="concatenated")
_GRU = Convention("gru", "rzn", ("rznm",), states=("h",), merge="concatenated")
_SINGLE = ("float32",)

SUBJECTS = (
    NcnnLayer("ncnn:RNN", _RNN, _OPTIONS, _SINGLE, "RNN"),
    NcnnLayer("ncnn:LSTM", _LSTM, replace(_OPTIONS, projection=True), _SINGLE, "LSTM"),
    NcnnLayer("ncnn:GRU", _GRU, _OPTIONS, _SINGLE, "GRU"),
)
