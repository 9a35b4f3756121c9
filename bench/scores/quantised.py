"""Quantised engines compared with exact integers, case after case.

``python -m gatewise.bench.scores.quantised [--certain 500] [--table FILE]`` draws cases for each
engine until so many are *certain*: no integer in them is so close to a tie that rounding may
move it. Every case has to be within its bound, which for certain cases is that of float32 alone.
The mistakes of ``verify/mutants/quantised`` are killed by their own tests.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from ...verify.cases.case import Case
from ...verify.checks.oracle import compare_outputs, expected
from ...verify.mutants.quantised import QUANTISATION_MUTANTS, RIGHT, quantised_subject
from ...verify.numbers.ledger import Ledger
from ...verify.numbers.quantisation import counting
from ...verify.subjects import adapters, subject_named
from ...verify.subjects.called import under_test
from ...verify.subjects.inputs import draw_inputs
from ...verify.subjects.protocol import Inputs, Subject
from . import score

ENGINES = ("onnxruntime-quantised", "torch-quantised", "litert-quantised")
MOST = 20
"""The largest number of cases to draw for each certain one."""


@dataclass(frozen=True)
class Held:
    """An engine's cases: how many were certain, or blind, or beyond the bound."""

    subject: str
    cases: int
    certain: int
    blind: int
    beyond: int
    worst: float
    largest: float
    bound: float


def compare_cases(name: str, certain: int, seed: int) -> Held:
    """Compare a subject with the oracle until ``certain`` cases are certain.

    ``worst`` is the largest error in units of its bound where all is certain, ``largest`` that
    error itself, and ``bound`` the median of the largest bounds there.
    """
    layers = {f"numpy:{layer.__name__}": layer for layer in RIGHT}
    subject = quantised_subject(layers[name]) if name in layers else subject_named(name)
    rng = np.random.default_rng([seed, *name.encode()])
    cases, blind, beyond, ratios, errors, bounds = 0, 0, 0, [0.0], [0.0], [0.0]
    while len(bounds) <= certain and cases < MOST * certain:
        case = _draw_case(subject, rng)
        tested, ledger, inputs = under_test(subject), Ledger(), _inputs(subject, case)
        with counting() as integers:
            want = expected(tested, case, inputs)
        got = subject.build(case).forward(inputs)
        compare_outputs(ledger, tested, case, got, want)
        cases, beyond = cases + 1, beyond + bool(ledger.failed)
        blind += not ledger.sharp
        pairs = [(got.y, want.y), *zip(got.final, want.final, strict=True)]
        if not integers.ambiguous:
            ratios.append(max(c.ratio for c in ledger.comparisons))
            errors += [float(np.abs(g - w.value).max(initial=0.0)) for g, w in pairs]
            bounds.append(max(float(w.bound.max(initial=0.0)) for _, w in pairs))
    return Held(name, cases, len(bounds) - 1, blind, beyond, max(ratios), max(errors),
                float(np.median(bounds)))  # fmt: skip


def _draw_case(subject: Subject, rng: np.random.Generator) -> Case:
    """Draw sizes, and options that the subject has."""
    options, sides = subject.options, rng.integers(0, 2, 3).astype(bool)
    T, B, D, H = (int(rng.integers(1, most + 1)) for most in (6, 4, 9, 12))
    return Case(
        T, B, D, H, layers=2 if options.layers and sides[0] else 1,
        bidirectional=bool(options.bidirectional and sides[1]),
        state=bool(options.state and sides[2]),
        scale=str(rng.choice(["unit", "unit", "tiny", "large"])), dtype=subject.dtypes[0],
        seed=int(rng.integers(2**31)), P=int(rng.integers(0, 4)) if options.projection else 0,
    )  # fmt: skip


def _inputs(subject: Subject, case: Case) -> Inputs:
    """Draw inputs; the largest weight of each matrix is positive.

    At 127.5 levels a positive one rounds to 127, but a negative one to -127 or -128.
    """
    inputs = draw_inputs(subject, case)
    parameters = {
        name: a * np.sign(a.flat[np.abs(a).argmax()]) if a.ndim > 1 else a
        for name, a in inputs.parameters.items()
    }
    return replace(inputs, parameters=parameters)


COLUMNS: score.Columns = {
    "subject": lambda r: r.subject,
    "cases": lambda r: str(r.cases),
    "certain": lambda r: str(r.certain),
    "blind": lambda r: str(r.blind),
    "beyond the bound": lambda r: str(r.beyond),
    "error/bound, certain": lambda r: f"{r.worst:.2f}",
    "largest error, certain": lambda r: f"{r.largest:.1e}",
    "bound, median": lambda r: f"{r.bound:.1e}",
}
TITLE = "Quantised layers, held to integers"


@click.command()
@click.option("--certain", type=click.IntRange(min=1), default=500, show_default=True,
              help="Certain cases for each subject.")  # fmt: skip
@score.table_option
@score.seed_option
@score.jobs_option
def main(certain: int, table: Path | None, seed: int, jobs: int) -> None:
    """Score and print; the exit code is 1 if a case is beyond its bound, or too few are certain."""
    names = [name for family in ENGINES for name in adapters(family)]
    names += [f"numpy:{layer.__name__}" for layer in RIGHT]
    todo: list[score.Work[Held]] = [(compare_cases, (name, certain, seed)) for name in names]
    rows = sorted(score.results(todo, jobs), key=lambda r: names.index(r.subject))
    score.print_table(TITLE, COLUMNS, rows)
    if table:
        score.write_table(table, TITLE, COLUMNS, rows, _caption(rows, certain, seed))
    sys.exit(any(row.beyond or row.certain < certain for row in rows))


def _caption(rows: Sequence[Held], certain: int, seed: int) -> str:
    """Return the text below the table: the columns, totals, and the command."""
    return f"""
A case is *certain* if no integer in it is so near a tie that rounding may move it. In other cases
both neighbours are allowed, and what follows from either; where that leaves every bound too wide to
tell anything, a case is *blind*. {sum(r.cases for r in rows)} cases,
{sum(r.cases - r.certain for r in rows)} of them not certain, {sum(r.beyond for r in rows)} beyond
their bound. `numpy:` are the right layers, written by
hand, from which the {len(QUANTISATION_MUTANTS)} mistakes of `verify/mutants/quantised.py` are made;
`pytest tests/verify/mutants/test_quantised.py` kills each, and sees that 1e-2 lets all of them
through.

{score.made_by(f"quantised --certain {certain} --seed {seed}")}
"""


if __name__ == "__main__":
    main()
