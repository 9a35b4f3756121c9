"""Published vectors are read as they are meant, held to the equations, and tried on mistakes."""

import json
import os
import pickle
import zipfile
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from commands import invoke, refused
from gatewise.cli.explain import read_arrays
from gatewise.verify.cases.case import Case
from gatewise.verify.vectors import audit, files, public, public_onnx, public_webnn, selection
from gatewise.verify.vectors.audit import NotAudited, Tolerance
from gatewise.verify.vectors.vector import ALL

T, B, D, H = 3, 2, 2, 3
ACTIVATIONS = {
    "sigmoid": lambda s: 1 / (1 + np.exp(-s)), "tanh": np.tanh, "relu": lambda s: np.maximum(s, 0),
}  # fmt: skip


def gru(x, h, W, R, b, rb, order, after, gate, squash):
    """Step a GRU as WebNN prints it: W (3H, D), R (3H, H), two biases."""
    at = {g: slice(k * H, (k + 1) * H) for k, g in enumerate(order)}
    z, r = (gate(x @ W[at[g]].T + b[at[g]] + rb[at[g]] + h @ R[at[g]].T) for g in "zr")
    k = at["n"]
    inner = r * (h @ R[k].T + rb[k]) if after else (r * h) @ R[k].T + rb[k]
    return z * h + (1 - z) * squash(x @ W[k].T + b[k] + inner)


def lstm(x, h, c, W, R, b, rb, order, peephole, gate, squash):
    """Step an LSTM as WebNN prints it; peepholes of i, o, f."""
    p = dict(zip("iof", peephole.reshape(3, H), strict=True))
    s = {g: (x @ W.T + b + rb + h @ R.T)[:, k * H : (k + 1) * H] for k, g in enumerate(order)}
    i, f = gate(s["i"] + p["i"] * c), gate(s["f"] + p["f"] * c)
    c = f * c + i * squash(s["g"])
    return gate(s["o"] + p["o"] * c) * squash(c), c


def tensor(array):
    """Return an array as WebNN's tests write it."""
    shape = list(array.shape)
    data = [float(v) for v in np.asarray(array, np.float32).flat]
    return {"data": data, "descriptor": {"shape": shape, "dataType": "float32"}}


def webnn(kind, seed=0, steps=T, constant=0.0, **options):
    """Return a test of WebNN's form, its expectation computed by the lines above in float64."""
    rng = np.random.default_rng(seed)
    gates = 4 if "lstm" in kind else 3

    def drawn(*shape):
        drawn = np.full(shape, constant) if constant else rng.standard_normal(shape)
        return drawn.astype(np.float32).astype(np.float64)

    both = options.get("direction") == "both"
    x, W, R = drawn(steps, B, D), drawn(1 + both, gates * H, D), drawn(1 + both, gates * H, H)
    b, rb, p = drawn(1 + both, gates * H), drawn(1 + both, gates * H), drawn(1 + both, 3 * H)
    peephole = p if options.pop("peepholes", False) else 0 * p
    names = options.get("activations", ["sigmoid", "tanh", "tanh"][: gates - 1])
    gate, squash = (ACTIVATIONS[n] for n in names[:2])
    final, sequence = [], np.zeros((steps, 1 + both, B, H))
    for k in range(1 + both):
        state = [np.zeros((B, H))] * (gates - 2)
        backward = k or options.get("direction") == "backward"
        for t in range(steps)[:: -1 if backward else 1]:
            more = (x[t], *state, W[k], R[k], b[k], rb[k])
            if gates == 3:
                order, after = options.get("layout", "zrn"), options.get("resetAfter", True)
                state = [gru(*more, order, after, gate, squash)]
            else:
                state = lstm(*more, options.get("layout", "iofg"), peephole[k], gate, squash)
            sequence[t, k] = state[0]
        final.append(np.stack(state))
    outputs = [np.stack(each) for each in zip(*final, strict=True)]
    cell = kind.endswith("Cell")
    inputs = {"x": x[0] if cell else x}
    named = {"W": W, "R": R, "b": b, "rb": rb, "p": p}
    inputs |= {name: a[0] if cell else a for name, a in named.items()}
    chosen = options | {"bias": "b", "recurrentBias": "rb", "returnSequence": not cell}
    chosen |= {"peepholeWeight": "p"} if peephole.any() else {}
    outputs = [o[0] for o in outputs] if cell else [*outputs, sequence]
    if cell:
        inputs |= {"h": np.zeros((B, H)), "c": np.zeros((B, H))}
    arguments = [{"input": "x"}, {"weight": "W"}, {"recurrentWeight": "R"}, {"hiddenState": "h"},
                 {"cellState": "c"}, {"options": chosen}]  # fmt: skip
    return {"name": kind, "graph": {
        "inputs": {name: tensor(array) for name, array in inputs.items()},
        "operators": [{"name": kind, "arguments": arguments,
                       "outputs": [f"o{k}" for k in range(len(outputs))]}],
        "expectedOutputs": {f"o{k}": tensor(array) for k, array in enumerate(outputs)},
    }}  # fmt: skip


