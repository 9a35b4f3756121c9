"""The speed of ``reference.fast`` beside ``torch.nn.LSTM``, one CPU thread each.

``python -m gatewise.bench.scores.reference_speed [--json]`` measures both ways, which take turns,
so that what else the machine does meets both, and judges the median of the paired ratios. Both
compute the gradients of all parameters, x, h0 and c0 from cotangents on y, h and c; that they agree
is checked first. The exit status is 1 if a required ratio is missed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from ...reference.parameters import Parameters
from ...verify.checks.quantities import by_name
from ...verify.runs.provenance import machine, versions
from ...verify.subjects import subject_named
from ...verify.subjects.protocol import Pulled
from ...verify.subjects.torch_module import import_torch
from ..cost.shape import Shape
from ..speed.contender import TRAINING, Prepared
from ..speed.ladder import FAST
from ..speed.problem import Problem
from ..speed.torch_layers import TorchPrepared, built_for
from ..timing.comparison import rounds
from ..timing.environment import environment
from ..timing.measurement import Call, Effort

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""What NumPy's and torch's libraries read once, when they are loaded."""


def torch_side(problem: Problem) -> Prepared:
    """Return ``torch.nn.LSTM``, as a contender of ``bench speed``."""
    subject = subject_named("torch:LSTM")
    return TorchPrepared(problem, subject, built_for(problem, subject))


SIDES: dict[str, Callable[[Problem], Prepared]] = {"torch": torch_side, "gatewise": FAST.prepare}

PAIRS = (15, 1000)
"""How many there are at least and at most."""


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

    def problem(self, seed: int) -> Problem:
        """Return its numbers."""
        return Problem("lstm", Shape(self.T, self.B, self.D, self.H), self.dtype, seed)


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


class DisagreementError(RuntimeError):
    """The two sides did not compute the same, so that their times say nothing."""


def calls(problem: Problem) -> dict[str, Call]:
    """Return a call of each side, forward and backward, once they agree."""
    ready = {side: prepare(problem) for side, prepare in SIDES.items()}
    own = {side: each.own(problem.cotangents()) for side, each in ready.items()}
    theirs, ours = (each.arrays(each.call(TRAINING, own[side])) for side, each in ready.items())
    assert isinstance(theirs, Pulled)  # noqa: S101
    assert isinstance(ours, Pulled)  # noqa: S101
    shapes = problem.parameters[0].shapes
    gradient = Parameters(shapes, {name: ours.parameters[f"{name}_l0"] for name in shapes})
    check_agreement(replace(ours, parameters=ready["torch"].named([gradient])), theirs)
    return {side: partial(each.call, TRAINING, own[side]) for side, each in ready.items()}


def check_agreement(ours: Pulled, theirs: Pulled) -> None:
    """Raise DisagreementError where results differ by over 1000 roundings of the largest element.

    This guards against timing two different things; the proof is ``tests/reference/test_fast.py``.
    """
    mine, other = (by_name(("h", "c"), pulled) for pulled in (ours, theirs))
    for name, array in mine.items():
        apart = float(np.abs(array - other[name]).max() / np.abs(array).max())
        allowed = 1000 * float(np.finfo(array.dtype).eps)
        if not apart <= allowed:
            raise DisagreementError(f"{name}: {apart:.1e} apart, allowed {allowed:.1e}")


def measure(case: Case, seed: int, seconds: float) -> Measured:
    """Let both sides take turns for about so many seconds."""
    sides, (least, most) = calls(case.problem(seed)), PAIRS
    started = time.perf_counter()
    for call in sides.values():
        call()
    patience = max(seconds / 2, least * (time.perf_counter() - started))  # half of it warms up
    effort = Effort(seconds / 2, patience, samples=least, most=most)
    c = rounds(sides, effort, seed).compare("torch", "gatewise")
    return Measured(case, c.pairs, 1e3 * c.a.median, 1e3 * c.b.median, c.ratio, c.low, c.high)


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
    import_torch().set_num_threads(1)
    rows = [measure(case, seed, seconds) for case in CASES]
    about = {
        "seed": str(seed),
        "threads": "1",
        "blas": environment()["blas"],
        **versions(),
        **machine(),
    }
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
