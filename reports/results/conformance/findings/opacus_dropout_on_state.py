"""Opacus: dropout acts on the state that recurs, at every step, and in the last layer, too.

``DPLSTM``, ``DPGRU`` and ``DPRNN`` take ``dropout`` as torch.nn does, and warn that it is added
"after all but last recurrent layer". In training they drop entries of h inside the loop over steps,
so that the next step and the outputs of the last layer have zeros. Size: an entry of every state in
1/p. Right: masks between layers alone. Seen with opacus 1.6.0 and torch 2.13.0; no report known.
"""

import opacus
import torch
from opacus.layers import DPGRU, DPLSTM, DPRNN

torch.manual_seed(0)
x = torch.randn(6, 4, 3)

print("opacus", opacus.__version__, "torch", torch.__version__)
for dropped, plain in ((DPLSTM, torch.nn.LSTM), (DPGRU, torch.nn.GRU), (DPRNN, torch.nn.RNN)):
    zeros = []
    for layer in (dropped(3, 8, num_layers=2, dropout=0.5), plain(3, 8, num_layers=2, dropout=0.5)):
        y, _ = layer(x)
        zeros.append(float((y == 0).float().mean()))
    print(f"{dropped.__name__}: {zeros[0]:.2f} of the last layer's outputs are 0, "
          f"{zeros[1]:.2f} of {plain.__name__}'s")  # fmt: skip
