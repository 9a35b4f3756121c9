"""minGRU-pytorch: the scan in log-space loses one to two digits beside the recurrence in steps.

Right is the recurrence, in calls of one step. Sums of logarithms of 1 - z grow with the weights and
with the steps, and their rounding is a relative error of the result, and of gradients. Seen with
minGRU-pytorch 0.2.1 and torch 2.13.0; no report known.
"""

from importlib.metadata import version

import torch
from minGRU_pytorch.minGRU import minGRU

print("minGRU-pytorch", version("minGRU-pytorch"), "torch", torch.__version__)
for scale in (1, 10, 100):
    torch.manual_seed(0)
    exact = minGRU(8).double()
    with torch.no_grad():
        exact.to_hidden_and_gate.weight.mul_(scale)
    x = torch.randn(4, 20, 8, dtype=torch.float64)

    def by_steps(layer, x):
        h, outputs = None, []
        for x_t in x.split(1, dim=1):
            y, h = layer(x_t, h, return_next_prev_hidden=True)
            outputs.append(y)
        return torch.cat(outputs, dim=1)

    right = by_steps(exact, x)
    narrow = minGRU(8)
    narrow.load_state_dict({k: v.float() for k, v in exact.state_dict().items()})
    for name, y in (("steps", by_steps(narrow, x.float())), ("scan", narrow(x.float()))):
        error = ((y - right).abs() / right.abs().clamp(min=1)).max().item()
        print(f"weights times {scale}, float32, {name}: off by {error:.1e}")
