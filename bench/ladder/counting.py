"""What a rung does, counted: products, calls of NumPy, arrays made, bytes.

Unlike times, counts are the same on every machine. Calls are counted by handing the rung arrays
that note every operation made with them, bytes by ``tracemalloc``, to which NumPy reports.
"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from ...reference import fast
from ...reference.functions import Array
from . import four_products, hoisted, in_place, one_product, pointwise, stacked
from .problem import Problem
from .rungs import Rung

MODULES = (four_products, one_product, hoisted, in_place, stacked, pointwise, fast)
"""Where rungs make their arrays."""


@dataclass
class Counts:
    """Of one call: matrix products and their operations, calls of NumPy, and arrays.

    A product of stacked matrices counts as many. ``made`` arrays were allocated for results, with
    ``written`` bytes in all. ``peak`` is how many bytes more than before are in use at a time,
    ``kept`` how many still are when the forward pass has returned.
    """

    products: int = 0
    flop: int = 0
    calls: int = 0
    made: int = 0
    written: int = 0
    peak: int = 0
    kept: int = 0


def counted(rung: Rung, q: Problem, *, backward: bool) -> Counts:
    """Count what the forward pass does, or both."""
    counts = Counts()
    with _watching(counts) as watched:
        given = q.map(watched)
        _run(rung, given, backward=backward)
    counts.peak, counts.kept = _bytes(rung, q, backward=backward)
    return counts


def _run(rung: Rung, q: Problem, *, backward: bool) -> Any:
    with np.errstate(over="ignore"):
        run = rung.forward(q.p, q.x, q.h0, q.c0)
        return rung.backward(q.p, run, q.dy, q.dh, q.dc) if backward else run


def _bytes(rung: Rung, q: Problem, *, backward: bool) -> tuple[int, int]:
    """Return the peak of a call, and what the forward pass leaves behind."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = _run(rung, q, backward=False)
        kept = tracemalloc.get_traced_memory()[0] - before
        del held
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        _run(rung, q, backward=backward)
        return tracemalloc.get_traced_memory()[1] - before, kept
    finally:
        tracemalloc.stop()


class _Watched(np.ndarray):
    """An array that notes what is done with it, and whose results do so too."""

    counts: Counts

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        out = options.pop("out", ())
        if out and out[0] is not None:
            options["out"] = tuple(_plain(a) for a in out)
        plain = [_plain(a) for a in inputs]
        result = getattr(ufunc, method)(*plain, **options)
        self.counts.calls += 1
        if ufunc is np.matmul:
            self.counts.products += math.prod(result.shape[:-2])
            self.counts.flop += 2 * result.size * plain[0].shape[-1]
        if out and out[0] is not None:
            return out[0]
        return self._made(result)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function is np.concatenate:
            self.counts.calls += 1
            return self._made(np.concatenate([_plain(a) for a in args[0]], *args[1:], **options))
        return super().__array_function__(function, types, args, options)

    def _made(self, result: Array) -> Array:
        self.counts.made += 1
        self.counts.written += result.nbytes
        return np.asarray(result).view(type(self))


def _plain(a: Any) -> Any:
    return a.view(np.ndarray) if isinstance(a, _Watched) else a


@contextmanager
def _watching(counts: Counts) -> Iterator[Callable[[Array], Array]]:
    """Yield what turns arrays into watched ones; arrays that rungs make meanwhile are watched."""
    kind = type("Watched", (_Watched,), {"counts": counts})

    class WatchedNumPy:
        """NumPy, whose empty arrays are watched."""

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        def empty(self, *args: Any, **options: Any) -> Array:
            return np.empty(*args, **options).view(kind)

    numpy = WatchedNumPy()
    patches = [patch.object(module, "np", numpy) for module in MODULES]
    for each in patches:
        each.start()
    try:
        yield lambda array: array.view(kind)
    finally:
        for each in patches:
            each.stop()
