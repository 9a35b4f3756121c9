"""Adapters of frameworks: their layers pass, under a wrong convention they do not.

What is particular to a framework follows the two tables; what is not installed is skipped.
"""

import functools
import importlib.util
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import family, frameworks, subject_named
from gatewise.verify.subjects.frameworks import (
    executorch,
    flashrnn,
    keras,
    ncps,
    onnx_reference,
    onnxruntime,
    openvino,
    torch_exported,
)
from gatewise.verify.subjects.inputs import draw_inputs
from gatewise.verify.subjects.protocol import SubjectUnavailable
from gatewise.verify.subjects.quantised import Quantised
from judgements import verdict_is

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated:FutureWarning")  # executorch

CHECKS = {check.id: check for check in subject_checks() if not check.problems}
BOTH = ("float64", "float32")
PLAIN = Case(4, 3, 2, 5)
SMALL = Case(2, 2, 3, 4)
ROWS = replace(PLAIN, bidirectional=True, lengths=True, dtype="float32")
REFERENCE = [subject.name for subject in onnx_reference.SUBJECTS]
RUNTIME = [subject.name for subject in onnxruntime.SUBJECTS]

SIZES = {
    (2, 1): "equinox flax-linen flax-nnx haiku keras",
    (3, 1): "torch-export torch-onnx",
    (3, 2): "executorch flashrnn ncps xlstm torch-quantised",
    (4, 2): "onnx-reference onnxruntime onnxruntime-quantised litert-quantised openvino",
    (6, 3): "mlx ncnn paddle tensorflow",
}
BUDGETS = {name: Budget(*size) for size, names in SIZES.items() for name in names.split()}

PASSES = [
    # subjects, checks, dtypes
    (["equinox:LSTM", "equinox:GRU"], ["forward", "gradient"], ["float64"]),
    (["flashrnn:RNN", "flashrnn:LSTM", "flashrnn:LSTM-fwbw", "flashrnn:GRU"],
     ["smoke", "forward", "gradient", "batch-first", "dtype"], BOTH),
    ([f"{api}:{kind}" for api in ("flax-linen", "flax-nnx")
      for kind in ("LSTM", "OptimizedLSTM", "GRU", "RNN")], ["forward"], ["float64"]),
    # float32 too, where arrays made without a dtype must not become float64
    (["flax-nnx:GRU"], ["gradient", "jvp", "unbatched", "batch-first", "no-steps"], ["float32"]),
    (["haiku:LSTM", "haiku:GRU", "haiku:RNN"], ["forward", "gradient"], ["float64"]),
    # the state that the core makes must not be float64
    (["haiku:LSTM"], ["default-state", "no-steps", "batch-first", "jvp"], ["float32"]),
    (["keras:LSTM", "keras:GRU", "keras:GRU-reset-before", "keras:RNN"],
     ["forward", "gradient", "zero-length"], ["float32"]),
    (["mlx:LSTM", "mlx:GRU"],
     ["forward", "gradient", "jvp", "unbatched", "strided", "dtype"], ["float32"]),
    (["mlx:RNN"], ["forward", "gradient", "dtype"], ["float64"]),  # its tanh is one of float64
    (["ncnn:RNN", "ncnn:LSTM", "ncnn:GRU"],
     ["forward", "direction", "dtype", "default-state"], ["float32"]),
    (["ncps:LSTMCell"], ["smoke", "forward", "gradient", "jvp", "carry", "dtype"], BOTH),
    (REFERENCE, ["smoke", "forward", "direction", "batch-first", "extreme", "shapes"], BOTH),
    (RUNTIME, ["smoke", "forward", "padding", "direction", "extreme", "shapes"], ["float32"]),
    ([subject.name for subject in openvino.SUBJECTS],
     ["smoke", "forward", "padding", "direction", "repeat"], ["float32"]),
    (["paddle:RNN", "paddle:LSTM", "paddle:GRU"],
     ["forward", "direction", "batch-first", "strided", "dropout"], BOTH),
    (["tensorflow:BlockLSTM", "tensorflow:BlockLSTM-peephole", "tensorflow:GRUBlockCell"],
     ["forward", "gradient", "backward-twice", "extreme"], ["float32"]),
    # its gates lie in another order than the first version's, which its gradient forgets
    (["tensorflow:BlockLSTMV2", "tensorflow:BlockLSTMV2-peephole"], ["forward"], ["float32"]),
    (["torch-export:RNN", "torch-export:LSTM", "torch-export:GRU"],
     ["smoke", "forward", "gradient"], BOTH),
    (["torch-onnx:RNN", "torch-onnx:LSTM", "torch-onnx:GRU"],
     ["smoke", "forward", "padding", "batch-first", "repeat"], ["float32"]),
    ([f"onnxruntime-quantised:{name}" for name in ("LSTM", "LSTM-u8", "LSTM-per-channel-reduced",
                                                   "LSTM-qdq", "GRU-qdq")],
     ["smoke", "forward", "direction", "zero-point", "channel-scale", "tie-rounding"],
     ["float32"]),
    (["torch-quantised:LSTM", "torch-quantised:GRU"],
     ["smoke", "forward", "direction", "row-scale"], ["float32"]),
    ([f"litert-quantised:{name}" for name in ("LSTM", "LSTM-asymmetric", "LSTM-coupled", "RNN",
                                              "RNN-asymmetric")],
     ["smoke", "forward", "batch-single", "channel-scale", "tie-rounding"], ["float32"]),
    (["litert-quantised:LSTM-int8", "litert-quantised:LSTM-int8-coupled"],
     ["smoke", "forward", "extreme", "carry", "state-scale", "tie-rounding"], ["float32"]),
    (["xlstm:LSTM"],
     ["smoke", "forward", "gradient", "jvp", "batch-first", "default-state", "dtype"], BOTH),
]  # fmt: skip

