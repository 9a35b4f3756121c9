"""Keras's ``LSTM``, ``GRU`` and ``SimpleRNN``, on the backend that ``KERAS_BACKEND`` names.

The default is torch. Input has the batch first; lengths are a mask. Beyond a row's length the last
output is repeated, or 0 in ``Bidirectional``; a row of length 0 keeps its initial state. The
backend, torch or JAX, computes gradients.

Only TensorFlow computes in float64. With other backends ``keras.ops.matmul`` of two float64 arrays
computes in float32, and layers with dtype="float64" silently return float64 arrays of float32
numbers (keras-team/keras#23704); LSTM and GRU on torch without a mask take a path that does not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ....reference.arrays import Floats
from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ...conventions.file_layout import Stored
from ...conventions.parameter_map import suffixes
from ..framework import Plain, imported, within
from ..protocol import Built, Cotangents, Inputs, Pulled, Result, SubjectUnavailable
from ..torch_module import gradients
from . import jax_arrays

FAMILIES = {"keras": ("keras",)}

BACKEND = os.environ.get("KERAS_BACKEND", "torch")
INSTALL = f"keras {BACKEND}"
WITH_GRADIENTS = ("torch", "jax")
DTYPES = ("float64", "float32") if BACKEND == "tensorflow" else ("float32",)


@dataclass(frozen=True)
class KerasLayer(jax_arrays.JaxSubject):
    """A layer of ``keras.layers``, in ``Bidirectional`` for two directions."""

    kind: str = ""
    reset_after: bool | None = None

    install: ClassVar[str] = INSTALL

    def version(self) -> str:
        keras, backend = self._keras(), imported(BACKEND, self.install)
        return f"keras {keras.__version__} ({BACKEND} {backend.__version__})"

    @property
    def stored(self) -> Stored:
        """The variables' paths within the layer, without the layer's name."""
        names = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel"}
        layer = "simple_rnn" if self.kind == "SimpleRNN" else self.kind.lower()
        arrays = (packed.name for packed in self.convention.arrays())
        keys = ((a, f"{{direction}}{layer}_cell/{names.get(a, 'bias')}") for a in arrays)
        directions = ("", f"forward_{layer}*/", f"backward_{layer}*/")
        return Stored(tuple(keys), directions, joined="stacked")

    def build(self, case: Case) -> Built:
        keras = self._keras()
        if BACKEND == "jax":
            return super().build(case)
        function = self.function(case)
        torch = imported("torch", self.install) if BACKEND == "torch" else None
        return Plain(
            partial(_forward, keras, function),
            partial(_gradients, torch, function) if torch is not None else None,
        )

    def function(self, case: Case) -> jax_arrays.Function:
        keras = self._keras()
        layer = self._layer(keras, case)
        variables = {v.path: v for v in layer.trainable_variables}
        others = list(layer.non_trainable_variables)
        array_names = self._variables(case, layer)

        def run(parameters: Mapping[str, Any], x: Any, state: Any, lengths: Any) -> Any:
            arrays = {
                path: _joined(keras, [parameters[name] for name in names], variables[path].shape)
                for path, names in array_names.items()
            }
            values = [arrays[path] for path in variables]
            more: dict[str, Any] = {}
            if lengths is not None:
                more["mask"] = keras.ops.arange(x.shape[0]) < lengths[:, None]
            if state is not None:
                more["initial_state"] = [s[k] for k in range(case.directions) for s in state]
            x = keras.ops.swapaxes(x, 0, 1)
            (y, *final), _ = layer.stateless_call(values, others, x, **more)
            count = len(final) // case.directions
            states = [keras.ops.stack(final[k::count]) for k in range(count)]
            return keras.ops.swapaxes(y, 0, 1), tuple(states)

        return run

    def _keras(self) -> Any:
        os.environ.setdefault("KERAS_BACKEND", BACKEND)  # Keras reads it when it is imported
        imported(BACKEND, self.install)
        keras = imported("keras", self.install)
        if keras.backend.backend() != BACKEND:
            raise SubjectUnavailable(
                f"Keras runs on {keras.backend.backend()}, not on {BACKEND}: it was imported before"
            )
        return keras

    def _layer(self, keras: Any, case: Case) -> Any:
        more = {} if self.reset_after is None else {"reset_after": self.reset_after}
        layer = getattr(keras.layers, self.kind)(
            case.H, use_bias=case.bias, dtype=case.dtype, return_sequences=True, return_state=True,
            kernel_initializer="zeros", recurrent_initializer="zeros", **more,
        )  # fmt: skip
        if case.bidirectional:
            layer = keras.layers.Bidirectional(layer, dtype=case.dtype)
        layer.build((None, None, case.D))
        return layer

    def _variables(self, case: Case, layer: Any) -> dict[str, list[str]]:
        """Return the convention's arrays that each of the layer's variables holds."""
        layers = [layer.forward_layer, layer.backward_layer] if case.bidirectional else [layer]
        names: dict[str, list[str]] = {}
        for suffix, part in zip(suffixes(case), layers, strict=True):
            kernels = {"weight_ih": part.cell.kernel, "weight_hh": part.cell.recurrent_kernel}
            for packed in self.convention.arrays(bias=case.bias):
                variable = kernels.get(packed.name, part.cell.bias)
                names.setdefault(variable.path, []).append(packed.name + suffix)
        return names


def _joined(keras: Any, arrays: list[Any], shape: Any) -> Any:
    """Return the one array, or stack the two biases of a GRU that resets after the product."""
    joined = arrays[0] if len(arrays) == 1 else keras.ops.stack(arrays)
    if tuple(joined.shape) != tuple(shape):
        raise ValueError(f"expected shape {tuple(shape)}, got {tuple(joined.shape)}")
    return joined


def _forward(keras: Any, function: Callable[..., Any], inputs: Inputs) -> Result:
    """Run the layer by Keras's own operations, on any backend."""
    tensor, array = keras.ops.convert_to_tensor, keras.ops.convert_to_numpy
    converted = inputs.map(lambda numbers: tensor(np.ascontiguousarray(numbers)))
    lengths = None if inputs.lengths is None else tensor(inputs.lengths.astype(np.int32))
    y, final = function(converted.parameters, converted.x, converted.state, lengths)
    return Result(within(array(y), inputs.lengths), tuple(map(array, final)))


