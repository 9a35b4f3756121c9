"""Conventions: what any of them computes, how two are related, and the map from one to another."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from gatewise.reference.cells import cell_named
from gatewise.reference.layer import Layer
from gatewise.verify.conventions import Convention, NoHome, family
from gatewise.verify.conventions.comparison import compare
from gatewise.verify.conventions.convention import CHOICES, GATES, LAYOUTS
from gatewise.verify.conventions.parameter_map import ConventionMap
from gatewise.verify.conventions.translation import stored_shapes, translated
from gatewise.verify.numbers.arithmetic import ARITHMETICS
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.subjects import subject_named
from some_conventions import arrays, case_of, conventions, forward, losing_pairs, pairs, run

UNITS = 1e-12
"""Far above roundoff in these small sums, far below any difference in a formula."""


BLOCKS = np.arange(24.0).reshape(3, 2, 4)
"""Of three gates, [D, H] each."""

STORED = {
    "out-in": np.vstack([block.T for block in BLOCKS]),
    "in-out": np.hstack(BLOCKS),
    "interleaved": np.array([BLOCKS[gate, :, unit] for unit in range(4) for gate in range(3)]),
    "stacked in-out": np.vstack(BLOCKS),
    "beside out-in": np.hstack([block.T for block in BLOCKS]),
    "gates": BLOCKS,
    "gates out-in": BLOCKS.swapaxes(1, 2),
}


@pytest.mark.parametrize("layout", STORED)
def test_a_layout_is_what_it_is_called(layout):
    stored = STORED[layout]
    np.testing.assert_array_equal(LAYOUTS[layout].join(list(BLOCKS)), stored)
    np.testing.assert_array_equal(LAYOUTS[layout].split(stored, 3), BLOCKS)
    assert LAYOUTS[layout].shape((2, 4), 3) == stored.shape


@given(conventions(), st.integers(0, 99))
@settings(max_examples=150)
def test_the_family_computes_what_the_reference_does(convention, seed):
    event(str(convention.cell))
    assume(convention.cell)
    case = case_of(convention)
    assert stored_shapes(convention, case) == ConventionMap(convention, case).shapes()
    assert family.shapes(convention, case.sizes) == cell_named(convention.cell).shapes(case.sizes)
    named = arrays(convention, case, np.random.default_rng(seed))
    layer = Layer(cell_named(convention.cell), case.sizes)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((case.T, case.B, case.D))
    state = tuple(rng.standard_normal((1, case.B, w)) for w in layer.cell.widths(case.sizes))
    want = layer.forward(ConventionMap(convention, case).to_reference(named), x, state)
    stored = {name.removesuffix("_l0"): array for name, array in named.items()}
    y, final = forward(convention, case.sizes, stored, x, tuple(s[0] for s in state))

    np.testing.assert_allclose(y, want.y, rtol=0, atol=UNITS)
    for got, end in zip(final, want.final, strict=True):
        np.testing.assert_allclose(got, end[0], rtol=0, atol=UNITS)


@given(conventions(), st.integers(0, 99))
def test_the_family_bounds_its_own_rounding(convention, seed):
    case = case_of(convention)
    rng = np.random.default_rng(seed)
    arrays32 = {n: a.astype(np.float32) for n, a in arrays(convention, case, rng).items()}
    x = rng.standard_normal((1, case.B, case.D)).astype(np.float32)
    widths = [case.P or case.H, case.H][: 2 if convention.family == "lstm" else 1]
    state = tuple(rng.standard_normal((case.B, w)).astype(np.float32) for w in widths)
    stored = {name.removesuffix("_l0"): array for name, array in arrays32.items()}

    def exact(array):
        return Bounded.exact(array, ARITHMETICS["float32"])

    _, got = forward(convention, case.sizes, stored, x, state)
    bounded = {name: exact(array) for name, array in stored.items()}
    _, want = forward(convention, case.sizes, bounded, exact(x), tuple(map(exact, state)))
    for g, w in zip(got, want, strict=True):
        assert g.dtype == np.float32
        assert np.all(np.abs(g - w.value) <= w.bound)
        assert np.all(w.bound < 1e-2)


@pytest.mark.parametrize(("gate", "slope"), family.SLOPES.items())
def test_hard_sigmoids(gate, slope):
    s = np.array([0.0, 1.0, -1.0, 1e3, -1e3])
    np.testing.assert_allclose(family.activation(gate)(s), [0.5, 0.5 + slope, 0.5 - slope, 1, 0])


def random_pair(pair, seed):
    one, other = pair
    case = case_of(one)
    return one, other, case, arrays(one, case, np.random.default_rng(seed))


@given(pairs(), st.integers(0, 99))
@settings(max_examples=400)
def test_there_is_a_map_if_and_only_if_it_is_said(pair, seed):
    one, other, case, named = random_pair(pair, seed)
    relation = compare(one, other)
    event(relation.kind)
    if not relation.forward.always:
        with pytest.raises(NoHome):
            translated(one, other, case, named)
        return
    result = translated(one, other, case, named)
    assert {n: a.shape for n, a in result.items()} == stored_shapes(other, case)
    a, b = (run(c, case, p, np.random.default_rng(1)) for c, p in ((one, named), (other, result)))
    np.testing.assert_allclose(a, b, rtol=0, atol=UNITS)


@given(losing_pairs(), st.integers(0, 99))
@settings(max_examples=400)
def test_a_condition_is_enough_and_needed(pair, seed):
    one, other, case, named = random_pair(pair, seed)
    relation = compare(one, other)
    if not relation.forward.conditions:
        return
    for condition in relation.forward.conditions:
        event(re.sub("[-0-9.]+", "N", condition))
    met = meeting(relation.forward.conditions, one, case, named)
    result = translated(one, other, case, met)
    same, mapped = run(one, case, met, np.random.default_rng(1)), run(
        other, case, result, np.random.default_rng(1))  # fmt: skip
    random = run(one, case, named, np.random.default_rng(1))

    np.testing.assert_allclose(same, mapped, rtol=0, atol=UNITS)
    assert np.abs(random - mapped).max() > 1e-6


def meeting(conditions, convention, case, named):
    """The parameters, changed as the conditions say, by way of the convention's slices."""
    (suffix, sizes), *_ = [("_l0", case.sizes)]
    wanted = family.shapes(convention, sizes)
    held = {p.name: dict(p.split(named[p.name + suffix], wanted)) for p in convention.arrays()}

    def first(name):
        return next((array for array in held.values() if name in array), None)

    def set_total(name, value):
        for array in held.values():
            if name in array:
                array[name] = np.zeros_like(array[name])
        if first(name) is not None:
            first(name)[name] = first(name)[name] + value

    def total(name):
        found = [array[name] for array in held.values() if name in array]
        return sum(found) if found else 0.0

    for condition in sorted(conditions, key=lambda c: "-" in c and "_i" in c):
        name, _, value = condition.partition(" = ")
        if condition == "U_n is diagonal":
            first("U_n")["U_n"] = np.diag(np.diag(first("U_n")["U_n"]))
        elif value.startswith("-") and "_i" in value:
            other, _, less = value[1:].partition(" - ")
            if first(name) is None:  # f has no array of its own: i must follow it
                set_total(other, -float(less or 0))
            else:
                set_total(name, -total(other) - float(less or 0))
        else:
            set_total(name, float(value))
    return {p.name + suffix: p.join(held[p.name]) for p in convention.arrays()}


