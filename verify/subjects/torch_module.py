"""A module with torch's call, made for one case: NumPy in, NumPy out, gradients by autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...reference.cell import State
from ...reference.functions import Array
from ..case import Case
from .protocol import Cotangents, Inputs, Pulled, Result, SubjectUnavailable

Call = Callable[[Any, Any, Any, Any, Any], tuple[Any, tuple[Any, ...]]]
"""(torch, module, x, state, lengths) to (y, final states)."""


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
class TorchModule:
    """``module`` and how it is called; ``key`` maps its parameters' names to torch.nn's."""

    module: Any
    case: Case
    call: Call
    key: Callable[[str], str] = str

    def train(self, training: bool) -> None:
        """Switch between training and evaluation."""
        self.module.train(training)

    def forward(self, inputs: Inputs) -> Result:
        """Run the layer without recording for autograd."""
        torch = import_torch()
        with one_thread(torch), torch.no_grad():
            leaves = self._leaves(torch, inputs)
            y, final = self._run(torch, leaves, inputs)
            _give_back(inputs, leaves)
        return Result(y.numpy(), tuple(s.numpy() for s in final))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Run the layer once and pull every pair of cotangents back by autograd."""
        torch = import_torch()
        with one_thread(torch):
            leaves = self._leaves(torch, inputs, record=True)
            y, final = self._run(torch, leaves, inputs)
            outputs = Result(y.detach().numpy(), tuple(s.detach().numpy() for s in final))
            pulled = []
            for number, (dy, dfinal) in enumerate(cotangents, start=1):
                more = number < len(cotangents)
                named = self._pull(torch, leaves, [y, *final], [dy, *dfinal], more)
                pulled.append(_named(outputs, named))
            _give_back(inputs, leaves)
        return pulled

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Push tangents forward by torch's forward-mode differentiation."""
        torch = import_torch()
        leaves, along = (
            {name: leaf.detach().clone() for name, leaf in self._leaves(torch, given).items()}
            for given in (inputs, tangents)
        )
        whole = _whole(torch, self.module, lambda leaves: self._run(torch, leaves, inputs))
        own = {f"module.{name}": self.key(name) for name, _ in self.module.named_parameters()}

        def function(leaves: Mapping[str, Any]) -> Any:
            parameters = {name: leaves[key] for name, key in own.items()}
            y, final = torch.func.functional_call(whole, parameters, (leaves,))
            return (y, *final)

        with one_thread(torch):
            _, (dy, *dfinal) = torch.func.jvp(function, (leaves,), (along,))
        return Result(dy.detach().numpy(), tuple(d.detach().numpy() for d in dfinal))

    def _leaves(self, torch: Any, inputs: Inputs, *, record: bool = False) -> dict[str, Any]:
        """Set the parameters, and return everything that gradients are wanted of, by name."""
        leaves: dict[str, Any] = {}
        for name, parameter in self.module.named_parameters():
            given = inputs.parameters[self.key(name)]
            with torch.no_grad():
                parameter.copy_(_tensor(torch, given))
            parameter.requires_grad_(record)
            leaves[self.key(name)] = parameter
        leaves["x"] = self._as_called(_tensor(torch, inputs.x), states=False)
        for k, s in enumerate(inputs.state or ()):
            leaves[f"state {k}"] = self._as_called(_tensor(torch, s), states=True)
        for name in leaves.keys() - inputs.parameters.keys():
            leaves[name].requires_grad_(record)
        return leaves

    def _as_called(self, tensor: Any, *, states: bool) -> Any:
        if self.case.layout == "unbatched":
            return tensor[:, 0].contiguous()
        if self.case.layout == "batch-first" and not states:
            return tensor.transpose(0, 1).contiguous()
        return tensor

    def _run(
        self, torch: Any, leaves: Mapping[str, Any], inputs: Inputs
    ) -> tuple[Any, tuple[Any, ...]]:
        state = tuple(leaves[f"state {k}"] for k in range(len(inputs.state or ())))
        hx = None if inputs.state is None else state[0] if len(state) == 1 else state
        y, final = self.call(torch, self.module, leaves["x"], hx, inputs.lengths)
        if self.case.layout == "unbatched":
            return y[:, None], tuple(s[:, None] for s in final)
        return y.transpose(0, 1) if self.case.layout == "batch-first" else y, final

    def _pull(
        self, torch: Any, leaves: Mapping[str, Any], outputs: Any, cotangents: Any, more: bool
    ) -> dict[str, Array]:
        wanted = [
            (output, _tensor(torch, d))
            for output, d in zip(outputs, cotangents, strict=True)
            if d is not None and output.requires_grad
        ]
        found: Sequence[Any] = [None] * len(leaves)
        if wanted:
            heads, pulled = zip(*wanted, strict=True)
            found = torch.autograd.grad(
                heads, list(leaves.values()), pulled, retain_graph=more, allow_unused=True
            )
        return {
            name: self._as_drawn(torch.zeros_like(leaf) if d is None else d, name).numpy()
            for (name, leaf), d in zip(leaves.items(), found, strict=True)
        }

    def _as_drawn(self, tensor: Any, name: str) -> Any:
        if self.case.layout == "unbatched" and (name == "x" or name.startswith("state ")):
            return tensor[:, None]
        turned = self.case.layout == "batch-first" and name == "x"
        return tensor.transpose(0, 1) if turned else tensor


def _whole(torch: Any, module: Any, run: Callable[[Any], Any]) -> Any:
    """Return a module around ``module``, so that torch.func can exchange its parameters."""

    class Whole(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, leaves: Any) -> Any:
            return run(leaves)

    return Whole()


def _tensor(torch: Any, array: Array) -> Any:
    """Return a tensor of the same numbers, aligned as torch's own, or with the same strides."""
    if array.flags.c_contiguous:
        return torch.tensor(array)
    if 0 in array.strides:  # torch expands, but does not take, what NumPy broadcasts
        base = array[tuple(slice(1) if s == 0 else slice(None) for s in array.strides)]
        return torch.tensor(np.ascontiguousarray(base)).expand(array.shape)
    return torch.from_numpy(array)


def _give_back(inputs: Inputs, leaves: Mapping[str, Any]) -> None:
    """Write what the layer changed in its arguments into the caller's arrays."""
    given = {"x": inputs.x} | {f"state {k}": s for k, s in enumerate(inputs.state or ())}
    for name, array in given.items():
        now = leaves[name].detach().numpy()
        if now.shape == array.shape and not np.array_equal(now, array, equal_nan=True):
            array[...] = now


def _named(outputs: Result, named: dict[str, Array]) -> Pulled:
    states: State = tuple(named.pop(n) for n in sorted(n for n in named if n[:6] == "state "))
    dx = named.pop("x")
    return Pulled(outputs.y, outputs.final, named, dx, states)
