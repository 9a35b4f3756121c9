"""transformers: a second call of several steps of a Mamba layer forgets the memory of the first.

Right is one call of the whole sequence. With a cache, a call of one step goes on from the memory in
it, and so does the convolution in every call; but the scan of a longer call takes no initial state,
so a prefill in pieces, or several steps to be verified at once, begin from zeros, without a word.
Mamba-2, which was mended, and Qwen3-Next go on. Seen with transformers 5.24.0 and torch 2.13.0;
similar: huggingface/transformers#46032.
"""

from importlib.metadata import version

import torch
from transformers import DynamicCache, Mamba2Config, MambaConfig
from transformers.models.mamba.modeling_mamba import MambaModel
from transformers.models.mamba2.modeling_mamba2 import Mamba2Model

print("transformers", version("transformers"), "torch", torch.__version__)
mamba = MambaConfig(vocab_size=9, hidden_size=8, state_size=4, num_hidden_layers=1)
mamba2 = Mamba2Config(
    vocab_size=9, hidden_size=8, state_size=4, num_hidden_layers=1, num_heads=4, head_dim=4,
    n_groups=1, chunk_size=4,
)  # fmt: skip

for model_class, config in (MambaModel, mamba), (Mamba2Model, mamba2):
    torch.manual_seed(0)
    model, x = model_class(config).eval(), torch.randn(1, 8, 8)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        whole = model(inputs_embeds=x, use_cache=True).last_hidden_state
        for pieces in (4, 1, 1, 1, 1), (4, 4):
            cache, seen = DynamicCache(config=config), []
            for part in x.split(pieces, dim=1):
                seen.append(model(inputs_embeds=part, cache=cache, use_cache=True))
            apart = (torch.cat([s.last_hidden_state for s in seen], 1) - whole).abs().max().item()
            print(f"{model_class.__name__} in calls of {pieces}: {apart:.2g} from one call")
