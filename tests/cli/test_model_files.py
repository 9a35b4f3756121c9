"""``gatewise nodes model.onnx`` and ``gatewise verify model.onnx``: rows, sentences, exit codes."""

import json
import os

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx reads model files")
pytest.importorskip("onnxruntime", reason="onnxruntime runs model files")

import model_files as files
from commands import invoke, refused

D, H = 3, 4


@pytest.fixture
def folder(here):
    """A file of two nodes, the second with its gates in another order, and their source."""
    layers = {name: files.torch_layer("GRU", D, H, seed=k) for k, name in enumerate("ab")}
    nodes = []
    for name, layer in layers.items():
        weights = files.onnx_weights("GRU", layer)
        if name == "b":
            weights["W"] = np.roll(weights["W"], H, axis=1)
        nodes.append(files.node(name, "GRU", weights, state=True))
    files.written(here / "m.onnx", nodes, D=D, H=H)
    np.savez("w.npz", **{f"{n}.{k}": v for n, own in layers.items() for k, v in own.items()})
    return here


def test_nodes_are_listed(folder):
    listed = json.loads(invoke("nodes m.onnx --json").stdout)
    said = invoke("nodes m.onnx").stdout

    assert [(n["name"], n["kind"], n["D"], n["H"], n["state"], n["problem"]) for n in listed] == [
        ("a", "GRU", D, H, "input initial_h", ""), ("b", "GRU", D, H, "input initial_h", ""),
    ]  # fmt: skip
    assert "m.onnx: 2 recurrent nodes" in said
    assert "gates z, r, h, reset after the product" in said
    assert max(map(len, said.splitlines())) <= 80


def test_a_file_is_held_node_by_node(folder):
    done = invoke(
        "verify m.onnx --against w.npz --check forward,source --budget quick --junit m.xml"
    )

    assert done.exit_code == 1
    assert "m.onnx#a: 2 of 2 checks passed" in done.stdout
    assert "m.onnx#b does not conform: 1 of 2 checks failed" in done.stdout
    assert "The gates of W stand in the order h, z, r; ONNX reads them as z, r, h." in (
        " ".join(done.stdout.split())
    )
    assert "gatewise verify 'm.onnx#b' --against w.npz --check source" in done.stdout
    assert 'classname="m.onnx#a"' in (folder / "m.xml").read_text(encoding="utf-8")


def test_weights_that_nothing_was_held_to_are_told_of(folder):
    """The second node's gates are in another order: without its source that cannot be seen."""
    alone = invoke("verify m.onnx --budget quick")
    beside = invoke("verify m.onnx --budget quick --against w.npz")

    assert (alone.exit_code, beside.exit_code) == (0, 1)
    assert alone.stdout.count("not judged      Whether its weights are those of the layer") == 2
    assert "not judged" not in beside.stdout


def test_the_command_that_a_failure_prints_makes_it_again(folder):
    case = '{"T": 3, "B": 2, "D": 3, "H": 4, "dtype": "float32"}'
    line = "verify m.onnx#b --against w.npz --check source --no-diagnosis --json --case"
    done = invoke(line, case)
    (verdict,) = json.loads(done.stdout)

    assert (done.exit_code, verdict["subject"], verdict["status"]) == (1, "m.onnx#b", "failed")


def test_another_runtime_and_one_node(folder):
    line = "verify m.onnx --node a --runtime onnx-reference --check forward --budget quick --json"
    done = invoke(line)
    (verdict,) = json.loads(done.stdout)

    assert done.exit_code == 0
    assert verdict["subject"] == "onnx-reference:m.onnx#a"
    assert verdict["version"].startswith("onnx ")
    assert 0 < verdict["worst_ratio"] <= 1


def test_what_reached_a_node(folder):
    rng = np.random.default_rng(0)
    np.savez("in.npz", x=rng.standard_normal((20, 2, D)), initial_h=rng.standard_normal((1, 2, H)))
    done = invoke("verify m.onnx --node a --inputs in.npz --check in-graph --json")
    (verdict,) = json.loads(done.stdout)

    assert (done.exit_code, verdict["status"]) == (0, "passed")
    assert 0 < verdict["worst_ratio"] <= 1


@pytest.mark.parametrize(("line", "words"), [
    ("verify gone.onnx", "gone.onnx: there is no such file"),
    ("verify text.onnx", "text.onnx: it is no model of ONNX, or a part of one"),
    ("verify huge.onnx", "huge.onnx: 3221225472 bytes; a model file has less than 2 GiB"),
    ("verify none.onnx", "none.onnx: it has no recurrent nodes: no RNN, GRU or LSTM"),
    ("verify m.onnx --node c", "m.onnx: there is no recurrent node 'c'; there are"),
    ("verify m.onnx --runtime tf", "--runtime tf: expected one of onnxruntime"),
    ("verify m.onnx --against m.py:Wide", "Wide.__init__() missing 1 requ"),
    ("verify m.onnx --against gone.npz", "--against gone.npz: there is no such fi"),
    ("verify torch:LSTM --runtime tract", "--runtime and --node are for model fil"),
    ("verify torch:LSTM --against w.npz", "--against and --inputs are for model f"),
    ("verify m.onnx --like torch.nn.GRU", "--like is for classes of your own, not"),
    ("nodes m.tflite", "m.tflite: there is no such file"),
    ("nodes text.onnx", "text.onnx: it is no model of ONNX, or a part of one"),
])  # fmt: skip
def test_refusals_are_sentences(folder, line, words):
    (folder / "text.onnx").write_text("hello", encoding="utf-8")
    (folder / "m.py").write_text("class Wide:\n    def __init__(self, width): pass\n")
    (folder / "huge.onnx").write_bytes(b"")
    os.truncate(folder / "huge.onnx", 3 * 2**30)
    nothing = files.helper.make_node("Identity", ["x"], ["y"])
    files.written(folder / "none.onnx", [(nothing, [])])
    done = invoke(line)
    refused(done, 2, words)
    assert words in " ".join(done.stderr.split())
