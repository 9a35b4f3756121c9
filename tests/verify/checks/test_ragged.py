"""Packed sequences, and padding in front: right layers pass, wrong ones fail and are named."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import gatewise
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.mutants import mutants
from gatewise.verify.mutants.catalogue import MutantSubject
from gatewise.verify.numbers.ledger import Mismatch
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.called import under_test
from gatewise.verify.subjects.declared import Named
from gatewise.verify.subjects.inputs import draw_inputs
from gatewise.verify.subjects.ragged import Ragged, RaggedLayer, ragged_arguments
from judgements import diagnosed, verdict_is

BUDGET = Budget(4, 2)
CHECKS = ("packed", "left-padding", "schedule")


def one_by_one(run, x, state, cu_seqlens, **more):
    """Run sequences that stand one after another, each by itself, from its own state."""
    outputs, ends = [], []
    for k in range(len(cu_seqlens) - 1):
        own = None if state is None else tuple(s[k : k + 1] for s in state)
        y, final = run(x[cu_seqlens[k] : cu_seqlens[k + 1]], own)
        outputs.append(y)
        ends.append(final)
    return np.concatenate(outputs), tuple(np.concatenate(s) for s in zip(*ends))  # noqa: B905


class Layer:
    """A tanh RNN in NumPy with a way back, whose sequences may be packed, or padded in front."""

    cell = "rnn"

    def forward(self, params, x, state, cu_seqlens=None, mask=None):
        if cu_seqlens is not None:
            return one_by_one(lambda a, s: self.forward(params, a, s), x, state, cu_seqlens)
        (h,) = state or (np.zeros((x.shape[1], params["b"].shape[-1]), x.dtype),)
        y = np.zeros((len(x), *h.shape), x.dtype)
        for t, x_t in enumerate(x):
            y[t] = np.tanh(x_t @ params.W_a + h @ params.U_a + params.b_a)
            h = y[t] if mask is None else np.where(mask[t][:, None], y[t], h)
        return y, (h,)


class RunsOn(Layer):
    """Each packed sequence begins where the one before ended."""

    def forward(self, params, x, state, cu_seqlens=None, mask=None):
        if cu_seqlens is None:
            return super().forward(params, x, state, None, mask)
        last = [None if state is None else tuple(s[:1] for s in state)]

        def run(a, s):
            y, last[0] = self.forward(params, a, last[0])
            return y, last[0]

        return one_by_one(run, x, state, cu_seqlens)


class Unmasked(Layer):
    """It takes a mask, and does not look at it."""

    def forward(self, params, x, state, cu_seqlens=None, mask=None):
        return super().forward(params, x, state, cu_seqlens)


def held(subject, check, dtype="float64"):
    return hold(subject, check_named(check), dtype, budget=BUDGET)


def declared():
    """Return a declared function in torch that takes a mask (B, T), and packed sequences."""
    torch = pytest.importorskip("torch")

    @gatewise.subject("rnn", weights="torch", axes="BTD", gradient="torch")
    def rnn(x, h0, weight_ih, weight_hh, bias_ih, bias_hh, cu_seqlens=None, attention_mask=None):
        def run(x, h):
            y = []
            for t in range(x.shape[1]):
                new = torch.tanh(x[:, t] @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh)
                m = 1 if attention_mask is None else attention_mask[:, t, None]
                h = m * new + (1 - m) * h
                y.append(h)
            return torch.stack(y, 1), h

        if cu_seqlens is None:
            return run(x, x.new_zeros(len(x), len(weight_hh)) if h0 is None else h0)
        h0 = x.new_zeros(len(cu_seqlens) - 1, len(weight_hh)) if h0 is None else h0
        ends = cu_seqlens.tolist()
        each = [run(x[:, a:b], h0[k : k + 1]) for k, (a, b) in enumerate(pairwise(ends))]
        return torch.cat([y for y, _ in each], 1), torch.cat([h for _, h in each])

    return rnn


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("layer", ["explicit", "declared"])
def test_what_is_right_passes(layer, check):
    subject = adapted(Layer if layer == "explicit" else declared(), "layer", None)
    verdict = held(subject, check)

    assert verdict.status == "passed", verdict.message
    assert verdict.blind_cases == 0
    assert subject.options.packed
    assert subject.options.left_padding


class Right(MutantSubject):
    """The layer from which mutants are made, with all that they need."""

    @property
    def options(self):
        return replace(super().options, packed=True, left_padding=True, left_padding_state=True)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "gated-delta", "lru"])
def test_what_mutants_are_made_from_is_right(cell, check):
    verdict_is(held(Right(cell), check), "passed")


@pytest.mark.parametrize(("layer", "check", "said"), [
    (RunsOn, "packed", "leaks over the boundaries"), (Unmasked, "left-padding", "mask is ignored"),
])  # fmt: skip
def test_what_is_wrong_fails_and_is_named(layer, check, said):
    assert held(adapted(layer, "layer", None), "schedule").wrong
    explanations = diagnosed(layer, check).explanations
    assert said in explanations[0].statements[0]


@pytest.mark.parametrize("check", CHECKS)
def test_a_layer_without_equations_is_held_to_its_sequences_alone(check):
    """Every call that is made of it can be put to another process: its case is one."""
    own = gatewise.subject(
        None, parameters={"W": "D H", "U": "H H", "b": "H"}, states="h", axes="TBD"
    )

    @own
    def rnn(params, x, state, cu_seqlens=None, mask=None):
        p = Named({name: array[None] for name, array in params.items()})
        p |= {"W_a": params.W, "U_a": params.U, "b_a": params.b}
        return Layer().forward(p, x, state, cu_seqlens, mask)

    subject, calls = adapted(rnn, "layer", None), []
    for case in list(check_named(check).forced(subject, "float64"))[:2]:
        check_named(check).run(under_test(subject, calls), case).assert_within()

    assert len(calls) > 4
    for call in calls:
        assert Case.from_json(call.layer.case.to_json()) == call.layer.case


def test_layouts_are_undone():
    lengths, x = np.array([2, 0, 3]), np.arange(9.0).reshape(3, 3)[..., None] + 1
    for layout in ("packed", "left-padded"):
        ragged = Ragged(lengths, 3, layout)
        restored = ragged.from_layout(ragged.to_layout(x))
        np.testing.assert_array_equal(ragged.within(restored), ragged.within(x))
    assert Ragged(lengths, 3, "packed").cu_seqlens.tolist() == [0, 2, 2, 5]
    assert Ragged(lengths, 3, "packed").to_layout(x)[:, 0, 0].tolist() == [1, 4, 3, 6, 9]
    left = Ragged(lengths, 3, "left-padded")
    assert left.mask.T.tolist() == [[False, True, True], [False] * 3, [True] * 3]
    assert left.to_layout(x)[:, 0, 0].tolist() == [7, 1, 4]


def test_a_call_says_where_sequences_lie_in_one_way():
    case = Case(4, 2, 2, 3, lengths=True)
    subject = adapted(Layer, "layer", None)
    for layout, name in (("time-first", "lengths"), ("packed", "cu_seqlens"),
                         ("left-padded", "mask")):  # fmt: skip
        said = ragged_arguments(draw_inputs(subject, replace(case, layout=layout)))
        given = {key for key, value in said.items() if value is not None}
        assert given - {"attention_mask"} == {name}


def test_packed_outputs_of_another_shape_are_told():
    class Short:
        def forward(self, inputs):
            return replace(right, y=right.y[1:])

    subject, case = adapted(Layer, "layer", None), Case(3, 2, 2, 3, lengths=True, layout="packed")
    inputs = draw_inputs(subject, case)
    given = replace(inputs, x=Ragged.of(inputs).to_layout(inputs.x))
    right = subject.build(case).built.forward(given)

    with pytest.raises(Mismatch, match=r"packed y: expected shape \(\d, 1, 3\), got"):
        RaggedLayer(Short()).forward(inputs)


def test_there_are_mutants_of_both():
    told = {m.id: m.killed_by[0] for m in mutants() if {"packed", "left_padding"} & {*m.needs}}
    assert len(told) >= 12
    assert {*told.values()} == {"packed", "left-padding"}
