"""snnTorch: with reset_mechanism="zero" a potential is set to the input after a spike, not to 0.

Right, by the docstring of Leaky, is U[t+1] = βU[t] + I[t+1] - R(βU[t] + I[t+1]): 0 after a spike,
where R = 1. ``_base_zero`` sets the old potential to 0 and then adds the input: U[t+1] = I[t+1].
Seen with snntorch 1.0.0 and torch 2.13.0; no report known.
"""

from importlib.metadata import version

import torch
from snntorch import Leaky

print("snntorch", version("snntorch"), "torch", torch.__version__)
neuron = Leaky(beta=0.5, threshold=1.0, reset_mechanism="zero")
spike, potential = neuron(torch.tensor([1.5]), torch.tensor([0.0]))
print(f"step 1: input 1.5, potential {potential.item()}, spike {spike.item()}")
_, potential = neuron(torch.tensor([0.7]), potential)
print(f"step 2: input 0.7, potential {potential.item():.2g}; by the docstring 0")
