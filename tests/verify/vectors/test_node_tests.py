"""Node tests are taken by ONNX's own runner, right runtimes pass them, and mistakes do not."""

import json
import shutil
import unittest
from dataclasses import replace

import numpy as np
import pytest

from commands import invoke
from gatewise.verify.cases.case import Case
from gatewise.verify.vectors import node_tests, selection, weights
from gatewise.verify.vectors.vector import ALL, FAR_STATE, NAN_PADDING

onnx = pytest.importorskip("onnx")
base = pytest.importorskip("onnx.backend.base")
loader = pytest.importorskip("onnx.backend.test.loader")
runner = pytest.importorskip("onnx.backend.test.runner")

CASES = (
    (Case(2, 2, 2, 2), FAR_STATE),
    (Case(5, 2, 2, 3, bidirectional=True), ALL),
    (Case(4, 3, 3, 2, lengths=True, state=False), NAN_PADDING),
)
"""What ONNX's operators have: states, directions, lengths."""

CELLS = ("rnn", "rnn-relu", "lstm", "lstm-peephole", "lstm-coupled", "lstm-sigmoid-candidate",
         "gru", "gru-keeps-old")  # fmt: skip


def of_cases(cell, dtype, seed):
    """Yield these cases in place of the many that are chosen from."""
    for case, output in CASES:
        yield replace(case, dtype=dtype), output


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of node tests of every cell that ONNX has; all cases are kept."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "candidates", of_cases)
        patch.setattr(selection, "_without_spare", list)
        patch.setattr(selection, "_is_plain", lambda case: True)
        for cell in CELLS:
            made[cell] = tmp_path_factory.mktemp(cell)
            chosen = selection.select(cell, "float32", adapter=weights.adapter("onnx", cell))
            node_tests.write(made[cell], chosen)
    return made


def index(folder):
    """Return what the index of a folder says of each test, by name."""
    read = json.loads((folder / node_tests.INDEX).read_text(encoding="utf-8"))
    return {test["name"]: test for test in read["tests"]}


def failures(folders, backend, monkeypatch):
    """Run every test of some folders by ONNX's own loader and runner; who fails, and who raises."""
    tests = [test for f in folders for test in loader.load_model_tests(str(f.parent), f.name)]
    monkeypatch.setattr(runner, "load_model_tests", lambda kind: tests if kind == "simple" else [])
    result = unittest.TestResult()
    runner.Runner(backend, __name__).test_suite.run(result)
    assert result.testsRun == 2 * len(tests)  # on the CPU, and on CUDA, which is not there
    assert len(result.skipped) == len(tests)
    return [
        {str(test).split()[0].removesuffix("_cpu") for test, _ in each}
        for each in (result.failures, result.errors)
    ]


class Evaluator(base.Backend):
    """ONNX's reference evaluator behind the interface of its backends."""

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        """Return it, ready to run."""
        evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator(model)
        names = [each.name for each in model.graph.input]

        class Prepared(base.BackendRep):
            """A model of one node."""

            def run(self, inputs, **kwargs):
                """Run it; that exp overflows is its own business."""
                with np.errstate(over="ignore"):
                    return evaluator.run(None, dict(zip(names, inputs, strict=True)))

        return Prepared()

    @classmethod
    def supports_device(cls, device):
        """The CPU alone."""
        return device == "CPU"


def test_onnxruntime_passes_in_the_runner_of_onnx(folders, monkeypatch):
    """By its own backend, under the rtol and atol that the loader reads."""
    runtime = pytest.importorskip("onnxruntime.backend")
    assert failures(folders.values(), runtime, monkeypatch) == [set(), set()]


