"""Tolerance certificates tested with right evaluations, and public tolerances graded by them.

``python -m gatewise.bench.scores.tolerances [--evaluations 1000] [--table FILE]`` computes cells in
five dtypes, each evaluation with its own orders of summation, fused sums and activations, 100
rows at a time; none may exceed its certificate. Then it grades tolerances of public projects.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import click

from ...verify.cases.case import Case
from ...verify.numbers.arithmetic import DTYPES
from ...verify.tolerances.certificate import setting
from ...verify.tolerances.grade import Grade, grade
from . import score

CELLS = ("rnn", "lstm", "gru-takes-new", "gru-keeps-old", "gru")
SIZES = Case(5, 100, 4, 6)
"""Sizes of the evaluations: many rows, each a sequence of its own."""

GRADED_SIZES = Case(20, 3, 8, 16)
"""Sizes at which tolerances are graded, close to those of the projects' own tests."""


@dataclass(frozen=True)
class Constant:
    """A tolerance of a public project, and the place where it is stated."""

    source: str
    where: str
    dtype: str
    atol: float
    rtol: float


CONSTANTS = (
    Constant("KernelBench, fp32", "src/kernelbench/eval.py", "float32", 1e-4, 1e-4),
    Constant("KernelBench, fp16", "src/kernelbench/eval.py", "float16", 1e-2, 1e-2),
    Constant("KernelBench v0, fp32", "src/kernelbench/eval.py", "float32", 1e-2, 1e-2),
    Constant("mlstm_kernels, gradients", "commit 39d3c61, tests", "float32", 2.5e-1, 5e-2),
    Constant("mamba, selective scan", "commit e9594ce, tests", "bfloat16", 5e-2, 3e-2),
    Constant("FlagGems, fp32", "issue 4288, tests/test_lstm.py", "float32", 1e-4, 0.0),
    Constant("FlagGems, fp16", "issue 4288, tests/test_lstm.py", "float16", 2e-2, 0.0),
    Constant("FlagGems, bf16", "issue 4288, tests/test_lstm.py", "bfloat16", 3e-2, 0.0),
    Constant("TFLM, widest", "tflite-micro, LSTM tests", "float32", 1e-1, 0.0),
    Constant("ONNX backend tests", "onnx/backend/test", "float32", 1e-7, 1e-3),
    Constant("hipDNN golden bundles", "RFC 0010, rocm-libraries#7082", "float32", 1e-2, 1e-2),
    Constant("nexus fixtures", "nexus#352", "float32", 1e-10, 1e-5),
)


@dataclass(frozen=True)
class Held:
    """A cell in a dtype: the number of rows evaluated, and the largest error / bound."""

    cell: str
    dtype: str
    rows: int
    used: float


@dataclass(frozen=True)
class Graded:
    """A constant's grade for one cell."""

    constant: Constant
    cell: str
    grade: Grade


def evaluate(cell: str, dtype: str, evaluations: int, seed: int) -> Held:
    """Evaluate a cell ``evaluations`` times against its certificate."""
    problem = setting(cell, replace(SIZES, dtype=dtype, seed=seed))
    used = max(tolerance.used for tolerance in problem.tolerances(evaluations, seed))
    return Held(cell, dtype, evaluations * SIZES.B, used)


def grade_constant(constant: Constant, cell: str, seed: int) -> Graded:
    """Grade a constant by the mistakes of one cell."""
    problem = setting(cell, replace(GRADED_SIZES, dtype=constant.dtype, seed=seed))
    result = grade(problem, tuple(problem.mistakes()), constant.atol, constant.rtol,
                  evaluations=100, seed=seed)  # fmt: skip
    return Graded(constant, cell, result)


COLUMNS: score.Columns = {
    "tolerance": lambda r: r.constant.source,
    "stated in": lambda r: r.constant.where,
    "dtype": lambda r: r.constant.dtype,
    "atol": lambda r: f"{r.constant.atol:g}",
    "rtol": lambda r: f"{r.constant.rtol:g}",
    "cell": lambda r: r.cell,
    "grade": lambda r: " and ".join(r.grade.words),
    "refused": lambda r: f"{r.grade.refused} of {r.grade.evaluations}",
    "let through": lambda r: _let_through(r.grade),
}


def _let_through(grade: Grade) -> str:
    """Return the number of mistakes that pass, and their ids."""
    count = f"{len(grade.passed)} of {len(grade.passed) + grade.caught}"
    return ": ".join(filter(None, (count, ", ".join(m.id for m in grade.passed))))


@click.command()
@click.option("--evaluations", type=click.IntRange(min=1), default=1000, show_default=True,
              help="For each cell and dtype, of 100 rows each.")  # fmt: skip
@score.table_option
@score.seed_option
@score.jobs_option
def main(evaluations: int, table: Path | None, seed: int, jobs: int) -> None:
    """Score and print; the exit code is 1 if an evaluation is beyond its certificate."""
    pairs = product(CELLS, DTYPES)
    rows = score.results([(evaluate, (*pair, evaluations, seed)) for pair in pairs], jobs)
    of_cells = product(CONSTANTS, ("lstm", "gru"))
    grades = score.results([(grade_constant, (*pair, seed)) for pair in of_cells], jobs)
    grades.sort(key=lambda r: (CONSTANTS.index(r.constant), r.cell))
    score.print_table(TITLE, COLUMNS, grades)
    if table:
        score.write_table(table, TITLE, COLUMNS, grades, _caption(rows, evaluations, seed))
    sys.exit(any(row.used > 1 for row in rows))


TITLE = "Tolerances in use, graded"


def _caption(rows: Sequence[Held], evaluations: int, seed: int) -> str:
    """Return the text below the table: sizes, totals, and the command."""
    sizes = f"T={SIZES.T}, D={SIZES.D}, H={SIZES.H}"
    beyond = sum(row.used > 1 for row in rows)
    graded = f"T={GRADED_SIZES.T}, B={GRADED_SIZES.B}, D={GRADED_SIZES.D}, H={GRADED_SIZES.H}"
    most = max(rows, key=lambda row: row.used)
    return f"""
Graded for outputs, states and all gradients at {graded}, against the mistakes that lie beyond the
derived bounds there. `too tight`: some of 100 right evaluations exceed it; `blind`: it lets such a
mistake through.

Certificates of {len(rows)} pairs of cell and dtype were held by {rows[0].rows} sequences each, at
{sizes}: {beyond} lie beyond. The largest error is {most.used:.2f} of its bound ({most.cell},
{most.dtype}).

{score.made_by(f"tolerances --evaluations {evaluations} --seed {seed}")}
"""


if __name__ == "__main__":
    main()