MISSTATED = {
    "equinox:LSTM": [{"order": "igfo"}],
    "equinox:GRU": [{"order": "zrn"}],
    "executorch:LSTM": [{"order": "iofg"}],
    "executorch:GRU-xnnpack": [{"order": "zrn"}],
    "flashrnn:LSTM": [{"order": "igfo"}, {"bias": ("igfo",)}],
    "flashrnn:GRU": [{"recurrent_order": ""}, {"bias": ("nrzm",)}],
    "flashrnn:RNN": [{"recurrent_layout": "gates"}],
    "flax-linen:LSTM": [{"forget_offset": 1.0}],
    "flax-nnx:OptimizedLSTM": [{"order": "igfo"}],
    "flax-nnx:GRU": [{"order": "zrn"}],
    "haiku:LSTM": [{"order": "ifgo"}, {"forget_offset": 0.0}],
    "haiku:GRU": [{"update": "keep"}, {"reset": "after"}],
    "haiku:RNN": [{"candidate": "tanh"}],
    "keras:LSTM": [{"order": "igfo"}],
    "keras:GRU": [{"order": "rzn"}],
    "keras:GRU-reset-before": [{"update": "take"}],
    "mlx:LSTM": [{"order": "figo"}],
    "mlx:GRU": [{"update": "take", "reset": "before", "bias": ("rzn",)}, {"order": "zrn"}],
    "ncnn:LSTM": [{"order": "ifgo", "bias": ("ifgo",)}, {"bias": ("ifgo",)}],
    "ncnn:GRU": [{"bias": ("rzmn",)}],
    "ncps:LSTMCell": [{"order": "igfo"}, {"order": "gifo", "bias": ("igfo",)},
                      {"forget_offset": 0.0}],
    "onnx-reference:LSTM": [{"order": "ifgo"}],
    "onnx-reference:LSTM-peephole": [{"output_peephole": "old"}],
    "onnx-reference:GRU": [{"bias": ("zrm", "zrn")}],
    "onnx-reference:GRU-reset-before": [{"reset": "after"}],
    "onnx-reference:RNN": [{"candidate": "relu"}],
    "onnxruntime:LSTM": [{"order": "ifgo"}, {"recurrent_order": "iogf"}, {"forget_offset": 1.0}],
    "onnxruntime:LSTM-peephole": [{"peepholes": "ifo"}, {"output_peephole": "old"}],
    "onnxruntime:LSTM-coupled": [{"order": "ogi"}],
    "onnxruntime:LSTM-sigmoid-candidate": [{"candidate": "tanh"}],
    "onnxruntime:GRU": [{"order": "rzn"}, {"bias": ("zrm", "zrn")}],
    "onnxruntime:GRU-reset-before": [{"update": "take"}],
    "onnxruntime:RNN": [{"candidate": "relu"}],
    "onnxruntime:RNN-relu": [{"candidate": "tanh"}],
    "onnxruntime-quantised:LSTM": [{"order": "ifgo"}],
    "onnxruntime-quantised:GRU-qdq": [{"order": "rzn"}],
    "torch-quantised:GRU": [{"order": "zrn"}],
    "litert-quantised:LSTM": [{"order": "igfo"}],
    "litert-quantised:LSTM-asymmetric": [{"forget_offset": 1.0}],
    "litert-quantised:RNN": [{"candidate": "relu"}],
    "litert-quantised:LSTM-int8": [{"order": "iofg"}],
    "openvino:LSTM": [{"order": "iofg"}],
    "openvino:GRU": [{"bias": ("zrmn",)}],
    "openvino:GRU-reset-before": [{"update": "take"}],
    "openvino:RNN": [{"candidate": "relu"}],
    "paddle:LSTM": [{"order": "igfo", "bias": ("igfo", "igfo")}],
    "paddle:GRU": [{"order": "zrn", "bias": ("zrn", "zrm")},
                   {"bias": ("rzn", "rzn"), "reset": "before"}],
    "tensorflow:BlockLSTM": [{"order": "ifgo", "bias": ("ifgo",)}],
    "tensorflow:BlockLSTM-peephole": [{"peepholes": "fio"}, {"output_peephole": "old"}],
    "tensorflow:GRUBlockCell": [{"update": "take"}, {"reset": "after"}],
    "torch-export:RNN": [{"candidate": "relu"}],
    "torch-onnx:LSTM": [{"order": "iofg"}],
    "xlstm:LSTM": [{"order": "figo"}, {"bias": ("figo",)}, {"forget_offset": 1.0}],
}  # fmt: skip
WRONG = [(name, fields) for name, each in MISSTATED.items() for fields in each]

