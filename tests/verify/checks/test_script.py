"""The stand-alone script of a failure shows it without gatewise."""

import ast
import re

import pytest

from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named

LAYERS = """
import sys

sys.path.insert(0, {tests!r})
import hand_written
import plain_numpy
import torch
from conditional import CellInFloat32, RowsFirst
from dropped import EveryState

SwapsGates = hand_written.SwapsGates
DropsTheBackwardState = hand_written.DropsTheBackwardState


class HalvesTheGradientOfC(torch.nn.LSTM):
    def forward(self, x, hx=None):
        if hx is not None and torch.is_grad_enabled():
            hx = hx[0], (hx[1] + hx[1].detach()) / 2
        return super().forward(x, hx)


class Remembers(torch.nn.LSTM):
    last = None

    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        if self.last is not None and self.last.shape == final[0].shape:
            final = (final[0] + 1e-3 * self.last, final[1])
        self.last = final[0].detach()
        return y, final


class Explicit(plain_numpy.LSTM):
    def forward(self, params, x, state, lengths=None):
        ys, (h, c) = super().forward(params, x, state, lengths)
        return ys, (h, 1.5 * c)


class ExplicitGradient(plain_numpy.GRU):
    def vjp(self, *arguments):
        dp, dx, (dh,) = super().vjp(*arguments)
        return dp, dx, (dh / 2,)


class StackedGradient(plain_numpy.StackedRNN):
    def vjp(self, *arguments):
        d, dx, dstate = super().vjp(*arguments)
        d[-1]["U"] /= 2
        return d, dx, dstate


class LargerInTraining(plain_numpy.StackedRNN):
    def forward(self, params, x, state):
        y, final = super().forward(params, x, state)
        return y * 1.5 if self.training else y, final


class HalvesWhatItKeeps(plain_numpy.KeepsItsState):
    def forward(self, params, x, state, lengths=None):
        y, final = super().forward(params, x, state, lengths)
        self.kept = tuple(s / 2 for s in final)
        return y, final


class Raises(plain_numpy.LSTM):
    def forward(self, params, x, state, lengths=None):
        if len(x) > 3:
            raise RuntimeError("no kernel")
        return super().forward(params, x, state, lengths)
"""

WITHOUT = """
import importlib.abc, runpy, sys, warnings

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "gatewise":
            raise ImportError("a script that needs gatewise does not stand alone")

warnings.simplefilter("ignore")
sys.meta_path.insert(0, Refuse())
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture
def verdict(root, tmp_path):
    """Hold a layer of the file above to a check."""
    (tmp_path / "layers.py").write_text(LAYERS.format(tests=str(root / "tests" / "doubles")))

    def verdict(name, check, like, dtype="float64"):
        subject = subject_named(f"{tmp_path}/layers.py:{name}", like)
        return hold(subject, check_named(check), dtype, budget=Budget(8, 2), seed_value=4)

    return verdict


@pytest.fixture
def run(server, tmp_path):
    """Run a script in a Python that refuses to import gatewise."""

    def run(script):
        (tmp_path / "script.py").write_text(script, encoding="utf-8")
        return server.run("-c", WITHOUT, "script.py", cwd=tmp_path, anew=True)

    return run


@pytest.mark.parametrize(("name", "check", "like", "dtype"), [
    ("SwapsGates", "forward", "torch.nn.LSTM", "float64"),
    ("SwapsGates", "batch-first", "torch.nn.LSTM", "float32"),
    ("DropsTheBackwardState", "gradient", "torch.nn.LSTM", "float64"),
    ("HalvesTheGradientOfC", "gradient", "torch.nn.LSTM", "float64"),
    ("Remembers", "reweight", "torch.nn.LSTM", "float64"),
    ("Explicit", "forward", None, "float64"),
    ("Explicit", "padding", None, "float32"),
    ("ExplicitGradient", "gradient", None, "float64"),
    ("StackedGradient", "gradient", None, "float64"),
    ("LargerInTraining", "modes", None, "float64"),
    ("HalvesWhatItKeeps", "kept-state", None, "float64"),
])  # fmt: skip
def test_a_script_fails_as_the_check_did(verdict, run, name, check, like, dtype):
    told = verdict(name, check, like, dtype)
    assert told.status == "failed"
    done = run(told.script)

    assert done.returncode == 1
    assert "AssertionError" in done.stderr, done.stderr
    (got,) = re.findall(r"= (\S+), (?:expected|must)", told.message)
    (shown,) = re.findall(r"= (\S+), expected", done.stdout)
    assert float(shown) == pytest.approx(float(got), rel=1e-6)


def test_a_script_says_what_it_is_about(verdict):
    told = verdict("Explicit", "forward", None)
    words = ast.get_docstring(ast.parse(told.script))

    assert words.startswith(told.statement)
    assert "layers.py:Explicit, float64" in words
    assert told.message in words
    assert "gatewise" not in told.script.replace("gatewise_subject", "")


def test_a_crash_has_a_script_that_raises(verdict, run):
    told = verdict("Raises", "forward", None)

    assert told.status == "crashed"
    done = run(told.script)
    assert done.returncode == 1
    assert "RuntimeError: no kernel" in done.stderr


@pytest.mark.parametrize(("name", "check", "said"), [
    ("CellInFloat32", "forward", "final h: expected dtype float64, got float32"),
    ("RowsFirst", "forward", r"final h: expected shape \(1, 2, 1\), got \(2, 1, 1\)"),
    ("EveryState", "dropout", "% of the outputs of the last layer are 0 in training"),
])  # fmt: skip
def test_what_is_no_number_is_held_too(verdict, run, name, check, said):
    told = verdict(name, check, "torch.nn.GRU" if name == "EveryState" else "torch.nn.LSTM")
    done = run(told.script)

    assert told.status == "failed"
    assert done.returncode == 1
    assert re.search(said, done.stdout)
    assert "AssertionError" in done.stderr, done.stderr


def test_every_layer_is_made_anew(verdict):
    told = verdict("Explicit", "carry", None)
    assert told.status == "failed"
    assert told.script.count("= make()") == 3


def test_what_passes_has_none(verdict):
    assert verdict("Explicit", "smoke", None).script == ""
