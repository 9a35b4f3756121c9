"""One recurrent layer of PyTorch, trained on one task from one seed, on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .tasks import Batch, LagTask, is_right

GATES = {"rnn": 1, "gru": 3, "lstm": 4, "lstm+1": 4}
"""The number of blocks of weights in each cell; ``lstm+1`` starts with a forget bias of 1."""

HELD_OUT = 512
"""The number of test sequences, none of which was in the training."""


@dataclass(frozen=True)
class Effort:
    """The size of a layer and of its training; gradients are clipped to ``norm``."""

    parameters: int = 1500
    updates: int = 400
    rows: int = 32
    rate: float = 1e-2
    norm: float = 1.0


@dataclass(frozen=True)
class Trained:
    """The result of a training: ``success`` is the share of right answers to held-out rows.

    ``diverged``: the loss was not finite at some point, where the training stopped.
    """

    hidden: int
    parameters: int
    success: float
    loss: float | None
    diverged: bool
    seconds: float


def parameters(cell: str, D: int, H: int, outputs: int) -> int:
    """Return the number of parameters of torch's layer of width H with a linear read-out."""
    return GATES[cell] * H * (D + H + 2) + outputs * (H + 1)


def width(cell: str, D: int, outputs: int, most: int) -> int:
    """Return the largest width with at most ``most`` parameters; raise ValueError without one."""
    fits = [H for H in range(1, most) if parameters(cell, D, H, outputs) <= most]
    if not fits:
        raise ValueError(f"{most} parameters are too few for one unit of {cell}")
    return fits[-1]


def train(
    task: LagTask,
    cell: str,
    lag: int,
    seed: int,
    effort: Effort,
    wrap: Callable[[Any], Any] = lambda layer: layer,
) -> Trained:
    """Train a layer by Adam on fresh batches, and test it on held-out rows.

    ``wrap`` may replace the layer by another callable.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    started, rng = time.perf_counter(), np.random.default_rng([seed, lag])
    H = width(cell, task.inputs, task.outputs, effort.parameters)
    layer, head = _layer(cell, task.inputs, H), torch.nn.Linear(H, task.outputs)
    run, leaves = wrap(layer), [*layer.parameters(), *head.parameters()]
    optimiser, loss = torch.optim.Adam(leaves, effort.rate), torch.tensor(0.0)

    def answers(batch: Batch) -> Any:
        y, _ = run(torch.from_numpy(batch.x).float())
        return head(y[-len(batch.target) :])

    for _ in range(effort.updates):
        batch = task.draw(rng, effort.rows, lag)
        loss = _loss(task, answers(batch), batch)
        if not torch.isfinite(loss):
            break
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(leaves, effort.norm)
        optimiser.step()
    diverged = not bool(torch.isfinite(loss))
    held_out = task.draw(np.random.default_rng([seed, lag, 1]), HELD_OUT, lag)
    with torch.no_grad():
        share = float(is_right(task, answers(held_out).numpy(), held_out.target).mean())
    count = sum(p.numel() for p in leaves)
    last = None if diverged else float(loss.detach())
    return Trained(H, count, share, last, diverged, round(time.perf_counter() - started, 2))


def _layer(cell: str, D: int, H: int) -> Any:
    import torch

    kinds = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU}
    layer = kinds.get(cell, torch.nn.LSTM)(D, H)
    if cell == "lstm+1":
        with torch.no_grad():
            layer.bias_ih_l0[H : 2 * H] += 1  # torch's order is i, f, g, o
    return layer


def _loss(task: LagTask, answers: Any, batch: Batch) -> Any:
    import torch

    target = torch.from_numpy(batch.target)
    if task.classes:
        return torch.nn.functional.cross_entropy(answers.flatten(0, 1), target.flatten())
    return torch.nn.functional.mse_loss(answers[..., 0], target.float())
