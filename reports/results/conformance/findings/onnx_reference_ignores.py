"""ONNX's reference evaluator: LSTM, GRU and RNN ignore sequence_lens, and most attributes.

Every option below changes the operator's function by its own text, so a difference of 0 means that
it was ignored, without a word. Seen with onnx 1.23.2; no report known.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

T, B, D, H = 5, 3, 2, 4
LENGTHS, CLIP, COUPLED = {"lengths": [5, 1, 2]}, {"clip": 0.5}, {"input_forget": 1}
OPTIONS = {
    "RNN": [LENGTHS, CLIP, {"activations": ["Relu"]}],
    "LSTM": [LENGTHS, CLIP, COUPLED, {"activations": ["Sigmoid", "Relu", "Relu"]}],
    "GRU": [LENGTHS, CLIP, {"activations": ["Sigmoid", "Relu"]}],
}


def run(kind, gates, lengths=None, **attributes):
    rng = np.random.default_rng(1)
    arrays = {
        "X": rng.standard_normal((T, B, D)),
        "W": 3 * rng.standard_normal((1, gates * H, D)),
        "R": rng.standard_normal((1, gates * H, H)),
    }
    names = ["X", "W", "R", ""]
    if lengths is not None:
        arrays["sequence_lens"] = np.array(lengths, np.int32)
        names.append("sequence_lens")
    node = helper.make_node(kind, names, ["Y", "Y_h"], hidden_size=H, **attributes)
    types = {"sequence_lens": TensorProto.INT32}
    given = [
        helper.make_tensor_value_info(name, types.get(name, TensorProto.DOUBLE), array.shape)
        for name, array in arrays.items()
    ]
    made = [
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None] * axes)
        for name, axes in (("Y", 4), ("Y_h", 3))
    ]
    graph = helper.make_graph([node], "layer", given, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    return ReferenceEvaluator(model).run(None, arrays)


print("onnx", onnx.__version__)
for kind, gates in (("RNN", 1), ("LSTM", 4), ("GRU", 3)):
    plain = run(kind, gates)
    for option in OPTIONS[kind]:
        try:
            other = run(kind, gates, **option)
        except Exception as error:
            print(f"{kind} {option}: raises {type(error).__name__}")
            continue
        off = max(np.abs(a - b).max() for a, b in zip(plain, other, strict=True))
        print(f"{kind} {option}: makes a difference of {off:.2g}")
