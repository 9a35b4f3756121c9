"""ONNX Runtime: outputs of DynamicQuantizeLSTM depend on other rows, later steps and padding.

Activations are quantised with one range for the whole input, and one for the hidden states of all
rows in each step. So a row's outputs move when others join it in a batch, outputs of a step when
later steps are other numbers, and where ``sequence_lens`` is given, what stands in the padding of
a row is in the range of all. Right would be that none of these has any influence, as in the LSTM
that was quantised. Seen with onnxruntime 1.31.1; no report known.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

STEPS, ROWS, WIDTH, HIDDEN = 6, 4, 5, 8

rng = np.random.default_rng(0)
shapes = {"W": (1, 4 * HIDDEN, WIDTH), "R": (1, 4 * HIDDEN, HIDDEN), "B": (1, 8 * HIDDEN)}
held = [
    numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) / 2, name)
    for name, shape in shapes.items()
]
graph = helper.make_graph(
    [helper.make_node("LSTM", ["X", "W", "R", "B", "lengths"], ["Y"], hidden_size=HIDDEN)],
    "layer",
    [
        helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, None, WIDTH]),
        helper.make_tensor_value_info("lengths", TensorProto.INT32, [None]),
    ],
    [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
    held,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "quantised.onnx"
    quantize_dynamic(model, path, op_types_to_quantize=["LSTM"])
    sessions = {
        "LSTM": onnxruntime.InferenceSession(model.SerializeToString()),
        "DynamicQuantizeLSTM": onnxruntime.InferenceSession(path),
    }
x = rng.standard_normal((STEPS, ROWS, WIDTH)).astype(np.float32)
later, padded = x.copy(), x.copy()
later[-1] *= 3
padded[4:, 1] = 100

print("onnxruntime", onnxruntime.__version__)
for name, session in sessions.items():

    def outputs(x, lengths=None, session=session):
        lengths = np.full(x.shape[1], len(x)) if lengths is None else lengths
        return session.run(["Y"], {"X": x, "lengths": np.asarray(lengths, np.int32)})[0][:, 0]

    whole = outputs(x)
    alone = max(np.abs(outputs(x[:, [b]])[:, 0] - whole[:, b]).max() for b in range(ROWS))
    before = np.abs(outputs(later)[:-1] - whole[:-1]).max()
    lengths = [6, 4, 6, 6]
    padding = np.abs(outputs(padded, lengths) - outputs(x, lengths)).max()
    print(
        f"{name}: a row alone differs by {alone:.1e}; with another last step, the steps before "
        f"differ by {before:.1e}; with 100 in the padding of row 1, outputs differ by {padding:.1e}"
    )
