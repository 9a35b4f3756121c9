"""A folder of layers: which classes are held, how, and the line that is told of each."""

from pathlib import Path

from click.testing import CliRunner

from gatewise.bench.scores import cases

TORCH = '''"""source: somewhere
kind: layout; EXPECT: failed; two gates exchanged
"""
import torch
from torch import nn
class Function(torch.autograd.Function): ...
class Middle(nn.GRU): ...
class Mine(Middle): ...
class Other(torch.nn.LSTM): ...
class OwnGRU(nn.Module): ...
class Unlike(nn.Module): ...
'''

EXPLICIT = '''"""right. Expect: passed"""
import numpy as np
class Helper: ...
class Base:
    def forward(self, p, x, state):
        h = np.zeros((x.shape[1], p["b"].shape[1]), x.dtype) if state is None else state[0]
        ys = [h := np.tanh(xt @ p["W"][0] + h @ p["U"][0] + SCALE * p["b"][0]) for xt in x]
        return np.stack(ys) if ys else np.zeros((0, *h.shape), x.dtype), (h,)
class Layer(Base):
    cell = "rnn"
SCALE = 1
'''


def written(folder, name, text) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_classes_are_found_with_what_they_are_like(tmp_path):
    found = cases.held_in(written(tmp_path, "a.py", TORCH))
    held = [("Mine", "torch.nn.GRU"), ("Other", "torch.nn.LSTM"), ("OwnGRU", "torch.nn.GRU")]
    assert [(h.name, h.like) for h in found] == held
    assert found[0].expect == "failed; two gates exchanged"
    (found,) = cases.held_in(written(tmp_path, "b.py", EXPLICIT))
    assert (found.name, found.like, found.expect) == ("Layer", "", "passed")


def test_where_no_class_can_be_held_the_last_is_tried(tmp_path):
    (found,) = cases.held_in(written(tmp_path, "a.py", "class A: ...\nclass B(A): ...\n"))
    assert (found.name, found.like, found.expect) == ("B", "", "")


def test_the_one_case_tells_a_reshape_from_a_transposition():
    assert cases.CASE.B > 2
    assert cases.CASE.T % cases.CASE.B not in (0, 1)
    assert cases.CASE.state
    assert cases.CASE.layout == "batch-first"
    deep = cases.CASES["deep case"]
    assert (deep.layers, deep.directions, deep.B) == (2, 2, cases.CASE.B)


def test_first_sentences_end_where_the_second_begins():
    assert cases.first_sentence("It adds 0.5 to f. The rest is right.") == "It adds 0.5 to f."
    assert (
        cases.first_sentence("no known mistake explains this") == "no known mistake explains this"
    )


def test_right_and_wrong_layers_are_told_in_a_line_each(tmp_path):
    written(tmp_path, "right.py", EXPLICIT)
    written(tmp_path, "wrong.py", EXPLICIT.replace("SCALE = 1", "SCALE = 0").replace("passed", "b"))
    written(tmp_path, "none.py", "class A: ...\n")
    result = CliRunner().invoke(cases.main, [str(tmp_path), "--jobs", "1"])
    assert result.exit_code == 0, result.output
    none, _, right, right_case, wrong, wrong_case, usual, one = result.output.splitlines()
    assert none.startswith("none.py:A [quick] exit ")
    assert "exit 0" not in none
    assert right.startswith("right.py:Layer [quick] exit 0")
    assert right.endswith("| expect: passed")
    assert right_case.startswith("right.py:Layer [one case] exit 0")
    assert wrong.startswith("wrong.py:Layer [quick] exit 1")
    assert "explained: b is not read." in wrong
    assert "explained: b is not read." in wrong_case
    assert "3 layers, 1 explained" in usual
    assert "3 layers, 1 explained" in one
