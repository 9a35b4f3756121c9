"""OpenVINO, CPU: the final state of input of no steps is whatever stood in memory.

The axis of steps is dynamic, the initial state is 1, so the final state should be 1. Called with
other inputs in between. Seen with openvino 2026.4.1; no report known.
"""

import numpy as np
import openvino
import openvino.opset8 as ops

B, D, H = 2, 3, 8
rng = np.random.default_rng(0)


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


print("openvino", openvino.__version__)
for kind, gates in (("rnn", 1), ("lstm", 4), ("gru", 3)):
    x = ops.parameter([B, -1, D], np.float32)
    lengths = ops.parameter([B], np.int32)
    states = [ops.parameter([B, 1, H], np.float32) for _ in range(2 if kind == "lstm" else 1)]
    weights = [ops.constant(draw(1, gates * H, n)) for n in (D, H)]
    weights.append(ops.constant(draw(1, gates * H)))
    node = getattr(ops, f"{kind}_sequence")(x, *states, lengths, *weights, H, "forward")
    model = openvino.Model(list(node.outputs()), [x, lengths, *states])
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    ones = [np.ones((B, 1, H), np.float32) for _ in states]
    for steps in (0, 4, 0):
        found = compiled([draw(B, steps, D), np.full(B, steps, np.int32), *ones])
        print(f"{kind}, {steps} steps: final h of the first row {found[1][0, 0]}")
