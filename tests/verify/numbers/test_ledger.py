"""The ledger: what is off is off on either side, and a blind comparison does not count."""

from contextlib import nullcontext

import numpy as np
import pytest

from gatewise.verify.numbers.arithmetic import FLOAT64
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
