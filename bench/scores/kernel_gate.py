"""Cheats and honest submissions that a benchmark's own test passes, and that gatewise passes.

``python -m gatewise.bench.scores.kernel_gate [--problems 35,40] [--jobs 2] [--json]`` submits
every cheat of ``bench.kernels.cheats`` and ``bench.kernels.state_spaces`` to every problem that it
fits, and the honest submissions.

The benchmark's criterion: the problem's model and the submission are made under one
seed; in five trials their outputs for inputs uniform in [0, 1) are compared by torch.allclose, with
1e-4 for float32 as today, and with 1e-2 as in its first versions. It is scaled down to
run here: fewer steps, narrower layers, the same depth.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import click
import torch

from ...verify.checks import subject_checks
from ...verify.checks.check import SubjectCheck
from ...verify.execution.judge import BUDGETS, hold
from ...verify.subjects.kernel import Kernel, called, kernel
from ...verify.subjects.kernel_problems import (
    PROBLEMS,
    STATE_SPACES,
    Problem,
    StateSpace,
    problem_numbered,
)
from ...verify.subjects.torch_module import one_thread
from ..kernels.cheats import CHEATS, SMALL_D, SMALL_H, restore
from ..kernels.state_spaces import RIGHT, WRONG, Chunks, fits
from ..kernels.submissions import HONEST, Wrapper, submission
from . import score

TRIALS = 5
TOLERANCES = (1e-4, 1e-2)
"""The benchmark's tolerances of float32: today's, and that of its first versions."""

STEPS, ROWS = 128, 4
"""The steps and rows of the scaled-down test."""


@dataclass(frozen=True)
class Row:
    """One submission to one problem.

    ``strict`` and ``loose``: whether the benchmark's criterion passes it at ``TOLERANCES``,
    ``passed``: whether gatewise does; else ``check`` is the first that failed, with its message.
    """

    problem: int
    name: str
    honest: bool
    strict: bool
    loose: bool
    passed: bool
    check: str
    message: str
    seconds: float


def small(problem: Problem) -> Problem:
    """Return the problem at the sizes of the scaled-down test."""
    if isinstance(problem, StateSpace):
        return replace(problem, B=ROWS)
    steps = min(problem.T, STEPS)
    return replace(problem, T=steps, B=ROWS, D=SMALL_D, H=SMALL_H, O=min(problem.O, 16))


def inputs(problem: Problem) -> list[torch.Tensor]:
    """Draw the benchmark's inputs."""
    case = problem.own_case
    if isinstance(problem, StateSpace):
        return [torch.rand(case.B, case.T, problem.heads(case), case.H)]
    shape = {
        "batch-first": (case.B, case.T, case.D),
        "time-first": (case.T, case.B, case.D),
        "one step": (case.B, case.D),
    }[problem.layout]
    passes = case.layers * case.directions
    state = (case.B, case.H) if problem.kind == "rnn" else (passes, case.B, case.H)
    return [torch.rand(shape), *(torch.rand(state) for _ in called(problem)[1:])]