ONE_CASE = {"executorch": SMALL} | dict.fromkeys(
    ("onnx-reference", "onnxruntime", "openvino", "torch-onnx"), PLAIN
)
"""The case that shows a wrong convention, where none is drawn."""


def installed(name):
    """Return the subject; skip where a package that it needs is not installed."""
    entry = frameworks.families()[family(name)]
    packages = (*entry.packages, *([keras.BACKEND] if name.startswith("keras:") else []))
    for package in packages:  # looked for, not imported: Keras takes the backend that is named then
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install {entry.adapter.INSTALL}")
    return subject_named(name)


def held(subject, check, dtype=None, case=None):
    """Hold a subject to a check; where no dtype is given, in its finest, or in float32."""
    of = family(subject.name)
    dtype = dtype or ("float32" if of in ("executorch", "keras") else subject.dtypes[0])
    case = case and replace(case, dtype=dtype)
    return hold(
        subject, CHECKS[check], dtype, budget=BUDGETS[of], seed_value=5, case=case, shrink=False
    )


@functools.cache
def pairs_saturate():
    """Whether ONNX Runtime adds pairs of products in 16 bits here, as without VNNI; see findings.

    Two products of 255 and 127 are 64770, which 16 bits do not hold.
    """
    onnx, runtime = (pytest.importorskip(name) for name in ("onnx", "onnxruntime"))
    helper = onnx.helper
    a = helper.make_tensor_value_info("a", onnx.TensorProto.UINT8, [4, 8])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.INT32, [4, 4])
    b = onnx.numpy_helper.from_array(np.full((8, 4), 127, np.int8), "b")
    node = helper.make_node("MatMulInteger", ["a", "b"], ["y"])
    graph = helper.make_graph([node], "product", [a], [y], [b])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (products,) = session.run(None, {"a": np.full((4, 8), 255, np.uint8)})
    return bool((products != 8 * 255 * 127).any())


SATURATED = ("forward", "zero-point", "channel-scale", "tie-rounding")
"""The checks that fail for ``onnxruntime-quantised:LSTM`` where pairs of products saturate."""


@pytest.mark.parametrize(
    ("name", "check", "dtype"), [row for rows in PASSES for row in product(*rows)]
)
def test_it_passes(name, check, dtype):
    """What a framework gets wrong on some processors alone has to fail there."""
    verdict = held(installed(name), check, dtype)

    expected = "passed"
    if name == "onnxruntime-quantised:LSTM" and check in SATURATED and pairs_saturate():
        expected = "failed"
    if name.startswith("keras:") and check == "gradient":
        expected = "passed" if keras.BACKEND in keras.WITH_GRADIENTS else "not supported"
    assert verdict.status == expected, verdict.message


