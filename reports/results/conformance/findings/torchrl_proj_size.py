"""TorchRL: its ``LSTM`` takes ``proj_size``, makes the parameter for it, and then raises.

The constructor hands it to torch.nn.RNNBase, and initial states have the projected width, but no
step projects. Right are outputs of the projected width, or a refusal by the constructor, as of
``bidirectional``. Seen with torchrl 0.14.1 and torch 2.13.0; no report known.
"""

from importlib.metadata import version

import torch
from torchrl.modules import LSTM

print("torchrl", version("torchrl"), "torch", torch.__version__)
layer = LSTM(2, 6, proj_size=3)
print([name for name, _ in layer.named_parameters()])
try:
    y, _ = layer(torch.randn(4, 5, 2))
    print(f"outputs {tuple(y.shape)}")
except RuntimeError as error:
    print(f"RuntimeError: {error}")
