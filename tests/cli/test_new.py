"""``gatewise new``: what it writes runs, and says what is still to be written."""

import subprocess
import sys
from pathlib import Path

import pytest

import gatewise
from commands import invoke, refused
from gatewise.reference.cells import cells


@pytest.fixture
def new(here):
    return lambda *arguments: invoke("new", *arguments)


@pytest.mark.parametrize(("cell", "name"), [("rnn", "MyRNN"), ("lstm", "MyLSTM"), ("gru", "MyGRU")])
def test_it_conforms_as_it_is_written(new, cell, name):
    result = new(cell)
    outcome = gatewise.check(f"my_{cell}.py:{name}", budget="quick",
                             checks="smoke,forward,carry,influence")  # fmt: skip

    assert result.exit_code == 0
    assert f"gatewise verify my_{cell}.py:{name}" in result.output
    assert outcome, outcome


@pytest.mark.parametrize("cell", sorted({*cells()} - {"rnn", "lstm", "gru"}))
def test_of_every_cell_there_is_one(new, cell):
    new(cell)
    (path,) = Path().glob("my_*.py")
    outcome = gatewise.check(str(path), budget="quick", checks="smoke,forward", explain=False)

    assert not outcome
    assert "the step is still to be written" in " ".join(str(outcome).split())
    assert any(
        f"\\{word}" in path.read_text() for word in ("sigma", "tanh", "top", "max", "lambda")
    )


def test_its_test_runs(new):
    new("rnn")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-k", "smoke or forward", "test_my_rnn.py"],
        capture_output=True, text=True, env={"PYTHONPATH": "."}, check=False,
    )  # fmt: skip

    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_what_is_there_is_left(new):
    new("rnn")
    refused(new("rnn"), 3, "my_rnn.py: is there already")


def test_a_cell_that_is_not_there_is_a_usage_error(new):
    assert new("nope").exit_code == 2
