"""CUDA: PyTorch's layers on a GPU, by cuDNN or by its own kernels, eager or as a CUDA graph.

None of this has been run: there was no GPU where it was written. Only what happens without one is
tested. Clocks are read (``nvidia-smi``), never set.

Wall time is that of a call that waits for the device. Device time is that between two events, with
the weights where the call before left them (hot), and after a buffer twice the L2 cache has been
written (cold), outside the events. Wall above device time is what launching costs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ...verify.subjects import subject_named
from ...verify.subjects.frameworks.torch_backends import import_torch_with
from ...verify.subjects.profiler import operators_and_kernels
from ...verify.subjects.protocol import Subject
from ...verify.subjects.torch_module import TorchModule, cuda_setting
from ..run import UnsupportedError
from .contender import FORWARD, TRAINING, Contender, Prepared
from .problem import Problem
from .torch_layers import CELLS, LAYERS, TorchPrepared, built_for, compiled_prepared, prove

EVENTS = 20
"""The number of samples of device time."""


class CudaPrepared(TorchPrepared):
    """A layer on the device; every call waits for it."""

    def call(self, phase: str, cotangents: Any) -> Any:
        """Make one call and wait for the device."""
        result = super().call(phase, cotangents)
        self.torch.cuda.synchronize()
        return result

    def peak(self, phase: str, cotangents: Any) -> int | None:
        """Return the peak of the bytes that the device's allocator hands out during a call."""
        cuda = self.torch.cuda
        cuda.reset_peak_memory_stats()
        before = cuda.memory_allocated()
        self.call(phase, cotangents)
        return int(cuda.max_memory_allocated() - before)

    def device_side(self, phase: str, cotangents: Any) -> dict[str, Any]:
        """Return hot and cold device times in seconds, kernels, clocks, and TF32's state."""
        return {
            "hot": self._device_times(phase, cotangents, cold=False),
            "cold": self._device_times(phase, cotangents, cold=True),
            "clock_mhz": clock(),
            "kernels": self._kernels(phase, cotangents),
            "device": self.torch.cuda.get_device_name(),
            "cudnn": self.torch.backends.cudnn.version(),
        }

    def _device_times(self, phase: str, cotangents: Any, *, cold: bool) -> list[float]:
        cuda = self.torch.cuda
        size = 2 * cuda.get_device_properties(0).L2_cache_size
        flush = self.torch.empty(size, dtype=self.torch.int8, device="cuda")
        times = []
        for _ in range(EVENTS):
            if cold:
                flush.zero_()
            start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            start.record()
            TorchPrepared.call(self, phase, cotangents)
            end.record()
            cuda.synchronize()
            times.append(start.elapsed_time(end) / 1000)
        return times

    def _kernels(self, phase: str, cotangents: Any) -> list[str]:
        """Return the names of the kernels of one call, the longest first, at most 8."""
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as p:
            self.call(phase, cotangents)
        spent: dict[str, float] = {}
        _, kernels = operators_and_kernels(p.events())
        for event in (e for e in p.events() or () if e.name in kernels):
            spent[event.name] = spent.get(event.name, 0.0) + event.device_time
        return sorted(spent, key=lambda name: -spent[name])[:8]


class GraphPrepared(CudaPrepared):
    """The same, captured once as a CUDA graph and replayed: no launches from Python."""

    algorithm = "CUDA graph"

    def __init__(self, problem: Problem, subject: Subject, built: TorchModule) -> None:
        super().__init__(problem, subject, built)
        self._captured: dict[str, tuple[Any, Any]] = {}
        self._cotangents: Any = None

    def forward(self) -> Any:
        """Replay a forward pass."""
        return self._replay(FORWARD, super().forward)

    def training(self, cotangents: Any) -> Any:
        """Replay a training step, with the cotangents copied into its input buffers."""
        if self._cotangents is None:
            self._cotangents = [d.clone() for d in cotangents]
        for place, d in zip(self._cotangents, cotangents, strict=True):
            place.copy_(d)
        step = super().training
        return self._replay(TRAINING, lambda: step(self._cotangents))

    def backward(self, cotangents: Any) -> Any:
        """Raise: a graph holds a whole step."""
        raise UnsupportedError("a CUDA graph of a backward pass alone is not captured")

    def backward_data(self, cotangents: Any) -> Any:
        """Raise: a graph holds a whole step."""
        return self.backward(cotangents)

    def _replay(self, phase: str, step: Callable[[], Any]) -> Any:
        if phase not in self._captured:
            self._captured[phase] = self._capture(step)
        graph, result = self._captured[phase]
        graph.replay()
        return result

    def _capture(self, step: Callable[[], Any]) -> tuple[Any, Any]:
        """Warm up beside the default stream, as CUDA graphs want it, then capture."""
        cuda = self.torch.cuda
        stream = cuda.Stream()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(3):
                step()
        cuda.current_stream().wait_stream(stream)
        graph = cuda.CUDAGraph()
        try:
            with cuda.graph(graph):
                result = step()
        except RuntimeError as error:
            first = str(error).partition("\n")[0]
            raise UnsupportedError(f"it cannot be captured as a CUDA graph: {first}") from error
        return graph, result


def prepare(
    problem: Problem, subject: Subject, kind: type[CudaPrepared] = CudaPrepared
) -> Prepared:
    """Return a layer on the GPU, once its kernels have proven to be those it is named after."""
    prove(CudaPrepared(problem, subject, built_for(problem, subject)))
    return kind(problem, subject, built_for(problem, subject))


def prepare_cell(problem: Problem, subject: Subject, *, compile: bool) -> Prepared:
    """Return a loop over a cell of torch.nn on the GPU, plain or compiled as a whole."""
    torch = import_torch_with("cuda")
    setting = partial(cuda_setting, torch, problem.case, cudnn=False)
    built = replace(built_for(problem, subject), device="cuda", setting=setting)
    if compile:
        return compiled_prepared(CudaPrepared, problem, subject, built)
    return CudaPrepared(problem, subject, built)


def clock() -> list[float]:
    """Return the current SM clock of every GPU in MHz; [] where nvidia-smi is missing."""
    command = ["nvidia-smi", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return []
    return [float(word) for word in result.stdout.split() if word.isdigit()]


def _contender(
    name: str, subject_name: str, prepare: Callable[..., Prepared], **options: Any
) -> Contender:
    subject = subject_named(subject_name)
    return Contender(
        name, subject.cells, subject.version, partial(prepare, subject=subject, **options)
    )


CONTENDERS = (
    *(_contender(f"cudnn-graph:{layer}", f"cudnn:{layer}", prepare, kind=GraphPrepared)
      for layer in LAYERS),
    *(_contender(f"{family}:{cell}", f"torch:{cell}", prepare_cell, compile=compile)
      for family, compile in (("torch-cuda", False), ("torch-compile-cuda", True))
      for cell in CELLS),
)  # fmt: skip
"""The contenders besides ``verify``'s subjects ``cudnn`` and ``torch-cuda``, also timed."""
