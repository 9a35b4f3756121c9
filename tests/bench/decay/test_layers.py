"""``gatewise bench decay --subject``: a layer's own gradients against lag, and planted errors."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from commands import invoke, refused
from gatewise.bench import run
from gatewise.bench.decay import layers
from gatewise.bench.decay.problem import Setting
from gatewise.bench.decay.rows import of_kind
from gatewise.bench.run import UnsupportedError
from gatewise.reports.section import Figure, Table
from gatewise.reports.sections.decay import section
from gatewise.verify.mutants import right_subject
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.frameworks.torch_backends import CudaLayer
from gatewise.verify.subjects.profiler import Route, Watch

SETTING = Setting("lstm", 8, 1.0, 1.0)
STEPS = 60


@pytest.fixture
def plant(monkeypatch):
    """Return what puts a subject in the place of ``torch:LSTM``."""

    def planted(subject):
        monkeypatch.setattr(layers, "subject_named", lambda name, like=None: subject)

    return planted


def measured(dtype="float32", **more):
    return layers.measured("torch:LSTM", SETTING, dtype, STEPS, more.pop("seeds", (0, 1, 2)))


class Changed:
    """``torch:LSTM`` whose gradient of x is changed after it was computed."""

    def __init__(self, change):
        self.real, self.change = subject_named("torch:LSTM"), change

    def __getattr__(self, name):
        return getattr(self.real, name)

    def build(self, case):
        built = self.real.build(case)

        class Built:
            def gradients(_, inputs, cotangents):
                return [replace(one, x=self.change(one.x))
                        for one in built.gradients(inputs, cotangents)]  # fmt: skip

        return Built()


def test_a_right_layer_follows_the_equations():
    row = measured("float64")
    last_digit = (
        1.5e-5  # a band has five decimals, and rounding may part what is next to each other
    )

    assert (row.wrong, row.zero) == (None, None)
    assert np.abs(np.subtract(row.curve.median, row.right.median)).max() < last_digit
    assert row.lags[0] == 0
    assert row.lags[-1] == STEPS - 1


def test_float16_loses_the_gradient():
    row = layers.measured("torch:RNN", Setting("rnn", 8, 1.0), "float16", STEPS, (0, 1, 2))
    assert row.wrong is not None
    assert row.wrong <= (row.zero or STEPS)


@pytest.mark.parametrize("lag", [1, 7, 30])
def test_a_gradient_that_is_cut_off_is_seen(plant, lag):
    """Truncated backpropagation: from that lag on there is nothing."""

    def cut(dx):
        dx = dx.copy()
        dx[: STEPS - lag] = 0
        return dx

    plant(Changed(cut))
    row = measured()
    assert (row.wrong, row.zero) == (lag, lag)
    left = [k for k, norm in zip(row.lags, row.curve.median, strict=True) if norm is not None]
    assert left == [k for k in row.lags if k < lag]  # the layer's own curve ends there
    assert None not in row.right.median


def test_a_gradient_of_the_wrong_size_is_seen(plant):
    """Twice the gradient is off by its whole norm, from lag 0."""
    plant(Changed(lambda dx: 2 * dx))
    row = measured()
    assert (row.wrong, row.zero) == (0, None)


def test_explicit_layers_have_gradients_too(plant):
    plant(right_subject("lstm"))
    assert measured("float64").wrong is None


def test_bfloat16_without_ml_dtypes_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(UnsupportedError, match="ml_dtypes"):
        measured("bfloat16")


def test_what_one_setting_lacked_says_nothing_of_the_next(plant):
    """A layer by oneDNN: float64 is something else, float32 before and after it is not."""
    like = subject_named("torch:LSTM")
    route = Route("oneDNN", ("aten::mkldnn_rnn_layer",), ("aten::mkldnn_rnn_layer_backward",))
    made = CudaLayer("torch:LSTM", like.convention, like.options, kind=like.kind,
                     watch=Watch(route), device="cpu")  # fmt: skip
    monkey = type("Here", (CudaLayer,), {"version": lambda self: "here"})
    plant(monkey(**{name: getattr(made, name) for name in made.__dataclass_fields__}))
    assert "oneDNN in 1 of 1" in measured("float32").ran
    with pytest.raises(UnsupportedError, match="something else ran"):
        measured("float64")
    assert "oneDNN in 1 of 1" in measured("float32").ran


def test_what_cannot_be_measured_is_told():
    with pytest.raises(UnsupportedError, match="gradients"):
        layers.measured("torch-onnx:LSTM", SETTING, "float32", STEPS, (0,))


def test_the_command_and_its_section(tmp_path):
    line = "bench decay --subject torch:GRU --dtype float32 --steps 40 --seeds 2 --hidden 6 --runs"
    told = invoke(line, tmp_path)
    assert told.exit_code == 0, told.output
    (folder,) = tmp_path.iterdir()
    found = run.read(folder)
    (row,) = of_kind(found.rows, "layer")
    parts = section([found]).parts

    assert found.planned == ("layer/torch:GRU/float32/gru/H6/g1/b1",)
    assert row.subject == "torch:GRU"
    assert "torch:GRU" in told.output
    (figure,) = (part for part in parts if isinstance(part, Figure))
    assert figure.chart().to_dict()["facet"]
    assert any("layers reach" in part.title for part in parts if isinstance(part, Table))
    refused(invoke("bench decay --subject torch:FOO"), 2, "torch:FOO")
