"""xLSTM: ``sLSTMCell.forward(lengths=...)`` takes lengths and ignores them.

Right would be final states at each row's length, or an error. Size: the final state is that of the
last step of the padding. Seen with xlstm 2.0.6; similar: NX-AI/xlstm#15 (packed sequences).
"""

from importlib.metadata import version

import numpy as np
import torch
from xlstm.blocks.slstm.cell import sLSTMCell, sLSTMCellConfig

torch.manual_seed(0)
cell = sLSTMCell(
    sLSTMCellConfig(
        hidden_size=4,
        num_heads=1,
        backend="vanilla",
        function="lstm",
        output_shape="BSH",
        bias_init="standard",
        recurrent_weight_init="standard",
    )
)
x = torch.tensor(np.random.default_rng(0).standard_normal((1, 5, 16)), dtype=torch.float32)
with torch.no_grad():
    short, padded = cell(x[:, :2]), cell(x, lengths=torch.tensor([2]))
    whole = cell(x)
print("xlstm", version("xlstm"))
print(f"final h of the first 2 steps:        {short[1][0, 0].numpy()}")
print(f"final h of 5 steps, lengths = [2]:   {padded[1][0, 0].numpy()}")
print(f"the same as without lengths: {torch.equal(padded[1], whole[1])}")
