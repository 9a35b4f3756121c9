"""Recurrent operators of files of TensorFlow Lite: held with their own weights, or refused."""

import sys

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert runs files of TensorFlow Lite")

import tflite_files as files
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.models.departures import departures
from gatewise.verify.models.graph import ModelError
from gatewise.verify.models.inventory import inventory, read_model
from gatewise.verify.models.sources import layer_of_node, layers
from gatewise.verify.models.subject import node_named, own_case
from gatewise.verify.models.tflite import single
from gatewise.verify.models.variants import misread
from gatewise.verify.subjects.called import under_test
from gatewise.verify.subjects.protocol import SubjectUnavailable

D, H = 3, 4

ONE, BOTH = "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM"
RELU, RELU_N1_TO_1, RELU6, TANH = 1, 2, 3, 4
VARIETY = {
    "LSTM": (ONE, {}, {}),
    "steps first": (ONE, {}, {"timeMajor": True}),
    "peepholes": (ONE, {"more": "p"}, {}),
    "projection": (ONE, {"P": 2}, {}),
    "projection and peepholes": (ONE, {"P": 2, "more": "p"}, {"projClip": 0.1}),
    "layer norm": (ONE, {"more": "s"}, {}),
    "layer norm of everything": (ONE, {"more": "ps", "P": 2, "coupled": True}, {"cellClip": 0.3}),
    "coupled": (ONE, {"coupled": True}, {}),
    "coupled peepholes": (ONE, {"coupled": True, "more": "p"}, {}),
    "ReLU": (ONE, {}, {"fusedActivationFunction": RELU}),
    "ReLU6 and its clip": (ONE, {}, {"fusedActivationFunction": RELU6, "cellClip": 0.5}),
    "the cell of a step": ("LSTM", {"more": "p"}, {}),
    "two directions": (BOTH, {}, {"timeMajor": True}),
    "two directions, rows first": (BOTH, {"P": 2, "more": "p"}, {"mergeOutputs": False}),
    "RNN": ("UNIDIRECTIONAL_SEQUENCE_RNN", {}, {}),
    "RNN, hard": ("UNIDIRECTIONAL_SEQUENCE_RNN", {},
                  {"timeMajor": True, "fusedActivationFunction": RELU_N1_TO_1}),
    "the step of an RNN": ("RNN", {}, {"fusedActivationFunction": RELU}),
    "RNN in two directions": ("BIDIRECTIONAL_SEQUENCE_RNN", {}, {"timeMajor": True}),
}  # fmt: skip


def written(path, name, **options):
    """Write a file of one node, ``a``, of some variety."""
    operator, given, own = VARIETY[name]
    kind = "LSTM" if "LSTM" in operator else "RNN"
    passes = [files.layer(kind, D, H, seed=k, **given) for k in range(1 + ("BI" in operator))]
    return files.written(path, [files.Node("a", operator, passes, {**own, **options})])


def forward(subject, **changes):
    """Return how far a subject's outputs are off, in units of what rounding explains."""
    case = Case(**{**vars(own_case(subject.node)), "T": 3, "B": 2, "seed": 7, **changes})
    ledger = check_named("forward").run(under_test(subject), case)
    return max(c.ratio for c in ledger.comparisons)


@pytest.mark.parametrize("name", VARIETY)
def test_an_operator_with_its_own_options_is_what_the_equations_say(tmp_path, name):
    subject = node_named(f"{written(tmp_path / 'm.tflite', name)}#a")

    assert 0 < forward(subject) <= 1
    assert 0 < forward(subject, T=1, B=1, seed=8) <= 1
    assert 0 < forward(subject, state=False, seed=9) <= 1
    # What a diagnosis asks for: drawn weights, of other widths, in one direction.
    assert 0 < forward(subject, D=D + 1, H=H + 2, bidirectional=False, seed=10) <= 1


def test_weights_of_float16_are_widened(tmp_path):
    narrow = {n: a.astype(np.float16) for n, a in files.layer("LSTM", D, H).items()}
    path = files.written(tmp_path / "m.tflite", [files.Node("a", ONE, [narrow])])
    subject = node_named(f"{path}#a")
    (node,) = inventory(read_model(path))

    np.testing.assert_array_equal(node.weights["W"][0, 2 * H : 3 * H], narrow["W_f"])
    assert node.dtype == "float32"
    assert 0 < forward(subject) <= 1


# Mistakes of whoever wrote a file, each found in its node, and named.

