"""xLSTM: weights named ``fgate`` feed the input gate, those named ``igate`` the forget gate.

What trains in the package runs in it; weights carried elsewhere by their names are exchanged. Seen
with xlstm 2.0.6; reported: NX-AI/xlstm#98 (kept for the sake of models already trained).
"""

from importlib.metadata import version

import numpy as np
import torch
from xlstm.blocks.slstm.layer import sLSTMLayer, sLSTMLayerConfig

torch.manual_seed(0)
layer = sLSTMLayer(
    sLSTMLayerConfig(embedding_dim=4, num_heads=1, backend="vanilla", conv1d_kernel_size=0)
)
seen = []
layer.slstm_cell.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
x = torch.tensor(np.random.default_rng(0).standard_normal((1, 3, 4)), dtype=torch.float32)
with torch.no_grad():
    layer(x)
    products = {name: getattr(layer, name)(x) for name in ("igate", "fgate", "zgate", "ogate")}

print("xlstm", version("xlstm"))
for gate, block in zip("ifzo", seen[0].chunk(4, dim=-1), strict=True):
    fed = [name for name, product in products.items() if torch.equal(product, block)]
    print(f"gate {gate} of the cell is fed by {', '.join(fed)}")
