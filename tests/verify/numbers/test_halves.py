"""float16, bfloat16 and TF32: right layers are called right, wrong ones wrong, the rest blind."""

import sys
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import plain_numpy
import wrong_in_training
from gatewise.cli import common
from gatewise.reference.functions import sigmoid
from gatewise.verify.api import find
from gatewise.verify.cases.case import SCALES, Case
from gatewise.verify.checks import check_named
from gatewise.verify.execution.diagnosis_tasks import diagnoses
from gatewise.verify.execution.judge import BUDGETS, Judge, hold
from gatewise.verify.execution.tasks import Named
from gatewise.verify.mutants import mutant_named, right_subject
from gatewise.verify.numbers import arithmetic
from gatewise.verify.numbers.arithmetic import (
    ARITHMETICS,
    FINER,
    FLOAT16,
    FLOAT16_STORED,
    USUAL_DTYPES,
    chosen_dtypes,
)
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.ledger import CoarserArithmetic
from gatewise.verify.runs.verdict import Verdict
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.called import under_test
from gatewise.verify.subjects.inputs import draw_inputs
from gatewise.verify.subjects.torch_module import array_of, tensor_of
from judgements import verdict_is

HALVES = ("float16", "bfloat16")


def held(subject, check, dtype, **more):
    return hold(subject, check_named(check), dtype, budget=BUDGETS["quick"], shrink=False, **more)


class InTF32:
    """The reference's LSTM with the operands of its products rounded to 11 bits."""

    cell = "lstm"
    dtypes = ("float32", "tf32")

    def forward(self, params, x, state):
        def short(a):
            bits = a.astype(np.float32).view(np.uint32)
            return ((bits + 0x0FFF + ((bits >> 13) & 1)) & 0xFFFFE000).view(np.float32)

        W, U, b = (params[name] for name in "WUb")
        h, c = (np.zeros((x.shape[1], U.shape[1]), np.float32),) * 2 if state is None else state
        y = []
        for x_t in x:
            i, f, g, o = (short(x_t) @ short(W[k]) + short(h) @ short(U[k]) + b[k]
                          for k in range(4))  # fmt: skip
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            y.append(h)
        return np.stack(y), (h, c)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("check", ["forward", "gradient", "transition", "repeat", "causality"])
def test_torch_is_right_in_halves(check, dtype):
    """And within the bounds of a finer arithmetic: its sums are float32's."""
    verdict = held(subject_named("torch:LSTM"), check, dtype)
    assert verdict.status == "passed", verdict.message
    assert verdict.arithmetic in ("", *FINER[dtype])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("mutant", "check"), [("F01", "forward"), ("G01", "gradient")])
def test_a_mistake_is_seen_in_halves(monkeypatch, mutant, check, dtype):
    wrong = mutant_named(f"mutant:{mutant}[lstm]")
    monkeypatch.setattr(type(wrong), "dtypes", (dtype,))
    assert held(wrong, check, dtype).status == "failed"


def test_a_result_between_the_bounds_is_blind():
    class Off(plain_numpy.RNN):
        dtypes = ("float16",)

        def after(self, h, x):
            return h + np.float16(self.off)

    case = Case(1, 2, 100, 3, dtype="float16")
    status = {}
    for off in (0.0, 0.03, 1.0):
        Off.off = off
        subject = find(Off, None)
        status[off] = hold(subject, check_named("forward"), "float16", case=case).status

    assert status == {0.0: "passed", 0.03: "blind", 1.0: "failed"}


@pytest.mark.parametrize("dtype", ["float32", "tf32", "float16"])
def test_a_layer_that_is_wrong_every_other_time_is_wrong(dtype):
    """What failed once is not asked again until it passes."""

    class Sometimes(plain_numpy.RNN):
        dtypes, calls = ("float32", "tf32", "float16"), 0

        def forward(self, params, x, state):
            Sometimes.calls += 1
            y, final = super().forward(params, x, state)
            return (-y if Sometimes.calls % 2 else y), final

    assert held(find(Sometimes(), None), "forward", dtype).status == "failed"


def test_one_case_between_the_bounds_is_not_passed_for_the_others_sake():
    """Ten cases that are right do not make up for it."""

    class Off(plain_numpy.RNN):
        dtypes = ("float16",)

        def after(self, h, x):
            return h + np.float16(0.03) * np.float16(x.shape[2] == 100)

    subject = find(Off, None)
    judge = Judge(subject, check_named("forward"))
    for case in (Case(1, 2, 3, 4, dtype="float16"), Case(1, 2, 100, 3, dtype="float16")):
        judge(case)
    assert (judge.cases, judge.undecided) == (2, 1)
    forced = replace(check_named("forward"), forced=lambda subject, dtype: [
        Case(1, 2, 3, 4, dtype=dtype), Case(1, 2, 100, 3, dtype=dtype)])  # fmt: skip
    verdict_is(hold(subject, forced, "float16", budget=BUDGETS["quick"], shrink=False), "blind",
               "1 of 6 cases are beyond the bounds of a finer arithmetic")  # fmt: skip


