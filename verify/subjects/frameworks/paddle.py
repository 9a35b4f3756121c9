"""``paddle.nn.SimpleRNN``, ``LSTM`` and ``GRU``, on the CPU.

Parameters are set in the cells, not by the layer's names (``weight_ih_l0``, ...): Paddle assigns
those in order, so with ``proj_size`` ``weight_ih_l0_reverse`` is the forward cell's projection
(Paddle issue 70245). Omitted biases (``bias_ih_attr=False``) and input of no steps end the process,
and are not offered.

Checks show three errors of Paddle 3.3.1. In two directions, with rows of different
lengths and an initial state that is not 0, the gradient of the backward direction's weight_hh is
wrong, in a GRU also those of its other parameters, of x and of the initial state. Padding is
masked by a product with 0, so nan in it spreads. A GRU's gradients are nan where its reset gate
underflows.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ...conventions.file_layout import Stored
from ..framework import FrameworkSubject, flat, imported, pulled_back, within
from ..protocol import Built, Cotangents, Inputs, Pulled, Result

FAMILIES = {"paddle": ("paddle",)}
INSTALL = "paddlepaddle"


@dataclass(frozen=True)
class PaddleLayer(FrameworkSubject):
    """A layer of paddle.nn: stacked, bidirectional, with sequence_length."""

    kind: str = ""
    activation: str = ""

    def version(self) -> str:
        return f"paddle {_paddle().__version__}, CPU"

    @property
    def stored(self) -> Stored:
        """The cells' names in ``state_dict``, which repeats them under the layer's."""
        names = {"weight_hr": "weight_ho"}
        arrays = [packed.name for packed in self.convention.arrays()]
        keys = ((a, f"{{layer}}.cell{{direction}}.{names.get(a, a)}") for a in [*arrays, *names])
        return Stored(tuple(keys), ("", "_fw", "_bw"), turned=("weight_hr",))

    def build(self, case: Case) -> Built:
        paddle = _paddle()
        arguments: dict[str, Any] = {
            "num_layers": case.layers,
            "direction": "bidirect" if case.bidirectional else "forward",
            "time_major": case.layout != "batch-first",
            "dropout": case.dropout,
        }
        arguments |= {"activation": self.activation} if self.activation else {}
        arguments |= {"proj_size": case.P} if case.P else {}
        before = paddle.get_default_dtype()
        paddle.set_default_dtype(case.dtype)
        try:
            module = getattr(paddle.nn, self.kind)(case.D, case.H, **arguments)
        finally:
            paddle.set_default_dtype(before)
        return _Layer(paddle, module, _stored(module), case)


@dataclass(frozen=True)
class _Layer:
    paddle: Any
    module: Any
    stored: Mapping[str, Any]
    case: Case

    def forward(self, inputs: Inputs) -> Result:
        with self.paddle.no_grad():
            return self._result(self._outputs(self._leaves(inputs), inputs.lengths), inputs)

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Run once, and pull every pair of cotangents back by autograd."""
        leaves = self._leaves(inputs)
        outputs = self._outputs(leaves, inputs.lengths)
        result = self._result(outputs, inputs)
        return [
            self._pulled(result, leaves, outputs, (self._with_zero_padding(dy, inputs), *ends))
            for dy, ends in cotangents
        ]

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        raise NotImplementedError("it has no forward mode")

    def train(self, training: bool) -> None:
        (self.module.train if training else self.module.eval)()

    def _with_zero_padding(self, dy: Floats | None, inputs: Inputs) -> Floats | None:
        """Return the cotangent of y, with zeros beyond a row's length if the adapter puts them."""
        return within(dy, inputs.lengths) if self.case.P and dy is not None else dy

    def _result(self, outputs: Sequence[Any], inputs: Inputs) -> Result:
        y, *final = (np.array(output.numpy()) for output in outputs)
        return Result(within(y, inputs.lengths) if self.case.P else y, tuple(final))

    def _tensor(self, array: Floats) -> Any:
        """Return a tensor of the same numbers, with the same strides if the array has gaps."""
        if array.flags.c_contiguous or array.size == 0:
            return self.paddle.to_tensor(array)
        buffer, strides = flat(array)
        return self.paddle.as_strided(self.paddle.to_tensor(buffer), list(array.shape), strides)

    def _leaves(self, inputs: Inputs) -> dict[str, Any]:
        """Set the parameters, and return all tensors of which gradients are computed, by name."""
        for name, array in inputs.parameters.items():
            self.stored[name].set_value(array.T if "weight_hr" in name else array)
        leaves = {
            name: self.stored[name] if name in inputs.parameters else self._tensor(array)
            for name, array in inputs.leaves.items()
        }
        for leaf in leaves.values():
            leaf.stop_gradient = False
        return leaves

    def _outputs(self, leaves: Mapping[str, Any], lengths: Floats | None) -> list[Any]:
        """Call the layer, and return y (T, B, width) and the final states."""
        turned = self.case.layout == "batch-first"
        states = [leaf for name, leaf in leaves.items() if name.startswith("state ")]
        hx = None if not states else states[0] if len(states) == 1 else tuple(states)
        ends = None if lengths is None else self.paddle.to_tensor(lengths)
        x = leaves["x"].transpose([1, 0, 2]) if turned else leaves["x"]
        y, final = self.module(x, hx, ends)
        y = y.transpose([1, 0, 2]) if turned else y
        return [y, *(final if isinstance(final, list | tuple) else (final,))]

    def _pulled(
        self,
        result: Result,
        leaves: Mapping[str, Any],
        outputs: Sequence[Any],
        cotangents: Sequence[Floats | None],
    ) -> Pulled:
        def gradient(heads: list[Any], along: list[Any], directions: list[Any]) -> Sequence[Any]:
            tensors = [self._tensor(d) for d in directions]
            pulled = self.paddle.grad(heads, along, tensors, retain_graph=True, allow_unused=True)
            return [None if d is None else d.numpy() for d in pulled]

        pulled = pulled_back(result, leaves, list(zip(outputs, cotangents, strict=True)), gradient)
        named = {n: d.T if "weight_hr" in n else d for n, d in pulled.parameters.items()}
        return replace(pulled, parameters=named)


