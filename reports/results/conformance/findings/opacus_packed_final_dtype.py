"""Opacus: the final states of packed input come back in the default dtype, not in the layer's.

``DPLSTM`` and the others gather the final states of rows of different lengths in a tensor that is
made without a dtype: in float64 their last 29 bits are lost. Seen with opacus 1.6.0 and torch
2.13.0; no report known.
"""

import opacus
import torch
from opacus.layers import DPLSTM
from torch.nn.utils.rnn import pack_padded_sequence

torch.manual_seed(0)
layer = DPLSTM(3, 5).double()
x = torch.randn(4, 2, 3, dtype=torch.float64)
packed = pack_padded_sequence(x, torch.tensor([4, 2]))

print("opacus", opacus.__version__, "torch", torch.__version__)
for name, given in (("a tensor", x), ("packed input", packed)):
    _, (h, c) = layer(given)
    print(f"float64, {name}: h_n is {h.dtype}, c_n is {c.dtype}")
