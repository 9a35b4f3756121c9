"""Layers and directions of classes with names of their own: which arrays are which pass's."""

import functools

import pytest
import torch
from torch import nn

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.protocol import SubjectUnavailable

CHECKS = {check.id: check for check in subject_checks() if not check.problems}
STACKED = Case(3, 2, 4, 5, layers=2)
BOTH_WAYS = Case(3, 2, 4, 5, layers=2, bidirectional=True)


class Stacked(nn.Module):
    """Layers of GRU cells, one direction or two; outputs of a layer are the next one's inputs."""

    def __init__(self, input_size, hidden_size, num_layers=2, bidirectional=False):
        super().__init__()
        self.hidden_size, self.ways = hidden_size, 2 if bidirectional else 1
        widths = [input_size, *[hidden_size * self.ways] * (num_layers - 1)]
        self.make(widths, hidden_size)

    def make(self, widths, H):
        self.cells = nn.ModuleList(nn.GRUCell(w, H) for w in widths for _ in range(self.ways))

    def cell(self, layer, way):
        return self.cells[layer * self.ways + way]

    def count(self):
        return len(self.cells) // self.ways

    def first(self, state, layer, way):
        return state[layer * self.ways + way]

    def forward(self, x, state=None):
        passes = self.count() * self.ways
        state = x.new_zeros(passes, x.shape[1], self.hidden_size) if state is None else state
        ends = []
        for layer in range(self.count()):
            sides = []
            for way in range(self.ways):
                h, y = self.first(state, layer, way), []
                for x_t in x.flip(0) if way else x:
                    h = self.cell(layer, way)(x_t, h)
                    y.append(h)
                sides.append(torch.stack(y[::-1] if way else y))
                ends.append(h)
            x = torch.cat(sides, -1)
        return x, torch.stack(ends)


class ByDirection(Stacked):
    """All layers of one direction, then those of the other."""

    def make(self, widths, H):
        self.forward_cells = nn.ModuleList(nn.GRUCell(w, H) for w in widths)
        if self.ways == 2:
            self.backward_cells = nn.ModuleList(nn.GRUCell(w, H) for w in widths)

    def cell(self, layer, way):
        return (self.backward_cells if way else self.forward_cells)[layer]

    def count(self):
        return len(self.forward_cells)


class LinearPerGate(Stacked):
    """Arrays of a gate in all layers stand together."""

    def make(self, widths, H):
        sides = [*widths] * self.ways if self.ways == 1 else [w for w in widths for _ in "fb"]
        for gate in "rzn":
            setattr(self, f"x_{gate}", nn.ModuleList(nn.Linear(w, H) for w in sides))
            setattr(self, f"h_{gate}", nn.ModuleList(nn.Linear(H, H) for _ in sides))
        self.cells = sides

    recurrent_of_candidate = None

    def cell(self, layer, way):
        at = layer * self.ways + way
        of_candidate = at if self.recurrent_of_candidate is None else self.recurrent_of_candidate

        def step(x, h):
            r = torch.sigmoid(self.x_r[at](x) + self.h_r[at](h))
            z = torch.sigmoid(self.x_z[at](x) + self.h_z[at](h))
            return (1 - z) * torch.tanh(self.x_n[at](x) + r * self.h_n[of_candidate](h)) + z * h

        return step


class OneMatrix(LinearPerGate):
    """Wrong: candidates of all layers have the recurrent weights of the first."""

    recurrent_of_candidate = 0


class StateOfTheFirstLayer(Stacked):
    """Wrong: all layers start from the state of the first."""

    def first(self, state, layer, way):
        return state[way]


@functools.cache
def like(layer):
    return adapted(layer, f"own:{layer.__name__}", "torch.nn.GRU")


def held(subject, check):
    return hold(subject, CHECKS[check], "float64", budget=Budget(4, 1), seed_value=5)


@pytest.mark.parametrize("layer", [Stacked, ByDirection, LinearPerGate])
def test_each_pass_has_its_arrays(layer):
    """Whether arrays stand pass after pass or gate after gate; layers first, or directions."""
    subject = like(layer)

    assert subject.options.layers
    assert subject.options.bidirectional
    keys = subject._keys(subject.module(torch, BOTH_WAYS), BOTH_WAYS)
    places = {name: key.rpartition("_l")[2] for name, key in keys.items()}
    assert places == {
        name: {
            Stacked: ("0", "0_reverse", "1", "1_reverse"),
            LinearPerGate: ("0", "0_reverse", "1", "1_reverse"),
            ByDirection: ("0", "1"),
        }[layer][int(name.split(".")[1])] + "_reverse" * name.startswith("backward")
        for name in keys
    }  # fmt: skip
    for check in ("gradient", "direction", "carry"):
        verdict = held(subject, check)
        assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize("layer", [OneMatrix, StateOfTheFirstLayer])
def test_a_slip_between_layers_is_caught(layer):
    assert held(like(layer), "forward").status == "failed"


def test_a_script_names_the_arrays_of_each_pass():
    text = like(Stacked).caller(STACKED)

    assert "'cells.1.weight_hh': 'cells.0.weight_hh_l1'" in text


def test_unequal_passes_are_held_one_at_a_time():
    """The reason is said where layers are asked for."""

    class Shortcut(Stacked):
        def make(self, widths, H):
            super().make(widths, H)
            if len(widths) > 1:
                self.shortcut = nn.Linear(widths[0], H)

    options = like(Shortcut).options

    assert not options.layers
    assert dict(options.reasons)["layers"].startswith("the arrays of its further passes")


class BothWays(nn.Module):
    """Always bidirectional."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.fw = nn.GRU(input_size, hidden_size)
        self.bw = nn.GRU(input_size, hidden_size)

    def back(self, y):
        return y.flip(0)

    def forward(self, x, state=None):
        ahead, behind = (None, None) if state is None else state.split(1)
        y, h = self.fw(x, ahead)
        z, g = self.bw(x.flip(0), behind)
        return torch.cat([y, self.back(z)], -1), torch.cat([h, g])


class NotTurnedBack(BothWays):
    def back(self, y):
        return y


class SharesItsWeights(BothWays):
    """Its halves cannot be told apart by what they depend on."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.bw = self.fw


def test_a_class_that_is_always_bidirectional_is_held_in_one_direction_too():
    right, wrong = (adapted(c, "own:layer", "torch.nn.GRU") for c in (BothWays, NotTurnedBack))
    assert "One direction is half of a call in both" in right.version()
    both = Case(3, 2, 4, 5, bidirectional=True)
    for case in (Case(3, 2, 4, 5), both):
        verdict = hold(right, CHECKS["gradient"], "float64", case=case, seed_value=1)
        assert verdict.status == "passed", verdict.message
    assert hold(wrong, CHECKS["forward"], "float64", case=both, seed_value=1).status == "failed"
    with pytest.raises(SubjectUnavailable):
        adapted(SharesItsWeights, "own:layer", "torch.nn.GRU")
