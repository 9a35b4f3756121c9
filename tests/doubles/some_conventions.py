"""Random conventions, and random arrays for them."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from gatewise.reference.functions import zeros
from gatewise.verify.cases.case import Case
from gatewise.verify.conventions import Convention, family
from gatewise.verify.conventions.convention import CHOICES, GATES, LAYOUTS, added, slice_shape
from gatewise.verify.conventions.translation import stored_shapes

SINGLE = [layout for layout in LAYOUTS if layout != "joint"]


def shuffled(draw, letters):
    return "".join(draw(st.permutations(letters)))


@st.composite
def biases(draw, letters, recurrent):
    """No, one or two arrays of biases; those of a GRU may hold b_hn in any of the known ways."""
    forms = [(), (letters,), (letters, letters)]
    if recurrent:
        reset = letters.replace("n", "m")
        forms += [(letters, reset), (letters + "m",), (letters, "m")]
    return tuple(shuffled(draw, form) for form in draw(st.sampled_from(forms)))


@st.composite
def conventions(draw, name=None):
    """Any convention."""
    name = name or draw(st.sampled_from(CHOICES["family"]))
    return changed(draw, Convention(name, GATES[name]), 12)


@st.composite
def pairs(draw):
    """Two conventions of a family that differ in a few things."""
    one = draw(conventions())
    return one, changed(draw, one, draw(st.integers(0, 4)))


@st.composite
def losing_pairs(draw):
    """Two conventions of which the second may lack what the first has."""
    one = draw(conventions(draw(st.sampled_from(["lstm", "gru"]))))
    if not one.bias:
        one = _bias(draw, one)
    losses = {"gru": [_reset, _bias], "lstm": [_bias, _peepholes, _coupled]}[one.family]
    other = draw(st.sampled_from(losses))(draw, one)
    return one, changed(draw, other, draw(st.integers(0, 1)))


def changed(draw, c, count):
    for _ in range(count):
        c = draw(st.sampled_from(CHANGES[c.family] + CHANGES["any"]))(draw, c)
    return c


def _order(draw, c):
    return replace(c, order=shuffled(draw, c.letters))


def _recurrent_order(draw, c):
    return replace(c, recurrent_order=draw(st.sampled_from(["", shuffled(draw, c.letters)])))


def _layout(draw, c):
    return replace(c, layout=draw(st.sampled_from(list(LAYOUTS))), recurrent_layout="")


def _recurrent_layout(draw, c):
    return c if c.layout == "joint" else replace(
        c, recurrent_layout=draw(st.sampled_from(SINGLE)))  # fmt: skip


def _bias(draw, c):
    return replace(c, bias=draw(biases(c.letters, c.recurrent_bias)))


def _one_of(field):
    return lambda draw, c: replace(c, **{field: draw(st.sampled_from(CHOICES[field]))})


def _reset(draw, c):
    c = replace(c, bias=(), reset=draw(st.sampled_from(CHOICES["reset"])))
    return _bias(draw, c)


def _offset(draw, c):
    return replace(c, forget_offset=draw(st.sampled_from([0.0, 1.0, -0.5])))


def _peepholes(draw, c):
    letters = "io" if c.coupled else "ifo"
    return replace(c, peepholes=shuffled(draw, letters)[: draw(st.integers(0, len(letters)))],
                   output_peephole=draw(st.sampled_from(CHOICES["output_peephole"])))  # fmt: skip


def _coupled(draw, c):
    coupled = draw(st.booleans())
    letters = GATES["lstm"].replace("f" if coupled else " ", "")
    c = replace(c, coupled=coupled, order=letters, recurrent_order="", bias=(), peepholes="")
    return _peepholes(draw, _bias(draw, _order(draw, c)))


def _projected(draw, c):
    return replace(c, projected=draw(st.booleans()))


CHANGES = {
    "any": [_order, _recurrent_order, _layout, _recurrent_layout, _bias, _one_of("candidate")],
    "rnn": [],
    "gru": [_one_of("update"), _reset, _one_of("gate")],
    "lstm": [_offset, _peepholes, _coupled, _projected, _one_of("gate"), _one_of("output")],
}


def case_of(convention, **others):
    """A small case of its sizes, all different."""
    return Case(3, 2, 7, 5, P=4 if convention.projected else 0, **others)


def arrays(convention, case, rng):
    """Random arrays of every pass."""
    return {n: rng.standard_normal(s) * 0.6 for n, s in stored_shapes(convention, case).items()}


def run(convention, case, named, rng):
    """The outputs and final states of the first pass; the same rng, the same input."""
    sizes, c = case.sizes, convention
    stored = {n.removesuffix("_l0"): a for n, a in named.items() if n.endswith("_l0")}
    x = rng.standard_normal((case.T, case.B, case.D))
    widths = [sizes.projected if c.projected else sizes.H, sizes.H]
    state = [rng.standard_normal((case.B, w)) for w in widths[: 2 if c.family == "lstm" else 1]]
    y, final = forward(c, sizes, stored, x, tuple(state))
    return np.concatenate([y.ravel(), *(s.ravel() for s in final)])


def slices(convention, sizes, stored):
    """Every slice of a convention's arrays by name, biases added up; what is not there is 0."""
    wanted, parts = family.shapes(convention, sizes), {}
    for packed in convention.arrays():
        added(parts, packed.split(stored[packed.name], wanted))
    like = parts[f"U_{convention.order[0]}"]
    for letter in convention.letters + convention.recurrent_bias:
        name = "b_hn" if letter == "m" else f"b_{letter}"
        parts.setdefault(name, zeros(like, slice_shape(wanted, name)))
    if convention.forget_offset and not convention.coupled:
        parts["b_f"] = parts["b_f"] + convention.forget_offset
    return parts


def forward(convention, sizes, stored, x, state):
    """Run a convention over x (T, B, D), from its arrays by name: y, and the states at the end."""
    held, outputs = slices(convention, sizes, stored), []
    for t in range(x.shape[0]):
        state = family.step(convention, held, x[t], state)
        outputs.append(state[0])
    return np.stack(outputs), state
