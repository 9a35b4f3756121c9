"""What a subject says of itself decides what is right, so it has to be what can be."""

from dataclasses import replace

import msgspec
import pytest

from gatewise.verify.cases.options import Options
from gatewise.verify.conventions.convention import Convention, Packed
from gatewise.verify.execution.channel import Meaning, Portrait
from gatewise.verify.execution.soundness import unsound

LSTM = Convention("lstm", "ifgo", ("ifgo", "ifgo"))
OWN = (
    *(Packed(f"x_{gate}", (f"W_{gate}",), "out-in") for gate in "ifgo"),
    *(Packed(f"h_{gate}", (f"U_{gate}",), "out-in") for gate in "ifgo"),
)
EXPLICIT = Portrait("x", ("lstm",), ("float64",), Options(), "", Meaning("explicit"))
TORCH = msgspec.structs.replace(EXPLICIT, meaning=Meaning("torch", convention=LSTM))
NAMED = msgspec.structs.replace(EXPLICIT, meaning=Meaning("own", convention=LSTM, arrays=OWN))


def other(portrait, **fields):
    return msgspec.structs.replace(portrait, **fields)


def solving(problem):
    return other(
        EXPLICIT, options=Options(problem=True), meaning=Meaning("problem", problem=problem)
    )


@pytest.mark.parametrize(("portrait", "like"), [
    (EXPLICIT, None),
    (TORCH, "torch.nn.LSTM"),
    (TORCH, "torch.nn.LSTMCell"),
    (NAMED, "torch.nn.LSTM"),
    (other(EXPLICIT, cells=("none",), meaning=Meaning("recurrence")), None),
    (other(EXPLICIT, meaning=Meaning("", "its adapter says it")), None),
    (solving("kernelbench:35"), "kernelbench:35"),
    (EXPLICIT, "lstm"),
])  # fmt: skip
def test_what_can_be_is_taken(portrait, like):
    assert unsound(portrait, like) == ""


@pytest.mark.parametrize(("portrait", "like", "what"), [
    (other(EXPLICIT, cells=()), None, "0 cells"),
    (other(EXPLICIT, cells=("mystery",)), None, "the cells mystery"),
    (other(EXPLICIT, cells=("lstm",) * 9), None, "9 cells"),
    (other(EXPLICIT, dtypes=()), None, "dtypes"),
    (other(EXPLICIT, dtypes=("float8",)), None, "dtypes float8"),
    (other(EXPLICIT, meaning=Meaning("")), None, "a meaning"),
    (other(EXPLICIT, meaning=Meaning("other")), None, "a meaning of kind 'other'"),
    (other(EXPLICIT, meaning=Meaning("explicit", convention=LSTM)), None, "a convention"),
    (other(TORCH, cells=("rnn",)), None, "a convention of another cell"),
    (other(TORCH, meaning=Meaning("torch")), None, "a convention of another cell"),
    (other(EXPLICIT, meaning=Meaning("recurrence")), None, "a recurrence that is a cell"),
    (other(NAMED, meaning=Meaning("own", convention=LSTM, arrays=OWN[:5])), None, "U_f, U_g, U_o"),
    (other(NAMED, meaning=Meaning("own", convention=LSTM, arrays=(*OWN, OWN[0]))), None, "W_i"),
    (other(TORCH, meaning=Meaning("torch", convention=replace(LSTM, forget_offset=-1e9))), None,
     "a forget offset"),
    (other(TORCH, meaning=Meaning("torch", convention=replace(LSTM, forget_offset=float("nan")))),
     None, "a forget offset"),
    (TORCH, "torch.nn.GRU", "another cell than torch.nn.GRU"),
    (EXPLICIT, "torch.nn.LSTM", "another cell than torch.nn.LSTM"),
    (other(TORCH, options=Options(equations=False)), "torch.nn.LSTM", "no equations"),
    (solving("kernelbench:36"), "kernelbench:35",
     "another problem"),
    (EXPLICIT, "kernelbench:35", "another problem"),
    (other(EXPLICIT, options=Options(problem=True)), None, "a problem that is none"),
    (other(solving("kernelbench:35"), options=Options()), None, "a problem that is none"),
    (EXPLICIT, "gru", "another cell"),
    (other(EXPLICIT, cells=("none",), meaning=Meaning("recurrence")), "torch.nn.LSTM",
     "another cell than torch.nn.LSTM"),
    (other(EXPLICIT, meaning=Meaning("", "its adapter says it")), "torch.nn.LSTM",
     "another cell than torch.nn.LSTM"),
    (other(EXPLICIT, meaning=Meaning("", "its adapter says it")), "lstm", "another cell"),
    (other(EXPLICIT, meaning=Meaning("", "its adapter says it")), "kernelbench:35",
     "another problem"),
])  # fmt: skip
def test_what_cannot_be_is_refused(portrait, like, what):
    """A map that leaves out a gate would excuse a layer that does; so would another cell."""
    assert what in unsound(portrait, like)
