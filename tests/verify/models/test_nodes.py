"""What is read from model files: nodes wherever they stand, unrolled steps, and hostile files."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx reads model files")
pytest.importorskip("onnxruntime", reason="onnxruntime runs model files")
torch = pytest.importorskip("torch", reason="torch exports model files")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import model_files as files  # noqa: E402
import unrolled  # noqa: E402
from gatewise.verify.cases.case import Case  # noqa: E402
from gatewise.verify.checks import check_named  # noqa: E402
from gatewise.verify.models.graph import ModelError, read  # noqa: E402
from gatewise.verify.models.inventory import inventory  # noqa: E402
from gatewise.verify.models.runtimes import RUNTIMES  # noqa: E402
from gatewise.verify.models.subject import Name, node_named, own_case  # noqa: E402
from gatewise.verify.models.variants import misread, operation_of  # noqa: E402
from gatewise.verify.subjects.called import SubjectCrashed, under_test  # noqa: E402
from gatewise.verify.subjects.loader import UnknownSubject  # noqa: E402
from gatewise.verify.subjects.protocol import SubjectUnavailable  # noqa: E402

D, H = 3, 4


def weights(kind="LSTM", **options):
    return files.onnx_weights(kind, files.torch_layer(kind, D, H, **options))


def written(path, nodes, **options):
    return files.written(Path(path), nodes, D=D, H=H, **options)


def forward(subject, **changes):
    """Return how far a subject's outputs are off, in units of what rounding explains."""
    case = own_case(subject.node)
    sizes = {"T": 3, "B": 2, "lengths": bool(subject.node.lengths), "seed": 7}
    case = Case(**{**vars(case), **sizes, **changes})
    ledger = check_named("forward").run(under_test(subject), case)
    return max(c.ratio for c in ledger.comparisons)


VARIETY = {
    "LSTM": ("LSTM", {}),
    "LSTM with a state": ("LSTM", {"state": True}),
    "LSTM in two directions": ("LSTM", {"direction": "bidirectional"}),
    "GRU": ("GRU", {"state": True}),
    "GRU that resets before": ("GRU", {"linear_before_reset": 0}),
    "GRU from the end": ("GRU", {"direction": "reverse", "state": True}),
    "RNN of ReLU": ("RNN", {"activations": ["Relu"]}),
    "coupled": ("LSTM", {"input_forget": 1}),
    "clipped": ("LSTM", {"clip": 0.5}),
    "clipped GRU": ("GRU", {"clip": 0.3}),
    "hard": ("LSTM", {"activations": ["HardSigmoid", "Tanh", "Softsign"],
                      "activation_alpha": [0.25], "activation_beta": [0.4]}),
    "leaky": ("RNN", {"activations": ["LeakyRelu"], "activation_alpha": [0.1]}),
    "exponential": ("RNN", {"activations": ["Elu"], "activation_alpha": [0.7]}),
    "scaled": ("RNN", {"activations": ["ScaledTanh"], "activation_alpha": [0.7],
                       "activation_beta": [1.3]}),
    "soft": ("RNN", {"activations": ["Softplus"]}),
    "above a threshold": ("RNN", {"activations": ["ThresholdedRelu"], "activation_alpha": [0.2]}),
    "affine": ("RNN", {"activations": ["Affine"], "activation_alpha": [0.2],
                       "activation_beta": [0.1]}),
}  # fmt: skip
"""Nodes of every kind of attribute, as ONNX Runtime runs them."""


@pytest.mark.parametrize("name", VARIETY)
def test_a_node_with_its_own_attributes_is_what_the_equations_say(tmp_path, name):
    kind, attributes = VARIETY[name]
    both = attributes.get("direction") == "bidirectional"
    node = files.node("a", kind, weights(kind, both=both), **attributes)
    path = written(tmp_path / "m.onnx", [node])
    subject = node_named(f"{path}#a")

    assert 0 < forward(subject) <= 1
    assert 0 < forward(subject, T=1, seed=8) <= 1


