"""OpenVINO, CPU: with a dynamic axis of rows or steps, sequence lengths are ignored.

The same operator, weights and inputs, compiled with static and with dynamic shapes. With static
ones a row's outputs are 0 beyond its length and its final state is that at its length; with dynamic
ones it runs to the last step, and in two directions outputs within the length are wrong, too.
Size: that of the outputs. Seen with openvino 2026.4.1; no report known.
"""

import numpy as np
import openvino
import openvino.opset8 as ops

T, B, D, H = 5, 3, 3, 4
LENGTHS = np.array([5, 1, 3], np.int32)
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def run(kind, directions, rows, steps):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    weights = [ops.constant(draw(directions, GATES[kind] * H, n)) for n in (D, H)]
    weights.append(ops.constant(draw(directions, GATES[kind] * H)))
    x = ops.parameter([rows, steps, D], np.float32)
    lengths = ops.parameter([rows], np.int32)
    count = 2 if kind == "lstm" else 1
    states = [ops.parameter([rows, directions, H], np.float32) for _ in range(count)]
    direction = "bidirectional" if directions == 2 else "forward"
    node = getattr(ops, f"{kind}_sequence")(x, *states, lengths, *weights, H, direction)
    model = openvino.Model(list(node.outputs()), [x, lengths, *states])
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    found = compiled([draw(B, T, D), LENGTHS, *(draw(B, directions, H) for _ in states)])
    return found[0].copy(), found[1].copy()


print("openvino", openvino.__version__, "lengths", LENGTHS)
inside = (np.arange(T) < LENGTHS[:, None])[:, None, :, None]
for kind in GATES:
    for directions in (1, 2):
        y, final = run(kind, directions, B, T)
        where = np.broadcast_to(inside, y.shape)
        for rows, steps in ((-1, T), (B, -1), (-1, -1)):
            other, last = run(kind, directions, rows, steps)
            off = np.abs(y - other)
            print(f"{kind}, directions: {directions}, rows {rows}, steps {steps}: off by "
                  f"{off[where].max():.1e} within the lengths, {off[~where].max():.1e} beyond, "
                  f"{np.abs(final - last).max():.1e} in the final state")  # fmt: skip
