"""Verdicts on right programs of linear recurrences, in every form and dtype.

``python -m gatewise.bench.scores.linear_families [--seeds 20] [--dtype float32] [--table FILE]``
runs the reference's equations and forms with NumPy in a dtype, forward and backward (bfloat16 as
kernels do: stored, with float32 inside). Each program has to pass all checks with cases of the
first seed, and those of ``NUMBERS`` with cases of all seeds; where no bound is sharp enough to
fail anything, the check says ``blind``. The exit status is 1 if a right program is
called wrong.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from ...reference.arrays import Floats
from ...reference.cells import cells
from ...reference.forms import STEPS, form_named
from ...reference.gated_by_input import GatedByInput
from ...reference.layer import Layer
from ...verify.cases.case import Case
from ...verify.cases.options import Options
from ...verify.checks import subject_checks
from ...verify.checks.formed import FormedLayer
from ...verify.conventions.parameter_map import ExplicitMap
from ...verify.execution.judge import Budget, hold
from ...verify.numbers.arithmetic import DTYPES
from ...verify.subjects.called import layer_of
from ...verify.subjects.framework import Plain
from ...verify.subjects.protocol import Cotangents, Inputs, Pulled, Result
from . import score

FORMS = (STEPS, "chunk:3", "quotient:3", "parallel", "scan")
DEFAULT_DTYPES = ("float64", "float32", "bfloat16", "float16")
BUDGET = Budget(2, 1)
"""Cases of each check and seed: there are many seeds."""

NUMBERS = ("forward", "gradient", "carry", "carry-gradient", "gradient-window")


@dataclass(frozen=True)
class Program:
    """A cell in a form, computed by NumPy in the dtype of its inputs; a ``Subject``."""

    cell_name: str
    form: str
    dtypes: tuple[str, ...] = DTYPES

    @property
    def name(self) -> str:
        """The cell and the form."""
        return f"{self.cell_name} {self.form}"

    @property
    def cells(self) -> tuple[str, ...]:
        """The program's cell."""
        return (self.cell_name,)

    @property
    def options(self) -> Options:
        """The options of the form: lengths for steps only."""
        steps = self.form == STEPS
        return Options(
            layers=False, bidirectional=False, bias=False, lengths=steps, zero_length=steps,
            no_steps=True, program="" if steps else self.form,
        )  # fmt: skip

    def version(self) -> str:
        """Return NumPy's."""
        return f"numpy {np.__version__}"

    def cell(self, case: Case) -> str:
        """Return the program's cell."""
        return self.cell_name

    def parameter_map(self, case: Case) -> ExplicitMap:
        """Return the map of the cell's own parameters."""
        return ExplicitMap(self.cell_name, case)

    def caller(self, case: Case) -> str:
        """Return no source."""
        return ""

    def build(self, case: Case) -> Plain:
        """Return the program, ready to be called."""
        layer: Layer | FormedLayer = layer_of(self, case)
        if self.form != STEPS and case.T:
            layer = FormedLayer(layer_of(self, case), form_named(self.form))
        names = self.parameter_map(case)

        inside = np.float32 if case.dtype == "bfloat16" else case.number_type

        def run(inputs: Inputs) -> tuple[Any, Any]:
            p = names.to_reference(_all(inputs.parameters, inside))
            state = None if inputs.state is None else _cast(inputs.state, inside)
            return p, layer.forward(p, inputs.x.astype(inside), state, inputs.lengths)

        def result(output: Any) -> Result:
            y, *final = _cast((output.y, *output.final), case.number_type)
            return Result(y, tuple(final))

        def pulled(inputs: Inputs, pair: Cotangents) -> Pulled:
            p, output = run(inputs)
            dy, *ends = (np.zeros_like(s) if d is None else d.astype(inside)
                         for d, s in zip((pair[0], *pair[1]), (output.y, *output.final),
                                         strict=True))  # fmt: skip
            gradient = layer.vjp(p, output, dy, tuple(ends))
            gradients = {"x": gradient.x} | dict(names.from_reference(gradient.parameters))
            states = gradient.initial if inputs.state is not None else ()
            gradients |= {f"state {k}": d for k, d in enumerate(states)}
            return Pulled.of_leaves(result(output), _all(gradients, case.number_type))

        return Plain(lambda inputs: result(run(inputs)[1]),
                     lambda inputs, pairs: [pulled(inputs, pair) for pair in pairs])  # fmt: skip