def test_lengths_and_peepholes(tmp_path):
    node, stored = files.node("a", "LSTM", weights())
    node.input.extend(["P"])
    node.input[4] = "lens"
    stored.append(numpy_helper.from_array(np.linspace(-1, 1, 3 * H, dtype=np.float32)[None], "P"))
    lens = files.value("lens", ["B"], TensorProto.INT32)
    subject = node_named(f"{written(tmp_path / 'm.onnx', [(node, stored)], inputs=[lens])}#a")

    assert subject.node.lengths == "input lens"
    assert subject.cells == ("lstm-peephole",)
    assert "padding" in subject.held_to
    assert 0 < forward(subject) <= 1


def test_weights_that_are_put_together_in_the_graph(tmp_path):
    layer = files.torch_layer("LSTM", D, H)
    arrays = files.onnx_weights("LSTM", layer)
    node, stored = files.node("a", "LSTM", arrays)
    node.input[1] = "joined"
    lower, upper = (numpy_helper.from_array(a, n) for a, n in
                    zip(np.split(arrays["W"][0], 2), ("lower", "upper"), strict=True))  # fmt: skip
    made = [
        (helper.make_node("Concat", ["lower", "upper"], ["flat"], axis=0), [lower, upper]),
        (helper.make_node("Unsqueeze", ["flat", "axes"], ["joined"]),
         [numpy_helper.from_array(np.array([0]), "axes")]),
        (node, stored),
    ]  # fmt: skip
    (found,) = inventory(read(written(tmp_path / "m.onnx", made)))

    np.testing.assert_array_equal(found.weights["W"], arrays["W"])
    assert found.stored["W"] == "lower"


def test_weights_of_eight_bits_that_the_graph_dequantises(tmp_path):
    arrays = weights()
    scale = np.float32(np.abs(arrays["W"]).max() / 127)
    grid = np.rint(arrays["W"] / scale).astype(np.int8)
    node, stored = files.node("a", "LSTM", arrays)
    node.input[1] = "floats"
    given = {"grid": grid, "scale": scale, "zero": np.int8(0)}
    made = (helper.make_node("DequantizeLinear", [*given], ["floats"]),
            [numpy_helper.from_array(np.asarray(a), n) for n, a in given.items()])  # fmt: skip
    path = written(tmp_path / "m.onnx", [made, (node, stored)])
    (node_read,) = inventory(read(path))

    np.testing.assert_array_equal(node_read.weights["W"], grid * scale)
    assert forward(node_named(f"{path}#a")) <= 1


def test_a_constant_that_sums_would_make_huge_is_not_made(tmp_path):
    node, stored = files.node("a", "LSTM", weights())
    node.input[1] = "sum"
    made = [(helper.make_node(kind, ["x0", "x1"], ["sum"]),
             [numpy_helper.from_array(np.zeros(shape, np.float32), name)
              for name, shape in (("x0", (2**14, 1)), ("x1", (2**14,)))])
            for kind in ("Add",)]  # fmt: skip
    (refused,) = inventory(read(written(tmp_path / "m.onnx", [*made, (node, stored)])))

    assert "makes a constant of 268435456 entries" in refused.problem


def test_a_node_that_a_runtime_does_not_take_names_others(tmp_path):
    node = files.node("a", "GRU", weights("GRU"), layout=1)
    path = written(tmp_path / "m.onnx", [node])

    with pytest.raises(SubjectCrashed, match="another may: --runtime onnx-reference or"):
        forward(node_named(f"{path}#a"), layout="batch-first")


def nested(node, stored):
    """Return If around Loop around a node."""
    body = helper.make_graph(
        [node, helper.make_node("Identity", ["go"], ["on"])], "body",
        [files.value("n", [], TensorProto.INT64), files.value("go", [], TensorProto.BOOL)],
        [files.value("on", [], TensorProto.BOOL), files.value(node.output[0])], stored,
    )  # fmt: skip
    loop = helper.make_node("Loop", ["rounds", "choice"], ["all"], name="loop", body=body)
    rounds = numpy_helper.from_array(np.array(2), "rounds")
    then = helper.make_graph([loop], "then", [], [files.value("all")], [rounds])
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same"])], "other", [], [files.value("same")]
    )
    choice = helper.make_node(
        "If", ["choice"], ["y"], name="if", then_branch=then, else_branch=other
    )
    return choice, [numpy_helper.from_array(np.array(True), "choice")]


