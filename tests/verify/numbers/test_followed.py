"""What NumPy does with followed numbers: enclosed, differentiated, or refused by its name."""

import numpy as np
import pytest

from gatewise.reference.functions import sigmoid, switch
from gatewise.verify.numbers.arithmetic import FLOAT32, FLOAT64
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.complex_step import derivative
from gatewise.verify.numbers.enclosure import balls, distance, precision
from gatewise.verify.numbers.followed import Followed, Unfollowed, pulled
from gatewise.verify.numbers.shaken import Shaken

A, B = np.random.default_rng(0).standard_normal((2, 3, 4))


def split(a, b):
    i, f = np.split(a, 2, axis=-1)
    return np.concatenate([f * b[:, :2], i], axis=1)


def standardised(a, b):
    centred = a - np.mean(a, axis=-1, keepdims=True)
    return b * centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-5)


def in_place(a, b):
    c = a.copy()
    c += b
    c *= a
    return c


SMOOTH = {
    "affine": lambda a, b: 2 * a - b / 3 + 1,
    "quotient": lambda a, b: a / (2 + b * b),
    "logistic": lambda a, b: 1 / (1 + np.exp(-a)) * b,
    "sigmoid": lambda a, b: sigmoid(a) * np.tanh(b),
    "standardised": standardised,
    "root": lambda a, b: np.sqrt(np.sum(a**2, axis=1)) + (b**2 + 1).sum(1) ** -0.5,
    "logarithms": lambda a, b: np.log(1 + a * a) + np.log1p(b**2) + np.expm1(a),
    "powers": lambda a, b: np.power(a, 3) + np.square(b) + (a * a + 1) ** 1.5,
    "products": lambda a, b: a @ b.T + np.dot(b, a.swapaxes(0, 1)) + np.matmul(a[:, :3], b[:, :3]),
    "vectors": lambda a, b: (a @ b[0])[:, None] * (a[:, 0] @ b),
    "einsum": lambda a, b: np.einsum("bi,ci->cb", a, b) + np.einsum("ik,jk,k", a, b, b[0]),
    "batches": lambda a, b: a.reshape(3, 2, 2) @ b.reshape(3, 2, 2),
    "moved": lambda a, b: np.roll(np.repeat(a, 2, axis=0), 1, axis=1)[::2] * np.tile(b, (1, 1)),
    "turned": lambda a, b: np.expand_dims(a, 1) * np.moveaxis(b[:, None], 0, 1)[..., ::-1],
    "joined": lambda a, b: np.stack([a, b, np.zeros_like(a)], axis=1).reshape(3, -1),
    "split": split,
    "in place": in_place,
    "chosen": lambda a, b: np.where(A > 0, a, 2 * b),
    "fancy": lambda a, b: a[[0, 0, 2]] * b[:, [1, 1, 3, 0]],
    "iterated": lambda a, b: np.stack([r * s.sum() for r, s in zip(a, b)]),  # noqa: B905
}

BRANCHING = {  # or no function of complex numbers, as np.var
    "norm": lambda a, b: a / np.linalg.norm(b, axis=-1, keepdims=True),
    "std": lambda a, b: a / (0.1 + np.std(b, axis=0)),
    "normalisation": lambda a, b: (
        b * (a - a.mean(-1, keepdims=True)) / np.sqrt(np.var(a, axis=-1, keepdims=True) + 1e-5)
    ),
    "maximum": lambda a, b: np.maximum(a, 0.25) * np.minimum(b, a),
    "absolute": lambda a, b: np.abs(a) * abs(b),
    "clipped": lambda a, b: np.clip(a, -1, 0.5) + b,
    "softmax": lambda a, b: np.exp(a - a.max(-1, keepdims=True)) * b,
    "least": lambda a, b: np.min(a) * b,
    "switch": lambda a, b: switch(a - 0.1, b, a * a),
    "softplus": lambda a, b: np.logaddexp(0, a) * b,
}
EVERY = SMOOTH | BRANCHING


def leaves(arithmetic):
    return [Followed(Bounded.exact(x.astype(arithmetic.name), arithmetic)) for x in (A, B)]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("arithmetic", [FLOAT32, FLOAT64], ids=lambda a: a.name)
def test_what_numpy_computes_lies_within_the_bound(name, arithmetic):
    """Planted: np.mean without the division; _power of one product less; a bound halved."""
    got = EVERY[name](*(x.astype(arithmetic.name) for x in (A, B)))
    found = EVERY[name](*leaves(arithmetic)).value

    assert got.dtype.name == arithmetic.name
    assert found.shape == got.shape
    assert (np.abs(got - found.value) <= found.bound).all()
    assert np.median(found.bound) < 1e4 * arithmetic.roundoff


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_derivatives_by_a_complex_step(name):
    a, b = leaves(FLOAT64)
    output = EVERY[name](a, b)
    rng = np.random.default_rng(1)
    d, va, vb = rng.standard_normal(output.shape), *rng.standard_normal((2, *A.shape))
    da, db = pulled([output], [Bounded.exact(d, FLOAT64)], [a, b])

    (slope,) = derivative(lambda t: (EVERY[name](A + t * va, B + t * vb),), np.zeros(()), 1.0)
    along = (da * Bounded.exact(va, FLOAT64)).sum() + (db * Bounded.exact(vb, FLOAT64)).sum()
    assert abs(np.sum(d * slope) - along.value) <= along.bound + 1e-13 * np.sum(np.abs(d * slope))


