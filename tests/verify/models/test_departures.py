"""Twenty mistakes of exporters, planted in files: each is found in its node, and named."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx reads model files")

import model_files as files  # noqa: E402
from gatewise.verify.models.departures import departures  # noqa: E402
from gatewise.verify.models.graph import read  # noqa: E402
from gatewise.verify.models.inventory import inventory  # noqa: E402
from gatewise.verify.models.sources import layer_of_node, layers  # noqa: E402
from gatewise.verify.subjects.loader import UnknownSubject  # noqa: E402

D, H = 3, 4
LAYERS = {"first": "LSTM", "second": "LSTM", "third": "GRU", "fourth": "RNN", "both": "LSTM"}
SOURCE = {
    name: files.torch_layer(kind, D, H, seed=seed, both=name == "both")
    for seed, (name, kind) in enumerate(LAYERS.items())
}


def exported(tmp_path, wrong="", change=None, *, steps="T", **attributes):
    """Write the file of all layers, one of them changed; return its path and the source's."""
    nodes = []
    for name, kind in LAYERS.items():
        weights = files.onnx_weights(kind, SOURCE[name])
        own = {"direction": "bidirectional"} if name == "both" else {}
        if name == wrong:
            weights |= change(weights) if change else {}
            own |= attributes
        nodes.append(files.node(name, kind, weights, **own))
    path = files.written(tmp_path / "model.onnx", nodes, D=D, H=H, steps=steps)
    every = {f"{name}.{n}": a for name, arrays in SOURCE.items() for n, a in arrays.items()}
    np.savez(tmp_path / "source.npz", **every)
    return str(path), str(tmp_path / "source.npz")


def found(paths):
    """Return the departures of every node by its name."""
    file, source = paths
    own, there = [layer_of_node(n) for n in inventory(read(files.Path(file)))], layers(source)
    return {layer.name: departures(k, own, there) for k, layer in enumerate(own)}


def blocks(array, order):
    """Return an array of (directions, gates x ...) with its gates in another order."""
    return np.concatenate([np.split(array, len(order), axis=1)[k] for k in order], axis=1)


def halves(B):
    return np.concatenate(np.split(B, 2, axis=1)[::-1], axis=1)


def bias_of(weights, order):
    return np.concatenate([blocks(b, order) for b in np.split(weights["B"], 2, axis=1)], axis=1)


def torch_order(weights):
    order = (0, 2, 3, 1)  # i f g o, from i o f c
    return {n: blocks(weights[n], order) for n in "WR"} | {"B": bias_of(weights, order)}


def dropped(weights, half):
    b = np.split(weights["B"].copy(), 2, axis=1)
    b[half] = 0 * b[half]
    return {"B": np.concatenate(b, axis=1)}


def of_other(name, kind="LSTM"):
    return lambda weights: files.onnx_weights(kind, SOURCE[name])


def noise(weights):
    rng = np.random.default_rng(9)
    return {n: rng.standard_normal(a.shape).astype(np.float32) for n, a in weights.items()}


def edited(name, block, change):
    """Return what changes one block of H rows."""

    def edit(weights):
        array = weights[name].copy()
        array[0, block * H : (block + 1) * H] = change(array[0, block * H : (block + 1) * H])
        return {name: array}

    return edit


def transposed(weights):
    R = [block.T for block in np.split(weights["R"][0], 4)]
    return {"R": np.concatenate(R)[None]}


def merged(weights):
    b, c = np.split(weights["B"], 2, axis=1)
    return {"B": np.concatenate([b + c, 0 * c], axis=1)}


def half(kind):
    return lambda weights: {n: a.astype(kind).astype(np.float32) for n, a in weights.items()}


def of_eight_bits(factor=1.0, rows=False):
    """Rounded to 8 bits with one scale, or one for each row; R comes back times a factor."""

    def change(weights):
        def rounded(a):
            most = np.abs(a).max(-1, keepdims=True) if rows else np.abs(a).max()
            return np.rint(a / most * 127) * most / 127

        R = rounded(weights["R"]) * factor
        return {"W": rounded(weights["W"]).astype(np.float32), "R": R.astype(np.float32)}

    return change


