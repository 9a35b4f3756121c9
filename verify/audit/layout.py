"""Faults of the order and orientation of weights (L)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .anatomy import Part
from .call import Call, NotExpressible, Outputs
from .catalogue import GATED, fault

WEIGHTS = ("W", "U")
BIASES = ("b", "bu")
ALL = (*WEIGHTS, *BIASES)
NUMBERS = "outputs against numbers of another implementation, with random weights"
BIASED = "random biases that are not 0, and outputs against another implementation"

Change = Callable[[Part, Any], Any]


def changed(call: Call, roles: Sequence[str], change: Change) -> Outputs:
    """Run the layer with parameters of these roles replaced by ``change`` of themselves."""
    return call.run(parameters=replacements(call, roles, change))


def replacements(call: Call, roles: Sequence[str], change: Change) -> dict[Any, Any]:
    """Return what stands for each parameter of these roles."""
    found = {p.tensor: change(p, p.tensor) for p in call.parts if p.role in roles}
    if not found:
        raise NotExpressible(f"no parameter of its own is {' or '.join(roles)}")
    return found


def _reordered(
    call: Call, order: Sequence[int], roles: Sequence[str] = ALL, direction: int | None = None
) -> Outputs:
    def change(part: Part, tensor: Any) -> Any:
        if direction not in (None, part.direction):
            return tensor
        blocks = part.blocks(tensor)
        return call.torch.cat([blocks[k] for k in order], part.axis)

    return changed(call, roles, change)


def _of_blocks(
    call: Call, roles: Sequence[str], change: Callable[[list[Any]], list[Any]]
) -> Outputs:
    """Run with every parameter's list of gates changed."""
    return changed(
        call, roles, lambda part, t: call.torch.cat(change(part.blocks(t)), part.axis)
    )  # fmt: skip


@fault("L01", models="NX-AI/xlstm#98", kinds=("LSTM",), needs=("parameters",), caught_by=NUMBERS)
def input_and_forget_gate_exchanged(call: Call) -> Outputs:
    """The blocks of i and f are exchanged in W, U and b."""
    return _reordered(call, (1, 0, 2, 3))


@fault(
    "L02", models="apple/coremltools#93", kinds=("LSTM",), needs=("parameters",), caught_by=NUMBERS
)
def candidate_and_output_gate_exchanged(call: Call) -> Outputs:
    """The blocks of g and o are exchanged in W, U and b."""
    return _reordered(call, (0, 1, 3, 2))


@fault(
    "L03",
    models="tensorflow/tensorflow#29622",
    kinds=("LSTM",),
    needs=("parameters",),
    caught_by=NUMBERS,
)
def another_order_and_a_forget_bias(call: Call) -> Outputs:
    """Blocks are read in the order i, g, f, o, and 1 is added to the bias of f."""

    def change(part: Part, tensor: Any) -> Any:
        i, f, g, o = part.blocks(tensor)
        return call.torch.cat([i, g + 1 if part.role == "b" else g, f, o], part.axis)

    return changed(call, ALL, change)


@fault(
    "L04",
    models="magenta/magenta#1015",
    kinds=GATED,
    needs=("parameters",),
    caught_by="W and U that differ, a sequence of several steps, and numbers to compare with",
)
def input_weights_in_another_order(call: Call) -> Outputs:
    """W is read in another order of gates than U and b."""
    return _reordered(call, (1, 2, 3, 0) if call.kind == "LSTM" else (1, 2, 0), ("W",))


@fault(
    "L05",
    models="keras-team/keras#8720",
    needs=("parameters",),
    caught_by="a dense U, several steps or an initial state, and numbers to compare with",
)
def recurrent_weights_transposed(call: Call) -> Outputs:
    """U is transposed, gate by gate."""
    if any(p.role == "U" and p.tensor.shape[1 - p.axis] != p.hidden for p in call.parts):
        raise NotExpressible("its recurrent weights are not square")
    return _of_blocks(call, ("U",), lambda blocks: [u.t() for u in blocks])


