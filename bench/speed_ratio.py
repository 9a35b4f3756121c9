"""How fast is ``reference.fast`` beside ``torch.nn.LSTM`` on one CPU thread?

``python -m gatewise.bench.speed_ratio [--json]`` measures forward and backward, alternately torch
and gatewise, so that what else the machine does meets both, and judges the median of the paired
ratios. Both compute the gradients of all parameters, x, h0 and c0 from cotangents on y, h and c;
that they agree is checked first. The exit status is 1 if a required ratio is missed.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from ..reference.cells import cell_named
from ..reference.fast import lstm_backward, lstm_forward
from ..reference.functions import Array
from ..reference.parameters import Parameters, Sizes

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
"""What NumPy's and torch's libraries read once, when they are loaded."""

FEWEST_PAIRS, MOST_PAIRS = 15, 1000
RESAMPLES = 2000

Side: TypeAlias = Callable[[], Mapping[str, Array]]
"""Runs forward and backward; the results by name, in torch's shapes or ours: see ``agree``."""


@dataclass(frozen=True)
class Case:
    """A dtype, sizes, and how many times torch's speed is required."""

    dtype: str
    T: int
    B: int
    D: int
    H: int
    required: float

    @property
    def name(self) -> str:
        """What tables and benchmarks call it."""
        return f"{self.dtype}-T{self.T}-B{self.B}-D{self.D}-H{self.H}"


CASES = (
    Case("float64", 20, 1, 16, 16, 1.5),
    Case("float64", 50, 8, 64, 64, 1.5),
    Case("float64", 100, 32, 128, 128, 0.9),
    Case("float64", 25, 64, 512, 512, 0.9),
    Case("float32", 20, 1, 16, 16, 0.4),
    Case("float32", 50, 8, 64, 64, 0.4),
    Case("float32", 100, 32, 128, 128, 0.4),
    Case("float32", 25, 64, 512, 512, 0.4),
)


@dataclass(frozen=True)
class Problem:
    """Parameters, x (T, B, D), states (B, H), and cotangents on y (T, B, H), h and c."""

    p: Parameters
    x: Array
    h0: Array
    c0: Array
    dy: Array
    dh: Array
    dc: Array


@dataclass(frozen=True)
class Measured:
    """Median times, and the median of the paired ratios with its 95 % bootstrap interval."""

    case: Case
    pairs: int
    torch_ms: float
    gatewise_ms: float
    ratio: float
    low: float
    high: float

    @property
    def ok(self) -> bool:
        """Whether the required ratio is reached."""
        return self.ratio >= self.case.required


def draw(case: Case, seed: int) -> Problem:
    """Draw a problem; the weights are N(0, 1/fan-in)."""
    rng, (T, B, D, H) = np.random.default_rng(seed), (case.T, case.B, case.D, case.H)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(case.dtype)

    p = cell_named("lstm").random_parameters(rng, Sizes(D, H)).map(lambda a: a.astype(case.dtype))
    states = [normal(B, H) for _ in range(4)]
    return Problem(p, normal(T, B, D), *states[:2], normal(T, B, H), *states[2:])


def gatewise_side(q: Problem) -> Side:
    """Forward and backward of ``reference.fast``."""

    def run() -> Mapping[str, Array]:
        run = lstm_forward(q.p, q.x, q.h0, q.c0)
        dp, dx, dh0, dc0 = lstm_backward(q.p, run, q.dy, q.dh, q.dc)
        return {"y": run.y, "h": run.h, "c": run.c, **dp, "x": dx, "h0": dh0, "c0": dc0}

    return run


def torch_side(q: Problem) -> Side:
    """Forward and backward of ``torch.nn.LSTM``, on one thread."""
    import torch

    torch.set_num_threads(1)
    (D, H), dtype = q.p["W"].shape[1:], getattr(torch, q.x.dtype.name)
    layer = torch.nn.LSTM(D, H, dtype=dtype)
    weights = [np.concatenate([gate.T for gate in q.p[name]]) for name in "WU"]
    values = [*weights, q.p["b"].ravel(), np.zeros(4 * H)]
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(value))
    x, h0, c0 = (torch.tensor(a, requires_grad=True) for a in (q.x, q.h0[None], q.c0[None]))
    cotangents = [torch.from_numpy(a) for a in (q.dy, q.dh[None], q.dc[None])]
    leaves = [*layer.parameters(), x, h0, c0]

    def run() -> Mapping[str, Any]:
        y, (h, c) = layer(x, (h0, c0))
        dW, dU, db, _, dx, dh0, dc0 = torch.autograd.grad((y, h, c), leaves, cotangents)
        return {"y": y, "h": h, "c": c, "W": dW, "U": dU, "b": db, "x": dx, "h0": dh0, "c0": dc0}

    return run


