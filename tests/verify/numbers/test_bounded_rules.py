"""Every rule of Bounded: operands anywhere in their balls, and every rounding the worst way."""

import numpy as np
import pytest

from gatewise.reference.functions import floor, sigmoid, switch
from gatewise.verify.numbers.arithmetic import BFLOAT16, FLOAT32, FLOAT64
from gatewise.verify.numbers.bounded import Bounded

U, N = BFLOAT16.roundoff, 9
RULES = {  # function, arguments, roundings of a result of positive terms
    "multiply": (lambda a, b: a * b, 2, 1),
    "divide": (lambda a, b: a / b, 2, 1),
    "add": (lambda a, b: a + b, 2, 1),
    "subtract": (lambda a, b: a - b, 2, 0),
    "matmul": (lambda a, b: a.reshape(-1, N) @ b.reshape(N, -1), 2, N),
    "sum": (lambda a: a.reshape(-1, N).sum(axis=1), 1, N - 1),
    "add three": (lambda a, b: a + b + a, 2, 2),
    "stack": (lambda a, b: np.stack([a + b, a]), 2, 0),
    "tanh": (np.tanh, 1, 0),
    "sigmoid": (sigmoid, 1, 0),
    "exp": (np.exp, 1, 1),
    "log": (np.log, 1, 0),
    "sqrt": (np.sqrt, 1, 1),
}


@pytest.mark.parametrize("radius", [0.0, 1e-6, 0.05, 0.4])
@pytest.mark.parametrize("rule", RULES)
def test_rule(rule, radius):
    function, count, roundings = RULES[rule]
    rng = np.random.default_rng(0)
    for _ in range(50):
        mids = [rng.uniform(0.5, 3.0, N * 2) for _ in range(count)]
        ball = function(*(Bounded(m, radius, BFLOAT16) for m in mids))
        for _ in range(8):
            at = [m + radius * rng.choice([-1.0, 1.0, 0.3], m.shape) for m in mids]
            for rounded in ((1 + U) ** roundings, (1 - U) ** roundings):
                off = np.abs(function(*at) * rounded - ball.value)
                assert (off <= ball.bound).all(), f"{rule}: the bound is too narrow"
        if radius == 0 and rule not in ("tanh", "sigmoid", "log", "exp"):
            assert (ball.bound <= 3 * (roundings + 1) * U * (np.abs(ball.value) + 4)).all()


def test_underflow():
    product = Bounded.exact(1e-30, FLOAT32) * Bounded.exact(1e-30, FLOAT32)
    assert abs(0.0 - product.value) <= product.bound


def test_dividing_by_a_ball_around_zero_promises_nothing():
    assert np.isinf((Bounded.exact(1.0, FLOAT64) / Bounded(0.1, 0.2, FLOAT64)).bound)


@pytest.mark.parametrize("value", [0.0, 0.5, -0.5])
def test_both_sides(value):
    both = switch(Bounded(np.array([value]), 1.0, FLOAT64), 2.0, 5.0)
    assert both.value - both.bound <= 2
    assert 5 <= both.value + both.bound
    steps = floor(Bounded(np.array([1.0 + value / 10]), 0.2, FLOAT64))
    assert steps.value - steps.bound <= 0
    assert 1 <= steps.value + steps.bound


def test_more_roundings_than_a_float_counts():
    """A long run in which they double at each step: nothing can be said, and nothing fails."""
    ones = np.ones(2)
    assert np.all(Bounded(ones, 0.0, FLOAT64, ones, 2**2000).bound == np.inf)
