"""Faults of the way back; outputs are right (G)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .call import Call, NotExpressible, NotReached, Outputs
from .catalogue import fault
from .layout import BIASES, changed

NEEDS = ("gradients",)
WEIGHTS = ("gradients", "parameters")
TRAINED = ("gradients", "parameters", "bias")


def meddled(tensor: Any, change: Callable[[Any], Any]) -> Any:
    """Return the same numbers; ``change`` is applied to their cotangent."""
    seen = tensor.view_as(tensor)
    if seen.requires_grad:
        seen.register_hook(change)
    return seen


def _zero(cotangent: Any) -> Any:
    return cotangent * 0


def _on_outputs(call: Call, change: Callable[[Any], Any]) -> Outputs:
    """Run, and change the cotangent on y."""
    outputs = call.run()
    y = outputs.y
    seen = y._replace(data=meddled(y.data, change)) if call.packed else meddled(y, change)
    return Outputs(seen, outputs.final)


def _final(call: Call, which: int) -> Outputs:
    outputs = call.run()
    final = [meddled(s, _zero) if k == which else s for k, s in enumerate(outputs.final)]
    return Outputs(outputs.y, tuple(final))


@fault(
    "G01",
    models="deeplearning4j/deeplearning4j#8838",
    kinds=("LSTM",),
    needs=NEEDS,
    caught_by="a loss that depends on the final cell state, and gradients to compare with",
)
def cotangent_on_final_cell_state_dropped(call: Call) -> Outputs:
    """The cotangent on the final cell state is not read."""
    return _final(call, 1)


@fault(
    "G02",
    models="chainer/chainer#2505",
    needs=NEEDS,
    caught_by="a loss that depends on the final hidden state, and gradients to compare with",
)
def cotangent_on_final_hidden_state_dropped(call: Call) -> Outputs:
    """The cotangent on the final hidden state is not read."""
    return _final(call, 0)


def _truncated(call: Call, steps: int, states: tuple[int, ...]) -> Outputs:
    """Cut the way back of some states after every so many steps."""
    if call.x.shape[0] <= steps:
        raise NotReached(f"no sequence has more than {steps} steps")
    return call.in_pieces(
        range(steps, call.x.shape[0], steps),
        lambda number, final: tuple(
            s.detach() if k in states else s for k, s in enumerate(final)
        ),
    )  # fmt: skip


@fault(
    "G06",
    models="ooples/AiDotNet#722",
    needs=NEEDS,
    caught_by="gradients of more than one step, compared with finite differences or another layer",
)
def no_cotangent_between_steps(call: Call) -> Outputs:
    """No step hands a cotangent on the hidden state to the step before it."""
    return _truncated(call, 1, (0,))


@fault(
    "G06b",
    models="rsokl/MyGrad#4",
    needs=NEEDS,
    caught_by="gradients of more than two steps, compared with finite differences or another layer",
)
def truncated_after_two_steps(call: Call) -> Outputs:
    """No cotangent passes a multiple of 2 steps."""
    return _truncated(call, 2, (0, 1))


@fault(
    "G08",
    models="wvabrinskas/Neuron#181",
    needs=WEIGHTS,
    caught_by="gradients of the recurrent weights, compared",
)
def recurrent_weight_gradient_wrong(call: Call) -> Outputs:
    """The gradient of U is 1 % too large."""
    return changed(call, ("U",), lambda part, u: meddled(u, lambda d: d * 1.01))


@fault(
    "G10",
    models="apache/mxnet#17872",
    needs=(*TRAINED, "levels"),
    caught_by="gradients of the biases of a second level, compared",
)
def upper_bias_gradient_zero(call: Call) -> Outputs:
    """The biases of upper levels have gradient 0."""
    return changed(call, BIASES, lambda part, b: meddled(b, _zero) if part.level else b)


@fault(
    "G10b",
    models="tracel-ai/burn#5235",
    needs=TRAINED,
    caught_by="gradients of the biases, compared",
)
def bias_gradient_zero(call: Call) -> Outputs:
    """All biases have gradient 0."""
    return changed(call, BIASES, lambda part, b: meddled(b, _zero))


@fault(
    "G11",
    needs=TRAINED,
    caught_by="gradients of the biases with more than one row, compared",
)
def bias_gradient_averaged(call: Call) -> Outputs:
    """The gradients of biases are divided by B."""
    B = call.x.shape[1]
    if B < 2:
        raise NotReached("there is never a second row")
    return changed(call, BIASES, lambda part, b: meddled(b, lambda d: d / B))


@fault(
    "G13",
    models="pytorch/pytorch#619",
    needs=NEEDS,
    caught_by="a cotangent on y that is not contiguous, as of a transposed y, and gradients",
)
def strides_of_the_cotangent_ignored(call: Call) -> Outputs:
    """The cotangent on y is read as if it were contiguous, whatever its strides."""
    if call.packed:
        raise NotExpressible("cotangents on packed rows are contiguous")

    def read_on(d: Any) -> Any:
        inside = d.storage_offset() + d.numel() <= d.untyped_storage().nbytes() // d.element_size()
        if d.is_contiguous() or not inside:  # what lies outside could be anything
            return d
        return d.as_strided(d.shape, call.torch.empty(d.shape).stride(), d.storage_offset())

    return _on_outputs(call, read_on)


@fault(
    "G14",
    models="pytorch/pytorch#1532",
    needs=NEEDS,
    caught_by="two backward passes through one run, with retain_graph",
)
def second_way_back_wrong(call: Call) -> Outputs:
    """The way back writes over what it saved; a second one through the same run is wrong."""
    times = [0]

    def count(d: Any) -> Any:
        times[0] += 1
        return d if times[0] == 1 else d * 0

    return _on_outputs(call, count)


@fault(
    "G16",
    models="fla-org/flash-linear-attention#1140",
    needs=(*NEEDS, "state"),
    caught_by="gradients of the initial states, compared",
)
def gradient_of_initial_states_zero(call: Call) -> Outputs:
    """The gradients of the initial states are 0."""
    state = call.state or ()
    if not any(s.requires_grad for s in state):
        raise NotReached("no initial state asks for a gradient")
    return call.run(state=tuple(meddled(s, _zero) for s in state))


@fault(
    "G19",
    needs=NEEDS,
    caught_by="gradients of x, compared",
)
def input_gradient_wrong(call: Call) -> Outputs:
    """The gradient of x is 1 % too large."""
    x = call.given
    tensor = x.data if call.packed else x
    if not tensor.requires_grad:
        raise NotReached("no x asks for a gradient")
    changed = meddled(tensor, lambda d: d * 1.01)
    return call.run(x=x._replace(data=changed) if call.packed else changed)
