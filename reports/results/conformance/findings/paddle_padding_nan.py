"""Paddle: NaN in the padding of a short row reaches outputs, final states and gradients.

Padding is masked by a product with 0, and 0 times NaN is NaN. Finite padding has no influence,
but for a GRU whose reset gate underflows in it (paddle_gru_gradient_nan.py). Size: every gradient
is lost. Seen with paddlepaddle 3.3.1; no report known.
"""

import numpy as np
import paddle


def spoilt(tensor):
    return not bool(np.isfinite(tensor.numpy()).all())


print("paddle", paddle.__version__)
for kind in ("SimpleRNN", "LSTM", "GRU"):
    for padding in (1e3, np.nan):
        paddle.seed(0)
        layer = getattr(paddle.nn, kind)(2, 3)
        data = np.random.default_rng(0).standard_normal((2, 3, 2)).astype("float32")
        data[1, 1:] = padding
        y, final = layer(paddle.to_tensor(data), sequence_length=paddle.to_tensor([3, 1]))
        h = final[0] if isinstance(final, tuple) else final
        y[:, 0].sum().backward()
        print(f"{kind}, padding {padding}: not finite: y beyond the length {spoilt(y[1, 1:])}, "
              f"y within {spoilt(y[1, :1])}, the short row's final h {spoilt(h[:, 1])}, "
              f"gradient of weight_hh {spoilt(layer.weight_hh_l0.grad)}, "
              f"of weight_ih {spoilt(layer.weight_ih_l0.grad)}")  # fmt: skip
