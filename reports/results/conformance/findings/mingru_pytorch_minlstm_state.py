"""minGRU-pytorch: a minLSTM that is given a state begins a call of several steps from g(h), not h.

Right is what its own calls of one step do: they mix the given state h with the candidate. The scan
takes log_g(prev_hidden) where minGRU takes prev_hidden.log(): with h = 2 it begins from 2.5. What
a sequence in pieces gives so depends on how long they are; from no state, both agree. Seen with
minGRU-pytorch 0.2.1 and torch 2.13.0; no report known.
"""

from importlib.metadata import version

import torch
from minGRU_pytorch.minGRU import minGRU
from minGRU_pytorch.minLSTM import minLSTM

torch.manual_seed(0)
x = torch.randn(1, 3, 4, dtype=torch.float64)
h = torch.full((1, 1, 4), 2.0, dtype=torch.float64)

print("minGRU-pytorch", version("minGRU-pytorch"), "torch", torch.__version__)
for layer in (minGRU(4).double(), minLSTM(4).double()):
    now, steps = h, []
    for x_t in x.split(1, dim=1):
        y, now = layer(x_t, now, return_next_prev_hidden=True)
        steps.append(y)
    apart = (layer(x, h) - torch.cat(steps, dim=1)).abs().max().item()
    print(f"{type(layer).__name__}: three steps in one call and in three differ by {apart:.2g}")