def test_nodes_inside_of_if_loop_and_functions(tmp_path):
    inside = nested(*files.node("inner", "GRU", weights("GRU")))
    node, stored = files.node("body", "LSTM", weights())
    node.input[1:4] = ["W", "R", "B"]
    function = helper.make_function(
        "own", "Cell", ["x", "W", "R", "B"], ["body.Y"], [node], [helper.make_opsetid("", 17)]
    )
    call = helper.make_node(
        "Cell", ["x", "body.W", "body.R", "body.B"], ["z"], domain="own", name="call"
    )
    path = written(tmp_path / "m.onnx", [inside, (call, stored)], functions=[function])
    found = {node.name: node for node in inventory(read(path))}

    assert {name: node.path for name, node in found.items()} == {
        "inner": "if.then_branch/loop.body/", "body": "call/",
    }  # fmt: skip
    assert not any(node.problem for node in found.values())
    assert forward(node_named(f"{path}#inner")) <= 1
    assert forward(node_named(f"{path}#body")) <= 1


@pytest.mark.parametrize("which", ["body", "call 2/body"])
def test_what_reaches_a_node_in_a_function(tmp_path, which):
    """The function has two calls, one of which leaves its second output out."""
    node, stored = files.node("body", "LSTM", weights())
    node.input[1:4] = ["W", "R", "B"]
    twice = helper.make_node("Add", ["body.Y", "body.Y"], ["twice"])
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function(
        "own", "Cell", ["x", "W", "R", "B"], ["body.Y", "twice"], [node, twice], opsets
    )
    given = ["body.W", "body.R", "body.B"]
    first = helper.make_node("Cell", ["x", *given], ["z", "zz"], domain="own", name="call 1")
    second = helper.make_node("Cell", ["x2", *given], ["u"], domain="own", name="call 2")
    double = helper.make_node("Add", ["x", "x"], ["x2"])
    path = written(tmp_path / "m.onnx", [(first, stored), (double, []), (second, [])],
                   functions=[function], outputs=[files.value("z"), files.value("u")])  # fmt: skip
    names = [n.name for n in inventory(read(path))]
    x = np.random.default_rng(3).standard_normal((5, 2, D)).astype(np.float32)
    subject = in_graph(path, names["2/" in which], x=x)
    assert not subject.unseen
    ((inputs, _),) = subject.calls_in_graph
    ledger = check_named("in-graph").run(under_test(subject), own_case(subject.node))

    np.testing.assert_array_equal(inputs.x, 2 * x if "2/" in which else x)
    assert 0 < max(c.ratio for c in ledger.comparisons) <= 1


def in_graph(path, node, **inputs):
    np.savez(path.parent / "in.npz", **inputs)
    return node_named(f"{path}#{node}", inputs=str(path.parent / "in.npz"))


def test_what_reaches_a_node_in_the_running_graph(tmp_path):
    x = np.linspace(-1, 1, 5 * 2 * D, dtype=np.float32).reshape(5, 2, D)
    reversed_node = files.node("end", "RNN", weights("RNN"), direction="reverse")
    inside = nested(*files.node("inner", "GRU", weights("GRU"), x="end.input"))
    twice = (helper.make_node("Add", ["x", "x"], ["end.input"]), [])
    path = written(tmp_path / "m.onnx", [twice, reversed_node, inside])

    inner, end = in_graph(path, "inner", x=x), in_graph(path, "end", x=x)

    np.testing.assert_array_equal(inner.content.calls[0]["x"], 2 * x)
    np.testing.assert_array_equal(inner.content.calls[1]["x"], 2 * x)  # two rounds of the loop
    assert inner.content.calls[0]["y"].shape == (5, 2, H)
    np.testing.assert_array_equal(end.content.calls[0]["x"], x[::-1])
    assert "in-graph" in inner.held_to


