"""transformers: the RG-LRU of RecurrentGemma computes float64 in float32.

Right is the recurrence h = a h + x in float64, whose state is rounded to 53 bits. ``_rnn_scan``
casts to ``acc_dtype``, float32 whatever the input, and returns the result as float64. Seen with
transformers 5.24.0 and torch 2.13.0; no report known.
"""

from importlib.metadata import version

import torch
from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRglru

torch.manual_seed(0)
scan = RecurrentGemmaRglru._rnn_scan
x, a = torch.randn(2, 20, 3, dtype=torch.float64), torch.rand(2, 20, 3, dtype=torch.float64)
never = torch.zeros(2, 20, 1, dtype=torch.bool)
y, _ = scan(None, hidden_states=x, recurrent_gate=a, reset=never, recurrent_states=None)

h, right = torch.zeros(2, 3, dtype=torch.float64), []
for t in range(20):
    h = a[:, t] * h + x[:, t]
    right.append(h)

print("transformers", version("transformers"), "torch", torch.__version__)
error = (y - torch.stack(right, dim=1)).abs().max().item()
print(f"{y.dtype}, off by {error:.1e}; float64 rounds to 1e-16")