def submissions(problem: Problem) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the right submissions to a problem, the model itself first, and the wrong ones."""
    if isinstance(problem, StateSpace):
        return RIGHT, {name: kind for name, kind in WRONG.items() if fits(kind, problem)}
    return HONEST, {cheat.name: cheat.kind for cheat in CHEATS if cheat.fits(problem)}


def by_benchmark(kind: type[Any], problem: Problem) -> tuple[bool, bool]:
    """Return whether all trials are within each of ``TOLERANCES``, by torch.allclose."""
    scaled, models = small(problem), []
    for model in (Chunks if isinstance(problem, StateSpace) else Wrapper, kind):
        torch.manual_seed(0)
        models.append(submission(model, scaled)(*scaled.init_arguments(scaled.own_case)))
    close = dict.fromkeys(TOLERANCES, True)
    for seed in range(TRIALS):
        torch.manual_seed(seed)
        arguments = inputs(scaled)
        with one_thread(torch), torch.no_grad():
            want = models[0](*arguments)
            got = models[1](*(tensor.clone() for tensor in arguments))
        for t in TOLERANCES:
            close[t] = close[t] and torch.allclose(want, got, atol=t, rtol=t)
    restore()
    strict, loose = close.values()
    return strict, loose


def passed_by_benchmark(number: int) -> dict[str, tuple[bool, bool]]:
    """Return whether each cheat of a problem passes at each of ``TOLERANCES``."""
    problem = PROBLEMS[number]
    return {c.name: by_benchmark(c.kind, problem) for c in CHEATS if c.fits(problem)}


def cheats_table(jobs: int = 1) -> Iterator[tuple[str, int, int, int]]:
    """Yield each cheat, the number of its problems, and the numbers that it passes.

    The latter are at 1e-2 and at 1e-4.
    """
    works = [(passed_by_benchmark, (number,)) for number in sorted(PROBLEMS)]
    problems = score.results(works, jobs)
    for cheat in CHEATS:
        results = [passed[cheat.name] for passed in problems if cheat.name in passed]
        yield (
            cheat.name,
            len(results),
            sum(loose for _, loose in results),
            sum(s for s, _ in results),
        )


def by_gatewise(subject: Kernel) -> tuple[SubjectCheck | None, str]:
    """Return the first check that a submission fails, and its message; None if it passes all."""
    for check in subject_checks():
        if not check.concerns(subject):
            continue
        verdict = hold(subject, check, "float32", budget=BUDGETS["standard"])
        restore()
        if verdict.wrong or verdict.open:
            return check, f"{verdict.status}: {verdict.message}"
    return None, ""


def row(number: int, name: str) -> Row:
    """Return the row of one submission by its name."""
    problem, started = problem_numbered(number), time.perf_counter()
    honest, wrong = submissions(problem)
    kind = (honest | wrong)[name]
    strict, loose = by_benchmark(kind, problem)
    subject = kernel(submission(kind, problem), name, problem.name)
    restore()
    check, message = by_gatewise(subject)
    seconds = time.perf_counter() - started
    return Row(number, name, name in honest, strict, loose, check is None,
               check.id if check else "", message, round(seconds, 2))  # fmt: skip


def rows_of(number: int) -> list[Row]:
    """Return all rows of a problem, in one process, which computes expected values once."""
    honest, wrong = submissions(problem_numbered(number))
    return [row(number, name) for name in (*honest, *wrong)]


def rows(numbers: Sequence[int], jobs: int = 1) -> Iterator[Row]:
    """Yield the rows of these problems."""
    for batch in score.results([(rows_of, (number,)) for number in numbers], jobs):
        yield from batch


def table(scored: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """Yield a line per problem: the number of cheats, and the numbers that pass."""
    for number in sorted({row.problem for row in scored}):
        of_problem = [row for row in scored if row.problem == number]
        yield (f"{number} {problem_numbered(number).title}", *_counts(of_problem))
    yield ("all", *_counts(scored))


def _counts(scored: Sequence[Row]) -> tuple[str, ...]:
    cheats, honest = ([r for r in scored if r.honest is kind] for kind in (False, True))
    return (
        str(len(cheats)),
        str(sum(r.loose for r in cheats)),
        str(sum(r.strict for r in cheats)),
        str(sum(r.passed for r in cheats)),
        f"{sum(not r.passed for r in honest)} of {len(honest)}",
    )


COLUMNS = ("problem", "cheats", "1e-2 passes", "1e-4 passes", "gatewise passes", "false alarms")


def summary(scored: Sequence[Row]) -> dict[str, Any]:
    """Return the counts over all problems, as JSON values."""
    names = ("cheats", "loose", "strict", "gatewise")
    counts = dict(zip(names, map(int, _counts(scored)[:4]), strict=True))
    return counts | {"false_alarms": sum(r.honest and not r.passed for r in scored)}


@click.command()
@click.option("--problems", default="", metavar="N[,N]", help="Only these; else all.")
@score.jobs_option
@score.json_option
def main(problems: str, jobs: int, as_json: bool) -> None:
    """Count the submissions that a benchmark's own test passes, and those that gatewise passes."""
    numbers = [int(n) for n in problems.split(",")] if problems else [*PROBLEMS, *STATE_SPACES]
    scored = sorted(rows(numbers, jobs), key=lambda r: r.problem)
    if as_json:
        click.echo(json.dumps({**summary(scored), "rows": [asdict(r) for r in scored]}, indent=1))
        return
    for line in (COLUMNS, *table(scored)):
        click.echo(f"{line[0]:28}" + "".join(f"{cell:>17}" for cell in line[1:]))
    for row in scored:
        if row.passed is not row.honest:
            verdict = "false alarm" if row.honest else "not seen"
            click.echo(f"{verdict}: {row.problem}: {row.name} {row.message}")


if __name__ == "__main__":
    main()