FAULTS = {
    "weights of another node": ("second", of_other("first"), {}, "other-layer", "first"),
    "two nodes exchanged": ("first", of_other("second"), {}, "other-layer", "second"),
    "gates as PyTorch has them": ("first", torch_order, {}, "gate-order",
                                  "gates of W, R and B stand in the order i, f, c, o"),
    "gates of W alone": ("first", lambda w: {"W": blocks(w["W"], (0, 2, 1, 3))}, {}, "gate-order",
                         "gates of W"),
    "gates of a GRU": ("third", lambda w: {"R": blocks(w["R"], (1, 0, 2))}, {}, "gate-order",
                       "r, z, h"),
    "gates of the bias": ("first", lambda w: {"B": bias_of(w, (0, 2, 1, 3))}, {}, "gate-order",
                          "gates of B"),
    "bias halves exchanged": ("third", lambda w: {"B": halves(w["B"])}, {}, "bias-halves",
                              "exchanged"),
    "biases of a GRU added up": ("third", merged, {}, "bias-halves", "mixed"),
    "bias dropped": ("second", lambda w: {"B": 0 * w["B"]}, {}, "bias-dropped", "all gates"),
    "the state's bias dropped": ("fourth", lambda w: dropped(w, 1), {}, "bias-dropped",
                                 "of the state"),
    "1 added to the forget bias": ("first", edited("B", 2, lambda b: b + 1), {}, "bias-offset",
                                   "gate f"),
    "directions exchanged": ("both", lambda w: {n: a[::-1].copy() for n, a in w.items()}, {},
                             "directions", "exchanged"),
    "a direction turned": ("fourth", None, {"direction": "reverse"}, "direction", "reverse"),
    "an array transposed": ("second", transposed, {}, "transposed", "R"),
    "old weights": ("first", noise, {}, "other-weights", "first"),
    "one gate changed": ("first", edited("W", 1, lambda w: w + 0.25), {}, "changed", "W_o"),
    "half precision": ("second", half(np.float16), {}, "rounded", "float16"),
    "eight bits": ("second", of_eight_bits(), {}, "rounded", "W and R are rounded to 8 bits"),
    "eight bits of each row": ("second", of_eight_bits(rows=True), {}, "rounded", "to 8 bits"),
    "a gate negated": ("third", edited("R", 0, np.negative), {}, "negated", "R_z"),
    "weights scaled": ("fourth", lambda w: {"W": 2 * w["W"]}, {}, "scaled", "times 2"),
    "reset before the product": ("third", None, {"linear_before_reset": 0}, "reset", "before"),
    "activations exchanged": ("first", None, {"activations": ["Tanh", "Sigmoid", "Tanh"]},
                              "activations", "Tanh Sigmoid Tanh"),
    "clipped": ("second", None, {"clip": 3.0}, "clip", "3"),
    "coupled": ("second", None, {"input_forget": 1}, "coupled", "1 - i"),
    "a state fixed": ("first", lambda w: {s: np.ones((1, 1, H), np.float32)
                                          for s in ("initial_h", "initial_c")}, {}, "state",
                      "initial_h and initial_c"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_in_its_node_and_named(tmp_path, fault):
    name, change, attributes, kind, words = FAULTS[fault]
    every = found(exported(tmp_path, name, change, **attributes))

    assert [each for each, several in every.items() if several] == [name]
    assert {each.kind for each in every[name]} == {kind}
    assert words in every[name][0].statement
    assert every[name][0].fix


def test_a_scale_of_a_grid_that_is_wrong(tmp_path):
    departures = found(exported(tmp_path, "first", of_eight_bits(2.0)))["first"]
    said = [each.statement for each in departures]

    assert said == ["W is rounded to 8 bits.", "R is the source's times 2, rounded to 8 bits."]


def test_a_right_file_departs_in_nothing(tmp_path):
    assert not any(found(exported(tmp_path)).values())


@pytest.mark.parametrize("change", [merged, lambda w: {"B": halves(w["B"])}])
def test_biases_that_are_added_up_may_be_merged_or_exchanged(tmp_path, change):
    assert not any(found(exported(tmp_path, "first", change)).values())


def test_zeros_as_a_fixed_state_are_the_default(tmp_path):
    zeros = {s: np.zeros((1, 1, H), np.float32) for s in ("initial_h", "initial_c")}
    assert not any(found(exported(tmp_path, "first", lambda w: zeros)).values())


def test_steps_that_are_fixed_at_export(tmp_path):
    every = found(exported(tmp_path, steps=16))
    assert {d.kind for several in every.values() for d in several} == {"steps"}
    assert "16 steps" in every["first"][0].statement


def test_another_file_is_a_source_too(tmp_path):
    path, _ = exported(tmp_path)
    (tmp_path / "other").mkdir()
    wrong, _ = exported(tmp_path / "other", "third", None, linear_before_reset=0)
    every = found((wrong, path))

    assert {n: [d.kind for d in several] for n, several in every.items() if several} == {
        "third": ["reset"]
    }


def test_keras_arrays_are_a_source(tmp_path):
    torch = SOURCE["first"]
    kernel, recurrent = torch["weight_ih_l0"].T, torch["weight_hh_l0"].T
    bias = torch["bias_ih_l0"] + torch["bias_hh_l0"]
    np.savez(tmp_path / "keras.npz", **{
        "lstm/kernel:0": kernel, "lstm/recurrent_kernel:0": recurrent, "lstm/bias:0": bias,
    })  # fmt: skip
    weights = files.onnx_weights("LSTM", torch)
    path = files.written(tmp_path / "one.onnx", [files.node("one", "LSTM", weights)])

    assert found((str(path), str(tmp_path / "keras.npz"))) == {"one": []}


def test_a_layer_of_other_sizes(tmp_path):
    path, _ = exported(tmp_path)
    np.savez(tmp_path / "wide.npz", **files.torch_layer("LSTM", D, 7))
    every = found((path, str(tmp_path / "wide.npz")))

    assert [d.kind for d in every["first"]] == ["sizes"]
    assert "LSTM of 7 units, 3 inputs, 1 direction" in every["first"][0].statement


@pytest.mark.parametrize(("name", "content", "words"), [
    ("none.npz", {"a": np.ones(3)}, "no recurrent layer is recognised"),
    ("missing.npz", None, "there is no such file"),
    ("weights.txt", None, "expected weights.safetensors, weights.npz, module.py:Model"),
])  # fmt: skip
def test_a_source_that_is_none(tmp_path, name, content, words):
    if content is not None:
        np.savez(tmp_path / name, **content)
    with pytest.raises(UnknownSubject, match=words):
        layers(str(tmp_path / name))


def test_a_module_of_torch_is_a_source(tmp_path):
    torch = pytest.importorskip("torch", reason="the source is a module of PyTorch")
    (tmp_path / "source.py").write_text(
        "import torch\n\n\nclass Model(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        torch.manual_seed(0)\n"
        "        self.rnn = torch.nn.RNN(3, 4, nonlinearity='relu')\n",
        encoding="utf-8",
    )
    torch.manual_seed(0)
    arrays = {n: t.detach().numpy() for n, t in torch.nn.RNN(3, 4).state_dict().items()}
    weights = files.onnx_weights("RNN", arrays)
    path = files.written(tmp_path / "one.onnx", [files.node("one", "RNN", weights)])
    every = found((str(path), f"{tmp_path / 'source.py'}:Model"))

    assert [d.kind for d in every["one"]] == ["activations"]
    assert every["one"][0].statement == "Its activations are Tanh, the source's Relu."
