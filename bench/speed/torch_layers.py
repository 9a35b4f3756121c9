"""PyTorch on the CPU: its layers, on its own operators or on oneDNN's, and loops over its cells.

Whatever ``verify`` builds as a torch module can be timed, a user's own class included: parameters
and inputs become tensors once, and calls are those that users make.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Parameters
from ...verify.subjects import subject_named
from ...verify.subjects.protocol import Pulled, Result, Subject
from ...verify.subjects.torch_module import TorchModule, import_torch
from ..run import UnsupportedError
from .contender import FORWARD, TRAINING, Contender, FallbackError, Prepared
from .problem import Cotangents, Problem

ONE, ONEDNN = "oneDNN", "mkldnn_rnn_layer"
"""The name of the algorithm, and the operator that computes a whole layer with it."""


class TorchPrepared(Prepared):
    """A torch module with tensors, on its device and in its setting."""

    def __init__(self, problem: Problem, subject: Subject, built: TorchModule) -> None:
        super().__init__(problem)
        self.torch, self.subject, self.built = import_torch(), subject, built
        self.keys = [built.key(name) for name, _ in built.module.named_parameters()]
        module = built.module.to(device=built.device, dtype=self._dtype)
        packed = subject.parameter_map(problem.case).pack(problem.parameters)
        with self.torch.no_grad():
            for key, parameter in zip(self.keys, module.parameters(), strict=True):
                parameter.copy_(self.tensor(packed[key]))
        self.x = self.tensor(problem.x).requires_grad_()
        self.state = tuple(self.tensor(s).requires_grad_() for s in problem.state)
        self._recorded: dict[bool, Any] = {}

    @property
    def _dtype(self) -> Any:
        return getattr(self.torch, self.problem.dtype)

    def tensor(self, array: Array) -> Any:
        """Return an array's numbers in the problem's dtype, on the device."""
        return self.torch.tensor(np.asarray(array)).to(device=self.built.device, dtype=self._dtype)

    def run(self) -> tuple[Any, ...]:
        """Call the module once; return y and the final states."""
        hx = self.state[0] if len(self.state) == 1 else self.state
        y, final = self.built.call(self.torch, self.built.module, self.x, hx, None)
        return (y, *final)

    def forward(self) -> Any:
        """Run without recording."""
        with self.built.setting(), self.torch.no_grad():
            return self.run()

    def training(self, cotangents: Any) -> Any:
        """Run, recording, and return the gradients of everything."""
        with self.built.setting():
            outputs = self.run()
            return outputs, self.torch.autograd.grad(outputs, self._leaves(), cotangents)

    def backward(self, cotangents: Any) -> Any:
        """Return all gradients of one recorded run."""
        return self._pull_back(cotangents, weights=True)

    def backward_data(self, cotangents: Any) -> Any:
        """Return the gradients of x and the states, with parameters that need none."""
        if self.algorithm == ONE:
            raise UnsupportedError("oneDNN computes the gradients of data and weights at once")
        return self._pull_back(cotangents, weights=False)

    def _pull_back(self, cotangents: Any, *, weights: bool) -> Any:
        leaves = self._leaves() if weights else [self.x, *self.state]
        with self.built.setting():
            if weights not in self._recorded:
                self.built.module.requires_grad_(weights)
                self._recorded[weights] = self.run()
                self.built.module.requires_grad_(True)
            outputs = self._recorded[weights]
            return outputs, self.torch.autograd.grad(outputs, leaves, cotangents, retain_graph=True)

    def _leaves(self) -> list[Any]:
        return [*self.built.module.parameters(), self.x, *self.state]

    def to_native(self, cotangents: Cotangents) -> Any:
        """Return tensors, y's first."""
        return [self.tensor(cotangents.y), *map(self.tensor, cotangents.final)]

    def arrays(self, result: Any) -> Result:
        """Return NumPy's arrays, float32 where NumPy has no such dtype."""
        if not isinstance(result[0], tuple):
            return Result(_array(result[0]), tuple(map(_array, result[1:])))
        (y, *final), gradients = result
        *weights, x = map(_array, gradients[: -len(final)])
        named = dict(zip(self.keys, weights, strict=False))
        initial = tuple(map(_array, gradients[-len(final) :]))
        return Pulled(_array(y), tuple(map(_array, final)), named, x, initial)

    def named(self, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return torch's names."""
        return self.subject.parameter_map(self.problem.case).from_reference(gradient)

    def peak(self, phase: str, cotangents: Any) -> int | None:
        """Return the peak of the bytes that torch's allocator hands out during a call."""
        sizes = [e.nbytes() for e in self._events(phase, cotangents) if e.name() == "[memory]"]
        return int(np.cumsum([0, *sizes]).max())

    def operators(self) -> set[str]:
        """Return the names of the operators of one forward pass."""
        return {event.name().rpartition("::")[2] for event in self._events(FORWARD, None)}

    def _events(self, phase: str, cotangents: Any) -> Sequence[Any]:
        """Return the events of one call in torch's profiler, in order of time."""
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as p:
            result = self.call(phase, cotangents)
        del result
        events = p.profiler.kineto_results.events()
        return sorted(events, key=lambda event: int(event.start_ns()))


@contextmanager
def native() -> Iterator[None]:
    """Run CPU layers on PyTorch's own operators, not on oneDNN's."""
    import torch

    backend: Any = torch.backends.mkldnn
    before, backend.enabled = backend.enabled, False
    try:
        yield
    finally:
        backend.enabled = before


def _array(tensor: Any) -> Array:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.element_size() == 2 else tensor).numpy()