LAYERS = {"first": ONE, "second": ONE, "third": "UNIDIRECTIONAL_SEQUENCE_RNN", "both": BOTH}
SOURCE = {
    name: [files.layer("RNN" if "RNN" in operator else "LSTM", D, H, seed=10 * k + d)
           for d in range(1 + ("BI" in operator))]
    for k, (name, operator) in enumerate(LAYERS.items())
}  # fmt: skip


def exported(path, wrong="", change=None, options=None, *, rows=2, variable=True):
    """Write the file of all layers, one of them changed; return its path."""
    nodes = []
    for name, operator in LAYERS.items():
        # Merged, with rows first, LiteRT 2.3.0 writes past the states of its first row.
        passes, own = SOURCE[name], {"mergeOutputs": False} if name == "both" else {}
        if name == wrong:
            passes = change([dict(each) for each in passes]) if change else passes
            own = own | (options or {})
        mine = name == wrong
        nodes.append(files.Node(name, operator, passes, own, rows if mine else 2,
                                variable or not mine))  # fmt: skip
    return files.written(path, nodes, x_major=False)


def departures_of(path, source):
    own = [layer_of_node(n) for n in inventory(read_model(path))]
    return {layer.name: departures(k, own, layers(str(source))) for k, layer in enumerate(own)}


def gates(letter, order):
    """Return what writes the gates of an array in another order."""

    def change(passes):
        blocks = [passes[0][f"{letter}_{g}"] for g in order]
        return [passes[0] | {f"{letter}_{g}": b for g, b in zip("ifco", blocks, strict=True)}]

    return change


def set_to(**arrays):
    return lambda passes: [passes[0] | arrays, *passes[1:]]


def peepholes(passes):
    return [passes[0] | {f"p_{g}": np.full(H, 0.5, np.float32) for g in "ifo"}]