@given(pairs(), st.integers(0, 99))
@settings(max_examples=150)
def test_the_map_is_the_one_through_the_reference(pair, seed):
    """From one to the reference and from there to the other, where both have the same cell."""
    one, other, case, named = random_pair(pair, seed)
    assume(one.cell and one.cell == other.cell and compare(one, other).forward.always)
    result = translated(one, other, case, named)
    there = ConventionMap(other, case)
    via = there.pack(ConventionMap(one, case).to_reference(named))

    sums = [there.to_reference(arrays)[0] for arrays in (result, via)]
    for name in sums[0]:
        np.testing.assert_allclose(sums[0][name], sums[1][name], rtol=0, atol=UNITS)


@pytest.mark.parametrize("name", ["gate", "candidate", "output"])
def test_where_activations_are_equal(name):
    """As is said of every pair: at 0 or not, and beside it at single points alone."""
    family_of = {"gate": "gru", "candidate": "rnn", "output": "lstm"}[name]
    s = np.linspace(-2.49, 2.51, 5000)
    for one, other in itertools.combinations(CHOICES[name], 2):
        a, b = (Convention(family_of, GATES[family_of], **{name: c}) for c in (one, other))
        said = compare(a, b).forward.never
        off = family.activation(one)(s) - family.activation(other)(s)
        at_zero = family.activation(one)(np.zeros(1)) == family.activation(other)(np.zeros(1))
        crossings = np.count_nonzero(np.diff(np.sign(off)))

        assert np.count_nonzero(off) == off.size  # nowhere equal for a while
        assert at_zero == ("at 0" in said)
        assert crossings <= (1 if "alone" in said else 3)