@pytest.mark.parametrize("name", BRANCHING)
def test_gradients_of_branches_are_those_of_the_side_taken(name):
    a, b = leaves(FLOAT64)
    output = EVERY[name](a, b)
    d = np.random.default_rng(1).standard_normal(output.shape)
    found = pulled([output], [Bounded.exact(d, FLOAT64)], [a, b])

    for k, gradient in enumerate(found):
        for at in np.ndindex(3, 4):
            moved = np.zeros((2, 3, 4))
            moved[k][at] = 1e-6
            there, back = (EVERY[name](A + s * moved[0], B + s * moved[1]) for s in (1, -1))
            slope = np.sum(d * (there - back)) / 2e-6
            assert abs(gradient.value[at] - slope) < 1e-6


@pytest.mark.parametrize("name", ["quotient", "logistic", "standardised", "root", "products"])
def test_exact_values_lie_within_the_bound(name):
    with precision():
        exact = EVERY[name](balls(A), balls(B))
        found = EVERY[name](*leaves(FLOAT64)).value
        assert (distance(found.value, exact) <= found.bound).all()


@pytest.mark.parametrize(("function", "said"), [
    (lambda a, b: np.where(a > 0, a, b), "np.greater"),
    (lambda a, b: np.sign(a), "np.sign"),
    (lambda a, b: np.cumsum(a), "np.cumsum"),
    (lambda a, b: a.cumsum(), "the method cumsum"),
    (lambda a, b: np.add.reduce(a), "np.add.reduce"),
    (lambda a, b: a.astype(int), "a cast to int64"),
    (lambda a, b: a if a.sum() else b, "a decision on a number"),
    (lambda a, b: a.__setitem__(0, b), "an assignment to entries"),
    (lambda a, b: np.power(2.0, a), "np.power with an exponent that is computed"),
    (lambda a, b: np.einsum("...i->...", a), "np.einsum with an ellipsis"),
])  # fmt: skip
def test_what_cannot_be_followed_is_named(function, said):
    with pytest.raises(Unfollowed, match=said):
        function(*leaves(FLOAT64))


@pytest.mark.parametrize("name", EVERY)
def test_shaken_numbers_move_about_as_far_as_roundings_do(name):
    """In units of the change: more than nothing where anything is computed."""
    rng, share = np.random.default_rng(2), 1e-6
    found = EVERY[name](*(Followed(Shaken(x, rng, share)) for x in (A, B))).value.value
    moved = np.abs(found - EVERY[name](A, B)).max() / share
    assert (moved < 300) if name == "joined" else (0.3 < moved < 300)


@pytest.mark.parametrize("logistic", [
    lambda v: 1 / (1 + np.exp(-v)),
    lambda v: np.reciprocal(np.exp(-v) + 1.0),
    lambda v: 1 - np.divide(1.0, np.exp(v) + 1),
    lambda v: (e := np.exp(v)) / (1 + e) if isinstance(v, Followed) else sigmoid(v),
])  # fmt: skip
def test_the_sigmoid_is_known_however_it_is_written(logistic):
    """It has no overflow, and an absolute error, as of 1/2 + tanh(v/2) / 2."""
    v = np.array([-200.0, -30.0, 0.5, 200.0], np.float32)
    found = logistic(Followed(Bounded.exact(v, FLOAT32))).value
    with np.errstate(over="ignore"):
        got = logistic(v)

    assert (found.bound < 1e-5).all()
    for each in (got, 0.5 + np.tanh(v / 2) / 2):
        assert (np.abs(each - found.value) <= found.bound).all()


def test_a_quotient_that_only_looks_like_it_is_a_quotient():
    v = Followed(Bounded.exact(A, FLOAT64))
    for function in (lambda v: 1 / (2 + np.exp(v)), lambda v: 2 / (1 + np.exp(v)),
                     lambda v: 1 / (1 + np.exp(v) * v), lambda v: np.exp(-v) / (1 + np.exp(v)),
                     lambda v: 1 / (1 + (1 + np.exp(v)))):  # fmt: skip
        found = function(v).value
        assert (np.abs(function(A) - found.value) <= found.bound).all()


def test_shaken_numbers_move_where_rounding_cancels():
    """A row less its mean is 0 where it has one entry; rounding makes it something else."""
    rng = np.random.default_rng(3)
    x = Followed(Shaken(np.full((4, 1), 3.0), rng, 1e-6))
    centred = x - np.mean(x, axis=-1, keepdims=True)
    assert np.abs(centred.value.value).max() > 1e-6
