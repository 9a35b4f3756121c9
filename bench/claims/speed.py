"""C16: the time of a step of RNN, GRU and LSTM, side by side, on every backend there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np

from ...reference.cells import cell_named
from ...reference.parameters import Sizes
from ...reference.sequence import backpropagate, unroll
from ..timing import FASTER, SLOWER, Effort, rounds
from .claim import claim
from .evidence import OPEN, Evidence

T, B, D, H = 32, 16, 64, 64
EFFORT = Effort(seconds=0.2, patience=1.0, half_width=0.02)

Calls: TypeAlias = dict[str, Callable[[], object]]
"""One call for each of rnn, gru and lstm."""


@claim(
    "C16", "The LSTM trains more slowly per step than the RNN; the GRU is faster than the LSTM.",
    documents=("D1", "D2"), about=("E04", "E17", "E23b"), reading=OPEN,
)  # fmt: skip
def time_of_a_step(e: Evidence, rng: np.random.Generator) -> None:
    """Time forward and backward, and forward alone; all three cells take turns."""
    slower, faster = {}, {}
    for backend in BACKENDS:
        for mode, calls in backend(rng):
            taken = rounds(calls, EFFORT, int(rng.integers(2**32)))
            lstm, gru = taken.compare("lstm", "rnn"), taken.compare("gru", "lstm")
            slower[mode], faster[mode] = lstm.verdict == SLOWER, gru.verdict == FASTER
            e.number(f"{mode}: LSTM / RNN", lstm.ratio, f"({lstm.low:.2f}-{lstm.high:.2f})")
            e.number(f"{mode}: GRU / LSTM", gru.ratio, f"({gru.low:.2f}-{gru.high:.2f})")
            e.number(f"{mode}: LSTM", 1e6 * lstm.a.median / T, "µs/step")
    if not find_spec("torch"):
        e.number("PyTorch", np.nan, note="not tested: torch is not installed")
    e.says("the LSTM is slower than the RNN", all(slower.values()), _not("slower", slower))
    e.says("the GRU is faster than the LSTM", all(faster.values()), _not("faster", faster))
    e.when(f"run so: LSTM slower than RNN {_where(slower)}; GRU faster than LSTM {_where(faster)}",
           within=any(slower.values()) and any(faster.values()),
           beyond=not (all(slower.values()) and all(faster.values())))  # fmt: skip


def _where(found: dict[str, bool]) -> str:
    if all(found.values()):
        return "everywhere"
    return "with " + (", ".join(mode for mode, does in found.items() if does) or "nothing")


def _not(what: str, found: dict[str, bool]) -> str:
    return f"not {what} beyond doubt: {', '.join(mode for mode, does in found.items() if not does)}"


Backend: TypeAlias = Callable[[np.random.Generator], Iterator[tuple[str, Calls]]]
"""Yields the name of a mode, and the calls to time while the generator waits."""


def numpy_backend(rng: np.random.Generator) -> Iterator[tuple[str, Calls]]:
    """The reference: NumPy, float64."""

    def training(name: str) -> Callable[[], object]:
        cell, sizes = cell_named(name), Sizes(D, H)
        p, x = cell.random_parameters(rng, sizes), rng.standard_normal((T, B, D))
        state, dy = cell.initial_state(x, B, sizes), np.ones((T, B, H))

        def call() -> object:
            run = unroll(cell, p, x, state)
            return backpropagate(cell, p, run, dy, state)

        return call

    names = {"rnn": "rnn", "gru": "gru-keeps-old", "lstm": "lstm"}
    yield "NumPy reference (training)", {key: training(name) for key, name in names.items()}


def torch_backend(rng: np.random.Generator) -> Iterator[tuple[str, Calls]]:
    """``torch.nn`` on one CPU thread, with and without oneDNN; and on CUDA where there is one."""
    if not find_spec("torch"):
        return
    import torch

    for native in (False, True):
        with _settings(torch, onednn=not native):
            how = "PyTorch CPU" + (" without oneDNN" if native else "")
            yield f"{how} (training)", _torch_calls(torch, "cpu", training=True)
            yield f"{how} (inference)", _torch_calls(torch, "cpu", training=False)
    if torch.cuda.is_available():
        yield "PyTorch CUDA (training)", _torch_calls(torch, "cuda", training=True)
        yield "PyTorch CUDA (inference)", _torch_calls(torch, "cuda", training=False)


BACKENDS: tuple[Backend, ...] = (numpy_backend, torch_backend)


@contextmanager
def _settings(torch: Any, *, onednn: bool) -> Iterator[None]:
    """One thread, with or without oneDNN; afterwards as it was."""
    before = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(1)
    torch.backends.mkldnn.enabled = onednn
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.mkldnn.enabled = before[1]


def _torch_calls(torch: Any, device: str, *, training: bool) -> Calls:
    """Return calls that run a float32 layer over T steps, and wait for the device."""
    x = torch.randn(T, B, D, device=device)

    def one(kind: str) -> Callable[[], object]:
        layer = getattr(torch.nn, kind)(D, H).to(device)
        leaves = list(layer.parameters())

        def call() -> object:
            if training:
                found = torch.autograd.grad(layer(x)[0].sum(), leaves)
            else:
                with torch.no_grad():
                    found = layer(x)
            if device == "cuda":
                torch.cuda.synchronize()
            return found

        return call

    return {"rnn": one("RNN"), "gru": one("GRU"), "lstm": one("LSTM")}
