"""The speed of ``reference.fast`` beside ``torch.nn.LSTM``, one CPU thread each.

``python -m gatewise.bench.scores.reference_speed [--json]`` measures both ways, alternately torch
and gatewise, so that what else the machine does meets both, and judges the median of the paired
ratios. Both compute the gradients of all parameters, x, h0 and c0 from cotangents on y, h and c;
that they agree is checked first. The exit status is 1 if a required ratio is missed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from ...reference.cells import cell_named
from ...reference.fast import lstm_backward, lstm_forward
from ...reference.functions import Array
from ...reference.parameters import Parameters, Sizes
from ...verify.runs.provenance import machine, versions

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""What NumPy's and torch's libraries read once, when they are loaded."""

FEWEST_PAIRS, MOST_PAIRS = 15, 1000
RESAMPLES = 2000

Side: TypeAlias = Callable[[], Mapping[str, Array]]
"""Runs forward and backward; returns the results by name, each side in its own shapes."""


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
    x, h0, c0 = normal(T, B, D), normal(B, H), normal(B, H)
    return Problem(p, x, h0, c0, dy=normal(T, B, H), dh=normal(B, H), dc=normal(B, H))


def gatewise_side(q: Problem) -> Side:
    """Forward and backward of ``reference.fast``."""

    def run() -> Mapping[str, Array]:
        run = lstm_forward(q.p, q.x, q.h0, q.c0)
        dp, dx, dh0, dc0 = lstm_backward(q.p, run, q.dy, q.dh, q.dc)
        return {"y": run.y, "h": run.h, "c": run.c, **dp, "x": dx, "h0": dh0, "c0": dc0}

    return run


def torch_side(q: Problem) -> Side:
    """Forward and backward of ``torch.nn.LSTM``, on one thread."""
    import torch  # may be absent: everything else here works without

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


class DisagreementError(RuntimeError):
    """The two sides did not compute the same, so that their times say nothing."""


def check_agreement(ours: Mapping[str, Array], torchs: Mapping[str, Any]) -> None:
    """Raise DisagreementError where results differ by over 1000 roundings of the largest element.

    This guards against timing two different things; the proof is ``tests/reference/test_fast.py``.
    """
    for name, array in ours.items():
        other = torchs[name].detach().numpy()
        if name in "WUb":  # torch stacks the gates along the rows: (4 H, D), (4 H, H), (4 H,)
            other = other.reshape(4, -1, *other.shape[1:]).swapaxes(1, -1)
        apart = float(np.abs(array - other.reshape(array.shape)).max() / np.abs(other).max())
        allowed = 1000 * float(np.finfo(array.dtype).eps)
        if not apart <= allowed:
            raise DisagreementError(f"{name}: {apart:.1e} apart, allowed {allowed:.1e}")


def measure(case: Case, seed: int, seconds: float) -> Measured:
    """Time both sides alternately for about so many seconds."""
    problem = draw(case, seed)
    sides = torch_side(problem), gatewise_side(problem)
    check_agreement(sides[1](), sides[0]())
    times: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(times) < FEWEST_PAIRS or (len(times) < MOST_PAIRS and time.perf_counter() < end):
        times.append([_milliseconds(side) for side in sides])
    torch_ms, gatewise_ms = np.array(times).T
    ratios = torch_ms / gatewise_ms
    low, high = _interval(ratios, np.random.default_rng(seed))
    torch_median, gatewise_median, ratio = (
        float(np.median(a)) for a in (torch_ms, gatewise_ms, ratios)
    )
    return Measured(case, len(times), torch_median, gatewise_median, ratio, low, high)


def _milliseconds(side: Side) -> float:
    start = time.perf_counter()
    side()
    return 1000 * (time.perf_counter() - start)


def _interval(ratios: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the median (Efron 1979)."""
    medians = np.median(rng.choice(ratios, (RESAMPLES, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def blas() -> str:
    """Return the name and version of the BLAS that NumPy was built with."""
    built: Any = np.show_config(mode="dicts")
    found = built["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}"


def table(rows: Sequence[Measured]) -> Table:
    """Lay out the measurements."""
    title = "Forward and backward: the time of torch.nn.LSTM / that of gatewise"
    result = Table(title=title, box=box.SIMPLE, padding=0)
    headings = ("dtype", "T, B, D, H", "pairs", "torch ms", "ours ms", "ratio", "95 %", "required")
    for heading in (*headings, ""):
        result.add_column(heading, justify="right", no_wrap=True)
    for r in rows:
        sizes = ", ".join(str(size) for size in (r.case.T, r.case.B, r.case.D, r.case.H))
        times = f"{r.torch_ms:.2f}", f"{r.gatewise_ms:.2f}", f"{r.ratio:.2f}"
        interval, required = f"{r.low:.2f}-{r.high:.2f}", f">= {r.case.required:.1f}"
        verdict = "[green]ok[/]" if r.ok else "[red]short[/]"
        result.add_row(r.case.dtype, sizes, str(r.pairs), *times, interval, required, verdict)
    return result


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--seed", default=0, show_default=True, help="Seed of problems and bootstrap.")
@click.option("--seconds", default=8.0, show_default=True, help="Time for each case.")
def main(as_json: bool, seed: int, seconds: float) -> None:
    """Compare the speed of gatewise's LSTM with torch's, one CPU thread each."""
    rows = [measure(case, seed, seconds) for case in CASES]
    about = {"seed": str(seed), "threads": "1", "blas": blas(), **versions(), **machine()}
    if as_json:
        measured = [asdict(row) | {"ok": row.ok} for row in rows]
        click.echo(json.dumps({"about": about, "measured": measured}, indent=2))
    else:
        console = Console()
        console.print(table(rows))
        console.print(", ".join(f"{name} {value}" for name, value in about.items()))
    sys.exit(not all(row.ok for row in rows))


if __name__ == "__main__":
    if os.environ | ONE_THREAD != os.environ:  # too late for NumPy, which has been imported: again
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, os.environ | ONE_THREAD)  # noqa: S606  # our own command
    main()
