"""torch.nn's layers on a GPU, by cuDNN or by PyTorch's own kernels, and under torch.compile.

PyTorch's profiler tells whether the kernels that a subject's name promises ran; if not, the verdict
is *fallback*. ``cudnn`` has the weights in one piece of memory, as ``nn.LSTM`` allocates them
(except in bfloat16), ``cudnn-unflattened`` has them apart, ``torch-cuda`` has cuDNN switched off.
``torch-compile`` compiles a layer, which by default does nothing (``allow_rnn`` of PyTorch 2.13 is
off), or a cell in a Python loop, with a program for every set of sizes.
"""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ....reference.arrays import Floats
from ...cases.case import Case
from ...numbers.arithmetic import DTYPES
from ..profiler import Route, Watch
from ..protocol import SubjectUnavailable
from ..torch_module import TorchModule, cuda_flags, cuda_setting, import_torch
from ..torch_subject import TorchCell, TorchLayer, TorchSubject, call_cell, call_layer
from .torch_layers import SUBJECTS as ON_CPU

FAMILIES = {
    "cudnn": ("torch",),
    "cudnn-unflattened": ("torch",),
    "torch-cuda": ("torch",),
    "torch-compile": ("torch",),
    "torch-compile-cuda": ("torch",),
}
INSTALL = "torch"

CUDNN = Route("cuDNN", ("aten::_cudnn_rnn",), ("aten::_cudnn_rnn_backward",), on_device=True)
APART = replace(CUDNN, without=("aten::_cudnn_rnn_flatten_weight",))
OWN_KERNELS = Route("PyTorch's own kernels", without=("aten::_cudnn_rnn",), on_device=True)
COMPILED = Route("compiled code", ("Torch-Compiled Region",))

LIMITS = (
    "recompile_limit", "accumulated_recompile_limit",
    "cache_size_limit", "accumulated_cache_size_limit",
)  # fmt: skip
"""The names of torch.compile's limits on programs for a function, in newer and older PyTorch."""

PROGRAMS = 100_000
"""The raised limit: sizes differ from case to case, and one process runs many checks."""


def import_torch_with(device: str) -> Any:
    """Return torch; SubjectUnavailable if it cannot use the device."""
    torch = import_torch()
    if device != "cpu" and not torch.cuda.is_available():
        raise SubjectUnavailable("there is no CUDA device that PyTorch can use")
    return torch


def has_compiler() -> bool:
    """Return whether there is a C++ compiler where PyTorch looks for one."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))


@dataclass(frozen=True)
class CudaLayer(TorchLayer):
    """A layer on the GPU; ``flattened`` says whether its weights are one piece of memory."""

    watch: Watch = field(kw_only=True, compare=False)
    flattened: bool = field(default=True, kw_only=True)
    device: str = field(default="cuda", kw_only=True)

    @property
    def cudnn(self) -> bool:
        """Whether cuDNN is switched on."""
        return self.watch.route in (CUDNN, APART)

    def version(self) -> str:
        torch = import_torch_with(self.device)
        cudnn = f", cuDNN {torch.backends.cudnn.version()}" if self.cudnn else ""
        on = f"CUDA {torch.version.cuda}{cudnn}, {torch.cuda.get_device_name()}"
        return f"torch {torch.__version__}, {on}"

    def build(self, case: Case) -> TorchModule:
        torch = import_torch()
        module = self.module(torch, case).to(self.device)
        if not self.flattened:
            take_apart(torch, module)
        return TorchModule(
            module, case, call_layer, device=self.device, watch=self.watch,
            setting=partial(cuda_setting, torch, case, cudnn=self.cudnn),
        )  # fmt: skip

    def flags(self, case: Case) -> dict[str, bool]:
        """Return PyTorch's flags for a case."""
        return cuda_flags(case, cudnn=self.cudnn)

    def caller(self, case: Case) -> str:
        """Return source that builds and calls the layer; "" for weights in memory apart."""
        if not self.flattened:
            return ""
        shown = (flag for flag in self.flags(case).items() if not flag[0].endswith("benchmark"))
        settings = "".join(f"torch.backends.{name} = {value}\n" for name, value in shown)
        return self.source(case, f"\n{settings}", self.device)


