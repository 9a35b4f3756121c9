"""SRU: while gradients are recorded, NaN in the padding makes outputs and final states NaN.

Right is that what stands behind a row's end has no influence; the kernel that runs under no_grad
holds to that. The program in Python masks padded steps by products, ``c_t * (1 - mask) + c_prev *
mask``, and NaN times 0 is NaN. Seen with sru 2.6.0 and torch 2.13.0; no report known.
"""

from importlib.metadata import version

import torch
from sru.modules import SRUCell

torch.manual_seed(0)
cell = SRUCell(3, 4)
x = torch.randn(3, 2, 3)
padded = torch.tensor([[False, False], [False, True], [False, True]])
spoilt = torch.where(padded[..., None], torch.nan, x)

print("sru", version("sru"), "torch", torch.__version__)
for recorded in (False, True):
    for name, given in (("numbers", x), ("NaN", spoilt)):
        with torch.set_grad_enabled(recorded):
            _, c = cell(given, mask_pad=padded)
        state = [round(s, 3) for s in c[1].tolist()]
        print(f"gradients {recorded}, {name} in the padding: final state of row 1 {state}")
