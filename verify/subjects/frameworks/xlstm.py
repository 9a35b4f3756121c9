"""xlstm's ``sLSTMCell`` with ``function="lstm"``: the plain LSTM of that package, on the CPU.

It takes W x and has only U and the bias, so the adapter computes the product with W in torch.
It has one head here: with more, U is block-diagonal. Only the backend ``vanilla`` runs on the CPU.

The cell of the sLSTM (``function="slstm"``) is no LSTM, and the reference has no such cell. Its
input gate is exponential, and it carries a normaliser n and a stabiliser m beside c (Beck et al.,
"xLSTM: Extended Long Short-Term Memory", 2024):
m' = max(log σ(f) + m, i), or i in the first step; i' = exp(i − m'); f' = exp(log σ(f) + m − m');
c' = f' c + i' tanh z; n' = f' n + i'; h' = σ(o) c' / n'.

It ignores ``lengths``, so they are not offered; ``step`` returns its initial state.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ....reference.arrays import Floats
from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ..framework import FrameworkSubject, imported
from ..protocol import Built, SubjectUnavailable
from ..torch_module import Call, TorchModule, arrays_alone, import_torch, torch_dtype

FAMILIES = {"xlstm": ("xlstm", "torch")}
INSTALL = "xlstm torch"

MODULE = "xlstm.blocks.slstm.cell"


@dataclass(frozen=True)
class XlstmCell(FrameworkSubject):
    """``xlstm.blocks.slstm.cell.sLSTMCell`` as an LSTM of one head."""

    def version(self) -> str:
        imported(MODULE, INSTALL)
        torch = import_torch().__version__
        return f"xlstm {version('xlstm')} (torch {torch}), CPU, backend vanilla"

    def build(self, case: Case) -> Built:
        """Return the cell behind a linear map; SubjectUnavailable unless it is the vanilla LSTM."""
        torch, slstm = import_torch(), imported(MODULE, INSTALL)
        settings = slstm.sLSTMCellConfig(
            hidden_size=case.H,
            num_heads=1,
            backend="vanilla",
            function="lstm",
            dtype="float32",  # it knows no float64; of parameters and input it keeps what they have
            input_shape="BSGNH" if case.layout == "batch-first" else "SBGNH",
            output_shape="BSH" if case.layout == "batch-first" else "SBH",
        )
        cell = slstm.sLSTMCell(settings)
        plain = slstm.slstm_pointwise_function_registry["lstm"]
        if type(cell) is not slstm.sLSTMCell_vanilla or cell.pointwise is not plain:
            raise SubjectUnavailable(f"xlstm made another cell than asked for: {cell!r}")
        call = _call_of(cell.to(torch_dtype(torch, case)))
        return TorchModule(arrays_alone(torch, self, case), case, call)


def _call_of(cell: Any) -> Call:
    """Return a call of the cell with the case's parameters instead of its own."""

    def call(
        torch: Any, module: Any, x: Any, state: Any, lengths: Floats | None
    ) -> tuple[Any, tuple[Any, ...]]:
        Wx = torch.nn.functional.linear(x, module["weight_ih_l0"])
        # the first axis of the cell's U is that of its heads
        parameters = {
            "_recurrent_kernel_": module["weight_hh_l0"][None],
            "_bias_": module["bias_l0"],
        }
        arguments = (Wx, None if state is None else torch.cat(state))
        y, (h, c) = torch.func.functional_call(cell, parameters, arguments, strict=True)
        return y, (h[None], c[None])

    return call


_OPTIONS = Options(
    layers=False,
    bidirectional=False,
    bias=False,
    lengths=False,
    batch_first=True,
    jvp=True,
    reasons=(
        ("bias", "the cell always has one"),
        ("lengths", "the cell takes them and ignores them"),
        ("no_steps", "reshaping the input raises"),
    ),
)

SUBJECTS = (
    XlstmCell(
        "xlstm:LSTM",
        Convention("lstm", "ifgo", ("ifgo",), time="second", states=("h", "c")),
        _OPTIONS,
    ),
)