@pytest.mark.parametrize(("name", "fields"), WRONG, ids=str)
def test_a_wrong_convention_fails(name, fields):
    """What the adapter states is what the layer does: each field is one that the outputs show."""
    right = installed(name)
    layer = right.subject if isinstance(right, Quantised) else right
    wrong = replace(layer, convention=replace(layer.convention, **fields))
    if isinstance(right, Quantised):
        wrong = replace(right, subject=wrong)

    assert held(wrong, "forward", case=ONE_CASE.get(family(name))).status == "failed"


def test_every_family_is_in_the_tables():
    """Those of PyTorch itself, and packages', are held in tests of their own."""
    tried = {family(name) for rows in PASSES for name in rows[0]} | {"executorch"}
    wrong = {family(name) for name, _ in WRONG}
    apart = (
        "torch_layers", "torch_backends", "torch_families", "packages", "linear_recurrences",
        "transformers_layers",
    )  # fmt: skip
    own = {name for name, each in frameworks.families().items() if each.file in apart}

    assert tried == wrong == BUDGETS.keys() == frameworks.families().keys() - own


def test_two_files_of_one_family_are_refused(tmp_path, monkeypatch):
    """One of them would be lost without a word."""
    for name in ("one", "other"):
        (tmp_path / f"{name}.py").write_text('FAMILIES = {"toy": ("numpy",)}\n')
    monkeypatch.setattr(frameworks, "__file__", str(tmp_path / "__init__.py"))

    with pytest.raises(ValueError, match=r"other.py: one.py has 'toy', too"):
        frameworks.families.__wrapped__()


