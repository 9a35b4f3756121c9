"""TensorFlow: GradientTape pulls back through BlockLSTMV2 with the gates in BlockLSTM's order.

BlockLSTMV2 packs its gates i, f, g, o, BlockLSTM i, g, f, o; the registered gradient of both is the
op BlockLSTMGrad, of the latter. The op BlockLSTMGradV2, which is right, is called by nothing. Size:
that of the gradient. Seen with tensorflow 2.21.0; no report known.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf

T, B, D, H = 3, 2, 3, 4
STEP = 1e-2
rng = np.random.default_rng(0)


def draw(*shape):
    return tf.constant(0.5 * rng.standard_normal(shape), tf.float32)


x, c0, h0, w, b = draw(T, B, D), draw(B, H), draw(B, H), draw(D + H, 4 * H), draw(4 * H)
dy, zero = draw(T, B, H), tf.zeros(H)
given = dict(seq_len_max=T, x=x, cs_prev=c0, h_prev=h0, wci=zero, wcf=zero, wco=zero, b=b)


def layer(w):
    return tf.raw_ops.BlockLSTMV2(**given, w=w, cell_clip=-1.0)


def loss(w):
    return tf.reduce_sum(layer(w).h * dy)


with tf.GradientTape() as tape:
    tape.watch(w)
    value = loss(w)
taped = tape.gradient(value, w).numpy()

out = layer(w)
direct = tf.raw_ops.BlockLSTMGradV2(
    **given, w=w, i=out.i, cs=out.cs, f=out.f, o=out.o, ci=out.ci, co=out.co, h=out.h,
    cs_grad=tf.zeros_like(out.cs), h_grad=dy, use_peephole=False,
).w_grad.numpy()  # fmt: skip

numeric = np.zeros((D + H, 4 * H))
for k in np.ndindex(*numeric.shape):
    step = np.zeros(numeric.shape, np.float32)
    step[k] = STEP
    numeric[k] = (loss(w + step) - loss(w - step)) / (2 * STEP)

print("tensorflow", tf.__version__)
print(f"gradient of w against central differences (largest {np.abs(numeric).max():.2g}): "
      f"the tape's is off by {np.abs(taped - numeric).max():.2g}, "
      f"BlockLSTMGradV2's by {np.abs(direct - numeric).max():.2g}")  # fmt: skip
