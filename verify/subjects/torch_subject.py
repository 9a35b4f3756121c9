"""Common code of the adapters of torch.nn's layers and cells: names, parameters, calls."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from ...reference.arrays import Floats
from ..cases.case import Case
from ..conventions.file_layout import Stored
from ..conventions.parameter_map import ConventionMap
from . import torch_module as torch_caller
from .framework import FrameworkSubject
from .torch_module import TorchModule, import_torch, torch_dtype
from .torch_parameters import TorchMap


@dataclass(frozen=True)
class TorchSubject(FrameworkSubject):
    """The base class of torch.nn's layers and cells: names, parameters, autograd."""

    dtypes: tuple[str, ...] = ("float64", "float32", "float16", "bfloat16")
    kind: str = ""
    nonlinearity: str | None = None

    def version(self) -> str:
        """Return the version of PyTorch."""
        return f"torch {import_torch().__version__}"

    def parameter_map(self, case: Case) -> ConventionMap:
        """Return the convention's map, with parameters drawn by torch's fan-in."""
        return TorchMap(super().parameter_map(case).convention, case)

    def module(self, torch: Any, case: Case) -> Any:
        """Construct the class of torch.nn."""
        arguments: dict[str, Any] = {"bias": case.bias, "dtype": torch_dtype(torch, case)}
        if self.nonlinearity:
            arguments["nonlinearity"] = self.nonlinearity
        return getattr(torch.nn, self.kind)(case.D, case.H, **arguments, **depth_arguments(case))

    @abstractmethod
    def build(self, case: Case) -> TorchModule:
        """Return the module, ready to be called."""


class TorchLayer(TorchSubject):
    """A layer of torch.nn: stacked, bidirectional, packed by lengths."""

    def build(self, case: Case) -> TorchModule:
        """Return the layer."""
        return TorchModule(self.module(import_torch(), case), case, call_layer)

    def caller(self, case: Case) -> str:
        """Return source that imports, builds and calls the layer."""
        return self.source(case)

    def source(self, case: Case, settings: str = "", device: str = "cpu") -> str:
        """Return the same with lines of settings, on a device."""
        arguments = depth_arguments(case) | ({} if case.bias else {"bias": False})
        arguments |= {"nonlinearity": self.nonlinearity} if self.nonlinearity else {}
        lines = f"from torch.nn import {self.kind} as Layer\n{settings}"
        return torch_caller.source(lines, case, arguments, takes_dtype=True, device=device)


class TorchCell(TorchSubject):
    """A cell of torch.nn in a Python loop over time, with torch's names without layer numbers."""

    stored: ClassVar[Stored] = Stored(
        tuple((name, name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    )

    def build(self, case: Case) -> TorchModule:
        """Return the cell, to be called step after step."""
        module = self.module(import_torch(), case)
        return TorchModule(module, case, call_cell, key=lambda name: f"{name}_l0")


DEFAULTS = {
    "num_layers": 1,
    "bidirectional": False,
    "batch_first": False,
    "dropout": 0.0,
    "proj_size": 0,
}
"""The arguments of torch's layers beside the sizes and the bias."""


def depth_arguments(case: Case) -> dict[str, Any]:
    """Return the arguments of torch's layers that differ from their defaults."""
    used = {
        "num_layers": case.layers,
        "bidirectional": case.bidirectional,
        "batch_first": case.layout == "batch-first",
        "dropout": case.dropout,
        "proj_size": case.P,
    }
    return {name: value for name, value in used.items() if value != DEFAULTS[name]}


def call_layer(
    torch: Any, module: Any, x: Any, state: Any, lengths: Floats | None
) -> tuple[Any, tuple[Any, ...]]:
    """Call a module as torch's layers are called; with lengths, on a packed sequence."""
    arguments = (x,) if state is None else (x, state)
    if lengths is None:
        y, final = module(*arguments)
    else:
        rnn, first = torch.nn.utils.rnn, bool(getattr(module, "batch_first", False))
        ends = torch.from_numpy(lengths)
        packed = rnn.pack_padded_sequence(x, ends, batch_first=first, enforce_sorted=False)
        y, final = module(packed, *arguments[1:])
        y, _ = rnn.pad_packed_sequence(y, batch_first=first, total_length=x.shape[int(first)])
    return y, final if isinstance(final, tuple) else (final,)


def call_cell(
    torch: Any, module: Any, x: Any, state: Any, lengths: Floats | None
) -> tuple[Any, tuple[Any, ...]]:
    """Call a module as torch's cells are called, step after step."""
    hx = tuple(s[0] for s in state) if isinstance(state, tuple) else state
    hx = hx[0] if hx is not None and not isinstance(hx, tuple) else hx
    outputs = []
    for x_t in x:
        hx = module(x_t, hx)
        outputs.append(hx[0] if isinstance(hx, tuple) else hx)
    final = hx if isinstance(hx, tuple) else (hx,)
    return torch.stack(outputs), tuple(s[None] for s in final)
