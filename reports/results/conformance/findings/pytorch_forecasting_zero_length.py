"""PyTorch Forecasting: rows of length 0 end in the states of other rows, and c in those of h.

Its ``LSTM`` and ``GRU`` take ``lengths`` with 0, run such rows for one step, and put their initial
state in the place of the result by ``masked_scatter``, which reads its source from the start and
not at the place of the mask; the LSTM gives that of h for c, too. Right is the initial state of
that row. The outputs of the one step stay in ``y``, where padding is 0. Seen with
pytorch-forecasting 1.8.0 and torch 2.13.0; no report known.
"""

from importlib.metadata import version

import torch
from pytorch_forecasting.models.nn.rnn import LSTM

torch.manual_seed(0)
layer = LSTM(1, 1)
x = torch.ones(2, 3, 1)
h0 = torch.tensor([[[1.0], [2.0], [3.0]]])
c0 = torch.tensor([[[10.0], [20.0], [30.0]]])
y, (h, c) = layer(x, (h0, c0), lengths=torch.tensor([2, 1, 0]))

print("pytorch-forecasting", version("pytorch-forecasting"), "torch", torch.__version__)
print(f"row 2 has no step: h_0 = {h0[0, 2].item()}, c_0 = {c0[0, 2].item()}")
print(f"                   h_n = {h[0, 2].item()}, c_n = {c[0, 2].item()}, y = {y[:, 2].tolist()}")