def test_the_reference_evaluator_fails_where_it_is_known_to(folders, monkeypatch):
    """It ignores sequence_lens, and an LSTM's activations and input_forget: findings.

    Its RNN raises for ReLU.
    """
    ignored = {
        name
        for cell, folder in folders.items()
        for name, test in index(folder).items()
        if cell in ("lstm-coupled", "lstm-sigmoid-candidate") or "lengths" in test["comment"]
    }

    failed, raised = failures(folders.values(), Evaluator, monkeypatch)

    assert raised == {*index(folders["rnn-relu"])}
    assert failed == ignored - raised
    assert 0 < len(ignored) < sum(map(len, map(index, folders.values())))


def planted(folder, slip):
    """Change the models of a folder, as a runtime with a mistake would understand them."""
    for path in folder.glob("*/model.onnx"):
        model = onnx.load(path)
        slip(model.graph.node[0])
        onnx.save(model, path)


def no_reset_after(node):
    """Understand the GRU's reset the other way."""
    for attribute in node.attribute:
        if attribute.name == "linear_before_reset":
            attribute.i = 1 - attribute.i


def state_ignored(node):
    """Read no initial h."""
    node.input[5] = ""


@pytest.mark.parametrize("slip", [no_reset_after, state_ignored])
def test_a_mistake_fails_in_the_runner_of_onnx(folders, tmp_path, monkeypatch, slip):
    """What the index says of the mistakes is so for a real runtime with one."""
    runtime = pytest.importorskip("onnxruntime.backend")
    folder = tmp_path / "planted"
    shutil.copytree(folders["gru"], folder)
    planted(folder, slip)

    failed, raised = failures([folder], runtime, monkeypatch)

    with_state = {n for n, test in index(folder).items() if "no initial" not in test["comment"]}
    assert failed
    assert not raised
    assert slip is no_reset_after or failed == with_state


def test_the_tolerance_is_sound_and_says_what_it_misses(folders):
    """Every bound lies within atol + rtol |y|; each mistake is caught or said to be missed."""
    names = ("rnn-relu", "lstm-coupled", "lstm-sigmoid-candidate")
    without_mistakes = [folders[name] for name in names]
    for folder in folders.values():
        assert index(folder)
        for name, test in index(folder).items():
            data = json.loads((folder / name / "data.json").read_text(encoding="utf-8"))
            assert data == {"rtol": test["rtol"], "atol": test["atol"]}
            assert len(test["catches"]) > 3 or folder in without_mistakes
            assert not {*test["catches"]} & {*test["missed"]}
            for path in (folder / name / "test_data_set_0").glob("bound_*.pb"):
                bound = onnx.numpy_helper.to_array(onnx.load_tensor(path))
                own = path.with_name(path.name.replace("bound", "output"))
                value = onnx.numpy_helper.to_array(onnx.load_tensor(own))
                assert np.all(bound <= test["atol"] + test["rtol"] * np.abs(value))
                assert np.all(bound >= 0)


def test_y_is_left_out_where_rows_end_early(folders):
    """ONNX does not say what stands there; the final states tell the lengths all the same."""
    lengths = [n for n, t in index(folders["lstm"]).items() if "lengths" in t["comment"]]

    outputs = {n: [o.name for o in onnx.load(folders["lstm"] / n / "model.onnx").graph.output]
               for n in index(folders["lstm"])}  # fmt: skip

    assert [outputs[name] for name in lengths] == [["Y_h", "Y_c"]]
    assert sum("Y" in names for names in outputs.values()) == len(outputs) - 1


@pytest.mark.parametrize(("arguments", "words"), [
    (["--cell", "lstm-projected"], "states no convention of a layer of lstm-projected"),
    (["--cell", "lstm", "--dtype", "bfloat16"], "expected one of float32, float64"),
    (["--cell", "lstm", "--convention", "torch"], "ONNX's own convention, not torch"),
])  # fmt: skip
def test_what_onnx_has_not_is_refused(arguments, words, tmp_path):
    command = ["vectors", "export", *arguments, "--format", "onnx", "-o", str(tmp_path)]

    said = invoke(*command)

    assert said.exit_code == 2
    assert words in " ".join(said.output.replace("│", " ").split())
