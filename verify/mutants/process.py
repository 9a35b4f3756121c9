"""Programs that misbehave as programs: they raise, hang, die, or return the wrong kind (P)."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import replace

import numpy as np

from ...reference.functions import Array
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import PLAIN
from .replaceable_layer import ReplaceableLayer

ANY = ("smoke", "forward")


@mutant(
    "P01",
    statement="The layer raises an error for more than one row.",
    cells=PLAIN,
    killed_by=ANY,
    fix="accept any number of rows: look for what raises when B > 1",
)
def raises_for_batches(layer: ReplaceableLayer) -> None:
    right = layer.run

    def run(inputs: Inputs) -> Result:
        if inputs.x.shape[1] > 1:
            raise RuntimeError("no kernel for this batch")
        return right(inputs)

    layer.run = run


@mutant(
    "P02",
    statement="The layer never returns from a sequence of more than four steps.",
    cells=PLAIN,
    killed_by=("forward",),
    isolated=True,
    fix="end the loop over time after T steps: look for a condition that stays true, or a lock",
)
def hangs(layer: ReplaceableLayer) -> None:
    right = layer.run

    def run(inputs: Inputs) -> Result:
        while len(inputs.x) > 4:
            time.sleep(1)
        return right(inputs)

    layer.run = run


@mutant(
    "P03",
    statement="The layer ends its process with status 0.",
    cells=PLAIN,
    killed_by=ANY,
    isolated=True,
    fix="return, or raise an exception: do not end the process with exit() or os._exit()",
)
def exits(layer: ReplaceableLayer) -> None:
    def run(inputs: Inputs) -> Result:
        os._exit(0)

    layer.run = run


@mutant(
    "P04",
    statement="The layer reads address 0, and its process crashes.",
    cells=PLAIN,
    killed_by=ANY,
    isolated=True,
    fix="check pointers, sizes and strides before native code reads memory: look for a null "
    "pointer",
)
def segmentation_fault(layer: ReplaceableLayer) -> None:
    right = layer.run

    def run(inputs: Inputs) -> Result:
        ctypes.string_at(0)
        return right(inputs)

    layer.run = run


@mutant(
    "P05",
    statement="The layer allocates memory until none is left.",
    cells=PLAIN,
    killed_by=ANY,
    isolated=True,
    fix="allocate what T, B and H need and no more: look for a list or buffer that grows "
    "without end",
)
def eats_memory(layer: ReplaceableLayer) -> None:
    def run(inputs: Inputs) -> Result:
        taken: list[Array] = []
        while True:
            taken.append(np.ones(2**23))  # written, so that the pages are really there

    layer.run = run


@mutant(
    "P07",
    statement="The outputs are returned with the batch axis first instead of the time axis.",
    cells=PLAIN,
    killed_by=("smoke", "forward"),
    fix="return y as (T, B, width), time first, unless batch-first was asked for",
)
def outputs_with_the_batch_first(layer: ReplaceableLayer) -> None:
    right = layer.give_outputs
    layer.give_outputs = lambda result: right(replace(result, y=result.y.swapaxes(0, 1)))


@mutant(
    "P08",
    statement="The outputs are returned in float64, whatever the dtype of the input.",
    cells=PLAIN,
    killed_by=("smoke", "forward"),
    dtypes=("float32",),
    fix="return y in the dtype of x: look for a float64 array that promotes it",
)
def outputs_of_another_dtype(layer: ReplaceableLayer) -> None:
    right = layer.give_outputs
    layer.give_outputs = lambda result: right(replace(result, y=result.y.astype("float64")))


@mutant(
    "P09",
    statement="The outputs are NaN from step 100 on.",
    cells=PLAIN,
    killed_by=("transition",),
    fix="write every step of y: from step 100 on, look for memory never written, overflow or 0 / 0",
)
def nan_from_step_100(layer: ReplaceableLayer) -> None:
    right = layer.give_outputs

    def give(result: Result) -> Result:
        y = result.y.copy()
        y[100:] = np.nan
        return right(replace(result, y=y))

    layer.give_outputs = give


@mutant(
    "P10",
    statement="The outputs are a view of a buffer that the next call overwrites.",
    cells=PLAIN,
    killed_by=("purity",),
    fix="return a new y from every call, not a view of a buffer that the next call writes into",
)
def outputs_overwritten_by_the_next_call(layer: ReplaceableLayer) -> None:
    right = layer.give_outputs
    buffers: dict[tuple[int, ...], Array] = {}

    def give(result: Result) -> Result:
        buffer = buffers.setdefault(result.y.shape, np.zeros_like(result.y))
        buffer[...] = result.y
        return right(replace(result, y=buffer[:]))

    layer.give_outputs = give
