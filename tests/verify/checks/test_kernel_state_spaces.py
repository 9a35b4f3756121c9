"""KernelBench's state spaces: what is right passes in any form, what is wrong is named."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gatewise.bench.kernels import state_spaces
from gatewise.bench.kernels.state_spaces import RIGHT, WRONG, Chunks, fits
from gatewise.bench.kernels.submissions import submission
from gatewise.bench.scores.kernel_gate import by_benchmark
from gatewise.reference.forms import form_named
from gatewise.verify.checks import check_named, kernel_oracle
from gatewise.verify.checks.kernel_state_spaces import by_cell, forms, returned
from gatewise.verify.diagnosis.hypotheses import NOTHING_WRONG, Guess
from gatewise.verify.diagnosis.kernels import diagnose_submission
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.subjects.kernel import kernel
from gatewise.verify.subjects.kernel_embedding import embedded
from gatewise.verify.subjects.kernel_problems import (
    STATE_SPACES,
    leaves,
    long_runs,
    problem_named,
    small_case,
)

NUMBERS = sorted(STATE_SPACES)
NAMED = {
    "the decay is applied twice": "K01",
    "A is the logarithm of a rate": "rate",
    "nothing decays": "unread",
    "decays above 1 are taken for 1": "clamped",
    "the state between chunks is lost": "chunks",
    "a step's own write decays": "K10",
    "the output is read before the write": "K06",
    "the decay is that of the step before": "K19",
    "all rows decay as the first": "rows",
    "the output is scaled by 1/√K": "K08",
    "the decay has no gradient": "no gradient",
}
"""What the diagnosis calls them; of the others it says that nothing known explains them."""


def of(kind, number):
    return kernel(submission(kind, STATE_SPACES[number]), "ModelNew", f"kernelbench:{number}")


def held(subject, check, case=None):
    return hold(subject, check_named(check), "float32", case=case, budget=BUDGETS["quick"])


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_right_is_not_accused(number, name):
    subject, problem = of(RIGHT[name], number), STATE_SPACES[number]
    for seed in range(5):
        checks = ("kernel-output", *(("kernel-gradient", "kernel-calls") if seed < 2 else ()))
        for check in checks:
            assert held(subject, check, small_case(problem, seed)).status == "passed"


def test_a_long_run_is_held():
    number = 48
    case = replace(next(iter(long_runs(STATE_SPACES[number]))), B=1, H=2)

    class Fast(Chunks):
        def read(self, x, *given):
            early = torch.arange(x.shape[1]) < x.shape[1] - 16
            return torch.where(early[:, None, None], 0, x), *given

    for kind in RIGHT.values():
        assert held(of(kind, number), "kernel-steps", case).status == "passed"
    assert held(of(Fast, number), "kernel-steps", case).status == "failed"


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_wrong_is_refused_and_named(number, name):
    kind = WRONG[name]
    if not fits(kind, STATE_SPACES[number]):
        assert kind in state_spaces.OF_OUTPUTS
        return
    subject = of(kind, number)
    case = STATE_SPACES[number].case(6, 3, 4, 5)
    check = "kernel-gradient" if name == "the decay has no gradient" else "kernel-output"
    verdict = held(subject, check, case)
    assert verdict.status == "failed"
    told = diagnose_submission(subject, "float32", [verdict], 60)
    ids = [each.ids[0] for each in told.explanations]
    assert NAMED.get(name) in [*ids, None], told.message


@pytest.mark.parametrize("number", NUMBERS)
def test_the_widest_bound_of_all_forms_holds(number):
    problem = STATE_SPACES[number]
    case = problem.case(8, 1, 2, 3)
    drawn, lift = leaves(problem, case), kernel_oracle.bounded(case)
    want = kernel_oracle.output(problem, case, drawn, lift)
    plain = problem.linear(drawn)
    linear = replace(plain, **{n: lift(getattr(plain, n).astype(np.float32)) for n in "gkvqS"})
    for name in forms(problem, case):
        y, S = form_named(name).run(linear)
        value, bound = (returned(problem, *parts) for parts in
                        ((y.value, S.value), (y.bound, S.bound)))  # fmt: skip
        assert (np.abs(value - want.value) + bound <= want.bound * (1 + 1e-12)).all()


@pytest.mark.parametrize("number", NUMBERS)
def test_the_cell_of_the_diagnosis_computes_the_problem(number):
    problem = STATE_SPACES[number]
    case = replace(problem.case(6, 3, 4, 5), dtype="float64")
    built = Guess(of(Chunks, number), NOTHING_WRONG).build(case)
    given, d = leaves(problem, case), case.normal("d", problem.output_shape(case))
    want, gradients = kernel_oracle.pulled(problem, case, given, d, kernel_oracle.plain)
    np.testing.assert_allclose(by_cell(problem, case, given, built)["output"], want, atol=1e-12)
    for name, got in by_cell(problem, case, given, built, d).items():
        np.testing.assert_allclose(got, gradients[name], atol=1e-12)


@pytest.mark.parametrize("number", NUMBERS)
def test_some_rows_heads_and_values_stand_in_a_large_one(number):
    problem = replace(STATE_SPACES[number], D=4, H=6)
    large = problem.case(6, 5, 4, 6)
    small = replace(large, B=2, H=3, seed=7)
    embedding, own = embedded(problem, large, small), leaves(problem, small)
    whole = embedding.leaves(own, leaves(problem, large))
    got = kernel_oracle.output(problem, large, whole, kernel_oracle.plain)
    want = kernel_oracle.output(problem, small, own, kernel_oracle.plain)
    np.testing.assert_allclose(embedding.output(got), want, atol=1e-12)


def test_the_benchmarks_own_test_is_restated():
    assert by_benchmark(Chunks, STATE_SPACES[48]) == (True, True)
    assert by_benchmark(WRONG["nothing decays"], STATE_SPACES[48]) == (False, False)
    assert by_benchmark(WRONG["the decay has no gradient"], STATE_SPACES[49]) == (True, True)


def test_parameters_of_other_names_are_those_that_are_drawn_alike():
    class Own(Chunks):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            for name in "ABC":
                self.register_parameter(f"own_{name}", self._parameters.pop(name))

        def __getattr__(self, name):
            return super().__getattr__(f"own_{name}" if name in ("A", "B", "C") else name)

    assert held(of(Own, 48), "kernel-output").status == "passed"


def test_a_problem_says_which_there_are():
    assert problem_named("kernelbench:49").title == "Mamba2ReturnFinalState"
