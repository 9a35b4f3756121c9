"""tract's LSTM, a runtime in Rust, as a program that answers gatewise's lines of JSON.

gatewise verify 'process:python3 lstm_tract.py'   (pip install tract onnx)
"""

import base64
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import tract
from onnx import TensorProto, helper, numpy_helper

START = {
    "protocol": 1,
    "implementation": "tract",
    "version": tract.version(),
    "language": "Rust",
    "cell": "lstm",
    "weights": "onnx",
    "dtypes": ["float32"],
}


def model(arrays, hidden):
    """Return a model of one LSTM with its weights inside, as tract loads it from a file."""
    weights = {
        "W": arrays["weight_ih"][None],
        "R": arrays["weight_hh"][None],
        "B": np.concatenate([arrays["bias_ih"], arrays["bias_hh"]])[None],
    }
    inputs = {name: arrays[name] for name in ("X", "initial_h", "initial_c")}
    names = ["X", "W", "R", "B", "", "initial_h", "initial_c"]
    node = helper.make_node("LSTM", names, ["Y", "Y_h", "Y_c"], hidden_size=hidden)
    outputs = {"Y": None, "Y_h": None, "Y_c": None}
    inputs_info, outputs = (
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items()]
        for shapes in ({n: a.shape for n, a in inputs.items()}, outputs)
    )
    inside = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], "lstm", inputs_info, outputs, inside)
    opset = helper.make_opsetid("", 14)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8), list(inputs.values())


def run(arrays, T, B, H):
    """Return y (T, B, H), h and c (B, H), from tract."""
    zeros = np.zeros((B, H), np.float32)
    arrays["X"] = arrays.pop("x")
    arrays["initial_h"] = arrays.pop("h0", zeros)[None]
    arrays["initial_c"] = arrays.pop("c0", zeros)[None]
    built, inputs = model(arrays, H)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lstm.onnx"
        onnx.save(built, path)
        runnable = tract.onnx().load(path).into_model().into_runnable()
    y, h, c = (output.to_numpy() for output in runnable.run(inputs))
    return {"y": y.reshape(T, B, H), "h": h.reshape(B, H), "c": c.reshape(B, H)}


def read(array):
    """Return an array of a JSON line."""
    data = base64.b64decode(array["data"])
    return np.frombuffer(data, "<f4").reshape(array["shape"])


def written(array):
    """Return an array as JSON values."""
    data = np.ascontiguousarray(array, "<f4").tobytes()
    return {"dtype": "float32", "shape": array.shape, "data": base64.b64encode(data).decode()}


for line in sys.stdin:
    question = json.loads(line)
    answer = START
    if question["do"] == "call":
        given = {name: read(array) for name, array in question["arrays"].items()}
        result = run(given, question["T"], question["B"], question["H"])
        arrays = {name: written(array) for name, array in result.items()}
        answer = {"id": question["id"], "arrays": arrays}
    print(json.dumps(answer), flush=True)
