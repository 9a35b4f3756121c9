"""C16: the time of a step of RNN, GRU and LSTM, side by side, on every available backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TypeAlias

import numpy as np

from ...verify.subjects import subject_named
from ...verify.subjects.torch_module import import_torch, one_thread
from ..cost.shape import Shape
from ..speed.contender import FORWARD, TRAINING, Prepared
from ..speed.numpy_layers import prepare
from ..speed.problem import Problem
from ..speed.registry import contender_named
from ..speed.torch_layers import TorchPrepared, built_for, native
from ..timing.comparison import FASTER, SLOWER, rounds
from ..timing.measurement import Effort
from .ledger import OPEN, Evidence, claim

SHAPE = Shape(T=32, B=16, D=64, H=64)
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
            timing = rounds(calls, EFFORT, int(rng.integers(2**32)))
            lstm, gru = timing.compare("lstm", "rnn"), timing.compare("gru", "lstm")
            slower[mode], faster[mode] = lstm.verdict == SLOWER, gru.verdict == FASTER
            e.number(f"{mode}: LSTM / RNN", lstm.ratio, f"({lstm.low:.2f}-{lstm.high:.2f})")
            e.number(f"{mode}: GRU / LSTM", gru.ratio, f"({gru.low:.2f}-{gru.high:.2f})")
            e.number(f"{mode}: LSTM", 1e6 * lstm.a.median / SHAPE.T, "µs/step")
    if not find_spec("torch"):
        e.number("PyTorch", np.nan, note="not tested: torch is not installed")
    e.says("the LSTM is slower than the RNN", all(slower.values()), _not("slower", slower))
    e.says("the GRU is faster than the LSTM", all(faster.values()), _not("faster", faster))
    e.when(f"run so: LSTM slower than RNN {_where(slower)}; GRU faster than LSTM {_where(faster)}",
           within=any(slower.values()) and any(faster.values()),
           beyond=not (all(slower.values()) and all(faster.values())))  # fmt: skip


def _where(modes: dict[str, bool]) -> str:
    if all(modes.values()):
        return "everywhere"
    return "with " + (", ".join(mode for mode, does in modes.items() if does) or "nothing")


def _not(word: str, modes: dict[str, bool]) -> str:
    return f"not {word} beyond doubt: {', '.join(mode for mode, does in modes.items() if not does)}"


Backend: TypeAlias = Callable[[np.random.Generator], Iterator[tuple[str, Calls]]]
"""A generator of modes, with the calls to time while it is suspended."""


def numpy_backend(rng: np.random.Generator) -> Iterator[tuple[str, Calls]]:
    """Yield the calls of the reference: NumPy, float64."""
    names = {"rnn": "rnn", "gru": "gru-keeps-old", "lstm": "lstm"}
    ready = {key: prepare(Problem(name, SHAPE, "float64")) for key, name in names.items()}
    yield "NumPy reference (training)", _calls(ready, TRAINING)


def torch_backend(rng: np.random.Generator) -> Iterator[tuple[str, Calls]]:
    """Yield those of ``torch.nn`` on one CPU thread, with and without oneDNN, and on CUDA."""
    if not find_spec("torch"):
        return
    torch = import_torch()
    subjects = {key: subject_named(f"torch:{key.upper()}") for key in ("rnn", "gru", "lstm")}
    problems = {key: Problem(key, SHAPE, "float32") for key in subjects}
    with one_thread(torch):
        for suffix, setting in ("", nullcontext), (" without oneDNN", native):
            ready: dict[str, Prepared] = {}
            for key, problem in problems.items():
                built = replace(built_for(problem, subjects[key]), setting=setting)
                ready[key] = TorchPrepared(problem, subjects[key], built)
            for mode, phase in MODES.items():
                yield f"PyTorch CPU{suffix} ({mode})", _calls(ready, phase)
    if torch.cuda.is_available():
        ready = {key: contender_named(f"cudnn:{key.upper()}").prepare(problem)
                 for key, problem in problems.items()}  # fmt: skip
        for mode, phase in MODES.items():
            yield f"PyTorch CUDA ({mode})", _calls(ready, phase)


BACKENDS: tuple[Backend, ...] = (numpy_backend, torch_backend)
MODES = {"training": TRAINING, "inference": FORWARD}


def _calls(ready: Mapping[str, Prepared], phase: str) -> Calls:
    return {
        key: partial(layer.call, phase, layer.to_native(layer.problem.cotangents()))
        for key, layer in ready.items()
    }