@fault(
    "L06", models="huggingface/candle#2351", kinds=GATED, needs=("parameters",), caught_by=NUMBERS
)
def gates_interleaved(call: Call) -> Outputs:
    """Rows are read as gate after gate in each unit, not unit after unit in each gate."""

    def change(part: Part, tensor: Any) -> Any:
        order = [
            unit * part.gates + gate for gate in range(part.gates) for unit in range(part.hidden)
        ]
        return tensor.index_select(part.axis, call.torch.tensor(order, device=tensor.device))

    return changed(call, ALL, change)


@fault("L07", models="tracel-ai/burn#5383", needs=("parameters",), caught_by=NUMBERS)
def stored_by_columns(call: Call) -> Outputs:
    """Every W is stored by columns and read by rows, without transposition."""
    return changed(call, ("W",), lambda part, w: w.t().reshape(w.shape))


@fault("L08", kinds=GATED, needs=("parameters",), caught_by=NUMBERS)
def gates_begin_one_late(call: Call) -> Outputs:
    """Every gate's slice of the packed rows begins one row late."""
    return changed(call, ALL, lambda part, t: t.roll(-1, part.axis))


@fault(
    "L09",
    models="pytorch/pytorch#22493",
    needs=("parameters", "levels", "directions"),
    caught_by="two levels in two directions, and numbers to compare with",
)
def directions_outside_levels(call: Call) -> Outputs:
    """Recurrent weights are laid out direction by direction and read level by level."""
    found: dict[Any, Any] = {}
    for role in ("U", *BIASES):
        mine = [p for p in call.parts if p.role == role]
        laid = sorted(mine, key=lambda p: (p.direction, p.level))
        read = sorted(mine, key=lambda p: (p.level, p.direction))
        found |= {p.tensor: q.tensor for p, q in zip(read, laid, strict=True)}
    return call.run(parameters=found)


@fault(
    "L10",
    models="pytorch/pytorch#89357",
    needs=("parameters", "levels", "directions"),
    caught_by="two levels in two directions, and numbers to compare with",
)
def upper_level_reads_forward_half(call: Call) -> Outputs:
    """The level above sees zeros in the place of the backward outputs."""

    def change(part: Part, w: Any) -> Any:
        if part.level == 0:
            return w
        forward, backward = w.chunk(2, 1 - part.axis)
        return call.torch.cat([forward, backward * 0], 1 - part.axis)

    return changed(call, ("W",), change)


@fault(
    "L11",
    models="apache/mxnet#16037",
    needs=("parameters",),
    caught_by="a second call after the weights were changed, as by a step of an optimiser",
)
def weights_of_the_first_call(call: Call) -> Outputs:
    """Weights are packed at the first call; later ones are not looked at."""
    kept = call.memory.setdefault("kept", {p.tensor: p.tensor.detach().clone() for p in call.parts})
    return changed(
        call, ALL, lambda part, t: t + (kept[t] - t).detach() if part.tensor in kept else t
    )  # fmt: skip


@fault(
    "L12",
    models="jax-ml/jax#36572",
    kinds=GATED,
    needs=("parameters", "directions"),
    caught_by="two directions, and numbers to compare with",
)
def gates_exchanged_in_backward_direction(call: Call) -> Outputs:
    """The first two gates are exchanged in the backward direction alone."""
    order = (1, 0, 2, 3) if call.kind == "LSTM" else (1, 0, 2)
    return _reordered(call, order, direction=1)


@fault(
    "L13", models="keras-team/keras#15915", kinds=("GRU",), needs=("parameters",), caught_by=NUMBERS
)
def reset_and_update_gate_exchanged(call: Call) -> Outputs:
    """The blocks of r and z are exchanged in W, U and b."""
    return _reordered(call, (1, 0, 2))
