"""A layer that declares its arithmetic, or of which the command says it."""

import json

import pytest

FILE = """
import numpy as np


def q(v):
    return np.clip(np.rint(v * 1024) / 1024, -32, 32 - 2.0**-10)


class Silent:
    cell = "rnn"
    dtypes = ("float64",)

    def forward(self, params, x, state):
        W, U, b = (q(params[n][0]) for n in "WUb")
        h = q(state[0]) if state else np.zeros((x.shape[1], b.shape[-1]))
        y = []
        for x_t in q(x):
            h = q(np.tanh(q(x_t @ W + h @ U + b)))
            y.append(h)
        return np.stack(y), (h,)


class Declared(Silent):
    quantised = "fixed=<16,6>"


class Meaningless(Silent):
    quantised = "weights=eight"
"""
FEW = ("--budget", "quick", "--check", "forward,saturation", "--no-diagnosis", "--dtype", "float64")


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)


def verdicts(result):
    return {v["check"]: v for v in json.loads(result.stdout)}


def test_a_class_or_the_command_declares_the_arithmetic(run, file):
    """Both are held to it; without it, the same layer is wrong, and the check does not concern."""
    declared = run("verify mine.py:Declared", *FEW, "--json")
    told = run("verify mine.py:Silent --quantised fixed=<16,6>", *FEW, "--json")
    silent = run("verify mine.py:Silent", *FEW, "--json")

    for result in (declared, told):
        assert {check: v["status"] for check, v in verdicts(result).items()} == {
            "forward": "passed", "saturation": "passed",
        }  # fmt: skip
        assert "fixed point <16,6>" in verdicts(result)["forward"]["version"]
    assert verdicts(silent)["forward"]["status"] == "failed"
    assert "saturation" not in verdicts(silent)


def test_a_failure_is_made_again_with_the_arithmetic(run, file):
    result = run("verify mine.py:Silent --quantised fixed=<16,5>", *FEW, "--json")
    assert verdicts(result)["forward"]["status"] == "failed"
    assert "--quantised 'fixed=<16,5>'" in verdicts(result)["forward"]["reproduce"]


def test_a_diagnosis_is_one_of_the_declared_arithmetic(run, file):
    declared = ("--quantised", "fixed=<16,6>, rounding=down", "--dtype", "float64")
    told = run("diagnose mine.py:Silent", *declared, "--json")
    ((said,),) = (diagnosis["explanations"] for diagnosis in json.loads(told.stdout))

    assert told.exit_code == 1
    assert said["ids"] == ["another arithmetic"]
    assert said["fixes"] == [
        "do as declared (rounding down), or declare what it does: fixed=<16,6>"
    ]


def test_what_means_nothing_is_refused_in_a_sentence(run, file):
    command = run("verify mine.py:Silent --quantised", "weights=8, per=rows")
    layer = run("verify mine.py:Meaningless", *FEW)

    assert command.exit_code == layer.exit_code == 2
    assert "quantised: per: expected one of channel" in command.output
    assert "quantised: weights: expected an integer, got 'eight'" in layer.output
