"""``torch.nn.RNN``, ``LSTM`` and ``GRU`` as ExecuTorch programs, run by its runtime on the CPU.

A program contains its parameters and has a fixed number of steps and rows: the layer is decomposed
into operators, step by step. So every set of parameters and every shape need a program of their
own, which takes a second or more to build.

``executorch:LSTM`` is such a program of one whole layer, on ExecuTorch's portable kernels;
``executorch:LSTM-xnnpack`` is one of a single step, as streams are run, called once for each. It
hands its arithmetic to XNNPACK, which computes in float32.

In ExecuTorch 1.5.1 a method does not keep its program alive, and without one reads freed memory;
the adapter keeps the programs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....reference.arrays import Floats
from ...cases.case import Case
from ...cases.options import Options
from ..framework import FrameworkSubject, Plain, from_layout, imported, to_layout
from ..protocol import Built, Inputs, Result, SubjectUnavailable
from ..torch_module import import_torch, one_thread
from ..torch_parameters import CONVENTIONS
from ..torch_subject import depth_arguments

FAMILIES = {"executorch": ("executorch", "torch")}
INSTALL = "executorch torch"

PARTITIONER = "executorch.backends.xnnpack.partition.xnnpack_partitioner"
LONGEST = 12
"""The most steps of a program: building it takes some 0.3 s for each step and direction."""

XNNPACK = "XnnpackBackend"
ARITHMETIC = ("addmm", "mul", "add", "sub", "sigmoid", "tanh")
"""The operators that compute a layer's numbers."""


@dataclass(frozen=True)
class ExecutorchLayer(FrameworkSubject):
    """A layer, ``kind`` of torch.nn: whole on portable kernels, or step by step on a backend."""

    kind: str = ""
    backend: str = ""

    def version(self) -> str:
        version = imported("executorch.version", INSTALL).__version__
        kernels = self.backend or "portable kernels"
        return f"executorch {version} (torch {import_torch().__version__}), CPU, {kernels}"

    def build(self, case: Case) -> Built:
        """Return the layer; it builds a program for every set of parameters and every shape."""
        torch = import_torch()
        options = depth_arguments(case) | {"bias": case.bias, "dtype": getattr(torch, case.dtype)}
        layer = getattr(torch.nn, self.kind)(case.D, case.H, **options).eval()

        programs: dict[object, Any] = {}

        def execute(weights: Mapping[str, Floats], arguments: Sequence[Any]) -> list[Any]:
            values = tuple(weights[name].tobytes() for name in sorted(weights))
            key = values, tuple(a.shape for a in arguments)
            if key not in programs:
                with torch.no_grad():
                    for name, parameter in layer.named_parameters():
                        parameter.copy_(torch.from_numpy(weights[name]))
                programs[key] = self._program(torch, layer, arguments)
            return list(programs[key].load_method("forward").execute(arguments))

        def run(inputs: Inputs) -> Result:
            with one_thread(torch):
                x, *states = _arguments(torch, case, inputs)
                if not self.backend:
                    return _result(case, execute(inputs.parameters, [x, *states]))
                outputs = []
                for x_t in x.split(1):
                    y_t, *states = execute(inputs.parameters, [x_t, *states])
                    outputs.append(y_t)
                return _result(case, [torch.cat(outputs), *states])

        return Plain(run)

    def _program(self, torch: Any, layer: Any, arguments: Sequence[Any]) -> Any:
        """Return a loaded program, and verify that it uses the backend's kernels."""
        exir = imported("executorch.exir", INSTALL)
        x, *states = arguments
        if x.shape[int(layer.batch_first)] > LONGEST:
            raise NotImplementedError(f"programs of more than {LONGEST} steps take too long")
        call = (x, tuple(states) if len(states) > 1 else states[0]) if states else (x,)
        exported = torch.export.export(layer, call)
        if self.backend:
            partitioner = imported(PARTITIONER, INSTALL).XnnpackPartitioner()
            edge = exir.to_edge_transform_and_lower(exported, partitioner=[partitioner])
        else:
            edge = exir.to_edge(exported)
        program = edge.to_executorch()
        self._prove(program.executorch_program.execution_plan[0])
        runtime = imported("executorch.runtime", INSTALL).Runtime.get()
        return runtime.load_program(program.buffer)  # its methods do not keep it alive

    def _prove(self, plan: Any) -> None:
        """Raise SubjectUnavailable unless the arithmetic runs on the backend."""
        outside = {operator.name.removeprefix("aten::") for operator in plan.operators}
        delegates = {delegate.id for delegate in plan.delegates}
        expected = {self.backend} if self.backend else set()
        if delegates != expected or bool(self.backend) != outside.isdisjoint(ARITHMETIC):
            raise SubjectUnavailable(f"delegates {delegates}, and outside of them {outside}")


def _arguments(torch: Any, case: Case, inputs: Inputs) -> list[Any]:
    """Return x and the states in the layer's layout, contiguous as programs need them."""
    alone, states = case.layout == "unbatched", inputs.state or ()
    arrays = (to_layout(case, inputs.x), *(s[:, 0] if alone else s for s in states))
    return [torch.from_numpy(np.array(array, order="C")) for array in arrays]


def _result(case: Case, outputs: Sequence[Any]) -> Result:
    (y, *final), alone = (output.numpy() for output in outputs), case.layout == "unbatched"
    return Result(from_layout(case, y), tuple(s[:, None] if alone else s for s in final))


_WHOLE = Options(
    layers=False,
    lengths=False,
    gradient=False,
    batch_first=True,
    unbatched=True,
    reasons=(
        ("layers", "to make programs of several takes too long"),
        ("lengths", "torch.export takes no packed sequences"),
        ("gradient", "ExecuTorch's runtime is for inference"),
    ),
)
_STEP = replace(
    _WHOLE,
    bidirectional=False,
    default_state=False,
    batch_first=False,
    unbatched=False,
    reasons=(*_WHOLE.reasons, ("default_state", "the program of a step takes one")),
)


def _subject(name: str, kind: str, options: Options, backend: str = "") -> ExecutorchLayer:
    """Return a subject with torch's convention, without its rules for lengths."""
    convention = replace(CONVENTIONS[kind.lower()], padding="none", empty_row="none")
    dtypes = ("float32",) if backend else ("float64", "float32")
    return ExecutorchLayer(name, convention, options, dtypes, kind, backend)


SUBJECTS = (
    _subject("executorch:RNN", "RNN", _WHOLE),
    _subject("executorch:LSTM", "LSTM", replace(_WHOLE, projection=True)),
    _subject("executorch:GRU", "GRU", _WHOLE),
    _subject("executorch:RNN-xnnpack", "RNN", _STEP, XNNPACK),
    _subject("executorch:LSTM-xnnpack", "LSTM", _STEP, XNNPACK),
    _subject("executorch:GRU-xnnpack", "GRU", _STEP, XNNPACK),
)