def test_a_branch_that_was_not_taken_is_said(tmp_path):
    choice, stored = nested(*files.node("inner", "GRU", weights("GRU")))
    no = [numpy_helper.from_array(np.array(False), "choice")]
    path = written(tmp_path / "m.onnx", [(choice, no)])
    subject = in_graph(path, "inner", x=np.ones((2, 1, D), np.float32))

    assert stored
    assert subject.unseen == (
        "its own inputs are not available: the branch in which it stands was not taken, or it had "
        "no steps"
    )


@pytest.mark.parametrize(("inputs", "words"), [
    ({"y": np.ones(2)}, "no x; the model's inputs are x"),
    ({"x": np.ones((2, 1, D), int)}, "x is int64, expected float32"),
    ({"x": np.ones((2, 1, D)), "z": np.ones(1)}, "z; the model's inputs are x"),
])  # fmt: skip
def test_inputs_that_are_not_the_models(tmp_path, inputs, words):
    path = written(tmp_path / "m.onnx", [files.node("a", "RNN", weights("RNN"))])
    with pytest.raises(UnknownSubject, match=words):
        in_graph(path, "a", **inputs)


# Steps that an exporter has unrolled.


def unrolled_file(tmp_path, step, layer, *, count=2, **options):
    """Write so many steps; the state comes in as h and c."""
    nodes, state = [], {"h": "h", "c": "c"}
    for t in range(count):
        states = [state["h"], state["c"]] if step is unrolled.lstm else [state["h"]]
        made, stored = step(f"s{t}", layer, f"x{t}", *states, **options)
        state = {"h": f"s{t}.new_h", "c": f"s{t}.new_c"}
        known = {"one"} if t else set()
        nodes += [(node, []) for node in made[:-1]]
        nodes.append((made[-1], [s for s in stored if s.name not in known]))
    given = [files.value(name, ["B", D]) for name in (f"x{t}" for t in range(count))]
    given += [files.value(name, ["B", H]) for name in ("h", "c")]
    return files.written(
        tmp_path / "u.onnx", nodes, inputs=given, outputs=[files.value(state["h"])]
    )


def test_the_steps_of_an_lstm_are_recognised(tmp_path):
    layer = files.torch_layer("LSTM", D, H)
    path = unrolled_file(tmp_path, unrolled.lstm, layer)
    (node,) = inventory(read(path))
    want = files.onnx_weights("LSTM", layer)

    assert (node.kind, node.steps, node.problem) == ("LSTM", 2, "")
    np.testing.assert_array_equal(node.weights["W"], want["W"])
    np.testing.assert_array_equal(node.weights["R"], want["R"])
    np.testing.assert_allclose(node.weights["B"][:, : 4 * H], want["B"][:, : 4 * H]
                               + want["B"][:, 4 * H :], rtol=1e-6)  # fmt: skip
    assert 0 < forward(node_named(f"{path}#{node.name}")) <= 1


@pytest.mark.parametrize(("step", "blend"), [
    *((unrolled.gru, {"blend": blend}) for blend in unrolled.BLENDS), (unrolled.gru_before, {}),
])  # fmt: skip
def test_the_steps_of_a_gru_are_recognised(tmp_path, step, blend):
    layer = files.torch_layer("GRU", D, H)
    path = unrolled_file(tmp_path, step, layer, **blend)
    (node,) = inventory(read(path))

    assert (node.kind, node.reset_after) == ("GRU", step is unrolled.gru)
    assert (node.problem, node.takes_new) == ("", blend == {"blend": "takes new"})
    np.testing.assert_array_equal(node.weights["R"], files.onnx_weights("GRU", layer)["R"])
    assert 0 < forward(node_named(f"{path}#{node.name}")) <= 1


