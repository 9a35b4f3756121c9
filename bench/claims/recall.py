"""C15: the success of layers on a small recall task, against lag.

It uses NumPy and the reference's gradients. The first input of a sequence has a sign; noise
follows. After ``lag`` steps the layer predicts that sign: two classes, so guessing has a loss of ln
2 and is right half of the time. With ``near`` it predicts the last input's sign, too: four classes,
of which the near half can be learned without memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

import numpy as np

from ...reference.cell import Cell
from ...reference.cells import cell_named
from ...reference.functions import Array
from ...reference.gradient_clipping import clip_by_global_norm
from ...reference.output import cross_entropy_of_logits, cross_entropy_vjp, output_layer_vjp
from ...reference.parameters import Parameters, Sizes
from ...reference.sequence import Unrolled, backpropagate, unroll
from ..timing.significance import wilson
from .ledger import OPEN, Evidence, claim
from .material import with_gates
from .vanishing_gradient import torch_default

Gradients: TypeAlias = dict[str, Array]
Changed: TypeAlias = Callable[[Gradients], Mapping[str, Array]]
"""A change of gradients before the update: clipping, enlarging, or none."""

NOISE = 0.5


@dataclass(frozen=True)
class Recall:
    """The task: sequences of ``lag`` + 1 steps, D = 2 (value, and a mark at the first step)."""

    lag: int
    near: bool = False

    @property
    def classes(self) -> int:
        """2, or 4 with the near sign."""
        return 4 if self.near else 2

    def draw(self, rng: np.random.Generator, batch: int) -> tuple[Array, Array]:
        """Return x (lag + 1, B, 2) and one-hot targets (B, classes)."""
        x = np.zeros((self.lag + 1, batch, 2))
        x[..., 0] = NOISE * rng.standard_normal((self.lag + 1, batch))
        signs = rng.integers(2, size=(2, batch))
        x[0, :, 0], x[0, :, 1] = 2 * signs[0] - 1, 1.0
        label = signs[0]
        if self.near:
            x[-1, :, 0] = 2 * signs[1] - 1
            label = 2 * signs[0] + signs[1]
        return x, np.eye(self.classes)[label]


@dataclass(frozen=True)
class Model:
    """A cell with its parameters, and an output layer V (H, classes), b (classes,)."""

    cell: Cell
    p: Parameters
    V: Array
    b: Array

    @classmethod
    def start(cls, cell: Cell, p: Parameters, classes: int, rng: np.random.Generator) -> Model:
        """Draw the output layer from N(0, 1/H)."""
        H = p["U"].shape[-1]
        V = rng.standard_normal((H, classes)) / np.sqrt(H)
        return cls(cell, p, V, np.zeros(classes))

    def arrays(self) -> dict[str, Array]:
        """Return all parameters by name, the output layer's included."""
        return {**self.p, "V": self.V, "b_z": self.b}

    def changed(self, arrays: Mapping[str, Array]) -> Model:
        """Return the model with other parameters."""
        p = Parameters(self.p.shapes, {name: arrays[name] for name in self.p})
        return Model(self.cell, p, arrays["V"], arrays["b_z"])

    def run(self, x: Array) -> tuple[Unrolled[Array], Array]:
        """Run over x (T, B, 2) from zeros; return the run, and the last logits (B, classes)."""
        state = tuple(np.zeros((x.shape[1], self.V.shape[0]), x.dtype) for _ in self.cell.states)
        run = unroll(self.cell, self.p, x, state)
        return run, run.y[-1] @ self.V + self.b

    def loss(self, x: Array, y: Array) -> tuple[float, Gradients]:
        """Return the mean cross-entropy (E06) and the gradients of all parameters."""
        run, s = self.run(x)
        dE = np.full(x.shape[1], 1 / x.shape[1], x.dtype)
        dh, dV, db = output_layer_vjp(run.y[-1], self.V, cross_entropy_vjp(s, y, dE))
        dy = np.zeros_like(run.y)
        dy[-1] = dh
        dp, _, _ = backpropagate(self.cell, self.p, run, dy, tuple(0 * s for s in run.final))
        return float(np.mean(cross_entropy_of_logits(s, y))), {**dp, "V": dV, "b_z": db}

    def accuracy(self, task: Recall, rng: np.random.Generator, batch: int = 1000) -> float:
        """Return the share of new sequences whose class is the one with the largest logit."""
        x, y = task.draw(rng, batch)
        return float(np.mean(self.run(x)[1].argmax(axis=1) == y.argmax(axis=1)))


Rule: TypeAlias = Callable[[Gradients], Mapping[str, Array]]
"""A function of gradients that returns the decrement of the parameters."""


def descent(rate: float, change: Changed = dict) -> Rule:
    """Return plain gradient descent."""
    return lambda gradient: {name: rate * g for name, g in change(gradient).items()}


