"""Paddle: an LSTM with proj_size has parameters under wrong names, and outputs in the padding.

The layer's names are handed out in order, so ``weight_ih_l0_reverse`` is the forward cell's
projection. Beyond a row's length outputs are not 0. ``LSTMCell`` with proj_size has no default
state that fits. Seen with paddlepaddle 3.3.1; reported: PaddlePaddle/Paddle#70245 (names).
"""

import paddle

print("paddle", paddle.__version__)
paddle.seed(0)
layer = paddle.nn.LSTM(3, 5, proj_size=2, direction="bidirect")
same = layer.weight_ih_l0_reverse is layer[0].cell_fw.weight_ho
print("weight_ih_l0_reverse is the forward cell's projection:", same)
x, lengths = paddle.ones([2, 3, 3]), paddle.to_tensor([3, 1])
for size in (0, 2):
    y, _ = paddle.nn.LSTM(3, 5, proj_size=size)(x, sequence_length=lengths)
    beyond = float(y[1, 1:].abs().max().item())
    print(f"proj_size={size}: largest |y| beyond the length {beyond:.3g}")
try:
    paddle.nn.LSTMCell(3, 5, proj_size=2)(paddle.ones([2, 3]))
except ValueError as error:
    print("LSTMCell(3, 5, proj_size=2)(x) raises", type(error).__name__)
