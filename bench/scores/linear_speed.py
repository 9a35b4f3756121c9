"""The speed of ``reference`` on linear recurrences beside their naive forms in torch, in float64.

``python -m gatewise.bench.scores.linear_speed [--json]`` times both in turns, forward and backward,
on one thread, once their results agree. The exit status is 1 if torch's naive form is faster.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from timeit import timeit
from typing import Any

import click
import numpy as np

from ...reference.cells import cells
from ...reference.gated_by_input import GatedByInput
from ...reference.layer import Layer
from ...reference.parameters import Sizes
from ...verify.subjects.torch_module import import_torch
from . import score
from .reference_speed import with_one_thread

ROUNDS = 15
SHAPES = ((64, 4, 16, 16), (64, 8, 64, 64))
"""Steps, rows, width of keys, width of values."""

CLOSE = 1e-9


def gated_delta(torch: Any, a: dict[str, Any], S: Any) -> tuple[Any, Any]:
    """Run the gated delta rule step by step, as fla's naive form does."""
    outputs, q = [], a["q"] * a["q"].shape[-1] ** -0.5
    for t in range(len(q)):
        S = S * a["g"][t].exp()[..., None, None]
        u = (a["v"][t] - (S * a["k"][t][..., None]).sum(-2)) * a["beta"][t][..., None]
        S = S + a["k"][t].unsqueeze(-1) * u.unsqueeze(-2)
        outputs.append(torch.einsum("bhd,bhdm->bhm", q[t], S))
    return torch.stack(outputs), S


def ssd(torch: Any, a: dict[str, Any], S: Any) -> tuple[Any, Any]:
    """Run Mamba-2 step by step."""
    outputs = []
    for t in range(len(a["x"])):
        decay, u = (a["dt"][t] * a["A"]).exp(), a["dt"][t][..., None] * a["x"][t]
        S = S * decay[..., None, None] + u[..., None] * a["B"][t][:, None, None]
        read = torch.einsum("bhpn,bn->bhp", S, a["C"][t])
        outputs.append(read + a["D"][:, None] * a["x"][t])
    return torch.stack(outputs), S


NAIVE = {"gated-delta": gated_delta, "ssd": ssd}


@dataclass(frozen=True)
class Row:
    """Median seconds of one run forward and backward, and torch's time as a multiple of ours."""

    cell: str
    shape: tuple[int, ...]
    ours: float
    torch: float
    ratio: float


def compared(name: str, shape: tuple[int, int, int, int], seed: int) -> Row:
    """Time both in turns; ValueError if their results differ."""
    torch, rng, (T, B, K, V) = import_torch(), np.random.default_rng(seed), shape
    cell = cells()[name]
    if not isinstance(cell, GatedByInput):
        raise TypeError(name)
    layer = Layer(cell, Sizes(K, V))
    p, x = layer.random_parameters(rng), cell.random_input(rng, T, B, layer.sizes)
    S = rng.standard_normal((1, B, *cell.state_shapes(layer.sizes)[0]))
    dy = rng.standard_normal((T, B, cell.output_width(layer.sizes)))
    leaves = {n: torch.tensor(np.ascontiguousarray(a)).requires_grad_()
              for n, a in {**cell.split(x, layer.sizes), **p[0]}.items()}  # fmt: skip
    start, d = torch.tensor(S[0]).requires_grad_(), torch.tensor(dy).reshape(T, B, 2, -1)

    def ours() -> Any:
        return layer.vjp(p, layer.forward(p, x, (S,)), dy, (S,)).initial[0][0]

    def theirs() -> Any:
        y, final = NAIVE[name](torch, leaves, start)
        arguments = [y, final], [*leaves.values(), start], [d, start.detach()]
        return torch.autograd.grad(*arguments)[-1].numpy()

    if not np.allclose(ours(), theirs(), rtol=CLOSE, atol=CLOSE):
        raise ValueError(f"{name}: the two do not agree")
    times = np.array([[timeit(run, number=1) for run in (ours, theirs)] for _ in range(ROUNDS)])
    ratio = float(np.median(times[:, 1] / times[:, 0]))
    our_time, torch_time = map(float, np.median(times, axis=0))
    return Row(name, shape, our_time, torch_time, ratio)


COLUMNS: score.Columns = {
    "cell": lambda r: r.cell,
    "T, B, K, V": lambda r: ", ".join(map(str, r.shape)),
    "torch ms": lambda r: f"{1e3 * r.torch:.1f}",
    "ours ms": lambda r: f"{1e3 * r.ours:.1f}",
    "ratio": lambda r: f"{r.ratio:.2f}",
    "": lambda r: "ok" if r.ratio >= 1 else "SHORT",
}


@click.command()
@score.seed_option
@score.json_option
def main(seed: int, as_json: bool) -> None:
    """Compare the speed of the reference's linear recurrences with naive forms in torch."""
    import_torch().set_num_threads(1)
    rows = [compared(name, shape, seed) for name in NAIVE for shape in SHAPES]
    title = "Forward and back: the time of torch's naive form / ours"
    score.print_rows(title, COLUMNS, rows, as_json=as_json)
    sys.exit(not all(row.ratio >= 1 for row in rows))


if __name__ == "__main__":
    with_one_thread(main)