@pytest.mark.parametrize(("source", "found"), [
    ('FAMILIES = {"toy": ("numpy",)}\n', {"toy": ("numpy",)}),
    ('FAMILIES: dict[str, tuple[str, ...]] = {\n    "toy": ("numpy",),\n}\n', {"toy": ("numpy",)}),
    ("INSTALL = 'a helper'\n", {}),
])  # fmt: skip
def test_families_are_read_from_the_source(source, found, tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text(source)
    monkeypatch.setattr(frameworks, "__file__", str(tmp_path / "__init__.py"))
    families = frameworks.families.__wrapped__()
    assert {name: each.packages for name, each in families.items()} == found


@pytest.mark.parametrize("literal", ['{NAME: ("numpy",)}', '{"toy": "numpy"}', '{"toy"}'])
def test_families_that_are_no_literal_are_told_with_their_file(literal, tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text(f"FAMILIES = {literal}\n")
    monkeypatch.setattr(frameworks, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ValueError, match=r"toy\.py: FAMILIES: expected a literal"):
        frameworks.families.__wrapped__()


def test_a_family_without_subjects_is_told_with_its_file():
    """Subjects of another family's name would else be known to nobody."""
    with pytest.raises(ValueError, match=r"ncps\.py: FAMILIES has 'toy', SUBJECTS none of it"):
        list(frameworks.Family("toy", "ncps", ("numpy",)).subjects())


@pytest.mark.parametrize(("name", "check", "dtype", "case", "status", "words"), [
    ("equinox:LSTM", "padding", None, None, "not supported", ""),
    # programs of so many steps take too long to make; steps on XNNPACK have no such limit
    ("executorch:RNN", "forward", None, replace(SMALL, T=13), "not supported",
     "more than 12 steps"),
    # numbers in the padding reach no gradient, but NaN does: 0 times NaN goes back
    ("flax-linen:LSTM", "padding", "float64", None, "failed", "gradient of .*nan"),
    ("ncnn:LSTM", "gradient", None, None, "not supported", "ncnn is for inference"),
    ("xlstm:LSTM", "padding", "float64", None, "not supported", "ignores them"),
], ids=str)  # fmt: skip
def test_what_a_framework_does_not_do_is_told(name, check, dtype, case, status, words):
    verdict = held(installed(name), check, dtype, case)
    assert verdict.status == status
    assert re.search(words, verdict.message)


@pytest.mark.parametrize(("name", "options", "dtype"), [
    ("executorch:RNN", {"bidirectional": True, "bias": False}, "float64"),
    ("executorch:LSTM", {"bidirectional": True, "P": 3}, "float64"),
    ("executorch:LSTM", {"layout": "batch-first", "state": False}, "float32"),
    ("executorch:GRU", {"bidirectional": True}, "float32"),
    ("executorch:RNN-xnnpack", {}, "float32"),
    ("executorch:LSTM-xnnpack", {"T": 20}, "float32"),
    ("executorch:GRU-xnnpack", {"bias": False}, "float32"),
])  # fmt: skip
def test_executorch_passes(name, options, dtype):
    verdict_is(held(installed(name), "forward", dtype, replace(SMALL, **options)), "passed")


@pytest.mark.parametrize(("name", "check", "changed", "message"), [
    ("executorch:LSTM", "forward", (executorch, "ARITHMETIC", ("conv",)), "delegates "),
    ("executorch:LSTM-xnnpack", "forward",
     (executorch, "ARITHMETIC", ("split_with_sizes_copy",)), "delegates "),
    ("flashrnn:LSTM", "gradient", (flashrnn, "BY_HAND", "PermuteBackward0"),
     "the gradient is that of"),
    ("flashrnn:LSTM-fwbw", "gradient", (flashrnn, "BY_HAND", "another"), "the gradient is that of"),
    ("ncps:LSTMCell", "forward",
     (ncps, "PARAMETERS", {"input_map.weight": "weight_hh", "recurrent_map.weight": "weight_ih"}),
     "expected the parameters"),
    ("torch-export:GRU", "forward", (torch_exported, "OPERATORS", {"GRU": "lstm"}),
     "expected one operator lstm, got ['gru']"),
])  # fmt: skip
def test_what_is_not_what_it_is_named_for_is_not_tested(name, check, changed, message, monkeypatch):
    monkeypatch.setattr(*changed)
    verdict_is(held(installed(name), check, case=SMALL), "not tested", message)


def test_a_backend_of_flashrnns_own_choice_is_not_tested():
    """FlashRNN takes the backend cuda where cuda_fused is asked for with a GRU."""
    other = replace(installed("flashrnn:GRU"), backend="cuda_fused")
    verdict = held(other, "forward", "float64", Case(3, 2, 3, 4))
    assert verdict.status == "not tested"
    assert verdict.message == "flashrnn chose gru, cuda"


def test_the_two_grus_of_flax_are_not_the_same():
    """The one of linen has b_hn, the one of nnx does not."""
    assert subject_named("flax-linen:GRU").convention.bias == ("rzn", "m")
    assert subject_named("flax-nnx:GRU").convention.bias == ("rzn",)


def test_keras_names_its_backend():
    assert f"({keras.BACKEND} " in installed("keras:LSTM").version()


@pytest.mark.skipif(keras.BACKEND == "tensorflow", reason="TensorFlow's float64 is one")
def test_keras_offers_no_float64_where_it_computes_in_float32():
    """The layers would return float64 arrays of float32 numbers."""
    right = installed("keras:RNN")
    assert right.dtypes == ("float32",)
    assert held(right, "forward", "float64").status == "failed"


def test_mlxs_gated_layers_do_not_compute_in_float64():
    """MLX's sigmoid has the accuracy of float32, which the claim of float64 would hide."""
    lstm = installed("mlx:LSTM")
    assert lstm.dtypes == ("float32",)
    assert held(replace(lstm, dtypes=BOTH), "forward", "float64").status == "failed"


def test_float64_arrays_stay_float64_in_mlx():
    """MLX makes float32 of NumPy's float64 arrays unless it is told not to."""
    subject, case = installed("mlx:RNN"), Case(3, 2, 2, 4)
    mx = pytest.importorskip("mlx.core")
    result = subject.build(case).forward(draw_inputs(subject, case))

    assert result.y.dtype == np.float64
    assert mx.array(result.y).dtype == mx.float32


@pytest.mark.parametrize("name", REFERENCE)
def test_the_onnx_reference_ignores_lengths(name):
    """That is why they are not offered; if this fails, offer them."""
    subject, case = installed(name), replace(PLAIN, lengths=True)
    inputs = draw_inputs(subject, case)
    built = subject.build(case)

    with_lengths, without = built.forward(inputs), built.forward(replace(inputs, lengths=None))
    np.testing.assert_array_equal(with_lengths.y, without.y)


def test_the_onnx_reference_ignores_input_forget():
    """So there is no coupled LSTM here: the forget gate's unused weights are read."""
    coupled, plain = subject_named("onnxruntime:LSTM-coupled"), installed("onnx-reference:LSTM")
    subject = replace(plain, convention=coupled.convention, operator=coupled.operator)
    assert held(subject, "forward", "float64", PLAIN).status == "failed"


OF_OTHER_SUBJECTS = {"parameters", "step", "step-gradient", "forms", "source", "in-graph"}


@pytest.mark.parametrize("check", [name for name in CHECKS if name not in OF_OTHER_SUBJECTS])
@pytest.mark.parametrize("name", ["onnxruntime:LSTM"])
def test_onnxruntimes_lstm_passes_what_it_offers(name, check):
    subject = installed(name)
    verdict = held(subject, check)
    missing = subject.options.missing(CHECKS[check].needs)

    assert verdict.status == ("not supported" if missing else "passed"), verdict.message
    assert verdict.message == (subject.options.why(missing) if missing else "")


def test_an_ignored_input_forget_shows():
    """The weights of the forget gate that nobody should read are ones."""
    subject = installed("onnxruntime:LSTM-coupled")
    ignoring = replace(subject, operator=replace(subject.operator, attributes={}))
    assert held(ignoring, "forward", case=PLAIN).status == "failed"


@pytest.mark.parametrize("name", RUNTIME)
def test_onnxruntimes_model_is_one_operator(name):
    """What is tested is the kernel, and nothing around it."""
    subject, onnx = installed(name), pytest.importorskip("onnx")
    model = subject.operator.model(onnx, ROWS, draw_inputs(subject, ROWS))

    assert [node.op_type for node in model.graph.node] == [subject.operator.kind]
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model))
    session = onnxruntime.session(model.SerializeToString())
    assert session.get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("name", RUNTIME)