def _paddle() -> Any:
    """Return paddle on the CPU, without its warnings of missing compilers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paddle = imported("paddle", INSTALL)
    paddle.device.set_device("cpu")
    return paddle


def _stored(module: Any) -> dict[str, Any]:
    """Return the tensors of every cell by the convention's names."""
    stored = {}
    for number, layer in enumerate(module):
        single = hasattr(layer, "cell")
        for direction, cell in enumerate(
            [layer.cell] if single else [layer.cell_fw, layer.cell_bw]
        ):
            suffix = f"_l{number}" + ("_reverse" if direction else "")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                stored[name + suffix] = getattr(cell, name)
            if hasattr(cell, "weight_ho"):  # (H, P), the transpose of weight_hr
                stored[f"weight_hr{suffix}"] = cell.weight_ho
    return stored


_NO_BIAS = "bias_ih_attr=False is taken, and the call ends the process; Paddle issue 70231"
_OPTIONS = Options(
    bias=False,
    zero_length=True,
    batch_first=True,
    dropout=True,
    reasons=(("bias", _NO_BIAS), ("no_steps", "a division by zero ends the process")),
)
_CALLED: dict[str, Any] = {
    "padding": "zeros",
    "empty_row": "initial state",
    "merge": "concatenated",
    "time": "second",
}
_RNN = Convention("rnn", "a", ("a", "a"), states=("h",), **_CALLED)
_RELU = replace(_RNN, candidate="relu")
_LSTM = Convention("lstm", "ifgo", ("ifgo", "ifgo"), states=("h", "c"), **_CALLED)
_GRU = Convention("gru", "rzn", ("rzn", "rzm"), states=("h",), **_CALLED)
_BOTH = ("float64", "float32")

SUBJECTS = (
    PaddleLayer("paddle:RNN", _RNN, _OPTIONS, _BOTH, "SimpleRNN"),
    PaddleLayer("paddle:RNN-relu", _RELU, _OPTIONS, _BOTH, "SimpleRNN", "relu"),
    PaddleLayer("paddle:LSTM", _LSTM, replace(_OPTIONS, projection=True), _BOTH, "LSTM"),
    PaddleLayer("paddle:GRU", _GRU, _OPTIONS, _BOTH, "GRU"),
)