TORCH_LSTM = subject_named("torch:LSTM").convention
TORCH_GRU = subject_named("torch:GRU").convention


@pytest.mark.parametrize(("other", "said"), [
    (Convention("lstm", "ifgo", ("ifgo",), "in-out"), [
        "equal up to a map", "W is transposed, [4H, D] to [D, 4H]",
        "the two biases of i f g o are added up"]),
    (Convention("lstm", "iofg", ("iofg", "iofg")), ["the gates are permuted, i f g o to i o f g"]),
    (Convention("lstm", "igfo", ("igfo",), "joint", forget_offset=1.0), [
        "equal up to a map", "b_f changes by -1"]),
    (Convention("lstm", "ifgo"), ["one way", "there when b_i = 0 and b_f = 0 and", "back always"]),
    (Convention("lstm", "ifgo", ("ifgo",), peepholes="ifo"), [
        "one way", "p_i, p_f, p_o = 0", "back when p_i = 0 and p_f = 0 and p_o = 0"]),
    (Convention("lstm", "igo", ("igo",), coupled=True), [
        "there when W_f = -W_i and U_f = -U_i and b_f = -b_i", "back always"]),
    (Convention("lstm", "ifgo", ("ifgo",), gate="hard sigmoid 0.2"), [
        "different functions", "never: gate activation sigmoid here, hard sigmoid 0.2 there",
        "equal in the middle"]),
    (Convention("lstm", "ifgo", ("ifgo",), projected=True), ["projects its hidden state"]),
    (Convention("lstm", "ifgo", ("ifgo", "ifgo")), ["equal"]),
])  # fmt: skip
def test_what_is_said_of_lstms(other, said):
    told = str(compare(TORCH_LSTM, other))
    assert [line for line in said if line not in told] == []


@pytest.mark.parametrize(("other", "said"), [
    (Convention("gru", "zrn", ("zrn",), "in-out"), [
        "one way", "there when b_hn = 0", "back always"]),
    (Convention("gru", "zrn", ("zrn", "zrn"), reset="before"), [
        "different functions", "there when U_n is diagonal and b_hn = 0",
        "back when U_n is diagonal\n", ]),
    (Convention("gru", "rzn", ("rzn", "rzm"), update="take"), [
        "equal up to a map", "W_z, U_z and b_z are negated"]),
    (Convention("rnn", "a"), ["another family", "never"]),
])  # fmt: skip
def test_what_is_said_of_grus(other, said):
    told = f"{compare(TORCH_GRU, other)}\n"
    assert [line for line in said if line not in told] == []


def test_halves_and_permutations_are_exact():
    """A map there and back returns the same bits, where arrays are only moved or halved."""
    rng = np.random.default_rng(0)
    other = Convention("lstm", "ogfi", ("ogfi", "figo"), "interleaved", recurrent_layout="gates")
    case = case_of(other, layers=2, bidirectional=True)
    named = arrays(TORCH_LSTM, case, rng)
    there = translated(TORCH_LSTM, other, case, named)
    back = translated(other, TORCH_LSTM, case, there)
    assert all(np.array_equal(back[name], named[name]) for name in named)

    one = Convention("lstm", "ifgo", ("ifgo",))
    named = arrays(one, case, rng)
    back = translated(TORCH_LSTM, one, case, translated(one, TORCH_LSTM, case, named))
    assert all(np.array_equal(back[name], named[name]) for name in named)


def test_a_refusal_names_the_pass_and_the_condition():
    other = Convention("gru", "zrn", ("zrn",), "in-out")
    case = case_of(other, layers=2)
    named = arrays(TORCH_GRU, case, np.random.default_rng(0))
    named["bias_hh_l0"][10:] = 0
    with pytest.raises(NoHome, match=r"l1: b_hn is not 0.*possible only when b_hn = 0"):
        translated(TORCH_GRU, other, case, named)


def test_a_constant_of_f_alone_is_never_coupled():
    coupled = Convention("lstm", "igo", ("igo",), coupled=True)
    constant = Convention("lstm", "ifgo", forget_offset=1.0)
    for relation in (compare(coupled, constant), compare(constant, coupled)):
        assert relation.forward.never == relation.backward.never
        assert relation.forward.never == "f's sum has a constant that -i's has not"
