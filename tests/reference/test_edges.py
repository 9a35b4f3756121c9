"""Edges of what stands around the cells."""

import copy

import flint
import numpy as np
import pytest

from gatewise.reference import documents
from gatewise.reference.attention import weights
from gatewise.reference.cells import cell_named, cells
from gatewise.reference.equation import equation, equations, vjps
from gatewise.reference.errors import InputError
from gatewise.reference.functions import binarise, switch
from gatewise.reference.gradient_clipping import clip_by_global_norm, clip_by_value, global_norm
from gatewise.reference.layer import Layer, stacked
from gatewise.reference.output import (
    cross_entropy,
    cross_entropy_of_logits,
    cross_entropy_vjp,
    softmax,
)
from gatewise.reference.parameters import Parameters, Shape, Sizes
from gatewise.reference.sequence import unroll
from gatewise.reference.tokens import embedding, embedding_vjp, one_hot
from gatewise.verify.numbers.complex_step import derivative
from transcriptions import d1

RNG = np.random.default_rng(0)
CLIPS = (clip_by_value, clip_by_global_norm)


def test_a_row_of_length_0_has_no_weights():
    alpha = weights(RNG.standard_normal((2, 3)).astype(np.float32), np.array([2, 0]))
    assert alpha.dtype == np.float32
    assert (alpha[1] == 0).all()
    assert alpha[0, 2] == 0
    e = RNG.standard_normal((2, 3))
    np.testing.assert_allclose(weights(e), weights(e, np.array([3, 3])), rtol=1e-15)


@pytest.mark.parametrize("clip", CLIPS)
def test_clipping_edges(clip):
    zero = {"W": np.zeros((2, 2)), "b": np.zeros(0)}
    for k, a in clip(zero, 1.0).items():
        np.testing.assert_array_equal(a, zero[k])
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(InputError, match="threshold: expected a positive number"):
            clip({"W": np.ones(2)}, bad)
    with pytest.raises(InputError, match=r"gradients\['b'\]: expected finite"):
        clip({"W": np.ones(2), "b": np.array([np.nan])}, 1.0)


def test_the_norm_of_tiny_gradients():
    assert global_norm({"W": np.full(4, 1e-200)}) == pytest.approx(2e-200, rel=1e-15, abs=0)


def test_half_rounds_up():
    np.testing.assert_array_equal(binarise(np.array([0.5, np.nextafter(0.5, 0)])), [1, 0])


def test_a_ball_across_a_switch_has_both_sides():
    both = switch(np.array([flint.arb(0, 1)], dtype=object), 2.0, 5.0)[0]
    assert both.contains(flint.arb(2))
    assert both.contains(flint.arb(5))


def test_the_first_step_of_a_skip_cell_updates():
    for name in ("skip-rnn", "skip-lstm", "skip-gru"):
        cell = cell_named(name)
        layer = Layer(cell, Sizes(2, 3))
        p = layer.random_parameters(np.random.default_rng(0))
        assert (layer.forward(p, np.ones((1, 2, 2))).y != 0).all()
        assert (layer.initial_state(np.ones(1), 2)[-1] == 1).all()


def test_stacked_passes_the_state_on():
    layer = Layer(cell_named("gru"), Sizes(2, 3), 2)
    p, x = layer.random_parameters(RNG), RNG.standard_normal((3, 2, 2))
    s = RNG.standard_normal((2, 2, 3))
    below = unroll(layer.cell, p[0], x, (s[0],)).y
    above = unroll(layer.cell, p[1], below, (s[1],)).y
    np.testing.assert_array_equal(stacked(layer, p, x, (s,)), above)


def test_soft_targets():
    s, y = RNG.standard_normal((3, 5)), softmax(RNG.standard_normal((3, 5)))
    by_hand = -(y * np.log(softmax(s))).sum(axis=1)
    np.testing.assert_allclose(cross_entropy(softmax(s), y), by_hand, rtol=1e-13)
    np.testing.assert_allclose(cross_entropy_of_logits(s, y), by_hand, rtol=1e-13)
    d, dE = RNG.standard_normal(s.shape), RNG.standard_normal(3)
    (slope,) = derivative(lambda z: (cross_entropy_of_logits(z, y),), s, d)
    np.testing.assert_allclose(
        (cross_entropy_vjp(s, y, dE) * d).sum(), (dE * slope).sum(), rtol=1e-12
    )


def test_names_of_parameters():
    p = cell_named("rnn").random_parameters(RNG, Sizes(2, 3))
    with pytest.raises(ValueError, match="parameters: expected"):
        Parameters(p.shapes, {**p, "extra": p["b"]})
    with pytest.raises(ValueError, match="parameters: expected"):
        Parameters(p.shapes, {"W": p["W"]})


@pytest.mark.parametrize("axes", [(3,), ()])
def test_slices_are_those_of_the_array_as_it_is(axes):
    """What is written into an array later is in its slices, also in those of a copy."""
    p = Parameters({"b": Shape(("i", "f"), axes)}, {"b": np.zeros((2, *axes))})
    assert (p.b_i == 0).all()
    for parameters in (p, copy.deepcopy(p)):
        parameters["b"][0] = 1

        assert (parameters.b_i == 1).all()
        assert (parameters.b_f == 0).all()