class ChunkedLSTM(torch.nn.Module):
    """An LSTM of two steps that splits what it sums up."""

    def __init__(self):
        super().__init__()
        self.of_x, self.of_h = torch.nn.Linear(D, 4 * H), torch.nn.Linear(H, 4 * H, bias=False)

    def forward(self, x, h, c):
        for x_t in x.unbind():
            i, f, g, o = (self.of_x(x_t) + self.of_h(h)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h


class ChunkedGRU(torch.nn.Module):
    """A GRU of two steps that applies sigma to both gates at once; ``resets`` or reads h."""

    def __init__(self, resets=True):
        super().__init__()
        self.gates, self.new = torch.nn.Linear(D + H, 2 * H), torch.nn.Linear(D + H, H)
        self.resets = resets

    def forward(self, x, h, c):
        for x_t in x.unbind():
            r, z = self.gates(torch.cat([x_t, h], -1)).sigmoid().chunk(2, -1)
            reset = r * h if self.resets else h
            h = (1 - z) * h + z * self.new(torch.cat([x_t, reset], -1)).tanh()
        return h


def exported(path, module):
    """Write a module as PyTorch exports it, for any number of rows."""
    x, h = torch.randn(2, 3, D), torch.randn(3, H)
    axes = {"x": {1: "B"}, "h": {0: "B"}, "c": {0: "B"}}
    torch.onnx.export(module, (x, h, h), path, dynamo=False, dynamic_axes=axes,
                      input_names=["x", "h", "c"])  # fmt: skip
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("module", "weight"), [
    (ChunkedLSTM, lambda m: m.of_x.weight), (ChunkedGRU, lambda m: m.gates.weight[:, :D]),
])  # fmt: skip
def test_what_torch_splits_at_places_computed_from_a_shape_is_recognised(tmp_path, module, weight):
    layer = module()
    path = exported(tmp_path / "u.onnx", layer)
    (node,) = inventory(read(path))
    rows = np.split(weight(layer).detach().numpy(), 4 if module is ChunkedLSTM else 2)

    assert (node.steps, node.problem) == (2, "")
    first = rows[0] if module is ChunkedLSTM else rows[1]  # ONNX's GRU has z first
    np.testing.assert_array_equal(node.weights["W"][0, :H], first)
    assert 0 < forward(node_named(f"{path}#{node.name}")) <= 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_gates_that_are_split_after_their_activation_are_told_where_they_make_no_step(tmp_path):
    (node,) = inventory(read(exported(tmp_path / "u.onnx", ChunkedGRU(resets=False))))
    assert node.problem.startswith("not recognised: 2 gates")


def test_a_length_that_is_not_fixed_is_no_constant(tmp_path):
    """The number of rows is that of each call; the width is in the file."""
    nodes = [helper.make_node("Shape", ["x"], ["shape"], name="shape")]
    stored = [numpy_helper.from_array(np.array([k]), n) for n, k in (("first", 0), ("last", 1))]
    nodes += [helper.make_node("Gather", ["shape", n], [f"{n} length"]) for n in ("first", "last")]
    ends = [files.value("x", ["B", D])], [files.value("last length")]
    graph = helper.make_graph(nodes, "lengths", *ends, stored)
    path = tmp_path / "m.onnx"
    onnx.save_model(helper.make_model(graph), path)
    scope = read(path).main

    assert scope.constant("first length") is None
    assert scope.constant("last length").tolist() == [D]


def test_a_step_in_a_scan_with_one_product_of_input_and_state(tmp_path):
    layer = files.torch_layer("LSTM", H, H)  # D = H: the loop alone says which is the state
    made, stored = unrolled.joint_lstm("s", layer, "row", "h", "c")
    made += [helper.make_node("Identity", [f"s.new_{n}"], [n + "1"]) for n in "hc"]
    made.append(helper.make_node("Identity", ["s.new_h"], ["each"]))
    sizes = [files.value(name, ["B", H]) for name in ("h", "c", "row")]
    body = helper.make_graph(
        made, "body", sizes, [files.value(n) for n in ("h1", "c1", "each")], stored
    )
    scan = helper.make_node(
        "Scan", ["h0", "c0", "x"], ["last", "cell", "y"], name="scan", body=body, num_scan_inputs=1
    )
    states = [files.value(name, ["B", H]) for name in ("h0", "c0")]
    path = files.written(
        tmp_path / "m.onnx", [(scan, [])], D=H, H=H, inputs=states, outputs=[files.value("y")]
    )
    (node,) = inventory(read(path))
    rng = np.random.default_rng(0)
    given = {"x": rng.standard_normal((3, 2, H)), "h0": np.ones((2, H)), "c0": np.ones((2, H))}
    subject = in_graph(path, node.name, **given)

    assert (node.kind, node.path, node.problem) == ("LSTM", "scan.body/", "")
    np.testing.assert_array_equal(node.weights["W"], files.onnx_weights("LSTM", layer)["W"])
    assert 0 < forward(subject) <= 1
    assert len(list(subject.calls_in_graph)) == 3


