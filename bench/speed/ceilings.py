"""The limits of this machine, measured in the same session: products, copies, empty calls.

A layer's ceiling is the time of its matrix products alone, of the same shapes, by the faster of
the installed libraries: once over all steps where no step waits for another, else T times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np

from ..cost.layer import Cost
from ..cost.step import count_step
from ..timing.measurement import Effort, measure
from .contender import BACKWARD, DATA, FORWARD, TRAINING
from .problem import STORED, Problem

BRIEF = Effort(seconds=0.01, patience=0.06)
COPY_BYTES = 2**26
"""Bytes of the array for copies: more than most caches hold."""

CUBE = 768
"""The sides of the matrices of the machine's reference product."""


def products(problem: Problem, phase: str) -> Counter[tuple[int, int, int]]:
    """Return the products (m, k) times (k, n) of a pass, and the number of each.

    The products of all gates count as one.
    """
    layer, (T, B) = problem.layer, (problem.shape.T, problem.shape.B)
    counts: Counter[tuple[int, int, int]] = Counter()
    for sizes in layer.pass_sizes:
        step, width = count_step(layer.cell, sizes, B), layer.cell.widths(sizes)[0]
        n, input_columns = step.recurrent // width, step.feeding // sizes.D
        forward = (((B, width, n), T), ((T * B, sizes.D, input_columns), 1))
        data = (((B, n, width), T), ((T * B, input_columns, sizes.D), 1))
        weights = (((width, T * B, n), 1), ((sizes.D, T * B, input_columns), 1))
        parts = {
            FORWARD: forward,
            DATA: data,
            BACKWARD: data + weights,
            TRAINING: forward + data + weights,
        }
        for mkn, count in parts[phase]:
            counts[mkn] += count  # where D is H, two may have the same sizes
    return counts


def seconds(problem: Problem, passes: tuple[str, ...]) -> dict[str, float]:
    """Return the seconds that the products of each pass take alone."""
    products_by_pass = {phase: products(problem, phase) for phase in passes}
    sizes = {mkn for counts in products_by_pass.values() for mkn in counts}
    times = {mkn: _product_seconds(*mkn, problem.dtype) for mkn in sizes}
    return {phase: sum(n * times[m] for m, n in p.items()) for phase, p in products_by_pass.items()}


def _product_seconds(m: int, k: int, n: int, dtype: str) -> float:
    return min(measure(call, BRIEF).median for call in product_calls(m, k, n, dtype))


def product_calls(m: int, k: int, n: int, dtype: str) -> Iterator[Callable[[], object]]:
    """Yield a call that multiplies (m, k) by (k, n), for every library."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(size).astype(STORED[dtype]) for size in ((m, k), (k, n)))
    if STORED[dtype] == dtype != "float16":
        out = np.empty((m, n), a.dtype)
        yield lambda: np.matmul(a, b, out=out)
    if find_spec("torch"):
        import torch

        x, y = (torch.tensor(array).to(getattr(torch, dtype)) for array in (a, b))
        result = torch.empty((m, n), dtype=x.dtype)
        yield lambda: torch.mm(x, y, out=result)


def machine(dtypes: tuple[str, ...]) -> dict[str, float]:
    """Return the machine's own ceilings by name and unit."""
    limits = {}
    for dtype in dtypes:
        best = _product_seconds(CUBE, CUBE, CUBE, dtype)
        limits[f"product {dtype} GFLOP/s"] = 2 * CUBE**3 / best / 1e9
    source = np.ones(COPY_BYTES // 8)
    target = np.empty_like(source)
    copy = measure(lambda: np.copyto(target, source), BRIEF).median
    limits["copy GB/s"] = 2 * COPY_BYTES / copy / 1e9
    number = np.ones(1)
    empty: dict[str, Callable[[], object]] = {  # calls that do nothing, or next to nothing
        "Python": lambda: None, "NumPy": lambda: np.negative(number, out=number),
    }  # fmt: skip
    if find_spec("torch"):
        import torch

        empty["torch"] = torch.ones(1).neg_
    return limits | {
        f"empty {name} call us": 1e6 * measure(call, BRIEF).median for name, call in empty.items()
    }


def work(problem: Problem) -> dict[str, dict[str, float]]:
    """Return, for every pass, the flop in both conventions and the bytes moved and held."""
    cost = Cost(problem.layer, problem.shape.T, problem.shape.B)
    size = 2 if problem.dtype in ("float16", "bfloat16") else np.dtype(problem.dtype).itemsize
    flop = {FORWARD: "forward", TRAINING: "training", BACKWARD: "backward"}
    by_pass: dict[str, dict[str, float]] = {}
    for phase, name in flop.items():
        by_pass[phase] = {
            "flop": cost.flop(name),
            "recurrent_flop": cost.recurrent_flop(name),
            "sequential_flop": cost.sequential[name],
            "bytes": cost.words(name) * size,
            "streamed_bytes": cost.words(name, streamed=True) * size,
            "held_bytes": cost.resident_words(name) * size,
        }
    data = cost.backward_data.product
    by_pass[DATA] = by_pass[BACKWARD] | {"flop": data, "recurrent_flop": cost.recurrent_flop()}
    return by_pass
