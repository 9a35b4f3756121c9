"""What a run of the speed bench measures, and what it refuses."""

import pytest

from gatewise.bench.cost.shape import Shape
from gatewise.bench.speed import plan as planning
from gatewise.bench.speed import rows
from gatewise.bench.speed.contender import DATA, FORWARD, PASSES, TRAINING
from gatewise.bench.speed.plan import Wanted, baseline_of, groups, left_out, plan
from gatewise.bench.speed.registry import contender_named, expanded, package_contenders
from gatewise.bench.speed.shapes import named, parts
from gatewise.reference.cells import gating_cells


def asked(**given):
    return list(groups(Wanted.checked(**given), seed=0))


def test_by_default_every_cell_and_the_ends_of_the_grid():
    found = asked()
    assert {group.cell for group in found} == set(gating_cells())
    assert {(g.shape.H, g.shape.B) for g in found if g.cell == "lstm"} == {
        (64, 1), (64, 16), (256, 1), (256, 16)
    }  # fmt: skip
    compiled = [g for g in found if any("compile" in name for name in g.subjects)]
    assert [(g.cell, g.shape.T) for g in compiled] == [("lstm", 16)]
    assert compiled[0].passes_of("torch-compile:LSTMCell") == (FORWARD,)
    assert len({g.id for g in found}) == len(found)


def test_a_full_run_measures_more():
    """More shapes, dtypes and passes, and nothing is left out without being said."""
    small, full = asked(), asked(full=True, subjects=["numpy:*", "torch-native:*"])
    assert {g.dtype for g in full} == {"float32", "float64"}
    assert full[0].passes == PASSES
    assert len(full) > 3 * len(small)
    assert left_out(Wanted(full=True)) == []
    said = " ".join(left_out(Wanted()))
    assert all(word in said for word in ("deepbench", DATA, "float64", "torch.compile"))


def test_the_baseline_takes_the_last_turn():
    """So that the others' ratios to it decide when to stop; it can be named."""
    assert baseline_of(["numpy:lstm", "torch-native:LSTM", "torch:LSTMCell"]) == "torch-native:LSTM"
    assert baseline_of(["numpy:lstm", "torch-native:LSTM"], "numpy:lstm") == "numpy:lstm"
    for group in asked(cells=["lstm"], shapes=["smoke"]):
        assert group.subjects[-1] == "torch-native:LSTM"


def test_what_is_asked_for_is_measured_wherever_it_is_right():
    found = asked(subjects=["numpy:gru", "torch:GRUCell"], shapes=["H=4/8,B=1,T=2", "smoke"])
    assert {g.cell for g in found} == {"gru"}
    assert [str(g.shape) for g in found] == ["T2-B1-D4-H4", "T2-B1-D8-H8", "T5-B2-D8-H16"]
    assert all(set(g.subjects) == {"numpy:gru", "torch:GRUCell"} for g in found)


def test_a_users_own_class_is_asked_what_it_computes(root):
    name = f"{root}/tests/doubles/plain_numpy.py:LSTM"
    (group,) = asked(subjects=[name], shapes=["smoke"])
    assert (group.cell, group.subjects) == ("lstm", (name,))


@pytest.mark.parametrize(("given", "said"), [
    ({"subjects": ["torch-native:Transformer"]}, "subject: expected one of torch-native:RNN"),
    ({"subjects": ["nothing"]}, "nothing"),
    ({"subjects": ["nothing:*"]}, "subject: expected one of numpy:"),
    ({"subjects": ["torch:Nothing"]}, "torch:Nothing"),
    ({"cells": ["lstn"]}, "cell: expected one of"),
    ({"shapes": ["huge"]}, "shapes: expected a grid"),
    ({"shapes": ["H=0,B=1,T=1"]}, "shapes: expected H from 1"),
    ({"passes": ["sideways"]}, "passes: expected one of forward"),
    ({"dtypes": ["float8"]}, "dtypes: expected one of float64"),
    ({"subjects": ["numpy:gru"], "cells": ["lstm"]}, "subjects: expected some that compute"),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_a_sentence(given, said):
    with pytest.raises(ValueError, match=said) as refused:
        plan(seed=0, **given)
    assert "\n" not in str(refused.value)


def test_the_first_pieces_are_the_machine_and_its_noise():
    made = plan(seed=0, subjects=["numpy:rnn"], shapes=["smoke"])
    assert [piece.id for piece in made.pieces] == [
        rows.CEILINGS, rows.NOISE, "rnn T5-B2-D8-H16 float32"
    ]  # fmt: skip
    assert made.settings == {"subjects": ["numpy:rnn"], "shapes": ["smoke"]}


def test_named_sets():
    for name, each in named().items():
        assert each.about
        for part in each.entries:
            assert part.shapes
            assert set(part.cells) <= set(gating_cells())
        assert parts(name) == each.entries
    deepbench = [shape for part in parts("deepbench") for shape in part.shapes]
    assert len(deepbench) == 41
    assert Shape(T=25, B=128, D=4096, H=4096) in deepbench


def test_families():
    assert expanded(("torch-onednn:*",)) == [
        n for n in package_contenders() if n.startswith("torch-onednn:")
    ]
    assert "onnxruntime:LSTM" in expanded(("onnxruntime:*",))
    assert planning._cells_of("onnxruntime:LSTM", None) == ("lstm",)


def test_without_torch_there_is_the_reference(monkeypatch):
    monkeypatch.setattr(planning, "find_spec", lambda name: None)
    found = asked()
    assert {name.partition(":")[0] for g in found for name in g.subjects} == {"numpy", "numpy-fast"}
    assert TRAINING in found[0].passes


def test_like_is_for_a_class_of_ones_own(root):
    pytest.importorskip("torch")
    mine = f"{root}/tests/doubles/plain_torch.py:Nothing"
    found = expanded(("torch-native:LSTM", mine))
    assert found == ["torch-native:LSTM", mine]
    assert contender_named("torch-native:LSTM", "torch.nn.LSTM").name == "torch-native:LSTM"
    assert contender_named("onnxruntime:LSTM", "torch.nn.LSTM").cells == ("lstm",)