def _gradients(
    torch: Any, function: jax_arrays.Function, inputs: Inputs, cotangents: Sequence[Cotangents]
) -> list[Pulled]:
    """Run the layer on torch, and pull cotangents back by its autograd."""

    def tensor(array: Floats) -> Any:
        return torch.tensor(np.ascontiguousarray(array))

    leaves = {name: tensor(array).requires_grad_() for name, array in inputs.leaves.items()}
    state = tuple(leaves[f"state {k}"] for k in range(len(inputs.state or ())))
    lengths = None if inputs.lengths is None else torch.tensor(inputs.lengths)
    y, final = function(leaves, leaves["x"], state or None, lengths)
    arrays = [output.detach().numpy() for output in (y, *final)]
    result, pulled = Result(within(arrays[0], inputs.lengths), tuple(arrays[1:])), []
    for dy, dfinal in cotangents:
        inside = None if dy is None else within(dy, inputs.lengths)
        pairs = [
            (output, tensor(d))
            for output, d in zip((y, *final), (inside, *dfinal), strict=True)
            if d is not None and output.requires_grad
        ]
        named = {name: d.numpy() for name, d in gradients(torch, pairs, leaves).items()}
        pulled.append(Pulled.of_leaves(result, named))
    return pulled


_OPTIONS = Options(
    layers=False,
    zero_length=True,
    gradient=BACKEND in WITH_GRADIENTS,
    jvp=BACKEND == "jax",
    batch_first=True,
    reasons=(
        ("gradient", f"gatewise takes them from {' and '.join(WITH_GRADIENTS)} only"),
        ("jvp", "gatewise takes them from jax only"),
    ),
)


def _convention(family: str, order: str, *bias: str, reset: str = "after") -> Convention:
    return Convention(
        family, order, bias, layout="in-out", reset=reset, time="second", padding="repeats",
        states=("h", "c") if family == "lstm" else ("h",), empty_row="initial state",
        merge="concatenated",
    )  # fmt: skip


SUBJECTS = (
    KerasLayer("keras:LSTM", _convention("lstm", "ifgo", "ifgo"), _OPTIONS, DTYPES, kind="LSTM"),
    KerasLayer(
        "keras:GRU",
        _convention("gru", "zrn", "zrn", "zrm"),
        _OPTIONS,
        DTYPES,
        kind="GRU",
        reset_after=True,
    ),
    KerasLayer(
        "keras:GRU-reset-before",
        _convention("gru", "zrn", "zrn", reset="before"),
        _OPTIONS,
        DTYPES,
        kind="GRU",
        reset_after=False,
    ),
    KerasLayer("keras:RNN", _convention("rnn", "a", "a"), _OPTIONS, DTYPES, kind="SimpleRNN"),
)
