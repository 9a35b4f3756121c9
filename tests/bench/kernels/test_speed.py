"""How fast a submission is, beside torch's own module, at the benchmark's sizes."""

import inspect
import json
import subprocess
from dataclasses import replace

import pytest
from click.testing import CliRunner

from gatewise.bench.kernels import speed
from gatewise.bench.kernels.speed import main, measured
from gatewise.bench.timing.measurement import Effort
from gatewise.verify.subjects.kernel_problems import PROBLEMS

MODULE = '''
import time

from torch import nn


class ModelNew(nn.Module):
    """Problem 40, and a pause."""

    def __init__(self, input_size, hidden_size, num_layers, bias=True, batch_first=False):
        super().__init__()
        self.gru = nn.GRU(input_size, hidden_size, num_layers)

    def forward(self, x, h0):
        time.sleep(0.01)
        return self.gru(x, h0)[1]
'''


@pytest.fixture
def named(tmp_path, monkeypatch):
    monkeypatch.setitem(PROBLEMS, 40, replace(PROBLEMS[40], T=8, D=8, H=8))
    monkeypatch.setattr(speed, "EFFORT", Effort(0.05, 2.0))
    path = tmp_path / "kernel.py"
    path.write_text(inspect.cleandoc(MODULE) + "\n", encoding="utf-8")
    return f"{path}:ModelNew"


def test_a_pause_is_seen(named):
    said = measured(named, "kernelbench:40")

    assert 1.5 < said["low"] <= said["ratio"] <= said["high"]
    assert said["seconds"] > 0.01 > said["torch_seconds"]
    assert said["sizes"] == {"T": 8, "B": 10, "D": 8, "H": 8, "layers": 6}
    assert not said["scaled_down"]


def test_a_function_is_timed_too(named, tmp_path):
    path = tmp_path / "arrays.py"
    path.write_text(
        "import time\n\n\ndef gru(x, h0, parameters):\n    time.sleep(0.02)\n    return h0\n",
        encoding="utf-8",
    )
    assert measured(f"{path}:gru", "kernelbench:40")["low"] > 1.5


def test_the_answer_is_one_line(named):
    done = CliRunner().invoke(main, [named, "kernelbench:40"])
    assert json.loads(done.output)["pairs"] >= 10


def test_what_is_printed_at_the_end_is_no_answer(monkeypatch):
    done = subprocess.CompletedProcess([], 0, '{"ratio": 1}\ndone\n', "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    said = speed.in_process("kernel.py:Model", "kernelbench:40")

    assert said == {"problem": """no number came back: '{"ratio": 1}\\ndone'"""}
