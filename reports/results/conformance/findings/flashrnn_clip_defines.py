"""FlashRNN and xLSTM: CUDA kernels are compiled to clip outputs at the bound of the gradient.

``forward_clipval`` is never read: the bound of the outputs is taken from
``gradient_recurrent_clipval``. So asking for clipped gradients clips h too, at the same number,
and asking for clipped outputs does nothing. Right would be FORWARD_CLIPVAL=0.5 where 0.5 is
printed as asked for. Shown by the compiler's arguments; no kernel is run. Seen with flashrnn 1.0.8
and xlstm 2.0.6; no report known.
"""

from importlib.metadata import version

from flashrnn.flashrnn import FlashRNNConfig
from xlstm.blocks.slstm.cell import sLSTMCellConfig

print("flashrnn", version("flashrnn"), "and xlstm", version("xlstm"))
for config in (FlashRNNConfig, sLSTMCellConfig):
    sizes = {"num_heads": 1, "dtype": "float32"}
    sizes |= {"head_dim": 4} if config is FlashRNNConfig else {"hidden_size": 4}
    for asked in ({"forward_clipval": 0.5}, {"gradient_recurrent_clipval": 0.25}):
        made = config(**sizes, **asked).defines
        print(f"{config.__name__}, {asked}:", [d for d in made if "CLIPVAL" in d])
