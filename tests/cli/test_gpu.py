"""What is run on a GPU: its steps are commands that exist, end in time, and are told."""

import shlex

import pytest
from click.testing import CliRunner

from commands import invoke, refused
from gatewise.cli import gpu as on_gpu
from gatewise.cli.gpu import Step
from gatewise.verify.runs import run as run_files


@pytest.mark.parametrize("step", on_gpu.steps(on_gpu.Path("there")), ids=lambda step: step.name)
def test_every_step_is_a_command(step):
    """Its options are ones that the command has: --help beside them is no usage error."""
    result = invoke(*shlex.split(step.command), "--help")
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output


def test_all_steps_fit_into_seven_minutes():
    """Those that check run at once; after them those that measure, one after the other."""
    steps = on_gpu.steps(on_gpu.Path("there"))
    longest = max(step.seconds for step in steps if not step.alone)
    assert longest + sum(step.seconds for step in steps if step.alone) <= 420


@pytest.fixture
def few(monkeypatch):
    """Return what replaces the steps by other programs."""

    def replaced(*chosen, gpu=True):
        monkeypatch.setattr(on_gpu, "steps", lambda folder: chosen)
        monkeypatch.setattr(on_gpu, "has_gpu", lambda: gpu)

    return replaced


def run(tmp_path, *names):
    return CliRunner().invoke(on_gpu.main, [*names, "-o", str(tmp_path / "out")])


def test_exit_codes_are_told(few, tmp_path, capfd):
    """1 and 3 are findings; 2 means that a command could not run."""
    few(Step("list", "cells", 60), Step("odd", "verify nothing:LSTM", 60))
    result = run(tmp_path)

    assert result.exit_code == 2
    assert "list: exit code 0" in result.output
    assert "could not run: odd" in result.output


def test_a_step_that_takes_too_long_is_stopped(few, tmp_path, monkeypatch):
    monkeypatch.setattr(on_gpu, "GRACE", 5.0)
    few(Step("long", "mutants --jobs 1 --runs " + str(tmp_path), 2), Step("list", "cells", 60))
    result = run(tmp_path)

    assert result.exit_code == 2
    assert "long: stopped, as its time was over" in result.output
    assert "not whole, as their time was over: long" in result.output
    assert "list: exit code 0" in result.output


def test_without_a_gpu_it_says_so(few, tmp_path):
    runs = tmp_path / "out" / "runs"
    few(Step("cudnn", f"verify cudnn:LSTM --runs {runs}", 60, needs_gpu=False),
        Step("speed", "bench speed cudnn:LSTM", 60), gpu=False)  # fmt: skip
    result = run(tmp_path)
    (folder,) = runs.iterdir()
    verdicts = run_files.read(folder).verdicts

    assert result.exit_code == 3
    assert "there is no CUDA device that PyTorch can use" in result.output
    assert "speed" not in result.output
    assert {v.status for v in verdicts} == {"not tested"}
    assert f"  {folder}" in result.output


def test_what_is_measured_waits_for_what_is_checked(few, tmp_path):
    """Checks run beside each other, and what measures starts when the GPU is idle."""
    few(Step("slow", "claims --help", 60, alone=False), Step("odd", "verify nothing:LSTM", 60,
        alone=False), Step("timed", "cells", 60))  # fmt: skip
    result = run(tmp_path)

    assert result.output.index("timed: exit code 0") > result.output.index("slow: exit code 0")
    assert result.output.index("timed: exit code 0") > result.output.index("odd: exit code 2")
    assert "nothing" in (tmp_path / "out" / "logs" / "odd.txt").read_text()


def test_a_step_that_is_not_known(tmp_path):
    refused(run(tmp_path, "foo"), 2, "foo: expected cudnn, others, compiled, record-RNN")
