"""Cases: sizes that cannot be mixed up, coincidences on purpose, the same from the same seed."""

import importlib.util
import itertools
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import miniatures
from gatewise.verify.cases.case import LAYOUTS, SCALES, SUBNORMAL, Case
from gatewise.verify.cases.options import Options
from gatewise.verify.cases.strategies import cases, coinciding, for_all, integers
from gatewise.verify.checks import subject_checks

ALL = Options(zero_length=True, projection=True)
CHECKS = {check.id: check for check in subject_checks() if not check.problems}


def offering(options):
    """What offers these options."""
    return SimpleNamespace(options=options)


def drawn(strategy, examples=150, seed=0):
    """What a run with this seed draws."""
    found = []
    for_all(found.append, strategy, examples=examples, seed_value=seed, steer=False)
    return found


def test_sizes_are_mutually_distinct():
    """No two axes can be mixed up without an error of shape, and orders of products show."""
    found = drawn(cases(offering(ALL), "float64"))

    assert all(len({c.T, c.B, c.D, c.H}) == 4 for c in found)
    assert all(min(c.T, c.B, c.D, c.H) >= 2 for c in found)
    assert all(c.P < c.H for c in found)
    assert any(c.P for c in found)


def test_what_is_not_offered_is_not_drawn():
    least = Options(layers=False, bidirectional=False, bias=False, lengths=False,
                    default_state=False)  # fmt: skip
    assert any(
        ALL.lacking(c) == () and least.lacking(c) for c in drawn(cases(offering(ALL), "float64"))
    )
    assert not any(least.lacking(c) for c in drawn(cases(offering(least), "float64")))


@pytest.mark.parametrize("options", [ALL, Options(layers=False, bidirectional=False)],
                         ids=["deep", "flat"])  # fmt: skip
def test_coincidences_are_swept(options):
    swept = list(coinciding(offering(options), "float32"))

    for one, other in itertools.combinations("TBDH", 2):
        if {one, other} not in ({"T", "D"}, {"B", "D"}):  # x is (T, B, D): these cannot be confused
            assert any(getattr(c, one) == getattr(c, other) > 1 for c in swept), (one, other)
    assert any(c.T == c.B == c.D == c.H > 1 for c in swept)
    for name in "TBDH":
        others = "TBDH".replace(name, "")
        alone = [c for c in swept if all(getattr(c, other) > 1 for other in others)]
        assert any(getattr(c, name) == 1 for c in alone), name
    assert any(c.T == c.B == c.D == c.H == 1 for c in swept)
    assert any(c.layers > 1 and c.bidirectional for c in swept) == options.layers
    assert {c.dtype for c in swept} == {"float32"}


def test_lengths_contain_the_special_ones():
    longest = set()
    for seed in range(20):
        lengths = Case(7, 4, 2, 3, lengths=True, zero_length=True, seed=seed).row_lengths()
        assert {0, 1, 7} <= set(lengths.tolist())
        longest.add(int(np.argmax(lengths)))
        plain = Case(7, 4, 2, 3, lengths=True, seed=seed).row_lengths()
        assert {1, 7} <= set(plain.tolist())
        assert plain.min() == 1
    assert longest == {0, 1, 2, 3}
    assert Case(7, 4, 2, 3).row_lengths() is None


def test_round_trip():
    changed = [
        {"P": 2, "layers": 2, "bidirectional": True, "bias": False, "state": False},
        {"lengths": True, "zero_length": True, "dropout": 0.25, "seed": 77},
        *({"scale": scale} for scale in (*SCALES, SUBNORMAL)),
        *({"layout": layout, "lengths": True} for layout in LAYOUTS),
        {"zeroed": "x,dy", "rounded": "weight_ih_l0", "dtype": "float32"},
    ]
    for change in changed:
        case = Case(**{"T": 5, "B": 1, "D": 2, "H": 3} | change)
        assert "\n" not in case.to_json()
        assert Case.from_json(case.to_json()) == case
    assert Case(5, 1, 2, 3).to_json() == '{"T": 5, "B": 1, "D": 2, "H": 3}'


@pytest.mark.parametrize("check", CHECKS)
def test_the_same_seed_draws_the_same_cases(check):
    strategy = CHECKS[check].cases(miniatures.Right(), "float64")
    first, second, other = (drawn(strategy, 25, seed) for seed in (3, 3, 4))

    assert first == second
    few = check in (
        "smoke",
        "parameters",
        "shapes",
        "dropout",
        "source",
        "in-graph",
    )  # few to choose
    assert first != other or few


@pytest.mark.parametrize("check", ["forward", "transition", "wide", "dtype", "extreme"])
def test_the_users_code_has_no_say_in_the_cases(check, tmp_path):
    """Hypothesis draws constants from modules that are no package's; a seed must not depend on it.

    Else a layer's verdicts would change with a number in its own file, and with what else had
    been imported into its process.
    """
    strategy = CHECKS[check].cases(miniatures.Right(), "float64")
    before = drawn(strategy, 200)
    numbers = ", ".join(map(str, range(100, 65536, 90)))
    path = tmp_path / f"my_layer_{check}.py"
    path.write_text(f"NUMBERS = [{numbers}, *[{', '.join(map(str, range(100, 200)))}]]")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        assert drawn(strategy, 200) == before


@pytest.mark.parametrize(("least", "most"), [(0, 3), (8, 160), (20, 140), (0, 65535)])
def test_integers_cover_their_range(least, most):
    found = drawn(integers(least, most), 600)

    assert min(found) == least
    assert least + 0.9 * (most - least) < max(found) <= most
    assert all(type(n) is int for n in found)
    assert len(set(found)) > 0.8 * min(600, most - least + 1)


def test_parts_are_streams_of_their_own():
    case = Case(4, 3, 3, 3, seed=5)
    x, again, other = (case.normal(part, (4, 3)) for part in ("x", "x", "state h"))

    assert np.array_equal(x, again)
    assert not np.intersect1d(x, other).size
    assert not np.intersect1d(x, Case(4, 3, 3, 3, seed=6).normal("x", (4, 3))).size


def test_simplified_numbers():
    case = Case(4, 3, 3, 3, zeroed="x", rounded="dy,state h", dtype="float32")

    assert not case.normal("x", (5, 5)).any()
    rounded = case.normal("state h", (50, 5), 0.1)
    assert (rounded * 8 == np.round(rounded * 8)).all()
    assert (rounded != 0).all()
    assert rounded.dtype == np.float32
    assert len(np.unique(case.normal("weights", (5, 5)))) == 25


def test_a_source_is_the_case_s_own():
    """It goes to every case made of it, is asked for every part, and no other case has it."""
    asked = []

    def doubled(case, part, numbers):
        asked.append((case.T, part))
        return 2 * numbers

    case = Case(4, 3, 2, 5)
    other = replace(case, source=doubled)

    assert np.array_equal(replace(other, T=1).normal("x", (2,)), 2 * case.normal("x", (2,)))
    assert np.array_equal(case.normal("dy", (2,)), Case(4, 3, 2, 5).normal("dy", (2,)))
    assert asked == [(1, "x")]
    assert (other, other.to_json()) == (case, case.to_json())