def test_gates_that_make_no_known_step_are_told(tmp_path):
    layer = files.torch_layer("LSTM", D, H)
    made, stored = unrolled.lstm("s", layer, "x0", "h", "c")
    strange = [node for node in made if node.op_type != "Add" or node.output[0] != "s.new_c"]
    strange.insert(-2, helper.make_node("Sub", ["s.kept", "s.written"], ["s.new_c"]))
    given = [files.value("x0", ["B", D]), files.value("h", ["B", H]), files.value("c", ["B", H])]
    path = files.written(tmp_path / "u.onnx", [*((n, []) for n in strange[:-1]),
                         (strange[-1], stored)], inputs=given)  # fmt: skip
    (node,) = inventory(read(path))

    assert node.problem == (
        "not recognised: 3 gates, Sigmoid of a sum of two products, that make no step of an LSTM "
        "or GRU"
    )
    with pytest.raises(SubjectUnavailable, match="not recognised"):
        node_named(f"{path}#{node.name}")


# Attributes that a runtime does not read.


def cases_of(node):
    return [Case(**{**vars(own_case(node)), "T": 4, "B": 2, "seed": seed}) for seed in (1, 2)]


@pytest.mark.parametrize(("kind", "attributes", "words"), [
    ("LSTM", {"clip": 0.05}, "It ignores clip."),
    ("LSTM", {"input_forget": 1}, "It ignores input_forget"),
    ("GRU", {"activations": ["HardSigmoid", "Tanh"]}, "It ignores activations"),
])  # fmt: skip
def test_an_attribute_that_a_runtime_ignores_is_named(tmp_path, kind, attributes, words):
    path = written(tmp_path / "m.onnx", [files.node("a", kind, weights(kind), **attributes)])
    wrong, right = node_named(f"onnx-reference:{path}#a"), node_named(f"{path}#a")
    cases = cases_of(wrong.node)
    operation = wrong.operation or operation_of(wrong.convention)
    found = misread(wrong, cases, operation)

    assert found is not None
    assert found.statements[0].startswith(words)
    assert misread(right, cases, operation) is None


def test_a_direction_that_a_runtime_ignores_is_named(tmp_path, monkeypatch):
    """As tract 0.23.9 does: it reads the rows of a node that is reverse from their beginning."""
    node = files.node("a", "GRU", weights("GRU"), direction="reverse")
    right = node_named(f"{written(tmp_path / 'm.onnx', [node])}#a")
    cases = cases_of(right.node)
    operation = operation_of(right.convention)

    def forwards(onnx, graph, node, *, weights):
        names = [attribute.name for attribute in graph.node[0].attribute]
        del graph.node[0].attribute[names.index("direction")]

    assert misread(right, cases, operation) is None
    monkeypatch.setattr("gatewise.verify.models.subject._restate", forwards)
    found = misread(right, cases, operation)

    assert found is not None
    assert found.statements[0].startswith("It ignores direction")


# Files that nobody vouches for.


def spoiled(path, change):
    model = onnx.load(path)
    change(model)
    onnx.save_model(model, path)
    return path


def external(location, **more):
    def change(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)

    return change


def first(field, value):
    return lambda model: setattr(model.graph.initializer[0], field, value)


def dims(axis, size):
    return lambda model: model.graph.initializer[0].dims.__setitem__(axis, size)


