"""torch.ao: a row's outputs of a dynamically quantised LSTM or GRU depend on the other rows.

The engine quantises what it reads with one range for the whole input, and one for the hidden states
of all rows in each step. So a row moves by some 1e-2 when others join it in a batch, and outputs of
a step depend on later steps. Right would be that neither has any influence, as in torch.nn's
layers. Seen with torch 2.13.0, engine x86; no report known (pytorch/pytorch#152813 is about a
metric that falls).
"""

import warnings

import torch

warnings.simplefilter("ignore")  # all of torch.ao is deprecated
torch.manual_seed(0)
x = torch.randn(6, 4, 5)
later = x.clone()
later[-1] *= 3

print("torch", torch.__version__, torch.backends.quantized.engine)
for kind in (torch.nn.LSTM, torch.nn.GRU):
    layer = kind(5, 8)
    (quantised,) = torch.ao.quantization.quantize_dynamic(
        torch.nn.Sequential(layer), {kind}, dtype=torch.qint8
    )
    for module in (layer, quantised):
        with torch.no_grad():
            whole = module(x)[0]
            alone = max(
                float((module(x[:, [b]])[0][:, 0] - whole[:, b]).abs().max()) for b in range(4)
            )
            before = float((module(later)[0][:-1] - whole[:-1]).abs().max())
        name = type(module).__name__
        print(
            f"{name}: a row alone differs by {alone:.1e}; with another last step, the steps "
            f"before differ by {before:.1e}"
        )
