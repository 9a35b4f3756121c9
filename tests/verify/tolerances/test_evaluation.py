"""Right evaluations: each rounds as it says, none lies beyond the derived bounds."""

import numpy as np
import pytest

from gatewise.reference.functions import sigmoid
from gatewise.verify.cases.case import Case
from gatewise.verify.numbers.arithmetic import ARITHMETICS, PackageMissing
from gatewise.verify.tolerances import evaluation as evaluations
from gatewise.verify.tolerances.certificate import setting
from gatewise.verify.tolerances.evaluation import ACTIVATIONS, Evaluation

DTYPES = ("float64", "float32", "tf32", "float16", "bfloat16")


def evaluation(dtype="float32", activation="library", seed=0, inner=None):
    arithmetic = ARITHMETICS[dtype]
    return Evaluation(arithmetic, np.random.default_rng(seed), activation,
                      np.dtype(inner or arithmetic.dtype))  # fmt: skip


@pytest.fixture(params=["rnn", "rnn-relu", "lstm", "lstm-peephole", "gru", "gru-keeps-old"])
def cell(request):
    return request.param


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_right_evaluation_lies_beyond_its_bound(cell, dtype):
    """Outputs, states and every gradient; and the bound is used, so that it is not idle."""
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    at = setting(cell, Case(4, 8, 3, 5, dtype=dtype))
    used = [tolerance.used for tolerance in at.tolerances(10, 1)]

    assert 0.01 < max(used) <= 1


@pytest.mark.parametrize(("dtype", "computed"), [("float64", "float32"), ("float32", "float16")])
def test_an_evaluation_in_a_coarser_dtype_lies_beyond(cell, dtype, computed):
    """What the bound refuses: the same program with another unit roundoff."""
    at = setting(cell, Case(3, 4, 3, 5, dtype=dtype))
    coarse = Case(3, 4, 3, 5, dtype=computed)
    other = type(at)(at.subject, coarse, at.inputs, at.cotangents, at.expected)
    assert max(other.ratio(n, a) for n, a in other.evaluated(np.random.default_rng(0)).items()) > 1


def test_sums_are_computed_in_many_orders():
    """And none of them is off by more than the theory of sums allows."""
    given = evaluation()
    generator = np.random.default_rng(1)
    a, b = (generator.standard_normal(s).astype(np.float32) for s in ((3, 40), (40, 2)))
    products = {np.asarray(given.lift(a) @ given.lift(b)).tobytes() for _ in range(20)}
    exact = a.astype(float) @ b.astype(float)
    bound = 41 * 2.0**-24 * (np.abs(a).astype(float) @ np.abs(b))

    assert len(products) > 5
    for product in products:
        error = np.abs(np.frombuffer(product).reshape(3, 2) - exact)
        assert np.all(error <= bound)


@pytest.mark.parametrize("way", ACTIVATIONS)
def test_activations_err_no_more_than_is_allowed(way):
    """Eight unit roundoffs, absolutely; and the ways differ, so that they are ways."""
    s = np.linspace(-20, 20, 4001).astype(np.float32)
    given = evaluation(activation=way).lift(s)
    for got, exact in ((np.tanh(given), np.tanh(s.astype(float))),
                       (sigmoid(given), sigmoid(s.astype(float)))):  # fmt: skip
        assert np.max(np.abs(np.asarray(got) - exact)) <= 8 * 2.0**-24


def test_the_ways_to_compute_an_activation_differ():
    s = np.linspace(-3, 3, 1001).astype(np.float32)
    ways = {np.asarray(np.tanh(evaluation(activation=w).lift(s))).tobytes() for w in ACTIVATIONS}
    assert len(ways) == len(ACTIVATIONS)


def test_numbers_are_kept_in_the_dtype():
    given = evaluation("float16", inner="float32").lift(np.linspace(0, 1, 7))
    for got in (given * given, given / 3, given[1:3], np.stack([given, given]), given.sum(axis=0),
                np.tanh(given), 1 - given, np.where(given > 0.5, given, 0.1 * given)):  # fmt: skip
        plain = np.asarray(got)
        assert np.array_equal(plain, plain.astype(np.float16).astype(float))


def test_tf32_rounds_the_operands_of_products_alone():
    """1 + 2^-12 has too many digits for TF32, and not for float32."""
    odd = np.array([[1 + 2.0**-12]])
    given = evaluation("tf32").lift(odd)
    assert float((given @ given)[0, 0]) == 1.0
    assert float((given * given)[0, 0]) == float(np.float32(odd[0, 0] ** 2))


def test_bfloat16_without_its_package_is_a_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    with pytest.raises(PackageMissing, match="pip install"):
        evaluations.Evaluation.drawn(ARITHMETICS["bfloat16"], np.random.default_rng(0))
