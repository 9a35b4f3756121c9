"""Programs that raise, hang, crash, or return wrong types and shapes (P)."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import replace

import numpy as np

from ...reference.arrays import Floats
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .replaceable_layer import OutputsPart, ReplaceableLayer, RunPart

ANY = ("smoke", "forward")


@mutant(
    "P01",
    "The layer raises an error for more than one row.",
    ANY,
    fix="accept any number of rows: look for what raises when B > 1",
    part="run",
)
def raises_for_batches(layer: ReplaceableLayer, original: RunPart, inputs: Inputs) -> Result:
    if inputs.x.shape[1] > 1:
        raise RuntimeError("no kernel for this batch")
    return original(inputs)


@mutant(
    "P02",
    "The layer never returns from a sequence of more than four steps.",
    ("forward",),
    isolated=True,
    fix="end the loop over time after T steps: look for a condition that stays true, or a lock",
    part="run",
)
def hangs(layer: ReplaceableLayer, original: RunPart, inputs: Inputs) -> Result:
    while len(inputs.x) > 4:
        time.sleep(1)
    return original(inputs)


mutant(
    "P03",
    "The layer ends its process with status 0.",
    ANY,
    isolated=True,
    fix="return, or raise an exception: do not end the process with exit() or os._exit()",
    part="run",
    change=lambda layer, original, inputs: os._exit(0),
)

mutant(
    "P04",
    "The layer reads address 0, and its process crashes.",
    ANY,
    isolated=True,
    fix="check pointers, sizes and strides before native code reads memory: look for a null "
    "pointer",
    part="run",
    change=lambda layer, original, inputs: ctypes.string_at(0),
)


@mutant(
    "P05",
    "The layer allocates memory until none is left.",
    ANY,
    isolated=True,
    fix="allocate what T, B and H need and no more: look for a list or buffer that grows without "
    "end",
    part="run",
)
def eats_memory(layer: ReplaceableLayer, original: RunPart, inputs: Inputs) -> Result:
    blocks: list[Floats] = []
    while True:
        blocks.append(np.ones(2**23))  # written, so that the pages are really there


mutant(
    "P07",
    "The outputs are returned with the batch axis first instead of the time axis.",
    ("smoke", "forward"),
    fix="return y as (T, B, width), time first, unless batch-first was asked for",
    part="give_outputs",
    change=lambda layer, original, result: original(replace(result, y=result.y.swapaxes(0, 1))),
)

mutant(
    "P08",
    "The outputs are returned in float64, whatever the dtype of the input.",
    ("smoke", "forward"),
    dtypes=("float32",),
    fix="return y in the dtype of x: look for a float64 array that promotes it",
    part="give_outputs",
    change=lambda layer, original, result: original(replace(result, y=result.y.astype("float64"))),
)

mutant(
    "P09",
    "The outputs are NaN from step 100 on.",
    ("transition",),
    fix="write every step of y: from step 100 on, look for memory never written, overflow or 0 / 0",
    part="give_outputs",
    change=lambda layer, original, result: original(
        replace(result, y=np.where(np.arange(len(result.y))[:, None, None] < 100, result.y, np.nan))
    ),
)


@mutant(
    "P10",
    "The outputs are a view of a buffer that the next call overwrites.",
    ("purity",),
    fix="return a new y from every call, not a view of a buffer that the next call writes into",
    part="give_outputs",
)
def outputs_overwritten_by_the_next_call(
    layer: ReplaceableLayer, original: OutputsPart, result: Result
) -> Result:
    buffer = layer.memory.setdefault(result.y.shape, np.zeros_like(result.y))
    buffer[...] = result.y
    return original(replace(result, y=buffer[:]))