def assert_agreement(ours: Mapping[str, Array], torchs: Mapping[str, Any]) -> None:
    """Raise AssertionError unless both computed the same, to 1000 roundings of the largest element.

    This guards against timing two different things. The proof is ``tests/test_fast.py``.
    """
    for name, array in ours.items():
        other = torchs[name].detach().numpy()
        if name in "WUb":  # gates along the rows: (4 H, D)
            other = other.reshape(4, -1, *other.shape[1:]).swapaxes(1, -1)
        apart = float(np.abs(array - other.reshape(array.shape)).max() / np.abs(other).max())
        allowed = 1000 * float(np.finfo(array.dtype).eps)
        assert apart <= allowed, f"{name}: {apart:.1e} apart, allowed {allowed:.1e}"


def measure(case: Case, seed: int, seconds: float) -> Measured:
    """Time both sides alternately for about so many seconds."""
    problem = draw(case, seed)
    sides = torch_side(problem), gatewise_side(problem)
    assert_agreement(sides[1](), sides[0]())
    times: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(times) < FEWEST_PAIRS or (len(times) < MOST_PAIRS and time.perf_counter() < end):
        times.append([_milliseconds(side) for side in sides])
    torch_ms, gatewise_ms = np.array(times).T
    ratios = torch_ms / gatewise_ms
    low, high = _interval(ratios, np.random.default_rng(seed))
    medians = (float(np.median(a)) for a in (torch_ms, gatewise_ms, ratios))
    return Measured(case, len(times), *medians, low, high)


def _milliseconds(side: Side) -> float:
    start = time.perf_counter()
    side()
    return 1000 * (time.perf_counter() - start)


def _interval(ratios: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the median (Efron 1979)."""
    medians = np.median(rng.choice(ratios, (RESAMPLES, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def versions() -> dict[str, str]:
    """Return the versions of all that takes part."""
    import torch

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def table(rows: Sequence[Measured]) -> Table:
    """Lay out the measurements."""
    result = Table(title="Forward and backward: torch.nn.LSTM's time / gatewise's")
    for heading in ("dtype", "T, B, D, H", "pairs", "torch ms", "gatewise ms"):
        result.add_column(heading, justify="right")
    for heading in ("ratio", "95 %", "required", ""):
        result.add_column(heading, justify="right")
    for r in rows:
        sizes = f"{r.case.T}, {r.case.B}, {r.case.D}, {r.case.H}"
        times = f"{r.torch_ms:.2f}", f"{r.gatewise_ms:.2f}", f"{r.ratio:.2f}"
        interval, required = f"{r.low:.2f} to {r.high:.2f}", f"{r.case.required:.2f}"
        verdict = "[green]ok[/]" if r.ok else "[red]short[/]"
        result.add_row(r.case.dtype, sizes, str(r.pairs), *times, interval, required, verdict)
    return result


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--seed", default=0, show_default=True, help="Seed of problems and bootstrap.")
@click.option("--seconds", default=8.0, show_default=True, help="Time for each case.")
def main(as_json: bool, seed: int, seconds: float) -> None:
    """Compare the speed of gatewise's LSTM with torch's, one CPU thread each."""
    if any(os.environ.get(name) != limit for name, limit in ONE_THREAD.items()):
        os.execve(sys.executable, sys.orig_argv, os.environ | ONE_THREAD)  # NumPy is loaded already
    rows = [measure(case, seed, seconds) for case in CASES]
    about: dict[str, Any] = {"seed": seed, "threads": 1, "versions": versions()}
    if as_json:
        listed = [asdict(row) | {"ok": row.ok} for row in rows]
        click.echo(json.dumps(about | {"measured": listed}, indent=2))
    else:
        console = Console()
        console.print(table(rows))
        told = ", ".join(f"{name} {version}" for name, version in versions().items())
        console.print(f"seed {seed}; 1 thread; {told}")
    sys.exit(not all(row.ok for row in rows))


if __name__ == "__main__":
    main()
