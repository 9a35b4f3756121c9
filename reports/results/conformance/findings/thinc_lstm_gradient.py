"""thinc: the gradient of its ``LSTM`` is wrong, on the CPU, of one row and one layer too.

Outputs are those of an LSTM. Of its backward pass, which is written by hand, ``backprop_lstm`` in
``numpy_ops.pyx``, the sums of the parameters' gradients begin with the parameters
(``_split_weights`` is given ``params``, not ``d_params``), the first step's gates get no gradient,
and that of U is a product with h of the same step. Right is the slope of the loss in a direction,
which differences of the loss measure here to some thousandths. Seen with thinc 9.1.1 and numpy
2.4.6; no report known.
"""

from importlib.metadata import version

import numpy as np
from thinc.api import LSTM
from thinc.types import Padded


def padded(steps):
    T, B = steps.shape[:2]
    return Padded(steps, np.full(T, B, "i"), np.full(B, T, "i"), np.arange(B, dtype="i"))


def loss(model, parameters, x, dy):
    model.set_param("LSTM", parameters.astype("f"))
    return float(np.sum(model.predict(padded(x.astype("f"))).data.astype(float) * dy))


print("thinc", version("thinc"), "numpy", np.__version__)
for T in (1, 2, 5):
    rng = np.random.default_rng(0)
    model = LSTM(4, 3)
    model.initialize()
    p = rng.normal(size=model.get_param("LSTM").shape).astype("f") / 2
    x, dy = rng.normal(size=(T, 1, 3)).astype("f"), rng.normal(size=(T, 1, 4)).astype("f")
    model.set_param("LSTM", p)
    _, backprop = model(padded(x), is_train=True)
    dx = backprop(padded(dy.copy())).data
    dp = model.get_grad("LSTM")
    u, v = 0.01 * rng.normal(size=x.shape), 0.01 * rng.normal(size=p.shape)
    of_x = (loss(model, p, x + u, dy) - loss(model, p, x - u, dy)) / 2
    of_p = (loss(model, p + v, x, dy) - loss(model, p - v, x, dy)) / 2
    print(f"{T} steps, x: backprop says {np.sum(dx * u):+.6f}, it is {of_x:+.6f}")
    print(f"{T} steps, parameters: backprop says {np.sum(dp * v):+.6f}, it is {of_p:+.6f}")
