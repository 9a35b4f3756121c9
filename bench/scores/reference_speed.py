"""The speed of ``reference.fast`` beside ``torch.nn.LSTM``, one CPU thread each.

``python -m gatewise.bench.scores.reference_speed [--json]`` times both in turns as contenders of
``bench speed``, in training, once the gate has passed them. The exit status is 1 if a
required ratio is missed.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from typing import Any

import click

from ...verify.subjects.torch_module import import_torch
from ..cost.shape import Shape
from ..run import from_json
from ..speed.contender import TRAINING
from ..speed.measurement import EFFORTS, Request, measured
from ..speed.rows import Group
from ..timing.comparison import Comparison, Rounds
from ..timing.environment import environment
from . import score

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""The variables that NumPy's and torch's libraries read once, when they are loaded."""

TORCH, OURS = SIDES = ("torch:LSTM", "numpy-fast:lstm")


@dataclass(frozen=True)
class Case:
    """A dtype, sizes, and the required speed as a multiple of torch's."""

    dtype: str
    shape: Shape
    required: float


CASES = tuple(
    Case(dtype, Shape(*sizes), required)
    for dtype, sizes, required in (
        ("float64", (20, 1, 16, 16), 1.5),
        ("float64", (50, 8, 64, 64), 1.5),
        ("float64", (100, 32, 128, 128), 0.9),
        ("float64", (25, 64, 512, 512), 0.9),
        ("float32", (20, 1, 16, 16), 0.4),
        ("float32", (50, 8, 64, 64), 0.4),
        ("float32", (100, 32, 128, 128), 0.4),
        ("float32", (25, 64, 512, 512), 0.4),
    )
)


class NotTimedError(RuntimeError):
    """One of the two has no timing; the message says why."""


@dataclass(frozen=True)
class Row:
    """The time of torch.nn.LSTM as a multiple of that of gatewise."""

    case: Case
    comparison: Comparison

    @property
    def ok(self) -> bool:
        """True if the required ratio is reached."""
        return self.comparison.ratio >= self.case.required

    @property
    def numbers(self) -> dict[str, Any]:
        """The row as JSON values, without samples; times are medians in seconds."""
        c = self.comparison
        return {**asdict(self.case), "pairs": c.pairs, "torch": c.a.median, "gatewise": c.b.median,
                "ratio": c.ratio, "low": c.low, "high": c.high, "ok": self.ok}  # fmt: skip


def compared(case: Case, seed: int) -> Row:
    """Time both in turns."""
    request = Request(str(case.shape), "lstm", case.shape, case.dtype, SIDES, (TRAINING,),
                  effort="standard", longest=60.0, seed=seed)  # fmt: skip
    group = from_json(Group, {"id": request.id, **measured(request, lambda doing: None)})
    timings = {}
    for entry in group.entries:
        if entry.timing is None:
            raise NotTimedError(f"{entry.subject} {case.shape} {case.dtype}: {entry.message}")
        timings[entry.subject] = entry.timing
    return Row(case, Rounds(timings, EFFORTS["standard"], seed).compare(TORCH, OURS))


COLUMNS: score.Columns = {
    "dtype": lambda r: r.case.dtype,
    "shape": lambda r: str(r.case.shape),
    "pairs": lambda r: str(r.comparison.pairs),
    "torch ms": lambda r: f"{1e3 * r.comparison.a.median:.2f}",
    "ours ms": lambda r: f"{1e3 * r.comparison.b.median:.2f}",
    "ratio": lambda r: f"{r.comparison.ratio:.2f}",
    "95 %": lambda r: f"{r.comparison.low:.2f}-{r.comparison.high:.2f}",
    "required": lambda r: f">= {r.case.required:.1f}",
    "": lambda r: "ok" if r.ok else "SHORT",
}


@click.command()
@score.seed_option
@score.json_option
def main(seed: int, as_json: bool) -> None:
    """Compare the speed of gatewise's LSTM with torch's, one CPU thread each."""
    import_torch().set_num_threads(1)
    rows = [compared(case, seed) for case in CASES]
    if as_json:
        score.print_json(rows=[row.numbers for row in rows], environment=environment())
    else:
        score.print_table("Training: the time of torch.nn.LSTM / that of gatewise", COLUMNS, rows)
    sys.exit(not all(row.ok for row in rows))


if __name__ == "__main__":
    if os.environ | ONE_THREAD != os.environ:  # too late for NumPy, which has been imported: again
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, again, os.environ | ONE_THREAD)  # noqa: S606  # our own command
    main()
