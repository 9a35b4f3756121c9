"""thinc: the gradient of its ``LSTM`` is wrong, on the CPU, of one row and one layer too.

Outputs are those of an LSTM. Of its backward pass, which is written by hand, ``backprop_lstm`` in
``numpy_ops.pyx``, the sums of the parameters' gradients begin with the parameters (``_split_weights``
is given ``params``, not ``d_params``), the first step's gates get no gradient, and that of U is a
product with h of the same step. Right is the slope of the loss in a direction, which differences of
the loss measure here to some thousandths. Seen with thinc 9.1.1 and numpy 2.4.6; no report known.
"""

from importlib.metadata import version

import numpy as np
from thinc.api import LSTM
from thinc.types import Padded


def padded(steps):
    T, B = steps.shape[:2]
    return Padded(steps, np.full(T, B, "i"), np.full(B, T, "i"), np.arange(B, dtype="i"))


print("thinc", version("thinc"), "numpy", np.__version__)
for T in (1, 2, 5):
    rng = np.random.default_rng(0)
    model = LSTM(4, 3)
    model.initialize()
    parameters = rng.normal(size=model.get_param("LSTM").shape).astype("f") / 2
    x, dy = rng.normal(size=(T, 1, 3)).astype("f"), rng.normal(size=(T, 1, 4)).astype("f")

    def loss(given, steps):
        model.set_param("LSTM", given.astype("f"))
        return float(np.sum(model.predict(padded(steps)).data.astype(float) * dy))

    model.set_param("LSTM", parameters)
    _, backprop = model(padded(x), is_train=True)
    dx = backprop(padded(dy.copy())).data
    dp = model.get_grad("LSTM")
    for name, gradient, at in (("x", dx, x), ("parameters", dp, parameters)):
        along = rng.normal(size=at.shape).astype("f")
        ends = [at + sign * 1e-2 * along for sign in (1, -1)]
        losses = [loss(parameters, e) if name == "x" else loss(e, x) for e in ends]
        slope = (losses[0] - losses[1]) / 2e-2
        print(
            f"{T} steps, {name}: backprop says {np.sum(gradient * along):+.4f}, it is {slope:+.4f}"
        )
