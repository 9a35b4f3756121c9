"""AllenNLP: nothing flows back through the final states of the shorter rows of a batch.

``AugmentedLstm`` copies the states of all rows by ``.data.clone()`` at every step, and writes those
of the rows that go on into the copy: the others are cut off from what they were computed from.
Right is the gradient of torch.nn.LSTM, which is the same layer here; that of the shorter row is 0
instead. Outputs are right. Seen with allennlp-light 1.0.0 and torch 2.13.0; reported:
allenai/allennlp#2530, and fixed there by #2534, before the layer was rewritten (#3772).
"""

from importlib.metadata import version

import torch
from allennlp_light.modules.augmented_lstm import AugmentedLstm
from torch.nn.utils.rnn import pack_padded_sequence

torch.manual_seed(0)
layer = AugmentedLstm(3, 4, use_highway=False).double()
right = torch.nn.LSTM(3, 4).double()
cell = layer.cell
with torch.no_grad():
    right.weight_ih_l0.copy_(cell.input_linearity.weight)
    right.weight_hh_l0.copy_(cell.state_linearity.weight)
    right.bias_ih_l0.copy_(cell.input_linearity.bias)
    right.bias_hh_l0.copy_(cell.state_linearity.bias)
x = torch.randn(5, 2, 3, dtype=torch.float64)

print("allennlp-light", version("allennlp-light"), "torch", torch.__version__)
for name, module in (("AugmentedLstm", layer), ("torch.nn.LSTM", right)):
    given = x.clone().requires_grad_()
    _, (h, c) = module(pack_padded_sequence(given, torch.tensor([5, 2])))
    (dx,) = torch.autograd.grad(h.sum() + c.sum(), given)
    sizes = dx.abs().sum((0, 2)).tolist()
    print(f"{name}: h_n of row 1 is {h[0, 1].tolist()}; size of the gradient by rows: {sizes}")
