"""Keras: NaN in masked steps makes every gradient NaN, though outputs are right (torch, JAX).

Masked steps are computed, and their results selected away: 0 times the derivative at a NaN.
Size: every gradient is lost. Seen with keras 3.15.1, on the backends torch and, with
KERAS_BACKEND=jax, JAX; no report known.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np

x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
mask = np.arange(5) < np.array([[3], [5]])
keras.utils.set_random_seed(0)
layer = keras.layers.LSTM(4)
layer.build((None, None, 3))


def gradients(given):
    if keras.backend.backend() == "torch":
        import torch

        h = layer(torch.tensor(given), mask=torch.tensor(mask)).sum()
        found = torch.autograd.grad(h, [v.value for v in layer.trainable_variables])
        return h.item(), [d.numpy() for d in found]

    import jax

    def function(weights):
        others = [v.value for v in layer.non_trainable_variables]
        h, _ = layer.stateless_call(weights, others, given, mask=mask)
        return h.sum()

    h, found = jax.value_and_grad(function)([v.value for v in layer.trainable_variables])
    return h.item(), found


print("keras", keras.__version__, keras.backend.backend())
for what, fill in (("numbers", 7.0), ("NaN", np.nan)):
    total, found = gradients(np.where(mask[:, :, None], x, fill).astype("float32"))
    finite = all(np.isfinite(d).all() for d in found)
    print(f"{what} in masked steps: sum of h {total:.6f}, gradients finite: {finite}")
