"""Keras, torch backend: NaN in masked steps makes every gradient NaN, though outputs are right.

Masked steps are computed, and their results selected away: 0 times the derivative at a NaN.
Size: every gradient is lost. Seen with keras 3.15.1; no report known.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np
import torch

x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
mask = np.arange(5) < np.array([[3], [5]])
keras.utils.set_random_seed(0)
layer = keras.layers.LSTM(4)
layer.build((None, None, 3))

print("keras", keras.__version__, keras.backend.backend())
for what, fill in (("numbers", 7.0), ("NaN", np.nan)):
    given = np.where(mask[:, :, None], x, fill).astype("float32")
    h = layer(torch.tensor(given), mask=torch.tensor(mask))
    grads = torch.autograd.grad(h.sum(), [v.value for v in layer.trainable_variables])
    finite = all(bool(torch.isfinite(g).all()) for g in grads)
    print(f"{what} in masked steps: sum of h {h.sum().item():.6f}, gradients finite: {finite}")
