"""TensorFlow: BlockLSTM clips c to [-3, 3] unless told otherwise, and its gradient ignores that.

With c0 = 5 and an open forget gate, c is 3 and does not depend on c0, but dc/dc0 is 1 on the tape.
BlockLSTMV2 does not clip by default; where it is told to, its gradient ignores it, too. Seen with
tensorflow 2.21.0; no report known.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf

zero = tf.zeros(1)
BIAS = {"BlockLSTM": [0.0, 0.0, 9.0, 9.0], "BlockLSTMV2": [0.0, 9.0, 0.0, 9.0]}
print("tensorflow", tf.__version__)
for op, bias in BIAS.items():
    for clip in ({}, {"cell_clip": -1.0}, {"cell_clip": 3.0}):
        c0 = tf.constant([[5.0]])
        with tf.GradientTape() as tape:
            tape.watch(c0)
            out = getattr(tf.raw_ops, op)(
                seq_len_max=1, x=tf.ones((1, 1, 1)), cs_prev=c0, h_prev=tf.zeros((1, 1)),
                w=tf.zeros((2, 4)), wci=zero, wcf=zero, wco=zero, b=tf.constant(bias), **clip,
            )  # fmt: skip
            c = tf.reduce_sum(out.cs)
        print(f"{op}, {clip or 'default'}: c0 = 5, c = {c.numpy():.3f}, "
              f"dc/dc0 = {tape.gradient(c, c0).numpy().item():.3f}")  # fmt: skip
