"""How frameworks' own files hold the arrays: names, joined arrays, paths. No framework is run."""

from dataclasses import asdict, replace

import msgspec
import numpy as np
import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.conventions.conversion import End, infer
from gatewise.verify.conventions.file_layout import Stored, Unfit
from gatewise.verify.conventions.translation import stored_shapes
from gatewise.verify.subjects import subject_named

WEIGHTS = ("weight_ih", "weight_hh")
PATHS = Stored(
    (("weight_ih", "{direction}k"), ("weight_hh", "{direction}r"), ("bias", "{direction}b")),
    ("", "forward_lstm*/", "backward_lstm*/"),
)
JOINED = (("weight_ih", "W"), ("weight_hh", "R"), ("bias_ih", "B"), ("bias_hh", "B"))


def drawn(stems, case):
    """Return arrays of every pass, all different."""
    passes = [f"_l{k}{r}" for k in range(case.layers) for r in ("", "_reverse")[: case.directions]]
    return {s + p: case.normal(s + p, (4, 2) if "weight" in s else (4,))
            for p in passes for s in stems}  # fmt: skip


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


ONE, BOTH = Case(1, 1, 3, 4), Case(1, 1, 3, 4, bidirectional=True)
DEEP = Case(1, 1, 3, 4, layers=3, bidirectional=True)
LATER = Stored(tuple((s, f"core{{later}}/{s}") for s in WEIGHTS))

WRITTEN = {
    "default": (Stored(), WEIGHTS, DEEP, {
        f"{s}_l{k}{r}": (4, 2) for s in WEIGHTS for k in range(3) for r in ("", "_reverse")}),
    "path": (PATHS, (*WEIGHTS, "bias"), ONE, {"k": (4, 2), "r": (4, 2), "b": (4,)}),
    "paths of two": (PATHS, WEIGHTS, BOTH, {
        f"{d}_lstm/{n}": (4, 2) for d in ("forward", "backward") for n in "kr"}),
    "later layers": (LATER, WEIGHTS, Case(1, 1, 3, 4, layers=2), {
        f"core{k}/{s}": (4, 2) for k in ("", "_1") for s in WEIGHTS}),
    "stacked": (Stored(JOINED, joined="stacked"), (*WEIGHTS, "bias_ih", "bias_hh"), ONE,
                {"W": (4, 2), "R": (4, 2), "B": (2, 4)}),
    "concatenated": (Stored(JOINED, joined="concatenated", axis=True),
                     (*WEIGHTS, "bias_ih", "bias_hh"), ONE,
                     {"W": (1, 4, 2), "R": (1, 4, 2), "B": (1, 8)}),
    "an axis of two": (Stored(JOINED, joined="concatenated", axis=True),
                       (*WEIGHTS, "bias_ih", "bias_hh"), BOTH,
                       {"W": (2, 4, 2), "R": (2, 4, 2), "B": (2, 8)}),
    "turned": (Stored(turned=("weight_hh",)), WEIGHTS, ONE,
               {"weight_ih_l0": (4, 2), "weight_hh_l0": (2, 4)}),
}  # fmt: skip


@pytest.mark.parametrize("form", WRITTEN)
def test_written_and_read(form):
    stored, stems, case, shapes = WRITTEN[form]
    named = drawn(stems, case)
    file = stored.to_file(named)
    assert {name: array.shape for name, array in file.items()} == shapes

    for before in ("", "params/", "model.encoder."):
        below = {before + name: array for name, array in file.items()}
        found, extra = stored.from_file(stems, below)
        assert same(found, named)
        assert not extra
    assert msgspec.convert(asdict(stored), Stored) == stored


def test_numbers_in_paths():
    file = PATHS.to_file(drawn(WEIGHTS, BOTH))
    numbered = {f"model/bi_3/{n.replace('lstm', 'lstm_7')}": a for n, a in file.items()}
    assert same(PATHS.from_file(WEIGHTS, numbered)[0], drawn(WEIGHTS, BOTH))


def test_copies_are_passed_over_and_others_are_not():
    named = drawn(WEIGHTS, ONE)
    file = named | {"again": named["weight_hh_l0"], "more": named["weight_hh_l0"] + 1}
    assert Stored().from_file(WEIGHTS, file)[1] == ["more"]


@pytest.mark.parametrize(("arrays", "said"), [
    ({"W": np.ones((3, 4, 2))}, "W: expected an axis of 1 or 2 directions first, got"),
    ({"W": np.ones((1, 4, 2)), "B": np.ones((1, 7))}, "B: expected 2 arrays concatenated"),
    ({"W": np.ones((1, 4, 2)), "B": np.ones(1)}, "B: expected 2 arrays concatenated"),
    ({"W": np.ones(())}, "W: expected an axis"),
])  # fmt: skip
def test_arrays_that_cannot_be_taken_apart(arrays, said):
    stored = Stored(JOINED, joined="concatenated", axis=True)
    with pytest.raises(Unfit, match=said):
        stored.from_file((*WEIGHTS, "bias_ih", "bias_hh"), arrays)


