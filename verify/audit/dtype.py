"""Faults of numbers: precision, range, repeatability (D)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .call import Call, NotReached, Outputs
from .catalogue import fault

OVERFLOW = 88.0
"""Above this exp overflows in float32."""


def _on_outputs(call: Call, change: Callable[[Any], Any]) -> Outputs:
    outputs = call.run()
    y = call.closed(change(call.opened(outputs.y)), outputs.y)
    return Outputs(y, tuple(change(s) for s in outputs.final))


@fault(
    "D01",
    models="tensorflow/tensorflow#32369",
    needs=("float64",),
    caught_by="float64 outputs compared more closely than 1e-7",
)
def float32_inside(call: Call) -> Outputs:
    """float64 comes in and goes out; in between there is float32."""
    return _on_outputs(call, lambda t: t.float().to(t.dtype))


@fault(
    "D04",
    models="muditbhargava66/PyxLSTM#15",
    caught_by="inputs of +-1000, which only saturate the gates",
)
def nan_for_large_inputs(call: Call) -> Outputs:
    """The sigmoid is inf / inf for large inputs: the row is NaN."""
    large = (call.x.abs() > OVERFLOW).any(0).any(-1)  # (B,)
    if not bool(large.any()):
        raise NotReached("no input is above 88")
    outputs = call.run()
    wrong = call.torch.zeros_like(large, dtype=call.x.dtype).masked_fill(large, float("nan"))[
        :, None
    ]
    y = call.closed(call.opened(outputs.y) + wrong, outputs.y)
    final = tuple(s + (wrong[0] if call.unbatched else wrong) for s in outputs.final)
    return Outputs(y, final)


@fault(
    "D05",
    models="pytorch/pytorch#35661",
    caught_by="the same call twice, bit for bit",
)
def last_bits_change(call: Call) -> Outputs:
    """Sums are taken in an order that changes from call to call: the last bits differ."""
    times = call.memory["times"] = call.memory.get("times", 0) + 1

    def wobble(t: Any) -> Any:
        return t * (1 + times % 2 * call.torch.finfo(t.dtype).eps)

    return _on_outputs(call, wobble)


@fault("D07", caught_by="numbers to compare with, more closely than 1e-3")
def outputs_off_by_a_thousandth(call: Call) -> Outputs:
    """Outputs and final states are a thousandth too large."""
    return _on_outputs(call, lambda t: t * 1.001)


@fault("D08", caught_by="any number to compare with")
def outputs_zero(call: Call) -> Outputs:
    """Outputs and final states are 0."""
    return _on_outputs(call, lambda t: t * 0)


@fault("D09", caught_by="the dtype of y, or any arithmetic that must not mix dtypes")
def outputs_in_float64(call: Call) -> Outputs:
    """Y comes in float64, whatever went in."""
    if call.x.dtype == call.torch.float64:
        raise NotReached("all inputs are float64")
    outputs = call.run()
    return Outputs(call.closed(call.opened(outputs.y).double(), outputs.y), outputs.final)
