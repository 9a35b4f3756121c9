"""How fast a submission is, beside torch's own module, at the benchmark's sizes."""

import inspect
from dataclasses import replace

import pytest

from gatewise.bench.speed import submission
from gatewise.bench.speed.submission import in_process, measured
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
    monkeypatch.setattr(submission, "EFFORT", Effort(0.05, 2.0))
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


def test_what_a_process_prints_is_no_answer_and_how_it_ended_is_said(tmp_path):
    path = tmp_path / "loud.py"
    loud = "def gru(x, h0, parameters):\n    print('{\"answer\": 1}')\n    os._exit(3)\n"
    path.write_text(f"import os\n\n\n{loud}", encoding="utf-8")

    said = in_process(f"{path}:gru", "kernelbench:40")

    assert said == {"problem": "the process ended itself with exit code 3"}
