"""Paddle: wrong gradients of two directions with rows of different lengths and an initial state.

SimpleRNN and LSTM: the backward direction's weight_hh; GRU: also its biases, weight_ih, x and the
initial state. With equal lengths, in one direction, or from a zero state they are right. Compared
with central differences in float64. Size: that of the gradient. Seen with paddlepaddle 3.3.1; no
report known.
"""

import numpy as np
import paddle

paddle.set_default_dtype("float64")
paddle.seed(0)
rng = np.random.default_rng(0)
T, B, D, H = 3, 2, 2, 2
STEP = 1e-6


def numeric(loss, leaf):
    """Return central differences of a loss by every number of a tensor."""
    old, found = leaf.numpy().copy(), np.zeros(leaf.shape)
    for k in np.ndindex(*old.shape):
        for sign in (1, -1):
            new = old.copy()
            new[k] += sign * STEP
            with paddle.no_grad():
                leaf.set_value(new)
                found[k] += sign * float(loss().item()) / (2 * STEP)
    leaf.set_value(old)
    return found


def errors(kind, lengths, direction="bidirect", scale=1.0):
    layer = getattr(paddle.nn, kind)(D, H, direction=direction, time_major=True)
    passes = 2 if direction == "bidirect" else 1
    x = paddle.to_tensor(rng.standard_normal((T, B, D)))
    count = 2 if kind == "LSTM" else 1
    states = [paddle.to_tensor(scale * rng.standard_normal((passes, B, H))) for _ in range(count)]
    dy = paddle.to_tensor(rng.standard_normal((T, B, passes * H)))
    leaves = dict(layer.named_parameters())
    leaves |= {"x": x, **dict(zip(("h0", "c0"), states, strict=False))}
    for leaf in leaves.values():
        leaf.stop_gradient = False

    def loss():
        start = tuple(states) if count > 1 else states[0]
        return (layer(x, start, paddle.to_tensor(lengths))[0] * dy).sum()

    found = paddle.grad([loss()], list(leaves.values()))
    off = {}
    for (name, leaf), gradient in zip(leaves.items(), found, strict=True):
        right = numeric(loss, leaf)
        error = np.abs(right - gradient.numpy()).max()
        if error > STEP:
            off[name] = f"off by {error:.2g}, largest {np.abs(right).max():.2g}"
    return off or "right"


print("paddle", paddle.__version__)
for kind in ("SimpleRNN", "LSTM", "GRU"):
    print(f"{kind}, two directions, lengths 3 and 1: {errors(kind, [3, 1])}")
    print(f"{kind}, two directions, lengths 3 and 3: {errors(kind, [3, 3])}")
    print(f"{kind}, the same, 3 and 1, from zeros: {errors(kind, [3, 1], scale=0.0)}")
    print(f"{kind}, one direction, lengths 3 and 1: {errors(kind, [3, 1], direction='forward')}")
