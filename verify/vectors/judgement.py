"""The judgement of a program's outputs for vectors, without running the program."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks.quantities import GRADIENT
from ..numbers.ledger import in_bounds
from .files import Test, Vectors, numbers


@dataclass(frozen=True)
class Result:
    """One test: ``passed``, ``failed`` or ``not tested``, the worst error in bounds, the reason."""

    test: int
    status: str
    worst: float
    message: str


@dataclass(frozen=True)
class Judgement:
    """All tests, and the mistakes of the catalogue that fail exactly those that failed."""

    results: tuple[Result, ...]
    suspects: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every test passed."""
        return bool(self.results) and all(r.status == "passed" for r in self.results)

    @property
    def failed(self) -> bool:
        """Whether at least one test failed."""
        return any(r.status == "failed" for r in self.results)


def judge(document: Vectors, outputs: Mapping[str, Mapping[str, Any]]) -> Judgement:
    """Compare outputs with their vectors; tests without outputs are not tested."""
    results = tuple(_judged(test, outputs.get(str(test.id), {})) for test in document.tests)
    failed = {r.test for r in results if r.status == "failed"}
    tested = {r.test for r in results if r.status != "not tested"}
    back = any(name.startswith(GRADIENT) for got in outputs.values() for name in got)
    suspects = tuple(_suspects(document, failed, tested, back=back)) if failed else ()
    return Judgement(results, suspects)


def _suspects(
    document: Vectors, failed: set[int], tested: set[int], *, back: bool
) -> Iterator[str]:
    """Yield the mistakes that fail exactly these tests, with gradients or without."""
    for mistake in document.notes:
        caught = {
            test.id
            for test in document.tests
            if mistake in (test.catches if back else test.outputs_catch)
        }
        if caught & tested == failed:
            yield mistake


def _judged(test: Test, got: Mapping[str, Any]) -> Result:
    if not got:
        return Result(test.id, "not tested", 0.0, "no output of this test")
    worst, messages = 0.0, []
    for name, expected in test.expected.items():
        if name not in got:
            continue
        array = np.asarray(got[name])
        if array.size == 0 == math.prod(expected.shape):  # nested lists have no shape of nothing
            continue
        if array.shape != expected.shape:
            messages.append(f"{name} has the shape {array.shape}, expected {expected.shape}")
            continue
        want = numbers(expected.values, expected.shape)
        ratio = in_bounds(
            array.astype(np.float64), want, numbers(expected.bounds, expected.shape)
        )  # fmt: skip
        largest = float(ratio.max())
        if largest > 1:
            where = tuple(map(int, np.unravel_index(int(ratio.argmax()), ratio.shape)))
            messages.append(
                f"{name}{list(where)} = {float(array[where]):.9g}, expected {want[where]:.9g}"
            )
        worst = max(worst, largest)
    unknown = [name for name in got if name not in test.expected]
    if unknown:
        messages.append(f"no such output: {', '.join(unknown)}")
    if messages:
        return Result(test.id, "failed", worst, "; ".join(messages))
    missing = [name for name in test.expected if name not in got]
    note = f"not given: {', '.join(missing)}" if missing else ""
    if "y" in missing:
        return Result(test.id, "not tested", worst, note)
    return Result(test.id, "passed", worst, note)
