"""Layers built by frameworks themselves, not by adapters: their files, and their outputs.

Each function takes the case and a file's arrays or None, for those that the framework draws itself,
and returns the arrays as a user would save them and the outputs y (T, B, width) of x (T, B, D).
"""

import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

from gatewise.verify.conventions.conversion import read, write


def by_torch(kind, case, arrays, x):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    kind, _, activation = kind.partition("-")
    more = {"nonlinearity": activation} if activation else {}
    more |= {"bidirectional": case.bidirectional}
    layer = getattr(torch.nn, kind)(case.D, case.H, case.layers, **more)
    if arrays:
        layer.load_state_dict({n: torch.tensor(np.ascontiguousarray(a)) for n, a in arrays.items()})
    with torch.no_grad():
        y = layer(torch.tensor(x))[0].numpy()
    return {name: p.detach().numpy() for name, p in layer.state_dict().items()}, y


def by_keras(kind, case, arrays, x):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    name = {"SimpleRNN": "simple_rnn"}.get(kind, kind.lower())
    layer = getattr(keras.layers, kind)(
        case.H, return_sequences=True, name=name, bias_initializer="random_normal"
    )
    layer = keras.layers.Bidirectional(layer) if case.bidirectional else layer
    layer.build((None, None, case.D))
    for w in layer.weights if arrays else ():
        w.assign(arrays[w.path.split("/", 1)[1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, about the tensors that Keras hands to it
        y = keras.ops.convert_to_numpy(layer(np.swapaxes(x, 0, 1)))
        saved = {w.path: keras.ops.convert_to_numpy(w) for w in layer.weights}
    return saved, np.swapaxes(y, 0, 1)


def by_linen(kind, case, arrays, x):
    nn = pytest.importorskip("flax.linen")
    import jax
    from flax.traverse_util import flatten_dict, unflatten_dict

    rnns = [nn.RNN(getattr(nn, kind)(case.H)) for _ in range(case.directions)]
    layer = nn.Bidirectional(*rnns) if case.bidirectional else rnns[0]
    tree = layer.init(jax.random.key(0), x, time_major=True)
    if arrays:
        tree = {"params": unflatten_dict(arrays, sep="/")}
    saved = flatten_dict(tree, sep="/")
    return {n: np.array(a) for n, a in saved.items()}, layer.apply(tree, x, time_major=True)


def by_nnx(kind, case, arrays, x):
    nnx = pytest.importorskip("flax.nnx")
    cells = [getattr(nnx, kind)(case.D, case.H, rngs=nnx.Rngs(k)) for k in range(case.directions)]
    rnns = [nnx.RNN(cell, rngs=nnx.Rngs(0)) for cell in cells]
    layer = nnx.Bidirectional(*rnns) if case.bidirectional else rnns[0]
    state = nnx.state(layer, nnx.Param)
    flat = dict(nnx.to_flat_state(state))
    if arrays:
        flat = {path: flat[path].replace(arrays["/".join(path)]) for path in flat}
        nnx.update(layer, nnx.from_flat_state(flat.items()))
    saved = {"/".join(path): np.array(v[...]) for path, v in flat.items()}
    return saved, layer(x, time_major=True)


def by_haiku(kind, case, arrays, x):
    haiku = pytest.importorskip("haiku")
    import jax

    def unroll(x):
        cores = [getattr(haiku, kind)(case.H) for _ in range(case.layers)]
        core = haiku.DeepRNN(cores)
        return haiku.dynamic_unroll(core, x, core.initial_state(x.shape[1]))[0]

    layer = haiku.transform(unroll)
    tree = layer.init(jax.random.key(0), x)
    if arrays:
        tree = {m: {n: arrays[f"{m}/{n}"] for n in names} for m, names in tree.items()}
    saved = {f"{m}/{n}": np.array(a) for m, names in tree.items() for n, a in names.items()}
    return saved, layer.apply(tree, None, x)


def by_equinox(kind, case, arrays, x):
    equinox = pytest.importorskip("equinox")
    import jax

    cell = getattr(equinox.nn, kind)(case.D, case.H, key=jax.random.key(0))
    names = [n for n in ("weight_ih", "weight_hh", "bias", "bias_n") if hasattr(cell, n)]
    if arrays:
        cell = equinox.tree_at(
            lambda cell: [getattr(cell, n) for n in names], cell, [arrays[n] for n in names]
        )
    zeros = np.zeros((x.shape[1], case.H), x.dtype)
    state, steps = ((zeros, zeros) if kind == "LSTMCell" else zeros), []
    for x_t in x:
        state = jax.vmap(cell)(x_t, state)
        steps.append(state[0] if isinstance(state, tuple) else state)
    return {n: np.array(getattr(cell, n)) for n in names}, np.stack(steps)


def by_mlx(kind, case, arrays, x):
    mx = pytest.importorskip("mlx.core")
    from mlx import nn

    with mx.stream(mx.cpu), tempfile.TemporaryDirectory() as folder:
        layer = getattr(nn, kind)(case.D, case.H)
        path = Path(folder, "layer.safetensors")
        if arrays:
            write(path, arrays)
            layer.load_weights(str(path))
        layer.save_weights(str(path))
        y = layer(mx.array(x).swapaxes(0, 1))
        y = y[0] if isinstance(y, tuple) else y
        return read(path), np.array(y.swapaxes(0, 1))


def by_paddle(kind, case, arrays, x):
    paddle = pytest.importorskip("paddle")
    direction = "bidirect" if case.bidirectional else "forward"
    layer = getattr(paddle.nn, kind)(case.D, case.H, case.layers, direction, time_major=True)
    if arrays:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its other names for the same tensors are missing
            layer.set_state_dict({n: np.ascontiguousarray(a) for n, a in arrays.items()})
    y = layer(paddle.to_tensor(x))[0].numpy()
    return {n: p.numpy() for n, p in layer.state_dict().items()}, y


def drawn(case, shapes):
    return {n: case.normal(n, (case.directions, *shape), 0.5) for n, shape in shapes.items()}


def by_onnx(kind, case, arrays, x):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    G, H = {"RNN": 1, "LSTM": 4, "GRU": 3}[kind], case.H
    saved = arrays or drawn(case, {"W": (G * H, case.D), "R": (G * H, H), "B": (2 * G * H,)})
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    more |= {"direction": "bidirectional"} if case.bidirectional else {}
    helper = onnx.helper
    node = helper.make_node(kind, ["X", "W", "R", "B"], ["Y"], hidden_size=H, **more)
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in saved.items()],
    )
    opsets = [helper.make_opsetid("", 14)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inside = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load_from_string(model)
              .graph.initializer}  # fmt: skip
    y = session.run(None, {"X": x})[0]
    return inside, np.moveaxis(y, 1, 2).reshape(*x.shape[:2], -1)


def by_openvino(kind, case, arrays, x):
    openvino = pytest.importorskip("openvino")
    from openvino import opset8

    G, H = {"rnn": 1, "lstm": 4, "gru": 3}[kind], case.H
    biases = (4 if kind == "gru" else G) * H
    saved = arrays or drawn(case, {"W": (G * H, case.D), "R": (G * H, H), "B": (biases,)})
    rows = np.ascontiguousarray(np.swapaxes(x, 0, 1))
    node = getattr(opset8, f"{kind}_sequence")(
        given := opset8.parameter(rows.shape, np.float32),
        *(opset8.constant(np.zeros((len(rows), case.directions, H), np.float32))
          for _ in range(2 if kind == "lstm" else 1)),
        opset8.constant(np.full(len(rows), len(x), np.int32)),
        *(opset8.constant(np.ascontiguousarray(saved[n])) for n in "WRB"),
        H,
        "bidirectional" if case.bidirectional else "forward",
        **({"linear_before_reset": True} if kind == "gru" else {}),
    )  # fmt: skip
    model = openvino.Model([node.output(0)], [given])
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    y = openvino.Core().compile_model(model, "CPU", hint)([rows])[0]
    return saved, np.moveaxis(y, 2, 0).reshape(*x.shape[:2], -1)


def by_ncnn(kind, case, arrays, x):
    ncnn = pytest.importorskip("ncnn")
    G, H = {"RNN": 1, "LSTM": 4, "GRU": 3}[kind], case.H
    biases = (4 if kind == "GRU" else G) * H
    names = ("weight_xc_data", "bias_c_data", "weight_hc_data")
    shapes = ((G * H, case.D), (biases,), (G * H, H))
    saved = arrays or drawn(case, dict(zip(names, shapes, strict=True)))
    turn, size = 2 if case.bidirectional else 0, saved[names[0]].size
    net = ncnn.Net()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    with tempfile.TemporaryDirectory() as folder:
        graph, weights = Path(folder, "p"), Path(folder, "b")
        layer = f"{kind} layer 1 1 x y 0={H} 1={size} 2={turn}"
        graph.write_text(f"7767517\n2 2\nInput x 0 1 x\n{layer}\n")
        weights.write_bytes(b"".join(bytes(4) + saved[n].astype("f").tobytes() for n in names))
        assert net.load_param(str(graph)) == net.load_model(str(weights)) == 0
    rows = []
    for b in range(x.shape[1]):
        extractor = net.create_extractor()
        extractor.input("x", ncnn.Mat(np.ascontiguousarray(x[:, b])))
        rows.append(np.array(extractor.extract("y")[1]))
    return saved, np.stack(rows, axis=1)


REAL = {
    f"{api}:{kind}": (by, name or kind)
    for api, by, kinds in (
        ("keras", by_keras, {"LSTM": "", "GRU": "", "RNN": "SimpleRNN"}),
        *((f"flax-{api}", by, {"LSTM": "LSTMCell", "OptimizedLSTM": "OptimizedLSTMCell",
                               "GRU": "GRUCell", "RNN": "SimpleCell"})
          for api, by in (("linen", by_linen), ("nnx", by_nnx))),
        ("haiku", by_haiku, {"LSTM": "", "RNN": "VanillaRNN"}),
        ("equinox", by_equinox, {"LSTM": "LSTMCell", "GRU": "GRUCell"}),
        ("paddle", by_paddle, {"LSTM": "", "GRU": "", "RNN": "SimpleRNN"}),
        ("openvino", by_openvino, {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}),
        *((api, by, dict.fromkeys(("LSTM", "GRU", "RNN"), ""))
          for api, by in (("mlx", by_mlx), ("onnxruntime", by_onnx), ("ncnn", by_ncnn))),
    )
    for kind, name in kinds.items()
}  # fmt: skip
