"""What is wrong with a submission, in a sentence: of a cheat of each kind."""

import pytest

from gatewise.bench.kernels.cheats import CHEATS, restore
from gatewise.bench.kernels.submissions import submission
from gatewise.verify.checks import check_named
from gatewise.verify.diagnosis.kernels import diagnose_submission
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.subjects.kernel import kernel
from gatewise.verify.subjects.kernel_problems import PROBLEMS, long_runs, sizes

KINDS = {cheat.name: cheat.kind for cheat in CHEATS}


def diagnosed(name, number=35, check="kernel-output"):
    problem = PROBLEMS[number]
    subject = kernel(submission(KINDS[name], problem), name, problem.name)
    case = next(iter((long_runs if check == "kernel-steps" else sizes)(problem)))
    verdict = hold(subject, check_named(check), "float32", budget=BUDGETS["quick"], case=case)
    assert verdict.wrong
    restore()
    return diagnose_submission(subject, "float32", [verdict], 20.0)


SAID = [
    ("the input is replaced by 0.5", "kernel-output", "x has no influence on its output."),
    ("only the last 16 steps are read", "kernel-steps",
     "The first 496 of 512 steps have no influence on its output."),
    ("only the last half of the steps is read", "kernel-output",
     "The first 2 of 5 steps have no influence on its output."),
    ("row 0 is copied to all rows", "kernel-output",
     "The output of row 1 changes with the input of row 0."),
    ("the initial states are ignored", "kernel-output",
     "h0 and c0 have no influence on its output."),
    ("it returns zeros", "kernel-output",
     "Nothing that it is given has an influence on its output."),
    ("a few entries of its output are noise", "kernel-output",
     "Its output is random: the same call again returns other numbers."),
    ("the input gate and the forget gate are exchanged", "kernel-output",
     "The input and forget gates are exchanged in W, U and b."),
    ("the initial state of the first layer is used for all", "kernel-output",
     "Every layer starts from the initial state of the lowest layer."),
    ("the gradient does not pass from step to step", "kernel-gradient",
     "The gradient of h0 and c0 is 0 throughout."),
    ("states are kept in half precision", "kernel-output",
     "Its error is of the size that tf32 would have"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "check", "said"), SAID)
def test_what_is_said(name, check, said):
    diagnosis = diagnosed(name, check=check)
    assert diagnosis.headline.startswith(said)
    assert (diagnosis.status == "explained") == bool(diagnosis.explanations)


def test_the_reset_gate_of_a_gru():
    diagnosis = diagnosed("the candidate is reset before its product, without its bias", 40)
    assert diagnosis.headline.startswith("The reset gate acts on the wrong side")
    assert diagnosis.residual < 2 < diagnosis.runner_up


def test_nothing_is_made_up():
    diagnosis = diagnosed("the input is replaced by its mean over all features")

    assert diagnosis.status == "unexplained"
    assert diagnosis.headline.startswith(
        "Nothing that is known explains it; kernel-output: output["
    )
