"""``gatewise verify --like kernelbench:35``: what is refused, in a sentence."""

import json

import pytest

from commands import invoke, refused

MODULE = '''
import torch
from torch import nn


class ModelNew(nn.Module):
    """Problem 33."""

    def __init__(self, input_size, hidden_size, output_size):
        super().__init__()
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)

    def forward(self, x, initial_hidden):
        return self.h2o(self.i2h(torch.cat([x, initial_hidden], 1)).tanh())


class Ignores(ModelNew):
    def forward(self, x, initial_hidden):
        return super().forward(x, 0 * initial_hidden)
'''


@pytest.fixture
def run(here):
    (here / "kernel.py").write_text(MODULE, encoding="utf-8")
    return lambda line, *more: invoke(f"verify {line}", *more)


def test_a_right_submission(run):
    done = run("kernel.py:ModelNew --like kernelbench:33 --json")
    said = json.loads(done.stdout)

    assert (done.exit_code, said["correct"], said["reason"]) == (0, True, "")
    assert set(said["checks"].values()) == {"passed"}
    assert len(said["checks"]) == 6


def test_a_wrong_submission_is_explained_and_not_timed(run):
    done = run("kernel.py:Ignores --like kernelbench:33 --json --time")
    said = json.loads(done.stdout)

    assert (done.exit_code, said["correct"]) == (1, False)
    assert said["diagnosis"]["statements"][0] == "h0 has no influence on its output."
    assert said["diagnosis"]["fixes"][0] == "read h0"
    assert "time" not in said


def test_several_are_a_list(run):
    done = run("kernel.py:ModelNew kernel.py:Ignores --like kernelbench:33 --json "
               "--check kernel-output --no-diagnosis")  # fmt: skip
    assert [each["correct"] for each in json.loads(done.stdout)] == [True, False]


def test_what_is_forbidden(run):
    line = "--like kernelbench:33 --forbid aten::tanh --check kernel-own-work"
    done = run(f"kernel.py:ModelNew {line}")

    assert done.exit_code == 1
    assert "it runs aten::tanh" in done.stdout
    assert line in done.stdout


REFUSED = [
    ("kernelbench:50", "expected one of kernelbench:33"),
    ("kernelbench:1", "expected one of kernelbench:33"),
    ("torch.nn.LSTM --forbid aten::lstm", "--forbid is for submissions"),
    ("torch.nn.LSTM --time", "--time is for submissions"),
]


@pytest.mark.parametrize(("like", "said"), REFUSED)
def test_what_cannot_be_is_refused(run, like, said):
    refused(run(f"kernel.py:ModelNew --like {like}"), 2, said)
