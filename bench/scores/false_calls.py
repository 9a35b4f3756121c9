"""The rate of wrong comparisons: of a call with itself, and with one that does 10 % more.

``python -m gatewise.bench.scores.false_calls [--json]`` compares the plain LSTM cell's loop over 20
steps with the same loop, built once more, and with one over 22 steps, on the machine as it is and
with processes that disturb it. At most 1 in 100 may be called FASTER or SLOWER than itself,
disturbed or not; at least 95 in 100 of the longer loops have to be called SLOWER on the machine as
it is. Disturbed, fewer may be; the others are AMBIGUOUS. The exit status is 1 if a
requirement is missed.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import click
import numpy as np

from ...reference.cells import cell_named
from ...reference.parameters import Sizes
from ..timing.comparison import (
    AMBIGUOUS,
    FASTER,
    LEVEL,
    SAME,
    SLOWER,
    compare,
    corrected,
    noise_floor,
)
from ..timing.environment import environment
from ..timing.measurement import STANDARD, Call
from . import score

STEPS, MORE = 20, 22
"""The steps of the loop, and of one with 10 % more work."""

FALSE_AT_MOST, FOUND_AT_LEAST = 0.01, 0.95

AS_IT_IS, DISTURBED = "as it is", "disturbed"


def lstm_steps(steps: int) -> Call:
    """Return a call of ``steps`` steps of the plain cell, B = 16, D = H = 64, float64."""
    rng, cell, sizes = np.random.default_rng(0), cell_named("lstm"), Sizes(64, 64)
    p, x = cell.random_parameters(rng, sizes), cell.random_input(rng, steps, 16, sizes)
    start = cell.initial_state(x, 16, sizes)

    def run() -> object:
        state = start
        for t in range(steps):
            state, _ = cell.step(p, x[t], state)
        return state

    return run


@dataclass(frozen=True)
class Counted:
    """The verdicts on comparisons of one kind; ``wrong_corrected`` is after Holm's correction."""

    machine: str
    work: str
    floor: float
    comparisons: int
    faster: int
    slower: int
    same: int
    ambiguous: int
    wrong_corrected: int
    half_width: float
    pairs: float
    seconds: float
    ok: bool


def counted(state: str, more: bool, count: int, floor: float, seed: int) -> Counted:
    """Make ``count`` comparisons on the machine in this state, each of new calls."""
    started, steps = time.perf_counter(), MORE if more else STEPS
    comparisons = [
        compare(lstm_steps(steps), lstm_steps(STEPS), STANDARD, seed + k, floor=floor)
        for k in range(count)
    ]
    seconds = time.perf_counter() - started
    verdicts = Counter(c.verdict for c in comparisons)
    wrong = (FASTER, SAME) if more else (FASTER, SLOWER)
    if more:
        ok = state == DISTURBED or verdicts[SLOWER] >= FOUND_AT_LEAST * count
        ok = ok and verdicts[FASTER] <= FALSE_AT_MOST * count
    else:
        ok = sum(verdicts[v] for v in wrong) <= FALSE_AT_MOST * count
    return Counted(
        state, "10 % more" if more else "the same", floor, count,
        verdicts[FASTER], verdicts[SLOWER], verdicts[SAME], verdicts[AMBIGUOUS],
        sum(c.verdict in wrong for c in corrected(comparisons)),
        float(np.median([(c.high - c.low) / 2 for c in comparisons])),
        float(np.median([c.pairs for c in comparisons])), seconds, ok,
    )  # fmt: skip


def counts(states: Sequence[str], same: int, planted: int, seed: int) -> Iterator[Counted]:
    """Yield the rows of the table, with a noise floor for each state."""
    for state in states:
        with busy() if state == DISTURBED else nullcontext():
            floor = noise_floor(lstm_steps(STEPS), twin=lstm_steps(STEPS), seed=seed)
            yield counted(state, False, same, floor, seed)
            yield counted(state, True, planted, floor, seed + same)


COLUMNS: score.Columns = {
    "machine": lambda r: r.machine,
    "a does": lambda r: r.work,
    "noise floor": lambda r: f"{r.floor:.1%}",
    "compared": lambda r: str(r.comparisons),
    "FASTER": lambda r: str(r.faster),
    "SLOWER": lambda r: str(r.slower),
    "SAME": lambda r: str(r.same),
    "AMBIGUOUS": lambda r: str(r.ambiguous),
    "± 95 %": lambda r: f"{r.half_width:.1%}",
    "pairs": lambda r: f"{r.pairs:.0f}",
    "s each": lambda r: f"{r.seconds / r.comparisons:.2f}",
    "": lambda r: "ok" if r.ok else "MISSED",
}


@click.command()
@click.option("--same", default=200, show_default=True, type=click.IntRange(1), help="A/A pairs.")
@click.option("--planted", default=100, show_default=True, type=click.IntRange(1),
              help="Comparisons with 10 % more work.")  # fmt: skip
@click.option(
    "--machine", "states", default=[AS_IT_IS, DISTURBED], show_default=True, multiple=True,
    type=click.Choice([AS_IT_IS, DISTURBED]), help="Its state.",
)  # fmt: skip
@score.seed_option
@score.json_option
def main(same: int, planted: int, states: Sequence[str], seed: int, as_json: bool) -> None:
    """Count wrong verdicts of comparisons whose right verdict is known."""
    rows = list(counts(states, same, planted, seed))
    title = f"The LSTM's loop beside itself; level {LEVEL:g}, default effort"
    score.print_rows(title, COLUMNS, rows, as_json=as_json, seed=seed, environment=environment())
    sys.exit(not all(row.ok for row in rows))


# Disturbance of the machine: work and rest in turns of random length.


LONGEST = 0.03
"""The longest turn in seconds, about a scheduler's time slice."""


@contextmanager
def busy(processes: int | None = None) -> Iterator[None]:
    """Run disturbing processes, by default one per core, while the block runs."""
    context = multiprocessing.get_context("spawn")
    count = processes or os.cpu_count() or 1
    disturbers = [context.Process(target=_disturb, args=(k,), daemon=True) for k in range(count)]
    for process in disturbers:
        process.start()
    try:
        yield
    finally:
        for process in disturbers:
            process.terminate()
            process.join()


def _disturb(seed: int) -> None:
    """Work and rest until the parent ends."""
    rng, parent = random.Random(seed), multiprocessing.parent_process()  # noqa: S311  # no secret
    memory = bytearray(2**22)
    while parent is not None and parent.is_alive():
        end = time.perf_counter() + rng.uniform(0, LONGEST)
        while time.perf_counter() < end:
            memory = memory[::-1]
        time.sleep(rng.uniform(0, LONGEST))


if __name__ == "__main__":
    main()
