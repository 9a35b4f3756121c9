"""``torch.nn.RNN``, ``LSTM``, ``GRU`` and their ``*Cell``s, on the CPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...reference.cell import State
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..cases import Case, Options
from . import torch_parameters as packing
from .protocol import Inputs, Pulled, Result, SubjectUnavailable


def import_torch() -> Any:
    """Return torch, or say how to get it."""
    try:
        import torch
    except ImportError as error:
        message = "PyTorch is not installed; install it with: pip install torch"
        raise SubjectUnavailable(message) from error
    return torch


@contextmanager
def one_thread(torch: Any) -> Iterator[None]:
    """Compute on one thread: cases are small, and threads that wait for each other are slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class TorchSubject(ABC):
    """What the layers and the cells of torch.nn share: names, parameters, autograd."""

    name: str
    kind: str
    reference: str
    options: Options
    nonlinearity: str | None = None
    dtypes: tuple[str, ...] = ("float64", "float32")

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the reference's cell, and the projected LSTM where torch offers proj_size."""
        return (self.reference, *(["lstm-projected"] if self.options.projection else []))

    def version(self) -> str:
        """Return the version of PyTorch."""
        return f"torch {import_torch().__version__}"

    def cell(self, case: Case) -> str:
        """Return the reference's cell; with a projection it is the projected LSTM."""
        return "lstm-projected" if case.P else self.reference

    def shapes(self, case: Case) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes under torch's names."""
        return packing.shapes(case, self.cell(case))

    def to_reference(self, case: Case, parameters: Mapping[str, Array]) -> Sequence[Parameters]:
        """Unpack torch's parameters."""
        return packing.to_reference(case, self.cell(case), parameters)

    def from_reference(self, case: Case, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Pack a gradient under torch's names."""
        return packing.from_reference(case, self.cell(case), gradient)

    def forward(self, case: Case, inputs: Inputs) -> Result:
        """Run the layer without recording for autograd."""
        torch = import_torch()
        with one_thread(torch), torch.no_grad():
            y, final, _ = self._run(case, inputs, requires_grad=False)
        return Result(y.numpy(), tuple(s.numpy() for s in final))

    def gradient(self, case: Case, inputs: Inputs, dy: Array, dfinal: State) -> Pulled:
        """Run the layer and pull cotangents on y and the final states back by autograd."""
        torch = import_torch()
        with one_thread(torch):
            y, final, leaves = self._run(case, inputs, requires_grad=True)
            cotangents = [torch.from_numpy(d.copy()) for d in (dy, *dfinal)]
            pulled = torch.autograd.grad([y, *final], list(leaves.values()), cotangents)
        named = {key: d.numpy() for key, d in zip(leaves, pulled, strict=True)}
        states = [named.pop(f"state {k}") for k in range(len(final)) if inputs.state is not None]
        dx = named.pop("x")
        outputs = y.detach().numpy(), tuple(s.detach().numpy() for s in final)
        return Pulled(*outputs, named, dx, tuple(states))

    def _run(
        self, case: Case, inputs: Inputs, *, requires_grad: bool
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        torch = import_torch()
        module = self._module(torch, case)
        leaves: dict[str, Any] = {}
        for key, parameter in module.named_parameters():
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(inputs.parameters[self._key(key)].copy()))
            parameter.requires_grad_(requires_grad)
            leaves[self._key(key)] = parameter
        x = leaves["x"] = torch.from_numpy(inputs.x.copy()).requires_grad_(requires_grad)
        state = None
        if inputs.state is not None:
            state = tuple(
                torch.from_numpy(s.copy()).requires_grad_(requires_grad) for s in inputs.state
            )
            leaves |= {f"state {k}": s for k, s in enumerate(state)}
        y, final = self._call(torch, module, x, state, inputs.lengths)
        return y, final, leaves

    def _key(self, name: str) -> str:
        return name

    def _module(self, torch: Any, case: Case) -> Any:
        options: dict[str, Any] = {"bias": case.bias, "dtype": getattr(torch, case.dtype)}
        if self.nonlinearity:
            options["nonlinearity"] = self.nonlinearity
        return getattr(torch.nn, self.kind)(case.D, case.H, **options, **self._depth(case))

    @abstractmethod
    def _depth(self, case: Case) -> dict[str, Any]:
        """Return the constructor's arguments for depth and direction."""

    @abstractmethod
    def _call(
        self, torch: Any, module: Any, x: Any, state: Any, lengths: Array | None
    ) -> tuple[Any, tuple[Any, ...]]:
        """Run the module over x; return y and the final states."""


class TorchLayer(TorchSubject):
    """A layer of torch.nn: stacked, bidirectional, packed by lengths."""

    def _depth(self, case: Case) -> dict[str, Any]:
        depth: dict[str, Any] = {"num_layers": case.layers, "bidirectional": case.bidirectional}
        return depth | ({"proj_size": case.P} if case.P else {})

    def _call(
        self, torch: Any, module: Any, x: Any, state: Any, lengths: Array | None
    ) -> tuple[Any, tuple[Any, ...]]:
        hx = state[0] if state is not None and len(state) == 1 else state
        if lengths is None:
            y, final = module(x, hx)
        else:
            rnn = torch.nn.utils.rnn
            ends = torch.from_numpy(lengths)
            packed, final = module(rnn.pack_padded_sequence(x, ends, enforce_sorted=False), hx)
            y, _ = rnn.pad_packed_sequence(packed, total_length=x.shape[0])
        return y, final if isinstance(final, tuple) else (final,)


class TorchCell(TorchSubject):
    """A cell of torch.nn in a Python loop over time."""

    def _key(self, name: str) -> str:
        return f"{name}_l0"

    def _depth(self, case: Case) -> dict[str, Any]:
        return {}

    def _call(
        self, torch: Any, module: Any, x: Any, state: Any, lengths: Array | None
    ) -> tuple[Any, tuple[Any, ...]]:
        hx = None if state is None else tuple(s[0] for s in state)
        hx = hx[0] if hx is not None and len(hx) == 1 else hx
        outputs = []
        for x_t in x:
            hx = module(x_t, hx)
            outputs.append(hx[0] if isinstance(hx, tuple) else hx)
        final = hx if isinstance(hx, tuple) else (hx,)
        return torch.stack(outputs), tuple(s[None] for s in final)


_LAYER = Options()
_LSTM = Options(projection=True)
_CELL = Options(layers=False, bidirectional=False, lengths=False)

SUBJECTS = (
    TorchLayer("torch:RNN", "RNN", "rnn", _LAYER),
    TorchLayer("torch:RNN-relu", "RNN", "rnn-relu", _LAYER, nonlinearity="relu"),
    TorchLayer("torch:LSTM", "LSTM", "lstm", _LSTM),
    TorchLayer("torch:GRU", "GRU", "gru", _LAYER),
    TorchCell("torch:RNNCell", "RNNCell", "rnn", _CELL),
    TorchCell("torch:LSTMCell", "LSTMCell", "lstm", _CELL),
    TorchCell("torch:GRUCell", "GRUCell", "gru", _CELL),
)
