"""``mlx.nn.RNN``, ``LSTM`` and ``GRU``, on the CPU.

They take the batch axis first, or none; for time-first cases the adapter exchanges the axes. They
have neither layers, directions nor lengths, and return no final state; the adapter takes the state
of the last step.

In float64, MLX 0.32 computes ``exp`` and ``sigmoid`` to the accuracy of float32 (ml-explore/mlx
issue 3047 names exp, sin and cos), so of the three layers only RNN really computes in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ...conventions.file_layout import Stored
from ..framework import FrameworkSubject, imported, result_of
from ..protocol import Built, Cotangents, Inputs, Pulled, Result

FAMILIES = {"mlx": ("mlx",)}
INSTALL = "'mlx[cpu]'"


@dataclass(frozen=True)
class MlxLayer(FrameworkSubject):
    """A layer of mlx.nn; ``attributes`` are MLX's names of the convention's arrays."""

    kind: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    nonlinearity: str = ""

    def version(self) -> str:
        return f"mlx {imported('mlx.core', INSTALL).__version__}, CPU"

    @property
    def stored(self) -> Stored:
        return Stored(self.attributes)

    def build(self, case: Case) -> Built:
        mx, nn = imported("mlx.core", INSTALL), imported("mlx.nn", INSTALL)
        arguments: dict[str, Any] = {"bias": case.bias}
        if self.nonlinearity:
            arguments["nonlinearity"] = getattr(nn, self.nonlinearity)
        with mx.stream(mx.cpu):
            return _Layer(mx, getattr(nn, self.kind)(case.D, case.H, **arguments), case, self)


@dataclass(frozen=True)
class _Layer:
    mx: Any
    module: Any
    case: Case
    subject: MlxLayer

    def forward(self, inputs: Inputs) -> Result:
        with self.mx.stream(self.mx.cpu):
            return result_of(self._outputs(self._leaves(inputs)))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Pull every pair back; MLX records no graph, so it runs the layer again for each."""
        with self.mx.stream(self.mx.cpu):
            leaves = self._leaves(inputs)
            result = result_of(self._outputs(leaves))
            return [self._pulled(result, leaves, dy, dfinal) for dy, dfinal in cotangents]

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        with self.mx.stream(self.mx.cpu):
            leaves, along = self._leaves(inputs), self._leaves(tangents)
            _, derivative = self.mx.jvp(
                lambda *arrays: self._outputs(dict(zip(leaves, arrays, strict=True))),
                list(leaves.values()),
                list(along.values()),
            )
            return result_of(derivative)

    def train(self, training: bool) -> None:
        raise NotImplementedError("it has no modes")

    def _array(self, array: Floats) -> Any:
        """Return MLX's array; without the dtype it would convert float64 to float32."""
        return self.mx.array(array, dtype=getattr(self.mx, str(array.dtype)))

    def _leaves(self, inputs: Inputs) -> dict[str, Any]:
        """Return all arrays of which gradients are computed, by name."""
        return {name: self._array(array) for name, array in inputs.leaves.items()}

    def _outputs(self, leaves: Mapping[str, Any]) -> list[Any]:
        """Call the layer, and return y (T, B, H) and the final states (1, B, H)."""
        for name, attribute in self.subject.attributes:
            if f"{name}_l0" in leaves:
                setattr(self.module, attribute, leaves[f"{name}_l0"])
        alone = self.case.layout == "unbatched"
        states = [leaves[name] for name in sorted(leaves) if name.startswith("state ")]
        x = leaves["x"][:, 0] if alone else leaves["x"].swapaxes(0, 1)
        called = self.module(x, *(s[0, 0] if alone else s[0] for s in states))
        histories = called if isinstance(called, tuple) else (called,)
        if alone:
            histories = tuple(history[None] for history in histories)
        return [histories[0].swapaxes(0, 1), *(history[:, -1][None] for history in histories)]

    def _pulled(
        self, result: Result, leaves: Mapping[str, Any], dy: Any, dfinal: Sequence[Any]
    ) -> Pulled:
        """Differentiate the outputs that have a cotangent."""
        directions = {k: self._array(d) for k, d in enumerate((dy, *dfinal)) if d is not None}

        def function(*arrays: Any) -> list[Any]:
            outputs = self._outputs(dict(zip(leaves, arrays, strict=True)))
            return [outputs[k] for k in directions]

        gradients = [self.mx.zeros_like(leaf) for leaf in leaves.values()]
        if directions:
            _, gradients = self.mx.vjp(function, list(leaves.values()), list(directions.values()))
        named = {name: np.array(d) for name, d in zip(leaves, gradients, strict=True)}
        return Pulled.of_leaves(result, named)


_OPTIONS = Options(
    layers=False,
    bidirectional=False,
    lengths=False,
    batch_first=True,
    unbatched=True,
    jvp=True,
    reasons=(
        ("lengths", "the layers of mlx.nn take no lengths and no mask"),
        ("no_steps", "mlx.core.stack of no arrays raises"),
    ),
)
_IN_LSTM = (("weight_ih", "Wx"), ("weight_hh", "Wh"), ("bias", "bias"))
_IN_GRU = (("weight_ih", "Wx"), ("weight_hh", "Wh"), ("bias", "b"), ("bias_hn", "bhn"))
_IN_RNN = (("weight_ih", "Wxh"), ("weight_hh", "Whh"), ("bias", "bias"))
_RNN = Convention("rnn", "a", ("a",), time="second", states=("h",))
_RELU = Convention("rnn", "a", ("a",), candidate="relu", time="second", states=("h",))
_LSTM = Convention("lstm", "ifgo", ("ifgo",), time="second", states=("h", "c"))
_GRU = Convention("gru", "rzn", ("rzn", "m"), time="second", states=("h",))
_BOTH, _SINGLE = ("float64", "float32"), ("float32",)

SUBJECTS = (
    MlxLayer("mlx:RNN", _RNN, _OPTIONS, _BOTH, "RNN", _IN_RNN),
    MlxLayer("mlx:RNN-relu", _RELU, _OPTIONS, _BOTH, "RNN", _IN_RNN, "relu"),
    MlxLayer("mlx:LSTM", _LSTM, _OPTIONS, _SINGLE, "LSTM", _IN_LSTM),
    MlxLayer("mlx:GRU", _GRU, _OPTIONS, _SINGLE, "GRU", _IN_GRU),
)