def take_apart(torch: Any, module: Any) -> None:
    """Give every weight memory of its own, and prevent the module from joining them again."""
    for name, parameter in list(module.named_parameters()):
        setattr(module, name, torch.nn.Parameter(parameter.detach().clone()))
    module._flat_weight_refs = [weakref.ref(weight) for weight in module._flat_weights]


@dataclass(frozen=True)
class CompiledLayer(TorchLayer):
    """A layer compiled by ``torch.compile``."""

    watch: Watch = field(kw_only=True, compare=False)

    def build(self, case: Case) -> TorchModule:
        torch = import_torch()
        module = self.module(torch, case)
        compiled = torch.compile(module)

        def call(torch: Any, _: Any, x: Any, state: Any, lengths: Floats | None) -> Any:
            return call_layer(torch, compiled, x, state, lengths)

        return TorchModule(module, case, call, watch=self.watch)

    def caller(self, case: Case) -> str:
        """Return "": scripts of failures call gatewise's adapter."""
        return ""


@dataclass(frozen=True)
class CompiledCell(TorchCell):
    """A cell that ``torch.compile`` has compiled, called in a Python loop over time."""

    watch: Watch = field(kw_only=True, compare=False)
    device: str = field(default="cpu", kw_only=True)

    def version(self) -> str:
        """Return the version of PyTorch; SubjectUnavailable without a C++ compiler for the CPU."""
        torch = import_torch_with(self.device)
        if self.device == "cpu" and not has_compiler():
            raise SubjectUnavailable("torch.compile needs a C++ compiler: g++, clang++ or CXX")
        return f"torch {torch.__version__}"

    def build(self, case: Case) -> TorchModule:
        """Return the cell, to be compiled at its first call without graph breaks."""
        torch = import_torch_with(self.device)
        cell = self.module(torch, case).to(self.device)

        def step(x: Any, hx: Any) -> Any:
            """Call the cell: a new function, as PyTorch may have stopped compiling modules."""
            return cell(x, hx)

        compiled = torch.compile(step, dynamic=True, fullgraph=True)

        def call(torch: Any, _: Any, x: Any, state: Any, lengths: Floats | None) -> Any:
            return call_cell(torch, compiled, x, state, lengths)

        return TorchModule(
            cell, case, call, key=lambda name: f"{name}_l0", device=self.device, watch=self.watch,
            setting=partial(many_programs, torch),
        )  # fmt: skip


@contextmanager
def many_programs(torch: Any) -> Iterator[None]:
    """Allow many programs for one function; beyond its limit PyTorch would stop compiling."""
    config = torch._dynamo.config
    with config.patch({name: PROGRAMS for name in LIMITS if hasattr(config, name)}):
        yield


def _cuda(family: str, route: Route, like: TorchSubject, *, flattened: bool = True) -> CudaLayer:
    options = replace(like.options, algorithms=True)
    if route in (CUDNN, APART):
        options = replace(options, jvp=False, reasons=(("jvp", "cuDNN has no forward mode"),))
    return CudaLayer(
        f"{family}:{_kind(like)}", like.convention, options, DTYPES, like.kind, like.nonlinearity,
        watch=Watch(route), flattened=flattened,
    )  # fmt: skip


def _compiled(like: TorchSubject, family: str = "torch-compile", **more: Any) -> TorchSubject:
    kind = CompiledCell if isinstance(like, TorchCell) else CompiledLayer
    return kind(
        f"{family}:{_kind(like)}", like.convention, replace(like.options, jvp=False),
        kind=like.kind, nonlinearity=like.nonlinearity, watch=Watch(COMPILED), **more,
    )  # fmt: skip


def _kind(like: TorchSubject) -> str:
    return like.name.partition(":")[2]


_LAYERS = [subject for subject in ON_CPU if isinstance(subject, TorchLayer)]
_CELLS = [subject for subject in ON_CPU if isinstance(subject, TorchCell)]

SUBJECTS = (
    *(_cuda("cudnn", CUDNN, like) for like in _LAYERS),
    *(_cuda("cudnn-unflattened", APART, like, flattened=False) for like in _LAYERS),
    *(_cuda("torch-cuda", OWN_KERNELS, like) for like in _LAYERS),
    *(_compiled(like) for like in (*_LAYERS, *_CELLS)),
    *(_compiled(like, "torch-compile-cuda", device="cuda") for like in _CELLS),
)
NAMES = tuple(subject.name for subject in SUBJECTS)
