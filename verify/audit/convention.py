"""Faults of the formula that other weights amount to: biases, polarity, gates left out (C, F)."""

from __future__ import annotations

from typing import Any

from .anatomy import Part
from .call import Call, NotReached, Outputs
from .catalogue import GATED, fault
from .layout import ALL, BIASED, BIASES, NUMBERS, changed, replacements

OPEN = 40.0
"""What a gate's sigmoid rounds to 1 at."""

SMALL = 512
"""Numbers of rows and steps together at which the bias is still added (F14)."""


@fault(
    "C02",
    models="apple/coremltools#1124",
    kinds=("GRU",),
    needs=("parameters", "two biases"),
    caught_by="a b_hn that is not 0, and numbers to compare with",
)
def candidate_biases_merged(call: Call) -> Outputs:
    """b_hn is added to b_n, outside the reset, as if the two biases were one."""
    of = {(p.role, p.level, p.direction): p for p in call.parts}
    found: dict[Any, Any] = {}
    for part in call.parts:
        if part.role == "bu":
            r, z, n = part.blocks(part.tensor)
            found[part.tensor] = call.torch.cat([r, z, n * 0])
            other = of["b", part.level, part.direction]
            r, z, own = other.blocks(other.tensor)
            found[other.tensor] = call.torch.cat([r, z, own + n])
    return call.run(parameters=found)


@fault("C03", models="google/flax#5594", needs=("parameters", "two biases"), caught_by=BIASED)
def recurrent_bias_dropped(call: Call) -> Outputs:
    """The recurrent bias is not added."""
    return changed(call, ("bu",), lambda part, b: b * 0)


@fault(
    "C03b",
    models="patrick-kidger/equinox#215",
    needs=("parameters", "bias"),
    caught_by=BIASED,
)
def biases_dropped(call: Call) -> Outputs:
    """No bias is added."""
    return changed(call, BIASES, lambda part, b: b * 0)


@fault(
    "C04", models="kelvinxu/arctic-captions#7", needs=("parameters", "bias"), caught_by=BIASED
)  # fmt: skip
def biases_twice(call: Call) -> Outputs:
    """The bias is added twice."""
    return changed(call, BIASES, lambda part, b: b * 2)


@fault(
    "C05", models="pytorch/pytorch#60645", kinds=("GRU",), needs=("parameters",), caught_by=NUMBERS
)
def update_gate_polarity(call: Call) -> Outputs:
    """Z is the share of the other one: 1 - z stands for z."""

    def change(part: Part, tensor: Any) -> Any:
        r, z, n = part.blocks(tensor)
        return call.torch.cat([r, -z, n], part.axis)  # 1 - sigmoid(s) is sigmoid(-s)

    return changed(call, ALL, change)


@fault(
    "C08",
    models="tensorflow/tfjs#2442",
    kinds=GATED,
    needs=("parameters", "bias"),
    caught_by="biases that differ from gate to gate, and numbers to compare with",
)
def one_bias_for_all_gates(call: Call) -> Outputs:
    """Every gate adds the first gate's bias; the others are not read."""
    return changed(
        call, BIASES, lambda part, b: call.torch.cat(part.blocks(b)[:1] * part.gates)
    )  # fmt: skip


@fault(
    "F01",
    models="tensorflow/tensorflow#5090",
    kinds=("LSTM",),
    needs=("parameters", "bias"),
    caught_by=NUMBERS,
)
def forget_bias_added(call: Call) -> Outputs:
    """1 is added to the forget gate's bias when the layer runs."""

    def change(part: Part, tensor: Any) -> Any:
        i, f, g, o = part.blocks(tensor)
        return call.torch.cat([i, f + 1, g, o])

    return changed(call, ("b",), change)


@fault("F06", models="glample/tagger#25", kinds=("LSTM",), needs=("parameters",), caught_by=NUMBERS)
def forget_gate_coupled(call: Call) -> Outputs:
    """F is 1 - i; its own weights are not used."""

    def change(part: Part, tensor: Any) -> Any:
        i, f, g, o = part.blocks(tensor)
        return call.torch.cat([i, f * 0 - i, g, o], part.axis)

    return changed(call, ALL, change)


@fault(
    "F07",
    models="Maluuba/gensen#5",
    kinds=("GRU",),
    needs=("parameters", "bias"),
    caught_by="several steps or an initial state, and numbers to compare with",
)
def reset_gate_not_used(call: Call) -> Outputs:
    """The reset gate is computed, and the candidate does without it."""

    def change(part: Part, tensor: Any) -> Any:
        r, z, n = part.blocks(tensor)
        return call.torch.cat([r * 0 + (OPEN if part.role == "b" else 0), z, n], part.axis)

    return changed(call, ALL, change)


@fault(
    "F08", models="stanfordnlp/stanza#88", kinds=GATED, needs=("parameters",),
    caught_by="several steps or an initial state, and numbers to compare with",
)  # fmt: skip
def gate_borrows_weights(call: Call) -> Outputs:
    """The second gate uses the recurrent weights of the first."""

    def change(part: Part, tensor: Any) -> Any:
        first, second, *others = part.blocks(tensor)
        return call.torch.cat([first, second * 0 + first, *others], part.axis)

    return changed(call, ("U",), change)


@fault("F10", needs=("parameters",), caught_by="more than one step, and numbers to compare with")
def recurrence_left_out(call: Call) -> Outputs:
    """U is not used, so no step knows of the one before it but through what gates keep."""
    return changed(call, ("U",), lambda part, u: u * 0)


@fault(
    "F14",
    models="ROCm/rocm-libraries#10551",
    needs=("parameters", "bias"),
    caught_by="a batch in which T times B is above 512",
)
def bias_skipped_when_large(call: Call) -> Outputs:
    """The bias is skipped when T times B is above 512."""
    T, B = call.x.shape[:2]
    if T * B <= SMALL:
        raise NotReached("T times B is never above 512")
    return changed(call, BIASES, lambda part, b: b * 0)


@fault(
    "S03",
    models="ml-explore/mlx#3249",
    needs=("parameters", "two biases", "no state"),
    caught_by="a call without a state against one with zeros, with biases that are not 0",
)
def first_step_without_recurrent_bias(call: Call) -> Outputs:
    """Without an initial state, the first step leaves out the recurrent bias."""
    no_bias = replacements(call, ("bu",), lambda part, b: b * 0)
    return call.in_pieces([1], lambda k, state: state, {0: no_bias})