def test_onnxruntime_has_no_kernels_for_float64(name):
    """The one dtype that it states is the one that there is; if this fails, offer both."""
    verdict = held(replace(installed(name), dtypes=BOTH), "smoke", "float64")
    assert verdict.status == "crashed"
    assert "double" in verdict.message or "NOT_IMPLEMENTED" in verdict.message


@pytest.mark.parametrize("name", ["onnxruntime:RNN", "onnxruntime:LSTM", "onnxruntime:GRU"])
def test_a_row_of_length_0_ends_in_zeros_in_onnxruntime(name):
    """That is why such rows are not offered; if this fails, offer them."""
    subject, case = installed(name), replace(ROWS, zero_length=True)
    inputs = draw_inputs(subject, case)
    empty = inputs.lengths == 0

    for state in subject.build(case).forward(inputs).final:
        assert np.all(state[:, empty] == 0)
        assert np.any(state[:, ~empty] != 0)


def test_another_precision_is_no_float32_of_openvino(monkeypatch):
    """A hint that was not taken, or not given, is not tested under the wrong name."""
    other = openvino.SETTINGS | {"INFERENCE_PRECISION_HINT": "f16"}
    monkeypatch.setattr(openvino, "SETTINGS", other)
    subject, case = installed("openvino:LSTM"), Case(3, 2, 4, 5, dtype="float32")

    with pytest.raises(SubjectUnavailable, match="expected precision f32"):
        subject.build(case).forward(draw_inputs(subject, case))


@pytest.mark.parametrize("name", ["paddle:RNN", "paddle:LSTM", "paddle:GRU"])
@pytest.mark.parametrize("options", [
    {"layers": 2, "bidirectional": True},
    {"layers": 2, "lengths": True, "zero_length": True},
    {"bidirectional": True, "lengths": True, "state": False},
], ids=str)  # fmt: skip
def test_paddles_gradients_pass_but_in_one_case(name, options):
    """Directions, lengths and initial states each; all three together are wrong in Paddle 3.3.1."""
    verdict_is(held(installed(name), "gradient", "float64", Case(5, 3, 2, 4, **options)), "passed")


def test_paddles_projected_layer_passes_with_all_options():
    """With proj_size Paddle loops in Python, and that loop's gradients are right."""
    case = Case(5, 3, 2, 4, P=3, layers=2, bidirectional=True, lengths=True)
    verdict_is(held(installed("paddle:LSTM"), "gradient", "float64", case), "passed")


def test_what_ends_paddles_process_is_not_offered():
    """Leaving out the bias and input of no steps; both with the reason."""
    options = subject_named("paddle:GRU").options
    assert not options.bias
    assert not options.no_steps
    assert {"bias", "no_steps"} <= dict(options.reasons).keys()


def test_exponential_gates_are_no_lstm_of_xlstm(monkeypatch):
    """Were the other function run in its place, the adapter would say so."""
    subject = installed("xlstm:LSTM")
    cell = pytest.importorskip("xlstm.blocks.slstm.cell")
    plain = cell.sLSTMCellConfig
    monkeypatch.setattr(
        cell, "sLSTMCellConfig", lambda **given: plain(**given | {"function": "slstm"})
    )
    verdict = held(subject, "forward", "float64", Case(3, 2, 3, 4))

    assert verdict.status == "not tested"
    assert verdict.message.startswith("xlstm made another cell than asked for")
