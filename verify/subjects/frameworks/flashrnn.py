"""FlashRNN's ``flashrnn`` with the functions lstm, gru and elman, on the CPU.

It takes W x, with an axis for the gates, U and the bias; the adapter computes the product with W in
torch. It has one head here: with more, U is block-diagonal. The function slstm is no LSTM: its
gates are exponential, and the reference has no such cell.

Two of its backends need no GPU: ``vanilla``, differentiated by torch, and, for the LSTM,
``vanilla_fwbw``, whose gradient is written by hand. Both silently ignore
``gradient_recurrent_cut``, vanilla also ``gradient_recurrent_clipval``; neither is offered here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from ....reference.arrays import Floats
from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ..framework import FrameworkSubject, imported
from ..protocol import Built, SubjectUnavailable
from ..torch_module import TorchModule, arrays_alone, import_torch

FAMILIES = {"flashrnn": ("flashrnn", "torch", "packaging")}
INSTALL = "flashrnn torch packaging"

MODULE = "flashrnn.flashrnn"
BY_HAND = "_rnn_fwbwBackward"
"""Autograd's name of the gradient of the backend vanilla_fwbw."""


@dataclass(frozen=True)
class FlashRNN(FrameworkSubject):
    """``flashrnn(W x, U, b, ...)`` with a function and a backend."""

    function: str = ""
    backend: str = "vanilla"

    def version(self) -> str:
        imported(MODULE, INSTALL)
        torch = import_torch().__version__
        return f"flashrnn {version('flashrnn')} (torch {torch}), CPU, backend {self.backend}"

    def build(self, case: Case) -> Built:
        torch, flashrnn = import_torch(), imported(MODULE, INSTALL)
        config = flashrnn.FlashRNNConfig(
            function=self.function,
            backend=self.backend,
            num_heads=1,
            head_dim=case.H,
            dtype="float32",  # on the CPU it casts nothing; vanilla_fwbw refuses the name float64
        )
        if (config.function, config.backend) != (self.function, self.backend):
            raise SubjectUnavailable(f"flashrnn chose {config.function}, {config.backend}")
        second = case.layout == "batch-first"

        def call(
            torch: Any, module: Any, x: Any, state: Any, lengths: Floats | None
        ) -> tuple[Any, tuple[Any, ...]]:
            x = x if second else x.transpose(0, 1)
            Wx = torch.einsum("btd,ghd->btgh", x, module["weight_ih_l0"])[:, :, :, None]
            U, b = module["weight_hh_l0"][:, None], module["bias_l0"][:, None]
            states, last = flashrnn.flashrnn(Wx, U, b, _stacked(torch, state), config=config)
            self._prove(states)
            y = states[0, :, :, 0]
            return y if second else y.transpose(0, 1), tuple(s[None, :, 0, 0] for s in last)

        return TorchModule(arrays_alone(torch, self, case), case, call)

    def _prove(self, states: Any) -> None:
        """Raise SubjectUnavailable unless autograd uses the backend's gradient."""
        if not states.requires_grad:
            return
        names = {states.grad_fn.name(), *(f.name() for f, _ in states.grad_fn.next_functions)}
        if (BY_HAND in names) != (self.backend == "vanilla_fwbw"):
            raise SubjectUnavailable(f"backend {self.backend}: the gradient is that of {names}")


def _stacked(torch: Any, state: Any) -> Any:
    """Return states (1, B, H) as one tensor (states, B, 1, heads, H), or None."""
    if state is None:
        return None
    states = torch.cat(state) if isinstance(state, tuple) else state
    return states[:, :, None, None]


_OPTIONS = Options(
    layers=False,
    bidirectional=False,
    bias=False,
    lengths=False,
    no_steps=True,
    batch_first=True,
    jvp=True,
    reasons=(("bias", "the function takes one"),),
)
_BY_HAND = replace(
    _OPTIONS,
    no_steps=False,
    jvp=False,
    reasons=(*_OPTIONS.reasons, ("no_steps", "its backward pass raises")),
)
_LSTM = Convention(
    "lstm", "ifgo", ("ifgo",), layout="gates out-in", time="second", states=("h", "c")
)
_GRU = Convention(
    "gru", "rzn", ("mrzn",), layout="gates out-in", recurrent_order="nrz", time="second",
    states=("h",),
)  # fmt: skip
_RNN = Convention("rnn", "a", ("a",), layout="gates out-in", time="second", states=("h",))

SUBJECTS = (
    FlashRNN("flashrnn:RNN", _RNN, _OPTIONS, function="elman"),
    FlashRNN("flashrnn:LSTM", _LSTM, _OPTIONS, function="lstm"),
    FlashRNN("flashrnn:LSTM-fwbw", _LSTM, _BY_HAND, function="lstm", backend="vanilla_fwbw"),
    FlashRNN("flashrnn:GRU", _GRU, _OPTIONS, function="gru"),
)
