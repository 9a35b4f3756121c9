"""``gatewise nodes model.tflite`` and ``gatewise verify model.tflite``: rows, sentences, codes."""

import json

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert runs files of TensorFlow Lite")

import tflite_files as files
from commands import invoke

D, H = 3, 4
LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"


@pytest.fixture
def folder(here):
    """A file of an LSTM as it should be, one with a clip, and a quantised one; what they are of."""
    layer = files.layer("LSTM", D, H)
    whole = {n: a.astype(np.int8) for n, a in layer.items()}
    nodes = [files.Node("a", LSTM, [layer]), files.Node("b", LSTM, [layer], {"cellClip": 0.5}),
             files.Node("c", LSTM, [whole])]  # fmt: skip
    files.written(here / "m.tflite", nodes)
    files.written(here / "source.tflite", nodes[:1] * 2)
    np.savez("in.npz", x=np.random.default_rng(0).standard_normal((2, 5, D)))
    return here


def test_nodes_are_listed(folder):
    listed = {n["name"]: n for n in json.loads(invoke("nodes m.tflite --json").stdout)}
    said = " ".join(invoke("nodes m.tflite").stdout.split())

    assert [listed["b"][key] for key in ("operator", "kind", "D", "H")] == [LSTM, "LSTM", D, H]
    assert "m.tflite: 3 recurrent nodes" in said
    assert "gates i, f, c, o, rows first, cell clip 0.5" in said
    assert "not held it is quantised (INT8; its weights alone are): check the float" in said


def test_a_file_is_held_node_by_node(folder):
    done = invoke("verify m.tflite --against source.tflite --check forward,source --budget quick")
    said = " ".join(done.stdout.split())

    assert done.exit_code == 1
    assert "m.tflite#a: 2 of 2 checks passed" in said
    assert "m.tflite#b does not conform: 1 of 2 checks failed" in said
    assert "It clips at 0.5 (of the cell state), and the source does not." in said
    assert "c: it is quantised" in said


def test_what_the_process_of_a_broken_file_says(folder):
    (folder / "m.tflite").write_bytes((folder / "m.tflite").read_bytes()[:200])
    done = invoke("nodes m.tflite")

    assert done.exit_code == 2
    assert "m.tflite: it is no model of TensorFlow Lite, or a part of one" in done.stderr
    assert "Traceback" not in done.output
