"""Arithmetics are the formats that they are named after."""

import numpy as np
import pytest

from gatewise.verify.numbers import arithmetic
from gatewise.verify.numbers.arithmetic import ARITHMETICS, FINER

FORMATS = {  # significant bits, smallest normal exponent, largest exponent (IEEE 754; bfloat16)
    "float16": (11, -14, 15),
    "bfloat16": (8, -126, 127),
    "float32": (24, -126, 127),
    "float64": (53, -1022, 1023),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format(name):
    bits, least, most = FORMATS[name]
    found = ARITHMETICS[name]
    assert found.roundoff == 2.0**-bits
    assert found.tiny == 2.0**least
    assert found.largest == (2 - 2.0 ** (1 - bits)) * 2.0**most
    assert (found.product_roundoff, found.inner_roundoff) == (0, 0)
    assert found.dtype_name == name


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_numpy_agrees(name):
    info = np.finfo(name)
    found = ARITHMETICS[name]
    assert (found.roundoff, found.tiny, found.largest) == (info.eps / 2, info.tiny, info.max)


def test_coarser_products_and_finer_sums():
    tf32, single = ARITHMETICS["tf32"], ARITHMETICS["float32"]
    assert tf32.product_roundoff == 2.0**-11
    assert (tf32.roundoff, tf32.tiny, tf32.dtype_name) == (2.0**-24, single.tiny, "float32")
    for name in ("float16", "bfloat16"):
        stored = ARITHMETICS[f"{name}, inside float32"]
        assert stored.inner_roundoff == 2.0**-24
        assert (stored.roundoff, stored.dtype_name) == (ARITHMETICS[name].roundoff, name)
        assert FINER[name] == (stored.name,)
    assert FINER["tf32"] == ("float32",)
    assert FINER.keys() == {"tf32", "float16", "bfloat16"}


def test_many_roundings_bound_nothing():
    half = ARITHMETICS["float16"]
    assert half.gamma(1) == pytest.approx(2.0**-11, rel=1e-3)
    assert half.gamma(3000) == np.inf
    assert arithmetic.ACTIVATION_UNITS == 8
