"""Layers of packages: a row loads a class as a torch-like one, under its package's version."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence

import own_cells
import own_names
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import adapted, subject_named, subjects
from gatewise.verify.subjects.frameworks import families, packages
from gatewise.verify.subjects.frameworks.packages import PackageLayer
from gatewise.verify.subjects.protocol import SubjectUnavailable
from judgements import verdict_is

CHECKS = {check.id: check for check in subject_checks() if not check.problems}
ROW = PackageLayer("toy:GRU", "toy.rnn", "GRU", "torch.nn.GRU", distribution="pytest")
BEFORE = {"reset": "before", "bias": ("rzn",)}


@pytest.fixture
def toy(monkeypatch):
    """A package that is imported as ``toy.rnn``; what a test puts into it is its layers."""
    module = ModuleType("toy.rnn")
    monkeypatch.setitem(sys.modules, "toy", ModuleType("toy"))
    monkeypatch.setitem(sys.modules, "toy.rnn", module)
    return module


def held(subject, check, dtype="float64"):
    return hold(subject, CHECKS[check], dtype, budget=Budget(4, 2), seed_value=5)


def test_a_row_loads_a_layer_with_its_packages_version(toy):
    toy.GRU = own_names.LinearPerGate
    row = replace(ROW, differences=BEFORE)

    subject = row.loaded()
    assert row.cells == subject.cells == ("gru-keeps-old",)
    assert subject.version().startswith(f"pytest {pytest.__version__} (torch {torch.__version__})")
    assert "x_r.weight is W_r" in subject.version()
    for check in ("smoke", "forward", "gradient"):
        assert held(subject, check).status == "passed"


def test_a_layer_that_computes_another_cell_than_its_row_says_is_refused(toy):
    """A package may change what it computes: then the row is wrong, and says so."""
    toy.GRU = own_names.LinearPerGate
    with pytest.raises(SubjectUnavailable, match=r"expected the cell gru, it computes gru-keeps"):
        ROW.loaded()


def test_a_package_that_is_not_there_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "toy", None)
    with pytest.raises(SubjectUnavailable, match=r"install it with: pip install pytest torch"):
        ROW.loaded()


def test_what_is_absent_is_not_offered(toy):
    """An option that the class takes and does not have; the reason is the row's."""
    toy.GRU = torch.nn.GRU
    row = replace(ROW, absent={"bidirectional": "it raises"})

    options = row.loaded().options
    assert not options.bidirectional
    assert not row.options.bidirectional
    assert options.layers
    assert dict(options.reasons)["bidirectional"] == "it raises"


class SortedPacked(torch.nn.LSTM):
    """Takes packed sequences alone, and those in the order of their lengths, as AllenNLP's."""

    def forward(self, x, hx=None):
        assert isinstance(x, PackedSequence)
        assert x.sorted_indices is None
        return super().forward(x, hx)


class TwoArguments(torch.nn.LSTM):
    def forward(self, x, h=None, c=None):
        return super().forward(x, None if h is None else (h, c))


class NoAxis(torch.nn.GRU):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)

    def forward(self, x, h=None):
        y, final = super().forward(x, None if h is None else h[None])
        return y, final[0]


class Named(torch.nn.LSTMCell):
    def forward(self, x, h, c):
        h, c = super().forward(x, (h, c))
        return {"h_n": h, "c_n": c}


class Attention(torch.nn.GRUCell):
    def forward(self, x, h, score):
        return score[:, None] * super().forward(x, h)


class Keeps(own_cells.FourLinears):
    """Keeps its states: a call is a step, and returns h."""

    def zero_states(self):
        self.H = self.C = None

    def forward(self, x):
        if self.H is None:
            self.H = self.C = x.new_zeros(len(x), self.input.out_features)
        self.H, (_, self.C) = self.step(x, (self.H, self.C))
        return self.H


@pytest.mark.parametrize(("layer", "like", "adaptation"), [
    (SortedPacked, "LSTM", packages._packed),
    (TwoArguments, "LSTM", packages._two_states),
    (NoAxis, "GRU", packages._without_axis),
    (Named, "LSTMCell", packages._named_results),
    (Attention, "GRUCell", packages._attention_of_one),
    (Keeps, "LSTMCell", packages._attributes("H", "C")),
], ids=lambda value: getattr(value, "__name__", ""))  # fmt: skip
def test_an_adaptation_makes_a_layer_that_is_called_like_torchs(layer, like, adaptation, toy):
    toy.Layer = layer
    subject = replace(
        ROW, name="toy:Layer", attribute="Layer", like=f"torch.nn.{like}", adaptation=adaptation
    ).loaded()

    for check in ("smoke", "forward", "gradient", "carry-gradient"):
        verdict_is(held(subject, check), "passed")
    if layer is SortedPacked:
        assert subject.options.lengths
        assert held(subject, "padding").status == "passed"


class ByLengths(torch.nn.GRU):
    """Takes lengths, also 0, and returns outputs that end with the longest row."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)

    def forward(self, x, hx=None, lengths=None, enforce_sorted=True):
        if lengths is None:
            return super().forward(x, hx)
        assert not enforce_sorted
        h0 = x.new_zeros(1, x.shape[1], self.hidden_size) if hx is None else hx
        y, final = x.new_zeros(max(lengths), x.shape[1], self.hidden_size), []
        for b, n in enumerate(lengths):
            h = h0[:, b : b + 1]
            if n > 0:
                y[:n, b : b + 1], h = super().forward(x[:n, b : b + 1], h)
            final.append(h)
        return y, self.final_of(torch.cat(final, 1), h0, (lengths == 0)[None, :, None])

    def final_of(self, final, h0, empty):
        return final


class Scatters(ByLengths):
    """Wrong, as PyTorch Forecasting's: rows without a step get the states of the first rows."""

    def final_of(self, final, h0, empty):
        return final.masked_scatter(empty, h0)


def test_lengths_are_an_argument_where_forward_has_it():
    """Then there may be rows of length 0, which torch.nn cannot pack."""
    subject = adapted(ByLengths, "toy:ByLengths", "torch.nn.GRU")

    assert subject.options.lengths
    assert subject.options.zero_length
    for check in ("padding", "zero-length", "final", "gradient"):
        verdict_is(held(subject, check), "passed")


def test_wrong_states_of_rows_without_a_step_are_caught():
    """The final state of such a row, and not its outputs."""
    verdict = held(adapted(Scatters, "toy:Scatters", "torch.nn.GRU"), "zero-length")
    assert verdict.status == "failed"
    assert verdict.message.startswith("final h")


@pytest.mark.parametrize("row", packages.SUBJECTS, ids=lambda row: row.name)
def test_every_row_runs_where_its_package_is_installed(row):
    """It is called as it should be, and computes what the row says; else it is skipped."""
    try:
        subject = subject_named(row.name)
    except SubjectUnavailable as missing:
        assert f"install it with: pip install {row.package} torch" in str(missing)  # noqa: PT017
        pytest.skip(str(missing))

    assert subject.version().startswith(f"{row.package} ")
    assert held(subject, "smoke").status == "passed"


def test_rows_are_stated_without_their_packages():
    assert {row.name for row in packages.SUBJECTS} <= subjects().keys()
    assert len({row.name for row in packages.SUBJECTS}) == len(packages.SUBJECTS)
    for row in packages.SUBJECTS:
        assert row.claim.cell in row.cells
        assert families()[row.name.partition(":")[0]].install == f"{row.package} torch"
