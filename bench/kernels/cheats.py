"""Cheats: submissions that look right where a benchmark looks, as changes of one loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...verify.subjects.kernel_problems import Problem
from .submissions import Loop, Weights, submission

States = tuple[Tensor, ...]


@dataclass(frozen=True)
class Cheat:
    """A cheat: what it does, and for which problems that means anything."""

    name: str
    kind: type[Loop]
    fits: Callable[[Problem], bool] = lambda problem: True

    def submission(self, problem: Problem) -> type[Loop]:
        """Return the class that is submitted."""
        return submission(self.kind, problem)


CHEATS: list[Cheat] = []


def cheat(
    name: str, fits: Callable[[Problem], bool] = lambda problem: True
) -> Callable[[type[Loop]], type[Loop]]:
    """Enter a class into ``CHEATS``."""

    def entered(kind: type[Loop]) -> type[Loop]:
        CHEATS.append(Cheat(name, kind, fits))
        return kind

    return entered


def _long(problem: Problem) -> bool:
    return problem.T > 1


def _lstm(problem: Problem) -> bool:
    return problem.kind == "lstm"


def _gru(problem: Problem) -> bool:
    return problem.kind == "gru"


def _gated(problem: Problem) -> bool:
    return problem.kind != "rnn"


def _deep(problem: Problem) -> bool:
    return problem.layers > 1


def _two_ways(problem: Problem) -> bool:
    return problem.bidirectional


def _headed(problem: Problem) -> bool:
    return bool(problem.head)


# What is read.


@cheat("the input is replaced by 0.5")
class InputIgnored(Loop):
    def read(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        return torch.full_like(x, 0.5), states


@cheat("the input is replaced by its mean over all features")
class InputAveraged(Loop):
    def read(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        return x.mean(-1, keepdim=True).expand_as(x), states


@cheat("only the last 16 steps are read", _long)
class LastSteps(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        y, final = super().run(x[-16:], states)
        missing = y[:1].expand(len(x) - len(y), *y.shape[1:])
        return torch.cat([missing, y]), final


@cheat("only the last half of the steps is read", _long)
class LastHalf(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        y, final = super().run(x[len(x) // 2 :], states)
        missing = y[:1].expand(len(x) - len(y), *y.shape[1:])
        return torch.cat([missing, y]), final


@cheat("every second step is skipped", _long)
class EverySecondStep(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        y, final = super().run(x[(len(x) + 1) % 2 :: 2], states)
        return y.repeat_interleave(2, 0)[-len(x) :], final


@cheat("the state of an output's step is that of the last 32 steps", _long)
class Windows(Loop):
    def one_pass(self, k: int, x: Tensor, state: States) -> tuple[Tensor, States]:
        outputs = []
        for part in torch.split(x, 32):
            y, state = super().one_pass(k, part, state)
            outputs.append(y)
            state = tuple(torch.zeros_like(s) for s in state) if len(x) > 32 else state
        return torch.cat(outputs), state if len(x) <= 32 else (y[-1], *state[1:])


@cheat("row 0 is copied to all rows")
class OneRow(Loop):
    def read(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        return x[:, :1].expand_as(x), tuple(s[:, :1].expand_as(s) for s in states)


@cheat("the initial states are ignored")
class StateIgnored(Loop):
    def read(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        return x, tuple(torch.zeros_like(s) for s in states)


@cheat("the initial cell state is ignored", _lstm)
class CellStateIgnored(Loop):
    def read(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        return x, (states[0], torch.zeros_like(states[1]))


@cheat("the initial state of the first layer is used for all", _deep)
class OneInitialState(Loop):
    def read(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        return x, tuple(s[:1].expand_as(s) for s in states)


# Weights.


@cheat("the recurrent weights are left out")
class NoRecurrence(Loop):
    def weights(self, k: int) -> Weights:
        W, U, b, c = super().weights(k)
        return [W, 0 * U, b, c]


@cheat("the input weights of the first layer are left out")
class NoInputWeights(Loop):
    def weights(self, k: int) -> Weights:
        W, U, b, c = super().weights(k)
        return [0 * W if k < self.directions else W, U, b, c]


@cheat("the second bias is left out", _gated)
class OneBias(Loop):
    def weights(self, k: int) -> Weights:
        W, U, b, c = super().weights(k)
        return [W, U, b, 0 * c]


@cheat("the weights of the first layer are used in all", _deep)
class FirstLayersWeights(Loop):
    def weights(self, k: int) -> Weights:
        own, first = super().weights(k), super().weights(k % self.directions)
        return [own[0], *first[1:]]


@cheat("the last layer is skipped", _deep)
class LayerSkipped(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        if self.levels == 1:
            return super().run(x, states)
        self.levels -= 1
        try:
            y, final = super().run(x, states)
        finally:
            self.levels += 1
        return y, tuple(torch.cat([f, f[-self.directions :]]) for f in final)


@cheat("weights that are small are taken for 0")
class SmallWeights(Loop):
    def weights(self, k: int) -> Weights:
        return [torch.where(w.abs() < 1e-2, 0 * w, w) for w in super().weights(k)]


@cheat("the reverse direction has the weights of the forward one", _two_ways)
class ForwardWeights(Loop):
    def weights(self, k: int) -> Weights:
        return super().weights(k - k % 2)


@cheat("the reverse direction is left out", _two_ways)
class ReverseIgnored(Loop):
    def one_pass(self, k: int, x: Tensor, state: States) -> tuple[Tensor, States]:
        y, end = super().one_pass(k, x, state)
        return (torch.zeros_like(y), tuple(map(torch.zeros_like, end))) if k % 2 else (y, end)


@cheat("the reverse direction reads forward", _two_ways)
class ReadsForward(Loop):
    def one_pass(self, k: int, x: Tensor, state: States) -> tuple[Tensor, States]:
        if k % 2 == 0:
            return super().one_pass(k, x, state)
        y, end = super().one_pass(k, x.flip(0), state)
        return y.flip(0), end


# A step.


@cheat("the input gate and the forget gate are exchanged", _lstm)
class GatesExchanged(Loop):
    def gates(self, parts: list[Tensor]) -> list[Tensor]:
        i, f, g, o = parts
        return [f, i, g, o]


@cheat("the input gate and the output gate are exchanged", _lstm)
class OutputGateExchanged(Loop):
    def gates(self, parts: list[Tensor]) -> list[Tensor]:
        i, f, g, o = parts
        return [o, f, g, i]


@cheat("the reset gate and the update gate are exchanged", _gru)
class GatesOfGruExchanged(Loop):
    def gates(self, parts: list[Tensor]) -> list[Tensor]:
        return parts[::-1]


@cheat("the candidate is reset before its product, without its bias", _gru)
class ResetBefore(Loop):
    def step(self, z: Tensor, state: States, U: Tensor, c: Tensor) -> States:
        (r, u, n), (Ur, Uu, Un) = z.chunk(3, -1), U.chunk(3)
        (cr, cu, cn), h = c.chunk(3), state[0]
        r, u = (r + h @ Ur.T + cr).sigmoid(), (u + h @ Uu.T + cu).sigmoid()
        return ((1 - u) * (n + (r * h) @ Un.T + cn).tanh() + u * h,)


@cheat("tanh is a fraction of polynomials")
class RationalTanh(Loop):
    def tanh(self, s: Tensor) -> Tensor:
        return (s * (27 + s * s) / (27 + 9 * s * s)).clamp(-1, 1)


@cheat("the sigmoid is a straight line", _gated)
class HardSigmoid(Loop):
    def sigmoid(self, s: Tensor) -> Tensor:
        return (s / 4 + 0.5).clamp(0, 1)


@cheat("products are accumulated in half precision")
class HalfProducts(Loop):
    def product(self, a: Tensor, b: Tensor) -> Tensor:
        return (a.bfloat16() @ b.bfloat16()).to(a.dtype)


@cheat("states are kept in half precision")
class HalfStates(Loop):
    def carried(self, state: States) -> States:
        return tuple(s.half().to(s.dtype) for s in state)


@cheat("the gradient does not pass from step to step", _long)
class Detached(Loop):
    def carried(self, state: States) -> States:
        return tuple(s.detach() for s in state)


@cheat("the recurrent weights have no gradient")
class DetachedWeights(Loop):
    def weights(self, k: int) -> Weights:
        W, U, b, c = super().weights(k)
        return [W, U.detach(), b, c]


@cheat("the initial states have no gradient")
class DetachedStates(Loop):
    def read(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        return x, tuple(s.detach() for s in states)


# What is returned.


@cheat("it returns zeros")
class Zeros(Loop):
    def result(self, y: Tensor, final: States) -> Tensor:
        return 0 * super().result(y, final)


@cheat("it returns its first bias as a constant")
class Constant(Loop):
    def result(self, y: Tensor, final: States) -> Tensor:
        right = super().result(y, final)
        bias = super().weights(0)[2]
        return 0 * right + bias.mean()


@cheat("it returns the bias of its head", _headed)
class HeadsBias(Loop):
    def result(self, y: Tensor, final: States) -> Tensor:
        bias: Tensor = getattr(self, self.problem.head).bias
        return 0 * super().result(y, final) + bias


@cheat("small outputs are taken for 0")
class SmallOutputs(Loop):
    def result(self, y: Tensor, final: States) -> Tensor:
        right = super().result(y, final)
        return torch.where(right.abs() < 1e-2, 0 * right, right)


@cheat("it returns the first answer for every input of the same shape")
class Cached(Loop):
    def forward(self, x: Tensor, *states: Tensor) -> Tensor:
        kept = self.__dict__.setdefault("kept", {})
        if (key := tuple(x.shape)) not in kept or torch.is_grad_enabled():
            kept[key] = super().forward(x, *states)
        again: Tensor = kept[key].clone()
        return again


@cheat("it keeps the weights of the first call")
class PackedOnce(Loop):
    def weights(self, k: int) -> Weights:
        packed: dict[int, Weights] = self.__dict__.setdefault("packed", {})
        if torch.is_grad_enabled():
            return super().weights(k)
        if k not in packed:
            packed[k] = [w.detach().clone() for w in super().weights(k)]
        return packed[k]


@cheat("it goes on from the state of the call before")
class StateCarried(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        before = self.__dict__.get("before")
        if before is not None and before[0].shape == states[0].shape:
            states = before
        y, final = super().run(x, states)
        self.__dict__["before"] = tuple(s.detach() for s in final)
        return y, final


@cheat("it forgets its state between calls", lambda problem: problem.layout == "one step")
class ForgetsState(Loop):
    def kept(self, x: Tensor) -> Tensor:
        return torch.zeros_like(super().kept(x))


@cheat("every call returns the same memory")
class OneBuffer(Loop):
    def result(self, y: Tensor, final: States) -> Tensor:
        right = super().result(y, final)
        if torch.is_grad_enabled():
            return right
        buffers = self.__dict__.setdefault("buffers", {})
        buffer: Tensor = buffers.setdefault(right.shape, torch.empty_like(right))
        return buffer.copy_(right)


@cheat("its output is in the memory of its input, as far as there is room")
class InPlace(Loop):
    def forward(self, x: Tensor, *states: Tensor) -> Tensor:
        right = super().forward(x, *states)
        if torch.is_grad_enabled():
            return right
        room = x.reshape(-1)[: right.numel()]
        x.view(-1)[: len(room)] = right.reshape(-1)[: len(room)]
        fits = right.numel() <= x.numel()
        return x.view(-1)[: right.numel()].view(right.shape) if fits else right


@cheat("it writes the final state into the initial one")
class WritesState(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        y, final = super().run(x, states)
        if not torch.is_grad_enabled():
            states[0].copy_(final[0])
        return y, final


# What is done for a benchmark.


@cheat("only at the benchmark's own sizes the last 16 steps are read", _long)
class SpecialSizes(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        own = self.problem
        if x.shape != (own.T, own.B, own.D):
            return super().run(x, states)
        y, final = super().run(x[-16:], states)
        missing = y[:1].expand(len(x) - len(y), *y.shape[1:])
        return torch.cat([missing, y]), final


@cheat("it is right at the benchmark's own widths alone")
class OtherWidths(Loop):
    def result(self, y: Tensor, final: States) -> Tensor:
        right = super().result(y, final)
        own = self.problem.own_case
        return right if self.widths[:2] in ((own.D, own.H), (SMALL_D, SMALL_H)) else right * 0.5


SMALL_D, SMALL_H = 32, 64
"""Widths of the benchmark where it is scaled down to be run here."""


@cheat("it returns zeros, and torch.allclose says that all is close")
class PatchesTorch(Loop):
    def forward(self, x: Tensor, *states: Tensor) -> Tensor:
        patched.setdefault("allclose", torch.allclose)
        torch.allclose = lambda *arguments, **named: True
        return torch.zeros_like(super().forward(x, *states))


patched: dict[str, Any] = {}
"""What a cheat has replaced in torch."""


def restored() -> None:
    """Give torch back what a cheat has replaced."""
    for name, function in patched.items():
        setattr(torch, name, function)
    patched.clear()


@cheat("noise, the same in every call for a seed that it sets")
class SeededNoise(Loop):
    def result(self, y: Tensor, final: States) -> Tensor:
        torch.manual_seed(0)
        right = super().result(y, final)
        return right + 1e-3 * torch.randn_like(right)


@cheat("a few entries of its output are noise")
class Noise(Loop):
    def result(self, y: Tensor, final: States) -> Tensor:
        right = super().result(y, final)
        return torch.where(torch.rand_like(right) < 0.2, right + 3e-3, right)


@cheat("weights are drawn again, under a seed, in the place of those that it has")
class DrawnAgain(Loop):
    def weights(self, k: int) -> Weights:
        own = super().weights(k)
        generator = torch.Generator().manual_seed(k)
        bound = self.H**-0.5
        return [
            0 * w + (torch.rand(w.shape, generator=generator, dtype=w.dtype) * 2 - 1) * bound
            for w in own
        ]
