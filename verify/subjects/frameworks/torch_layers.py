"""``torch.nn.RNN``, ``LSTM``, ``GRU`` and their ``*Cell``s, on the CPU."""

from __future__ import annotations

from ...cases.options import Options
from ..torch_parameters import CONVENTIONS, stepped
from ..torch_subject import TorchCell, TorchLayer

FAMILIES = {"torch": ("torch",)}
INSTALL = "torch"

_LAYER = Options(
    batch_first=True, unbatched=True, dropout=True, jvp=True, named_parameters=True
)  # fmt: skip
_LSTM = Options(
    projection=True, batch_first=True, unbatched=True, dropout=True, jvp=True, named_parameters=True
)
_CELL = Options(layers=False, bidirectional=False, lengths=False, named_parameters=True)


SUBJECTS = (
    TorchLayer("torch:RNN", CONVENTIONS["rnn"], _LAYER, kind="RNN"),
    TorchLayer("torch:RNN-relu", CONVENTIONS["rnn-relu"], _LAYER, kind="RNN", nonlinearity="relu"),
    TorchLayer("torch:LSTM", CONVENTIONS["lstm"], _LSTM, kind="LSTM"),
    TorchLayer("torch:GRU", CONVENTIONS["gru"], _LAYER, kind="GRU"),
    TorchCell("torch:RNNCell", stepped("rnn"), _CELL, kind="RNNCell"),
    TorchCell("torch:LSTMCell", stepped("lstm"), _CELL, kind="LSTMCell"),
    TorchCell("torch:GRUCell", stepped("gru"), _CELL, kind="GRUCell"),
)
