"""PyTorch's dynamically quantised LSTM and GRU: ``torch.ao.nn.quantized.dynamic``, int8 weights.

``torch.ao.quantization.quantize_dynamic`` converts torch.nn's layers. Weights have one scale for
each matrix, 1/127.5 of the largest magnitude; the engine quantises activations in 7 bits, with one
range for the whole input of a layer, and one for the hidden states of all rows in each step; their
scales are at least 6.1e-5.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...cases.case import Case
from ...cases.options import Options
from ...conventions.parameter_map import ConventionMap
from ..framework import FrameworkSubject, OncePerParameters, Plain, optional_inputs
from ..protocol import Inputs, Result
from ..torch_module import import_torch, one_thread
from ..torch_parameters import CONVENTIONS, TorchMap

FAMILIES = {"torch-quantised": ("torch",)}
INSTALL = "torch"

OPTIONS = Options(
    lengths=False,
    bias=False,
    gradient=False,
    reasons=(
        ("lengths", "packed rows are not held"),
        ("bias", "quantisation needs the biases"),
        ("gradient", "quantised tensors have none"),
    ),
)


@dataclass(frozen=True)
class QuantisedTorch(FrameworkSubject):
    """A layer of torch.nn after ``quantize_dynamic``, in torch's default engine."""

    kind: str = field(kw_only=True)
    quantised: str = field(kw_only=True)

    def version(self) -> str:
        """Return the version, and the engine."""
        torch = import_torch()
        return f"torch {torch.__version__}, {torch.backends.quantized.engine}"

    def parameter_map(self, case: Case) -> ConventionMap:
        """Return torch's map."""
        return TorchMap(self.convention, case)

    def build(self, case: Case) -> Plain:
        """Return the layer; it is quantised again for other parameters."""
        torch = import_torch()

        def make(inputs: Inputs) -> Any:
            layer = getattr(torch.nn, self.kind)(
                case.D, case.H, num_layers=case.layers, bidirectional=case.bidirectional
            )
            named = {n: torch.from_numpy(np.array(a)) for n, a in inputs.parameters.items()}
            layer.load_state_dict(named)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # all of torch.ao is deprecated
                quantised = torch.ao.quantization.quantize_dynamic(
                    torch.nn.Sequential(layer), {type(layer)}, dtype=torch.qint8
                )
            return quantised[0]

        layer_for = OncePerParameters(make, optional_inputs)

        def run(inputs: Inputs) -> Result:
            layer, x = layer_for(inputs), torch.from_numpy(np.array(inputs.x))
            state = inputs.state and tuple(torch.from_numpy(np.array(s)) for s in inputs.state)
            hx = state[0] if state and self.kind == "GRU" else state
            with torch.no_grad(), one_thread(torch):
                y, final = layer(x, hx) if state else layer(x)
            finals = final if isinstance(final, tuple) else (final,)
            return Result(y.numpy(), tuple(s.numpy() for s in finals))

        return Plain(run)


ARITHMETIC = (
    "weights=8, weight_levels=127.5, activations=8, activation_levels=127, least_scale=6.1e-05"
)

SUBJECTS = tuple(
    QuantisedTorch(
        f"torch-quantised:{kind}", CONVENTIONS[kind.lower()], OPTIONS, ("float32",),
        kind=kind, quantised=ARITHMETIC,
    )
    for kind in ("LSTM", "GRU")
)  # fmt: skip