SCRIPT = """// META: global=window
const tolerance = {{float32: 3}};
const gruTests = {tests};
if (navigator.ml) {{ gruTests.forEach((test) => run(test)); }}
"""


def script(tmp_path, tests, text=None):
    """Write a script of tests, with JavaScript's own quotes, trailing commas and comments."""
    written = json.dumps(tests, indent=1) if text is None else text
    written = written.replace('"name"', "'name'").replace('"data"', "data /* values */")
    path = tmp_path / "gru.https.any.js"
    path.write_text(SCRIPT.format(tests=written.replace("]\n", "],\n").rstrip(",\n")),
                    encoding="utf-8")  # fmt: skip
    return path


WEBNN = {
    "reset after": ("gru", {}, "gru"),
    "reset before": ("gru", {"resetAfter": False, "layout": "rzn"}, "gru-keeps-old"),
    "backward": ("gru", {"direction": "backward"}, "gru"),
    "both, ReLU": ("gru", {"direction": "both", "activations": ["relu", "relu"]}, "gru"),
    "a cell": ("gruCell", {"steps": 1}, "gru"),
    "lstm": ("lstm", {"layout": "ifgo"}, "lstm"),
    "lstm, ReLU": ("lstm", {"activations": ["relu"] * 3}, "lstm"),
    "peepholes": ("lstm", {"peepholes": True, "direction": "both"}, "lstm-peephole"),
    "a cell of an lstm": ("lstmCell", {"steps": 1}, "lstm"),
}
"""Kind and options, and the cell of the reference that it is."""


@pytest.mark.parametrize("form", WEBNN)
def test_a_test_of_webnn_is_read_as_it_is_meant(form, tmp_path):
    kind, options, cell = WEBNN[form]
    test = webnn(kind, **options)

    (right,) = public_webnn.read(script(tmp_path, [test]), None)
    test["graph"]["expectedOutputs"]["o0"]["data"][1] += 1e-3
    (wrong,) = public_webnn.read(script(tmp_path, [test]), None)

    assert right.cell == cell
    assert right.tolerance == Tolerance(ulp=3)
    assert right.ratio <= 1 < wrong.ratio
    assert right.tight


@pytest.mark.parametrize("form", ["reset after", "both, ReLU", "lstm", "lstm, ReLU"])
def test_what_a_test_cannot_show_is_not_seen(form, tmp_path):
    """Even where nothing is allowed: that it is written in float32 is no mistake's doing."""
    kind, options, _ = WEBNN[form]

    (exact,) = public_webnn.read(script(tmp_path, [webnn(kind, **options)]), Tolerance())

    assert not {"W01", "W04", "Q01", "Q06", "S12"} & exact.caught
    assert len(exact.caught) > 15


