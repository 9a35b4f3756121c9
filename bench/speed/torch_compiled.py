"""``torch.compile`` of a loop over a cell: the loop is unrolled, so to compile takes longer with T.

What ``nn.LSTM`` would need to be compiled (``allow_rnn``) is off by default in PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ...verify.subjects import subject_named
from ...verify.subjects.protocol import Subject
from ...verify.subjects.torch_module import TorchModule, import_torch
from ..plan import UnsupportedError
from .contender import FORWARD, FallbackError, Prepared
from .problem import Problem
from .torch_layers import CELLS, TorchPrepared, built_for

CAP = 32
"""Steps beyond which nothing is compiled: with gradients, 16 take most of a minute."""


class Compiled(TorchPrepared):
    """A loop over a cell, compiled; the first call of each pass compiles it."""

    algorithm = "inductor"

    def __init__(self, problem: Problem, subject: Subject) -> None:
        super().__init__(problem, subject, built_for(problem, subject))
        self.built = compiled(self.torch, self.built)


def compiled(torch: Any, built: TorchModule) -> TorchModule:
    """Return a cell whose loop, as ``verify``'s adapter writes it, is compiled as a whole."""
    torch._dynamo.reset()
    torch._functorch.config.donated_buffer = False  # so that a graph can be kept

    def whole(x: Any, state: Any) -> tuple[Any, tuple[Any, ...]]:
        state = tuple(s[0] for s in state) if isinstance(state, tuple) else state[0]
        outputs = []
        for x_t in x:
            state = built.module(x_t, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        final = state if isinstance(state, tuple) else (state,)
        return torch.stack(outputs), tuple(s[None] for s in final)

    made = torch.compile(whole, fullgraph=True, dynamic=False)
    return replace(built, call=lambda torch, module, x, state, lengths: made(x, state))


@dataclass(frozen=True)
class CompiledCell:
    """``torch.compile`` of a loop over one of torch.nn's cells."""

    name: str
    subject: Subject

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the subject's."""
        return self.subject.cells

    def version(self) -> str:
        """Return torch's version."""
        return self.subject.version()

    def prepare(self, problem: Problem) -> Prepared:
        """Return the loop, to be compiled at its first calls; UnsupportedError where it is not."""
        if problem.shape.T > CAP:
            raise UnsupportedError(f"to compile more than {CAP} steps takes too long")
        prepared = Compiled(problem, self.subject)
        compile_now(prepared)
        return prepared


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
    """Compile next to nothing: the first time, that takes longer than anything else."""
    torch = import_torch()
    torch.compile(lambda x: x + 1)(torch.ones(1))


CONTENDERS = tuple(
    CompiledCell(f"torch-compile:{kind}", subject_named(f"torch:{kind}")) for kind in CELLS
)