def adam(rate: float, change: Changed = dict) -> Rule:
    """Return Adam (Kingma & Ba 2015), which keeps means of gradients and of their squares."""
    mean: dict[str, Array] = {}
    square: dict[str, Array] = {}
    updates = count(1)

    def rule(gradient: Gradients) -> dict[str, Array]:
        k, step = next(updates), {}
        for name, g in change(gradient).items():
            mean[name] = 0.9 * mean.get(name, 0 * g) + 0.1 * g
            square[name] = 0.999 * square.get(name, 0 * g) + 0.001 * g * g
            size = np.sqrt(square[name] / (1 - 0.999**k)) + 1e-8
            step[name] = rate * (mean[name] / (1 - 0.9**k)) / size
        return step

    return rule


def learn(
    model: Model,
    task: Recall,
    rng: np.random.Generator,
    rule: Rule,
    steps: int,
    enough: float = 0.0,
) -> tuple[Model, Array]:
    """Train on batches of 32; return the model and the losses (steps,).

    Training stops when the loss is not finite, or the mean of 20 losses is below ``enough``; the
    remaining losses are NaN.
    """
    losses = np.full(steps, np.nan)
    with np.errstate(all="ignore"):  # overflow is expected
        for k in range(steps):
            losses[k], gradient = model.loss(*task.draw(rng, 32))
            if not np.isfinite(losses[k]):
                break
            step = rule(gradient)
            model = model.changed({name: a - step[name] for name, a in model.arrays().items()})
            if k >= 19 and losses[k - 19 : k + 1].mean() < enough:
                break
    return model, losses


LAGS = (5, 15, 40)
SEEDS, STEPS, HIDDEN = 8, 150, 16
LEARNED = 0.9
CONTESTANTS: dict[str, tuple[str, dict[str, float]]] = {
    "RNN": ("rnn", {}),
    "LSTM, b_f = 0": ("lstm", {"f": 0.0}),
    "GRU, b_z = 0": ("gru-keeps-old", {"z": 0.0}),
    "LSTM, b_f = 3": ("lstm", {"f": 3.0}),
    "GRU, b_z = 3": ("gru-keeps-old", {"z": 3.0}),
}
"""The cells, with PyTorch's initialisation, and the bias of the gate that keeps the old state."""


@claim(
    "C15", "RNNs forget over long sequences; LSTM and GRU do better on long sequences.",
    documents=("D1", "D2"), about=("E04", "E17", "E23b"), reading=OPEN,
)  # fmt: skip
def remembering(e: Evidence, rng: np.random.Generator) -> None:
    """Let every contestant learn to recall a sign, at several lags, from several seeds."""
    seeds = rng.integers(2**32, size=SEEDS).tolist()
    rates, spans = {}, {}
    for name in CONTESTANTS:
        counts = [sum(_remembers(name, lag, seed) for seed in seeds) for lag in LAGS]
        rates[name] = [count / SEEDS for count in counts]
        spans[name] = [wilson(count, SEEDS) for count in counts]
        for lag, share in zip(LAGS, rates[name], strict=True):
            e.number(f"{name}: learned at lag {lag}", share, "share")
        e.curve("remembering", name, LAGS, rates[name], *zip(*spans[name], strict=True))
    forgets = e.says(f"an RNN learns lag {LAGS[0]}, and lag {LAGS[-1]} less often",
                     spans["RNN"][0][0] > spans["RNN"][-1][1],
                     "the RNN learns short and long lags alike")  # fmt: skip
    gated = [name for name in CONTESTANTS if name != "RNN"]
    better = [n for n in gated if spans[n][-1][0] > spans["RNN"][-1][1]]
    rest = [name for name in gated if name not in better]
    e.says(f"every LSTM and GRU learns lag {LAGS[-1]} more often", not rest,
           f"not {' nor '.join(rest)}: {rates[rest[0]][-1]:.0%} of the runs at lag {LAGS[-1]},"
           f" {rates['RNN'][-1]:.0%} of the RNN's" if rest else "")  # fmt: skip
    e.when(f"the keeping gate starts open: {', '.join(better)}",
           within=forgets and any("LSTM" in n for n in better) and any("GRU" in n for n in better),
           beyond=bool(rest))  # fmt: skip


def _remembers(name: str, lag: int, seed: int) -> bool:
    """Train one layer by Adam, clipped; return whether it recalls the sign on new sequences."""
    rng, task = np.random.default_rng(seed), Recall(lag)
    cell, biases = CONTESTANTS[name]
    p = with_gates(torch_default(cell, rng, Sizes(2, HIDDEN)), b=biases)
    start = Model.start(cell_named(cell), p, task.classes, rng)
    rule = adam(0.01, lambda gradient: clip_by_global_norm(gradient, 1.0))
    end, _ = learn(start, task, rng, rule, STEPS, enough=0.1)
    return end.accuracy(task, rng) >= LEARNED
