"""FlashRNN: the backends without CUDA ignore options of the gradient, without a word.

``gradient_recurrent_cut`` is to cut the gradient at every recurrent product: no gradient of an
output reaches the inputs of the steps before it. Both backends take it and return the whole
gradient. ``gradient_recurrent_clipval`` is ignored by vanilla, vanilla_fwbw raises. Size: all of
the option. Seen with flashrnn 1.0.8; no report known.
"""

from importlib.metadata import version

import numpy as np
import torch
from flashrnn.flashrnn import FlashRNNConfig, flashrnn

rng = np.random.default_rng(0)
shapes = (2, 5, 4, 1, 3), (4, 1, 3, 3), (4, 1, 3)
Wx, R, b = (torch.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes)

print("flashrnn", version("flashrnn"))
for backend in ("vanilla", "vanilla_fwbw"):
    for option in ({}, {"gradient_recurrent_cut": True}, {"gradient_recurrent_clipval": 1e-3}):
        config = FlashRNNConfig(backend=backend, num_heads=1, head_dim=3, dtype="float32", **option)
        try:
            states, _ = flashrnn(Wx, R, b, config=config)
            (gradient,) = torch.autograd.grad(states[0, :, -1].sum(), Wx)
        except TypeError as error:
            print(f"{backend}, {option}: {error}")
            continue
        found = gradient.abs().amax(dim=(0, 2, 3, 4)).numpy()
        print(
            f"{backend}, {option}: of the last output, at steps 0 to 4: {found.round(4).tolist()}"
        )
