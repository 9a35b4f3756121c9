"""ONNX Runtime: DynamicQuantizeLSTM is wrong, here by 8e-2, on processors without VNNI.

Its kernel adds pairs of products of unsigned activations with signed weights in 16 bits
(VPMADDUBSW), and 255 * 127 + 255 * 127 does not fit: the pair saturates. Weights with one scale for
each channel, ``quantize_dynamic(per_channel=True)``, reach 127 in every channel and meet it most;
``reduce_range=True``, weights from -64 to 64, avoids it. Nothing warns when it happens. Right are
the sums of integers that NumPy makes below; on a processor with VNNI the operator agrees with them
to 1e-7. Seen with onnxruntime 1.31.1 under ``qemu-x86_64 -cpu Haswell``; similar:
microsoft/onnxruntime#11286 (accuracy drops with per_channel).
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

STEPS, ROWS, WIDTH, HIDDEN = 1, 3, 64, 64


def model(rng):
    """Return a model of one LSTM."""
    shapes = {"W": (1, 4 * HIDDEN, WIDTH), "R": (1, 4 * HIDDEN, HIDDEN), "B": (1, 8 * HIDDEN)}
    held = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) / 8, name)
        for name, shape in shapes.items()
    ]
    node = helper.make_node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=HIDDEN)
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, ROWS, WIDTH])
    y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "layer", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def quantised(whole, **given):
    """Return the model of one DynamicQuantizeLSTM."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.onnx"
        quantize_dynamic(
            whole, path, op_types_to_quantize=["LSTM"], weight_type=QuantType.QInt8, **given
        )
        return onnx.load(path)


def integers(a):
    """Return activations as unsigned integers less their zero point, and the scale."""
    low, high = min(a.min(), np.float32(0)), max(a.max(), np.float32(0))
    scale = (high - low) / np.float32(255)
    zero = np.rint(-low / scale)
    return (np.clip(np.rint(a / scale) + zero, 0, 255) - zero).astype(np.int64), scale


def right(whole, x):
    """Return the outputs by sums of integers; gates in ONNX's order i, o, f, c."""
    held = {w.name: numpy_helper.to_array(w) for w in whole.graph.initializer}
    weights = {n: (held[f"{n}_quantized"][0].astype(np.int64), held[f"{n}_scale"][0]) for n in "WR"}
    bias = held["B"][0, : 4 * HIDDEN] + held["B"][0, 4 * HIDDEN :]

    def product(read, w):
        return (read[0] @ w[0]).astype(np.float32) * (read[1] * w[1])

    q, scale = integers(x)
    h = c = np.zeros((ROWS, HIDDEN), np.float32)
    outputs = []
    for q_t in q:
        z = product((q_t, scale), weights["W"]) + product(integers(h), weights["R"]) + bias
        i, o, f = (1 / (1 + np.exp(-z[:, k * HIDDEN : (k + 1) * HIDDEN])) for k in range(3))
        c = f * c + i * np.tanh(z[:, 3 * HIDDEN :])
        h = o * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)


rng = np.random.default_rng(0)
layer, x = model(rng), rng.uniform(0.8, 1, (STEPS, ROWS, WIDTH)).astype(np.float32)
print("onnxruntime", onnxruntime.__version__)
for given in ({}, {"per_channel": True}, {"per_channel": True, "reduce_range": True}):
    made = quantised(layer, **given)
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(["Y"], {"X": x})
    off = np.abs(y[:, 0] - right(made, x)).max()
    print(f"{given}: off by {off:.1e}")
