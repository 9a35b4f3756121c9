"""The ledger: what is off is off on either side, and a blind comparison does not count."""

from contextlib import nullcontext

import numpy as np
import pytest

from gatewise.verify.numbers.arithmetic import ARITHMETICS, FLOAT64
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.ledger import Ledger, Mismatch

BOUND = 2.0**-26
"""Below what still counts as sharp in float64."""


def ledger(got, value, bound):
    book = Ledger()
    book.compare("q", np.array(got), Bounded(np.array(value), np.array(bound), FLOAT64))
    return book


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("off", [0.5, 0.999, 1.001, 2.0, 900.0])
def test_either_side_of_the_bound(sign, off):
    book = ledger([1.0, 1.0 + sign * off * BOUND], [1.0, 1.0], [BOUND, BOUND])
    assert book.worst.ratio == pytest.approx(off, rel=1e-4)
    assert book.worst.where == ((1,))
    refused = pytest.raises(Mismatch, match=r"q\[1\] = ") if off > 1 else nullcontext()
    with refused:
        book.assert_within()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_off(bad):
    with pytest.raises(Mismatch, match="not finite"):
        ledger([bad], [1.0], [1e-3]).assert_within()


def test_shapes_are_not_broadcast():
    with pytest.raises(Mismatch, match=r"q: expected shape \(2,\), got \(1,\)"):
        ledger([1.0], [1.0, 1.0], [0.1, 0.1])


def test_sharp():
    assert not Ledger().sharp
    assert ledger([1.0] * 3, [1.0] * 3, [BOUND] * 3).sharp
    assert not ledger([1.0] * 3, [1.0] * 3, [BOUND, 1.0, 1.0]).sharp
    book = ledger([1.0], [1.0], [BOUND])
    book.compare("blind", np.ones(1), Bounded(np.ones(1), np.ones(1), FLOAT64))
    assert not book.sharp


def test_all_that_is_off_is_named():
    book = Ledger()
    for name, got in (("a", 2.0), ("b", 3.0), ("c", 1.0)):
        book.compare(name, np.array([got]), Bounded(np.ones(1), 0.1 * np.ones(1), FLOAT64))
    with pytest.raises(Mismatch, match=r"b\[0\] = 3.*also off: a$"):
        book.assert_within()


def test_the_worst_is_the_largest_in_units_of_its_bound():
    book = Ledger(share=1.0)
    for name, off, bound in (("a", 0.2, 1.0), ("b", 0.09, 0.1), ("c", 0.5, 1.0)):
        book.compare(name, np.array([100 + off]), Bounded(np.array([100.0]), bound, FLOAT64))
    assert (book.worst.quantity, round(book.worst.ratio, 6)) == ("b", 0.9)


SHARES = {"float64": 2.0**-25, "float32": 1e-2, "tf32": 1e-2, "float16": 0.2, "bfloat16": 0.2}


@pytest.mark.parametrize("dtype", SHARES)
@pytest.mark.parametrize(("part", "sharp"), [(0.99, True), (1.01, False)])
def test_where_sharp_ends(dtype, part, sharp):
    """A bound counts up to the stated share of the largest value, and no further."""
    book, bound = Ledger(), part * SHARES[dtype] * 3
    book.compare("q", np.full(3, 3.0), Bounded(np.full(3, 3.0), bound, ARITHMETICS[dtype]))
    assert book.sharp is sharp


def test_an_error_within_a_bound_that_means_nothing_does_not_count():
    book = ledger([1.0, 1.9], [1.0, 1.0], [BOUND, 1.0])
    assert book.worst.ratio == 0
    assert ledger([1.0, 2.1], [1.0, 1.0], [BOUND, 1.0]).worst.ratio == pytest.approx(1.1)


def test_nothing_promised_nothing_off():
    for got in (7.0, np.inf, np.nan):
        assert ledger([got], [1.0], [np.inf]).failed == []


def test_where_an_error_stands():
    book = Ledger()
    got = np.zeros((3, 2))
    got[1, 0], got[2, 1] = 0.5, 3.0
    book.compare("q", got, Bounded(np.zeros((3, 2)), 1e-9, FLOAT64), first=10)
    (only,) = book.comparisons
    assert (only.where, only.first) == ((12, 1), (11, 0))
    assert (only.got, only.expected) == (3.0, 0.0)
