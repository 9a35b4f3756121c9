"""MLX: exp and sigmoid of float64 arrays have the accuracy of float32, and so have LSTM and GRU.

Size: 1e-7 relative, where tanh has 1e-16. Seen with mlx 0.32.4 on the CPU; reported:
ml-explore/mlx#3047 and #4158.
"""

import mlx.core as mx
import mlx.nn as nn
import numpy as np


def sigma(a):
    return 1 / (1 + np.exp(-a))


mx.set_default_device(mx.cpu)
mx.random.seed(0)
print("mlx", mx.__version__)
z = np.linspace(-6, 6, 1000)
for name, right in {"tanh": np.tanh, "exp": np.exp, "sigmoid": sigma}.items():
    got = np.array(getattr(mx, name)(mx.array(z, dtype=mx.float64)))
    print(f"{name}: {got.dtype}, largest relative error {np.abs(got / right(z) - 1).max():.1e}")

layer = nn.LSTM(3, 4)
layer.set_dtype(mx.float64)
x = np.random.default_rng(0).standard_normal((1, 1, 3))
i, f, g, o = np.split(x[0, 0] @ np.array(layer.Wx).T + np.array(layer.bias), 4)
c = np.array(layer(mx.array(x, dtype=mx.float64))[1])[0, 0]
error = np.abs(c / (sigma(i) * np.tanh(g)) - 1).max()
print(f"LSTM, c after one step: {c.dtype}, largest relative error {error:.1e}")
