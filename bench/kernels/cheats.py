"""Cheats: wrong submissions that pass a benchmark's own test, as changes of one loop.

Most change the result of one part of the loop; the others are classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...verify.subjects.kernel_problems import Problem
from .submissions import Loop, Weights

States = tuple[Tensor, ...]

FITS: dict[str, Callable[[Problem], bool]] = {
    "": lambda problem: True,
    "long": lambda problem: problem.T > 1,
    "lstm": lambda problem: problem.kind == "lstm",
    "gru": lambda problem: problem.kind == "gru",
    "gated": lambda problem: problem.kind != "rnn",
    "deep": lambda problem: problem.layers > 1,
    "two ways": lambda problem: problem.bidirectional,
    "headed": lambda problem: bool(problem.head),
    "one step": lambda problem: problem.layout == "one step",
}
"""The problems to which a cheat applies, by kind."""


@dataclass(frozen=True)
class Cheat:
    """A cheat: its name, its class, and the kind of problems to which it applies (see ``FITS``)."""

    name: str
    kind: type[Loop]
    problems: str = ""

    def fits(self, problem: Problem) -> bool:
        """Return whether the cheat applies to a problem."""
        return FITS[self.problems](problem)


CHEATS: list[Cheat] = []


def cheat(name: str, problems: str = "") -> Callable[[type[Loop]], type[Loop]]:
    """Register the decorated class in ``CHEATS``."""

    def entered(kind: type[Loop]) -> type[Loop]:
        CHEATS.append(Cheat(name, kind, problems))
        return kind

    return entered


def change(name: str, part: str, changed: Callable[..., Any], problems: str = "") -> None:
    """Register a loop with one part that returns ``changed(loop, original, *arguments)``.

    ``original`` is the result of that part in a right loop.
    """

    def method(self: Loop, *arguments: Any) -> Any:
        return changed(self, getattr(Loop, part)(self, *arguments), *arguments)

    cheat(name, problems)(type("Changed", (Loop,), {part: method}))


def _last(loop: Loop, steps: int, x: Tensor, states: States) -> tuple[Tensor, States]:
    """Run over only the last steps; earlier outputs are copies of the first of these."""
    y, final = Loop.run(loop, x[-steps:], states)
    missing = y[:1].expand(len(x) - len(y), *y.shape[1:])
    return torch.cat([missing, y]), final


# Changes of the input.


change("the input is replaced by 0.5", "read",
       lambda loop, original, x, states: (torch.full_like(x, 0.5), states))  # fmt: skip
change("the input is replaced by its mean over all features", "read",
       lambda loop, original, x, states: (
           x.mean(-1, keepdim=True).expand_as(x), states))  # fmt: skip


@cheat("only the last 16 steps are read", "long")
class LastSteps(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        return _last(self, 16, x, states)


@cheat("only the last half of the steps is read", "long")
class LastHalf(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        return _last(self, len(x) - len(x) // 2, x, states)


@cheat("every second step is skipped", "long")
class EverySecondStep(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        y, final = super().run(x[(len(x) + 1) % 2 :: 2], states)
        return y.repeat_interleave(2, 0)[-len(x) :], final


@cheat("the state of an output's step is that of the last 32 steps", "long")
class Windows(Loop):
    def one_pass(self, k: int, x: Tensor, state: States) -> tuple[Tensor, States]:
        outputs = []
        for part in torch.split(x, 32):
            y, state = super().one_pass(k, part, state)
            outputs.append(y)
            state = tuple(torch.zeros_like(s) for s in state) if len(x) > 32 else state
        return torch.cat(outputs), state if len(x) <= 32 else (y[-1], *state[1:])


change("row 0 is copied to all rows", "read", lambda loop, original, x, states: (
       x[:, :1].expand_as(x), tuple(s[:, :1].expand_as(s) for s in states)))  # fmt: skip
change("the initial states are ignored", "read",
       lambda loop, original, x, states: (x, tuple(map(torch.zeros_like, states))))  # fmt: skip
change("the initial cell state is ignored", "read", lambda loop, original, x, states: (
       x, (states[0], torch.zeros_like(states[1]))), "lstm")  # fmt: skip
change("the initial state of the first layer is used for all", "read",
       lambda loop, original, x, states: (x, tuple(s[:1].expand_as(s) for s in states)),
       "deep")  # fmt: skip

# Weights: W, U and two biases of a pass k.

change("the recurrent weights are left out", "weights",
       lambda loop, w, k: [w[0], 0 * w[1], w[2], w[3]])  # fmt: skip
change("the input weights of the first layer are left out", "weights",
       lambda loop, w, k: [0 * w[0] if k < loop.directions else w[0], *w[1:]])  # fmt: skip
change("the second bias is left out", "weights", lambda loop, w, k: [*w[:3], 0 * w[3]], "gated")
change("the weights of the first layer are used in all", "weights", lambda loop, w, k: [
       w[0], *Loop.weights(loop, k % loop.directions)[1:]], "deep")  # fmt: skip


@cheat("the last layer is skipped", "deep")
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


change("weights that are small are taken for 0", "weights",
       lambda loop, w, k: [torch.where(a.abs() < 1e-2, 0 * a, a) for a in w])  # fmt: skip
change("the reverse direction has the weights of the forward one", "weights",
       lambda loop, w, k: Loop.weights(loop, k - k % 2), "two ways")  # fmt: skip


@cheat("the reverse direction is left out", "two ways")
class ReverseIgnored(Loop):
    def one_pass(self, k: int, x: Tensor, state: States) -> tuple[Tensor, States]:
        y, end = super().one_pass(k, x, state)
        return (torch.zeros_like(y), tuple(map(torch.zeros_like, end))) if k % 2 else (y, end)


@cheat("the reverse direction reads forward", "two ways")
class ReadsForward(Loop):
    def one_pass(self, k: int, x: Tensor, state: States) -> tuple[Tensor, States]:
        if k % 2 == 0:
            return super().one_pass(k, x, state)
        y, end = super().one_pass(k, x.flip(0), state)
        return y.flip(0), end


# A step.


change("the input gate and the forget gate are exchanged", "gates",
       lambda loop, original, parts: [parts[k] for k in (1, 0, 2, 3)], "lstm")  # fmt: skip
change("the input gate and the output gate are exchanged", "gates",
       lambda loop, original, parts: [parts[k] for k in (3, 1, 2, 0)], "lstm")  # fmt: skip
change("the reset gate and the update gate are exchanged", "gates",
       lambda loop, original, parts: parts[::-1], "gru")  # fmt: skip


@cheat("the candidate is reset before its product, without its bias", "gru")
class ResetBefore(Loop):
    def step(self, z: Tensor, state: States, U: Tensor, c: Tensor) -> States:
        (r, u, n), (Ur, Uu, Un) = z.chunk(3, -1), U.chunk(3)
        (cr, cu, cn), h = c.chunk(3), state[0]
        r, u = (r + h @ Ur.T + cr).sigmoid(), (u + h @ Uu.T + cu).sigmoid()
        return ((1 - u) * (n + (r * h) @ Un.T + cn).tanh() + u * h,)


change("tanh is a fraction of polynomials", "tanh",
       lambda loop, original, s: (s * (27 + s * s) / (27 + 9 * s * s)).clamp(-1, 1))  # fmt: skip
change("the sigmoid is a straight line", "sigmoid",
       lambda loop, original, s: (s / 4 + 0.5).clamp(0, 1), "gated")  # fmt: skip
change("products are accumulated in half precision", "product",
       lambda loop, original, a, b: (a.bfloat16() @ b.bfloat16()).to(a.dtype))  # fmt: skip
change("states are kept in half precision", "carried",
       lambda loop, original, state: tuple(s.half().to(s.dtype) for s in state))  # fmt: skip
change("the gradient does not pass from step to step", "carried",
       lambda loop, original, state: tuple(s.detach() for s in state), "long")  # fmt: skip
change("the recurrent weights have no gradient", "weights",
       lambda loop, w, k: [w[0], w[1].detach(), w[2], w[3]])  # fmt: skip
change("the initial states have no gradient", "read",
       lambda loop, original, x, states: (x, tuple(s.detach() for s in states)))  # fmt: skip

# Changes of the result.

change("it returns zeros", "result", lambda loop, original, y, final: 0 * original)
change("it returns its first bias as a constant", "result",
       lambda loop, original, y, final: 0 * original + loop.weights(0)[2].mean())  # fmt: skip
change("it returns the bias of its head", "result", lambda loop, original, y, final: (
       0 * original + getattr(loop, loop.problem.head).bias), "headed")  # fmt: skip
change("small outputs are taken for 0", "result", lambda loop, original, y, final: (
       torch.where(original.abs() < 1e-2, 0 * original, original)))  # fmt: skip


@cheat("it returns the first answer for every input of the same shape")
class Cached(Loop):
    def forward(self, x: Tensor, *states: Tensor) -> Tensor:
        results = self.__dict__.setdefault("kept", {})
        if (key := tuple(x.shape)) not in results or torch.is_grad_enabled():
            results[key] = super().forward(x, *states)
        copy: Tensor = results[key].clone()
        return copy


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
        previous = self.__dict__.get("before")
        if previous is not None and previous[0].shape == states[0].shape:
            states = previous
        y, final = super().run(x, states)
        self.__dict__["before"] = tuple(s.detach() for s in final)
        return y, final


change("it forgets its state between calls", "kept",
       lambda loop, original, x: torch.zeros_like(original), "one step")  # fmt: skip


@cheat("every call returns the same memory")
class OneBuffer(Loop):
    def result(self, y: Tensor, final: States) -> Tensor:
        original = super().result(y, final)
        if torch.is_grad_enabled():
            return original
        buffers = self.__dict__.setdefault("buffers", {})
        buffer: Tensor = buffers.setdefault(original.shape, torch.empty_like(original))
        return buffer.copy_(original)


@cheat("its output is in the memory of its input, as far as there is room")
class InPlace(Loop):
    def forward(self, x: Tensor, *states: Tensor) -> Tensor:
        result = super().forward(x, *states)
        if torch.is_grad_enabled():
            return result
        room = x.reshape(-1)[: result.numel()]
        x.view(-1)[: len(room)] = result.reshape(-1)[: len(room)]
        fits = result.numel() <= x.numel()
        return x.view(-1)[: result.numel()].view(result.shape) if fits else result


@cheat("it writes the final state into the initial one")
class WritesState(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        y, final = super().run(x, states)
        if not torch.is_grad_enabled():
            states[0].copy_(final[0])
        return y, final


# Tricks for the benchmark.


@cheat("only at the benchmark's own sizes the last 16 steps are read", "long")
class SpecialSizes(Loop):
    def run(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        problem = self.problem
        if x.shape != (problem.T, problem.B, problem.D):
            return super().run(x, states)
        return _last(self, 16, x, states)


@cheat("it is right at the benchmark's own widths alone")
class OtherWidths(Loop):
    def result(self, y: Tensor, final: States) -> Tensor:
        original = super().result(y, final)
        case = self.problem.own_case
        tested = self.widths[:2] in ((case.D, case.H), (SMALL_D, SMALL_H))
        return original if tested else original * 0.5


SMALL_D, SMALL_H = 32, 64
"""The widths of the benchmark when it is scaled down."""


@cheat("it returns zeros, and torch.allclose says that all is close")
class PatchesTorch(Loop):
    def forward(self, x: Tensor, *states: Tensor) -> Tensor:
        originals.setdefault("allclose", torch.allclose)
        torch.allclose = lambda *arguments, **named: True
        return torch.zeros_like(super().forward(x, *states))


originals: dict[str, Any] = {}
"""The functions of torch that a cheat has replaced, by name."""


def restore() -> None:
    """Restore the functions of torch that a cheat has replaced."""
    for name, function in originals.items():
        setattr(torch, name, function)
    originals.clear()


@cheat("noise, the same in every call for a seed that it sets")
class SeededNoise(Loop):
    def result(self, y: Tensor, final: States) -> Tensor:
        torch.manual_seed(0)
        original = super().result(y, final)
        return original + 1e-3 * torch.randn_like(original)


change("a few entries of its output are noise", "result", lambda loop, original, y, final: (
       torch.where(torch.rand_like(original) < 0.2, original + 3e-3, original)))  # fmt: skip


@cheat("weights are drawn again, under a seed, in the place of those that it has")
class DrawnAgain(Loop):
    def weights(self, k: int) -> Weights:
        generator, bound = torch.Generator().manual_seed(k), self.H**-0.5
        return [
            0 * w + (torch.rand(w.shape, generator=generator, dtype=w.dtype) * 2 - 1) * bound
            for w in super().weights(k)
        ]
