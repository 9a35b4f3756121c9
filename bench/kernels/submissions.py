"""Submissions to KernelBench's recurrent problems: honest ones, and cheats, as changes of one loop.

``Loop`` writes a problem's model out. A cheat is a change of one of its parts: its input, its
weights, a step, or its result. All have the constructor, the call and the parameters
of the problem's model.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ...verify.subjects.kernel_problems import Problem

Weights = list[Tensor]
"""W (G H, D), U (G H, H) and their two biases, as torch.nn packs them."""


class Loop(nn.Module):  # type: ignore[misc, unused-ignore]  # PyTorch may not be there
    """A problem's model, written as a loop in Python; a subclass sets ``problem``."""

    problem: Problem

    def __init__(self, *arguments: Any) -> None:
        super().__init__()
        sizes = dict(zip(self.problem.arguments, arguments, strict=True))
        D, H = sizes["input_size"], sizes["hidden_size"]
        self.levels, self.H = sizes.get("num_layers", 1), H
        self.directions = 2 if self.problem.bidirectional else 1
        self.widths = (sizes["input_size"], H, self.levels, sizes.get("output_size"))
        if self.problem.module == "i2h":
            self.i2h = nn.Linear(D + H, H)
        else:
            kind = getattr(nn, self.problem.kind.upper())
            layer = kind(D, H, self.levels, bidirectional=self.problem.bidirectional)
            setattr(self, self.problem.module, layer)
        if self.problem.head:
            head = nn.Linear(H * self.directions, sizes["output_size"])
            setattr(self, self.problem.head, head)

    def forward(self, x: Tensor, *states: Tensor) -> Tensor:
        """Return the output of the problem's model."""
        initial = states or (self.kept(x),)
        x, states = self.read(self.time_first(x), self.with_passes(initial))
        y, final = self.run(x, states)
        self.__dict__["last"] = final[0][0].detach()
        return self.result(y, final)

    def kept(self, x: Tensor) -> Tensor:
        """Return the last state of the call before, from which a call without states continues."""
        last: Tensor = self.__dict__["last"]
        return last

    # The parts that cheats change.

    def read(self, x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return x (T, B, D) and the initial states (L * directions, B, H)."""
        return x, states

    def weights(self, k: int) -> Weights:
        """Return the weights of pass ``k``; passes are ordered by layer, then by direction."""
        if self.problem.module == "i2h":
            D = self.i2h.in_features - self.H
            return [self.i2h.weight[:, :D], self.i2h.weight[:, D:], self.i2h.bias,
                    torch.zeros_like(self.i2h.bias)]  # fmt: skip
        level, reverse = divmod(k, self.directions)
        suffix = f"_l{level}" + ("_reverse" if reverse else "")
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(getattr(self, self.problem.module), f"{n}{suffix}") for n in names]

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply matrices."""
        return a @ b

    def sigmoid(self, s: Tensor) -> Tensor:
        """Return the logistic function."""
        return s.sigmoid()

    def tanh(self, s: Tensor) -> Tensor:
        """Return the hyperbolic tangent."""
        return s.tanh()

    def gates(self, parts: list[Tensor]) -> list[Tensor]:
        """Return the sums of the gates in torch's order: i, f, g, o or r, z, n."""
        return parts

    def carried(self, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the state that the next step reads."""
        return state

    def result(self, y: Tensor, final: tuple[Tensor, ...]) -> Tensor:
        """Return the problem's result from y (T, B, directions * H) and the final states."""
        if self.problem.returns in ("h", "c"):
            return final["hc".index(self.problem.returns)]
        read = y[-1] if self.problem.returns == "last" else y
        return getattr(self, self.problem.head)(read) if self.problem.head else read

    # The loop itself.

    def time_first(self, x: Tensor) -> Tensor:
        """Return x as (T, B, D)."""
        if self.problem.layout == "one step":
            return x[None]
        return x.transpose(0, 1) if self.problem.layout == "batch-first" else x

    def with_passes(self, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return states with an axis of passes."""
        return tuple(s[None] if s.dim() == 2 else s for s in states)

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run all layers; return the last one's outputs, and all final states."""
        inputs, ends = x, []
        for level in range(self.levels):
            sides = []
            for reverse in range(self.directions):
                k = level * self.directions + reverse
                turned = inputs.flip(0) if reverse else inputs
                y, end = self.one_pass(k, turned, tuple(s[k] for s in states))
                sides.append(y.flip(0) if reverse else y)
                ends.append(end)
            inputs = torch.cat(sides, -1)
        return inputs, tuple(torch.stack(parts) for parts in zip(*ends, strict=True))

    def one_pass(
        self, k: int, x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run one layer in one direction."""
        W, U, b, c = self.weights(k)
        inputs, outputs = self.product(x, W.T) + b, []
        for z in inputs:
            state = self.step(z, self.carried(state), U, c)
            outputs.append(state[0])
        return torch.stack(outputs), state

    def step(
        self, z: Tensor, state: tuple[Tensor, ...], U: Tensor, c: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the next state; z (B, G H) is the input's part of the sums."""
        recurrent = self.product(state[0], U.T) + c
        if self.problem.kind == "rnn":
            return (self.tanh(z + recurrent),)
        if self.problem.kind == "lstm":
            i, f, g, o = self.gates(list((z + recurrent).chunk(4, -1)))
            cell = self.sigmoid(f) * state[1] + self.sigmoid(i) * self.tanh(g)
            return self.sigmoid(o) * self.tanh(cell), cell
        (r, u, n), (hr, hu, hn) = z.chunk(3, -1), recurrent.chunk(3, -1)
        r, u = (self.sigmoid(s) for s in self.gates([r + hr, u + hu]))
        return ((1 - u) * self.tanh(n + r * hn) + u * state[0],)


# Honest submissions.


class Own(Loop):
    """A loop whose parameters have other names, drawn as the model's are."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        module = self.problem.module
        parameters = dict(getattr(self, module).named_parameters())
        delattr(self, module)
        for name, parameter in parameters.items():
            self.register_parameter(f"own_{module}_{name}", parameter)

    def __getattr__(self, name: str) -> Any:
        if name == self.problem.module and name not in self.__dict__["_modules"]:
            return _Named(self)
        return super().__getattr__(name)


class _Named:
    """A view of the parameters under the model's names."""

    def __init__(self, owner: Own) -> None:
        self.owner = owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.owner, f"own_{self.owner.problem.module}_{name}")

    @property
    def in_features(self) -> int:
        return int(self.weight.shape[1])


class Wrapper(Loop):
    """A wrapper of torch's own layer."""

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Call the layer."""
        if self.problem.module == "i2h":
            return super().run(x, states)
        layer = getattr(self, self.problem.module)
        y, final = layer(x, states if len(states) > 1 else states[0])
        return y, final if isinstance(final, tuple) else (final,)


class Products(Loop):
    """A loop with both products of a step in one, as in a fused kernel."""

    def one_pass(
        self, k: int, x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run one layer in one direction."""
        if self.problem.kind == "gru":
            return super().one_pass(k, x, state)
        W, U, b, c = self.weights(k)
        stacked, outputs, zero = torch.cat([W, U], 1), [], torch.zeros_like(U)
        for x_t in x:
            z = self.product(torch.cat([x_t, state[0]], 1), stacked.T) + (b + c)
            state = self.step(z, state, zero, torch.zeros_like(c))
            outputs.append(state[0])
        return torch.stack(outputs), state


def _lstm_step(z: Tensor, h: Tensor, c: Tensor, U: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = (z + h @ U.t() + b).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru_step(z: Tensor, h: Tensor, U: Tensor, b: Tensor) -> Tensor:
    r, u, n = z.chunk(3, -1)
    hr, hu, hn = (h @ U.t() + b).chunk(3, -1)
    u = (u + hu).sigmoid()
    return (1 - u) * (n + (r + hr).sigmoid() * hn).tanh() + u * h


@cache
def _script(step: Callable[..., Any]) -> Callable[..., Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script: Callable[..., Any] = torch.jit.script(step)
    return script


class Scripted(Loop):
    """A loop with a step compiled by TorchScript."""

    def step(
        self, z: Tensor, state: tuple[Tensor, ...], U: Tensor, c: Tensor
    ) -> tuple[Tensor, ...]:
        """Run the compiled step."""
        if self.problem.kind == "rnn":
            return super().step(z, state, U, c)
        if self.problem.kind == "lstm":
            h, cell = _script(_lstm_step)(z, state[0], state[1], U, c)
            return h, cell
        return (_script(_gru_step)(z, state[0], U, c),)


HONEST: dict[str, type[Loop]] = {
    "a loop in Python": Loop,
    "parameters of its own names": Own,
    "torch's own layer": Wrapper,
    "both products in one": Products,
    "a step in TorchScript": Scripted,
}
"""Right submissions."""


def submission(kind: type[Any], problem: Problem) -> type[Any]:
    """Return a submission to a problem: a class of a loop, or of chunks of a state space."""
    return type("ModelNew", (kind,), {"problem": problem, "__module__": __name__})
