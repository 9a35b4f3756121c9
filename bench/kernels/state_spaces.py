"""Submissions to KernelBench's state spaces, 48 and 49: honest ones, and wrong ones.

Each is a change of ``Chunks``, which has the constructor, the call and the parameters of the
problems' model, and also computes within chunks at once, then from chunk to chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...verify.subjects.kernel_problems import Problem


class Chunks(nn.Module):  # type: ignore[misc, unused-ignore]  # PyTorch may not be there
    """A problem's model; a subclass sets ``problem``."""

    problem: Problem

    def __init__(
        self, rows: int, steps: int, heads: int, values: int, keys: int, block: int
    ) -> None:
        super().__init__()
        self.block = block
        self.A = nn.Parameter(torch.randn(rows, steps, heads))
        self.B = nn.Parameter(torch.randn(rows, steps, heads, keys))
        self.C = nn.Parameter(torch.randn(rows, steps, heads, keys))

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (B, T, N, V), or the final state (B, N, V, K)."""
        x, A, B, C = (a.transpose(1, 2) for a in self.read(x, self.A, self.B, self.C))
        S = x.new_zeros(*x.shape[:2], x.shape[-1], B.shape[-1])
        y, S = self.run(x, A, B, C, S)
        return y.transpose(1, 2).contiguous() if self.problem.returns == "outputs" else S

    # Wrong submissions change these. Heads come before time: x (B, N, T, V), A (B, N, T).

    def read(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Return the arrays of the computation."""
        return arrays

    def run(self, x: Tensor, A: Tensor, B: Tensor, C: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        """Return all outputs and the final state."""
        outputs = []
        for x_, A_, B_, C_ in zip(*self.parts(x, A, B, C), strict=True):
            y, S = self.chunk(x_, A_, B_, C_, S)
            outputs.append(y)
        return torch.cat(outputs, 2), S

    def parts(self, *arrays: Tensor) -> list[Any]:
        """Split arrays into chunks."""
        return [torch.split(a, self.block, 2) for a in arrays]

    def chunk(self, x: Tensor, A: Tensor, B: Tensor, C: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        """Return a chunk's outputs, and the state after it."""
        c = A.cumsum(-1)
        within = (C @ B.mT) * self.decays(c)
        y = within @ x + self.before(c, A).exp()[..., None] * (C @ S.mT)
        writes = self.behind(c).exp()[..., None] * B
        return y, self.whole(c).exp()[..., None, None] * S + x.mT @ writes

    def decays(self, c: Tensor) -> Tensor:
        """Return e^(c_i - c_j) on and below the diagonal."""
        difference = c[..., :, None] - c[..., None, :]
        return difference.tril().exp().tril()

    def before(self, c: Tensor, A: Tensor) -> Tensor:
        """Return the log decay of the state before a chunk, at each of its steps."""
        return c

    def behind(self, c: Tensor) -> Tensor:
        """Return the log decay of each step's write by the end of its chunk."""
        return c[..., -1:] - c

    def whole(self, c: Tensor) -> Tensor:
        """Return the log decay of a state over a chunk."""
        return c[..., -1]


class Steps(Chunks):
    """The recurrence, one step after another."""

    def run(self, x: Tensor, A: Tensor, B: Tensor, C: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        outputs = []
        for t in range(x.shape[2]):
            S = A[:, :, t, None, None].exp() * S + x[:, :, t, :, None] * B[:, :, t, None]
            outputs.append((S @ C[:, :, t, :, None])[..., 0])
        return torch.stack(outputs, 2), S


class Scan(Chunks):
    """A prefix scan over the maps of steps, in pairs."""

    def run(self, x: Tensor, A: Tensor, B: Tensor, C: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        a, b, reach = A.exp()[..., None, None], x[..., None] * B[..., None, :], 1
        while reach < x.shape[2]:
            left_a, left_b = a[:, :, :-reach], b[:, :, :-reach]
            later = a[:, :, reach:]
            b = torch.cat([b[:, :, :reach], later * left_b + b[:, :, reach:]], 2)
            a = torch.cat([a[:, :, :reach], later * left_a], 2)
            reach *= 2
        return (b @ C[..., None])[..., 0], b[:, :, -1]


class Quotient(Chunks):
    """Chunks with quotients of cumulative decays."""

    def decays(self, c: Tensor) -> Tensor:
        return (c.exp()[..., :, None] / c.exp()[..., None, :]).tril()


class StateOfChunkLost(Chunks):
    def run(self, x: Tensor, A: Tensor, B: Tensor, C: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        parts = zip(*self.parts(x, A, B, C), strict=True)
        chunks = [self.chunk(x_, A_, B_, C_, S) for x_, A_, B_, C_ in parts]
        return torch.cat([y for y, _ in chunks], 2), chunks[-1][1]


class ReadBeforeWrite(Steps):
    def run(self, x: Tensor, A: Tensor, B: Tensor, C: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        y, end = super().run(x, A, B, C, S)
        return y - (B * C).sum(-1, keepdim=True) * x, end


class LastChunk(Chunks):
    def read(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        x, A, B, C = arrays
        early = torch.arange(x.shape[1]) < x.shape[1] - self.block
        return torch.where(early[:, None, None], 0, x), A, B, C


def changed(part: str, change: Callable[..., Any], kind: type[Chunks] = Chunks) -> type[Chunks]:
    """Return a submission with a function in place of one part of a right one."""
    return type("Changed", (kind,), {part: lambda self, *arguments: change(*arguments)})


RIGHT: dict[str, type[Chunks]] = {
    "in chunks": Chunks,
    "step by step": Steps,
    "a scan": Scan,
    "a quotient of cumulative decays": Quotient,
}
"""Right submissions."""

WRONG: dict[str, type[Chunks]] = {
    "the decay is applied twice": changed("read", lambda x, A, B, C: (x, 2 * A, B, C)),
    "the decay is 1 + A": changed(
        "read", lambda x, A, B, C: (x, (1 + A).clamp_min(1e-6).log(), B, C), Steps),
    "A is the logarithm of a rate": changed("read", lambda x, A, B, C: (x, -A.exp(), B, C)),
    "nothing decays": changed("read", lambda x, A, B, C: (x, 0 * A, B, C)),
    "decays above 1 are taken for 1": changed(
        "read", lambda x, A, B, C: (x, A.clamp_max(0), B, C)),
    "the state between chunks is lost": StateOfChunkLost,
    "a step's own write decays": changed(
        "read", lambda x, A, B, C: (A.exp()[..., None] * x, A, B, C)),
    "the output is read before the write": ReadBeforeWrite,
    "the decay is that of the step before": changed(
        "read", lambda x, A, B, C: (x, torch.cat([0 * A[:, :1], A[:, :-1]], 1), B, C), Steps),
    "the state before a chunk decays a step late": changed("before", lambda c, A: c - A),
    "a chunk's writes do not decay to its end": changed("behind", lambda c: 0 * c),
    "all rows decay as the first": changed(
        "read", lambda x, A, B, C: (x, A[:1].expand_as(A), B, C)),
    "the output is scaled by 1/√K": changed(
        "read", lambda x, A, B, C: (x, A, B, C / C.shape[-1] ** 0.5)),
    "later steps of a chunk are read": changed(
        "decays", lambda c: (c[..., :, None] - c[..., None, :]).exp()),
    "decays of chunks are in bfloat16": changed(
        "whole", lambda c: c[..., -1].bfloat16().to(c.dtype)),
    "only the last chunk is read": LastChunk,
    "the decay has no gradient": changed("read", lambda x, A, B, C: (x, A.detach(), B, C)),
}  # fmt: skip
"""Wrong submissions; ``fits`` tells at which problem each is wrong."""

OF_OUTPUTS = tuple(WRONG[name] for name in (
    "the output is read before the write", "the state before a chunk decays a step late",
    "the output is scaled by 1/√K", "later steps of a chunk are read",
))  # fmt: skip
"""Wrong submissions whose final state is right."""


def fits(kind: type[Chunks], problem: Problem) -> bool:
    """Return whether a wrong submission gives wrong results on a problem."""
    return problem.returns == "outputs" or kind not in OF_OUTPUTS