@pytest.mark.parametrize("bad", [[4], [-1]])
@pytest.mark.parametrize("read", [lambda k: one_hot(k, 4), lambda k: embedding(k, np.ones((4, 2)))])
def test_an_index_out_of_range(read, bad):
    with pytest.raises(IndexError, match="indices: expected values from 0 to 3"):
        read(bad)


@pytest.mark.parametrize("clip", CLIPS)
def test_nothing_to_clip_is_refused(clip):
    with pytest.raises(InputError, match="gradients: expected at least one array"):
        clip({}, 1.0)


def test_embedding_gradient_keeps_dtype():
    dy = np.ones((1, 3), np.float32)
    assert embedding_vjp(np.array([0]), np.ones((2, 3), np.float32), dy).dtype == np.float32


def test_inputs_are_not_modified():
    for cell in cells().values():
        layer = Layer(cell, Sizes(2, 3), 1 if "readout" in cell.traits else 2, bidirectional=True)
        p = layer.random_parameters(RNG)
        x = cell.random_input(RNG, 4, 2, layer.sizes)
        x[2:, 1] = np.nan
        before = x.copy()
        x.flags.writeable = False
        out = layer.forward(p, x, lengths=np.array([4, 2]))
        dy = np.ones(out.y.shape)
        dy.flags.writeable = False
        layer.vjp(p, out, dy, out.final)
        np.testing.assert_array_equal(x, before)


VJPS = {
    "gru.state_keeps_old", "gru.state_takes_new", "lstm.cell_state", "lstm.hidden_state",
    "phased.gated_state", "skip.accumulated",
}  # fmt: skip


def test_every_vjp_is_proven():
    from gatewise.verify.proofs import proofs

    assert VJPS <= set(vjps()) <= {e.name for e in equations()}
    assert {f"vjp[{name}]" for name in vjps()} <= {p.id for p in proofs()}


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="registered twice"):
        equation("E01", "sigmoid", latex="", documents=())(lambda s: s)


BY_ID = {e.id: e for e in documents.examples()}


@pytest.mark.parametrize(("id", "printed", "true"), [
    ("N1", "= (0.7941, 0.1062)", "(0.97314288, 0.10621499)"),
    ("P3", "LSTM 1998; GRU 2014", "LSTM 1997 (Hochreiter & Schmidhuber); its forget gate 2000"),
    ("P4", "proved by Chung et al.", "shown by Weiss, Goldberg & Yahav 2018"),
])  # fmt: skip
def test_texts(id, printed, true):
    assert printed in BY_ID[id].printed
    assert true in BY_ID[id].true


def test_p1_is_the_transcribed_loop():
    p = cell_named("lstm").random_parameters(np.random.default_rng(3), Sizes(3, 3))
    rng = np.random.default_rng(3)
    cell_named("lstm").random_parameters(rng, Sizes(3, 3))
    xs = rng.standard_normal((5, 1, 3))[:, 0].tolist()
    keys = {"input": 0, "forget": 1, "candidate": 2, "output": 3}
    W = {k: np.concatenate([p["U"][i], p["W"][i]]).T.tolist() for k, i in keys.items()}
    b = {k: p["b"][i].tolist() for k, i in keys.items()}
    for swapped, loop in ((True, d1.loop_as_printed), (False, d1.loop_corrected)):
        mine = documents.listing(swapped=swapped)
        theirs = [np.array([float(v) for v in s[-1]]) for s in loop(xs, [0] * 3, [0] * 3, W, b)]
        if swapped:
            theirs = theirs[::-1]  # the loop's ct is what LSTMCELL returned as ht
        for m, t in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(m[0], t, rtol=1e-12)


def test_p2_is_the_transcribed_step():
    rng = np.random.default_rng(2)
    U, W = rng.standard_normal(2)
    x = rng.standard_normal(4)
    s = 0.0
    s2 = None
    for t in (1, 2, 3):
        s2, s = s, float(np.tanh(U * x[t] + W * s))
    assert f"= {s:.4f}" in BY_ID["P2"].true
    slipped = ", ".join(f"{np.tanh(U * x[t] + W * s2):.4g}" for t in (0, 1, 2))
    assert f"t = 0, 1, 2: ({slipped})" in BY_ID["P2"].printed


def test_n2_at_two_units():
    rng = np.random.default_rng(1)
    cell = cell_named("rnn")
    p = cell.random_parameters(rng, Sizes(2, 2))
    x, a = rng.standard_normal((4, 1, 2)), rng.standard_normal((1, 2))
    (slope,) = derivative(lambda z: (unroll(cell, p, x, (z,)).final[0],), a, np.array([[1.0, 0.0]]))
    true, printed = documents.four_step_chain_values(2)
    np.testing.assert_allclose(true[0], slope.sum(), rtol=1e-12)
    states = [s[0] for s in unroll(cell, p, x, (a,)).y]
    factor = np.prod([1 - s * s for s in states], axis=0)
    np.testing.assert_allclose(printed, factor @ np.linalg.matrix_power(p["U"][0].T, 4), rtol=1e-12)
