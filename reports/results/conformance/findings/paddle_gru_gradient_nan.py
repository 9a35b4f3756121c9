"""Paddle: gradients of GRU are NaN where its reset gate underflows to 0.

That is at arguments below -88 in float32 and below -708 in float64; the outputs are right. Size:
whatever lies behind that gate is lost. Seen with paddlepaddle 3.3.1; no report known.
"""

import numpy as np
import paddle

print("paddle", paddle.__version__)
for dtype, arguments in (("float32", (-80, -90)), ("float64", (-700, -720))):
    paddle.set_default_dtype(dtype)
    for argument in arguments:
        layer = paddle.nn.GRU(1, 1)
        for parameter in layer.parameters():
            parameter.set_value(np.full(parameter.shape, 0.25, dtype))
        layer.weight_ih_l0.set_value(np.array([[argument], [0.3], [0.2]], dtype))
        x = paddle.ones([1, 1, 1])
        x.stop_gradient = False
        y, _ = layer(x, 0.5 * paddle.ones([1, 1, 1]))
        y.sum().backward()
        print(f"{dtype}, weight of the reset gate {argument}: y {y.item():.6f}, gradients of "
              f"weight_ih (r, z, n) {layer.weight_ih_l0.grad.numpy().ravel()}, "
              f"of x {x.grad.numpy().ravel()}")  # fmt: skip
