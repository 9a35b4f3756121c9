"""C15: which layers still remember after a given lag."""

from __future__ import annotations

import numpy as np

from ...reference.cells import cell_named
from ...reference.clipping import clip_by_global_norm
from ...reference.parameters import Sizes
from .claim import claim
from .evidence import OPEN, Evidence
from .material import with_biases
from .recall_task import Model, Recall, adam
from .vanishing_gradient import torch_default

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
"""Cells with PyTorch's initialisation, and the bias of the gate that keeps the old state."""


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
    p = with_biases(torch_default(cell, rng, Sizes(2, HIDDEN)), biases)
    start = Model.start(cell_named(cell), p, task.classes, rng)
    end, _ = adam(start, task, rng, steps=STEPS, rate=0.01, enough=0.1,
                  change=lambda gradient: clip_by_global_norm(gradient, 1.0))  # fmt: skip
    return end.accuracy(task, rng) >= LEARNED


def wilson(count: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share ``count`` / ``n`` (Wilson 1927)."""
    middle = (count + z * z / 2) / (n + z * z)
    half = z * np.sqrt(count * (n - count) / n + z * z / 4) / (n + z * z)
    return float(middle - half), float(middle + half)