SCRIPTS = {
    "code": ("[{'name': run()}]", "'run' is no literal"),
    "no end": ("[{'name': 'x'", "expected a literal"),
    "nested": ("[" * 10_000, "nested deeper than 40"),
    "a number of nothing": ("[{'name': -}]", "no literal"),
    "no tests": ("7", "no array of tests"),
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_script_of_another_form_is_refused(kind, tmp_path):
    text, words = SCRIPTS[kind]
    with pytest.raises(NotAudited, match=words):
        list(public_webnn.read(script(tmp_path, None, text), None))


def test_what_a_test_of_webnn_lacks_is_said(tmp_path):
    odd = webnn("gru")
    odd["graph"]["inputs"]["W"]["descriptor"]["shape"] = [1, 8, 2]
    none = webnn("gru")
    del none["graph"]["operators"]
    mixed = webnn("lstm", activations=["sigmoid", "relu", "tanh"])

    found = list(public_webnn.read(script(tmp_path, [odd, none, mixed, webnn("gru")]), None))

    assert [isinstance(each, NotAudited) for each in found] == [True, True, True, False]
    assert "activations sigmoid, relu, tanh" in str(found[2])


def node(onnx, folder, kind, lengths=None, **attributes):
    """Write a node test whose outputs ONNX's reference evaluator computed."""
    reference = pytest.importorskip("onnx.reference")
    rng = np.random.default_rng(0)
    gates, both = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], attributes.get("direction") == "both"
    x = rng.standard_normal((B, T, D) if attributes.get("layout") else (T, B, D))
    given = {"X": x, "W": rng.standard_normal((1 + both, gates * H, D)),
             "R": rng.standard_normal((1 + both, gates * H, H)),
             "B": rng.standard_normal((1 + both, 2 * gates * H))}  # fmt: skip
    given = {n: a.astype(np.float32) for n, a in given.items()}
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    names = ["Y", "Y_h", *(["Y_c"] if kind == "LSTM" else [])]
    made = helper.make_node(kind, list(given), names, hidden_size=H, **attributes)
    graph = helper.make_graph(
        [made], kind, [helper.make_tensor_value_info(n, number, a.shape) for n, a in given.items()],
        [helper.make_tensor_value_info(n, number, None) for n in names],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    outputs = reference.ReferenceEvaluator(model).run(None, given)
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    for part, arrays in (("input", given.values()), ("output", outputs)):
        for k, array in enumerate(arrays):
            onnx.save_tensor(onnx.numpy_helper.from_array(array), data / f"{part}_{k}.pb")
    return folder


NODES = {
    "LSTM": ("LSTM", {}, "lstm"),
    "rows first": ("LSTM", {"layout": 1}, "lstm"),
    "backwards": ("LSTM", {"direction": "reverse"}, "lstm"),
    "GRU": ("GRU", {}, "gru-keeps-old"),
    "reset after": ("GRU", {"linear_before_reset": 1}, "gru"),
    "RNN": ("RNN", {}, "rnn"),
}


@pytest.mark.parametrize("form", NODES)
def test_a_node_test_is_read_as_it_is_meant(form, tmp_path):
    onnx = pytest.importorskip("onnx")
    kind, attributes, cell = NODES[form]
    folder = node(onnx, tmp_path / "test_one", kind, **attributes)

    (right,) = public.read(tmp_path, public.PlainArrays(read_arrays), None)
    output = folder / "test_data_set_0" / "output_0.pb"
    changed = onnx.numpy_helper.to_array(onnx.load_tensor(output)).copy()
    changed[(0,) * changed.ndim] += 1e-3
    onnx.save_tensor(onnx.numpy_helper.from_array(changed), output)
    (wrong,) = public.read(tmp_path, public.PlainArrays(read_arrays), None)

    assert right.cell == cell
    assert right.ratio <= 1 < wrong.ratio
    assert right.tolerance == public_onnx.RUNNERS


def test_a_damaged_node_test_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    plain = public.PlainArrays(read_arrays)

    def reasons(change):
        folder = tmp_path / change.__name__ / "test_one"
        change(node(onnx, folder, "GRU"))
        return str(next(public.read(folder, plain, None)))

    def broken(folder):
        (folder / "model.onnx").write_bytes(b"no model at all")

    def elsewhere(folder):
        tensor = onnx.TensorProto(data_type=1, dims=[1], data_location=1)
        tensor.external_data.add(key="location", value="../../secret")
        onnx.save_tensor(tensor, folder / "test_data_set_0" / "input_0.pb")

    def inside_elsewhere(folder):
        model = onnx.load(folder / "model.onnx")
        tensor = model.graph.initializer.add(name="W", data_type=1, dims=[1], data_location=1)
        tensor.external_data.add(key="location", value="secret")
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        (folder / "test_data_set_0" / "input_3.pb").unlink()

    def other(folder):
        model = onnx.load(folder / "model.onnx")
        model.graph.node[0].op_type = "Conv"
        onnx.save(model, folder / "model.onnx")

    def clip(folder):
        model = onnx.load(folder / "model.onnx")
        model.graph.node[0].attribute.append(onnx.helper.make_attribute("clip", 0.5))
        onnx.save(model, folder / "model.onnx")

    def missing(folder):
        (folder / "test_data_set_0" / "output_1.pb").unlink()

    def flat(folder):
        path = folder / "test_data_set_0" / "input_1.pb"
        onnx.save_tensor(onnx.numpy_helper.from_array(np.ones(3, np.float32)), path)

    def small(folder):
        path = folder / "test_data_set_0" / "output_1.pb"
        onnx.save_tensor(onnx.numpy_helper.from_array(np.ones((1, 1, 1), np.float32)), path)

    for change, words in ((broken, "not a file of ONNX"), (elsewhere, "arrays in other files"),
                          (inside_elsewhere, "arrays in other files"), (other, "of Conv"),
                          (clip, "no cell of the reference clips"),
                          (missing, "no such file"), (flat, "its W is [3]"),
                          (small, "final h: their shapes do not fit")):  # fmt: skip
        assert words in reasons(change)


@pytest.fixture
def arrays():
    """One call of an RNN with one bias."""
    rng, units = np.random.default_rng(1), 5
    W, R, b, x = (rng.standard_normal(s) for s in ((units, D), (units, units), units, (T, B, D)))
    h, y = np.zeros((B, units)), []
    for t in range(T):
        h = np.tanh(x[t] @ W.T + b + h @ R.T)
        y.append(h)
    return {"weight_ih": W, "weight_hh": R, "bias": b, "x": x, "y": np.stack(y)}


def test_plain_arrays_are_read_by_the_convention_that_explains_them(arrays, tmp_path):
    """Also where only a few places are printed; a wrong number is no convention's."""
    plain = public.PlainArrays(read_arrays, "rnn")
    np.savez(tmp_path / "exact.npz", **arrays)
    np.savez(tmp_path / "printed.npz", **arrays | {"y": np.round(arrays["y"], 3)})
    arrays["y"][1, 1, 1] += 0.01
    np.savez(tmp_path / "wrong.npz", **arrays)

    (exact,) = public.read(tmp_path / "exact.npz", plain, None)
    (printed,) = public.read(tmp_path / "printed.npz", replace(plain, printed=3), None)

    assert (exact.cell, exact.tolerance) == ("rnn", public.CLOSE)
    assert exact.ratio <= 1
    assert printed.ratio <= 1
    assert printed.tolerance == Tolerance(5e-4, 1e-5)
    assert len(printed.caught) <= len(exact.caught)
    with pytest.raises(NotAudited, match="no convention gives these numbers"):
        list(public.read(tmp_path / "wrong.npz", plain, None))
    with pytest.raises(NotAudited, match="say what they are of"):
        list(public.read(tmp_path / "exact.npz", public.PlainArrays(read_arrays), None))


def test_own_vectors_see_what_they_say(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        few = ((Case(3, 2, 2, 3), ALL), (Case(4, 3, 3, 2, lengths=True, state=False), ALL))
        patch.setattr(selection, "candidates", lambda cell, dtype, seed: iter(few))
        document = files.vectors(selection.select("rnn", "float64"))
    files.write(tmp_path, document)

    tests = list(public.read(tmp_path, public.PlainArrays(read_arrays), None))

    assert [set(test.caught) for test in tests] == [set(t.catches) for t in document.tests]
    assert all(test.ratio <= 1 for test in tests)
    assert not any(test.tight for test in tests)


@pytest.mark.parametrize(("field", "value"), [
    ("layers", 10**9), ("T", -1), ("T", 7), ("dtype", "float99"), ("cell", "gru9"),
    ("weights", "nobody"), ("D", 3),
])  # fmt: skip
def test_own_vectors_that_were_changed_are_refused(field, value, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        few = ((Case(3, 2, 2, 3), ALL),)
        patch.setattr(selection, "candidates", lambda cell, dtype, seed: iter(few))
        whole = msgspec.to_builtins(files.vectors(selection.select("rnn-relu", "float64")))
    assert len(whole["tests"]) == 1  # the catalogue has no mistakes of this cell
    whole |= {field: value} if field in whole else {}
    whole["tests"][0] |= {field: value} if field in whole["tests"][0] else {}
    (tmp_path / files.FILE).write_text(json.dumps(whole), encoding="utf-8")
    outputs = {"1": {"y": np.ones((3, 2, 3)).tolist()}}
    (tmp_path / "out.txt").write_text(json.dumps(outputs), encoding="utf-8")

    for command in (["audit", tmp_path], ["check", tmp_path, "--outputs", tmp_path / "out.txt"]):
        said = invoke("vectors", *command)
        assert said.exit_code in (1, 2, 3)
        assert said.exception is None or isinstance(said.exception, SystemExit)


def test_constant_weights_miss_what_random_weights_see(tmp_path):
    """The gates' order, U transposed, rows exchanged; the report says which are missed."""
    weak = webnn("lstm", constant=0.1)
    constant = list(public_webnn.read(script(tmp_path, [weak]), Tolerance(rtol=1e-3)))
    random = list(public_webnn.read(script(tmp_path, [webnn("lstm", 1)]), Tolerance(rtol=1e-3)))

    assert {"L01", "L02", "L05"} <= random[0].caught
    assert not {"L01", "L02", "L05"} & constant[0].caught
    (found,) = audit.audits(random)
    groups = {group.title: group for group in found.groups}
    assert len(groups["gradients"].missed) == groups["gradients"].count
    assert {m.id for group in found.groups for m in group.missed} == (
        {m.id for m in found.showable} - found.caught
    )


def test_the_command(tmp_path, arrays):
    path = script(tmp_path, [webnn("gru"), {"name": "odd"}])

    def run(*arguments):
        return invoke("vectors audit", *arguments)

    said = run(path, "--rtol", "1e-3")
    assert said.exit_code == 0
    assert "allows rtol 0.001" in said.output
    assert "not read: gru.https.any.js, test 2" in said.output
    assert "gru: 1 test sees" in said.output
    assert max(map(len, said.output.splitlines())) <= 80
    told = json.loads(run(path, "--json").output)
    assert told["tests"][0]["allows"] == "ulp 3"
    assert set(told["cells"][0]["sees"]) == set(told["tests"][0]["sees"])
    wrong = webnn("gru")
    wrong["graph"]["expectedOutputs"]["o0"]["data"][0] += 1
    assert run(script(tmp_path, [wrong])).exit_code == 1
    arrays["y"] += 1
    np.savez(tmp_path / "wrong.npz", **arrays)
    assert run(tmp_path / "wrong.npz", "--cell", "rnn").exit_code == 3


def bomb(path):
    """An archive that declares far more than it has."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as members:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999, 99999)}"
        members.writestr("x.npy", b"\x93NUMPY\x01\x00v\x00" + header.ljust(117) + b"\n")


HOSTILE = {
    "bomb.npz": (bomb, "GiB"),
    "pickle.npz": (lambda p: np.savez(p, x=np.array([{}], object)), "pickled objects"),
    "raw.npz": (lambda p: p.write_bytes(pickle.dumps([1])), "no npz file"),
    "nan.json": (lambda p: p.write_text('{"x": [[NaN]], "y": [[1]], "W": [[1]]}'), "not finite"),
    "deep.json": (lambda p: p.write_text("[" * 100_000), "cannot be read"),
    "pipe.json": (os.mkfifo, "there is no such file"),
    "other.txt": (lambda p: p.write_text("x"), "expected a folder"),
    "own.json": (lambda p: p.write_text('{"schema":"gatewise.vectors/1"}'), "no file of vectors"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_a_sentence(name, tmp_path):
    make, words = HOSTILE[name]
    make(tmp_path / name)
    refused(invoke("vectors audit", tmp_path / name, "--cell", "gru"), 3, words)