PLANTED = {
    "gates of the input": ("first", gates("W", "ifoc"), {},
                           "The gates of W stand in the order i, f, o, c; TensorFlow Lite reads "
                           "them as i, f, c, o."),
    "gates of the state": ("second", gates("U", "cofi"), {},
                           "The gates of R stand in the order c, o, f, i; TensorFlow Lite reads"),
    "another node's weights": ("second", lambda _: SOURCE["first"], {},
                               "It has the weights of first, where those of second belong."),
    "bias dropped": ("first", set_to(b_f=np.zeros(H, np.float32)), {},
                     "The bias of gate f is missing in the file."),
    "forget bias": ("first", set_to(b_f=SOURCE["first"][0]["b_f"] + 1), {},
                    "The bias of gate f is the source's and +1."),
    "negated": ("third", set_to(U_a=-SOURCE["third"][0]["U_a"]), {},
                "R is the source's with the other sign."),
    "directions": ("both", lambda passes: passes[::-1], {},
                   "its forward and its reverse direction are exchanged."),
    "activation": ("third", None, {"fusedActivationFunction": RELU},
                   "Its activations are Relu, the source's Tanh."),
    "cell clip": ("first", None, {"cellClip": 0.5},
                  "It clips at 0.5 (of the cell state), and the source does not."),
    "converter's clip": ("first", None, {"cellClip": 10.0}, "Its cell_clip is 10, the source's 0."),
    "peepholes": ("first", peepholes, {}, "P stands in the file, and the source has none."),
    "no input gate": ("first", lambda passes: [{n: a for n, a in passes[0].items()
                                                if not n.endswith("_i")}], {},
                      "Its gates are coupled, f = 1 - i"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_named_in_its_node(tmp_path, name):
    wrong, change, options, words = PLANTED[name]
    source = exported(tmp_path / "source.tflite")
    found = departures_of(exported(tmp_path / "m.tflite", wrong, change, options), source)

    assert words in " ".join(d.statement for d in found.pop(wrong))
    assert not any(found.values())


def test_what_is_missing_in_a_file(tmp_path):
    source = files.Node("a", ONE, [files.layer("LSTM", D, H, more="ps", P=H)])
    lost = {n: a for n, a in source.passes[0].items() if n[0] not in "psR"}
    paths = [files.written(tmp_path / f"{name}.tflite", [node]) for name, node in
             (("source", source), ("m", files.Node("a", ONE, [lost])))]  # fmt: skip
    found = departures_of(paths[1], paths[0])["a"]

    assert [d.statement for d in found] == [
        "The source has peepholes, and the file has none.",
        "The source has projection, and the file has none.",
        "The source has layer norm, and the file has none.",
    ]


def test_a_file_holds_the_layer_of_pytorch_that_it_was_exported_from(tmp_path):
    rng = np.random.default_rng(5)
    shapes = {"weight_ih": (4 * H, D), "weight_hh": (4 * H, H), "bias_ih": (4 * H,),
              "bias_hh": (4 * H,)}  # fmt: skip
    torch = {f"{n}_l0": rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    np.savez(tmp_path / "w.npz", **torch)
    node = files.Node("a", ONE, [files.of_torch("LSTM", torch)], {"cellClip": 10.0})

    assert not departures_of(files.written(tmp_path / "m.tflite", [node]), tmp_path / "w.npz")["a"]


# Nodes that are not held, each with the reason; files that nobody vouches for.


def problem(path):
    (node,) = [n for n in inventory(read_model(path)) if n.name == "first"]
    return node.problem


def test_a_state_that_is_fixed_and_a_flag_that_is_wrong_are_named(tmp_path):
    fixed = exported(tmp_path / "a.tflite", "first", variable=False)
    flag = exported(tmp_path / "b.tflite", "first", None, {"timeMajor": True})
    assert "its state 'first/h/0' is fixed in the file, and no variable" in problem(fixed)
    assert problem(flag).startswith("with time_major = true its input [2, 3, 3] has 3 rows, and ")


def test_quantised_weights_are_listed_and_not_held(tmp_path):
    passes = [{n: a.astype(np.int8) for n, a in SOURCE["first"][0].items()}]
    path = files.written(tmp_path / "m.tflite", [files.Node("first", ONE, passes)])
    assert problem(path).startswith(
        "it is quantised (INT8; its weights alone are): check the float"
    )


def broken(data):
    """Yield files that are none: cut, with offsets that point anywhere, of something else."""
    yield b""
    yield b"hello, I am no model"
    yield data[: len(data) // 2]
    yield data[:8]
    rng = np.random.default_rng(0)
    for _ in range(60):
        changed = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(8, len(data), 12)
        changed[places] = rng.integers(0, 256, 12)
        yield changed.tobytes()


def test_broken_files_are_read_or_refused_in_a_sentence(tmp_path):
    path = exported(tmp_path / "m.tflite")
    refused = []
    for data in list(broken(path.read_bytes())):
        path.write_bytes(data)
        try:
            inventory(read_model(path))
        except ModelError as error:
            refused.append(str(error))

    assert len(refused) >= 20
    assert all(said.startswith(f"{path}: ") and "\n" not in said for said in refused)


def test_buffers_outside_of_the_file_and_custom_operators(tmp_path):
    path = exported(tmp_path / "m.tflite")
    model = read_model(path)
    tensor = next(t for t in model.model.subgraphs[0].tensors if t.name == b"first/W_i/0")
    buffer = model.model.buffers[tensor.buffer]
    buffer.data, buffer.offset, buffer.size = None, 10**6, tensor.shape[0] * 4 * D
    code = model.model.operatorCodes[1]
    code.builtinCode = code.deprecatedBuiltinCode = 32
    code.customCode = b"MyGRU"
    problems = {n.name: n.problem for n in inventory(model)}

    assert problems["first"] == "tensor 'first/W_i/0' lies outside of the file"
    assert problems["third"] == "MyGRU is a custom operator: it is not supported"


# Steps that were unrolled, also in the body of a loop.


def torch_arrays(kind, seed=3, H=H):
    """Return the arrays of a layer under PyTorch's names."""
    rng, gates = np.random.default_rng(seed), {"LSTM": 4, "GRU": 3}[kind]
    shapes = {"weight_ih": (gates * H, D), "weight_hh": (gates * H, H), "bias_ih": (gates * H,),
              "bias_hh": (gates * H,)}  # fmt: skip
    return {f"{n}_l0": rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("loop", [False, True])
def test_an_unrolled_step_is_recognised_and_held(tmp_path, kind, loop):
    units = D if loop else H  # of D units h cannot be told from x by the widths of its weights
    own = torch_arrays(kind, H=units)
    np.savez(tmp_path / "w.npz", **own)
    path = files.unrolled(tmp_path / "m.tflite", kind, own, steps=1 if loop else 2, loop=loop)
    (node,) = inventory(read_model(path))
    subject = node_named(f"{path}#{node.name}")

    assert (node.kind, node.problem, node.D, node.H) == (kind, "", D, units)
    assert node.path == ("graph 2/" if loop else "")
    assert 0 < forward(subject) <= 1
    found = departures_of(path, tmp_path / "w.npz")[node.name]
    assert [d.kind for d in found] == ([] if loop else ["steps"])


def test_a_step_whose_input_is_multiplied_before_all_steps(tmp_path):
    own = torch_arrays("LSTM", H=D)
    np.savez(tmp_path / "w.npz", **own)
    shapes = {"h": (1, D), "c": (1, D), "x": (1, 4, D)}
    np.savez(tmp_path / "in.npz", **{n: np.ones(s, np.float32) for n, s in shapes.items()})
    path = files.multiplied_before(tmp_path / "m.tflite", own, steps=4)
    (node,) = inventory(read_model(path))
    subject = node_named(f"{path}#{node.name}", inputs=str(tmp_path / "in.npz"))

    assert (node.kind, node.problem, node.steps) == ("LSTM", "", 4)
    assert 0 < forward(subject) <= 1
    assert [d.kind for d in departures_of(path, tmp_path / "w.npz")[node.name]] == ["steps"]
    assert "its input is multiplied outside of the step" in subject.unseen


def test_a_product_with_columns_moved_about_is_none_of_a_step(tmp_path):
    path = files.multiplied_before(tmp_path / "m.tflite", torch_arrays("LSTM"), 3, turned=True)
    assert not [node for node in inventory(read_model(path)) if not node.problem]


def test_gates_that_make_no_step_are_told(tmp_path):
    path = files.unrolled(tmp_path / "m.tflite", "LSTM", torch_arrays("LSTM"))
    model = read_model(path)
    last = model.model.subgraphs[0].operators
    last[-1].inputs = last[-2].inputs  # o times c, where tanh(c) should be
    (node,) = inventory(model)

    assert node.problem.startswith("not recognised: ")


def test_activations_in_the_running_graph(tmp_path):
    rng = np.random.default_rng(2)
    np.savez(tmp_path / "in.npz", x=rng.standard_normal((2, 5, D)))
    path = exported(tmp_path / "m.tflite")
    check = check_named("in-graph")
    for name in LAYERS:
        subject = node_named(f"{path}#{name}", inputs=str(tmp_path / "in.npz"))
        assert not subject.unseen
        ((inputs, result),) = subject.calls_in_graph
        assert inputs.x.shape == (5, 2, D)
        assert result.y.shape[:2] == (5, 2)
        ledger = check.run(under_test(subject), own_case(subject.node))
        assert 0 < max(c.ratio for c in ledger.comparisons) <= 1


def test_activations_of_unrolled_steps_and_of_loops(tmp_path):
    own, rng = torch_arrays("LSTM"), np.random.default_rng(2)
    shapes = {"h": (1, H), "c": (1, H), "x0": (1, D)}
    np.savez(tmp_path / "in.npz", **{n: rng.standard_normal(s) for n, s in shapes.items()})
    path = files.unrolled(tmp_path / "m.tflite", "LSTM", own)
    (node,) = inventory(read_model(path))
    subject = node_named(f"{path}#{node.name}", inputs=str(tmp_path / "in.npz"))
    loop = files.unrolled(tmp_path / "loop.tflite", "LSTM", own, loop=True)
    (inside,) = inventory(read_model(loop))

    ledger = check_named("in-graph").run(under_test(subject), own_case(subject.node))
    assert 0 < max(c.ratio for c in ledger.comparisons) <= 1
    assert (
        "it stands in the graph of a loop"
        in node_named(f"{loop}#{inside.name}", inputs=str(tmp_path / "in.npz")).unseen
    )


IGNORED = {
    "ReLU6 and its clip": ("cellClip", 0.0, "It ignores cell_clip."),
    "projection and peepholes": ("projClip", 0.0, "It ignores proj_clip."),
    "RNN, hard": ("fusedActivationFunction", TANH, "It ignores the fused activation"),
}


@pytest.mark.parametrize("name", IGNORED)
def test_an_option_that_a_runtime_ignores_is_named(tmp_path, monkeypatch, name):
    subject = node_named(f"{written(tmp_path / 'm.tflite', name)}#a")
    cases = [Case(**{**vars(own_case(subject.node)), "T": 4, "B": 2, "seed": k}) for k in (1, 2)]
    option, usual, words = IGNORED[name]
    operator = single._operator

    def ignoring(node, case):
        name, options = operator(node, case)
        setattr(options, option, usual)
        return name, options

    assert misread(subject, cases, subject.operation) is None
    monkeypatch.setattr(single, "_operator", ignoring)
    found = misread(subject, cases, subject.operation)

    assert found is not None
    assert found.statements[0].startswith(words)


def test_what_installs_the_schema_is_said_where_it_is_missing(tmp_path, monkeypatch):
    path = written(tmp_path / "m.tflite", "LSTM")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.schema_py_generated", None)
    with pytest.raises(SubjectUnavailable, match="install it with: pip install ai-edge-litert"):
        read_model(path)