def test_a_wrong_mask_is_told_though_simpler_cases_say_nothing():
    """Where the simplified case is one that rounding hides, the failure stays the failure."""
    subject = find(wrong_in_training.LSTM, "torch.nn.LSTM")
    verdict_is(hold(subject, check_named("dropout"), "float32", budget=BUDGETS["quick"]), "failed",
               "is explained by none of")  # fmt: skip


def test_tf32_is_named():
    """What computes in TF32 is right if it says so, and else told what it computes in."""
    subject = find(InTF32, None)
    claimed, hidden = (held(subject, "dtype", dtype) for dtype in ("tf32", "float32"))

    assert (claimed.status, claimed.arithmetic) == ("passed", "tf32")
    assert hidden.status == "failed"
    assert "float32 is claimed, but only tf32 or coarser explains the results" in hidden.message
    with pytest.raises(CoarserArithmetic) as failure:
        check_named("dtype").run(under_test(subject), Case.from_json(hidden.case))
    assert failure.value.arithmetic == "tf32"


def test_float32_where_tf32_is_allowed_is_named():
    """The finest arithmetic that explains everything."""
    right = right_subject("lstm")
    verdict = held(right, "forward", "tf32")
    assert (verdict.status, verdict.arithmetic) == ("passed", "float32")


@given(st.integers(0, 2**32 - 1), st.integers(1, 400))
def test_sums_kept_in_float32_lie_within_the_narrow_bound(seed, n):
    """And it is narrower than that of sums in float16."""
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(shape).astype(np.float16) for shape in ((2, n), (n, 3)))
    computed = (a.astype(np.float32) @ b.astype(np.float32)).astype(np.float16)
    narrow, wide = (Bounded.exact(a, kind) @ Bounded.exact(b, kind)
                    for kind in (FLOAT16_STORED, FLOAT16))  # fmt: skip

    assert (np.abs(computed - narrow.value) <= narrow.bound).all()
    assert n < 3 or (narrow.bound < wide.bound).all()


def test_a_case_carries_the_arithmetic_that_is_assumed():
    case = Case(1, 2, 3, 4, dtype="float16")
    narrow = replace(case, assumed=FLOAT16_STORED.name)

    assert replace(narrow, T=2).arithmetic is FLOAT16_STORED
    assert case.arithmetic is FLOAT16
    assert narrow == case
    assert narrow.to_json() == case.to_json()
    with pytest.raises(ValueError, match="assumed unknown"):
        Case.from_json('{"T": 1, "B": 1, "D": 1, "H": 1, "assumed": "float32"}')


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("scale", SCALES)
def test_weights_are_finite_and_not_lost(dtype, scale):
    case = Case(2, 2, 40, 30, dtype=dtype, scale=scale)
    weights = draw_inputs(subject_named("torch:LSTM"), case).parameters["weight_ih_l0"]

    assert weights.dtype == ARITHMETICS[dtype].dtype
    assert np.isfinite(weights.astype(float)).all()
    assert (weights != 0).mean() > 0.99


@pytest.mark.parametrize("dtype", ["float64", "float32", *HALVES])
def test_tensors_and_arrays_hold_the_same_bits(dtype):
    whole = np.arange(24).reshape(4, 6).astype(ARITHMETICS[dtype].dtype)
    for array in (whole, whole[::2, 1::3], np.broadcast_to(whole[:1], (3, 6))):
        tensor = tensor_of(torch, array)
        assert str(tensor.dtype) == f"torch.{dtype}"
        assert tensor.stride() == tuple(step // array.itemsize for step in array.strides)
        again = array_of(torch, tensor)
        assert again.dtype == array.dtype
        assert again.tobytes() == array.tobytes()


def test_arrays_of_bfloat16_are_ml_dtypes():
    assert ARITHMETICS["bfloat16"].dtype == np.dtype(ml_dtypes.bfloat16)
    assert ARITHMETICS["tf32"].dtype == np.dtype(np.float32)


def test_without_ml_dtypes_bfloat16_is_not_tested(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    verdict = held(subject_named("torch:LSTM"), "forward", "bfloat16")

    assert verdict.status == "not tested"
    assert verdict.message.endswith("install it with: pip install 'gatewise[bfloat16]'")
    assert held(subject_named("torch:LSTM"), "smoke", "float16").status == "passed"


def test_the_commands_know_all_dtypes():
    """They list them without importing what knows them."""
    assert common.DTYPES == arithmetic.DTYPES


def test_which_dtypes_are_held():
    offered = ("bfloat16", "float32", "float64")

    assert chosen_dtypes(offered, None) == USUAL_DTYPES
    assert chosen_dtypes(offered, "all") == ("float64", "float32", "bfloat16")
    assert chosen_dtypes(offered, "bfloat16") == ("bfloat16",)
    assert chosen_dtypes(offered, "float16") == ()
    assert chosen_dtypes(("float16",), None) == ("float16",)


def test_halves_are_not_diagnosed():
    """Mistakes are too near to each other there: the diagnosis says so."""
    failed = Verdict("torch:LSTM", "lstm", "forward", "", [], "float16", 0, status="failed")
    (found,) = diagnoses([failed], [Named("torch:LSTM")], memory=0)
    assert found.status == "unexplained"
    assert "verify it in float64 or float32" in found.message
