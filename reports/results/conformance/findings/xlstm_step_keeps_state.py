"""xLSTM: ``sLSTMCell.step`` returns the state that it was given, not the new one.

Right is the state that ``forward`` returns: a loop over ``step`` is then one call of ``forward``.
Size: every step after the first starts from the first one's state. Its own layer calls ``forward``
in its ``step``, and is not affected. Seen with xlstm 2.0.6, in both functions; no report known.
"""

from importlib.metadata import version

import numpy as np
import torch
from xlstm.blocks.slstm.cell import sLSTMCell, sLSTMCellConfig

print("xlstm", version("xlstm"))
for function, states in (("lstm", 2), ("slstm", 4)):
    torch.manual_seed(0)
    settings = {"bias_init": "standard", "recurrent_weight_init": "standard", "num_heads": 1}
    cell = sLSTMCell(
        sLSTMCellConfig(
            hidden_size=4, backend="vanilla", function=function, output_shape="BSH", **settings
        )
    )
    x = torch.tensor(np.random.default_rng(0).standard_normal((2, 5, 16)), dtype=torch.float32)
    with torch.no_grad():
        whole, last = cell(x)
        state, outputs = torch.zeros(states, 2, 4), []
        for t in range(5):
            given = state
            y, state = cell.step(x[:, t : t + 1], given)
            outputs.append(y)
    off = (torch.cat(outputs, dim=1) - whole).abs().amax(dim=(0, 2)).numpy()
    print(f"{function}: step by step off by {off.round(6).tolist()} at steps 0 to 4;")
    print(f"  the state returned is the one given: {state is given}; last {last[0, 0].tolist()}")
