"""DeepCTR-Torch: ``AUGRUCell`` has one bias in the place of two.

Its constructor registers ``bias_hh`` under the name ``bias_ih``: both names are one parameter,
which is added twice, to r, z and n alike. Right are two biases, as the comments beside it,
``AGRUCell`` and torch.nn.GRUCell have them: here, with zero weights, a bias_ih of 1 and a bias_hh
of 0, z is 0.73 and not 0.88. Nothing shows at first, as biases begin at 0. Seen with deepctr-torch
0.3.0 and torch 2.13.0; no report known.
"""

from importlib.metadata import version

import torch
from deepctr_torch.layers.sequence import AGRUCell, AUGRUCell

print("deepctr-torch", version("deepctr-torch"), "torch", torch.__version__)
for kind in (AGRUCell, AUGRUCell):
    cell = kind(3, 4)
    names = [name for name, _ in cell.named_parameters()]
    print(f"{kind.__name__}: {names}; bias_ih is bias_hh: {cell.bias_ih is cell.bias_hh}")

cell = AUGRUCell(1, 1)
with torch.no_grad():
    for parameter in cell.parameters():
        parameter.zero_()
    cell.bias_ih.fill_(1.0)
h = cell(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1))
z, n = torch.sigmoid(torch.tensor(1.0)), torch.tanh(torch.tensor(1.0))
print(f"h = {h.item():.6f}, expected z n = {(z * n).item():.6f}")