def prepare(problem: Problem, subject: Subject, path: str = "") -> Prepared:
    """Return a subject of ``verify`` that is a torch module, with its tensors.

    ``path`` is "" for torch's choice, ``native`` or ``onednn`` to demand one, or ``compile``
    for a cell with a compiled loop; the first call of each pass compiles it. FallbackError if
    another path runs.
    """
    built = built_for(problem, subject)
    if path == "compile":
        return compiled_prepared(TorchPrepared, problem, subject, built)
    if path == "native":
        built = replace(built, setting=native)
    prepared = TorchPrepared(problem, subject, built)
    prepared.call(FORWARD, None)
    prove(prepared)
    onednn = ONEDNN in prepared.operators()
    prepared.algorithm = ONE if onednn else "native"
    if path == "onednn" and not onednn:
        raise FallbackError("oneDNN was asked for, and PyTorch ran its own operators")
    return prepared


def prove(prepared: TorchPrepared) -> None:
    """Watch a training step; FallbackError if something else runs than the name says."""
    watch, problem = prepared.built.watch, prepared.problem
    if watch is None:
        return
    watch.begin()
    with watch.looking(prepared.torch, problem.case, packed=False, backward=True):
        prepared.call(TRAINING, prepared.to_native(problem.cotangents()))
    prepared.first.clear()  # the profiler was on that clock
    if watch.lacking:
        raise FallbackError(f"something else ran: {watch.lacking}")


def built_for(problem: Problem, subject: Subject) -> TorchModule:
    """Return the module of a problem; UnsupportedError says what the subject lacks."""
    if lacking := subject.options.lacking(problem.case):
        raise UnsupportedError(subject.options.why(lacking))
    built = subject.build(problem.case)
    if not isinstance(built, TorchModule):
        raise TypeError(f"{subject.name} is no torch module")
    return built


# torch.compile of a loop over a cell: it is unrolled, so that compiling takes longer with T. What
# nn.LSTM would need to be compiled (allow_rnn) is off by default in PyTorch.


CAP = 32
"""The most steps that are compiled: with gradients, 16 take most of a minute."""


def compiled_prepared(
    kind: type[TorchPrepared], problem: Problem, subject: Subject, built: TorchModule
) -> TorchPrepared:
    """Return a cell whose loop is compiled; UnsupportedError for too many steps."""
    if problem.shape.T > CAP:
        raise UnsupportedError(f"to compile more than {CAP} steps takes too long")
    prepared = kind(problem, subject, compiled(import_torch(), built))
    prepared.algorithm = "inductor"
    compile_now(prepared)
    return prepared


def compiled(torch: Any, built: TorchModule) -> TorchModule:
    """Return a cell whose loop, as ``verify``'s adapter writes it, is compiled as a whole."""
    torch._dynamo.reset()
    torch._functorch.config.donated_buffer = False  # so that a graph can be kept

    def loop(x: Any, state: Any) -> tuple[Any, tuple[Any, ...]]:
        state = tuple(s[0] for s in state) if isinstance(state, tuple) else state[0]
        outputs = []
        for x_t in x:
            state = built.module(x_t, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        final = state if isinstance(state, tuple) else (state,)
        return torch.stack(outputs), tuple(s[None] for s in final)

    compiled_loop = torch.compile(loop, fullgraph=True, dynamic=False)
    return replace(built, call=lambda torch, module, x, state, lengths: compiled_loop(x, state))


def compile_now(prepared: TorchPrepared) -> None:
    """Make the first call, which compiles; say in one sentence why it cannot be."""
    try:
        _import_compiler()
        prepared.call(FORWARD, None)
    except Exception as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            first = str(error).strip().partition("\n")[0]
            raise UnsupportedError(f"torch.compile does not work here: {first}") from error
        raise
    if not prepared.torch._dynamo.utils.counters["stats"]["unique_graphs"]:
        raise FallbackError("torch.compile compiled nothing, and the loop ran in Python")


@cache
def _import_compiler() -> None:
    """Compile a trivial function: the first compilation takes longer than anything else."""
    torch = import_torch()
    torch.compile(lambda x: x + 1)(torch.ones(1))


LAYERS, CELLS = ("RNN", "RNN-relu", "LSTM", "GRU"), ("RNNCell", "LSTMCell", "GRUCell")


CONTENDERS = tuple(
    Contender(f"torch{path and '-'}{path}:{kind}", subject.cells, subject.version,
              partial(prepare, subject=subject, path=path))
    for path, kinds in {
        "": LAYERS + CELLS, "native": LAYERS, "onednn": LAYERS, "compile": CELLS
    }.items()
    for kind in kinds
    for subject in [subject_named(f"torch:{kind}")]
)  # fmt: skip
