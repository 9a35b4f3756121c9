"""The worked numbers and listings N1-N4 and P1-P4."""

import numpy as np
import pytest

from gatewise.reference import documents
from gatewise.reference.documents import examples

BY_ID = {example.id: example for example in examples()}


def test_all_are_there():
    assert sorted(BY_ID) == ["N1", "N2", "N3", "N4", "P1", "P2", "P3", "P4"]


@pytest.mark.parametrize(("id", "agrees"), [
    ("N1", False), ("N2", False), ("N3", True), ("N4", True),
    ("P1", False), ("P2", False), ("P3", False), ("P4", False),
])  # fmt: skip
def test_errata_are_told_apart(id, agrees):
    assert BY_ID[id].agrees is agrees


def test_forget_gate():
    """N1: the pre-activations are as printed; the gate is 0.97314288 and 0.10621499."""
    z, f = documents.forget_gate_values()

    np.testing.assert_allclose(z, [3.59, -2.13], rtol=1e-15)
    np.testing.assert_allclose(f, [0.97314288, 0.10621499], rtol=0, atol=5e-9)
    assert "0.7941" in BY_ID["N1"].printed
    assert "0.97314288" in BY_ID["N1"].true


def test_chain_is_exact_for_one_unit_only():
    """N2: the printed product is right for H = 1, and wrong for H = 2 by more than half."""
    one, one_printed = documents.four_step_chain_values(1)
    two, two_printed = documents.four_step_chain_values(2)

    np.testing.assert_allclose(one, one_printed, rtol=1e-12)
    assert np.abs(two - two_printed).max() > 0.01
    assert f"{two[0]:.4g}" in BY_ID["N2"].true
    assert f"{two_printed[0]:.4g}" in BY_ID["N2"].printed


def test_swapped_unpacking_changes_the_result():
    """P1: with h and c swapped at every step, h is another number."""
    swapped, right = documents.listing(swapped=True)[0], documents.listing(swapped=False)[0]
    assert np.abs(swapped - right).max() > 0.01


def test_one_hot_rows_are_as_printed():
    """N4: “The” and “the” have different rows of width 7."""
    assert BY_ID["N4"].true == BY_ID["N4"].printed
    assert documents.ONE_HOT_PRINTED["The"] != documents.ONE_HOT_PRINTED["the"]