SPOILED = {
    "outside by ..": (external("../secret"), "external data outside of the model's folder"),
    "outside absolutely": (external("/etc/passwd"), "external data outside of the model's folder"),
    "outside by a link": (external("link"), "external data outside of the model's folder"),
    "nowhere": (external("nothing"), "there is no file 'nothing' beside the model"),
    "too short": (external("short"), "'short' ends before it"),
    "too long": (external("short", length=10**12), "external data of 1000000000000 bytes"),
    "before the beginning": (external("short", offset=-8), "from -8 on"),
    "a huge shape": (dims(1, 10**12), "cannot be read"),
    "a negative shape": (dims(1, -16), r"has a shape of \[1, -16, 3\]"),
    "another dtype": (first("data_type", TensorProto.INT32), "are of float32 and int32"),
    "no dtype": (first("data_type", 99), "cannot be read"),
    "other sizes": (lambda m: setattr(m.graph.node[0].attribute[0], "i", 5),
                    r"its W is \[1, 16, 3\]; \[1, 20, 3\] would be 1 x 4 gates of 5"),
    "a negative clip": (lambda m: m.graph.node[0].attribute.add(name="clip", type=1, f=-1.0),
                        "its clip is negative"),
    "missing weights": (lambda m: m.graph.initializer.pop(0),
                        "its W, 'a.W', is computed in the graph, or missing"),
    "an old operator": (lambda m: setattr(m.opset_import[0], "version", 3),
                        "of opset 3 is another operator than today's"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_node_is_refused_in_a_sentence(tmp_path, name):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(4 * 16 * D))
    (folder / "short").write_bytes(b"1234")
    os.symlink(tmp_path / "secret", folder / "link")
    change, words = SPOILED[name]
    path = spoiled(written(folder / "m.onnx", [files.node("a", "LSTM", weights())]), change)
    (node,) = inventory(read(path))

    assert node.problem
    with pytest.raises(SubjectUnavailable, match=words):
        node_named(f"{path}#a")


def test_external_data_in_the_models_folder(tmp_path):
    arrays = weights()
    (tmp_path / "w.bin").write_bytes(b"1234" + arrays["W"].tobytes())
    path = written(tmp_path / "m.onnx", [files.node("a", "LSTM", arrays)])
    (node,) = inventory(read(spoiled(path, external("w.bin", offset=4))))

    np.testing.assert_array_equal(node.weights["W"], arrays["W"])


def circle(tmp_path):
    node, stored = files.node("a", "LSTM", weights())
    node.input[1] = "u"
    pair = [(helper.make_node("Identity", [a], [b]), []) for a, b in ("uv", "vu")]
    return written(tmp_path / "m.onnx", [*pair, (node, stored)])


def test_values_that_go_round_in_a_circle_end(tmp_path):
    """What is sought in the graph comes to an end; the node that reads such a value is told."""
    pairs = [
        ("Identity", ["u"], ["v"]), ("Identity", ["v"], ["u"]), ("Sigmoid", ["u"], ["s"]),
        ("Add", ["t", "u"], ["t"]), ("Tanh", ["t"], ["q"]), ("MatMul", ["u", "m"], ["p"]),
    ]  # fmt: skip
    square = numpy_helper.from_array(np.eye(H, dtype=np.float32), "m")
    made = [(helper.make_node(*each), []) for each in pairs[:-1]]
    made.append((helper.make_node(*pairs[-1]), [square]))
    node, stored = files.node("a", "LSTM", weights(), state=True)
    node.input[5] = "u"
    (found,) = inventory(read(written(tmp_path / "m.onnx", [*made, (node, stored)])))

    assert (found.name, found.problem) == ("a", "its graph goes round in a circle, at 'u'")


def bloated(tmp_path):
    node, stored = files.node("a", "LSTM", weights())
    node.input[1] = "u"
    shape = numpy_helper.from_array(np.array([10**6, 10**6]), "shape")
    made = helper.make_node("ConstantOfShape", ["shape"], ["u"])
    return written(tmp_path / "m.onnx", [(made, [shape]), (node, stored)])


def custom(tmp_path):
    made = helper.make_node("LSTM", ["x"], ["y"], name="a", domain="com.acme")
    return written(tmp_path / "m.onnx", [(made, [])])


def not_finite(tmp_path):
    arrays = weights()
    arrays["R"][0, 0, 0] = np.inf
    return written(tmp_path / "m.onnx", [files.node("a", "LSTM", arrays)])


@pytest.mark.parametrize(("make", "words"), [
    (circle, "goes round in a circle"),
    (bloated, "makes a constant of 1000000000000 entries"),
    (custom, "com.acme.LSTM is no operator of ONNX"),
    (not_finite, "its R has entries that are not finite"),
])  # fmt: skip
def test_a_node_of_a_hostile_graph_is_told(tmp_path, make, words):
    (node,) = inventory(read(make(tmp_path)))
    assert words in node.problem


def functions(count, calls):
    return [
        helper.make_function(
            "own", f"F{k}", ["x"], ["y"],
            [helper.make_node(f"F{k + 1 if k + 1 < count else 0}", ["x"], ["y"], domain="own")
             for _ in range(calls)],
            [helper.make_opsetid("own", 1)],
        )
        for k in range(count)
    ]  # fmt: skip


def bomb(tmp_path, count, calls):
    call = helper.make_node("F0", ["x"], ["y"], domain="own")
    return written(tmp_path / "m.onnx", [(call, [])], functions=functions(count, calls))


def deep(tmp_path):
    graph = b""
    for _ in range(60):
        attribute = field(6, graph)
        graph = field(1, field(5, attribute))
    return raw(tmp_path, field(7, graph))


def field(number, content):
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def raw(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    return tmp_path / "m.onnx"


def truncated(tmp_path):
    path = written(tmp_path / "m.onnx", [files.node("a", "LSTM", weights())])
    return raw(tmp_path, path.read_bytes()[:300])


def huge(tmp_path):
    path = raw(tmp_path, b"")
    os.truncate(path, 3 * 2**30)
    return path


NO_MODELS = {
    "truncated": (truncated, "it is no model of ONNX, or a part of one"),
    "text": (lambda folder: raw(folder, b"hello"), "it is no model of ONNX"),
    "empty": (lambda folder: raw(folder, b""), "it is no model of ONNX, or an empty one"),
    "huge": (huge, "3221225472 bytes; a model file has less than 2 GiB"),
    "deep": (deep, "it is no model of ONNX, or a part of one"),
    "not there": (lambda folder: folder / "m.onnx", "there is no such file"),
    "a function that calls itself": (lambda f: bomb(f, 1, 1), "a function that calls itself"),
    "functions that call two each": (lambda f: bomb(f, 20, 2), "more than"),
}


@pytest.mark.parametrize("name", NO_MODELS)
def test_what_is_no_model_is_refused_in_a_sentence(tmp_path, name):
    make, words = NO_MODELS[name]
    with pytest.raises(ModelError, match=words):
        inventory(read(make(tmp_path)))


@pytest.mark.parametrize("name", ["tract", "openvino"])
def test_a_runtime_that_is_not_installed_says_how_to(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SubjectUnavailable, match=f"install it with: pip install {name}"):
        RUNTIMES[name].version()


@pytest.mark.parametrize("name", ["tract", "openvino"])
def test_other_runtimes_where_they_are_installed(tmp_path, name):
    pytest.importorskip(name, reason=f"{name} is another runtime of model files")
    path = written(tmp_path / "m.onnx", [files.node("a", "GRU", weights("GRU"), state=True)])
    subject = node_named(f"{name}:{path}#a")

    assert subject.version().startswith(name)
    assert 0 < forward(subject) <= 1


def test_names():
    assert Name.parse("a/m.onnx#x:y#z") == Name("onnxruntime", Path("a/m.onnx"), "x:y#z")
    assert str(Name.parse("tract:m.onnx#n")) == "tract:m.onnx#n"
    assert Name.parse("m.tflite#n") == Name("litert", Path("m.tflite"), "n")
    assert str(Name.parse("litert:m.tflite#n")) == "m.tflite#n"
    assert Name.parse("torch:LSTM") is None
    with pytest.raises(UnknownSubject, match=r"a runtime of \.onnx files is one of onnxruntime"):
        node_named("keras:m.onnx#n")
    with pytest.raises(UnknownSubject, match=r"a runtime of \.tflite files is one of litert"):
        node_named("tract:m.tflite#n")
    with pytest.raises(UnknownSubject, match="there is no such file"):
        node_named("m.onnx#n")
