"""ONNX Runtime: on input of no steps GRU ends the process; LSTM and RNN end in zeros.

A row of length 0 ends in zeros too, whatever its initial state; the operators' text leaves that
open. Right would be the initial state: h = 1, c = 2 below. Seen with onnxruntime 1.31.1; no
report known (microsoft/onnxruntime#749 is about lengths of 0). A process for each case.
"""

import subprocess
import sys

import numpy as np

ROWS, WIDTH, HIDDEN = 2, 3, 4


def main(kind, steps, lengths):
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[kind]
    rng = np.random.default_rng(0)
    states = ["initial_h"] + (["initial_c"] if kind == "LSTM" else [])
    feeds = {"X": rng.standard_normal((steps, ROWS, WIDTH)).astype(np.float32)}
    feeds |= {s: np.full((1, ROWS, HIDDEN), k, np.float32) for k, s in enumerate(states, 1)}
    if lengths:
        feeds["sequence_lens"] = np.array(lengths, np.int32)
    constants = {
        "W": rng.standard_normal((1, gates * HIDDEN, WIDTH)).astype(np.float32),
        "R": rng.standard_normal((1, gates * HIDDEN, HIDDEN)).astype(np.float32),
    }
    names = ["X", "W", "R", "", "sequence_lens" if lengths else "", *states]
    outputs = ["Y", "Y_h"] + (["Y_c"] if kind == "LSTM" else [])
    shapes = {name: array.shape for name, array in feeds.items()} | {"X": ["T", ROWS, WIDTH]}
    types = {"sequence_lens": TensorProto.INT32}
    graph = helper.make_graph(
        [helper.make_node(kind, names, outputs, hidden_size=HIDDEN)],
        "layer",
        [
            helper.make_tensor_value_info(n, types.get(n, TensorProto.FLOAT), shape)
            for n, shape in shapes.items()
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [onnx.numpy_helper.from_array(array, n) for n, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = dict(zip(outputs, session.run(outputs, feeds), strict=True))
    print(onnxruntime.__version__, {n: a[0].tolist() for n, a in found.items() if n != "Y"})


if len(sys.argv) > 1:
    main(sys.argv[1], int(sys.argv[2]), [int(n) for n in sys.argv[3:]])
else:
    for what, arguments in (("a row of length 0", ["3", "3", "0"]), ("no steps", ["0"])):
        for kind in ("RNN", "LSTM", "GRU"):
            command = [sys.executable, __file__, kind, *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            said = (done.stdout or done.stderr).strip().splitlines()[-1:]
            print(f"{kind}, {what}: exit code {done.returncode}: {''.join(said)}")