def _cast(arrays: Iterable[Floats], dtype: Any) -> tuple[Floats, ...]:
    return tuple(np.asarray(a).astype(dtype) for a in arrays)


def _all(named: Mapping[str, Floats], dtype: Any) -> dict[str, Floats]:
    return dict(zip(named, _cast(named.values(), dtype), strict=True))


def programs() -> list[Program]:
    """Return every cell whose gates are inputs, in every form that it has."""
    families = [c for c in cells().values() if isinstance(c, GatedByInput)]
    return [Program(c.name, form) for c in families for form in FORMS
            if form_named(form).kind in (STEPS, *c.form_kinds)]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The verdicts on a program over all seeds: how often checks passed, or were blind.

    ``used``: the largest error in units of its bound; ``wrong``: checks that failed, with the seed.
    """

    program: str
    dtype: str
    passed: int
    blind: int
    used: float
    blind_checks: tuple[str, ...]
    wrong: tuple[str, ...]


def row(cell: str, form: str, dtype: str, seeds: Sequence[int]) -> Row:
    """Run all checks on a program with the first seed, those of ``NUMBERS`` with all seeds."""
    subject, counts, used = Program(cell, form), Counter[str](), 0.0
    blind, wrong = Counter[str](), []
    for seed in seeds:
        for check in subject_checks():
            if not check.concerns(subject) or (seed != seeds[0] and check.id not in NUMBERS):
                continue
            verdict = hold(subject, check, dtype, budget=BUDGET, seed_value=seed, shrink=False)
            counts[verdict.status] += 1
            used = max(used, verdict.worst_ratio or 0.0)
            if verdict.status == "blind":
                blind[check.id] += 1
            elif verdict.status not in ("passed", "not supported"):
                wrong.append(f"{check.id} at seed {seed}: {verdict.status}: {verdict.message:.120}")
    return Row(subject.name, dtype, counts["passed"], counts["blind"], used, tuple(blind),
               tuple(wrong))  # fmt: skip


COLUMNS: score.Columns = {
    "program": lambda r: r.program,
    "dtype": lambda r: r.dtype,
    "passed": lambda r: str(r.passed),
    "blind": lambda r: str(r.blind),
    "largest error / bound": lambda r: f"{r.used:.2g}",
    "blind in": lambda r: ", ".join(r.blind_checks),
    "called wrong by": lambda r: "; ".join(r.wrong),
}
TITLE = "Right programs of linear recurrences"


@click.command()
@click.option("--cell", "names", multiple=True,
              help="A cell whose gates are inputs; else all.")  # fmt: skip
@click.option("--dtype", "dtypes", multiple=True, type=click.Choice(DTYPES), help="Else four.")
@click.option("--seeds", type=click.IntRange(min=1), default=20, show_default=True)
@score.table_option
@score.jobs_option
@score.json_option
def main(
    names: Sequence[str],
    dtypes: Sequence[str],
    seeds: int,
    table: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Run all checks on right programs; the exit code is 1 if one is called wrong."""
    pairs = [(program, dtype) for program in programs() for dtype in dtypes or DEFAULT_DTYPES
             if not names or program.cell_name in names]  # fmt: skip
    todo: list[score.Work[Row]] = [
        (row, (p.cell_name, p.form, dtype, range(seeds))) for p, dtype in pairs
    ]
    order = {(p.name, dtype): number for number, (p, dtype) in enumerate(pairs)}
    rows = sorted(score.results(todo, jobs), key=lambda r: order[r.program, r.dtype])
    if table:
        score.write_table(table, TITLE, COLUMNS, rows, _caption(rows, seeds))
    score.print_rows(TITLE, COLUMNS, rows, as_json=as_json)
    sys.exit(any(verdicts.wrong for verdicts in rows))


def _caption(rows: Sequence[Row], seeds: int) -> str:
    """Return the text below the table: the cases, totals, and the command."""
    by_dtype = "; ".join(
        f"{dtype}: {sum(r.passed for r in group)} passed, {sum(r.blind for r in group)} blind, "
        f"{sum(len(r.wrong) for r in group)} called wrong"
        for dtype in dict.fromkeys(r.dtype for r in rows)
        for group in [[r for r in rows if r.dtype == dtype]]
    )
    return f"""
All checks with cases of the first seed, {", ".join(NUMBERS)} with those of all {seeds}. {by_dtype}.

{score.made_by(f"linear_families --seeds {seeds}")}
"""


if __name__ == "__main__":
    main()
