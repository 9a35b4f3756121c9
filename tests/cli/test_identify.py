"""What ``gatewise identify`` tells, and its exit codes."""

import json

import pytest


def test_identify_tells_the_convention(run):
    result = run("identify torch:GRU")

    assert result.exit_code == 0
    assert "torch:GRU: GRU, gates r z n, [3H, D], two biases" in result.stdout
    assert "r_t = σ(x_t W[0:H]ᵀ + h_{t-1} U[0:H]ᵀ + b[0:H] + b′[0:H])" in result.stdout
    assert "runner-up" in result.stdout
    assert "it is the convention that its adapter states" in result.stdout


def test_identify_in_json(run, root):
    result = run("identify torch:RNN", f"{root}/tests/doubles/plain_numpy.py:LSTM", "--json")
    first, second = json.loads(result.stdout)

    assert result.exit_code == 0
    assert (first["as_stated"], second["as_stated"]) == (True, None)
    assert first["fits"][0]["bias"] == ["a", "a"]
    assert second["nearest"]["layout"] == "gates"
    assert second["latex"][0].startswith(r"i_t = \sigma(")


@pytest.mark.parametrize(("name", "code", "said"), [
    ("wrong", 1, "it is NOT the convention that its adapter states"),
    ("missing", 3, "not identified: other is not installed"),
    ("exits", 3, "not identified: the process ended itself with exit code 7"),
])  # fmt: skip
def test_identify_where_it_is_not_so(run, other, name, code, said):
    result = run("identify", other(name))
    assert result.exit_code == code
    assert said in result.stdout


NO_CONVENTION = """
import numpy as np

class LSTM:
    cell = "lstm"

    def forward(self, params, x, state):
        y = np.cumsum(x @ params["W"][0] + params["b"][0], 0)
        return y, (y[-1], y[-1] + params["U"][0].sum())
"""


def test_identify_prints_no_formulas_where_nothing_fits(run, tmp_path):
    (tmp_path / "none.py").write_text(NO_CONVENTION)
    result = run("identify none.py:LSTM")

    assert result.exit_code == 3
    assert result.stdout.strip().splitlines() == [
        "none.py:LSTM: no convention fits",
        "its single steps are those of no recurrent layer that is known; what is wrong says: "
        "gatewise diagnose none.py:LSTM",
    ]


def test_identify_what_is_unknown(run):
    assert run("identify torch:Perceptron").exit_code == 2
    assert run("identify").exit_code == 2
    assert run("identify torch:LSTM --like keras").exit_code == 2


HANGS = """
import time
from gatewise.verify.subjects import subject_named

class LSTM:
    cell = "lstm"
    dtypes = ("float64",)
    calls = 0

    def forward(self, params, x, state):
        if x.shape[1:] == (4, 11):
            time.sleep(60)
        raise RuntimeError("too small")
"""


def test_identify_what_hangs(run, tmp_path):
    (tmp_path / "hangs.py").write_text(HANGS)
    result = run("identify hangs.py:LSTM --timeout 2")
    assert result.exit_code == 3
    assert "hangs.py:LSTM: not identified: no answer after 2." in result.stdout


OWN_NAMES = """
import torch

class LSTM(torch.nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.kernel = torch.nn.Parameter(torch.empty(input_size, 4 * hidden_size))
        self.recurrent = torch.nn.Parameter(torch.empty(hidden_size, 4 * hidden_size))
        self.bias = torch.nn.Parameter(torch.empty(4 * hidden_size))

    def forward(self, x, state=None):
        zero = x.new_zeros(x.shape[1], self.recurrent.shape[0])
        h, c = (zero, zero) if state is None else (s[0] for s in state)
        ys = []
        for each in x @ self.kernel + self.bias:
            i, f, g, o = (each + h @ self.recurrent).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            ys.append(h)
        return torch.stack(ys), (h[None], c[None])
"""


def test_arrays_of_own_names_state_no_convention(run, tmp_path):
    """How they are packed was inferred: that torch's are packed otherwise is no difference."""
    (tmp_path / "own.py").write_text(OWN_NAMES)
    result = run("identify own.py:LSTM --like torch.nn.LSTM --json")

    (found,) = json.loads(result.stdout)
    assert (result.exit_code, found["as_stated"], found["nearest"]["layout"]) == (0, None, "in-out")