LINEN = [f"{s}{g}/kernel" for s in "ih" for g in "ifgo"] + [f"h{g}/bias" for g in "ifgo"]
CELLS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

FILES = {
    "keras:LSTM": [f"lstm_cell/{n}" for n in ("kernel", "recurrent_kernel", "bias")],
    "keras:GRU": [f"gru_cell/{n}" for n in ("kernel", "recurrent_kernel", "bias")],
    "keras:RNN": [f"simple_rnn_cell/{n}" for n in ("kernel", "recurrent_kernel", "bias")],
    "flax-linen:LSTM": [f"cell/{n}" for n in LINEN],
    "flax-nnx:LSTM": [f"cell/{n.replace('if/', 'if_/')}" for n in LINEN],
    "flax-nnx:GRU": [f"cell/dense_{n}" for n in ("i/kernel", "h/kernel", "i/bias")],
    "haiku:LSTM": ["lstm/linear/w", "lstm/linear/b"],
    "haiku:GRU": ["gru/w_i", "gru/w_h", "gru/b"],
    "equinox:GRU": ["weight_ih", "weight_hh", "bias", "bias_n"],
    "mlx:GRU": ["Wx", "Wh", "b", "bhn"],
    "paddle:LSTM": [f"0.cell.{n}" for n in CELLS],
    "onnxruntime:LSTM": ["W", "R", "B"],
    "onnx-reference:LSTM-peephole": ["W", "R", "B", "P"],
    "openvino:GRU": ["W", "R", "B"],
    "ncnn:LSTM": ["weight_xc_data", "weight_hc_data", "bias_c_data"],
    "torch:LSTMCell": list(CELLS),
}
"""What each framework's own file of one layer and direction holds."""


def end(name):
    subject = subject_named(name)
    return End(name, subject.convention, subject.stored, subject.options, subject.dtypes)


@pytest.mark.parametrize("name", FILES)
def test_the_frameworks_names(name):
    e = end(name)
    named = {n: ONE.normal(n, shape) for n, shape in stored_shapes(e.convention, ONE).items()}
    file = e.stored.to_file(named)
    assert sorted(file) == sorted(FILES[name])
    _, case, found = infer(e, file)
    assert same(found, named)
    assert (case.D, case.H, case.bias) == (3, 4, True)


@pytest.mark.parametrize(("name", "shapes"), [
    ("keras:GRU", {"gru_cell/bias": (2, 12)}),
    ("onnxruntime:GRU", {"W": (1, 12, 3), "R": (1, 12, 4), "B": (1, 24)}),
    ("openvino:GRU", {"W": (1, 12, 3), "B": (1, 16)}),
])  # fmt: skip
def test_joined_arrays(name, shapes):
    e = end(name)
    wanted = stored_shapes(e.convention, ONE).items()
    file = e.stored.to_file({n: ONE.normal(n, shape) for n, shape in wanted})
    assert {n: file[n].shape for n in shapes} == shapes


def test_a_projection_of_paddle():
    """Its cells hold the transpose."""
    e, case = end("paddle:LSTM"), Case(1, 1, 3, 4, P=2)
    c = replace(e.convention, projected=True)
    named = {n: case.normal(n, shape) for n, shape in stored_shapes(c, case).items()}
    file = e.stored.to_file(named)
    assert file["0.cell.weight_ho"].shape == (4, 2)
    assert same(infer(e, file)[2], named)


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda f: f.pop("B"), None),
    (lambda f: f.pop("R"), r"R \(weight_hh_l0\) \[16, 4\] is missing: there are B, W"),
    (lambda f: f.update(R=f["R"][:, :8]), r"R \(weight_hh_l0\): expected shape \[16, 4\]"),
    (lambda f: f.update(P=np.ones(3)), "P belong to no array of onnxruntime:LSTM: expected B"),
    (lambda f: f.update(weight_ih_l0=np.ones((16, 3))), "weight_ih_l0 belong to no array"),
    (lambda f: f.clear(), r"W \(weight_ih_l0\) is missing: there are none"),
])  # fmt: skip
def test_what_is_wrong_with_a_file(spoil, said):
    e = end("onnxruntime:LSTM")
    shapes = stored_shapes(e.convention, ONE).items()
    file = e.stored.to_file({n: ONE.normal(n, shape) for n, shape in shapes})
    spoil(file)
    if said is None:
        assert infer(e, file)[1].bias is False
        return
    with pytest.raises(Unfit, match=said):
        infer(e, file)
