"""FlashRNN: a row of the sLSTM has other outputs if another row of the batch has a state.

The backends vanilla and vanilla_fwbw ask whether n is 0 in the whole batch, where it should be
asked of each entry, as the CUDA kernels do: a row that starts from zeros, among others that go on,
gets another stabiliser, and its n, held at 1 or above, no longer fits. Right is 0 below, as rows
are independent. Size: 0.47 below, of outputs in [-1, 1]. Seen with flashrnn 1.0.8; no report known.
"""

from importlib.metadata import version

import numpy as np
import torch
from flashrnn.flashrnn import flashrnn

rng = np.random.default_rng(0)
shapes = (2, 3, 4, 1, 3), (4, 1, 3, 3), (4, 1, 3)
Wx, R, b = (torch.tensor(rng.standard_normal(shape), dtype=torch.float32) for shape in shapes)
zeros = torch.zeros(4, 2, 1, 1, 3)
going_on = zeros.clone()
going_on[:, 1] = torch.tensor([0.1, 0.5, 1.5, 0.2])[:, None, None, None]

print("flashrnn", version("flashrnn"))
for backend in ("vanilla", "vanilla_fwbw"):
    given = {"function": "slstm", "backend": backend, "dtype": "float32"}
    alone, _ = flashrnn(Wx[:1], R, b, states=zeros[:, :1], **given)
    both, _ = flashrnn(Wx, R, b, states=going_on, **given)
    off = (alone[0, 0] - both[0, 0]).abs().amax(dim=(1, 2)).numpy()
    print(f"{backend}: row 0 off by {off.round(4).tolist()} at steps 0 to 2 if row 1 has a state")
