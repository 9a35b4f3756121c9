"""Keras, torch and JAX backends: layers with dtype="float64" compute in float32.

``keras.ops.matmul`` of two float64 arrays rounds to float32, so results are float64 arrays of
float32 accuracy. On torch an LSTM without a mask takes another path, and is right; on JAX a
SimpleRNN without a mask raises. Size: 1e-7 relative, where float64 has 1e-16. Seen with keras
3.15.1; reported: keras-team/keras#23704. Run with KERAS_BACKEND=torch or jax.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
if os.environ["KERAS_BACKEND"] == "jax":
    import jax

    jax.config.update("jax_enable_x64", True)
import keras
import numpy as np

D, H, B, T = 3, 4, 2, 5
rng = np.random.default_rng(0)
x = rng.standard_normal((B, T, D))


def simple(W, U, b):
    h, ys = np.zeros((B, H)), []
    for t in range(T):
        h = np.tanh(x[:, t] @ W + h @ U + b)
        ys.append(h)
    return np.stack(ys, 1)


def sigma(a):
    return 1 / (1 + np.exp(-a))


def lstm(W, U, b):
    h, c, ys = np.zeros((B, H)), np.zeros((B, H)), []
    for t in range(T):
        i, f, g, o = np.split(x[:, t] @ W + h @ U + b, 4, axis=1)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = sigma(o) * np.tanh(c)
        ys.append(h)
    return np.stack(ys, 1)


print("keras", keras.__version__, keras.backend.backend())
for kind, right in (("SimpleRNN", simple), ("LSTM", lstm)):
    for masked in (False, True):
        layer = getattr(keras.layers, kind)(H, dtype="float64", return_sequences=True)
        layer.build((None, None, D))
        weights = [rng.standard_normal(v.shape) for v in layer.trainable_variables]
        for variable, array in zip(layer.trainable_variables, weights, strict=True):
            variable.assign(array)
        mask = keras.ops.ones((B, T), dtype="bool") if masked else None
        what = f"{kind}, {'a mask of ones' if masked else 'no mask'}"
        try:
            y = layer(keras.ops.convert_to_tensor(x, dtype="float64"), mask=mask)
        except TypeError as error:
            print(f"{what}: raises {type(error).__name__}")
            continue
        y = keras.ops.convert_to_numpy(y)
        print(f"{what}: {y.dtype}, off by {np.abs(y - right(*weights)).max():.1e}")
