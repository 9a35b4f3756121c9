"""The LSTM with coupled input and forget gate (CIFG): f = 1 - i."""

from __future__ import annotations

from ..arrays import Hidden, Input, Units
from ..cell import Limit
from ..equation import equation
from ..functions import sigmoid_slope
from ..parameters import Parameters
from .lstm import LIMITS, REST, LSTMFamily, input_gate


@equation(
    "E13",
    "lstm.coupled_forget_gate",
    latex=r"f_t = 1 - i_t",
    documents=("Greff et al. 2015",),
    note="takes the place of the forget gate's own weights",
)
def coupled_forget_gate(i: Units) -> Units:
    """Return f (B, H) as the complement of the input gate."""
    return 1 - i


class CoupledLSTM(LSTMFamily):
    """The LSTM with f = 1 - i; gates in the order i, g, o."""

    name = "lstm-coupled"
    title = "LSTM, coupled gates"
    equations = ("lstm.input_gate", "lstm.coupled_forget_gate", "lstm.candidate", *REST)
    gates = ("i", "g", "o")
    limits = (Limit("i = 0 keeps the cell state", (), ("i",), "c", "old"), LIMITS[2])

    def input_and_forget(self, p: Parameters, x: Input, h: Hidden, c: Units) -> tuple[Units, Units]:
        """Return the gates i (E14) and f = 1 - i."""
        i = input_gate(p, x, h)
        return i, coupled_forget_gate(i)

    def input_and_forget_vjp(self, i: Units, f: Units, di: Units, df: Units) -> dict[str, Units]:
        """Pull di and df back to the pre-activation of i."""
        return {"i": (di - df) * sigmoid_slope(i)}


CELLS = (CoupledLSTM(),)
